//! Records made small, for files: what a record has in common with earlier ones is left out.

use crate::damage::Damage;
use crate::format::{CALL, RETURN, STACK_POINTER};
use crate::host::low;
use crate::parse::First;
use crate::record::Words;

/// Kinds of records that are remembered at a time.
const SLOTS: usize = 256;
/// Words of a record that are remembered.
const KEPT: usize = 14;
/// Tags from here on: the word is told by its distance from the same word of the record just before.
const NEAR: u8 = 8;
/// The longest such distance, in bytes.
const NEAR_BYTES: u8 = 4;

/// The last record with this first half word.
#[derive(Debug, Clone, Copy)]
struct Slot {
    half: u32,
    /// The first half word of the record that came after it.
    next: u32,
    words: [u64; KEPT],
}

/// What both sides remember of the records so far.
#[derive(Debug, Clone)]
struct Memory {
    /// [`SLOTS`] of them.
    slots: Vec<Slot>,
    /// The slot of the record before, its stack pointer, and its word after the first: mostly its time stamp.
    slot: usize,
    stack_pointer: u32,
    second: u64,
}

impl Memory {
    fn new() -> Memory {
        let empty = Slot {
            half: 0,
            next: 0,
            words: [0; KEPT],
        };
        Memory {
            slots: vec![empty; SLOTS],
            slot: 0,
            stack_pointer: 0,
            second: 0,
        }
    }

    /// The first half word that came next the last time.
    fn expected(&self) -> u32 {
        self.slots[self.slot % SLOTS].next
    }

    /// Goes on to a record with this beginning. The record's slot.
    fn enter(&mut self, half: u32, stack_pointer: u32) -> &mut Slot {
        self.slots[self.slot % SLOTS].next = half;
        // Fibonacci hashing: the upper bits of the product are well mixed.
        self.slot = (half.wrapping_mul(0x9e3779b9) >> 24) as usize;
        self.stack_pointer = stack_pointer;
        let slot = &mut self.slots[self.slot % SLOTS];
        if slot.half != half {
            slot.half = half;
            slot.words = [0; KEPT];
        }
        slot
    }
}

/// A difference, small when it is small in either direction.
#[inline]
fn fold(difference: u64) -> u64 {
    (difference << 1) ^ 0_u64.wrapping_sub(difference >> 63)
}

/// The difference that [`fold`] made this of.
#[inline]
fn unfold(folded: u64) -> u64 {
    (folded >> 1) ^ 0_u64.wrapping_sub(folded & 1)
}

/// How many low bytes of `word` are needed, 0 to 8.
#[inline]
fn bytes_of(word: u64) -> u8 {
    // 64 to 0 leading zeros.
    let [bytes, ..] = ((71 - word.leading_zeros()) / 8).to_le_bytes();
    bytes
}

/// Makes the records of one ring small, in their order.
///
/// A call in a loop and its return, with six arguments and two time stamps, are 88 bytes in the ring and mostly less than 20 packed. It is
/// lossless, needs no shapes, and takes 32 KiB of memory however long the trace. `FORMAT.md` tells the bytes.
#[derive(Debug, Clone)]
pub struct Packer {
    memory: Memory,
    open: i64,
}

impl Default for Packer {
    fn default() -> Packer {
        Packer::new()
    }
}

impl Packer {
    /// For the start of a file.
    #[must_use]
    pub fn new() -> Packer {
        Packer {
            memory: Memory::new(),
            open: 0,
        }
    }

    /// How many more calls than returns there were: so many are under way, or were left without a return, or their returns are not
    /// recorded. Tail calls return with the call around them, and do not count. Below 0: calls were lost.
    #[must_use]
    pub fn open(&self) -> i64 {
        self.open
    }

    /// Appends a record, as [`drain_bytes`](crate::Consumer::drain_bytes) gives it, to `out`.
    ///
    /// # Errors
    ///
    /// When `record` is not as long as it tells. Nothing is appended then.
    pub fn pack(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), Damage> {
        let first = First::new(Words::new(record).get(0).unwrap_or(0));
        if first.bytes() != record.len() || record.is_empty() {
            return Err(first.length());
        }
        self.pack_all(record, out).map(|_| ())
    }

