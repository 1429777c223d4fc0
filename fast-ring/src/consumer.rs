//! The side that reads.

use crate::damage::Damage;
use crate::format::block::{CACHED_LIMIT, GAVE_UP, HEAD, LIMIT, LOST, LOST_TOLD, THREAD, WAITING};
use crate::host::Host;
use crate::parse::{First, parse};
use crate::record::Record;
use crate::region::Ring;
use crate::shape::Shapes;
use crate::word::Word;
use std::sync::atomic::{AtomicU64, Ordering};

/// The side of a ring that reads.
///
/// It believes nothing that it reads: how far it has come it knows itself, each record is copied before it is looked at, and in one
/// pass it reads at most what one ring holds.
#[derive(Debug)]
pub struct Consumer<'m, W = AtomicU64> {
    ring: Ring<'m, W>,
    /// How far it was read.
    tail: u64,
    /// How far it may be read: the head when it was last looked at.
    head: u64,
    /// What the producer was told of [`tail`](Consumer::tail).
    released: u64,
    /// What was found instead of a head.
    damage: Option<Damage>,
    /// The record at `tail`, copied; `len` bytes of it are in use.
    copy: Box<[u8]>,
    len: usize,
}

impl<'m, W: Word> Consumer<'m, W> {
    pub(crate) fn new(ring: Ring<'m, W>) -> Self {
        let layout = ring.layout();
        let limit = ring.word(LIMIT).load(Ordering::Relaxed);
        let tail = limit.wrapping_sub(layout.reach()) & !7;
        Consumer {
            tail,
            head: tail,
            released: tail,
            damage: None,
            copy: vec![0; layout.max_record()].into_boxed_slice(),
            len: 0,
            ring,
        }
    }

    /// Hands what was published until now to `sink`, in order, and gives its room back. How many items that were.
    ///
    /// Damage is an item too: all else that was published until then is skipped. What is published meanwhile is for the next pass.
    pub fn drain<S: Shapes + ?Sized>(
        &mut self,
        shapes: &S,
        host: &impl Host<W>,
        mut sink: impl FnMut(Result<Record<'_>, Damage>),
    ) -> usize {
        let stride = self.ring.layout().stride() / 2;
        let mut items = 0;
        self.look();
        while self.load() {
            sink(self.take(shapes));
            items += 1;
            if self.tail.wrapping_sub(self.released) >= stride {
                self.release(host);
            }
        }
        self.release(host);
        items
    }

    /// As [`drain`](Consumer::drain), with the bytes of each record for a file: that their length is the one they tell is checked, and
    /// no more. [`split`](crate::split) and [`parse`](crate::parse) read such a file.
    pub fn drain_bytes(&mut self, host: &impl Host<W>, mut sink: impl FnMut(Result<&[u8], Damage>)) -> usize {
        let stride = self.ring.layout().stride() / 2;
        let mut items = 0;
        self.look();
        while self.load() {
            sink(self.take_bytes());
            items += 1;
            if self.tail.wrapping_sub(self.released) >= stride {
                self.release(host);
            }
        }
        self.release(host);
        items
    }

    /// How many records the thread has dropped in all, as its memory tells. The last [`Note::Lost`](crate::Note::Lost) may not have told
    /// of the latest ones.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.ring.word(LOST).load(Ordering::Relaxed)
    }

    /// Gives the ring to another thread, or, with `None`, to nobody. The last one is gone, and what it has recorded was drained.
    ///
    /// A record that it has not finished was never published, and nothing of it is seen.
    pub fn hand_over(&mut self, tid: Option<u64>) {
        self.damage = None;
        self.len = 0;
        self.head = self.tail;
        for (at, value) in [
            (HEAD, self.tail),
            (CACHED_LIMIT, self.tail),
            (LOST, 0),
            (LOST_TOLD, 0),
            (GAVE_UP, 0),
            (WAITING, 0),
            (THREAD, tid.unwrap_or(0)),
        ] {
            self.ring.word(at).store(value, Ordering::Relaxed);
        }
        self.give_room();
    }

