//! The processor's clock, which recording code reads.

use std::time::Instant;

use crate::sys;
use crate::tracer::clock::Clock;

/// The clock of time stamps, as the clock of the trace.
#[derive(Debug)]
pub(super) struct Ticks {
    start: u64,
    began: Instant,
    /// Nanoseconds of the trace's clock at the start.
    epoch: u64,
    /// Nanoseconds per tick.
    pub(super) rate: f64,
}

impl Ticks {
    pub(super) fn start(clock: &Clock) -> Self {
        Self {
            start: sys::ticks(),
            began: Instant::now(),
            epoch: clock.now(),
            rate: 0.0,
        }
    }

    /// Measures the rate anew, over all the time since the start.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of times")]
    pub(super) fn measure(&mut self) {
        let least = std::time::Duration::from_millis(1);
        while self.rate == 0.0 && self.began.elapsed() < least {
            std::hint::spin_loop();
        }
        let (ticks, time) = (sys::ticks().wrapping_sub(self.start), self.began.elapsed());
        self.rate = time.as_nanos() as f64 / ticks.max(1) as f64;
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a time since the start, of at most some weeks, in nanoseconds"
    )]
    pub(super) fn nanoseconds(&self, stamp: u64) -> u64 {
        let since = stamp.wrapping_sub(self.start).cast_signed();
        let nanoseconds = (since as f64 * self.rate) as i64;
        self.epoch.saturating_add_signed(nanoseconds)
    }
}
