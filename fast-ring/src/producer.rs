//! The side that records: in Rust, what recording code does in a traced process.

use crate::format::{
    CALL, CAPTURE_BITS, CAPTURE_HEAD_BYTES, DROP, NOTE, NOTE_CLOCK, NOTE_LOST, NOTE_THREAD_END,
    NOTE_THREAD_START, RETURN, TAIL_CALL,
    block::{CACHED_LIMIT, GAVE_UP, HEAD, LIMIT, LOST, LOST_TOLD, WAITING, WAKE},
    first_half,
    header::{BEAT, ON_FULL, PATIENCE},
};
use crate::host::{Host, wait_a_while};
use crate::record::{End, Note};
use crate::region::Ring;
use crate::word::Word;
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// The side of a ring that records.
///
/// A signal handler that records in the middle of a record of the same thread finds the ring as if that had not been begun:
/// the record is not published, and is begun again when the handler has returned. Recording code in a traced
/// process is sent back to its start by the tracer, at the signal's stop; here the type system sees to it, because a [`Draft`] borrows its
/// producer, and whoever wants to record something else must let it go.
#[derive(Debug)]
pub struct Producer<'m, 'h, W, H> {
    ring: Ring<'m, W>,
    host: &'h H,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a lost record may matter"]
pub enum Outcome {
    /// It is in the ring.
    Recorded,
    /// There was no room and nobody to wait for: it was counted.
    Lost,
}

/// A record that is longer than the region's longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the record is longer than the {max} bytes of the region's longest")]
pub struct TooLong {
    /// The longest, in bytes.
    pub max: usize,
}

/// What a record of a call or a return says, in the order of its [`Fields`](crate::Fields), which it must fit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Body<'a> {
    /// The low half of the stack pointer.
    pub stack_pointer: u32,
    /// The time.
    pub stamp: Option<u64>,
    /// The return address.
    pub caller: Option<u64>,
    /// Integer registers, stack.
    pub words: &'a [u64],
    /// Floating-point registers.
    pub floats: &'a [u64],
    /// Captured memory.
    pub captures: &'a [Captured<'a>],
}

/// Memory to be put into a record.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// The bytes: at most 4095.
    pub bytes: &'a [u8],
    /// Why there are no more.
    pub end: End,
}

impl<'m, 'h, W: Word, H: Host<W>> Producer<'m, 'h, W, H> {
    pub(crate) fn new(ring: Ring<'m, W>, host: &'h H) -> Self {
        Producer { ring, host }
    }

    /// Records a call.
    ///
    /// # Errors
    ///
    /// When the record would be longer than the region's longest. Nothing is recorded then.
    pub fn call(&mut self, id: u32, body: &Body<'_>) -> Result<Outcome, TooLong> {
        self.record(CALL, id, body)
    }

    /// Records a call that was made by a jump.
    ///
    /// # Errors
    ///
    /// As [`call`](Producer::call).
    pub fn tail_call(&mut self, id: u32, body: &Body<'_>) -> Result<Outcome, TooLong> {
        self.record(TAIL_CALL, id, body)
    }

    /// Records a return.
    ///
    /// # Errors
    ///
    /// As [`call`](Producer::call).
    pub fn ret(&mut self, id: u32, body: &Body<'_>) -> Result<Outcome, TooLong> {
        self.record(RETURN, id, body)
    }

    /// Records a note. [`Note::Other`] has no content that could be recorded, and makes an empty one.
    ///
    /// # Errors
    ///
    /// As [`call`](Producer::call).
    pub fn note(&mut self, note: Note) -> Result<Outcome, TooLong> {
        let (id, words, len) = match note {
            Note::Lost { total } => (NOTE_LOST, [total, 0, 0], 1),
            Note::ThreadStart { tid, stamp } => (NOTE_THREAD_START, [tid, stamp, 0], 2),
            Note::ThreadEnd { tid, stamp } => (NOTE_THREAD_END, [tid, stamp, 0], 2),
            Note::Clock {
                stamp,
                monotonic,
                realtime,
            } => (NOTE_CLOCK, [stamp, monotonic, realtime], 3),
            Note::Other { id, .. } => (id, [0; 3], 0),
        };
        let words = words.get(..len).unwrap_or_default();
        self.record(
            NOTE,
            id,
            &Body {
                words,
                ..Body::default()
            },
        )
    }

