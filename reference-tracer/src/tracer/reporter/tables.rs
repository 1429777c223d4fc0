//! What was counted, as it is written at the end.

use ptrace_core::Tid;

use super::Reporter;
use crate::points::{PointId, Points};
use crate::summary::{Report, Summary};

impl Reporter {
    /// The summary by name, of all processes.
    pub(in crate::tracer) fn summary(&self, points: &Points) -> Option<Report> {
        let options = self.options.summary.as_ref().filter(|_| self.tape.is_none())?;
        let mut all = Summary::new();
        for (_, summary) in &self.summaries.all {
            all.merge(summary);
        }
        if let Some(correction) = options.correction {
            all.set_correction(correction);
        }
        Some(all.report(|key| points.get(PointId(key)).counted_as()))
    }

    /// Writes the table of the process that lines are of, or of all.
    pub(super) fn write_table(&mut self, points: &Points) {
        let Some(options) = self.options.summary.as_ref().filter(|options| options.table) else {
            return;
        };
        let mut report = self
            .summaries
            .of(self.out.key())
            .report(|key| points.get(PointId(key)).counted_as());
        report.correction = options.correction;
        let table = if options.ltrace {
            report.ltrace_table()
        } else {
            report.table(&options.columns, options.sort)
        };
        self.out.text(&table);
    }

    /// Ends the output: an open line is ended, and the summary is written.
    pub(in crate::tracer) fn finish(&mut self, points: &Points) {
        if self.tape.is_some() {
            return;
        }
        self.out.end_lines();
        if self.out.key() == 0 {
            return self.write_table(points);
        }
        let ended = |pid: &i32| self.tables.contains(pid);
        let left: Vec<i32> = self
            .summaries
            .all
            .iter()
            .map(|(pid, _)| *pid)
            .filter(|pid| !ended(pid))
            .collect();
        for pid in left {
            self.out.focus(Tid::new(pid));
            self.write_table(points);
        }
    }
}
