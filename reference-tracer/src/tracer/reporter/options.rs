//! What is shown of what happens, and what that asks of those who see it happen.

use super::Reporter;
use crate::fast::wants::Stamps;
use crate::summary::{Column, Correction};
use crate::text::{PidPrefix, TextOptions, TimePrefix};
use crate::tracer::thread::Pending;
use crate::value::Limits;

/// What is shown of what happens.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// Bounds of values.
    pub limits: Limits,
    /// How lines look.
    pub text: TextOptions,
    /// Whether calls are shown.
    pub lines: bool,
    /// How calls are counted, if they are.
    pub summary: Option<SummaryOptions>,
    /// Whether names are shown with their callers.
    pub callers: bool,
    /// Whether signals are shown.
    pub signals: bool,
    /// Whether errors of system calls are shown as the kernel's negative numbers, as ltrace does.
    pub raw_errors: bool,
    /// Whether file descriptors are shown with what they refer to.
    pub fd_paths: bool,
    /// How lines name their thread once there are several.
    pub threads: PidPrefix,
    /// How many frames of the stack are shown after each call; 0: all.
    pub stack: Option<usize>,
    /// After how many calls the trace ends.
    pub limit: Option<u64>,
    /// Whether all is written as it was recorded, to be made into text later.
    pub raw: Option<RawOptions>,
}

/// What a raw trace is to tell of the options with which it was made.
#[derive(Debug, Clone, Copy)]
pub struct RawOptions {
    /// Whether lines name their thread from the start.
    pub many: bool,
    /// Whether names are shown as they stand in the source.
    pub demangle: bool,
}

/// How calls are counted.
#[derive(Debug, Clone)]
pub struct SummaryOptions {
    /// What is taken off for the tracer's own cost.
    pub correction: Option<Correction>,
    /// What the table shows.
    pub columns: Vec<Column>,
    /// What it is sorted by.
    pub sort: Column,
    /// Whether the table is ltrace's.
    pub ltrace: bool,
    /// Whether a table is written at the end.
    pub table: bool,
}

impl Reporter {
    /// Whether calls are only counted, so that no argument need be fetched.
    pub(in crate::tracer) fn counts_only(&self) -> bool {
        !self.options.lines
    }

    /// Whether errors of system calls are shown as the kernel's negative numbers.
    pub(in crate::tracer) fn raw_errors(&self) -> bool {
        self.options.raw_errors
    }

    /// The bounds of values.
    pub(in crate::tracer) fn limits(&self) -> Limits {
        self.options.limits
    }

    /// Whether all that is shown can be recorded inside the program: stacks cannot.
    pub(in crate::tracer) fn can_be_recorded(&self) -> bool {
        self.options.stack.is_none()
    }

    /// Whether return addresses are shown.
    pub(in crate::tracer) fn shows_callers(&self) -> bool {
        self.options.lines && self.options.text.address
    }

    /// Whether file descriptors are shown with what they refer to.
    pub(in crate::tracer) fn shows_paths(&self) -> bool {
        self.options.fd_paths
    }

    /// Which times are wanted.
    pub(in crate::tracer) fn stamps(&self) -> Stamps {
        if self.measures() {
            Stamps::Both
        } else if self.options.text.time == TimePrefix::None {
            Stamps::None
        } else {
            Stamps::Call
        }
    }

    /// What is shown.
    pub(in crate::tracer) fn options(&self) -> &ReportOptions {
        &self.options
    }

    /// How many frames are shown of the stack after a call, if any are.
    pub(in crate::tracer) fn stack(&self, pending: &Pending) -> Option<usize> {
        self.options
            .stack
            .filter(|_| self.options.lines && !pending.hidden)
    }

    /// Whether it matters how long calls take.
    pub(in crate::tracer) fn measures(&self) -> bool {
        self.counts() || self.options.text.duration
    }

    /// Whether calls are counted.
    pub(in crate::tracer) fn counts(&self) -> bool {
        self.options.summary.is_some()
    }
}