    /// Appends the records that stand one after the other in `records`, as [`drain_whole`](crate::Consumer::drain_whole) gives them, to
    /// `out`. How many there were.
    ///
    /// # Errors
    ///
    /// When a record is not as long as it tells. Those before it are appended.
    pub fn pack_all(&mut self, records: &[u8], out: &mut Vec<u8>) -> Result<usize, Damage> {
        let start = out.len();
        // A record takes a byte, 8 more at most for its first word, and for each other one at most 8 and a half; what is stored
        // at once is always a whole word.
        let most = records.len() + records.len() / 16 + 2 * (records.len() / 8) + 16;
        out.resize(start + most, 0);
        let mut cursor = Cursor {
            bytes: out.get_mut(start..).unwrap_or_default(),
            at: 0,
        };
        let (mut rest, mut count) = (records, 0);
        let mut packed = Ok(());
        while let Some(word) = rest.first_chunk() {
            let first = First::new(u64::from_le_bytes(*word));
            let Some((record, after)) = rest
                .split_at_checked(first.bytes())
                .filter(|_| first.bytes() != 0)
            else {
                packed = Err(first.length());
                break;
            };
            self.one(first, record, &mut cursor);
            (rest, count) = (after, count + 1);
        }
        let end = start + cursor.at;
        out.truncate(end);
        packed.map(|()| count)
    }

    #[inline]
    fn one(&mut self, first: First, record: &[u8], out: &mut Cursor<'_>) {
        let memory = &mut self.memory;
        let half = low(first.0);
        self.open += i64::from(first.kind() == CALL) - i64::from(first.kind() == RETURN);
        let expected = half == memory.expected();
        let moved = u64::from(fold_half(
            first.stack_pointer().wrapping_sub(memory.stack_pointer),
        ));
        let tag = if expected { 0 } else { 4 };
        out.put(u64::from(tag | bytes_of(moved) << 4), 1);
        out.put(u64::from(half), tag);
        out.put(moved, bytes_of(moved));
        let mut words = record
            .get(8..)
            .unwrap_or_default()
            .chunks_exact(8)
            .map(|bytes| bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
        let next = words.next();
        let second = memory.second;
        memory.second = next.unwrap_or(second);
        let slot = memory.enter(half, first.stack_pointer());
        let mut tags = Tags {
            at: out.at,
            low: None,
        };
        out.at += (record.len() / 8 - 1).div_ceil(2);
        let mut kept = slot.words.iter_mut();
        let Some(word) = next else { return };
        if let Some(kept) = kept.next() {
            let (tag, len, folded) = choose(word, *kept, second);
            out.put(folded, len);
            tags.put(tag, out);
            *kept = word;
        }
        for kept in kept {
            let Some(word) = words.next() else {
                return tags.end(out);
            };
            let folded = fold(word.wrapping_sub(*kept));
            let len = bytes_of(folded);
            out.put(folded, len);
            tags.put(len, out);
            *kept = word;
        }
        for word in words {
            let folded = fold(word);
            let len = bytes_of(folded);
            out.put(folded, len);
            tags.put(len, out);
        }
        tags.end(out);
    }
}

/// Memory that is filled from its start on.
struct Cursor<'o> {
    bytes: &'o mut [u8],
    at: usize,
}

impl Cursor<'_> {
    /// Stores the low `len` bytes of a word, at most 8.
    #[inline]
    fn put(&mut self, word: u64, len: u8) {
        // Eight bytes and a shorter step are quicker than a copy of unknown length.
        if let Some(bytes) = self.bytes.get_mut(self.at..self.at + 8) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        self.at += usize::from(len);
    }
}

/// The tags of a record, two in a byte.
struct Tags {
    at: usize,
    low: Option<u8>,
}

impl Tags {
    #[inline]
    fn put(&mut self, tag: u8, out: &mut Cursor<'_>) {
        match self.low.take() {
            None => self.low = Some(tag),
            Some(low) => self.store(low | tag << 4, out),
        }
    }

