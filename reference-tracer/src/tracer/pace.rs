//! Whether handing threads over on one CPU pays at the moment.
//!
//! On a quiet machine a hand-over saves the wake-up of another CPU, several times the cost of a stop. On
//! a busy one the other CPUs are awake anyway, and the tracer's own may be the busiest. So both are
//! tried for a few stops now and then, and the quicker is kept.

use std::time::{Duration, Instant};

/// Stops of one trial.
const TRIAL: u32 = 200;
/// Stops between trials.
const KEEP: u32 = 20_000;
/// The longest time between two stops that counts as the cost of a stop: what is longer is the
/// program's own.
const LONGEST: Duration = Duration::from_micros(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Stops are timed with the hand-off on.
    With,
    /// Stops are timed with it off; what they took with it on.
    Without { with: Duration },
    /// The quicker one is used.
    Kept,
}

/// Decides between two ways of resuming threads by timing both.
#[derive(Debug)]
pub(super) struct Pace {
    phase: Phase,
    left: u32,
    spent: Duration,
    last: Instant,
    /// Whether the hand-off is on.
    on: bool,
}

impl Pace {
    /// Begins with the hand-off on.
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::With,
            left: TRIAL,
            spent: Duration::ZERO,
            last: Instant::now(),
            on: true,
        }
    }

    /// A stop is over, in a trace of one thread (`alone`) or of several, which are never handed over.
    /// Gives whether the hand-off is to be on from now on, if that changes.
    pub(super) fn stopped(&mut self, alone: bool) -> Option<bool> {
        if !alone {
            // When there is one thread again, it is tried again.
            self.begin(Phase::With, TRIAL);
            return self.turn(false);
        }
        if self.phase == Phase::Kept {
            self.left -= 1;
            if self.left > 0 {
                return None;
            }
            self.begin(Phase::With, TRIAL);
            return self.turn(true);
        }
        if self.phase == Phase::With && !self.on {
            self.begin(Phase::With, TRIAL);
            return self.turn(true);
        }
        self.time();
        if self.left > 0 {
            return None;
        }
        if let Phase::Without { with } = self.phase {
            let pays = with <= self.spent;
            self.begin(Phase::Kept, KEEP);
            return self.turn(pays);
        }
        self.begin(Phase::Without { with: self.spent }, TRIAL);
        self.turn(false)
    }

    /// Adds the time since the last stop to that of the trial.
    fn time(&mut self) {
        let now = Instant::now();
        self.spent += now.duration_since(self.last).min(LONGEST);
        self.last = now;
        self.left -= 1;
    }

    fn turn(&mut self, on: bool) -> Option<bool> {
        (std::mem::replace(&mut self.on, on) != on).then_some(on)
    }

    fn begin(&mut self, phase: Phase, stops: u32) {
        let (on, last) = (self.on, Instant::now());
        *self = Self {
            phase,
            left: stops,
            spent: Duration::ZERO,
            last,
            on,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The changes that a trial leads to when each stop takes so long with the hand-off on and off.
    fn trial(with: Duration, without: Duration) -> Vec<bool> {
        let mut pace = Pace::new();
        let mut changes = Vec::new();
        let mut on = true;
        for _ in 0..2 * TRIAL {
            // Time is made to pass by moving the last stop into the past.
            pace.last = Instant::now()
                .checked_sub(if on { with } else { without })
                .unwrap();
            if let Some(now) = pace.stopped(true) {
                on = now;
                changes.push(now);
            }
        }
        changes
    }

    #[test]
    fn the_quicker_way_is_kept() {
        let (quick, slow) = (Duration::from_micros(10), Duration::from_micros(200));
        assert_eq!(trial(quick, slow), [false, true]);
        assert_eq!(trial(slow, quick), [false]);
    }

    #[test]
    fn what_the_program_does_between_calls_counts_for_little() {
        // One long pause in a trial of quick stops must not decide it.
        let mut pace = Pace::new();
        pace.last = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        pace.stopped(true);
        assert!(pace.spent <= LONGEST);
    }

    #[test]
    fn several_threads_are_not_handed_over() {
        let mut pace = Pace::new();
        assert_eq!(pace.stopped(false), Some(false));
        assert_eq!(pace.stopped(false), None);
        assert_eq!(pace.stopped(true), Some(true));
    }

    #[test]
    fn it_is_tried_again() {
        let mut pace = Pace::new();
        let changes = (0..2 * TRIAL + KEEP).filter_map(|_| pace.stopped(true)).count();
        assert!(changes >= 2, "a second trial began");
        assert_eq!(pace.phase, Phase::With);
    }
}
