//! What a session asks of the kernel for each of its tracees.

/// What a session follows and reports.
///
/// Threads are always followed, and new programs (`PTRACE_O_TRACEEXEC`) always reported: a tracee of
/// whose threads some are not ours cannot be held, and after an exec every address is stale.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of ptrace(2) of its own"
)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Options {
    pub(crate) forks: bool,
    pub(crate) exits: bool,
    pub(crate) seccomp: bool,
    pub(crate) kill_on_exit: bool,
    pub(crate) syscalls: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// Follows threads and forks; tracees outlive their tracer.
    pub const fn new() -> Self {
        Self {
            forks: true,
            exits: false,
            seccomp: false,
            kill_on_exit: false,
            syscalls: false,
        }
    }

    /// Whether the children of tracees become tracees (`PTRACE_O_TRACEFORK`, `_TRACEVFORK`,
    /// `_TRACEVFORKDONE`). A caller that wants no child but writes traps into memory follows them
    /// all the same, cleans each at its birth, and detaches it.
    pub const fn follow_forks(mut self, yes: bool) -> Self {
        self.forks = yes;
        self
    }

    /// Whether a thread stops on its way out, with its memory still there (`PTRACE_O_TRACEEXIT`).
    pub const fn stop_at_exit(mut self, yes: bool) -> Self {
        self.exits = yes;
        self
    }

    /// Whether a seccomp filter's `SECCOMP_RET_TRACE` stops a tracee (`PTRACE_O_TRACESECCOMP`).
    pub const fn stop_at_seccomp(mut self, yes: bool) -> Self {
        self.seccomp = yes;
        self
    }

    /// Whether the tracees are killed when the tracer's thread ends (`PTRACE_O_EXITKILL`).
    pub const fn kill_on_exit(mut self, yes: bool) -> Self {
        self.kill_on_exit = yes;
        self
    }

    /// Whether [`cont`](crate::Stopped::cont) stops a thread at the next system call, too (`PTRACE_SYSCALL`).
    pub const fn stop_at_syscalls(mut self, yes: bool) -> Self {
        self.syscalls = yes;
        self
    }

    /// The `PTRACE_O_*` bits.
    pub(crate) const fn bits(self) -> i32 {
        let mut bits = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEEXEC;
        if self.forks {
            bits |= libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACEVFORKDONE;
        }
        if self.exits {
            bits |= libc::PTRACE_O_TRACEEXIT;
        }
        if self.seccomp {
            bits |= libc::PTRACE_O_TRACESECCOMP;
        }
        if self.kill_on_exit {
            bits |= libc::PTRACE_O_EXITKILL;
        }
        bits
    }
}