    /// Bytes that are published and not yet read, if they could be: at most the ring's.
    #[must_use]
    pub fn unread(&self) -> u64 {
        let head = self.ring.word(HEAD).load(Ordering::Relaxed);
        head.wrapping_sub(self.tail)
            .min(self.ring.layout().ring_bytes() as u64)
    }

    /// Looks how far the producer has come.
    pub(crate) fn look(&mut self) {
        let head = self.ring.word(HEAD).load(Ordering::Acquire);
        let unread = head.wrapping_sub(self.tail);
        if unread > self.ring.layout().ring_bytes() as u64 || !head.is_multiple_of(8) {
            // Wherever it is, records begin there from now on.
            self.damage = Some(Damage::Head {
                head,
                read: self.tail,
            });
            self.len = 0;
            self.tail = head & !7;
        }
        self.head = head & !7;
    }

    /// Whether so much was published, when it was last looked at, that the producer may soon have to wait.
    pub(crate) fn is_half_full(&self) -> bool {
        self.head.wrapping_sub(self.tail) >= self.ring.layout().ring_bytes() as u64 / 2
    }

    /// Copies the next record, unless that was done. Whether there is one, or damage, to be taken.
    #[inline]
    pub(crate) fn load(&mut self) -> bool {
        if self.damage.is_some() || self.len != 0 {
            return true;
        }
        let published = self.head.wrapping_sub(self.tail);
        if published == 0 {
            return false;
        }
        let data = self.ring.data_from(self.tail);
        let first = First::new(data.first().map_or(0, |word| word.load(Ordering::Relaxed)));
        let fits = first.bytes != 0 && first.bytes as u64 <= published;
        let (Some(copy), Some(data), true) = (
            self.copy.get_mut(..first.bytes),
            data.get(..first.bytes / 8),
            fits,
        ) else {
            self.skip(Damage::Length {
                first: first.word,
                bytes: first.bytes,
            });
            return true;
        };
        for (to, from) in copy.chunks_exact_mut(8).zip(data) {
            to.copy_from_slice(&from.load(Ordering::Relaxed).to_le_bytes());
        }
        // The first word was read twice, and may have changed: this is the one that was checked.
        if let Some(word) = copy.first_chunk_mut() {
            *word = first.word.to_le_bytes();
        }
        self.len = first.bytes;
        true
    }

    /// The time stamp of the record that is loaded.
    pub(crate) fn stamp<S: Shapes + ?Sized>(&self, shapes: &S) -> Option<u64> {
        parse(self.copy.get(..self.len)?, shapes).ok()?.stamp()
    }

    /// Takes what is loaded.
    #[inline]
    pub(crate) fn take<S: Shapes + ?Sized>(&mut self, shapes: &S) -> Result<Record<'_>, Damage> {
        if let Some(damage) = self.damage.take() {
            return Err(damage);
        }
        self.tail = self.tail.wrapping_add(self.len as u64);
        let bytes = self.copy.get(..std::mem::take(&mut self.len)).unwrap_or_default();
        let record = parse(bytes, shapes);
        if record.is_err() {
            self.tail = self.head;
        }
        record
    }

    /// Takes the bytes of what is loaded.
    #[inline]
    fn take_bytes(&mut self) -> Result<&[u8], Damage> {
        if let Some(damage) = self.damage.take() {
            return Err(damage);
        }
        self.tail = self.tail.wrapping_add(self.len as u64);
        Ok(self.copy.get(..std::mem::take(&mut self.len)).unwrap_or_default())
    }

    /// Skips what was published.
    #[cold]
    fn skip(&mut self, damage: Damage) {
        self.damage = Some(damage);
        self.tail = self.head;
    }

    /// Tells the producer how far it was read, unless it knows.
    pub(crate) fn release(&mut self, host: &impl Host<W>) {
        if self.released == self.tail {
            return;
        }
        self.give_room();
        self.ring.wake_producer(host);
    }

    fn give_room(&mut self) {
        let limit = self.tail.wrapping_add(self.ring.layout().reach());
        // Release: the words were read before they are written again.
        self.ring.word(LIMIT).store(limit, Ordering::Release);
        self.released = self.tail;
    }
}
