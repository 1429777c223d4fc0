//! What happens once per call.

use super::{Report, Row};
use hdrhistogram::Histogram;
use rustc_hash::FxHashMap;
use std::fmt;

/// What the tracer itself costs, measured at start, so that it can be taken off. In nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Correction {
    /// What is measured for a call of a function that does nothing.
    pub inside_ns: u64,
    /// What a traced call of a function that does nothing adds to the duration of the call around it.
    pub around_ns: u64,
}

/// One line for the user.
impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inside, around) = (self.inside_ns, self.around_ns);
        write!(
            f,
            "taken off for the tracer's own cost: {inside} ns per call, and {around} ns per traced call inside it"
        )
    }
}

/// A call in flight: what the traced calls inside it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenCall {
    inner_calls: u64,
    inner_ns: u64,
}

impl OpenCall {
    /// The call is over, `measured_ns` after its entry.
    #[must_use]
    pub fn close(self, measured_ns: u64, failed: bool, correction: &Correction) -> Sample {
        let cost = correction
            .around_ns
            .saturating_mul(self.inner_calls)
            .saturating_add(correction.inside_ns);
        // A call may be faster than the average that was measured: less than nothing is nothing.
        let duration_ns = measured_ns.saturating_sub(cost);
        let self_ns = duration_ns.saturating_sub(self.inner_ns);
        Sample {
            duration_ns,
            self_ns,
            failed,
            inner_calls: self.inner_calls,
        }
    }

    /// A traced call made directly inside this one is over.
    pub fn add_inner(&mut self, inner: &Sample) {
        self.inner_calls = self
            .inner_calls
            .saturating_add(inner.inner_calls)
            .saturating_add(1);
        self.inner_ns = self.inner_ns.saturating_add(inner.duration_ns);
    }

    /// A call made directly inside this one is over that was recorded inside the program, which cost next to nothing.
    pub fn add_recorded(&mut self, inner: &Sample) {
        self.inner_calls = self.inner_calls.saturating_add(inner.inner_calls);
        self.inner_ns = self.inner_ns.saturating_add(inner.duration_ns);
    }

    /// A traced call made directly inside this one was left without a return (`longjmp`, an exception).
    pub fn add_unreturned(&mut self, inner: &OpenCall) {
        self.inner_calls = self
            .inner_calls
            .saturating_add(inner.inner_calls)
            .saturating_add(1);
        self.inner_ns = self.inner_ns.saturating_add(inner.inner_ns);
    }
}

/// A finished call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// From entry to return, the tracer's cost taken off.
    pub duration_ns: u64,
    /// The same without the traced calls inside.
    pub self_ns: u64,
    /// Whether it returned an error.
    pub failed: bool,
    /// How many traced calls were made inside, at any depth.
    pub inner_calls: u64,
}

/// The calls of a run (or of one process), by call point.
#[derive(Debug, Default)]
pub struct Summary {
    tallies: Vec<Option<Box<Tally>>>,
    correction: Option<Correction>,
}

/// One function's calls. The histogram has two digits (values within 1 %) and grows with the longest call: 7 to 29 KiB.
#[derive(Debug, Clone)]
struct Tally {
    calls: u64,
    unreturned: u64,
    errors: u64,
    total_ns: u64,
    self_ns: u64,
    max_ns: u64,
    durations: Histogram<u32>,
}

const DIGITS: u8 = 2;

impl Tally {
    fn new() -> Self {
        Self {
            calls: 0,
            unreturned: 0,
            errors: 0,
            total_ns: 0,
            self_ns: 0,
            max_ns: 0,
            durations: Histogram::new(DIGITS).expect("two digits are within the 0 to 5 that it takes"),
        }
    }

    fn add(&mut self, sample: &Sample) {
        self.calls += 1;
        self.errors += u64::from(sample.failed);
        self.total_ns = self.total_ns.saturating_add(sample.duration_ns);
        self.self_ns = self.self_ns.saturating_add(sample.self_ns);
        self.max_ns = self.max_ns.max(sample.duration_ns);
        // It resizes itself to any u64; the only error left is a usize of 16 bits.
        let _ = self.durations.record(sample.duration_ns);
    }

    fn merge(&mut self, other: &Tally) {
        self.calls += other.calls;
        self.unreturned += other.unreturned;
        self.errors += other.errors;
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.self_ns = self.self_ns.saturating_add(other.self_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        // As in `add`.
        let _ = self.durations.add(&other.durations);
    }

    fn row(&self, name: &str) -> Row {
        // A bucket's upper end may lie beyond the longest call.
        let quantile = |q| self.durations.value_at_quantile(q).min(self.max_ns);
        Row {
            name: name.to_owned(),
            calls: self.calls,
            unreturned: self.unreturned,
            errors: self.errors,
            total_ns: self.total_ns,
            self_ns: self.self_ns,
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            max_ns: self.max_ns,
        }
    }
}

impl Summary {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// States what was taken off each call, so that the report can say so.
    pub fn set_correction(&mut self, correction: Correction) {
        self.correction = Some(correction);
    }

    /// Counts a finished call of call point `key`. Keys are dense numbers: memory grows with the largest one.
    pub fn record(&mut self, key: u32, sample: &Sample) {
        self.tally(key).add(sample);
    }

    /// Counts a call that did not return (`exit_group`, `longjmp`, a killed process).
    pub fn record_unreturned(&mut self, key: u32) {
        let tally = self.tally(key);
        tally.calls += 1;
        tally.unreturned += 1;
    }

