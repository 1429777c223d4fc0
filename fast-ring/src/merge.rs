//! The records of several rings in the order of their time stamps.

use crate::consumer::Consumer;
use crate::damage::Damage;
use crate::host::Host;
use crate::record::{Item, Record, one_by_one};
use crate::shape::Shapes;
use crate::word::Word;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Merges rings by time stamp.
///
/// The records of one ring always come in the order in which they were recorded. Between rings the time stamps decide; a record without
/// one comes with the one before it.
///
/// A record is handed out when no ring can have an earlier one any more. What is not yet published is not known: a ring
/// that was read to its end is taken to have nothing older than the **window**, the time that a thread may take from reading the clock
/// to publishing. A thread that takes longer (it was preempted just there) is *late*: its record comes as soon as it is seen, and is counted.
///
/// What waits to be merged waits in its ring, so that merging takes no memory of its own. When a ring is half full, the pass in
/// which that is seen has no window: order gives way, and the program does not wait for it.
#[derive(Debug)]
pub struct Merge {
    window: u64,
    /// The next record of each ring that has one: its time, and which ring.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    /// The time of the last record of each ring.
    last: Vec<u64>,
    /// The time of the last record that was handed out.
    shown: u64,
}

/// What a pass has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Merged {
    /// Records, and pieces of damage, that were handed out.
    pub items: usize,
    /// How many of them are older than one handed out before.
    pub late: usize,
}

impl Merge {
    /// A merge with a window of so many ticks.
    #[must_use]
    pub fn new(window: u64) -> Merge {
        Merge {
            window,
            next: BinaryHeap::new(),
            last: Vec::new(),
            shown: 0,
        }
    }

    /// Hands what is settled to `sink`, with the index of its ring in `rings`, and gives its room back.
    ///
    /// `now` is the time in ticks of the stamps, read *before* this call; with `u64::MAX` everything that was published is handed
    /// out. An index means the same ring in each call, until [`forget`](Merge::forget).
    pub fn drain<W: Word, S: Shapes + ?Sized>(
        &mut self,
        now: u64,
        rings: &mut [Consumer<'_, W>],
        shapes: &S,
        host: &impl Host<W>,
        mut sink: impl FnMut(usize, Result<Record<'_>, Damage>),
    ) -> Merged {
        self.drain_calls(now, rings, shapes, host, |index, item| {
            one_by_one(item, |record| sink(index, record));
        })
    }

    /// As [`drain`](Merge::drain), with a call and its return as one item, where nothing lies between them: neither in their ring nor, as far as
    /// their time stamps tell, in another. Both count.
    pub fn drain_calls<W: Word, S: Shapes + ?Sized>(
        &mut self,
        now: u64,
        rings: &mut [Consumer<'_, W>],
        shapes: &S,
        host: &impl Host<W>,
        mut sink: impl FnMut(usize, Result<Item<'_>, Damage>),
    ) -> Merged {
        self.last.resize(self.last.len().max(rings.len()), 0);
        let settled = self.settled(now, rings);
        // What no ring has records before: those that were read to their end count here, the others in `next`.
        let mut floor = u64::MAX;
        self.next.clear();
        for index in 0..rings.len() {
            self.queue(index, now, rings, shapes, settled, &mut floor);
        }
        let mut done = Merged::default();
        while let Some(Reverse((time, index))) = self.next.pop() {
            if time > floor {
                break;
            }
            let Some(ring) = rings.get_mut(index) else {
                continue;
            };
            let others = self.next.peek().map_or(u64::MAX, |Reverse((time, _))| *time);
            let item = ring.take_call(shapes, others.min(floor));
            let (items, time) = match &item {
                Ok(Item::Whole(_, ret)) => (2, ret.stamp().map_or(time, |stamp| stamp.max(time))),
                _ => (1, time),
            };
            sink(index, item);
            done.items += items;
            done.late += if time < self.shown { items } else { 0 };
            self.shown = self.shown.max(time);
            if let Some(last) = self.last.get_mut(index) {
                *last = time;
            }
            ring.release_much(host);
            self.queue(index, now, rings, shapes, settled, &mut floor);
        }
        for ring in rings {
            ring.release(host);
        }
        done
    }

    /// The ring at this index is another's from now on.
    pub fn forget(&mut self, index: usize) {
        if let Some(last) = self.last.get_mut(index) {
            *last = 0;
        }
    }

    /// Looks at the heads. Before which time a ring without records can have none any more.
    fn settled<W: Word>(&self, now: u64, rings: &mut [Consumer<'_, W>]) -> u64 {
        let mut window = self.window;
        for ring in rings {
            ring.look();
            if ring.is_half_full() {
                window = 0;
            }
        }
        if now == u64::MAX {
            now
        } else {
            now.saturating_sub(window)
        }
    }

    /// Puts a ring's next record in the queue, or lowers the floor when there is none.
    fn queue<W: Word, S: Shapes + ?Sized>(
        &mut self,
        index: usize,
        now: u64,
        rings: &mut [Consumer<'_, W>],
        shapes: &S,
        settled: u64,
        floor: &mut u64,
    ) {
        let last = self.last.get(index).copied().unwrap_or(0);
        let Some(ring) = rings.get_mut(index) else { return };
        if !ring.load() {
            *floor = (*floor).min(settled.max(last));
            return;
        }
        // A time that is long past the present is none. Within a ring time does not go back.
        let future = now.saturating_add(self.window);
        let stamp = ring.stamp(shapes).filter(|&stamp| stamp <= future);
        self.next.push(Reverse((stamp.unwrap_or(last).max(last), index)));
    }
}
