//! ltrace's lines.
//!
//! The sink keeps two states: what the output's last line is, which all threads share, and the calls
//! that each thread is in. It writes into a buffer of the caller's and knows no file.

use std::io::Write;

use arch_abi::Addr;
use rustc_hash::FxHashMap;

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
    /// Whether names, results and notices are colored.
    pub color: bool,
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
            color: false,
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
    /// How many calls each thread is in.
    depths: FxHashMap<i32, usize>,
    /// The thread whose call's line is still open, and how many columns it has on a screen.
    open: Option<(i32, usize)>,
    /// The time of the last line, for `-r`.
    last: Option<u64>,
}

impl TextSink {
    /// A sink at the start of its output.
    #[must_use]
    pub fn new(options: TextOptions) -> Self {
        Self {
            options,
            depths: FxHashMap::default(),
            open: None,
            last: None,
        }
    }

    /// From now on lines name their thread in this way.
    pub fn name_threads(&mut self, how: PidPrefix) {
        self.options.pid = how;
    }

    /// A call begins: `name(args`. The line stays open.
    pub fn entry(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>, args: &[u8]) {
        self.close(out, UNFINISHED);
        let start = out.len();
        let depth = self.depths.entry(at.tid).or_default();
        let indent = self.options.indent.saturating_mul(*depth).min(MAX_INDENT);
        *depth += 1;
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
            let micros = took / 1000;
            put(
                out,
                format_args!(" <{}.{:06}>", micros / 1_000_000, micros % 1_000_000),
            );
        }
        out.push(b'\n');
    }

    /// The thread's innermost open call was left without a return: its frame was unwound.
    pub fn unwound(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>) {
        self.end_call(out, at, name, b"", b"<unwound>");
        out.push(b'\n');
    }

    fn end_call(&mut self, out: &mut Vec<u8>, at: Moment, name: CallName<'_>, args: &[u8], result: &[u8]) {
        let depth = self.depths.entry(at.tid).or_default();
        *depth = depth.saturating_sub(1);
        let indent = self.options.indent.saturating_mul(*depth).min(MAX_INDENT);
        let start = out.len();
        let before = match self.open.take() {
            Some((tid, columns)) if tid == at.tid => columns,
            other => {
                self.open = other;
                self.close(out, UNFINISHED);
                let start = out.len();
                self.prefix(out, at);
                out.resize(out.len() + indent, b' ');
                out.extend_from_slice(b"<... ");
                let hidden = self.painted(out, NAME, |out| escaped(name.function, out));
                out.extend_from_slice(b" resumed> ");
                columns(&out[start..]) - hidden
            }
        };
        let start = if before == 0 { start } else { out.len() };
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
            match usize::try_from(signal)
                .ok()
                .and_then(|signal| SIGNALS.get(signal.checked_sub(1)?))
            {
                Some((_, meaning)) => put(out, format_args!(" ({meaning}) ---")),
                None if signal >= SIGRTMIN => {
                    put(out, format_args!(" (Real-time signal {}) ---", signal - SIGRTMIN));
                }
                None => put(out, format_args!(" (Unknown signal {signal}) ---")),
            }
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

    fn close(&mut self, out: &mut Vec<u8>, how: &[u8]) {
        if self.open.take().is_some() {
            out.extend_from_slice(how);
        }
    }

    fn prefix(&mut self, out: &mut Vec<u8>, at: Moment) {
        match self.options.pid {
            PidPrefix::None => {}
            PidPrefix::Bracketed => put(out, format_args!("[pid {}] ", at.tid)),
            PidPrefix::Bare => put(out, format_args!("{} ", at.tid)),
        }
        self.time(out, at.time);
        if self.options.address {
            put(out, format_args!("[{}] ", at.address));
        }
    }

    fn time(&mut self, out: &mut Vec<u8>, now: u64) {
        let (seconds, micros) = (now / 1_000_000_000, now / 1000 % 1_000_000);
        match self.options.time {
            TimePrefix::None => {}
            TimePrefix::Clock => self.clock(out, seconds, ""),
            TimePrefix::ClockMicros => self.clock(out, seconds, &format!(".{micros:06}")),
            TimePrefix::Epoch => put(out, format_args!("{seconds}.{micros:06} ")),
            TimePrefix::Relative => {
                let since = now.saturating_sub(self.last.replace(now).unwrap_or(now)) / 1000;
                put(
                    out,
                    format_args!("{:3}.{:06} ", since / 1_000_000, since % 1_000_000),
                );
            }
        }
    }

    fn clock(&self, out: &mut Vec<u8>, seconds: u64, fraction: &str) {
        let utc = i64::try_from(seconds).unwrap_or(i64::MAX);
        let local = utc
            .saturating_add((self.options.utc_offset)(utc))
            .rem_euclid(24 * 60 * 60);
        let (hours, minutes, seconds) = (local / 3600, local / 60 % 60, local % 60);
        put(
            out,
            format_args!("{hours:02}:{minutes:02}:{seconds:02}{fraction} "),
        );
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
const MAX_ALIGN: usize = 4096;

/// Appends formatted text; writing to a Vec does not fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Appends a name that comes from a target.
fn escaped(name: &str, out: &mut Vec<u8>) {
    crate::value::escape_name(name.as_bytes(), out);
}

/// How many columns UTF-8 text takes: one each character.
fn columns(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

/// Appends a signal's name: `SIGUSR1`, `SIGRT1`.
pub(crate) fn signal_name(signal: i32, out: &mut Vec<u8>) {
    match usize::try_from(signal)
        .ok()
        .and_then(|signal| SIGNALS.get(signal.checked_sub(1)?))
    {
        Some((name, _)) => put(out, format_args!("SIG{name}")),
        None if signal >= SIGRTMIN => put(out, format_args!("SIGRT{}", signal - SIGRTMIN)),
        None => put(out, format_args!("signal {signal}")),
    }
}

/// The kernel's first real-time signal (signal(7), "Real-time signals").
const SIGRTMIN: i32 = 32;

/// Signals 1 to 31 of Linux on x86: names (signal(7)) and glibc's strsignal(3).
static SIGNALS: [(&str, &str); 31] = [
    ("HUP", "Hangup"),
    ("INT", "Interrupt"),
    ("QUIT", "Quit"),
    ("ILL", "Illegal instruction"),
    ("TRAP", "Trace/breakpoint trap"),
    ("ABRT", "Aborted"),
    ("BUS", "Bus error"),
    ("FPE", "Floating point exception"),
    ("KILL", "Killed"),
    ("USR1", "User defined signal 1"),
    ("SEGV", "Segmentation fault"),
    ("USR2", "User defined signal 2"),
    ("PIPE", "Broken pipe"),
    ("ALRM", "Alarm clock"),
    ("TERM", "Terminated"),
    ("STKFLT", "Stack fault"),
    ("CHLD", "Child exited"),
    ("CONT", "Continued"),
    ("STOP", "Stopped (signal)"),
    ("TSTP", "Stopped"),
    ("TTIN", "Stopped (tty input)"),
    ("TTOU", "Stopped (tty output)"),
    ("URG", "Urgent I/O condition"),
    ("XCPU", "CPU time limit exceeded"),
    ("XFSZ", "File size limit exceeded"),
    ("VTALRM", "Virtual timer expired"),
    ("PROF", "Profiling timer expired"),
    ("WINCH", "Window changed"),
    ("IO", "I/O possible"),
    ("PWR", "Power failure"),
    ("SYS", "Bad system call"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Moment = Moment {
        tid: 7,
        time: 1_000_000_206_000,
        address: Addr::new(0x401136),
    };

    fn f(function: &str) -> CallName<'_> {
        CallName {
            caller: None,
            function,
            library: None,
        }
    }

    fn shown(options: TextOptions, events: impl FnOnce(&mut TextSink, &mut Vec<u8>)) -> String {
        let (mut sink, mut out) = (TextSink::new(options), Vec::new());
        events(&mut sink, &mut out);
        String::from_utf8(out).expect("the sink writes UTF-8")
    }

    #[test]
    fn the_result_stands_at_its_column() {
        let text = shown(TextOptions::default(), |sink, out| {
            sink.entry(out, AT, f("puts"), b"\"x 42  3.14\"");
            sink.exit(out, AT, f("puts"), b"", b"11", 0);
            sink.entry(
                out,
                AT,
                f("a_function_with_a_long_name"),
                b"\"and an argument that is long too\"",
            );
            sink.exit(out, AT, f("a_function_with_a_long_name"), b"", b"0", 0);
        });
        assert_eq!(
            text,
            "puts(\"x 42  3.14\")                               = 11\n\
             a_function_with_a_long_name(\"and an argument that is long too\") = 0\n"
        );
        assert_eq!(text.find('='), Some(49));
        assert_eq!(
            (align_for(Some(80)), align_for(Some(132)), align_for(None)),
            (50, 82, 50)
        );
    }

    #[test]
    fn colors_take_no_columns() {
        let events = |sink: &mut TextSink, out: &mut Vec<u8>| {
            sink.entry(out, AT, f("outer"), b"1");
            sink.entry(out, AT, f("inner"), b"2");
            sink.exit(out, AT, f("inner"), b"", b"0", 0);
            sink.exit(out, AT, f("outer"), b"", b"0", 0);
            sink.signal(out, AT, 10);
        };
        let plain = shown(TextOptions::default(), events);
        let color = TextOptions {
            color: true,
            ..TextOptions::default()
        };
        let mut colored = shown(color, events);
        assert!(colored.contains("\x1b[36minner\x1b[0m(2) "), "{colored:?}");
        for code in [NAME, RESULT, NOTICE, PLAIN] {
            colored = colored.replace(std::str::from_utf8(code).expect("ASCII"), "");
        }
        assert_eq!(colored, plain);
    }

    #[test]
    fn nested_calls_are_unfinished_and_resumed() {
        let options = TextOptions {
            indent: 2,
            align: 20,
            ..TextOptions::default()
        };
        let text = shown(options, |sink, out| {
            sink.entry(
                out,
                AT,
                CallName {
                    caller: Some("b"),
                    ..f("helper")
                },
                b"10",
            );
            sink.entry(
                out,
                AT,
                CallName {
                    caller: Some("b"),
                    ..f("malloc")
                },
                b"10",
            );
            sink.exit(out, AT, f("malloc"), b"", b"0x1000", 0);
            sink.exit(out, AT, f("helper"), b", 5", b"0", 0);
        });
        let lines = [
            "b->helper(10 <unfinished ...>",
            "  b->malloc(10)    = 0x1000",
            "<... helper resumed> , 5) = 0",
            "",
        ];
        assert_eq!(text, lines.join("\n"));
    }

    #[test]
    fn threads_interrupt_each_other_and_signals_cut_calls() {
        let other = Moment { tid: 8, ..AT };
        let options = TextOptions {
            pid: PidPrefix::Bracketed,
            align: 0,
            ..TextOptions::default()
        };
        let text = shown(options, |sink, out| {
            sink.entry(out, AT, f("kill"), b"7, SIGUSR1");
            sink.signal(out, AT, 10);
            sink.exit(out, AT, f("kill"), b"", b"0", 0);
            sink.entry(out, AT, f("a"), b"");
            sink.signal(out, other, 34);
            sink.entry(out, other, f("b"), b"");
            sink.exit(out, AT, f("a"), b"", b"1", 0);
            sink.unwound(out, other, f("b"));
            sink.entry(out, AT, f("exit"), b"3");
            sink.no_return(out, AT, f("exit"));
            sink.exited(out, AT, 3);
            sink.entry(out, other, f("c"), b"");
            sink.killed(out, other, 11);
            sink.exec(out, other);
        });
        let lines = [
            "[pid 7] kill(7, SIGUSR1 <no return ...>",
            "[pid 7] --- SIGUSR1 (User defined signal 1) ---",
            "[pid 7] <... kill resumed> ) = 0",
            "[pid 7] a( <unfinished ...>",
            "[pid 8] --- SIGRT2 (Real-time signal 2) ---",
            "[pid 8] b( <unfinished ...>",
            "[pid 7] <... a resumed> ) = 1",
            "[pid 8] <... b resumed> ) = <unwound>",
            "[pid 7] exit(3 <no return ...>",
            "[pid 7] +++ exited (status 3) +++",
            "[pid 8] c( <no return ...>",
            "[pid 8] +++ killed by SIGSEGV +++",
            "[pid 8] --- Called exec() ---",
            "",
        ];
        assert_eq!(text, lines.join("\n"));
    }

    #[test]
    fn prefixes_are_as_ltrace_has_them() {
        let line = |options: TextOptions| {
            shown(options, |sink, out| {
                sink.entry(
                    out,
                    AT,
                    CallName {
                        library: Some("SYS"),
                        ..f("brk")
                    },
                    b"nil",
                );
                sink.exit(out, AT, f("brk"), b"", b"0", 1_166_999);
            })
        };
        let options = TextOptions {
            align: 0,
            ..TextOptions::default()
        };
        for (options, expected) in [
            (
                TextOptions {
                    pid: PidPrefix::Bare,
                    ..options
                },
                "7 brk@SYS(nil) = 0\n",
            ),
            (
                TextOptions {
                    address: true,
                    duration: true,
                    ..options
                },
                "[0x401136] brk@SYS(nil) = 0 <0.001166>\n",
            ),
            (
                TextOptions {
                    time: TimePrefix::Clock,
                    utc_offset: |_| 3600,
                    ..options
                },
                "01:16:40 brk@SYS(nil) = 0\n",
            ),
            (
                TextOptions {
                    time: TimePrefix::ClockMicros,
                    ..options
                },
                "00:16:40.000206 brk@SYS(nil) = 0\n",
            ),
            (
                TextOptions {
                    time: TimePrefix::Epoch,
                    ..options
                },
                "1000.000206 brk@SYS(nil) = 0\n",
            ),
            (
                TextOptions {
                    time: TimePrefix::Relative,
                    ..options
                },
                "  0.000000 brk@SYS(nil) = 0\n",
            ),
        ] {
            assert_eq!(line(options), expected);
        }
        let relative = TextOptions {
            time: TimePrefix::Relative,
            ..options
        };
        let text = shown(relative, |sink, out| {
            sink.signal(out, AT, 1);
            sink.signal(
                out,
                Moment {
                    time: AT.time + 206_999,
                    ..AT
                },
                1,
            );
        });
        assert!(text.ends_with("\n  0.000206 --- SIGHUP (Hangup) ---\n"), "{text}");
    }

    #[test]
    fn a_hostile_name_does_no_harm() {
        let text = shown(TextOptions::default(), |sink, out| {
            sink.entry(out, AT, f("\x1b[2J\n"), b"");
        });
        assert_eq!(text, "\\033[2J\\n(");
    }
}