    #[inline]
    fn record(&mut self, kind: u32, id: u32, body: &Body<'_>) -> Result<Outcome, TooLong> {
        let Some(mut draft) = self.begin() else {
            return Ok(Outcome::Lost);
        };
        for word in [body.stamp, body.caller].into_iter().flatten() {
            draft.word(word)?;
        }
        // Loops of their own: with one over a chained iterator a record took twice as long (`benches/ring.rs`).
        for &word in body.words {
            draft.word(word)?;
        }
        for &word in body.floats {
            draft.word(word)?;
        }
        for capture in body.captures {
            draft.capture(*capture)?;
        }
        draft.publish(kind, id, body.stack_pointer);
        Ok(Outcome::Recorded)
    }

    /// Begins a record, when there is room or room comes to be. `None`: the record is lost, and counted.
    #[inline]
    pub fn begin(&mut self) -> Option<Draft<'_, 'm, W>> {
        let ring = &self.ring;
        let head = ring.word(HEAD).load(Ordering::Relaxed);
        if !is_below(head, ring.word(CACHED_LIMIT).load(Ordering::Relaxed)) && !self.make_room() {
            return None;
        }
        Some(Draft::new(&mut self.ring))
    }

    /// The slow path: each quarter ring, and when the ring is full. Whether there is room.
    #[cold]
    fn make_room(&mut self) -> bool {
        loop {
            self.ring.wake_consumer(self.host);
            let ring = &self.ring;
            let head = ring.word(HEAD).load(Ordering::Relaxed);
            let limit = ring.word(LIMIT).load(Ordering::Acquire);
            if !is_below(head, limit) {
                if self.wait_for_room() {
                    continue;
                }
                self.ring.word(LOST).add(1);
                return false;
            }
            let near = limit.wrapping_sub(head).min(ring.layout().stride());
            ring.word(CACHED_LIMIT)
                .store(head.wrapping_add(near), Ordering::Relaxed);
            let lost = ring.word(LOST).load(Ordering::Relaxed);
            if lost == ring.word(LOST_TOLD).load(Ordering::Relaxed) {
                return true;
            }
            self.tell_lost(lost);
        }
    }

    /// Records, where they are missing, that records are missing. The count is of all so far: told twice, it does no harm.
    fn tell_lost(&mut self, total: u64) {
        let mut draft = Draft::new(&mut self.ring);
        // Every layout has room for two words.
        if draft.word(total).is_ok() {
            draft.publish(NOTE, NOTE_LOST, 0);
        }
        self.ring.word(LOST_TOLD).store(total, Ordering::Relaxed);
    }

    /// Waits until there is room, unless nobody drains or records are to be dropped. Whether to look again.
    fn wait_for_room(&self) -> bool {
        let ring = &self.ring;
        let beat = ring.header(BEAT).load(Ordering::Relaxed);
        if ring.header(ON_FULL).load(Ordering::Relaxed) == DROP
            || ring.word(GAVE_UP).load(Ordering::Relaxed) == beat.wrapping_add(1)
        {
            return false;
        }
        let room = self.wait_while_it_beats(beat);
        ring.word(WAITING).store(0, Ordering::Relaxed);
        room
    }

