//! What can fail, said so that a reader knows what was asked, of whom, and why it failed.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::id::{Signal, Tid};
use crate::stopped::Stopped;

/// A request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused `request`.
    #[error("{request} on tid {tid}")]
    Request {
        /// The name of the request in its manual page.
        request: &'static str,
        /// Whom it was asked of.
        tid: Tid,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A tracee may be killed at any time, also while it is stopped (ptrace(2), "Death under
    /// ptrace"). Its end is reported by the next [`wait`](crate::Session::wait).
    #[error("tid {tid} died while stopped")]
    Died {
        /// Who died.
        tid: Tid,
    },
    /// The session has no tracee of this id.
    #[error("tid {tid} is not traced by this session")]
    NotTraced {
        /// The id.
        tid: Tid,
    },
    /// The tracee has registers of an ABI that is not known here, such as x32's.
    #[error("tid {tid}")]
    Registers {
        /// Whose registers.
        tid: Tid,
        /// Which length they have.
        #[source]
        source: arch_abi::UnknownRegset,
    },
    /// Waiting failed.
    #[error("waitid")]
    Wait(#[source] io::Error),
    /// The thread's stop does not allow a system call in its name: it is in the middle of one of
    /// its own that cannot be finished first.
    #[error("tid {tid} is inside a system call of its own: no system call can be made in its name now")]
    InSyscall {
        /// The thread.
        tid: Tid,
    },
    /// No instruction was found in the tracee's memory that makes a system call.
    #[error("tid {tid} has no system call instruction in its executable memory")]
    NoSyscallInstruction {
        /// The thread.
        tid: Tid,
    },
    /// A file of /proc could not be read or understood.
    #[error("{}", path.display())]
    Proc {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn request(request: &'static str, tid: Tid, source: io::Error) -> Self {
        if source.raw_os_error() == Some(libc::ESRCH) {
            return Self::Died { tid };
        }
        Self::Request { request, tid, source }
    }

    /// Whether the tracee is gone: an event that callers handle, not a failure.
    #[must_use]
    pub const fn is_death(&self) -> bool {
        matches!(self, Self::Died { .. })
    }
}

/// A request that would have used up a [`Stopped`] failed: here it is again.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// The tracee, as stopped as it was.
    pub stopped: Stopped,
    /// Why. This is what [`Display`](std::fmt::Display) shows.
    pub error: Error,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

/// A command could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// `execve` failed, of every candidate if the command was searched in `PATH`.
    #[error("{}", command.display())]
    Exec {
        /// The command as it was given.
        command: OsString,
        /// `ENOENT`: no such command; `EACCES`: found, but it may not be executed; `ENOEXEC`:
        /// not a program for this machine.
        #[source]
        source: io::Error,
    },
    /// What had to be done in the new process before `execve` failed.
    #[error("{what} for {}", command.display())]
    Prepare {
        /// The call that failed, for instance `chdir`.
        what: &'static str,
        /// The command as it was given.
        command: OsString,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The command name, an argument or a variable holds a NUL byte.
    #[error("{:?} holds a NUL byte", .0)]
    Nul(OsString),
    /// Something in the tracer failed: no process, no pipe.
    #[error("{what}")]
    Tracer {
        /// The call that failed.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The new process could not be seized.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The new process was killed before it became the command.
    #[error("killed by {signal} before it became {}", command.display())]
    Killed {
        /// The signal.
        signal: Signal,
        /// The command as it was given.
        command: OsString,
    },
    /// A request to the new process failed.
    #[error(transparent)]
    Trace(#[from] Error),
}

impl SpawnError {
    /// The `errno` of the failed `execve`, if it was that which failed.
    #[must_use]
    pub fn exec_errno(&self) -> Option<i32> {
        match self {
            Self::Exec { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// A process or thread could not be seized. One line: what, why, and what helps.
#[derive(Debug, thiserror::Error)]
#[error("cannot attach to pid {tid}: {reason}")]
pub struct AttachError {
    /// What was to be seized.
    pub tid: Tid,
    /// Why it was not.
    pub reason: AttachReason,
}

/// Why a process or thread could not be seized (ptrace(2), "Ptrace access mode checking").
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachReason {
    /// There is none.
    #[error("no such process")]
    NoSuchProcess,
    /// It has ended and waits for its parent to notice.
    #[error("it has ended (a zombie): only its parent, pid {parent}, can clear it away")]
    Zombie {
        /// Whom it waits for.
        parent: Tid,
    },
    /// A thread of the kernel has no program.
    #[error("it is a kernel thread: there is no program to trace")]
    KernelThread,
    /// A process cannot trace itself.
    #[error("it is this process itself: a process cannot trace itself; start another tracer")]
    Myself,
    /// The process is an ancestor, which would stop what waits for the tracer's output.
    #[error("it is an ancestor of this process, which waits for it: attach from another terminal")]
    Ancestor,
    /// Another tracer has it.
    #[error("it is already traced by pid {tracer}{}: end that tracer first", name.as_deref().map(|n| format!(" ({n})")).unwrap_or_default())]
    AlreadyTraced {
        /// The other tracer.
        tracer: Tid,
        /// Its command name, control characters replaced.
        name: Option<String>,
    },
    /// It runs as another user.
    #[error(
        "it runs as user {uid} and this tracer as user {own_uid}: run the tracer as that user, as root or with CAP_SYS_PTRACE"
    )]
    OtherUser {
        /// The process' effective user id.
        uid: u32,
        /// The tracer's effective user id.
        own_uid: u32,
    },
    /// The Yama security module forbids it.
    #[error("the Yama security module forbids it (/proc/sys/kernel/yama/ptrace_scope is {scope}): {}", yama_remedy(*scope))]
    Yama {
        /// `ptrace_scope`: 1, only descendants; 2, only with `CAP_SYS_PTRACE`; 3, never.
        scope: u32,
    },
    /// The tracer lacks `CAP_SYS_PTRACE`, which this process asks for: it is not dumpable, has
    /// more capabilities than the tracer, or lives in another user namespace.
    #[error(
        "it needs the capability CAP_SYS_PTRACE, which this tracer lacks (setuid or otherwise protected program): run the tracer as root, or give a container --cap-add=SYS_PTRACE"
    )]
    MissingCapability,
    /// A seccomp filter forbids ptrace to the tracer.
    #[error(
        "a seccomp filter on this tracer forbids ptrace: start the container with a profile that allows it (docker: --security-opt seccomp=unconfined)"
    )]
    Seccomp,
    /// The kernel refused for a reason that could not be found out.
    #[error("{source}")]
    Other {
        /// What the kernel said.
        source: io::Error,
    },
}

fn yama_remedy(scope: u32) -> &'static str {
    match scope {
        1 => {
            "run the tracer as root, start the command under the tracer, or `sysctl kernel.yama.ptrace_scope=0`"
        }
        2 => "run the tracer as root, or with CAP_SYS_PTRACE",
        _ => "nothing but a reboot with another setting allows it",
    }
}