    #[inline]
    fn store(&mut self, both: u8, out: &mut Cursor<'_>) {
        if let Some(byte) = out.bytes.get_mut(self.at) {
            *byte = both;
        }
        self.at += 1;
    }

    #[inline]
    fn end(&mut self, out: &mut Cursor<'_>) {
        if let Some(low) = self.low.take() {
            self.store(low, out);
        }
    }
}

/// The folded half word.
fn fold_half(difference: u32) -> u32 {
    (difference << 1) ^ 0_u32.wrapping_sub(difference >> 31)
}

fn unfold_half(folded: u32) -> u32 {
    (folded >> 1) ^ 0_u32.wrapping_sub(folded & 1)
}

/// How the second word of a record is told: its tag, how many bytes stand for it, and those.
#[inline]
fn choose(word: u64, before: u64, near: u64) -> (u8, u8, u64) {
    let folded = fold(word.wrapping_sub(before));
    let len = bytes_of(folded);
    let folded_near = fold(word.wrapping_sub(near));
    let near_len = bytes_of(folded_near).max(1);
    if near_len < len && near_len <= NEAR_BYTES {
        return (NEAR + near_len, near_len, folded_near);
    }
    (len, len, folded)
}

/// Makes packed records what they were.
#[derive(Debug, Clone)]
pub struct Unpacker(Memory);

impl Default for Unpacker {
    fn default() -> Unpacker {
        Unpacker::new()
    }
}

impl Unpacker {
    /// For the start of a file.
    #[must_use]
    pub fn new() -> Unpacker {
        Unpacker(Memory::new())
    }

    /// Puts the record at the start of `packed` into `record`, which is emptied first, and gives what follows it.
    ///
    /// A record is at most [`LONGEST_RECORD`](crate::format::LONGEST_RECORD) bytes, whatever `packed` says.
    ///
    /// # Errors
    ///
    /// When `packed` ends within the record, or is not what a [`Packer`] makes. There is no way to the next record then.
    pub fn unpack<'p>(&mut self, packed: &'p [u8], record: &mut Vec<u8>) -> Result<&'p [u8], Damage> {
        record.clear();
        self.read(packed, record).ok_or(Damage::Packed)
    }

    fn read<'p>(&mut self, packed: &'p [u8], record: &mut Vec<u8>) -> Option<&'p [u8]> {
        let memory = &mut self.0;
        let (&tag, mut rest) = packed.split_first()?;
        let half = match tag & 15 {
            0 => memory.expected(),
            4 => low(take(&mut rest, 4)?),
            _ => return None,
        };
        let moved = u32::try_from(take(&mut rest, tag >> 4)?).ok()?;
        let stack_pointer = memory.stack_pointer.wrapping_add(unfold_half(moved));
        let first = u64::from(stack_pointer) << (8 * STACK_POINTER) | u64::from(half);
        let words = (First::new(first).bytes() / 8).checked_sub(1)?;
        let (tags, after) = rest.split_at_checked(words.div_ceil(2))?;
        rest = after;
        let near = memory.second;
        let slot = memory.enter(half, stack_pointer);
        record.extend_from_slice(&first.to_le_bytes());
        for index in 0..words {
            let tag = tags.get(index / 2)? >> (index % 2 * 4) & 15;
            let before = slot.words.get(index).copied().unwrap_or(0);
            let (from, len) = match tag {
                0..=8 => (before, tag),
                _ if index == 0 && tag <= NEAR + NEAR_BYTES => (near, tag - NEAR),
                _ => return None,
            };
            let word = from.wrapping_add(unfold(take(&mut rest, len)?));
            record.extend_from_slice(&word.to_le_bytes());
            if let Some(kept) = slot.words.get_mut(index) {
                *kept = word;
            }
        }
        memory.second = Words::new(record).get(1).unwrap_or(near);
        Some(rest)
    }
}

/// The next `len` bytes, at most 8, as a word.
#[inline]
fn take(rest: &mut &[u8], len: u8) -> Option<u64> {
    let (bytes, after) = rest.split_at_checked(usize::from(len))?;
    let mut word = [0; 8];
    word.get_mut(..bytes.len())?.copy_from_slice(bytes);
    *rest = after;
    Some(u64::from_le_bytes(word))
}
