//! A summary with names: what is printed, stored and compared.

use super::Correction;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// One function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// How often it was called.
    pub calls: u64,
    /// How many of these calls did not return: they have no time.
    pub unreturned: u64,
    /// How many calls returned an error.
    pub errors: u64,
    /// The time of all its calls.
    pub total_ns: u64,
    /// The same without traced calls inside.
    pub self_ns: u64,
    /// Half of the calls took at most this long.
    pub p50_ns: u64,
    /// Nine in ten.
    pub p90_ns: u64,
    /// Ninety-nine in a hundred.
    pub p99_ns: u64,
    /// The longest call.
    pub max_ns: u64,
}

impl Row {
    /// The average of the calls that returned; 0 when none did.
    #[must_use]
    pub fn mean_ns(&self) -> u64 {
        self.total_ns
            .checked_div(self.calls.saturating_sub(self.unreturned))
            .unwrap_or(0)
    }
}

/// A whole summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One row per function; no name comes twice.
    pub rows: Vec<Row>,
    /// What was taken off each call for the tracer's own cost.
    pub correction: Option<Correction>,
}

/// A stored summary that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a summary as --summary-json writes it: {0}")]
pub struct ReportError(String);

/// The stored form. Fields may be added within a version; its number changes when one is removed or means something else.
#[derive(Serialize, Deserialize)]
struct Stored {
    rltrace_summary: u32,
    correction: Option<Correction>,
    functions: Vec<Row>,
}

const VERSION: u32 = 1;

impl Report {
    /// As JSON: one object with a line for each function, so that stored summaries can be kept under version control.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "strings and integers always have a JSON form"
    )]
    pub fn to_json(&self) -> String {
        let one =
            |row: &Row| serde_json::to_string(row).expect("strings and integers always have a JSON form");
        let correction = serde_json::to_string(&self.correction).expect("as above");
        let rows: Vec<_> = self.rows.iter().map(one).collect();
        let functions = if rows.is_empty() {
            String::new()
        } else {
            format!("\n  {}\n", rows.join(",\n  "))
        };
        format!(
            "{{\n\"rltrace_summary\": {VERSION},\n\"correction\": {correction},\n\"functions\": [{functions}]\n}}\n"
        )
    }

    /// Reads what [`Report::to_json`] wrote.
    ///
    /// # Errors
    /// Where and why the text is no summary.
    pub fn from_json(text: &str) -> Result<Self, ReportError> {
        let stored: Stored = serde_json::from_str(text).map_err(|error| ReportError(error.to_string()))?;
        if stored.rltrace_summary != VERSION {
            let found = stored.rltrace_summary;
            return Err(ReportError(format!(
                "version {found}; this program reads version {VERSION}"
            )));
        }
        let mut names = HashSet::new();
        for row in &stored.functions {
            if !names.insert(row.name.as_str()) {
                return Err(ReportError(format!(
                    "the function '{}' is there twice",
                    row.name.escape_debug()
                )));
            }
        }
        Ok(Self {
            rows: stored.functions,
            correction: stored.correction,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A row whose times all follow from the total.
    pub(crate) fn row(name: &str, calls: u64, total_ns: u64) -> Row {
        let mean = total_ns.checked_div(calls).unwrap_or(0);
        Row {
            name: name.to_owned(),
            calls,
            unreturned: 0,
            errors: 0,
            total_ns,
            self_ns: total_ns,
            p50_ns: mean,
            p90_ns: mean,
            p99_ns: mean,
            max_ns: mean,
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        for correction in [
            None,
            Some(Correction {
                inside_ns: 1,
                around_ns: u64::MAX,
            }),
        ] {
            for rows in [
                vec![],
                vec![row("a\"\\\u{1b}ä", 1, u64::MAX), row("std::f(int, char)", 0, 0)],
            ] {
                let report = Report { rows, correction };
                assert_eq!(Report::from_json(&report.to_json()), Ok(report));
            }
        }
    }

    #[test]
    fn what_is_no_summary_is_told() {
        let twice = Report {
            rows: vec![row("f", 1, 1), row("f", 1, 1)],
            correction: None,
        }
        .to_json();
        let future = Report {
            rows: vec![],
            correction: None,
        }
        .to_json()
        .replace("\": 1,", "\": 2,");
        let negative = Report {
            rows: vec![row("f", 1, 1)],
            correction: None,
        }
        .to_json()
        .replace(":1,", ":-1,");
        for (text, reason) in [
            ("", "EOF"),
            ("[]", "invalid"),
            ("{}", "rltrace_summary"),
            (twice.as_str(), "'f' is there twice"),
            (future.as_str(), "version 2"),
            (negative.as_str(), "-1"),
            (&"[".repeat(100_000), ""),
        ] {
            let error = Report::from_json(text).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_mean_is_of_calls_that_returned() {
        let mut exit = row("exit", 3, 100);
        exit.unreturned = 1;
        assert_eq!(exit.mean_ns(), 50);
        exit.unreturned = 3;
        assert_eq!(exit.mean_ns(), 0);
    }
}
