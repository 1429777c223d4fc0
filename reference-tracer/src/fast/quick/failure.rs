//! When a call has failed, and why.

use super::how::low_half;
use super::records::{Records, When, Word};
use crate::proto::Expr;
use crate::text::{Aside, Line};
use crate::value::write_errno;

/// When a call has failed, and why.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) sign: Sign,
    /// The word of the return with `errno`.
    pub(super) errno: Option<u8>,
}

/// What tells that a call has failed.
#[derive(Debug)]
pub(super) enum Sign {
    /// Nothing does.
    Never,
    /// The bits of a word that count have this value.
    Returns { word: Word, mask: u64, value: u64 },
    /// This is not zero.
    When(Expr),
}

impl Failure {
    #[inline]
    pub(super) fn is(&self, records: &Records<'_>) -> bool {
        match &self.sign {
            Sign::Never => false,
            Sign::Returns { word, mask, value } => {
                records.word(*word).is_some_and(|word| word & mask == *value)
            }
            Sign::When(expr) => records.eval(expr).is_some_and(|value| value != 0),
        }
    }

    /// Appends the reason, where it is known.
    #[cold]
    pub(super) fn why<'p>(&self, records: &Records<'_>, line: Line<'p>, aside: &mut Aside) -> Line<'p> {
        let errno = self.errno.and_then(|index| records.int(When::Return, index));
        match errno {
            Some(errno) => line.slowly(aside, |out| write_errno(low_half(errno).cast_signed(), out)),
            None => line,
        }
    }
}
