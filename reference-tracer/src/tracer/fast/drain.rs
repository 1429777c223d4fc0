//! Reading what was recorded: records become calls, as hits of traps do.

use std::rc::Rc;
use std::sync::Weak;
use std::time::Instant;

use arch_abi::Addr;
use arch_abi::record::Recording;
use breakpoint::{Closed, Frame, How, Pushed, StackWitness};
use fast_ring::{Call, Damage, Item, Record, Shape, format};
use ptrace_core::Tid;
use rustc_hash::{FxHashMap, FxHashSet};

use super::lanes::{Chunk, Futex, Lanes};
use super::pump::{PATIENCE, Pump};
use super::{Engine, RecordOptions, marker};
use crate::fast::fill::Moments;
use crate::fast::wants::Wants;
use crate::memory::TargetMemory;
use crate::points::{PointId, Points};
use crate::proto::Plan;
use crate::summary::OpenCall;
use crate::sys::{self, SharedWords};
use crate::text::Moment;
use crate::tracer::Tracer;
use crate::tracer::clock::Clock;
use crate::tracer::hits::Buffers;
use crate::tracer::reporter::{AtOnce, Reporter};
use crate::tracer::space::Space;
use crate::tracer::thread::{Pending, StackMap, Stacks, Thread};
use crate::value::{RawReturn, Shown};

/// What the records under one id say.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) point: PointId,
    pub(super) plan: Rc<Plan>,
    pub(super) wants: Rc<Wants>,
    /// How its calls are shown at once, where that can be.
    pub(super) at_once: Option<Rc<AtOnce>>,
}

/// What records say, by their ids.
#[derive(Debug, Default)]
pub(in crate::tracer) struct Kinds {
    all: Vec<Kind>,
    pub(super) shapes: Vec<Shape>,
    ids: FxHashMap<(PointId, Recording), u32>,
}

impl Kinds {
    /// The id of the records of a call point; `None` if there are too many.
    pub(super) fn id(
        &mut self,
        point: PointId,
        plan: &Rc<Plan>,
        wants: Wants,
        at_once: Option<Rc<AtOnce>>,
    ) -> Option<u32> {
        let key = (point, wants.recording.clone());
        if let Some(&id) = self.ids.get(&key) {
            return Some(id);
        }
        let id = u32::try_from(self.all.len())
            .ok()
            .filter(|&id| id < format::MAX_IDS)?;
        self.shapes.push(wants.shape());
        self.all.push(Kind {
            point,
            plan: Rc::clone(plan),
            wants: Rc::new(wants),
            at_once,
        });
        self.ids.insert(key, id);
        Some(id)
    }

    /// The id and the recording of the same calls, with their times.
    pub(super) fn stamped(&mut self, id: u32) -> Option<(u32, Recording)> {
        let kind = self.get(id)?.clone();
        let mut wants = Wants::clone(&kind.wants);
        wants.recording.call.stamp = true;
        let recording = wants.recording.clone();
        Some((self.id(kind.point, &kind.plan, wants, kind.at_once)?, recording))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Kind> {
        self.all.get(usize::try_from(id).ok()?)
    }
}

/// The clock of time stamps, as the clock of the trace.
#[derive(Debug)]
struct Ticks {
    start: u64,
    began: Instant,
    /// Nanoseconds of the trace's clock at the start.
    epoch: u64,
    /// Nanoseconds per tick.
    rate: f64,
}

impl Ticks {
    fn start(clock: &Clock) -> Self {
        Self {
            start: sys::ticks(),
            began: Instant::now(),
            epoch: clock.now(),
            rate: 0.0,
        }
    }

    /// Measures the rate anew, over all the time since the start.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of times")]
    fn measure(&mut self) {
        let least = std::time::Duration::from_millis(1);
        while self.rate == 0.0 && self.began.elapsed() < least {
            std::hint::spin_loop();
        }
        let (ticks, time) = (sys::ticks().wrapping_sub(self.start), self.began.elapsed());
        self.rate = time.as_nanos() as f64 / ticks.max(1) as f64;
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a time since the start, of at most some weeks, in nanoseconds"
    )]
    fn nanoseconds(&self, stamp: u64) -> u64 {
        let since = stamp.wrapping_sub(self.start).cast_signed();
        let nanoseconds = (since as f64 * self.rate) as i64;
        self.epoch.saturating_add_signed(nanoseconds)
    }
}

