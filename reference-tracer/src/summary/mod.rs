//! Counting calls instead of printing them (`-c`).
//!
//! The engine keeps an [`OpenCall`] for each call in flight and a [`Summary`] by call point number; both cost neither an
//! allocation nor a hash per call. Names come in at the end, in [`Summary::report`].

mod compare;
mod record;
mod report;
mod table;

pub use compare::{Comparison, Limit, LimitError};
pub use record::{Correction, OpenCall, Sample, Summary};
pub use report::{Report, ReportError, Row};
pub use table::{Column, Sort};
