//! The signals that ask the tracer to leave, and the ones the command is to start with.

use std::io;

/// What this process had blocked and ignored when it was started: what a command is to start with.
///
/// Bit N-1 is signal N, as in `/proc/PID/status` (proc_pid_status(5), `SigBlk`, `SigIgn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginalSignals {
    /// The signal mask.
    pub blocked: u64,
    /// The ignored signals; all others had their default disposition, as after any `execve`.
    pub ignored: u64,
}

/// Blocks SIGINT, SIGTERM, SIGHUP and SIGQUIT in this thread and those it starts, and calls `on_signal` with the number of
/// each that arrives, on a thread of its own. Call it first in `main`, before there are other threads.
///
/// A signal that was ignored at start (nohup, a background job) stays so.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(_on_signal: impl FnMut(i32) + Send + 'static) -> io::Result<OriginalSignals> {
    todo!()
}
