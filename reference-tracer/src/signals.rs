//! The signals that ask the tracer to leave, and the ones the command is to start with.

use crate::sys;
use nix::sys::signal::{SigSet, Signal as Name};
use ptrace_core::{Signal, SignalState};
use std::io;
use std::thread;

/// What asks a program to end (signal(7), "Standard signals").
const LEAVE: [Name; 4] = [Name::SIGINT, Name::SIGTERM, Name::SIGHUP, Name::SIGQUIT];

/// Blocks `SIGINT`, `SIGTERM`, `SIGHUP` and `SIGQUIT` in this thread and those it starts from now on, and calls `on_signal` with
/// each that arrives, on a thread of its own. `SIGPIPE` is blocked, too: a reader that is gone is an error of the write.
///
/// Call it first in `main`, once, before there are other threads. The signals are never put back to their defaults, so that a
/// second Ctrl-C is one more call of `on_signal` and cannot cut an orderly leave short. One that was ignored at start (nohup, a
/// background job) stays so.
///
/// Returns what this process found blocked and ignored when it was started, `SIGPIPE` included: what a command is to start with
/// (give it to [`ptrace_core::Command::signals`]).
///
/// # Errors
/// When the mask cannot be set or the thread not be started.
pub fn start(mut on_signal: impl FnMut(Signal) + Send + 'static) -> io::Result<SignalState> {
    let original = SignalState::current().ignore(Signal::SIGPIPE, sys::sigpipe_was_ignored());
    let waited = awaited(sys::ignored_signals());
    let mut blocked = waited;
    blocked.add(Name::SIGPIPE);
    blocked.thread_block()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        // sigwait(3) fails for an invalid set only, and this one is valid.
        while let Ok(signal) = waited.wait() {
            on_signal(Signal::new(signal as i32));
        }
    })?;
    Ok(original)
}

/// The signals to wait for: all of [`LEAVE`] that were not ignored. A blocked signal is queued even where it is ignored
/// (kernel/signal.c, `sig_ignored`), so that waiting for it would undo what nohup(1) did.
fn awaited(ignored: u64) -> SigSet {
    LEAVE
        .into_iter()
        .filter(|signal| ignored & (1 << (*signal as i32 - 1)) == 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ignored_is_not_waited_for() {
        let all = awaited(0);
        assert!(LEAVE.iter().all(|signal| all.contains(*signal)));
        // nohup: SIGHUP is 1. A background job of a shell without job control: SIGINT is 2, SIGQUIT 3.
        assert!(!awaited(0b001).contains(Name::SIGHUP) && awaited(0b001).contains(Name::SIGINT));
        let job = awaited(0b110);
        assert!(!job.contains(Name::SIGINT) && !job.contains(Name::SIGQUIT) && job.contains(Name::SIGTERM));
    }
}
