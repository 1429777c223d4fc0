//! Reading what was recorded: records become calls, as hits of traps do.

use std::rc::Rc;

use arch_abi::Addr;
use breakpoint::{Closed, Frame, How, Pushed, StackWitness};
use fast_ring::{Call, Damage, Item, Record, Shape};
use ptrace_core::Tid;
use rustc_hash::FxHashSet;

use super::kinds::Kinds;
use super::lanes::{Futex, Lanes};
use super::marker;
use super::recorder::overwritten;
use super::ticks::Ticks;
use crate::fast::fill::Moments;
use crate::memory::TargetMemory;
use crate::points::{PointId, Points};
use crate::summary::OpenCall;
use crate::sys;
use crate::text::Moment;
use crate::tracer::Tracer;
use crate::tracer::hits::Buffers;
use crate::tracer::reporter::Reporter;
use crate::tracer::space::Space;
use crate::tracer::thread::{Pending, StackMap, Stacks, Thread};
use crate::value::{RawReturn, Shown};

/// Which records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tracer) enum Pass {
    /// Those before which no other thread can have one that is not there yet.
    Settled,
    /// All that is there: a thread has stopped, and what it has recorded comes before that.
    All,
}

impl Tracer {
    /// Shows what was recorded. Gives how many records were read.
    pub(in crate::tracer) fn drain(&mut self, pass: Pass) -> usize {
        let recorder = &mut self.recorder;
        if recorder.lanes.is_empty() {
            return 0;
        }
        if self.reporter.is_raw() {
            return self.drain_raw();
        }
        if let Some(ticks) = &mut recorder.ticks {
            ticks.measure();
        }
        let now = match pass {
            Pass::Settled => sys::ticks(),
            Pass::All => u64::MAX,
        };
        let mut sink = Sink {
            reporter: &mut self.reporter,
            points: self.store.points(),
            buffers: &mut self.buffers,
            kinds: &recorder.kinds,
            ticks: recorder.ticks.as_ref(),
            damaged: &mut recorder.damaged,
            notes: &mut recorder.notes,
        };
        let (threads, seats) = (&mut self.threads, &mut recorder.seats);
        seats.resize_with(recorder.lanes.consumers.len(), || None);
        let shapes = &recorder.kinds.shapes;
        let read = recorder.lanes.drain(now, shapes, |index, tid, item| {
            let seat = &mut seats[index];
            if seat.is_none() {
                *seat = threads.remove(&tid);
            }
            if let Some(thread) = seat {
                sink.take(thread, item);
            }
        });
        let seated = seats.iter_mut().filter_map(Option::take);
        threads.extend(seated.map(|thread| (thread.tid, thread)));
        read
    }
}

impl Lanes {
    /// Hands over what the rings have, each with the number of its ring and its thread.
    fn drain(
        &mut self,
        now: u64,
        shapes: &Vec<Shape>,
        mut sink: impl FnMut(usize, Tid, Result<Item<'_>, Damage>),
    ) -> usize {
        let mut used = (0..self.consumers.len()).filter_map(|index| Some((index, self.owner(index)?)));
        match (used.next(), used.next()) {
            (None, _) => 0,
            (Some((index, tid)), None) => {
                self.consumers[index].drain_calls(shapes, &Futex, |item| sink(index, tid, item))
            }
            _ => {
                let Self {
                    consumers,
                    merge,
                    owners,
                    ..
                } = self;
                let take = |index: usize, item: Result<Item<'_>, Damage>| {
                    if let Some(owner) = &owners[index] {
                        sink(index, owner.tid, item);
                    }
                };
                merge.drain_calls(now, consumers, shapes, &Futex, take).items
            }
        }
    }
}

/// What records become calls with.
struct Sink<'a> {
    reporter: &'a mut Reporter,
    points: &'a Points,
    buffers: &'a mut Buffers,
    kinds: &'a Kinds,
    ticks: Option<&'a Ticks>,
    damaged: &'a mut FxHashSet<Tid>,
    notes: &'a mut Vec<String>,
}

