//! The records of several threads, in the order of their time stamps, and their order with what else happens.
//!
//! What stands before an event in the file was read before it: that is the order for the event's own thread, of which nothing more comes until
//! that was dealt with. The rings of the others were read a little earlier or later, and a thread that was interrupted just before it
//! published a record has published it after the event. So the file is read ahead, and of the other threads those records come before an
//! event that are older.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use fast_ring::{Call, Damage, Record, Shape, Unpacker, parse};
use rustc_hash::FxHashMap;

use super::file::{RawError, RawFile, Span};

/// The most threads whose records are read at a time: each takes some 40 KiB. No process has more.
const MOST_THREADS: usize = 1 << 15;

/// Up to where records are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// All that may come: of each thread up to its next event.
    Limits,
    /// All of this thread that may come, with what of the others is older than that, or older than the time in ticks.
    Event { tid: Option<i32>, time: u64 },
}

/// How far the records of a thread may be read: a thread's number to that of its next event.
pub(crate) trait Limits {
    /// The number of the event, from the start of the file on, that the thread's further records must not come before.
    fn of(&self, tid: i32) -> u64;
}

/// What is taken from a thread's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A block that begins here in the file: the records of the thread that come from now on are in it.
    Block(u64),
    /// A call and its return, between which nothing was recorded.
    Whole(Call<'a>, Call<'a>),
    /// Any other record.
    Record(Record<'a>),
}

/// What records are read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a RawFile,
    pub(crate) shapes: &'a [Shape],
}

/// The blocks of all threads that are not read yet.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    by_thread: FxHashMap<i32, usize>,
    all: Vec<Chain>,
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

/// The records of one thread.
#[derive(Debug)]
struct Chain {
    tid: i32,
    /// Blocks that were not begun.
    blocks: VecDeque<Block>,
    /// The block that was begun, until that was told.
    began: Option<u64>,
    /// The block that is being read, and how far.
    packed: Vec<u8>,
    at: usize,
    unpacker: Unpacker,
    /// Whether there is no way on to the next record until one does not need those before.
    lost: bool,
    /// Why, until that was told.
    damage: Option<Damage>,
    /// The record that comes next, and the one after it.
    first: Vec<u8>,
    second: Vec<u8>,
    /// The time of the record before.
    last: u64,
}

/// Packed records of a thread that stand together.
#[derive(Debug, Clone, Copy)]
struct Block {
    fresh: bool,
    packed: Span,
    /// How many events stand before it.
    events: u64,
}

impl Chains {
    /// A block more, before which there were so many events. `None`: there are too many threads.
    pub(crate) fn add(&mut self, tid: i32, fresh: bool, packed: Span, events: u64) -> Option<()> {
        let index = match self.by_thread.get(&tid) {
            Some(&index) => index,
            None if self.all.len() < MOST_THREADS => {
                self.all.push(Chain::new(tid));
                self.by_thread.insert(tid, self.all.len() - 1);
                self.all.len() - 1
            }
            None => return None,
        };
        self.all.get_mut(index)?.blocks.push_back(Block {
            fresh,
            packed,
            events,
        });
        Some(())
    }

    /// A thread is gone, and so is what was known of its records, unless there are more: of another thread with that number.
    pub(crate) fn forget(&mut self, tid: i32) {
        let Some(&index) = self.by_thread.get(&tid) else {
            return;
        };
        if self.all.get(index).is_some_and(|chain| !chain.blocks.is_empty()) {
            return;
        }
        self.by_thread.remove(&tid);
        self.all.swap_remove(index);
        if let Some(moved) = self.all.get(index) {
            self.by_thread.insert(moved.tid, index);
        }
    }

    /// Hands records to `sink`, until that gives `false`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn drain(
        &mut self,
        source: &Source<'_>,
        until: Until,
        limits: &impl Limits,
        mut sink: impl FnMut(i32, Result<Item<'_>, Damage>) -> bool,
    ) -> Result<(), RawError> {
        self.next.clear();
        for index in 0..self.all.len() {
            self.queue(index, source, limits, &mut sink)?;
        }
        let (own, latest) = match until {
            Until::Limits => (None, u64::MAX),
            Until::Event { tid, time } => (tid.and_then(|tid| self.by_thread.get(&tid)).copied(), time),
        };
        let has_more = |chains: &Self, index: usize| {
            let chain = chains.all.get(index);
            chain.is_some_and(|chain| !chain.first.is_empty())
        };
        while let Some(&Reverse((time, index))) = self.next.peek() {
            let waits = own.is_some_and(|own| has_more(self, own));
            if time > latest && !waits {
                break;
            }
            self.next.pop();
            let others = self.next.peek().map_or(u64::MAX, |Reverse((time, _))| *time);
            let Some(chain) = self.all.get_mut(index) else {
                continue;
            };
            chain.last = time;
            let tid = chain.tid;
            // What comes after the event is not a part of a call before it.
            let others = if own == Some(index) || waits {
                others
            } else {
                others.min(latest)
            };
            if !chain.take(source, limits.of(tid), others, |item| sink(tid, item))? {
                return Ok(());
            }
            self.queue(index, source, limits, &mut sink)?;
        }
        Ok(())
    }

