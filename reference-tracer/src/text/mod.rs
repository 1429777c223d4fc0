//! ltrace's lines.
//!
//! The sink keeps two states: what the output's last line is, which all threads share, and the calls
//! that each thread is in. It writes into a buffer of the caller's and knows no file.

pub(crate) mod digits;
mod line;
mod options;
mod prefix;
mod signals;

use std::io::Write;

use arch_abi::Addr;
use rustc_hash::FxHashMap;

pub use line::Page;
pub(crate) use line::{Aside, Line, Name, Two};
pub use options::{PidPrefix, TextOptions, TimePrefix, align_for};
use prefix::Prefix;
use signals::signal_meaning;
pub(crate) use signals::signal_name;

/// When and where something happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The thread.
    pub tid: i32,
    /// Nanoseconds since the epoch.
    pub time: u64,
    /// What `-i` shows: a call's return address, otherwise the program counter.
    pub address: Addr,
}

/// A call's name as it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallName<'a> {
    /// The calling object, shown as `exe->`.
    pub caller: Option<&'a str>,
    /// The function.
    pub function: &'a str,
    /// What follows the name, shown as `@lib`; `SYS` for a system call.
    pub library: Option<&'a str>,
}

impl CallName<'_> {
    /// Appends the name as it stands in a line without colors.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Some(caller) = self.caller {
            escaped(caller, out);
            out.extend_from_slice(b"->");
        }
        escaped(self.function, out);
        if let Some(library) = self.library {
            out.push(b'@');
            escaped(library, out);
        }
    }
}

/// Writes ltrace's text.
#[derive(Debug)]
pub struct TextSink {
    options: TextOptions,
    is_bare: bool,
    /// How many calls each thread is in.
    depths: FxHashMap<i32, usize>,
    /// The thread whose call's line is still open, and how many columns it has on a screen.
    open: Option<(i32, usize)>,
    prefix: Prefix,
    /// Where prefixes and durations are made.
    page: Page,
}

impl TextSink {
    /// A sink at the start of its output.
    #[must_use]
    pub fn new(options: TextOptions) -> Self {
        Self {
            options,
            is_bare: options.is_bare(),
            depths: FxHashMap::default(),
            open: None,
            prefix: Prefix::default(),
            page: Page::default(),
        }
    }

