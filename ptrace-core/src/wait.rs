//! Waiting.
use crate::id::{ExitStatus, Tid};
use crate::stop::Stop;
use crate::stopped::Stopped;

/// What waiting found.
pub enum Wait {
    /// A tracee stopped.
    Stopped(Stopped, Stop),
    /// A thread ended. The last one of a process to be reported is its leader, whose status is
    /// that of the process.
    Exited(Tid, ExitStatus),
    /// A [`Waker`](crate::Waker) called.
    Woken,
    /// There is no tracee left.
    NoTracees,
}
