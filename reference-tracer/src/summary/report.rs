//! A summary with names: what is printed, stored and compared.

use super::Correction;

/// One function.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// How often it was called.
    pub calls: u64,
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

/// A whole summary.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// One row per function.
    pub rows: Vec<Row>,
    /// What was taken off each call for the tracer's own cost.
    pub correction: Option<Correction>,
}

/// A stored summary that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("not a summary of rltrace: {0}")]
pub struct ReportError(String);

impl Report {
    /// As JSON, one object.
    #[must_use]
    pub fn to_json(&self) -> String {
        todo!()
    }

    /// Reads what [`Report::to_json`] wrote.
    ///
    /// # Errors
    /// Where and why the text is no summary.
    pub fn from_json(_text: &str) -> Result<Self, ReportError> {
        todo!()
    }
}
