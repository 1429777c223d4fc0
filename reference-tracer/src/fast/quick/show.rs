//! One value: where it is in the records, and how it is shown.

#![allow(
    clippy::inline_always,
    reason = "a line stays in registers only where no call comes between its pieces: benches/quick.rs"
)]

use fast_ring::{Capture, End};

use super::how::{How, guess};
use super::plain::Plain;
use super::records::{Memory, Number, Records, Word, low};
use crate::proto::Expr;
use crate::text::{Aside, Line, Two};
use crate::value::{guess_is_address, guess_is_text};

/// Where the bits of a value are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Word(Word),
    Behind(Word, Memory),
}

/// How many elements a string has.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Count {
    /// It ends with a zero.
    Unbounded,
    Fixed(usize),
    Expr(Expr),
}

/// How a value is shown.
#[derive(Debug)]
pub(super) enum Show {
    Void,
    Bits {
        from: Source,
        size: u8,
        how: How,
    },
    Text {
        pointer: Word,
        memory: Memory,
        count: Count,
        terminated: bool,
    },
    GuessText {
        number: Number,
        memory: Memory,
    },
}

/// One argument, or the result.
#[derive(Debug)]
pub(super) enum Value {
    /// A number.
    Plain(Plain),
    /// Something else.
    Other(Box<Shown>),
}

impl Value {
    pub(super) fn new(shown: Shown) -> Self {
        match Plain::of(&shown) {
            Some(plain) => Self::Plain(plain),
            None => Self::Other(Box::new(shown)),
        }
    }

    #[inline]
    pub(super) fn is_there(&self, records: &Records<'_>) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Other(shown) => shown.is_there(records),
        }
    }

    /// Appends it; a line that is over, if it can't be shown here.
    #[inline(always)]
    pub(super) fn show<'p>(
        &self,
        before: Two,
        records: &Records<'_>,
        failed: bool,
        line: Line<'p>,
        aside: &mut Aside,
    ) -> Line<'p> {
        match self {
            Self::Plain(plain) => plain.show(before, records, line),
            Self::Other(shown) => shown.show(records, failed, line.put(&before.to_le_bytes()), aside),
        }
    }
}

/// What is not only a number, or not always there.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) show: Show,
    /// It is there only if this is not zero.
    pub(super) when: Option<Expr>,
    /// The callee fills what it points at: after a failure only the pointer is shown.
    pub(super) filled: Option<Word>,
    /// What it points at was captured at the call, and is shown with what was captured at the return.
    pub(super) late: Option<Word>,
}

impl Shown {
    #[inline]
    pub(super) fn is_there(&self, records: &Records<'_>) -> bool {
        match &self.when {
            Some(when) => records.eval(when) != Some(0),
            None => true,
        }
    }

    #[inline(never)]
    fn show<'p>(&self, records: &Records<'_>, failed: bool, line: Line<'p>, aside: &mut Aside) -> Line<'p> {
        if let Some(pointer) = self.filled.filter(|_| failed) {
            return match records.word(pointer) {
                Some(at) => line.pointer(at),
                None => line.refuse(),
            };
        }
        if let Some(pointer) = self.late
            && records.is_filled(pointer)
        {
            return line.refuse();
        }
        match self.show.seen(records) {
            Some(Seen::Void) => line.put(b"<void>"),
            Some(Seen::Bits(bits, size, how)) => how.show(bits, size, line, aside),
            Some(Seen::Pointer(at)) => line.pointer(at),
            Some(Seen::Guess(bits, value)) => guess(bits, value, line),
            Some(Seen::Text(bytes, cut)) => line.string(bytes, cut, aside),
            None => line.refuse(),
        }
    }
}

/// What a value is in the records of a call.
enum Seen<'a, 's> {
    Void,
    Bits(u64, u8, &'s How),
    Pointer(u64),
    Guess(u64, i64),
    /// A string's bytes that are shown, and whether there are more.
    Text(&'a [u8], bool),
}

impl Show {
    /// `None`: it can't be shown here.
    #[inline]
    fn seen<'a>(&self, records: &Records<'a>) -> Option<Seen<'a, '_>> {
        Some(match self {
            Self::Void => Seen::Void,
            Self::Bits {
                from: Source::Word(word),
                size,
                how,
            } => Seen::Bits(low(records.word(*word)?, *size), *size, how),
            Self::Bits {
                from: Source::Behind(pointer, memory),
                size,
                how,
            } => match records.capture(*memory)?.bytes.get(..usize::from(*size)) {
                Some(bytes) => {
                    let mut word = [0; 8];
                    word.get_mut(..bytes.len())?.copy_from_slice(bytes);
                    Seen::Bits(u64::from_le_bytes(word), *size, how)
                }
                None => Seen::Pointer(records.word(*pointer)?),
            },
            Self::Text {
                pointer,
                memory,
                count,
                terminated,
            } => {
                let at = records.word(*pointer)?;
                let count = match count {
                    Count::Unbounded => Some(usize::MAX),
                    Count::Fixed(count) => Some(*count),
                    Count::Expr(expr) => records.eval(expr).and_then(|count| usize::try_from(count).ok()),
                };
                match count.filter(|_| at != 0) {
                    // A stub captures nothing where nothing can be shown.
                    Some(count) => text(at, &records.capture(*memory)?, count, *terminated, records.limit),
                    None => Seen::Pointer(at),
                }
            }
            Self::GuessText { number, memory } => {
                let bits = records.word(number.word)?;
                let capture = records.capture(*memory)?;
                if guess_is_address(bits) && guess_is_text(bits, capture.bytes, capture.end == End::Whole) {
                    text(bits, &capture, usize::MAX, true, records.limit)
                } else if number.signed {
                    Seen::Guess(bits, bits.cast_signed())
                } else {
                    Seen::Guess(bits, i64::try_from(bits).unwrap_or_default())
                }
            }
        })
    }
}

/// A string of at most `count` bytes, of which those of `capture` are known.
#[inline]
fn text<'a, 's>(
    at: u64,
    capture: &Capture<'a>,
    count: usize,
    terminated: bool,
    limit: usize,
) -> Seen<'a, 's> {
    let known = capture.bytes.len();
    let wanted = count.min(limit.saturating_add(1));
    let has_end = terminated && capture.end == End::Whole && known < wanted;
    let whole = known.min(wanted);
    if whole == 0 && wanted > 0 && !has_end {
        return Seen::Pointer(at);
    }
    let ended = has_end || (whole == wanted && whole == count);
    let shown = whole.min(limit);
    Seen::Text(
        capture.bytes.get(..shown).unwrap_or_default(),
        !(ended && shown == whole),
    )
}