    /// Adds the calls of another summary, whose keys mean the same.
    pub fn merge(&mut self, other: &Summary) {
        for (key, tally) in (0..).zip(&other.tallies) {
            if let Some(tally) = tally {
                self.tally(key).merge(tally);
            }
        }
    }

    fn tally(&mut self, key: u32) -> &mut Tally {
        let index = key as usize;
        if index >= self.tallies.len() {
            self.tallies.resize_with(index + 1, || None);
        }
        self.tallies[index].get_or_insert_with(|| Box::new(Tally::new()))
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tallies.iter().all(Option::is_none)
    }

    /// The summary by name, longest total first: call points of one name (from several libraries) are added up.
    #[must_use]
    pub fn report<N: AsRef<str>>(&self, mut name: impl FnMut(u32) -> N) -> Report {
        let mut by_name: FxHashMap<String, Tally> = FxHashMap::default();
        for (key, tally) in (0..).zip(&self.tallies) {
            let Some(tally) = tally else { continue };
            let name = name(key);
            match by_name.get_mut(name.as_ref()) {
                Some(known) => known.merge(tally),
                None => {
                    by_name.insert(name.as_ref().to_owned(), Tally::clone(tally));
                }
            }
        }
        let mut rows: Vec<_> = by_name.iter().map(|(name, tally)| tally.row(name)).collect();
        rows.sort_unstable_by(|a, b| b.total_ns.cmp(&a.total_ns).then_with(|| a.name.cmp(&b.name)));
        Report {
            rows,
            correction: self.correction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Correction = Correction {
        inside_ns: 0,
        around_ns: 0,
    };

    fn call(ns: u64) -> Sample {
        OpenCall::default().close(ns, false, &FREE)
    }

    #[test]
    fn self_time_is_without_what_is_inside() {
        let leaf = call(100);
        let mut middle = OpenCall::default();
        middle.add_inner(&leaf);
        middle.add_inner(&leaf);
        let middle = middle.close(250, false, &FREE);
        let mut top = OpenCall::default();
        top.add_inner(&middle);
        let top = top.close(1000, true, &FREE);
        assert_eq!((middle.self_ns, top.self_ns, top.inner_calls), (50, 750, 3));
        assert!(top.failed && !middle.failed);
    }

    /// A tracer whose every call costs `before` + `within` + `after`: what it measures is corrected to the true durations.
    #[test]
    fn the_correction_gives_the_true_times_back() {
        let (before, within, after) = (5, 7, 11);
        let correction = Correction {
            inside_ns: within,
            around_ns: before + within + after,
        };
        let measured_leaf = 100 + within;
        let leaf = OpenCall::default().close(measured_leaf, false, &correction);
        let mut middle = OpenCall::default();
        middle.add_inner(&leaf);
        let measured_middle = 40 + (before + measured_leaf + after) + within;
        let middle = middle.close(measured_middle, false, &correction);
        let mut top = OpenCall::default();
        top.add_inner(&middle);
        let top = top.close(
            1 + (before + measured_middle + after) + within,
            false,
            &correction,
        );
        assert_eq!(
            [leaf, middle, top].map(|call| (call.duration_ns, call.self_ns)),
            [(100, 100), (140, 40), (141, 1)]
        );
        assert_eq!(OpenCall::default().close(3, false, &correction).duration_ns, 0);
    }

    #[test]
    fn a_call_that_was_left_still_tells_what_it_held() {
        let mut left = OpenCall::default();
        left.add_inner(&call(30));
        let mut around = OpenCall::default();
        around.add_unreturned(&left);
        let around = around.close(100, false, &FREE);
        assert_eq!((around.self_ns, around.inner_calls), (70, 2));
    }

    #[test]
    fn percentiles_are_within_one_percent() {
        let mut summary = Summary::new();
        for ns in 1..=100_000 {
            summary.record(3, &call(ns));
        }
        let report = summary.report(|_| "f");
        let row = &report.rows[0];
        for (found, exact) in [(row.p50_ns, 50_000), (row.p90_ns, 90_000), (row.p99_ns, 99_000)] {
            assert!(found.abs_diff(exact) * 100 <= exact, "{found} is not {exact}");
        }
        assert_eq!(
            (row.max_ns, row.calls, row.total_ns),
            (100_000, 100_000, 5_000_050_000)
        );
    }

    #[test]
    fn names_from_several_libraries_are_added_up() {
        let mut summary = Summary::new();
        assert!(summary.is_empty());
        summary.record(0, &call(10));
        summary.record(7, &OpenCall::default().close(30, true, &FREE));
        summary.record(2, &call(100));
        summary.record_unreturned(2);
        let report = summary.report(|key| if key == 2 { "exit" } else { "read" });
        let told: Vec<_> = report
            .rows
            .iter()
            .map(|r| {
                (
                    r.name.as_str(),
                    r.calls,
                    r.unreturned,
                    r.errors,
                    r.total_ns,
                    r.max_ns,
                )
            })
            .collect();
        assert_eq!(told, [("exit", 2, 1, 0, 100, 100), ("read", 2, 0, 1, 40, 30)]);
        assert!(!summary.is_empty());
    }

    #[test]
    fn extreme_times_are_kept() {
        let mut summary = Summary::new();
        summary.record(0, &call(0));
        summary.record(0, &call(u64::MAX));
        summary.record(0, &call(u64::MAX));
        let row = summary.report(|_| "f").rows.remove(0);
        assert_eq!((row.total_ns, row.max_ns), (u64::MAX, u64::MAX));
        // A histogram's largest value is one less.
        assert!(row.p50_ns >= u64::MAX - 1);
        let none = Summary::new().report(|_| "f");
        assert_eq!(none.rows, []);
    }
}
