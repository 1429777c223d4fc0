//! Plans made ready to be shown at once: from the two records of a call straight to its line.
//!
//! What is not simple (structures, arrays, formats, values that change, names of code) is left to the general way, by
//! [`Decoder`](crate::value::Decoder) and [`TextSink`]; what is shown here, is shown as there. The same holds for single calls: a line that
//! cannot be made here is not begun.

#![allow(
    clippy::inline_always,
    reason = "a line stays in registers only where no call comes between its pieces: benches/quick.rs"
)]

mod build;
mod failure;
mod how;
mod plain;
mod records;
mod show;

use fast_ring::Call;

use self::failure::Failure;
use self::records::{Numbers, Records};
use self::show::Value;
use super::wants::{Ask, Wants};
use crate::text::{Aside, CallName, Line, Moment, Name, Page, TextOptions, TextSink, Two};

const COMMA: Two = u16::from_le_bytes(*b", ");
const EQUALS: Two = u16::from_le_bytes(*b"= ");
/// How many columns `) ` takes, which [`Line::closing`] appends.
const CLOSING: usize = 2;

/// How the calls of one call point are shown at once.
#[derive(Debug)]
pub struct Quick {
    /// Its name, but for the last character and the parenthesis, which are the opening.
    name: Name,
    opening: Two,
    args: Box<[Value]>,
    result: Value,
    failure: Failure,
    numbers: Numbers,
    limit: usize,
    columns: usize,
    duration: bool,
}

/// Whether a call has failed, told at once: for calls that are only counted.
#[derive(Debug)]
pub struct Verdict {
    failure: Failure,
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
        self.failure.is(&Records::new(call, ret, &self.numbers, 0))
    }
}

impl Quick {
    /// How calls are shown that are recorded as `wants` says, which was made of `ask`. `None`: they are not so simple.
    #[must_use]
    pub fn of(ask: &Ask<'_>, wants: &Wants, name: CallName<'_>, options: &TextOptions) -> Option<Self> {
        build::quick(ask, wants, name, options)
    }

    /// Makes the line of a call that has returned: what [`TextSink::entry`] and [`TextSink::exit`] would make of it. `took` is the
    /// time inside the call, in nanoseconds; `at`, when and where it was made.
    ///
    /// `false`: no line was made, and this one is to be made in the general way: another one is open, or this call has a value that
    /// is not so simple.
    #[inline]
    #[must_use]
    pub fn whole_line(
        &self,
        sink: &mut TextSink,
        page: &mut Page,
        (call, ret): (&Call<'_>, &Call<'_>),
        at: Moment,
        took: u64,
    ) -> bool {
        let records = Records::new(call, ret, &self.numbers, self.limit);
        sink.whole_line(page, at, |line, aside| self.line(line, aside, &records, took))
    }

    /// Makes what follows the prefix. A line that is over, if it can't be made here.
    #[inline(always)]
    fn line<'p>(&self, line: Line<'p>, aside: &mut Aside, records: &Records<'_>, took: u64) -> Line<'p> {
        let failed = self.failure.is(records);
        let mut line = line.name(&self.name, aside);
        let mut before = self.opening;
        for value in &self.args {
            if value.is_there(records) {
                line = value.show(before, records, failed, line, aside);
                before = COMMA;
            }
        }
        if before != COMMA {
            line = line.put(&before.to_le_bytes());
        }
        let columns = line.columns(aside) + CLOSING;
        line = line.closing(self.columns.saturating_sub(columns));
        line = self.result.show(EQUALS, records, false, line, aside);
        if failed {
            line = self.failure.why(records, line, aside);
        }
        if self.duration {
            line = line.duration(took);
        }
        line.put(b"\n")
    }
}
