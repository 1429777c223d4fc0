//! Whether handing threads over on one CPU pays at the moment.
//!
//! On a quiet machine a hand-over saves the wake-up of another CPU, several times the cost of a stop. On
//! a busy one the other CPUs are awake anyway, and the tracer's own may be the busiest. So both are
//! tried for a few stops now and then.
//!
//! What counts is the median of the times between stops. Their sum was seen to choose wrongly for half of all
//! trials: between two stops lie also what the program computes and the objects it loads, which is
//! more than either way costs.
//!
//! The hand-off is given up only where it costs twice as much. Just after it both run on one CPU still, and
//! stops without it are quicker for a while, by the system calls that it takes; then the kernel spreads
//! them, and each stop waits for a CPU to wake (seen: 28 µs a call, then 170; Linux 6.18, two CPUs).

use std::time::{Duration, Instant};

/// Stops of one trial of one way.
const TRIAL: usize = 64;
/// Stops until the next trial while the hand-off is on.
const KEEP_ON: u32 = 20_000;
/// The same while it is off.
const KEEP_OFF: u32 = 4_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Stops are timed with the hand-off on.
    With,
    /// Stops are timed with it off; the median with it on.
    Without { with: Duration },
    /// The one that was chosen is used for so many more stops.
    Kept(u32),
}

/// Decides between two ways of resuming threads by timing both.
#[derive(Debug)]
pub(super) struct Pace {
    phase: Phase,
    times: [Duration; TRIAL],
    timed: usize,
    last: Instant,
    /// Whether the hand-off is on.
    on: bool,
}

impl Pace {
    /// Begins with the hand-off on.
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::With,
            times: [Duration::ZERO; TRIAL],
            timed: 0,
            last: Instant::now(),
            on: true,
        }
    }

    /// A stop is over, in a trace of one thread (`alone`) or of several, which are never handed over.
    /// Gives whether the hand-off is to be on from now on, if that changes.
    pub(super) fn stopped(&mut self, alone: bool) -> Option<bool> {
        if !alone {
            // When there is one thread again, it is tried again.
            self.begin(Phase::With);
            return self.turn(false);
        }
        match self.phase {
            Phase::Kept(1) => {
                self.begin(Phase::With);
                self.turn(true)
            }
            Phase::Kept(left) => {
                self.phase = Phase::Kept(left - 1);
                None
            }
            Phase::With if !self.on => {
                self.begin(Phase::With);
                self.turn(true)
            }
            Phase::With => {
                let with = self.time()?;
                self.begin(Phase::Without { with });
                self.turn(false)
            }
            Phase::Without { with } => {
                let without = self.time()?;
                let pays = with <= 2 * without;
                self.phase = Phase::Kept(if pays { KEEP_ON } else { KEEP_OFF });
                self.turn(pays)
            }
        }
    }

    /// Takes the time since the last stop. Gives the median when the trial is over.
    fn time(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.times[self.timed] = now.duration_since(self.last);
        self.last = now;
        self.timed += 1;
        (self.timed == TRIAL).then(|| *self.times.select_nth_unstable(TRIAL / 2).1)
    }

    fn turn(&mut self, on: bool) -> Option<bool> {
        (std::mem::replace(&mut self.on, on) != on).then_some(on)
    }

    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.timed = 0;
        self.last = Instant::now();
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
    fn it_is_given_up_where_it_costs_much_more() {
        let (quick, slow) = (Duration::from_micros(10), Duration::from_micros(200));
        assert_eq!(trial(quick, slow), [false, true]);
        assert_eq!(trial(slow, quick), [false]);
        assert_eq!(
            trial(quick + quick / 2, quick),
            [false, true],
            "a little slower is kept"
        );
    }

    #[test]
    fn what_the_program_does_between_calls_counts_for_little() {
        // A few long pauses in a trial of quick stops must not decide it.
        let mut pace = Pace::new();
        for stop in 0..TRIAL {
            let pause = if stop % 4 == 0 {
                Duration::from_secs(1)
            } else {
                Duration::ZERO
            };
            pace.last = Instant::now().checked_sub(pause).unwrap();
            pace.stopped(true);
        }
        assert!(matches!(pace.phase, Phase::Without { with } if with < Duration::from_secs(1)));
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
        let changes = (0..2 * TRIAL + KEEP_ON as usize)
            .filter_map(|_| pace.stopped(true))
            .count();
        assert!(changes >= 2, "a second trial began");
        assert_eq!(pace.phase, Phase::With);
    }
}
