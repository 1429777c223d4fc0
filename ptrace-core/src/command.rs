//! What to run, and as whom.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::id::Signal;
use crate::sys;

/// A command to be started as a tracee. It inherits the tracer's file descriptors (those that are
/// not close-on-exec), terminal and process group.
#[derive(Clone, Debug)]
#[must_use]
pub struct Command {
    pub(crate) program: OsString,
    pub(crate) argv0: Option<OsString>,
    pub(crate) args: Vec<OsString>,
    pub(crate) env_clear: bool,
    pub(crate) env: BTreeMap<OsString, Option<OsString>>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) user: Option<User>,
    pub(crate) signals: Option<SignalState>,
}

impl Command {
    /// Will run `program`: as it is if it holds a slash, otherwise the first of that name in the
    /// `PATH` of the environment that it gets, as execvp(3) searches it. What is no program for
    /// the kernel (`ENOEXEC`) is given to /bin/sh, as execvp(3) does.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            argv0: None,
            args: Vec::new(),
            env_clear: false,
            env: BTreeMap::new(),
            cwd: None,
            user: None,
            signals: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// What the program finds as its own name; without this, the name that it was given here.
    pub fn argv0(mut self, name: impl Into<OsString>) -> Self {
        self.argv0 = Some(name.into());
        self
    }

    /// Sets a variable of its environment, which is otherwise the tracer's.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), Some(value.into()));
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), None);
        self
    }

    /// Gives it none of the tracer's environment.
    pub fn env_clear(mut self) -> Self {
        self.env_clear = true;
        self.env.clear();
        self
    }

    /// Starts it in this directory.
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Runs it as another user, which needs root.
    pub fn user(mut self, user: User) -> Self {
        self.user = Some(user);
        self
    }

    /// The signals that it finds blocked and ignored: a tracer that blocks signals for itself
    /// keeps what it inherited ([`SignalState::current`], early) and gives it here. Without
    /// this the command finds what the spawning thread has, but `SIGPIPE`, which Rust's
    /// runtime ignores, at its default.
    pub fn signals(mut self, signals: SignalState) -> Self {
        self.signals = Some(signals);
        self
    }

    /// The command as it was given.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }
}

/// Another user to run a command as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// The supplementary group ids; setgroups(2) gets exactly these.
    pub groups: Vec<u32>,
    /// The home directory, for callers that want to set `HOME`.
    pub home: PathBuf,
}

impl User {
    /// The user of this name, or with this decimal id, with the groups that initgroups(3) gives.
    ///
    /// # Errors
    /// There is no such user (`ErrorKind::NotFound`), or the user database cannot be read.
    pub fn lookup(name: &str) -> std::io::Result<Self> {
        sys::lookup_user(name)
    }
}

/// Which signals are blocked and ignored (both survive `execve`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignalState {
    pub(crate) blocked: crate::stopped::SignalSet,
    pub(crate) ignored: crate::stopped::SignalSet,
}

impl SignalState {
    /// What the calling thread blocks and its process ignores, but for `SIGPIPE`, which Rust's
    /// runtime ignores whatever was inherited: it is taken as not ignored.
    #[must_use]
    pub fn current() -> Self {
        let mut ignored = sys::ignored_signals();
        ignored.remove(Signal::SIGPIPE);
        Self {
            blocked: sys::blocked_signals(),
            ignored,
        }
    }

    /// Sets whether `signal` is ignored.
    #[must_use]
    pub fn ignore(mut self, signal: Signal, yes: bool) -> Self {
        if yes {
            self.ignored.insert(signal);
        } else {
            self.ignored.remove(signal);
        }
        self
    }

    /// Sets whether `signal` is blocked.
    #[must_use]
    pub fn block(mut self, signal: Signal, yes: bool) -> Self {
        if yes {
            self.blocked.insert(signal);
        } else {
            self.blocked.remove(signal);
        }
        self
    }
}