impl Sink<'_> {
    #[inline]
    fn take(&mut self, thread: &mut Thread, item: Result<Item<'_>, Damage>) {
        match item {
            Ok(Item::Whole(call, ret)) => self.whole(thread, &call, &ret),
            item => self.single(thread, item),
        }
    }

    fn single(&mut self, thread: &mut Thread, item: Result<Item<'_>, Damage>) {
        match item {
            Ok(Item::Record(Record::Call(call))) => self.call(thread, &call, false),
            Ok(Item::Record(Record::TailCall(call))) => self.call(thread, &call, true),
            Ok(Item::Record(Record::Return(ret))) => self.ret(thread, &ret),
            // What was lost is told at the end.
            Ok(_) => {}
            Err(damage) => {
                thread.returns.lose();
                if self.damaged.insert(thread.tid) {
                    self.notes.push(overwritten(thread.tid, damage));
                }
            }
        }
    }

    #[inline]
    fn time(&self, stamp: Option<u64>) -> u64 {
        match (stamp, self.ticks) {
            (Some(stamp), Some(ticks)) => ticks.nanoseconds(stamp),
            // Nobody asked for times.
            _ => 0,
        }
    }

    /// A call that has returned, and called nothing that is recorded.
    #[inline]
    fn whole(&mut self, thread: &mut Thread, call: &Call<'_>, ret: &Call<'_>) {
        if !self.at_once(thread, call, ret) {
            self.call(thread, call, false);
            self.ret(thread, ret);
        }
    }

    /// Shows a whole call without making it a pending one first, where it is so simple and shows nothing of other calls.
    #[inline]
    fn at_once(&mut self, thread: &mut Thread, call: &Call<'_>, ret: &Call<'_>) -> bool {
        let Some(kind) = self.kinds.get(call.id()) else {
            return false;
        };
        let Some(at_once) = &kind.at_once else {
            return false;
        };
        let sp_after = thread.stack_at(call.stack_pointer()).wrapping_add(8);
        if thread.calls.is_left_by(sp_after) {
            return false;
        }
        self.reporter.out.focus(thread.tgid);
        let (began, ended) = (self.time(call.stamp()), self.time(ret.stamp()));
        let at = Moment {
            tid: thread.tid.raw(),
            time: began,
            address: Addr::new(call.caller().unwrap_or(0)),
        };
        let took = ended.saturating_sub(began);
        let shown = self.reporter.whole(kind.point, at_once, (call, ret), at, took);
        if let Ok(Some(sample)) = &shown
            && let Some((_, around)) = thread.calls.iter_mut().next_back()
        {
            around.open.add_recorded(sample);
        }
        shown.is_ok()
    }

    fn call(&mut self, thread: &mut Thread, call: &Call<'_>, by_jump: bool) {
        let Some(kind) = self.kinds.get(call.id()) else {
            return;
        };
        let time = self.time(call.stamp());
        self.reporter.out.focus(thread.tgid);
        let mut pending = self.buffers.pool.pop().unwrap_or_default();
        renew(&mut pending, kind.point);
        let raw = &mut pending.call;
        kind.wants.fill_call(call, raw, &mut pending.recorded);
        (raw.tid, raw.call_point, raw.time) = (thread.tid.raw(), kind.point.0, time);
        raw.sp = thread.stack_at(call.stack_pointer());
        let frame = Frame {
            return_to: thread.returns_to(call.id(), raw.sp, by_jump),
            sp_after: raw.sp.wrapping_add(8),
            entry: marker(call.id()),
        };
        let mut closed = std::mem::take(&mut self.buffers.closed);
        let space = Rc::clone(&thread.space);
        let space = space.borrow();
        let mut stacks = stacks(&mut thread.stacks, thread.tgid, &space);
        let pushed = thread.calls.push(frame, pending, &mut stacks, &mut closed);
        let depth = thread.calls.depth();
        self.close(thread, &mut closed, None, &space);
        self.buffers.closed = closed;
        if pushed != Pushed::Pending || depth == 0 {
            return;
        }
        let Some((_, pending)) = thread.calls.iter_mut().next_back() else {
            return;
        };
        let recorded = std::mem::take(&mut pending.recorded);
        let memory = Moments {
            ret: None,
            call: &recorded,
            constant: &Constants(&space),
        };
        self.reporter
            .entry(self.points, pending, &kind.plan, &memory, &*space);
        pending.recorded = recorded;
        pending.started = time;
    }

    fn ret(&mut self, thread: &mut Thread, ret: &Call<'_>) {
        self.reporter.out.focus(thread.tgid);
        let sp_after = thread.stack_at(ret.stack_pointer()).wrapping_add(8);
        let mut closed = std::mem::take(&mut self.buffers.closed);
        let space = Rc::clone(&thread.space);
        let space = space.borrow();
        let mut stacks = stacks(&mut thread.stacks, thread.tgid, &space);
        let returned = thread
            .calls
            .returned(marker(ret.id()), sp_after, &mut stacks, &mut closed);
        if returned == 0 {
            // It was called, but that was not seen: there may be more such.
            thread.returns.lose();
        }
        self.close(thread, &mut closed, Some(ret), &space);
        self.buffers.closed = closed;
    }

    fn close(
        &mut self,
        thread: &mut Thread,
        closed: &mut Vec<Closed<Box<Pending>>>,
        ret: Option<&Call<'_>>,
        space: &Space,
    ) {
        for Closed {
            token: pending,
            how,
            frame,
        } in closed.drain(..)
        {
            match (how, ret) {
                (How::Returned, Some(ret)) => self.show_return(thread, &pending, frame.entry, ret, space),
                _ => self.reporter.unwound(self.points, &pending),
            }
            self.buffers.recycle(pending);
        }
    }

    /// Shows a return. `entry` tells the record by which the call was met: one that was made by a jump returns with the call
    /// around it, whose record has that one's fields.
    fn show_return(
        &mut self,
        thread: &mut Thread,
        pending: &Pending,
        entry: Addr,
        ret: &Call<'_>,
        space: &Space,
    ) {
        let own = entry == marker(ret.id());
        let Some(kind) = self.kinds.get(ret.id()) else {
            return;
        };
        let plan = if own {
            Rc::clone(&kind.plan)
        } else {
            self.reporter.plan(
                pending.point,
                self.points.get(pending.point),
                space.arch,
                Vec::new,
            )
        };
        let mut raw = RawReturn {
            time: self.time(ret.stamp()),
            ..RawReturn::default()
        };
        let mut recorded = std::mem::take(&mut self.buffers.recorded);
        kind.wants
            .fill_return(ret, &pending.call, &mut raw, &mut recorded);
        let memory = Moments {
            ret: own.then_some(&recorded),
            call: &pending.recorded,
            constant: &Constants(space),
        };
        let sample = self
            .reporter
            .returned(self.points, pending, &plan, &raw, &memory, space);
        self.buffers.recorded = recorded;
        let around = thread.calls.iter_mut().next_back();
        if let (Some(sample), Some((_, around))) = (sample, around) {
            around.open.add_recorded(&sample);
        }
    }
}

