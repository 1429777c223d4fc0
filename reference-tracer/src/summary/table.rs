//! Tables.

use super::Report;

/// What rows are sorted by; numbers descend, names ascend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// By one column.
    By(Column),
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Column {
    /// Share of all time, in percent.
    TimePercent,
    /// All calls together.
    Total,
    /// Without traced calls inside.
    SelfTime,
    /// Total by calls.
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

impl Report {
    /// The table of rltrace.
    #[must_use]
    pub fn table(&self, _columns: &[Column], _sort: Sort) -> String {
        todo!()
    }

    /// The table of ltrace, to the letter.
    #[must_use]
    pub fn ltrace_table(&self) -> String {
        todo!()
    }
}
