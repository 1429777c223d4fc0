//! ltrace's lines.
//!
//! The sink keeps two states: what the output's last line is, which all threads share, and the calls
//! that each thread is in. It writes into a buffer of the caller's and knows no file.

use arch_abi::Addr;

/// What stands before each line for its thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PidPrefix {
    /// Nothing: one process is traced.
    #[default]
    None,
    /// `[pid N] `, as on stderr.
    Bracketed,
    /// `N `, as in a file.
    Bare,
}

/// The time that stands before each line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimePrefix {
    /// None.
    #[default]
    None,
    /// `-t`: `HH:MM:SS `, local time.
    Clock,
    /// `-tt`: `HH:MM:SS.uuuuuu `, local time.
    ClockMicros,
    /// `-ttt`: seconds since the epoch, `sec.uuuuuu `.
    Epoch,
    /// `-r`: seconds since the line before, `  0.000206 `.
    Relative,
}

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    /// The column of ` = `.
    pub align: usize,
    /// Spaces per level of nesting: `-n`.
    pub indent: usize,
    /// The thread.
    pub pid: PidPrefix,
    /// The time.
    pub time: TimePrefix,
    /// `-i`: the return address, `[0x401136] `.
    pub address: bool,
    /// `-T`: the time inside the call, ` <0.001166>`.
    pub duration: bool,
    /// Seconds east of Greenwich at a moment given in seconds since the epoch.
    pub utc_offset: fn(i64) -> i64,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            align: DEFAULT_ALIGN,
            indent: 0,
            pid: PidPrefix::None,
            time: TimePrefix::None,
            address: false,
            duration: false,
            utc_offset: |_| 0,
        }
    }
}

/// The column of ` = ` where the output's width is not known.
const DEFAULT_ALIGN: usize = 50;

/// The column of ` = ` on an output so many columns wide.
#[must_use]
pub const fn align_for(columns: Option<usize>) -> usize {
    match columns {
        Some(columns) => columns / 8 * 5 + columns % 8 * 5 / 8,
        None => DEFAULT_ALIGN,
    }
}

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

/// Writes ltrace's text.
#[derive(Debug)]
pub struct TextSink {
    options: TextOptions,
}

impl TextSink {
    /// A sink at the start of its output.
    #[must_use]
    pub fn new(options: TextOptions) -> Self {
        Self { options }
    }

    /// A call begins: `name(args`. The line stays open.
    pub fn entry(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>, args: &[u8]) {
        let _ = (out, at, name, args, self.options);
        todo!()
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
        let _ = (out, at, name, args, result, took);
        todo!()
    }

    /// The thread's innermost open call was left without a return: its frame was unwound.
    pub fn unwound(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>) {
        let _ = (out, at, name);
        todo!()
    }

    /// The thread's innermost open call will not return, or its return will not be seen.
    pub fn no_return(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>) {
        let _ = (out, at, name);
        todo!()
    }

    /// A signal is delivered: `--- SIGUSR1 (User defined signal 1) ---`.
    pub fn signal(&mut self, out: &mut Vec<u8>, at: Moment, signal: i32) {
        let _ = (out, at, signal);
        todo!()
    }

    /// The process exits: `+++ exited (status N) +++`. Calls that are open are closed first.
    pub fn exited(&mut self, out: &mut Vec<u8>, at: Moment, status: i32) {
        let _ = (out, at, status);
        todo!()
    }

    /// A signal ends the process: `+++ killed by SIGSEGV +++`. Calls that are open are closed first.
    pub fn killed(&mut self, out: &mut Vec<u8>, at: Moment, signal: i32) {
        let _ = (out, at, signal);
        todo!()
    }

    /// The process has a new program: `--- Called exec() ---`. The thread's calls are gone.
    pub fn exec(&mut self, out: &mut Vec<u8>, at: Moment) {
        let _ = (out, at);
        todo!()
    }

    /// A thread ends without a line of its own; what it had open is closed.
    pub fn thread_end(&mut self, out: &mut Vec<u8>, at: Moment) {
        let _ = (out, at);
        todo!()
    }

    /// A line of the tracer's own, such as a backtrace: it stands by itself.
    pub fn line(&mut self, out: &mut Vec<u8>, text: &[u8]) {
        let _ = (out, text);
        todo!()
    }

    /// Ends the output: an open line is ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }
}
