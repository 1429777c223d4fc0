//! How a trace ends: who asks for it, and what is known afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use ptrace_core::{ExitStatus, Signal};

use crate::summary::Report;

/// What leads to the end of a trace, from other threads.
#[derive(Debug, Clone, Default)]
pub struct Leave(Arc<AtomicI32>);

/// In [`Leave`]: the time is over.
const TIME: i32 = -1;

/// Why a trace ended before its processes did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// This signal asked for it.
    Signal(Signal),
    /// It has lasted as long as it should.
    Time,
    /// As many calls were seen as should be.
    Limit,
    /// What is seen cannot be written.
    Output,
}

impl Leave {
    /// Asks the tracer to leave because of `signal`; wake its session after.
    pub fn ask(&self, signal: Signal) {
        // The first signal counts: a second Ctrl-C changes nothing.
        let first = |now: i32| (now <= 0).then_some(signal.raw());
        let _: Result<i32, i32> = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, first);
    }

    /// Asks the tracer to leave because its time is over; wake its session after.
    pub fn time_is_over(&self) {
        let order = Ordering::SeqCst;
        let _: Result<i32, i32> = self.0.compare_exchange(0, TIME, order, order);
    }

    pub(super) fn asked(&self) -> Option<Left> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            TIME => Some(Left::Time),
            signal => Some(Left::Signal(Signal::new(signal))),
        }
    }
}

/// Wakes a [`Tracer`](super::Tracer) that is to leave, whatever it waits for.
#[derive(Debug, Clone)]
pub struct Waker {
    pub(super) session: ptrace_core::Waker,
    pub(super) calls: ptrace_core::Waker,
}

impl Waker {
    /// Wakes it where it waits for its tracees; what else it waits for goes on.
    pub fn look(&self) {
        self.session.wake();
    }

    /// Wakes it.
    pub fn wake(&self) {
        self.session.wake();
        self.calls.wake();
    }
}

/// How a trace ended.
#[derive(Debug)]
pub struct Outcome {
    /// How the command ended; `None` if there was none, or it runs on.
    pub command: Option<ExitStatus>,
    /// Why the tracer left.
    pub left: Option<Left>,
    /// How many calls were seen.
    pub calls: u64,
    /// The summary, if one was asked for.
    pub summary: Option<Report>,
    /// Whether a part of the trace could not be written, which was told.
    pub lost: bool,
    /// Lines for the user, such as why nothing was seen.
    pub notes: Vec<String>,
}
