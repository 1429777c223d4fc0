//! What happens once per call.

use super::Report;

/// What the tracer itself costs, measured at start, so that it can be taken off. In nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Correction {
    /// What is measured for a call of a function that does nothing.
    pub inside_ns: u64,
    /// What a traced call of a function that does nothing adds to the duration of the call around it.
    pub around_ns: u64,
}

/// A call in flight: what the traced calls inside it took.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenCall {}

impl OpenCall {
    /// The call is over, `measured_ns` after its entry.
    #[must_use]
    pub fn close(self, _measured_ns: u64, _failed: bool, _correction: &Correction) -> Sample {
        todo!()
    }

    /// A traced call made directly inside this one is over.
    pub fn add_inner(&mut self, _inner: &Sample) {
        todo!()
    }
}

/// A finished call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// From entry to return, the tracer's cost taken off.
    pub duration_ns: u64,
    /// The same without the traced calls inside.
    pub self_ns: u64,
    /// Whether it returned an error.
    pub failed: bool,
    /// How many traced calls were made inside, at any depth.
    pub inner_calls: u64,
}

/// The calls of a run (or of one process), by call point.
#[derive(Debug, Default)]
pub struct Summary {}

impl Summary {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        todo!()
    }

    /// Counts a finished call of call point `key`. Keys are dense numbers: memory grows with the largest one.
    pub fn record(&mut self, _key: u32, _sample: &Sample) {
        todo!()
    }

    /// Counts a call that did not return (`exit_group`, `longjmp`, a killed process).
    pub fn record_unreturned(&mut self, _key: u32) {
        todo!()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// The summary by name: call points of one name (from several libraries) are added up.
    #[must_use]
    pub fn report<N: AsRef<str>>(&self, _name: impl FnMut(u32) -> N) -> Report {
        todo!()
    }
}