    fn wait_while_it_beats(&self, mut beat: u64) -> bool {
        let ring = &self.ring;
        let mut since = self.host.now();
        loop {
            let seen = ring.word(WAKE).load(Ordering::Acquire);
            ring.word(WAITING).store(1, Ordering::Relaxed);
            // Either the consumer sees this, or what it stored before it looked is seen here.
            W::fence();
            let head = ring.word(HEAD).load(Ordering::Relaxed);
            if is_below(head, ring.word(LIMIT).load(Ordering::Acquire)) {
                return true;
            }
            if !ring.attended() {
                return false;
            }
            let now = self.host.now();
            let current = ring.header(BEAT).load(Ordering::Relaxed);
            if current != beat {
                (beat, since) = (current, now);
            } else if now.saturating_sub(since) > ring.header(PATIENCE).load(Ordering::Relaxed) {
                ring.word(GAVE_UP).store(beat.wrapping_add(1), Ordering::Relaxed);
                return false;
            }
            if ring.spins() {
                self.host.spin();
            } else {
                wait_a_while(self.host, ring.word(WAKE), seen);
            }
        }
    }
}

/// Whether a head is below a limit. Positions wrap: it is the sign of the difference that counts (x86-64: `cmp`, `js`).
#[inline]
fn is_below(head: u64, limit: u64) -> bool {
    head.wrapping_sub(limit) >> 63 == 1
}

/// A record that is being written. Dropped, it has never been.
#[derive(Debug)]
#[must_use = "a draft that is not published has never been"]
pub struct Draft<'p, 'm, W = AtomicU64> {
    ring: &'p mut Ring<'m, W>,
    /// The words from the record's first on.
    data: &'m [W],
    head: u64,
    /// Words written, with the first, which comes last.
    len: usize,
}

impl<'p, 'm, W: Word> Draft<'p, 'm, W> {
    #[inline]
    fn new(ring: &'p mut Ring<'m, W>) -> Self {
        let head = ring.word(HEAD).load(Ordering::Relaxed);
        let data = ring.data_from(head);
        Draft {
            ring,
            data,
            head,
            len: 1,
        }
    }

    /// Adds a word.
    ///
    /// # Errors
    ///
    /// When the record would be longer than the region's longest.
    #[inline]
    pub fn word(&mut self, word: u64) -> Result<(), TooLong> {
        let max = self.ring.layout().max_record();
        let place = self.data.get(self.len).filter(|_| self.len < max / 8);
        place.ok_or(TooLong { max })?.store(word, Ordering::Relaxed);
        self.len += 1;
        Ok(())
    }

    /// Adds a capture.
    ///
    /// # Errors
    ///
    /// As [`word`](Draft::word). What was added stays part of the draft, which is of no more use.
    pub fn capture(&mut self, capture: Captured<'_>) -> Result<(), TooLong> {
        let max = self.ring.layout().max_record();
        let len = u16::try_from(capture.bytes.len())
            .ok()
            .filter(|len| *len < 1 << CAPTURE_BITS);
        let head = len.ok_or(TooLong { max })? | capture.end.bits() << CAPTURE_BITS;
        let (first, rest) = capture
            .bytes
            .split_at(capture.bytes.len().min(8 - CAPTURE_HEAD_BYTES));
        let mut word = [0; 8];
        let (count, content) = word.split_at_mut(CAPTURE_HEAD_BYTES);
        count.copy_from_slice(&head.to_le_bytes());
        content[..first.len()].copy_from_slice(first);
        self.word(u64::from_le_bytes(word))?;
        for chunk in rest.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word))?;
        }
        Ok(())
    }

    /// Finishes the record: from here on it can be read. `kind` and `id` are [`format`](crate::format)'s; what does not fit is cut.
    #[inline]
    pub fn publish(self, kind: u32, id: u32, stack_pointer: u32) {
        let bytes = self.len * 8;
        // At most 511 words, which `word` has seen to.
        let half = first_half(kind, id, u32::try_from(bytes).unwrap_or(0));
        if let Some(first) = self.data.first() {
            first.store(
                u64::from(stack_pointer) << 32 | u64::from(half),
                Ordering::Relaxed,
            );
        }
        self.ring
            .word(HEAD)
            .store(self.head.wrapping_add(bytes as u64), Ordering::Release);
    }
}
