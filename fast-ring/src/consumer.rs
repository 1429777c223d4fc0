//! The side that reads.

use crate::damage::Damage;
use crate::format::LONGEST_RECORD;
use crate::format::block::{CACHED_LIMIT, GAVE_UP, HEAD, LIMIT, LOST, LOST_TOLD, THREAD, WAITING};
use crate::host::Host;
use crate::parse::{First, parse_pair, parse_whole};
use crate::record::{Item, Record, one_by_one};
use crate::region::Ring;
use crate::shape::Shapes;
use crate::word::Word;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much is copied at a time, in bytes: so much stays in a processor's nearest cache. Not less than the longest record.
const CHUNK: usize = 4 << 10;
const _: () = assert!(CHUNK >= LONGEST_RECORD);

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
    /// Whether a producer that waits was told of room, and left to sleep on.
    owes_wake: bool,
    /// What was found instead of a head.
    damage: Option<Damage>,
    /// Bytes of the ring, copied: those from `tail` on lie from `next` to `end`.
    copy: Box<[u8]>,
    next: usize,
    end: usize,
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
            owes_wake: false,
            damage: None,
            copy: vec![0; CHUNK.min(layout.data_bytes())].into_boxed_slice(),
            next: 0,
            end: 0,
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
        let mut items = 0;
        self.drain_calls(shapes, host, |item| {
            one_by_one(item, |record| {
                items += 1;
                sink(record);
            });
        });
        items
    }

    /// As [`drain`](Consumer::drain), with a call and its return as one item, where nothing lies between them in the ring.
    ///
    /// Most calls are such. It spares the caller to keep the call's record until its return comes.
    pub fn drain_calls<S: Shapes + ?Sized>(
        &mut self,
        shapes: &S,
        host: &impl Host<W>,
        mut sink: impl FnMut(Result<Item<'_>, Damage>),
    ) -> usize {
        let max_record = self.ring.layout().max_record();
        let (mut items, mut rest): (_, &[u8]) = (0, &[]);
        let mut looked_again = false;
        self.look();
        loop {
            // There is one place where an item is handed over, so that what the caller does with it is made part of this loop.
            let item = if let Some((record, after)) = whole(rest, max_record) {
                let next = whole(after, max_record);
                // The return may lie behind what was copied: then it is copied once more, from the call on.
                if next.is_none() && !looked_again && self.is_more_than(after.len()) {
                    looked_again = true;
                    self.taken(rest.len(), host);
                    self.copy_more();
                    rest = self.copied();
                    continue;
                }
                looked_again = false;
                let pair = next.and_then(|(next, behind)| Some((parse_pair(record, next, shapes)?, behind)));
                if let Some(((call, ret), behind)) = pair {
                    rest = behind;
                    Ok(Item::Whole(call, ret))
                } else {
                    rest = after;
                    parse_whole(record, shapes).map(Item::Record)
                }
            } else {
                self.taken(rest.len(), host);
                if !self.load() {
                    break;
                }
                rest = self.copied();
                match self.damage {
                    None => continue,
                    Some(damage) => Err(damage),
                }
            };
            items += 1;
            let fits = item.is_ok();
            sink(item);
            if !fits {
                rest = &[];
                self.damage = None;
                self.skip_to(self.head);
            }
        }
        self.release(host);
        items
    }

    /// As [`drain`](Consumer::drain), with the bytes of each record for a file: that their length is the one they tell is checked, and
    /// no more. [`split`](crate::split) and [`parse`](crate::parse) read such a file.
    pub fn drain_bytes(&mut self, host: &impl Host<W>, mut sink: impl FnMut(Result<&[u8], Damage>)) -> usize {
        let max_record = self.ring.layout().max_record();
        let mut items = 0;
        self.drain_whole(host, |records| match records {
            Ok(mut rest) => {
                while let Some((record, after)) = whole(rest, max_record) {
                    rest = after;
                    items += 1;
                    sink(Ok(record));
                }
            }
            Err(damage) => {
                items += 1;
                sink(Err(damage));
            }
        });
        items
    }

    /// As [`drain_bytes`](Consumer::drain_bytes), with many records at a time, one after the other: at most 8 KiB of them.
    pub fn drain_whole(&mut self, host: &impl Host<W>, mut sink: impl FnMut(Result<&[u8], Damage>)) {
        let max_record = self.ring.layout().max_record();
        self.look();
        while self.load() {
            if let Some(damage) = self.damage.take() {
                sink(Err(damage));
                continue;
            }
            let copied = self.copied();
            let mut rest = copied;
            while let Some((_, after)) = whole(rest, max_record) {
                rest = after;
            }
            let left = rest.len();
            sink(Ok(copied.get(..copied.len() - left).unwrap_or_default()));
            self.taken(left, host);
        }
        self.release(host);
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
        self.skip_to(self.tail);
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
            self.skip_to(head & !7);
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
        self.damage.is_some() || self.loaded().is_some() || self.copy_more()
    }

    /// The record that is loaded.
    #[inline]
    fn loaded(&self) -> Option<&[u8]> {
        let (record, _) = whole(self.copied(), self.ring.layout().max_record())?;
        Some(record)
    }

    /// What was copied and not yet taken.
    #[inline]
    fn copied(&self) -> &[u8] {
        self.copy.get(self.next..self.end).unwrap_or_default()
    }

    /// Copies what was published, from the tail on: a whole record at least, or there is damage. Whether anything was published.
    fn copy_more(&mut self) -> bool {
        let layout = self.ring.layout();
        let published = self.head.wrapping_sub(self.tail);
        if published == 0 {
            return false;
        }
        // No more than is given back at a time, and not over the ring's end: what begins there lies at its start.
        let to_end = layout.mask() + 1 - (self.tail & layout.mask());
        let max_record = layout.max_record() as u64;
        let some = published.min(to_end).min(self.stride()).min(CHUNK as u64);
        self.fill(some);
        if self.loaded().is_some() {
            return true;
        }
        // The record goes on behind what was copied, it may be in the tail room.
        let first = self
            .copied()
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word));
        let first = First::new(first);
        let bytes = first.bytes() as u64;
        if bytes <= published.min(max_record) {
            self.fill(bytes);
        }
        // Its first word was read twice, and may have changed.
        if self.loaded().is_none() {
            self.damage = Some(first.length());
            self.skip_to(self.head);
        }
        true
    }

    /// Copies so many bytes from the tail on, as far as there is memory for them.
    fn fill(&mut self, len: u64) {
        let words = usize::try_from(len / 8).unwrap_or(0);
        let data = self.ring.data_from(self.tail);
        let data = data.get(..words).unwrap_or_default();
        let (copy, _) = self.copy.as_chunks_mut();
        for (to, from) in copy.iter_mut().zip(data) {
            *to = from.load(Ordering::Relaxed).to_le_bytes();
        }
        (self.next, self.end) = (0, (data.len() * 8).min(self.copy.len()));
    }

    /// Whether more was published than was copied, and some of that is taken but so many bytes.
    fn is_more_than(&self, left: usize) -> bool {
        let behind = (self.end - self.next).saturating_sub(left) as u64;
        self.head.wrapping_sub(self.tail).saturating_sub(behind) > 0
    }

    /// All that was copied was taken but so many bytes. Gives room back, if that is much.
    fn taken(&mut self, left: usize, host: &impl Host<W>) {
        self.advance((self.end - self.next).saturating_sub(left));
        self.release_much(host);
    }

    /// How far it reads before it gives room back: an eighth of the ring.
    fn stride(&self) -> u64 {
        self.ring.layout().stride() / 2
    }

    /// The time stamp of the record that is loaded.
    pub(crate) fn stamp<S: Shapes + ?Sized>(&self, shapes: &S) -> Option<u64> {
        parse_whole(self.loaded()?, shapes).ok()?.stamp()
    }

    /// Takes what is loaded.
    #[inline]
    pub(crate) fn take<'a, S: Shapes + ?Sized>(&'a mut self, shapes: &'a S) -> Result<Record<'a>, Damage> {
        if let Some(damage) = self.damage.take() {
            return Err(damage);
        }
        let start = self.next;
        let len = self.loaded().map_or(0, <[u8]>::len);
        self.advance(len);
        let record = parse_whole(self.copy.get(start..start + len).unwrap_or_default(), shapes);
        if record.is_err() {
            self.tail = self.head;
            (self.next, self.end) = (0, 0);
        }
        record
    }

    /// Takes what is loaded, with its return if it is a call and that follows it, no later than `until`.
    pub(crate) fn take_call<'a, S: Shapes + ?Sized>(
        &'a mut self,
        shapes: &'a S,
        until: u64,
    ) -> Result<Item<'a>, Damage> {
        let max_record = self.ring.layout().max_record();
        if self.damage.is_none()
            && let Some((_, after)) = whole(self.copied(), max_record)
            && whole(after, max_record).is_none()
            && self.is_more_than(after.len())
        {
            // The return may lie behind what was copied: then it is copied once more, from the call on.
            self.copy_more();
        }
        let start = self.next;
        let pair = |copied: &'_ [u8]| {
            let (record, after) = whole(copied, max_record)?;
            let (next, _) = whole(after, max_record)?;
            let (_, ret) = parse_pair(record, next, shapes)?;
            let in_time = ret.stamp().is_none_or(|stamp| stamp <= until);
            in_time.then_some((record.len(), next.len()))
        };
        let lengths = if self.damage.is_none() {
            pair(self.copied())
        } else {
            None
        };
        let Some((first, second)) = lengths else {
            return self.take(shapes).map(Item::Record);
        };
        self.advance(first + second);
        let bytes = self.copy.get(start..start + first + second).unwrap_or_default();
        let (record, next) = bytes.split_at_checked(first).unwrap_or_default();
        let found = parse_pair(record, next, shapes).ok_or(Damage::Length { first: 0, bytes: 0 });
        found.map(|(call, ret)| Item::Whole(call, ret))
    }

    /// Tells the producer how far it was read, if that is much further than it knows.
    pub(crate) fn release_much(&mut self, host: &impl Host<W>) {
        if self.tail.wrapping_sub(self.released) < self.stride() {
            return;
        }
        self.give_room();
        // To wake a thread is dear: one that waits sleeps on while half of the ring is left to read.
        self.owes_wake = self.unread() > self.ring.layout().ring_bytes() as u64 / 2;
        if !self.owes_wake {
            self.ring.wake_producer(host);
        }
    }

    /// Goes on by so many bytes of what was copied.
    #[inline]
    fn advance(&mut self, bytes: usize) {
        self.next += bytes;
        self.tail = self.tail.wrapping_add(bytes as u64);
    }

    /// Goes on at another position. What was copied is of no more use.
    fn skip_to(&mut self, position: u64) {
        self.tail = position;
        (self.next, self.end) = (0, 0);
    }

    /// Tells the producer how far it was read, unless it knows.
    pub(crate) fn release(&mut self, host: &impl Host<W>) {
        if self.released == self.tail && !self.owes_wake {
            return;
        }
        self.give_room();
        self.owes_wake = false;
        self.ring.wake_producer(host);
    }

    fn give_room(&mut self) {
        let limit = self.tail.wrapping_add(self.ring.layout().reach());
        // Release: the words were read before they are written again.
        self.ring.word(LIMIT).store(limit, Ordering::Release);
        self.released = self.tail;
    }
}

/// The record at the start of `bytes`, and what follows it. `None`: it is not whole, or has no length that a record can have.
#[inline]
fn whole(bytes: &[u8], max_record: usize) -> Option<(&[u8], &[u8])> {
    let len = First::new(u64::from_le_bytes(*bytes.first_chunk()?)).bytes();
    if len == 0 || len > max_record {
        return None;
    }
    bytes.split_at_checked(len)
}
