//! The records of several threads, in the order of their time stamps.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use fast_ring::{Call, Damage, Record, Shape, Unpacker, parse};
use rustc_hash::FxHashMap;

use super::file::{RawError, RawFile, Span};

/// The most threads whose records are read at a time: each takes some 40 KiB. No process has more.
const MOST_THREADS: usize = 1 << 15;

/// What is taken from a thread's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A call and its return, between which nothing was recorded.
    Whole(Call<'a>, Call<'a>),
    /// Any other record.
    Record(Record<'a>),
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
    blocks: VecDeque<(bool, Span)>,
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

impl Chains {
    /// A block more. `None`: there are too many threads.
    pub(crate) fn add(&mut self, tid: i32, fresh: bool, packed: Span) -> Option<()> {
        let index = match self.by_thread.get(&tid) {
            Some(&index) => index,
            None if self.all.len() < MOST_THREADS => {
                self.all.push(Chain::new(tid));
                self.by_thread.insert(tid, self.all.len() - 1);
                self.all.len() - 1
            }
            None => return None,
        };
        self.all.get_mut(index)?.blocks.push_back((fresh, packed));
        Some(())
    }

    /// A thread is gone, and so is what was known of its records.
    pub(crate) fn forget(&mut self, tid: i32) {
        let Some(index) = self.by_thread.remove(&tid) else {
            return;
        };
        self.all.swap_remove(index);
        if let Some(moved) = self.all.get(index) {
            self.by_thread.insert(moved.tid, index);
        }
    }

    /// Hands all records to `sink`, until that gives `false`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn drain(
        &mut self,
        file: &RawFile,
        shapes: &[Shape],
        mut sink: impl FnMut(i32, Result<Item<'_>, Damage>) -> bool,
    ) -> Result<(), RawError> {
        self.next.clear();
        for index in 0..self.all.len() {
            self.queue(index, file, shapes, &mut sink)?;
        }
        while let Some(Reverse((time, index))) = self.next.pop() {
            let others = self.next.peek().map_or(u64::MAX, |Reverse((time, _))| *time);
            let Some(chain) = self.all.get_mut(index) else {
                continue;
            };
            chain.last = time;
            let tid = chain.tid;
            if !chain.take(file, shapes, others, |item| sink(tid, item))? {
                return Ok(());
            }
            self.queue(index, file, shapes, &mut sink)?;
        }
        Ok(())
    }

    fn queue(
        &mut self,
        index: usize,
        file: &RawFile,
        shapes: &[Shape],
        sink: &mut impl FnMut(i32, Result<Item<'_>, Damage>) -> bool,
    ) -> Result<(), RawError> {
        let Some(chain) = self.all.get_mut(index) else {
            return Ok(());
        };
        let there = chain.load(file)?;
        if let Some(damage) = chain.damage.take() {
            sink(chain.tid, Err(damage));
        }
        if there {
            let stamp = parse(&chain.first, shapes).ok().and_then(|record| record.stamp());
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
    fn load(&mut self, file: &RawFile) -> Result<bool, RawError> {
        if !self.first.is_empty() {
            return Ok(true);
        }
        if !self.second.is_empty() {
            std::mem::swap(&mut self.first, &mut self.second);
            return Ok(true);
        }
        let mut record = std::mem::take(&mut self.first);
        let found = self.unpack(file, &mut record);
        self.first = record;
        found
    }

    /// Unpacks the next record. Whether there was one; otherwise `record` is empty.
    fn unpack(&mut self, file: &RawFile, record: &mut Vec<u8>) -> Result<bool, RawError> {
        loop {
            let packed = self.packed.get(self.at..).unwrap_or_default();
            if packed.is_empty() || self.lost {
                if !self.next_block(file)? {
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

    /// Begins the next block.
    fn next_block(&mut self, file: &RawFile) -> Result<bool, RawError> {
        self.at = 0;
        self.packed.clear();
        let Some((fresh, span)) = self.blocks.pop_front() else {
            return Ok(false);
        };
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
        file: &RawFile,
        shapes: &[Shape],
        others: u64,
        mut sink: impl FnMut(Result<Item<'_>, Damage>) -> bool,
    ) -> Result<bool, RawError> {
        let record = parse(&self.first, shapes);
        if let Ok(Record::Call(_)) = record
            && self.second.is_empty()
        {
            let mut second = std::mem::take(&mut self.second);
            let found = self.unpack(file, &mut second);
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
