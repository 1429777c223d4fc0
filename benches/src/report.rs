//! The results as sections of rows, which the table and the chart both show, and the targets that they are held against.

pub mod chart;
pub mod table;
pub mod targets;

use crate::error::Error;
use crate::floor::Part;
use crate::results::{Results, Spread};
use crate::tools::{Tool, Workload, calls};

/// Rows that can be compared with one another.
#[derive(Clone, Debug)]
pub struct Section {
    /// What was measured.
    pub title: String,
    /// One word for it, for the TSV file.
    pub word: &'static str,
    /// Of the values.
    pub unit: &'static str,
    /// What is to be known about the rows.
    pub note: &'static str,
    /// One per tool.
    pub rows: Vec<Row>,
}

/// A tool's figure, or why there is none.
#[derive(Clone, Debug)]
pub struct Row {
    /// Of the tool.
    pub name: &'static str,
    /// In the section's unit, or the reason for its absence.
    pub value: Result<Spread, String>,
    /// How many calls each run of it made, where that is more than one.
    pub calls: Option<u32>,
    /// Processor time of tool and program, in the section's unit.
    pub cpu: Option<f64>,
    /// Why some runs do not count, where only some do.
    pub failure: Option<String>,
    /// What the row is to the eye.
    pub kind: Kind,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This project's tracer.
    Ours,
    /// Another tool.
    Peer,
    /// The program alone, or the floor.
    Base,
}

/// All that was measured, in the order of the table.
#[must_use]
pub fn sections(results: &Results) -> Vec<Section> {
    let mut sections: Vec<Section> = Workload::ALL
        .iter()
        .filter_map(|&workload| workload_section(results, workload))
        .collect();
    sections.extend(attach_sections(results));
    sections.extend(peak_section(results));
    sections.extend(parts_section(results));
    sections
}

fn kind(tool: Tool) -> Kind {
    match tool {
        Tool::Untraced => Kind::Base,
        Tool::Rltrace | Tool::RltraceNoHandoff => Kind::Ours,
        _ => Kind::Peer,
    }
}

fn workload_section(results: &Results, workload: Workload) -> Option<Section> {
    let mut rows: Vec<Row> = Tool::ALL
        .iter()
        .filter_map(|&tool| workload_row(results, workload, tool))
        .collect();
    if rows.is_empty() {
        return None;
    }
    if matches!(workload, Workload::Ints | Workload::Threads | Workload::Summary) {
        rows.splice(0..0, floor_rows(results));
    }
    let (unit, note) = if workload.is_loop() {
        (
            "µs a call",
            "(time of the loop traced - untraced) / calls; \"untraced\" is the bare call.",
        )
    } else {
        ("ms", "The whole run of the tool. CPU: of tool and program.")
    };
    Some(Section {
        title: workload.name().to_owned(),
        word: workload.word(),
        unit,
        note,
        rows,
    })
}

fn workload_row(results: &Results, workload: Workload, tool: Tool) -> Option<Row> {
    let missing = results
        .versions
        .iter()
        .any(|(of, version)| *of == tool && version.is_none());
    let runs = results.runs.get(&(workload, tool));
    if !tool.traces(workload) || runs.is_none() && (!missing || !measured(results, workload)) {
        return None;
    }
    let value = if workload.is_loop() {
        results.per_call(workload, tool)
    } else {
        results.whole(workload, tool)
    };
    let failure = runs.and_then(|runs| runs.failure.as_ref()).map(Error::chain);
    let absent = if missing {
        "not installed".to_owned()
    } else {
        failure.clone().unwrap_or_default()
    };
    // One that ran in a few rounds only has figures, and what went wrong in the others.
    let failure = failure.filter(|_| value.is_some());
    let calls = workload.is_loop().then(|| calls(tool, workload));
    Some(Row {
        name: tool.name(),
        value: value.ok_or(absent),
        calls,
        cpu: results.cpu(workload, tool),
        failure,
        kind: kind(tool),
    })
}

