//! A record as its reader sees it.

use std::fmt;
use std::ops::Range;

use crate::damage::Damage;
use crate::format::{
    CAPTURE_BITS, CAPTURE_CUT, CAPTURE_FAULT, CAPTURE_HEAD_BYTES, CAPTURE_NULL, CAPTURE_WHOLE,
};
use crate::parse::First;
use crate::shape::Parts;

/// One record, in memory that nobody else writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record<'a> {
    /// A function was called.
    Call(Call<'a>),
    /// A function was called by a jump, from one whose own return is recorded: that return ends both.
    TailCall(Call<'a>),
    /// A function returned: the one with this [`stack_pointer`](Call::stack_pointer) that was called last.
    Return(Call<'a>),
    /// Something else.
    Note(Note),
}

/// What [`drain_calls`](crate::Consumer::drain_calls) hands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// A function was called and returned, and nothing was recorded in between: the call and its return.
    Whole(Call<'a>, Call<'a>),
    /// Any other record.
    Record(Record<'a>),
}

/// Hands over the records of an item.
pub(crate) fn one_by_one<'a>(
    item: Result<Item<'a>, Damage>,
    mut sink: impl FnMut(Result<Record<'a>, Damage>),
) {
    match item {
        Ok(Item::Whole(call, ret)) => {
            sink(Ok(Record::Call(call)));
            sink(Ok(Record::Return(ret)));
        }
        Ok(Item::Record(record)) => sink(Ok(record)),
        Err(damage) => sink(Err(damage)),
    }
}

impl Record<'_> {
    /// The record's time stamp, if it has one.
    #[must_use]
    pub fn stamp(&self) -> Option<u64> {
        match *self {
            Record::Call(call) | Record::TailCall(call) | Record::Return(call) => call.stamp(),
            Record::Note(
                Note::ThreadStart { stamp, .. } | Note::ThreadEnd { stamp, .. } | Note::Clock { stamp, .. },
            ) => Some(stamp),
            Record::Note(Note::Lost { .. } | Note::Other { .. }) => None,
        }
    }
}

/// What is recorded that is not a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Records were dropped here.
    Lost {
        /// How many this producer has dropped in all, with those that were told before.
        total: u64,
    },
    /// The records of a thread begin.
    ThreadStart {
        /// Its thread id.
        tid: u64,
        /// When.
        stamp: u64,
    },
    /// The records of a thread have ended.
    ThreadEnd {
        /// Its thread id.
        tid: u64,
        /// When.
        stamp: u64,
    },
    /// What the clocks showed at a time stamp.
    Clock {
        /// The time stamp.
        stamp: u64,
        /// `CLOCK_MONOTONIC`, in nanoseconds.
        monotonic: u64,
        /// `CLOCK_REALTIME`, in nanoseconds.
        realtime: u64,
    },
    /// A note newer than this version.
    Other {
        /// What it tells, as a number.
        id: u32,
        /// The bytes of the record.
        bytes: usize,
    },
}

/// A call or a return.
///
/// What it tells is taken from the record's bytes when it is asked for: a reader that wants little of it pays for little.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    first: First,
    words: &'a [[u8; 8]],
    parts: &'a Parts,
}

