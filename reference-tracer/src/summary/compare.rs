//! Two summaries side by side, and limits that a CI job can set.

use super::Report;

/// `FUNCTION:COLUMN:GROWTH%`, as in `malloc:calls:20%`.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {}

/// A limit that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad limit '{text}': {expected}")]
pub struct LimitError {
    text: String,
    expected: String,
}

impl Limit {
    /// Parses `FUNCTION:COLUMN:GROWTH%`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(_text: &str) -> Result<Self, LimitError> {
        todo!()
    }
}

/// How a summary differs from another.
#[derive(Debug)]
pub struct Comparison {}

impl Comparison {
    /// Compares `new` with `base` under `limits`.
    #[must_use]
    pub fn new(_base: &Report, _new: &Report, _limits: &[Limit]) -> Self {
        todo!()
    }

    /// Whether a limit was passed: the exit status is 3 then.
    #[must_use]
    pub fn failed(&self) -> bool {
        todo!()
    }

    /// The table, and a line for each limit that was passed.
    #[must_use]
    pub fn table(&self) -> String {
        todo!()
    }
}
