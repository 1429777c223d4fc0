//! Why a tracee stopped.

use arch_abi::Addr;

use crate::id::{ExitStatus, Signal, Tid};

/// Why a tracee stopped. Each is a heading or an event of ptrace(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Stop {
    /// "Signal-delivery-stop": the tracee is about to get this signal, and gets the one with
    /// which it is resumed, or none. Traps come as `SIGTRAP`.
    SignalDelivery(Signal),
    /// "Group-stop": this signal stopped the whole process. [`listen`](crate::Stopped::listen) keeps
    /// the thread stopped until `SIGCONT`; `cont` would run it on, as if it had not been stopped.
    Group(Signal),
    /// `PTRACE_EVENT_STOP` after [`interrupt`](crate::Session::interrupt), or at the end of a
    /// group-stop that was listened to.
    Interrupt,
    /// "Syscall-enter-stop", after `cont_to_syscall`.
    SyscallEnter,
    /// "Syscall-exit-stop", after `cont_to_syscall`.
    SyscallExit,
    /// `PTRACE_EVENT_FORK`: `child` is a tracee, stopped before its first instruction or about
    /// to be. Its [`Born`](Self::Born) is returned after this.
    Fork {
        /// The new process.
        child: Tid,
    },
    /// `PTRACE_EVENT_VFORK`. The thread, once resumed, sleeps until `child` executes a program or
    /// exits, and cannot be interrupted; `child` uses its memory.
    Vfork {
        /// The new process.
        child: Tid,
    },
    /// `PTRACE_EVENT_VFORK_DONE`: the thread has its memory back from `child`.
    VforkDone {
        /// The process that was born by vfork.
        child: Tid,
    },
    /// `PTRACE_EVENT_CLONE`: a new thread, or a process that does not end with `SIGCHLD`.
    Clone {
        /// The new thread or process.
        child: Tid,
    },
    /// The first stop of a tracee that came by fork, vfork or clone, before its first
    /// instruction. It is returned after the parent's event, in whatever order the kernel told;
    /// `None` only if the parent died before its event.
    Born {
        /// The thread that made it.
        parent: Option<Tid>,
    },
    /// `PTRACE_EVENT_EXEC`: a new program. All other threads of the process are gone, and their
    /// ends have been returned, but not that of `former`, which took over the leader's id.
    Exec {
        /// The id of the thread that called `execve`: the tracee's own unless that was not the
        /// leader (ptrace(2), "execve(2) under ptrace").
        former: Tid,
    },
    /// `PTRACE_EVENT_EXIT`: the thread is on its way out; its memory is still there.
    Exit {
        /// How it will end.
        status: ExitStatus,
    },
    /// `PTRACE_EVENT_SECCOMP`: a filter returned `SECCOMP_RET_TRACE`.
    Seccomp {
        /// `SECCOMP_RET_DATA`.
        data: u16,
    },
    /// A `PTRACE_EVENT_*` newer than this version.
    Event(i32),
}

impl Stop {
    /// The signal that the tracee is about to get, and gets if it is resumed or detached with it; none at other stops.
    #[must_use]
    pub const fn signal(self) -> Option<Signal> {
        match self {
            Self::SignalDelivery(signal) => Some(signal),
            _ => None,
        }
    }
}

/// What `PTRACE_GET_SYSCALL_INFO` tells (Linux 5.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyscallInfo {
    /// `AUDIT_ARCH_*` of the system call: on x86-64, an `int $0x80` of a 64-bit program tells i386's.
    pub arch: u32,
    /// The program counter, past the system call instruction.
    pub pc: Addr,
    /// The stack pointer.
    pub sp: Addr,
    /// Where in the system call the thread stands.
    pub stop: SyscallStop,
}

