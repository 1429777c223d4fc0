//! What the tracer's own work costs a call, measured at start on a program whose calls take no time: `rltrace` itself.

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::process::ExitCode;

use ptrace_core::Command;

use crate::filter::{Filter, FilterSet};
use crate::output::{Output, Target};
use crate::proto::Prototypes;
use crate::selection::Selection;
use crate::summary::{Column, Correction, Report};
use crate::text::{PidPrefix, TextOptions};
use crate::tracer::{Destination, Leave, ReportOptions, SummaryOptions, Syscalls, TraceOptions, Tracer};
use crate::value::Limits;

/// The function whose calls are measured: it does next to nothing, and no compiler knows what.
const LEAF: &str = "toupper";
/// What makes calls of [`LEAF`] within a call.
const AROUND: &str = "qsort";
/// How often [`AROUND`] is called, and how many elements it sorts.
const ROUNDS: usize = 24;
const ELEMENTS: usize = 16;

/// The program that is measured: calls with calls inside.
pub(super) fn target() -> ExitCode {
    for _ in 0..ROUNDS {
        let mut elements: [u8; ELEMENTS] = std::array::from_fn(|index| u8::try_from(index).unwrap_or(0));
        crate::sys::sort(black_box(&mut elements), compare);
    }
    ExitCode::SUCCESS
}

extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
    crate::sys::to_upper(black_box(0x61)) - 0x41
}

/// What is to be taken off each call. `None` where it could not be measured, and nothing is taken off.
pub(super) fn measure(hand_off: bool) -> Option<Correction> {
    correction(&traced(hand_off)?)
}

/// The summary of the measured program, nothing taken off.
fn traced(hand_off: bool) -> Option<Report> {
    let filter = Filter::parse(&format!("{LEAF}+{AROUND}-@+{LEAF}@MAIN+{AROUND}@MAIN")).ok()?;
    let options = TraceOptions {
        follow: false,
        hand_off,
        kill_on_exit: true,
        syscalls: Syscalls::None,
        demangle: false,
        start_up: true,
        record: crate::tracer::RecordOptions::default(),
    };
    let report = ReportOptions {
        limits: Limits::default(),
        text: TextOptions::default(),
        lines: false,
        summary: Some(SummaryOptions {
            correction: None,
            columns: vec![Column::Name],
            sort: Column::Name,
            ltrace: false,
            table: false,
        }),
        callers: false,
        signals: false,
        raw_errors: false,
        fd_paths: false,
        threads: PidPrefix::None,
        raw: None,
        stack: None,
        limit: None,
    };
    let nothing = Target::File {
        path: "/dev/null".into(),
        append: true,
    };
    let output = Output::open(&nothing).ok()?;
    let mut tracer = Tracer::new(
        options,
        report,
        Selection {
            calls: FilterSet::new(vec![filter]),
            ..Selection::default()
        },
        Prototypes::new(),
        Destination::One(output),
        Leave::default(),
    );
    let command = Command::new("/proc/self/exe").arg("--calibrate");
    tracer.spawn(&command).ok()?;
    tracer.run().ok()?.summary
}

/// The cost of a call by itself, and of one inside another: medians, which a busy machine moves least.
fn correction(report: &Report) -> Option<Correction> {
    let row = |name| report.rows.iter().find(|row| row.name == name);
    let (leaf, around) = (row(LEAF)?, row(AROUND)?);
    let inner = leaf.calls.checked_div(around.calls)?;
    let inside_ns = leaf.p50_ns;
    let around_ns = around.p50_ns.saturating_sub(inside_ns).checked_div(inner)?;
    Some(Correction { inside_ns, around_ns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Row;

    fn row(name: &str, calls: u64, p50_ns: u64) -> Row {
        Row {
            name: name.to_owned(),
            calls,
            unreturned: 0,
            errors: 0,
            total_ns: 0,
            self_ns: 0,
            p50_ns,
            p90_ns: 0,
            p99_ns: 0,
            max_ns: 0,
        }
    }

    #[test]
    fn the_cost_is_the_median() {
        let report = |rows| Report {
            rows,
            correction: None,
        };
        let rows = vec![row(LEAF, 64 * 24, 9_000), row(AROUND, 24, 1_289_000)];
        let found = correction(&report(rows));
        assert_eq!(
            found,
            Some(Correction {
                inside_ns: 9_000,
                around_ns: 20_000
            })
        );
        assert_eq!(correction(&report(vec![row(LEAF, 1, 1)])), None);
        assert_eq!(
            correction(&report(vec![row(LEAF, 0, 0), row(AROUND, 0, 0)])),
            None
        );
    }
}
