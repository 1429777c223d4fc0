//! The time that lines show.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the epoch that never go back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    epoch: u64,
    start: Instant,
    /// The time that it shows for good: that of what is replayed.
    fixed: Option<u64>,
}

impl Clock {
    /// The time of this machine.
    pub(super) fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            epoch: u64::try_from(epoch.as_nanos()).unwrap_or(0),
            start: Instant::now(),
            fixed: None,
        }
    }

    /// From now on it is `time`.
    pub(super) fn set(&mut self, time: u64) {
        self.fixed = Some(time);
    }

    /// Now.
    pub(super) fn now(&self) -> u64 {
        if let Some(time) = self.fixed {
            return time;
        }
        self.epoch
            .saturating_add(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
