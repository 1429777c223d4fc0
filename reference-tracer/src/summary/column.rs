//! The columns of the tables.

use super::Row;
use std::cmp::Ordering;
use std::str::FromStr;

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Column {
    /// Share of the time of all traced functions, by self time, so that nothing is counted twice.
    TimePercent,
    /// All calls together.
    Total,
    /// Without traced calls inside.
    SelfTime,
    /// Average of the calls that returned.
    Mean,
    /// Median.
    P50,
    /// 90 %.
    P90,
    /// 99 %.
    P99,
    /// The longest.
    Max,
    /// Number of calls.
    Calls,
    /// Failed calls.
    Errors,
    /// The function.
    Name,
}

/// A name that is no column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no column '{}'; there are {}", .0.escape_debug(), names())]
pub struct ColumnError(String);

const NAMES: [(&str, Column, &str); 11] = [
    ("time-percent", Column::TimePercent, "% time"),
    ("total", Column::Total, "total s"),
    ("self", Column::SelfTime, "self s"),
    ("calls", Column::Calls, "calls"),
    ("errors", Column::Errors, "errors"),
    ("mean", Column::Mean, "mean µs"),
    ("p50", Column::P50, "p50 µs"),
    ("p90", Column::P90, "p90 µs"),
    ("p99", Column::P99, "p99 µs"),
    ("max", Column::Max, "max µs"),
    ("name", Column::Name, "function"),
];

fn names() -> String {
    NAMES.map(|(name, ..)| name).join(", ")
}

impl FromStr for Column {
    type Err = ColumnError;

    fn from_str(text: &str) -> Result<Self, ColumnError> {
        let found = NAMES.iter().find(|(name, ..)| *name == text);
        found
            .map(|(_, column, _)| *column)
            .ok_or_else(|| ColumnError(text.to_owned()))
    }
}

impl Column {
    /// Every column, as `-c` shows them.
    pub const ALL: &[Column] = &[
        Column::TimePercent,
        Column::Total,
        Column::SelfTime,
        Column::Calls,
        Column::Errors,
        Column::Mean,
        Column::P50,
        Column::P90,
        Column::P99,
        Column::Max,
        Column::Name,
    ];

    /// Parses what `--columns` takes: names with commas between them.
    ///
    /// # Errors
    /// The name that is none, and those there are.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ColumnError> {
        text.split(',').map(|name| name.trim().parse()).collect()
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    pub(super) fn header(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (&'static str, &'static str) {
        let found = NAMES.iter().find(|(_, column, _)| *column == self);
        found.map_or(("", ""), |(name, _, header)| (name, header))
    }

    /// What the column shows of `row`, as a number; a name has none.
    pub(super) fn value(self, row: &Row) -> Option<u64> {
        Some(match self {
            Column::TimePercent | Column::SelfTime => row.self_ns,
            Column::Total => row.total_ns,
            Column::Mean => row.mean_ns(),
            Column::P50 => row.p50_ns,
            Column::P90 => row.p90_ns,
            Column::P99 => row.p99_ns,
            Column::Max => row.max_ns,
            Column::Calls => row.calls,
            Column::Errors => row.errors,
            Column::Name => return None,
        })
    }

    /// Whether its values are nanoseconds.
    pub(super) fn is_time(self) -> bool {
        !matches!(self, Column::Calls | Column::Errors | Column::Name)
    }

    /// Numbers descend, names ascend, and equal rows stand by name.
    pub(super) fn compare(self, a: &Row, b: &Row) -> Ordering {
        self.value(b)
            .cmp(&self.value(a))
            .then_with(|| a.name.cmp(&b.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_its_name() {
        for column in Column::ALL {
            assert_eq!(column.name().parse(), Ok(*column));
            assert!(!column.header().is_empty());
        }
        assert_eq!(
            Column::parse_list("calls, name"),
            Ok(vec![Column::Calls, Column::Name])
        );
        let error = Column::parse_list("calls,nmae").unwrap_err().to_string();
        assert!(
            error.starts_with("no column 'nmae'; there are time-percent, total,"),
            "{error}"
        );
        assert!(Column::parse_list("").is_err());
    }
}
