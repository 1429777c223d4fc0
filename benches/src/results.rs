//! What was measured, and what follows from it.

use crate::attach::Visit;
use crate::error::Error;
use crate::floor::Part;
use crate::machine::Machine;
use crate::tools::{Tool, Workload};
use std::collections::BTreeMap;
use std::time::Duration;

/// One run of one tool.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// From start to finish.
    pub whole: Duration,
    /// Processor time of the tool and the program, from start to finish.
    pub cpu: Duration,
    /// What the loop says it took; of a program without a loop, the whole.
    pub timed: Duration,
    /// How many calls were made in that time.
    pub calls: u32,
}

/// All runs of one tool on one workload.
#[derive(Debug, Default)]
pub struct Runs {
    /// Those that ended well.
    pub samples: Vec<Sample>,
    /// Why the last one that did not, did not.
    pub failure: Option<Error>,
}

/// Everything that a comparison has found.
#[derive(Debug)]
pub struct Results {
    /// On what.
    pub machine: Machine,
    /// Load averages at the start and at the end.
    pub load: [String; 2],
    /// How many rounds were asked for.
    pub rounds: u32,
    /// Each tool's version, or nothing where it is missing.
    pub versions: Vec<(Tool, Option<String>)>,
    /// Why probes of perf could not be planted, where they could not.
    pub runs: BTreeMap<(Workload, Tool), Runs>,
    /// Time of one bare stop with each part, by round.
    pub parts: BTreeMap<Part, Vec<Duration>>,
    /// Why the stops could not be measured, where they could not.
    pub parts_failure: Option<Error>,
    /// Attach and leave, by round.
    pub visits: BTreeMap<Tool, (Vec<Visit>, Option<Error>)>,
    /// Peak memory of the tracer on [`Workload::Imports`], bytes.
    pub peaks: BTreeMap<Tool, Result<u64, Error>>,
}

/// The least and the middle of some measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// What a quiet machine would show.
    pub min: f64,
    /// What this one showed.
    pub median: f64,
}

impl Spread {
    /// Of `values`; nothing of none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (middle, min) = (values.len() / 2, *values.first()?);
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Spread { min, median })
    }

    /// Both less those of `other`.
    #[must_use]
    pub fn less(self, other: Spread) -> Spread {
        Spread {
            min: self.min - other.min,
            median: self.median - other.median,
        }
    }

    /// Both times `factor`.
    #[must_use]
    pub fn times(self, factor: f64) -> Spread {
        Spread {
            min: self.min * factor,
            median: self.median * factor,
        }
    }
}

impl Results {
    /// What a call costs with `tool`, microseconds: (traced time - untraced time) / calls.
    #[must_use]
    pub fn per_call(&self, workload: Workload, tool: Tool) -> Option<Spread> {
        let traced = self.microseconds_a_call(workload, tool)?;
        if tool == Tool::Untraced {
            return Some(traced);
        }
        Some(traced.less(self.microseconds_a_call(workload, Tool::Untraced)?))
    }

    fn microseconds_a_call(&self, workload: Workload, tool: Tool) -> Option<Spread> {
        let samples = &self.runs.get(&(workload, tool))?.samples;
        Spread::of(
            samples
                .iter()
                .map(|sample| sample.timed.as_secs_f64() * 1e6 / f64::from(sample.calls)),
        )
    }

    /// Start to finish, milliseconds.
    #[must_use]
    pub fn whole(&self, workload: Workload, tool: Tool) -> Option<Spread> {
        let samples = &self.runs.get(&(workload, tool))?.samples;
        Spread::of(samples.iter().map(|sample| sample.whole.as_secs_f64() * 1e3))
    }

    /// Processor time of the tool and the program, start-up included: of a loop microseconds a call, otherwise milliseconds. The
    /// least of all runs.
    #[must_use]
    pub fn cpu(&self, workload: Workload, tool: Tool) -> Option<f64> {
        let samples = &self.runs.get(&(workload, tool))?.samples;
        let figure = |sample: &Sample| {
            let seconds = sample.cpu.as_secs_f64();
            if workload.is_loop() {
                seconds * 1e6 / f64::from(sample.calls)
            } else {
                seconds * 1e3
            }
        };
        samples.iter().map(figure).reduce(f64::min)
    }

    /// One stop with the parts up to `part`, microseconds.
    #[must_use]
    pub fn stop(&self, part: Part) -> Option<Spread> {
        Spread::of(self.parts.get(&part)?.iter().map(|time| time.as_secs_f64() * 1e6))
    }

    /// Two bare stops, handed over on one CPU, microseconds: what a call that is stopped twice costs at least.
    #[must_use]
    pub fn floor(&self) -> Option<Spread> {
        Some(self.stop(Part::HandedOver)?.times(2.0))
    }

    /// One figure of the visits of `tool`, milliseconds.
    #[must_use]
    pub fn visit(&self, tool: Tool, figure: fn(&Visit) -> Duration) -> Option<Spread> {
        Spread::of(
            self.visits
                .get(&tool)?
                .0
                .iter()
                .map(|visit| figure(visit).as_secs_f64() * 1e3),
        )
    }

    /// Peak memory of `tool`, MiB.
    #[must_use]
    pub fn peak(&self, tool: Tool) -> Option<f64> {
        let kib = u32::try_from(self.peaks.get(&tool)?.as_ref().ok()? / 1024).ok()?;
        Some(f64::from(kib) / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]),
            Some(Spread {
                min: 1.0,
                median: 2.0
            })
        );
        assert_eq!(
            Spread::of([4.0, 1.0, 2.0, 3.0]),
            Some(Spread {
                min: 1.0,
                median: 2.5
            })
        );
    }
}
