//! The comparison: every tool on every workload, one after the other, round after round.

use crate::attach;
use crate::error::Error;
use crate::floor::{Part, Stopper};
use crate::machine::{self, Machine};
use crate::process::Line;
use crate::results::{Results, Runs};
use crate::sample::LIMIT;
use crate::tools::{Probes, Setup, Tool, Workload};
use std::collections::BTreeMap;

/// How many stops one measurement of the floor or of a part takes.
const STOPS: u32 = 10_000;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often each run is made; the rounds are interleaved, so that a busy minute hits all tools alike.
    pub rounds: u32,
    /// Which workloads.
    pub workloads: Vec<Workload>,
    /// Whether attaching is measured.
    pub attach: bool,
    /// Whether the parts of a stop are measured; the floor is, always.
    pub parts: bool,
}

/// Runs `plan`. `progress` is told what is done next.
///
/// What fails is in the results with its reason; nothing stops the comparison.
pub fn run(setup: &Setup, plan: &Plan, progress: &mut dyn FnMut(&str)) -> Results {
    let versions: Vec<_> = Tool::ALL
        .iter()
        .map(|&tool| (tool, setup.version(tool)))
        .collect();
    let mut results = Results {
        machine: Machine::this(),
        load: [machine::load(), String::new()],
        rounds: plan.rounds,
        versions,
        runs: BTreeMap::new(),
        parts: BTreeMap::new(),
        parts_failure: None,
        visits: BTreeMap::new(),
        peaks: BTreeMap::new(),
    };
    let probes = plant(setup, &results);
    for round in 1..=plan.rounds {
        let mut say = |what: &str| progress(&format!("round {round} of {}: {what}", plan.rounds));
        floor(setup, plan, &mut results, &mut say);
        for &workload in &plan.workloads {
            workload_round(setup, workload, probes.as_ref(), &mut results, &mut say);
        }
        if plan.attach {
            attach_round(setup, &mut results, &mut say);
        }
    }
    if plan.workloads.contains(&Workload::Imports) {
        peaks(setup, &mut results, progress);
    }
    results.load[1] = machine::load();
    results
}

/// The tools that are there.
fn present(results: &Results) -> Vec<Tool> {
    results
        .versions
        .iter()
        .filter(|(_, version)| version.is_some())
        .map(|&(tool, _)| tool)
        .collect()
}

fn plant(setup: &Setup, results: &Results) -> Option<Result<Probes, Error>> {
    present(results)
        .contains(&Tool::Perf)
        .then(|| setup.plant_probes())
}

fn floor(setup: &Setup, plan: &Plan, results: &mut Results, say: &mut dyn FnMut(&str)) {
    say("bare stops");
    let parts: &[Part] = if plan.parts {
        &Part::ALL
    } else {
        &[Part::Apart, Part::HandedOver]
    };
    let measured = Stopper::start(&setup.scratch).and_then(|mut stopper| {
        parts
            .iter()
            .map(|&part| Ok((part, stopper.measure(part, STOPS)?)))
            .collect::<Result<Vec<_>, Error>>()
    });
    match measured {
        Ok(times) => times
            .into_iter()
            .for_each(|(part, time)| results.parts.entry(part).or_default().push(time)),
        Err(error) => results.parts_failure = Some(error),
    }
}

fn workload_round(
    setup: &Setup,
    workload: Workload,
    probes: Option<&Result<Probes, Error>>,
    results: &mut Results,
    say: &mut dyn FnMut(&str),
) {
    for tool in present(results) {
        let Some(invocation) = setup.invocation(tool, workload) else {
            continue;
        };
        say(&format!("{}: {}", workload.word(), tool.name()));
        let outcome = match (tool, probes) {
            (Tool::Perf, Some(Err(error))) => Err(Error::Unexpected {
                what: "planting uprobes",
                text: error.chain(),
            }),
            _ => setup.sample(workload, &invocation),
        };
        let runs: &mut Runs = results.runs.entry((workload, tool)).or_default();
        match outcome {
            Ok(sample) => runs.samples.push(sample),
            Err(error) => runs.failure = Some(error),
        }
    }
}

fn attach_round(setup: &Setup, results: &mut Results, say: &mut dyn FnMut(&str)) {
    for tool in present(results).into_iter().filter(|tool| tool.attaches()) {
        say(&format!("attach: {}", tool.name()));
        let Some(visit) = attach::visit(setup, tool) else {
            continue;
        };
        let (visits, failure) = results.visits.entry(tool).or_default();
        match visit {
            Ok(visit) => visits.push(visit),
            Err(error) => *failure = Some(error),
        }
    }
}

fn peaks(setup: &Setup, results: &mut Results, progress: &mut dyn FnMut(&str)) {
    for tool in present(results) {
        let Some(invocation) = setup.invocation(tool, Workload::Imports) else {
            continue;
        };
        progress(&format!("peak memory: {}", tool.name()));
        let line: &Line = &invocation.line;
        let peak = setup.clean().and_then(|()| line.peak(&setup.scratch, LIMIT));
        results.peaks.insert(tool, peak);
    }
}