/// Where in a system call a thread stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SyscallStop {
    /// At no syscall-stop.
    None,
    /// At its entry.
    Enter {
        /// The number.
        nr: u64,
        /// The arguments.
        args: [u64; 6],
    },
    /// At its exit.
    Exit {
        /// The result; a negated `errno` if `is_error`.
        value: i64,
        /// Whether `value` is an error.
        is_error: bool,
    },
    /// At a seccomp stop, before its entry.
    Seccomp {
        /// The number.
        nr: u64,
        /// The arguments.
        args: [u64; 6],
        /// `SECCOMP_RET_DATA`.
        data: u32,
    },
    /// A kind newer than this version.
    Other(u8),
}

impl SyscallInfo {
    /// Takes apart `struct ptrace_syscall_info` (ptrace(2), `PTRACE_GET_SYSCALL_INFO`).
    pub(crate) fn from_words(words: &[u64; 11]) -> Self {
        let [op, ..] = words[0].to_le_bytes();
        let [_, arch] = halves(words[0]);
        let args = || [words[4], words[5], words[6], words[7], words[8], words[9]];
        let stop = match op {
            0 => SyscallStop::None,
            1 => SyscallStop::Enter {
                nr: words[3],
                args: args(),
            },
            2 => SyscallStop::Exit {
                value: words[3].cast_signed(),
                is_error: words[4].to_le_bytes()[0] != 0,
            },
            3 => SyscallStop::Seccomp {
                nr: words[3],
                args: args(),
                data: halves(words[10])[0],
            },
            other => SyscallStop::Other(other),
        };
        Self {
            arch,
            pc: Addr::new(words[1]),
            sp: Addr::new(words[2]),
            stop,
        }
    }
}

/// The low and the high half of a word.
fn halves(word: u64) -> [u32; 2] {
    let b = word.to_le_bytes();
    [
        u32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
    ]
}

/// A wait status of a stop, taken apart: what it says by itself. [`Stop`] adds the event's message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Signal(Signal),
    Syscall,
    /// `PTRACE_EVENT_STOP` with this signal.
    EventStop(Signal),
    /// Another `PTRACE_EVENT_*`.
    Event(i32),
}

/// The bit that `PTRACE_O_TRACESYSGOOD` sets in a syscall-stop's signal.
const SYSGOOD: i32 = 0x80;

impl Status {
    /// Takes apart `si_status` of a stop: `signal | event << 8` (ptrace(2), "Stopped states").
    pub(crate) const fn of(status: i32) -> Self {
        let signal = status & 0xff;
        match status >> 8 {
            0 if signal == libc::SIGTRAP | SYSGOOD => Self::Syscall,
            0 => Self::Signal(Signal::new(signal)),
            libc::PTRACE_EVENT_STOP => Self::EventStop(Signal::new(signal)),
            event => Self::Event(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_taken_apart_as_ptrace_2_says() {
        assert_eq!(Status::of(libc::SIGTRAP), Status::Signal(Signal::SIGTRAP));
        assert_eq!(Status::of(libc::SIGTRAP | 0x80), Status::Syscall);
        assert_eq!(
            Status::of(libc::SIGSTOP | 128 << 8),
            Status::EventStop(Signal::SIGSTOP)
        );
        assert_eq!(Status::of(libc::SIGTRAP | 77 << 8), Status::Event(77));
    }

    #[test]
    fn syscall_info_is_taken_apart() {
        let mut words = [0; 11];
        words[0] = 3 | 0xc000_003e << 32;
        words[1] = 0x1000;
        words[3] = 231;
        words[10] = 7;
        let info = SyscallInfo::from_words(&words);
        assert_eq!((info.arch, info.pc), (0xc000_003e, Addr::new(0x1000)));
        assert_eq!(
            info.stop,
            SyscallStop::Seccomp {
                nr: 231,
                args: [0; 6],
                data: 7
            }
        );
        words[0] = 2;
        words[3] = u64::MAX;
        words[4] = 1;
        assert_eq!(
            SyscallInfo::from_words(&words).stop,
            SyscallStop::Exit {
                value: -1,
                is_error: true
            }
        );
        words[0] = 9;
        assert_eq!(SyscallInfo::from_words(&words).stop, SyscallStop::Other(9));
    }
}
