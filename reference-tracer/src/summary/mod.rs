//! Counting calls instead of printing them (`-c`).
//!
//! The engine keeps an [`OpenCall`] for each call in flight and a [`Summary`] by call point number; both cost neither an
//! allocation nor a hash per call. Names come in at the end, in [`Summary::report`].
//!
//! ```
//! use reference_tracer::summary::{Column, Correction, OpenCall, Summary};
//!
//! let correction = Correction { inside_ns: 10, around_ns: 30 }; // measured at start
//! let (mut qsort, compare) = (OpenCall::default(), OpenCall::default());
//! let inner = compare.close(110, false, &correction); // 110 ns from its entry to its return
//! qsort.add_inner(&inner);
//! let outer = qsort.close(540, false, &correction);
//! assert_eq!((outer.duration_ns, outer.self_ns), (500, 400));
//!
//! let mut summary = Summary::new();
//! summary.record(0, &outer);
//! summary.record(1, &inner);
//! let report = summary.report(|key| ["qsort", "compare"][key as usize]);
//! print!("{}", report.table(Column::ALL, Column::Total));
//! ```

mod column;
mod compare;
mod limit;
mod record;
mod report;
mod table;

pub use column::{Column, ColumnError};
pub use compare::Comparison;
pub use limit::{Limit, LimitError};
pub use record::{Correction, OpenCall, Sample, Summary};
pub use report::{Report, ReportError, Row};
