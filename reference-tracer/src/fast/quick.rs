//! Plans made ready to be shown at once: from the two records of a call straight to its line.
//!
//! What is not simple (structures, arrays, formats, values that change, names of code) is left to the general way, by
//! [`Decoder`](crate::value::Decoder) and [`TextSink`]; what is shown here, is shown as there. The same holds for single calls: a line that
//! cannot be made here is not begun.

mod build;
mod line;
mod show;

use fast_ring::Call;

use self::line::{Line, Name, Page};
use self::show::{Failure, Numbers, Records, Value};
use super::wants::{Ask, Wants};
use crate::text::{CallName, Moment, TextOptions, TextSink};

/// How the calls of one call point are shown at once.
#[derive(Debug)]
pub struct Quick {
    name: Name,
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

/// Where lines are made. One serves all call points.
#[derive(Debug)]
pub struct Scratch(Page);

impl Default for Scratch {
    fn default() -> Self {
        Self(Page::new())
    }
}

impl Quick {
    /// How calls are shown that are recorded as `wants` says, which was made of `ask`. `None`: they are not so simple.
    #[must_use]
    pub fn of(ask: &Ask<'_>, wants: &Wants, name: CallName<'_>, options: &TextOptions) -> Option<Self> {
        build::quick(ask, wants, name, options)
    }

    /// Appends the line of a call that has returned: what [`TextSink::entry`] and [`TextSink::exit`] would make of it. `took` is the
    /// time inside the call, in nanoseconds; `at`, when and where it was made.
    ///
    /// `false`: nothing was appended, and the line is to be made in the general way: another one is open, or this call has a value that
    /// is not so simple.
    #[inline]
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
        sink.whole_line(out, at, |out, prefix| {
            let line = self.line(&mut scratch.0, (call, ret), prefix, took);
            if line.is_over() {
                return false;
            }
            line.append_to(out);
            true
        })
    }

    /// Makes what follows the prefix, which takes so many columns. A line that is over, if it can't be made here.
    #[inline]
    fn line<'p>(
        &self,
        page: &'p mut Page,
        (call, ret): (&Call<'_>, &Call<'_>),
        prefix: usize,
        took: u64,
    ) -> Line<'p> {
        let (line, aside) = page.line();
        let records = Records::new(call, ret, &self.numbers, self.limit);
        let failed = self.failure.is(&records);
        let mut line = line.name(&self.name, aside);
        let mut separator = 0;
        for value in &self.args {
            if value.is_there(&records) {
                line = line.some(b", ", separator);
                separator = 2;
                line = value.show(&records, failed, line, aside);
            }
        }
        line = line.put(b") ");
        let columns = prefix + line.columns(aside);
        line = line.spaces(self.columns.saturating_sub(columns)).put(b"= ");
        line = self.result.show(&records, false, line, aside);
        if failed {
            line = self.failure.why(&records, line, aside);
        }
        if self.duration {
            line = line.duration(took);
        }
        line.put(b"\n")
    }
}
