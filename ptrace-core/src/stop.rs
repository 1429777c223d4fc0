//! Why a tracee stopped.

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

/// What `PTRACE_GET_SYSCALL_INFO` tells (Linux 5.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyscallInfo {
    /// `AUDIT_ARCH_*` of the system call: on x86-64, an `int $0x80` of a 64-bit program tells i386's.
    pub arch: u32,
    /// The program counter, past the system call instruction.
    pub pc: arch_abi::Addr,
    /// The stack pointer.
    pub sp: arch_abi::Addr,
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
