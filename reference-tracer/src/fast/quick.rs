//! Plans made ready to be shown at once: from the two records of a call straight to its line.
//!
//! What is not simple (structures, arrays, formats, values that change, names of code) is left to the general way, by
//! [`Decoder`](crate::value::Decoder) and [`TextSink`]; what is shown here, is shown as there. The same holds for single calls: a line that
//! cannot be made here is not begun.

mod build;
mod line;
mod show;

use fast_ring::Call;

use self::line::Line;
use self::show::{Failure, Numbers, Records, Show, Shown};
use super::wants::{Ask, Wants};
use crate::text::{CallName, Moment, TextOptions, TextSink};

/// How the calls of one call point are shown at once.
#[derive(Debug)]
pub struct Quick {
    /// The name, with all that stands before the arguments, and how many columns it takes.
    name: Box<[u8]>,
    name_columns: usize,
    args: Box<[Shown]>,
    result: Show,
    failure: Option<Failure>,
    numbers: Numbers,
    limit: usize,
    columns: usize,
    duration: bool,
}

/// Whether a call has failed, told at once: for calls that are only counted.
#[derive(Debug)]
pub struct Verdict {
    failure: Option<Failure>,
    numbers: Numbers,
}

impl Verdict {
    /// How to tell it of calls that are recorded as `wants` says, which was made of `ask`. `None`: it takes more than the records'
    /// words, and is for [`has_failed`](crate::value::has_failed).
    #[must_use]
    pub fn of(ask: &Ask<'_>, wants: &Wants) -> Option<Self> {
        build::verdict(ask, wants)
    }

    /// Whether the call of these records has failed, as its prototype says.
    #[inline]
    #[must_use]
    pub fn has_failed(&self, call: &Call<'_>, ret: &Call<'_>) -> bool {
        match &self.failure {
            Some(failure) => failure.is(&Records::new(call, ret, &self.numbers, 0)),
            None => false,
        }
    }
}

/// Where lines are made. One serves all call points.
#[derive(Debug)]
pub struct Scratch {
    args: Line,
    result: Line,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            args: Line::new(),
            result: Line::new(),
        }
    }
}

impl Quick {
    /// How calls are shown that are recorded as `wants` says, which was made of `ask`. `None`: they are not so simple.
    #[must_use]
    pub fn of(ask: &Ask<'_>, wants: &Wants, name: CallName<'_>, options: &TextOptions) -> Option<Self> {
        build::quick(ask, wants, name, options)
    }

    /// Whether the call has failed, as its prototype says.
    #[must_use]
    pub fn has_failed(&self, call: &Call<'_>, ret: &Call<'_>) -> bool {
        let records = Records::new(call, ret, &self.numbers, self.limit);
        self.failure.as_ref().is_some_and(|failure| failure.is(&records))
    }

    /// Appends the line of a call that has returned: what [`TextSink::entry`] and [`TextSink::exit`] would make of it. `took` is the
    /// time inside the call, in nanoseconds; `at`, when and where it was made.
    ///
    /// `false`: nothing was appended, and the line is to be made in the general way: another one is open, or this call has a value that
    /// is not so simple.
    #[must_use]
    pub fn whole_line(
        &self,
        sink: &mut TextSink,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
        (call, ret): (&Call<'_>, &Call<'_>),
        at: Moment,
        took: u64,
    ) -> bool {
        if sink.is_open() || !self.values(scratch, call, ret) {
            return false;
        }
        let Scratch { args, result } = scratch;
        let start = out.len();
        sink.begin_line(out, at);
        let prefix = out.len() - start;
        out.extend_from_slice(&self.name);
        out.extend_from_slice(args.bytes());
        let columns = prefix + self.name_columns + args.columns();
        let fill = self.columns.saturating_sub(columns);
        out.resize(out.len() + fill, b' ');
        if self.duration {
            result.duration(took);
        }
        result.put(b"\n");
        out.extend_from_slice(result.bytes());
        true
    }

    /// Makes the texts of the values.
    fn values(&self, scratch: &mut Scratch, call: &Call<'_>, ret: &Call<'_>) -> bool {
        let Scratch { args, result } = scratch;
        args.clear();
        result.clear();
        let records = Records::new(call, ret, &self.numbers, self.limit);
        let failed = self.failure.as_ref().is_some_and(|failure| failure.is(&records));
        let mut any = false;
        for shown in &self.args {
            if !shown.is_there(&records) {
                continue;
            }
            if any {
                args.put(b", ");
            }
            any = true;
            if !shown.show(&records, failed, args) {
                return false;
            }
        }
        args.put(b") ");
        result.put(b"= ");
        if self.result.show(&records, result).is_none() {
            return false;
        }
        if failed && let Some(failure) = &self.failure {
            failure.why(&records, result);
        }
        !args.is_over() && !result.is_over()
    }
}