/// The engine, as far as it is not of one address space.
pub(in crate::tracer) struct Recorder {
    pub(super) options: RecordOptions,
    /// Whether stubs may make system calls of their own beside the waiting for room: where those are shown, these would be, too.
    pub(super) may_ask: bool,
    pub(super) lanes: Lanes,
    pub(super) kinds: Kinds,
    pub(super) pump: Option<Pump>,
    ticks: Option<Ticks>,
    /// For how many passes more it counts as reading much.
    busy: u32,
    /// The shared memory that is in use.
    chunks: Vec<(SharedWords, Weak<()>)>,
    /// Threads whose rings were found damaged.
    pub(super) damaged: FxHashSet<Tid>,
    /// While records are read: the threads of the rings that had some, so that they are looked up once, not for each record.
    seats: Vec<Option<Thread>>,
    pub(in crate::tracer) notes: Vec<String>,
}

impl Recorder {
    pub(in crate::tracer) fn new(options: RecordOptions, may_ask: bool) -> Self {
        Self {
            options,
            may_ask,
            lanes: Lanes::default(),
            kinds: Kinds::default(),
            pump: None,
            ticks: None,
            busy: 0,
            chunks: Vec::new(),
            damaged: FxHashSet::default(),
            seats: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether the engine is wanted.
    pub(in crate::tracer) fn is_wanted(&self) -> bool {
        self.options.engine != Engine::Trap
    }

    /// Whether anybody records.
    pub(in crate::tracer) fn is_active(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// How long a thread waits for a tracer that does not beat, in ticks.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time of some seconds"
    )]
    pub(super) fn patience(&mut self, clock: &Clock) -> u64 {
        let ticks = self.ticks.get_or_insert_with(|| Ticks::start(clock));
        ticks.measure();
        (PATIENCE.as_nanos() as f64 / ticks.rate) as u64
    }

    /// A piece of shared memory more is in use.
    pub(super) fn attend(&mut self, chunk: &Chunk) {
        if let Some(pump) = &self.pump {
            let (region, alive) = chunk.region();
            pump.attend(region, alive);
        }
        self.chunks.retain(|(_, alive)| alive.strong_count() > 0);
        self.chunks.push(chunk.words());
        let words: Vec<_> = self.chunks.iter().map(|(words, _)| *words).collect();
        sys::tell_of_death(&words);
    }

    /// A pass has read so many records. Gives whether the tracer has begun to read much.
    pub(in crate::tracer) fn keep_busy(&mut self, read: usize) -> bool {
        /// Calls that take as long to read as a stop does to handle.
        const MUCH: usize = 64;
        /// After so many passes of less it is over.
        const QUIET: u32 = 256;
        if read >= MUCH {
            return std::mem::replace(&mut self.busy, QUIET) == 0;
        }
        self.busy = self.busy.saturating_sub(1);
        false
    }

    /// Whether the tracer has much to read.
    pub(in crate::tracer) fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// The tracer is about to sleep. `false`: there is something to read first.
    pub(in crate::tracer) fn may_sleep(&self) -> bool {
        let Some(pump) = &self.pump else { return true };
        pump.arm();
        let quarter = self.options.ring as u64 / 4;
        self.lanes.consumers.iter().all(|ring| ring.unread() < quarter)
    }
}

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

/// What is told of a thread whose memory something else has written.
pub(in crate::tracer) fn overwritten(tid: Tid, damage: Damage) -> String {
    format!("{}, and some calls are not shown: {damage}", whose(tid))
}

/// Whether that was told of this thread.
pub(in crate::tracer) fn is_overwritten(told: &str, tid: Tid) -> bool {
    told.starts_with(&whose(tid))
}

fn whose(tid: Tid) -> String {
    format!("tid {tid}: its records were overwritten")
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