/// Whether the workload was asked for: the program alone is always there.
fn measured(results: &Results, workload: Workload) -> bool {
    results.runs.contains_key(&(workload, Tool::Untraced))
}

fn floor_rows(results: &Results) -> Vec<Row> {
    let failure = || {
        results
            .parts_failure
            .as_ref()
            .map(Error::chain)
            .unwrap_or_default()
    };
    let row = |name, value: Option<Spread>| Row {
        name,
        value: value.map(|stop| stop.times(2.0)).ok_or_else(failure),
        calls: None,
        cpu: None,
        failure: None,
        kind: Kind::Base,
    };
    vec![
        row(
            "floor: two bare stops, handed over",
            results.stop(Part::HandedOver),
        ),
        row("two bare stops, not handed over", results.stop(Part::Apart)),
    ]
}

fn parts_section(results: &Results) -> Option<Section> {
    let parts: Vec<Part> = Part::ALL
        .into_iter()
        .filter(|&part| results.stop(part).is_some())
        .collect();
    let row = |&part: &Part| Row {
        name: part.name(),
        value: results.stop(part).ok_or_else(String::new),
        calls: None,
        cpu: None,
        failure: None,
        kind: Kind::Base,
    };
    (parts.len() > 2).then(|| Section {
        title: "The parts of one stop".to_owned(),
        word: "parts",
        unit: "µs a stop",
        note: "Each row does what the rows above it do, and one thing more.",
        rows: parts.iter().map(row).collect(),
    })
}

fn attach_sections(results: &Results) -> Vec<Section> {
    if results.visits.is_empty() {
        return Vec::new();
    }
    let threads = crate::attach::THREADS;
    let section = |title: String, word, note, figure| Section {
        title,
        word,
        unit: "ms",
        note,
        rows: results
            .visits
            .keys()
            .map(|&tool| visit_row(results, tool, figure))
            .collect(),
    };
    vec![
        section(
            format!("Attach to {threads} threads"),
            "attach",
            "From the start of the tool until it is the tracer of every thread.",
            |visit| visit.attached,
        ),
        section(
            format!("Attach to {threads} threads, first call told of"),
            "first_call",
            "From the start of the tool until its output is no longer empty; the program makes 2,000 calls a second.",
            |visit| visit.first_call,
        ),
        section(
            format!("Leave {threads} threads"),
            "leave",
            "From the SIGINT until the tool has ended. The program must live on.",
            |visit| visit.left,
        ),
    ]
}

fn visit_row(results: &Results, tool: Tool, figure: fn(&crate::attach::Visit) -> std::time::Duration) -> Row {
    let failure = results
        .visits
        .get(&tool)
        .and_then(|(_, failure)| failure.as_ref())
        .map(Error::chain);
    let value = results.visit(tool, figure);
    let shown = failure.clone().filter(|_| value.is_some());
    Row {
        name: tool.name(),
        value: value.ok_or_else(|| failure.unwrap_or_default()),
        calls: None,
        cpu: None,
        failure: shown,
        kind: kind(tool),
    }
}

fn peak_section(results: &Results) -> Option<Section> {
    let row = |(&tool, peak): (&Tool, &Result<u64, Error>)| Row {
        name: tool.name(),
        value: results
            .peak(tool)
            .map(|peak| Spread {
                min: peak,
                median: peak,
            })
            .ok_or_else(|| peak.as_ref().err().map(Error::chain).unwrap_or_default()),
        calls: None,
        cpu: None,
        failure: None,
        kind: kind(tool),
    };
    (!results.peaks.is_empty()).then(|| Section {
        title: "20,000 imports, one selected: peak memory".to_owned(),
        word: "peak",
        unit: "MiB",
        note: "Of the tool alone (VmHWM at its exit); \"untraced\" is the program.",
        rows: results.peaks.iter().map(row).collect(),
    })
}