impl<'a> Call<'a> {
    /// The record in `bytes`, which begins with `first` and has these parts, or why it has not.
    #[inline]
    pub(crate) fn new(first: First, bytes: &'a [u8], parts: &'a Parts) -> Result<Call<'a>, Damage> {
        // It is as long as it tells: a number of words.
        let (words, _) = bytes.as_chunks();
        let fixed = usize::from(parts.fixed);
        if (parts.captures == 0 && words.len() == fixed) || Call::has_captures(words, parts) {
            return Ok(Call { first, words, parts });
        }
        Err(if words.len() < fixed {
            first.length()
        } else {
            Damage::Capture { id: first.id() }
        })
    }

    fn has_captures(words: &[[u8; 8]], parts: &Parts) -> bool {
        let captures = words.get(parts.fixed.into()..);
        captures.is_some_and(|captures| Captures(captures.as_flattened()).are(parts.captures))
    }

    /// The call point.
    #[inline]
    #[must_use]
    pub fn id(&self) -> u32 {
        self.first.id()
    }

    /// The low half of the stack pointer, the same at a call and its return.
    #[inline]
    #[must_use]
    pub fn stack_pointer(&self) -> u32 {
        self.first.stack_pointer()
    }

    /// When, in ticks of the producer's clock.
    #[inline]
    #[must_use]
    pub fn stamp(&self) -> Option<u64> {
        if self.parts.stamp { self.at(1) } else { None }
    }

    /// The return address.
    #[inline]
    #[must_use]
    pub fn caller(&self) -> Option<u64> {
        let at = 1 + usize::from(self.parts.stamp);
        if self.parts.caller { self.at(at) } else { None }
    }

    /// Words of integer registers and of the stack.
    #[inline]
    #[must_use]
    pub fn words(&self) -> Words<'a> {
        self.part(self.parts.words_at..self.parts.floats_at)
    }

    /// [`words`](Call::words), and all that follows them in the record: for who knows how many there are, and asks for no more.
    #[inline]
    #[must_use]
    pub fn words_and_more(&self) -> Words<'a> {
        Words(self.words.get(self.parts.words_at.into()..).unwrap_or_default())
    }

    /// Words of floating-point registers: the bits of a `double`, or of a `float` in the low half.
    #[inline]
    #[must_use]
    pub fn floats(&self) -> Words<'a> {
        self.part(self.parts.floats_at..self.parts.fixed)
    }

    /// Captured memory.
    #[inline]
    #[must_use]
    pub fn captures(&self) -> Captures<'a> {
        let captures = self.words.get(self.parts.fixed.into()..);
        Captures(captures.unwrap_or_default().as_flattened())
    }

    /// A word of the record, the first being 0.
    #[inline]
    fn at(&self, index: usize) -> Option<u64> {
        self.words.get(index).map(|word| u64::from_le_bytes(*word))
    }

    #[inline]
    fn part(&self, words: Range<u16>) -> Words<'a> {
        let words = usize::from(words.start)..usize::from(words.end);
        Words(self.words.get(words).unwrap_or_default())
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("id", &self.id())
            .field("stack_pointer", &self.stack_pointer())
            .field("stamp", &self.stamp())
            .field("caller", &self.caller())
            .field("words", &self.words())
            .field("floats", &self.floats())
            .field("captures", &self.captures())
            .finish()
    }
}

/// Words of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Words<'a>(&'a [[u8; 8]]);

impl<'a> Words<'a> {
    /// The words that lie in `bytes`; what is left over at the end is no word.
    pub(crate) fn new(bytes: &'a [u8]) -> Words<'a> {
        Words(bytes.as_chunks().0)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<u64> {
        self.0.get(index).map(|word| u64::from_le_bytes(*word))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.0.iter().map(|word| u64::from_le_bytes(*word))
    }
}

/// Why a capture ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is all there was: the string ended, or the buffer.
    Whole,
    /// It was cut at the bound; there is more.
    Cut,
    /// What follows could not be read.
    Fault,
    /// The pointer was null.
    Null,
    /// A reason newer than this version, as its number.
    Other(u16),
}

impl End {
    pub(crate) fn from_bits(bits: u16) -> End {
        match bits {
            CAPTURE_WHOLE => End::Whole,
            CAPTURE_CUT => End::Cut,
            CAPTURE_FAULT => End::Fault,
            CAPTURE_NULL => End::Null,
            other => End::Other(other),
        }
    }

    pub(crate) fn bits(self) -> u16 {
        match self {
            End::Whole => CAPTURE_WHOLE,
            End::Cut => CAPTURE_CUT,
            End::Fault => CAPTURE_FAULT,
            End::Null => CAPTURE_NULL,
            End::Other(bits) => bits,
        }
    }
}

/// Memory behind a pointer, as it was at the call or at the return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capture<'a> {
    /// The bytes. A string's terminating zero is not among them.
    pub bytes: &'a [u8],
    /// Why there are no more.
    pub end: End,
}

/// The captures of a record, in the order of its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Captures<'a>(&'a [u8]);

impl<'a> Captures<'a> {
    /// Whether there are so many, and the last one ends where the bytes end. Each has at least a word.
    #[inline]
    pub(crate) fn are(self, count: u8) -> bool {
        if count == 0 {
            return self.0.is_empty();
        }
        let (mut rest, mut found) = (self.0, 0);
        while let Some((_, after)) = next_capture(rest) {
            (rest, found) = (after, found + 1);
        }
        rest.is_empty() && found == usize::from(count)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Capture<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (capture, after) = next_capture(rest)?;
            rest = after;
            Some(capture)
        })
    }
}

/// The capture at the start of `bytes`, and what follows it.
fn next_capture(bytes: &[u8]) -> Option<(Capture<'_>, &[u8])> {
    let head = u16::from_le_bytes(*bytes.first_chunk()?);
    let end = CAPTURE_HEAD_BYTES + usize::from(head & ((1 << CAPTURE_BITS) - 1));
    let capture = Capture {
        bytes: bytes.get(CAPTURE_HEAD_BYTES..end)?,
        end: End::from_bits(head >> CAPTURE_BITS),
    };
    Some((capture, bytes.get(end.next_multiple_of(8)..)?))
}