    fn queue(
        &mut self,
        index: usize,
        source: &Source<'_>,
        limits: &impl Limits,
        sink: &mut impl FnMut(i32, Result<Item<'_>, Damage>) -> bool,
    ) -> Result<(), RawError> {
        let Some(chain) = self.all.get_mut(index) else {
            return Ok(());
        };
        let there = chain.load(source.file, limits.of(chain.tid))?;
        if let Some(at) = chain.began.take() {
            sink(chain.tid, Ok(Item::Block(at)));
        }
        if let Some(damage) = chain.damage.take() {
            sink(chain.tid, Err(damage));
        }
        if there {
            let stamp = parse(&chain.first, source.shapes)
                .ok()
                .and_then(|record| record.stamp());
            // Within a thread time does not go back.
            let time = stamp.unwrap_or(chain.last).max(chain.last);
            self.next.push(Reverse((time, index)));
        }
        Ok(())
    }
}

impl Chain {
    fn new(tid: i32) -> Self {
        Self {
            tid,
            blocks: VecDeque::new(),
            began: None,
            packed: Vec::new(),
            at: 0,
            unpacker: Unpacker::new(),
            lost: false,
            damage: None,
            first: Vec::new(),
            second: Vec::new(),
            last: 0,
        }
    }

    /// Sees to it that the next record is there. Whether there is one.
    fn load(&mut self, file: &RawFile, limit: u64) -> Result<bool, RawError> {
        if !self.first.is_empty() {
            return Ok(true);
        }
        if !self.second.is_empty() {
            std::mem::swap(&mut self.first, &mut self.second);
            return Ok(true);
        }
        let mut record = std::mem::take(&mut self.first);
        let found = self.unpack(file, limit, &mut record);
        self.first = record;
        found
    }

    /// Unpacks the next record. Whether there was one; otherwise `record` is empty.
    fn unpack(&mut self, file: &RawFile, limit: u64, record: &mut Vec<u8>) -> Result<bool, RawError> {
        loop {
            let packed = self.packed.get(self.at..).unwrap_or_default();
            if packed.is_empty() || self.lost {
                if !self.next_block(file, limit)? {
                    record.clear();
                    return Ok(false);
                }
                continue;
            }
            match self.unpacker.unpack(packed, record) {
                Ok(rest) => {
                    self.at = self.packed.len() - rest.len();
                    return Ok(true);
                }
                Err(found) => {
                    self.lost = true;
                    self.damage = Some(found);
                }
            }
        }
    }

    /// Begins the next block, if it may be.
    fn next_block(&mut self, file: &RawFile, limit: u64) -> Result<bool, RawError> {
        self.at = 0;
        self.packed.clear();
        if self.blocks.front().is_none_or(|block| block.events > limit) {
            return Ok(false);
        }
        let Some(Block {
            fresh, packed: span, ..
        }) = self.blocks.pop_front()
        else {
            return Ok(false);
        };
        self.began = Some(span.at);
        if fresh {
            (self.unpacker, self.lost) = (Unpacker::new(), false);
        }
        if !self.lost {
            file.read_span(span, &mut self.packed)?;
        }
        Ok(true)
    }

    /// Takes the next record, and its return if it is a call and that follows it, not later than `others`. Gives what `sink` does.
    fn take(
        &mut self,
        source: &Source<'_>,
        limit: u64,
        others: u64,
        mut sink: impl FnMut(Result<Item<'_>, Damage>) -> bool,
    ) -> Result<bool, RawError> {
        let shapes = source.shapes;
        let record = parse(&self.first, shapes);
        if let Ok(Record::Call(_)) = record
            && self.second.is_empty()
        {
            let mut second = std::mem::take(&mut self.second);
            let found = self.unpack(source.file, limit, &mut second);
            self.second = second;
            found?;
        }
        let record = parse(&self.first, shapes);
        let next = parse(&self.second, shapes);
        let go_on = match (record, next) {
            (Ok(Record::Call(call)), Ok(Record::Return(ret)))
                if call.id() == ret.id()
                    && call.stack_pointer() == ret.stack_pointer()
                    && ret.stamp().is_none_or(|stamp| stamp <= others) =>
            {
                let go_on = sink(Ok(Item::Whole(call, ret)));
                self.last = ret.stamp().map_or(self.last, |stamp| stamp.max(self.last));
                self.second.clear();
                go_on
            }
            (record, _) => sink(record.map(Item::Record)),
        };
        self.first.clear();
        Ok(go_on)
    }
}
