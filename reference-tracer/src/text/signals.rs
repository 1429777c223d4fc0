//! Names and meanings of signals.

use super::put;

/// Appends a signal's name: `SIGUSR1`, `SIGRT1`.
pub(crate) fn signal_name(signal: i32, out: &mut Vec<u8>) {
    match known(signal) {
        Some((name, _)) => put(out, format_args!("SIG{name}")),
        None if signal >= SIGRTMIN => put(out, format_args!("SIGRT{}", signal - SIGRTMIN)),
        None => put(out, format_args!("signal {signal}")),
    }
}

/// Appends what strsignal(3) says of it: `User defined signal 1`.
pub(super) fn signal_meaning(signal: i32, out: &mut Vec<u8>) {
    match known(signal) {
        Some((_, meaning)) => out.extend_from_slice(meaning.as_bytes()),
        None if signal >= SIGRTMIN => put(out, format_args!("Real-time signal {}", signal - SIGRTMIN)),
        None => put(out, format_args!("Unknown signal {signal}")),
    }
}

fn known(signal: i32) -> Option<&'static (&'static str, &'static str)> {
    SIGNALS.get(usize::try_from(signal).ok()?.checked_sub(1)?)
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
