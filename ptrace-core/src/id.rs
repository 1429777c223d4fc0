//! Thread ids, signals, exit statuses.

use std::fmt;

/// A thread id, as the kernel gives it in the tracer's pid namespace. A process is named by the id
/// of its thread group leader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(i32);

impl Tid {
    /// The thread with this number.
    #[must_use]
    pub const fn new(raw: i32) -> Self {
        Self(raw)
    }

    /// The number of this thread.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tid({})", self.0)
    }
}

/// A signal. Realtime signals are signals too, so this is a number with names, not a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// The number of the first realtime signal as the kernel counts (signal(7), "Real-time signals").
const KERNEL_SIGRTMIN: i32 = 32;
/// The number of the last signal.
const LAST: i32 = 64;

macro_rules! signals {
    ($($name:ident = $number:path, $text:literal;)*) => {
        impl Signal {
            $(
                #[doc = concat!("`", stringify!($name), "`: ", $text, " (signal(7), \"Standard signals\").")]
                pub const $name: Self = Self($number);
            )*

            /// The name in signal(7), for instance `SIGUSR1`; `None` for a realtime signal and
            /// for a number that is no signal.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// What strsignal(3) says in English, for instance `User defined signal 1`; `None`
            /// for a realtime signal and for a number that is no signal.
            #[must_use]
            pub const fn description(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }

            /// The signal with this name, for instance `SIGUSR1`.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

signals! {
    SIGHUP = libc::SIGHUP, "Hangup";
    SIGINT = libc::SIGINT, "Interrupt";
    SIGQUIT = libc::SIGQUIT, "Quit";
    SIGILL = libc::SIGILL, "Illegal instruction";
    SIGTRAP = libc::SIGTRAP, "Trace/breakpoint trap";
    SIGABRT = libc::SIGABRT, "Aborted";
    SIGBUS = libc::SIGBUS, "Bus error";
    SIGFPE = libc::SIGFPE, "Floating point exception";
    SIGKILL = libc::SIGKILL, "Killed";
    SIGUSR1 = libc::SIGUSR1, "User defined signal 1";
    SIGSEGV = libc::SIGSEGV, "Segmentation fault";
    SIGUSR2 = libc::SIGUSR2, "User defined signal 2";
    SIGPIPE = libc::SIGPIPE, "Broken pipe";
    SIGALRM = libc::SIGALRM, "Alarm clock";
    SIGTERM = libc::SIGTERM, "Terminated";
    SIGSTKFLT = libc::SIGSTKFLT, "Stack fault";
    SIGCHLD = libc::SIGCHLD, "Child exited";
    SIGCONT = libc::SIGCONT, "Continued";
    SIGSTOP = libc::SIGSTOP, "Stopped (signal)";
    SIGTSTP = libc::SIGTSTP, "Stopped";
    SIGTTIN = libc::SIGTTIN, "Stopped (tty input)";
    SIGTTOU = libc::SIGTTOU, "Stopped (tty output)";
    SIGURG = libc::SIGURG, "Urgent I/O condition";
    SIGXCPU = libc::SIGXCPU, "CPU time limit exceeded";
    SIGXFSZ = libc::SIGXFSZ, "File size limit exceeded";
    SIGVTALRM = libc::SIGVTALRM, "Virtual timer expired";
    SIGPROF = libc::SIGPROF, "Profiling timer expired";
    SIGWINCH = libc::SIGWINCH, "Window changed";
    SIGIO = libc::SIGIO, "I/O possible";
    SIGPWR = libc::SIGPWR, "Power failure";
    SIGSYS = libc::SIGSYS, "Bad system call";
}

impl Signal {
    /// The signal with this number, whatever it is: the kernel may know more than signal(7).
    #[must_use]
    pub const fn new(raw: i32) -> Self {
        Self(raw)
    }

    /// The signal's number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Whether this is a realtime signal as the kernel counts: those that the C library keeps for
    /// itself are included.
    #[must_use]
    pub const fn is_realtime(self) -> bool {
        self.0 >= KERNEL_SIGRTMIN && self.0 <= LAST
    }

    /// Every signal that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=LAST).map(Self)
    }
}

/// `SIGUSR1`; `SIGRT_2` for the third realtime signal as the kernel counts; `signal 99` otherwise.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None if self.is_realtime() => write!(f, "SIGRT_{}", self.0 - KERNEL_SIGRTMIN),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a thread or process ended (wait(2), `WIFEXITED` and `WIFSIGNALED`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExitStatus {
    /// It called `_exit` with this status, of which the kernel keeps eight bits.
    Exited(u8),
    /// A signal ended it.
    Signaled {
        /// The signal.
        signal: Signal,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
}

impl ExitStatus {
    /// What wait(2) calls a wait status: `PTRACE_EVENT_EXIT` gives one as its message.
    #[must_use]
    pub const fn from_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Exited(((status >> 8) & 0xff).to_le_bytes()[0]),
            signal => Self::Signaled {
                signal: Signal(signal),
                core_dumped: status & 0x80 != 0,
            },
        }
    }

    /// Whether it exited with status 0.
    #[must_use]
    pub const fn success(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Signaled { signal, core_dumped } => {
                write!(
                    f,
                    "killed by {signal}{}",
                    if *core_dumped { " (core dumped)" } else { "" }
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_a_name_to_show() {
        assert_eq!(Signal::SIGUSR1.to_string(), "SIGUSR1");
        assert_eq!(Signal::new(34).to_string(), "SIGRT_2");
        assert_eq!(Signal::new(0).to_string(), "signal 0");
        assert_eq!(Signal::new(-7).to_string(), "signal -7");
        for signal in Signal::all().filter(|s| !s.is_realtime()) {
            assert_eq!(Signal::from_name(signal.name().unwrap()), Some(signal));
        }
    }

    #[test]
    fn a_wait_status_is_taken_apart_as_wait_2_says() {
        assert_eq!(ExitStatus::from_wait_status(0x0700), ExitStatus::Exited(7));
        let core = ExitStatus::from_wait_status(0x8b);
        assert_eq!(core.to_string(), "killed by SIGSEGV (core dumped)");
        assert!(!core.success() && ExitStatus::Exited(0).success());
    }
}
