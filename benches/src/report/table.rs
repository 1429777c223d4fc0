//! The results as Markdown and as tab-separated values.

use super::targets::{self, Verdict};
use super::{Row, Section, sections};
use crate::results::{Results, Spread};
use std::fmt::Write as _;

/// The whole report in Markdown.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut text = String::from("# rltrace and its peers\n\n");
    preamble(&mut text, results);
    targets_table(&mut text, results);
    for section in sections(results) {
        table(&mut text, &section);
    }
    text
}

fn preamble(text: &mut String, results: &Results) {
    let machine = &results.machine;
    let _ = writeln!(
        text,
        "- {}; {}; {}",
        machine.cpu, machine.kernel, machine.distribution
    );
    let [before, after] = &results.load;
    let _ = writeln!(
        text,
        "- {}; load {before} at the start, {after} at the end",
        machine.date
    );
    let _ = writeln!(
        text,
        "- {} interleaved rounds; each figure is the least and the median of them",
        results.rounds
    );
    let mut said = Vec::new();
    for (tool, version) in &results.versions {
        let version = version.as_deref().unwrap_or("**missing**");
        if !version.is_empty() && !said.contains(&version) {
            let name = if version == "**missing**" { tool.name() } else { "" };
            let space = if name.is_empty() { "" } else { " " };
            let _ = writeln!(text, "- {name}{space}{version}");
            said.push(version);
        }
    }
    text.push('\n');
}

fn targets_table(text: &mut String, results: &Results) {
    text.push_str("| target | wanted | found (minima) | |\n|---|---|---|---|\n");
    for target in targets::all(results) {
        let verdict = match target.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "**missed**",
            Verdict::NotMeasured => "not measured",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {verdict} |",
            target.what, target.wanted, target.found
        );
    }
    text.push('\n');
}

fn table(text: &mut String, section: &Section) {
    let _ = writeln!(text, "## {}\n\n{}\n", section.title, section.note);
    let _ = writeln!(
        text,
        "| | min, {} | median | CPU, min | calls |\n|---|---:|---:|---:|---:|",
        section.unit
    );
    for row in &section.rows {
        table_row(text, row);
    }
    text.push('\n');
}

fn table_row(text: &mut String, row: &Row) {
    let name = row.name;
    let calls = row.calls.map(|calls| calls.to_string()).unwrap_or_default();
    let cpu = row.cpu.map(number).unwrap_or_default();
    let failure = row
        .failure
        .as_ref()
        .map(|why| format!(" ({})", cell(why)))
        .unwrap_or_default();
    let _ = match &row.value {
        Ok(Spread { min, median }) => {
            let (min, median) = (number(*min), number(*median));
            writeln!(text, "| {name}{failure} | {min} | {median} | {cpu} | {calls} |")
        }
        Err(why) => writeln!(text, "| {name} | {} | | | |", cell(why)),
    };
}

/// What a program said, fit for a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// Three digits that count, and no more than three behind the point.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 99.95 => format!("{value:.0}"),
        middle if middle >= 9.995 => format!("{value:.1}"),
        small if small >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// One line per figure: section, unit, tool, minimum, median, processor time, calls, and what went wrong.
#[must_use]
pub fn tsv(results: &Results) -> String {
    let mut text = String::from("section\tunit\ttool\tmin\tmedian\tcpu\tcalls\tproblem\n");
    for section in sections(results) {
        for row in &section.rows {
            tsv_line(&mut text, &section, row);
        }
    }
    text
}

fn tsv_line(text: &mut String, section: &Section, row: &Row) {
    let calls = row.calls.map(|calls| calls.to_string()).unwrap_or_default();
    let cpu = row.cpu.map(|cpu| cpu.to_string()).unwrap_or_default();
    let (min, median, problem) = match &row.value {
        Ok(value) => (
            value.min.to_string(),
            value.median.to_string(),
            row.failure.as_deref().unwrap_or_default(),
        ),
        Err(why) => (String::new(), String::new(), why.as_str()),
    };
    let problem = problem.replace(['\t', '\n', '\r'], " ");
    let _ = writeln!(
        text,
        "{}\t{}\t{}\t{min}\t{median}\t{cpu}\t{calls}\t{problem}",
        section.word, section.unit, row.name
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::floor::Part;
    use crate::machine::Machine;
    use crate::results::{Runs, Sample};
    use crate::tools::{Tool, Workload};
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn results() -> Results {
        let samples = |micros, calls| {
            let timed = Duration::from_micros(micros);
            let sample = Sample {
                whole: timed,
                cpu: timed,
                timed,
                calls,
            };
            Runs {
                samples: vec![sample],
                failure: None,
            }
        };
        let failure = Some(Error::Lost { seen: 3, made: 10 });
        Results {
            machine: Machine::this(),
            load: [String::new(), String::new()],
            rounds: 1,
            versions: Tool::ALL
                .map(|tool| (tool, (tool != Tool::Gdb).then(String::new)))
                .to_vec(),
            runs: BTreeMap::from([
                ((Workload::Ints, Tool::Untraced), samples(0, 1_000)),
                ((Workload::Ints, Tool::Rltrace), samples(15_000, 1_000)),
                ((Workload::Ints, Tool::Ltrace), samples(150_000, 1_000)),
                (
                    (Workload::Ints, Tool::Perf),
                    Runs {
                        samples: Vec::new(),
                        failure,
                    },
                ),
            ]),
            parts: BTreeMap::from([(Part::HandedOver, vec![Duration::from_micros(5)])]),
            parts_failure: None,
            visits: BTreeMap::new(),
            peaks: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_missing_or_failed_is_named() {
        let text = markdown(&results());
        for line in [
            "| rltrace | 15.0 | 15.0 | 15.0 | 20000 |",
            "| gdb dprintf (entries) | not installed | | | |",
            "| perf uprobe + uretprobe | recorded 3 of 10 calls | | | |",
            "| floor: two bare stops, handed over | 10.0 | 10.0 |  |  |",
            "| a call with two integers, ltrace / rltrace | at least 8 | 10.0 times | met |",
            "| the same, rltrace / two bare stops handed over | at most 1.5 | 1.50 times | met |",
            "| four threads, ltrace -f / rltrace -f | at least 8 |  | not measured |",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(tsv(&results()).lines().all(|line| line.split('\t').count() == 8));
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [190.4, 99.96, 99.94, 9.996, 9.994, 0.99951, 0.0034, -0.5].map(number);
        assert_eq!(
            shown,
            ["190", "100", "99.9", "10.0", "9.99", "1.00", "0.003", "-0.500"]
        );
    }
}