fn renew(pending: &mut Pending, point: PointId) {
    pending.call.stack.clear();
    pending.call.fp = None;
    pending.point = point;
    pending.shown = Shown::default();
    pending.return_trap = None;
    pending.open = OpenCall::default();
    pending.is_recorded = true;
}

/// What does not change in a process: the parts of its objects that it cannot write.
pub(super) struct Constants<'a>(pub(super) &'a Space);

impl TargetMemory for Constants<'_> {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        let len = self.0.constant_from(at).min(buf.len() as u64);
        let len = usize::try_from(len).unwrap_or(0);
        self.0.memory.read(at, &mut buf[..len]).unwrap_or(0)
    }
}

/// What can be found out about a thread's stacks after the fact: the process has run on, and what lies there now may be
/// another call's.
struct Past<'a>(Stacks<'a>);

impl StackWitness for Past<'_> {
    fn same_stack(&mut self, frame: Addr, now: Addr) -> Option<bool> {
        self.0.same_stack(frame, now)
    }

    fn word(&mut self, at: Addr) -> Option<u64> {
        self.0.word(at)
    }

    fn holds(&mut self, _at: Addr, _return_to: Addr) -> bool {
        true
    }
}

fn stacks<'a>(map: &'a mut StackMap, tgid: Tid, space: &'a Space) -> Past<'a> {
    Past(Stacks {
        map,
        tgid,
        memory: &space.memory,
        word_size: space.arch.abi().word_size(),
    })
}