    /// Makes the line of a call that has returned, where no line is open. `write` appends what follows the prefix. `false`: it could not be made
    /// here, and all is as it was.
    #[inline]
    pub(crate) fn whole_line(
        &mut self,
        page: &mut Page,
        at: Moment,
        write: impl for<'p> FnOnce(Line<'p>, &mut Aside) -> Line<'p>,
    ) -> bool {
        if self.open.is_some() {
            return false;
        }
        let last = self.prefix.last;
        let (mut line, aside) = page.line();
        if !self.is_bare {
            line = self.prefix.put(&self.options, line, at);
            line = line.spaces(self.indent_of(at.tid));
        }
        let end = write(line, aside).end();
        if end.is_none() {
            self.prefix.last = last;
        }
        page.keep(end)
    }

    /// From now on lines name their thread in this way.
    pub fn name_threads(&mut self, how: PidPrefix) {
        self.options.pid = how;
        self.is_bare = self.options.is_bare();
    }

    /// How far the thread's next line is indented.
    fn indent_of(&self, tid: i32) -> usize {
        if self.options.indent == 0 {
            return 0;
        }
        let depth = self.depths.get(&tid).copied().unwrap_or_default();
        self.options.indent.saturating_mul(depth).min(MAX_INDENT)
    }

    /// A call begins: `name(args`. The line stays open.
    pub fn entry(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>, args: &[u8]) {
        self.close(out, UNFINISHED);
        let start = out.len();
        let indent = self.indent_of(at.tid);
        *self.depths.entry(at.tid).or_default() += 1;
        self.prefix(out, at);
        out.resize(out.len() + indent, b' ');
        if let Some(caller) = name.caller {
            escaped(caller, out);
            out.extend_from_slice(b"->");
        }
        let hidden = self.painted(out, NAME, |out| escaped(name.function, out));
        if let Some(library) = name.library {
            out.push(b'@');
            escaped(library, out);
        }
        out.push(b'(');
        out.extend_from_slice(args);
        self.open = Some((at.tid, columns(&out[start..]) - hidden));
    }

    /// The thread's innermost open call returns: `) = result`. `args` are those shown only now;
    /// `took` is the time inside the call, in nanoseconds.
    pub fn exit(
        &mut self,
        out: &mut Vec<u8>,
        at: Moment,
        name: CallName<'_>,
        args: &[u8],
        result: &[u8],
        took: u64,
    ) {
        self.end_call(out, at, name, args, result);
        if self.options.duration {
            self.page.append(out, |line| line.duration(took));
        }
        out.push(b'\n');
    }

    /// The thread's innermost open call was left without a return: its frame was unwound.
    pub fn unwound(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>) {
        self.end_call(out, at, name, b"", b"<unwound>");
        out.push(b'\n');
    }

    /// The thread ended in its innermost open call: ` <no return ...>`, also where that call's line is closed.
    pub fn cut_off(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>) {
        self.resume_call(out, at, name);
        if out.last() == Some(&b' ') {
            out.pop();
        }
        out.extend_from_slice(NO_RETURN);
    }

    fn end_call(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>, args: &[u8], result: &[u8]) {
        let before = self.resume_call(out, at, name);
        let start = out.len();
        out.extend_from_slice(args);
        out.extend_from_slice(b") ");
        let column = before + columns(&out[start..]);
        // ltrace counts columns from one: `=` stands in column `align`.
        let fill = self
            .options
            .align
            .saturating_sub(1)
            .min(MAX_ALIGN)
            .saturating_sub(column);
        out.resize(out.len() + fill, b' ');
        out.extend_from_slice(b"= ");
        self.painted(out, RESULT, |out| out.extend_from_slice(result));
    }

    /// The line of the thread's innermost open call, which ends now: the one that is open, or a new one. Gives how
    /// many columns it has.
    fn resume_call(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>) -> usize {
        let depth = self.depths.entry(at.tid).or_default();
        *depth = depth.saturating_sub(1);
        let indent = self.options.indent.saturating_mul(*depth).min(MAX_INDENT);
        if let Some((_, columns)) = self.open.take_if(|(tid, _)| *tid == at.tid) {
            return columns;
        }
        self.close(out, UNFINISHED);
        let start = out.len();
        self.prefix(out, at);
        out.resize(out.len() + indent, b' ');
        out.extend_from_slice(b"<... ");
        let hidden = self.painted(out, NAME, |out| escaped(name.function, out));
        out.extend_from_slice(b" resumed> ");
        columns(&out[start..]) - hidden
    }

    /// The thread's innermost open call will not return, or its return will not be seen.
    pub fn no_return(&mut self, out: &mut Vec<u8>, at: Moment, _name: CallName<'_>) {
        if let Some(depth) = self.depths.get_mut(&at.tid) {
            *depth = depth.saturating_sub(1);
        }
        if self.open.is_some_and(|(tid, _)| tid == at.tid) {
            self.close(out, NO_RETURN);
        }
    }

    /// A signal is delivered: `--- SIGUSR1 (User defined signal 1) ---`.
    pub fn signal(&mut self, out: &mut Vec<u8>, at: Moment, signal: i32) {
        self.notice(out, at, |out| {
            out.extend_from_slice(b"--- ");
            signal_name(signal, out);
            out.extend_from_slice(b" (");
            signal_meaning(signal, out);
            out.extend_from_slice(b") ---");
        });
    }

    /// The process exits: `+++ exited (status N) +++`. The thread's calls are gone.
    pub fn exited(&mut self, out: &mut Vec<u8>, at: Moment, status: i32) {
        self.notice(out, at, |out| {
            put(out, format_args!("+++ exited (status {status}) +++"));
        });
        self.depths.remove(&at.tid);
    }

    /// A signal ends the process: `+++ killed by SIGSEGV +++`. The thread's calls are gone.
    pub fn killed(&mut self, out: &mut Vec<u8>, at: Moment, signal: i32) {
        self.notice(out, at, |out| {
            out.extend_from_slice(b"+++ killed by ");
            signal_name(signal, out);
            out.extend_from_slice(b" +++");
        });
        self.depths.remove(&at.tid);
    }

    /// The process has a new program: `--- Called exec() ---`. The thread's calls are gone.
    pub fn exec(&mut self, out: &mut Vec<u8>, at: Moment) {
        self.notice(out, at, |out| out.extend_from_slice(b"--- Called exec() ---"));
        self.depths.remove(&at.tid);
    }

    /// A thread ends without a line of its own; what it had open is closed.
    pub fn thread_end(&mut self, out: &mut Vec<u8>, at: Moment) {
        if self.open.is_some_and(|(tid, _)| tid == at.tid) {
            self.close(out, NO_RETURN);
        }
        self.depths.remove(&at.tid);
    }

    /// A line of the tracer's own, such as a backtrace: it stands by itself.
    pub fn line(&mut self, out: &mut Vec<u8>, text: &[u8]) {
        self.close(out, UNFINISHED);
        out.extend_from_slice(text);
        out.push(b'\n');
    }

    /// Ends the output: an open line is ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.close(out, UNFINISHED);
    }

    fn notice(&mut self, out: &mut Vec<u8>, at: Moment, write: impl FnOnce(&mut Vec<u8>)) {
        // The thread's own call was cut short; another's goes on.
        let own = self.open.is_some_and(|(tid, _)| tid == at.tid);
        self.close(out, if own { NO_RETURN } else { UNFINISHED });
        self.prefix(out, at);
        self.painted(out, NOTICE, write);
        out.push(b'\n');
    }

    /// Writes with a color, if there are colors; gives how many columns its escape sequences would take.
    fn painted(&self, out: &mut Vec<u8>, color: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> usize {
        if !self.options.color {
            write(out);
            return 0;
        }
        out.extend_from_slice(color);
        write(out);
        out.extend_from_slice(PLAIN);
        color.len() + PLAIN.len()
    }

    fn close(&mut self, out: &mut Vec<u8>, how: &[u8]) {
        if self.open.take().is_some() {
            out.extend_from_slice(how);
        }
    }

    fn prefix(&mut self, out: &mut Vec<u8>, at: Moment) {
        let (prefix, options) = (&mut self.prefix, &self.options);
        self.page.append(out, |line| prefix.put(options, line, at));
    }
}

/// Colors, as terminals of ECMA-48 take them ("SGR - SELECT GRAPHIC RENDITION").
const NAME: &[u8] = b"\x1b[36m";
const RESULT: &[u8] = b"\x1b[32m";
const NOTICE: &[u8] = b"\x1b[33m";
const PLAIN: &[u8] = b"\x1b[0m";
const UNFINISHED: &[u8] = b" <unfinished ...>\n";
const NO_RETURN: &[u8] = b" <no return ...>\n";
/// The widest indentation and the farthest column, whatever the depth or the options.
const MAX_INDENT: usize = 4096;
pub(crate) const MAX_ALIGN: usize = 4096;

/// Appends formatted text; writing to a Vec does not fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Appends a name that comes from a target.
fn escaped(name: &str, out: &mut Vec<u8>) {
    crate::value::escape_name(name.as_bytes(), out);
}

/// How many columns UTF-8 text takes: one each character.
pub(crate) fn columns(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests;
