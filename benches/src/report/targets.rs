//! What the tracer is held to, against what was found.

use super::table::number;
use crate::attach::THREADS;
use crate::results::Results;
use crate::tools::{Tool, Workload};

/// A goal and its outcome.
#[derive(Clone, Debug)]
pub struct Target {
    /// What is compared.
    pub what: String,
    /// What it should be.
    pub wanted: &'static str,
    /// What it is.
    pub found: String,
    /// How the two compare.
    pub verdict: Verdict,
}

/// How a target came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Found as wanted.
    Met,
    /// Found otherwise.
    Missed,
    /// One of the two sides is not there.
    NotMeasured,
}

/// Every target, by the minima.
#[must_use]
pub fn all(results: &Results) -> Vec<Target> {
    let mut targets = vec![
        times_cheaper(
            results,
            Workload::Ints,
            "a call with two integers, ltrace / rltrace",
        ),
        over_floor(results),
        times_cheaper(results, Workload::Threads, "four threads, ltrace -f / rltrace -f"),
        throughput(results),
        text(results),
        summary(results),
        part_of_ltrace(results, Workload::True),
        part_of_ltrace(results, Workload::Ls),
        imports(results),
        memory(results),
    ];
    targets.extend(attach(results));
    targets
}

/// A target whose figure is held against a limit by `met`.
fn target(
    what: impl Into<String>,
    wanted: &'static str,
    figure: Option<f64>,
    unit: &str,
    met: fn(f64) -> bool,
) -> Target {
    let verdict = match figure {
        Some(figure) if met(figure) => Verdict::Met,
        Some(_) => Verdict::Missed,
        None => Verdict::NotMeasured,
    };
    let found = figure
        .map(|figure| format!("{}{unit}", number(figure)))
        .unwrap_or_default();
    Target {
        what: what.into(),
        wanted,
        found,
        verdict,
    }
}

fn call(results: &Results, workload: Workload, tool: Tool) -> Option<f64> {
    results.per_call(workload, tool).map(|cost| cost.min)
}

fn whole(results: &Results, workload: Workload, tool: Tool) -> Option<f64> {
    results.whole(workload, tool).map(|time| time.min)
}

/// One over the other, where both are there.
fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one? / other?)
}

fn times_cheaper(results: &Results, workload: Workload, what: &str) -> Target {
    let ltrace = call(results, workload, Tool::Ltrace);
    let figure = ratio(ltrace, call(results, workload, Tool::Rltrace));
    target(what, "at least 8", figure, " times", |times| times >= 8.0)
}

fn over_floor(results: &Results) -> Target {
    let ours = call(results, Workload::Ints, Tool::Rltrace);
    let figure = ratio(ours, results.floor().map(|floor| floor.min));
    target(
        "the same, rltrace / two bare stops handed over",
        "at most 1.5",
        figure,
        " times",
        |times| times <= 1.5,
    )
}

fn throughput(results: &Results) -> Target {
    let four = call(results, Workload::Threads, Tool::Rltrace);
    let figure = ratio(call(results, Workload::Ints, Tool::Rltrace), four);
    target(
        "calls a second of four threads / of one",
        "at least 1",
        figure,
        " times",
        |times| times >= 1.0,
    )
}

fn text(results: &Results) -> Target {
    let ints = call(results, Workload::Ints, Tool::Rltrace);
    let figure = call(results, Workload::Text, Tool::Rltrace)
        .zip(ints)
        .map(|(text, ints)| text - ints);
    target(
        "a string argument adds",
        "at most 2.5 µs",
        figure,
        " µs",
        |more| more <= 2.5,
    )
}

fn summary(results: &Results) -> Target {
    let ints = call(results, Workload::Ints, Tool::Rltrace);
    let figure = ratio(call(results, Workload::Summary, Tool::Rltrace), ints);
    target("-c / printing", "less than 1", figure, " times", |times| {
        times < 1.0
    })
}

fn part_of_ltrace(results: &Results, workload: Workload) -> Target {
    let figure = ratio(
        whole(results, workload, Tool::Rltrace),
        whole(results, workload, Tool::Ltrace),
    );
    let what = format!("{}, rltrace / ltrace", workload.name());
    target(what, "at most 0.5", figure, " times", |times| times <= 0.5)
}

fn imports(results: &Results) -> Target {
    let untraced = whole(results, Workload::Imports, Tool::Untraced);
    let figure = whole(results, Workload::Imports, Tool::Rltrace)
        .zip(untraced)
        .map(|(ours, alone)| ours - 1.3 * alone);
    let what = "20,000 imports, one selected: over 1.3 times the untraced time";
    target(what, "at most 100 ms", figure, " ms", |over| over <= 100.0)
}

fn memory(results: &Results) -> Target {
    let figure = ratio(results.peak(Tool::Rltrace), results.peak(Tool::Ltrace));
    target(
        "the same, peak memory, rltrace / ltrace",
        "at most 0.5",
        figure,
        " times",
        |times| times <= 0.5,
    )
}

fn attach(results: &Results) -> [Target; 2] {
    let attached = results
        .visit(Tool::Rltrace, |visit| visit.attached)
        .map(|time| time.min);
    let left = results
        .visit(Tool::Rltrace, |visit| visit.left)
        .map(|time| time.min);
    let within = |what, figure| target(what, "at most 50 ms", figure, " ms", |time| time <= 50.0);
    [
        within(format!("attach to {THREADS} threads"), attached),
        within(format!("leave {THREADS} threads"), left),
    ]
}
