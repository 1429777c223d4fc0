//! From the bytes of a record to what it tells.

use crate::damage::Damage;
use crate::format::{
    CALL, KIND_MASK, KIND_SHIFT, LENGTH_SHIFT, MAX_IDS, NOTE, NOTE_CLOCK, NOTE_LOST, NOTE_THREAD_END,
    NOTE_THREAD_START, RETURN, TAIL_CALL,
};
use crate::host::low;
use crate::record::{Call, Note, Record, Words};
use crate::shape::Shapes;

/// The first word of a record. It stays one word: as a structure in memory, written in parts and read as a whole, it cost more than all
/// else that is done for a record (`benches/ring.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First(pub(crate) u64);

impl First {
    #[inline]
    pub(crate) fn new(word: u64) -> First {
        First(word)
    }

    #[inline]
    pub(crate) fn kind(self) -> u32 {
        low(self.0) >> KIND_SHIFT & KIND_MASK
    }

    #[inline]
    pub(crate) fn id(self) -> u32 {
        low(self.0) & (MAX_IDS - 1)
    }

    /// At most 511 words.
    #[inline]
    pub(crate) fn bytes(self) -> usize {
        (low(self.0) >> LENGTH_SHIFT) as usize * 8
    }

    #[inline]
    pub(crate) fn stack_pointer(self) -> u32 {
        low(self.0 >> 32)
    }

    #[cold]
    pub(crate) fn length(self) -> Damage {
        Damage::Length {
            first: self.0,
            bytes: self.bytes(),
        }
    }
}

/// Takes a record apart. `bytes` is the whole record and nothing else, as [`Consumer`](crate::Consumer) copies it or a file has it.
///
/// # Errors
///
/// When it is no record: `shapes` does not know its call point, its length does not fit its shape or `bytes`, or a capture
/// does not end within it.
#[inline]
pub fn parse<'a>(bytes: &'a [u8], shapes: &'a (impl Shapes + ?Sized)) -> Result<Record<'a>, Damage> {
    let Some(word) = bytes.first_chunk() else {
        return Err(Damage::Length { first: 0, bytes: 0 });
    };
    let first = First::new(u64::from_le_bytes(*word));
    if first.bytes() != bytes.len() {
        return Err(first.length());
    }
    parse_whole(bytes, shapes)
}

/// As [`parse`], where the length was looked at.
#[inline]
pub(crate) fn parse_whole<'a>(
    bytes: &'a [u8],
    shapes: &'a (impl Shapes + ?Sized),
) -> Result<Record<'a>, Damage> {
    let first = First::new(bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
    if first.kind() == NOTE {
        return note(first, bytes).map(Record::Note);
    }
    let unknown = Damage::Id {
        kind: first.kind(),
        id: first.id(),
    };
    let shape = shapes.shape(first.id()).ok_or(unknown);
    match first.kind() {
        CALL => Call::new(first, bytes, &shape?.call).map(Record::Call),
        TAIL_CALL => Call::new(first, bytes, &shape?.call).map(Record::TailCall),
        RETURN => Call::new(first, bytes, shape?.ret.as_ref().ok_or(unknown)?).map(Record::Return),
        kind => Err(Damage::Kind { kind }),
    }
}

/// The length, in a record's first word.
const LENGTH: u64 = (u32::MAX << LENGTH_SHIFT) as u64;
/// All in which the first words of a call and its return differ, but for the length: the stack pointer and the id are the same.
const KINDS: u64 = ((CALL ^ RETURN) << KIND_SHIFT) as u64;

/// A call and the return of that call, if these two records are so.
#[inline]
pub(crate) fn parse_pair<'a>(
    record: &'a [u8],
    next: &'a [u8],
    shapes: &'a (impl Shapes + ?Sized),
) -> Option<(Call<'a>, Call<'a>)> {
    let first = First::new(u64::from_le_bytes(*record.first_chunk()?));
    let second = First::new(u64::from_le_bytes(*next.first_chunk()?));
    if (first.0 ^ second.0) & !LENGTH != KINDS || first.kind() != CALL {
        return None;
    }
    let shape = shapes.shape(first.id())?;
    let ret = Call::new(second, next, shape.ret.as_ref()?).ok()?;
    Some((Call::new(first, record, &shape.call).ok()?, ret))
}

/// Splits bytes into a record's and what follows it: for files, which have the records of one ring end to end.
///
/// # Errors
///
/// When `bytes` has no whole record at its start. There is no way to the next then.
pub fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Damage> {
    let Some(word) = bytes.first_chunk() else {
        return Err(Damage::Length { first: 0, bytes: 0 });
    };
    let first = First::new(u64::from_le_bytes(*word));
    let whole = bytes
        .split_at_checked(first.bytes())
        .filter(|_| first.bytes() != 0);
    whole.ok_or(first.length())
}

/// Notes may grow: what follows the known words is passed over.
fn note(first: First, bytes: &[u8]) -> Result<Note, Damage> {
    let words = Words::new(bytes);
    let word = |index| words.get(index).ok_or_else(|| first.length());
    Ok(match first.id() {
        NOTE_LOST => Note::Lost { total: word(1)? },
        NOTE_THREAD_START => Note::ThreadStart {
            tid: word(1)?,
            stamp: word(2)?,
        },
        NOTE_THREAD_END => Note::ThreadEnd {
            tid: word(1)?,
            stamp: word(2)?,
        },
        NOTE_CLOCK => Note::Clock {
            stamp: word(1)?,
            monotonic: word(2)?,
            realtime: word(3)?,
        },
        id => Note::Other {
            id,
            bytes: bytes.len(),
        },
    })
}
