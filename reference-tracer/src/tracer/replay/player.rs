//! Records become calls, as they do while a program runs.

use std::collections::BTreeMap;

use arch_abi::{Addr, Arch};
use breakpoint::{CallStack, Closed, Frame, How, Pushed};
use fast_ring::{Call, Damage, Record};
use ptrace_core::Tid;
use rustc_hash::FxHashMap;

use super::ahead::{After, Queued};
use super::definitions::Definitions;
use super::world::{KnownStacks, Past};
use crate::fast::fill::{Moments, Recorded};
use crate::points::Points;
use crate::raw::{Chains, ClockPair, Item, Limits, RawError, RawFile, Source, Until};
use crate::summary::{OpenCall, Sample};
use crate::text::Moment;
use crate::tracer::fast::{is_overwritten, marker, overwritten};
use crate::tracer::reporter::Reporter;
use crate::tracer::thread::{MAX_PENDING, Pending};
use crate::value::{RawReturn, Shown};

/// A thread, as far as it is known.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) tgid: i32,
    pub(super) calls: CallStack<Box<Pending>>,
    /// The system call that it is in.
    pub(super) syscall: Option<Box<Pending>>,
    /// Calls that have returned with another one, and whose results stand further on in the file.
    pub(super) returned: Vec<Pending>,
    /// The high half of its stack pointer.
    pub(super) high: u64,
    pub(super) stacks: KnownStacks,
}

impl Thread {
    /// A thread beside so many others.
    pub(super) fn new(tgid: i32, others: usize) -> Self {
        Self {
            tgid,
            // Who makes a file up may have any number of threads, and each of them in any number of calls.
            calls: CallStack::new(Arch::X86_64, (MAX_PENDING / (others / 8 + 1)).max(64)),
            syscall: None,
            returned: Vec::new(),
            high: 0,
            stacks: KnownStacks::default(),
        }
    }

    const fn stack_at(&self, low: u32) -> Addr {
        Addr::new(self.high | low as u64)
    }

    /// See [`Thread::returns_to`](crate::tracer::thread::Thread::returns_to).
    pub(super) fn returns_to(&self, id: u32, sp: Addr, by_jump: bool) -> Addr {
        let around = self.calls.iter().next_back();
        around
            .filter(|(frame, _)| by_jump && frame.sp_after == sp.wrapping_add(8))
            .map_or(marker(id), |(frame, _)| frame.return_to)
    }

    /// The call that the next one is made in.
    pub(super) fn around(&mut self) -> Option<&mut Pending> {
        self.calls
            .iter_mut()
            .next_back()
            .map(|(_, pending)| &mut **pending)
    }
}

/// From ticks to nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    start: u64,
    epoch: u64,
    /// Nanoseconds per tick.
    per_tick: f64,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "a ratio of times")]
    fn of((first, last): (ClockPair, ClockPair)) -> Self {
        let ticks = last.ticks.wrapping_sub(first.ticks).max(1);
        let time = last.nanoseconds.saturating_sub(first.nanoseconds);
        Self {
            start: first.ticks,
            epoch: first.nanoseconds,
            per_tick: time as f64 / ticks as f64,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a time since the start, of at most some weeks, in nanoseconds; a wrong one is cut"
    )]
    fn nanoseconds(self, stamp: u64) -> u64 {
        let since = stamp.wrapping_sub(self.start).cast_signed();
        self.epoch
            .saturating_add_signed((since as f64 * self.per_tick) as i64)
    }

    /// The other way. `None`: no clock was read.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a time since the start, of at most some weeks, in ticks; a wrong one is cut"
    )]
    fn ticks(self, nanoseconds: u64) -> Option<u64> {
        let since = nanoseconds.wrapping_sub(self.epoch).cast_signed();
        let ticks = (since as f64 / self.per_tick) as i64;
        (self.per_tick > 0.0).then(|| self.start.saturating_add_signed(ticks))
    }
}

/// Shows what a file has.
pub(super) struct Player {
    pub(super) reporter: Reporter,
    pub(super) definitions: Definitions,
    pub(super) threads: FxHashMap<i32, Thread>,
    /// The calls that processes begin in that are not born yet.
    pub(super) forks: FxHashMap<i32, CallStack<Box<Pending>>>,
    /// By process.
    pub(super) pasts: FxHashMap<i32, Past>,
    pub(super) nothing: Past,
    rate: Rate,
    recorded: Recorded,
    #[expect(
        clippy::vec_box,
        reason = "a record moves between here and the call stacks as one word"
    )]
    pool: Vec<Box<Pending>>,
    /// The threads whose records are not whole, and what was found first.
    damaged: BTreeMap<Tid, Damage>,
}

/// How many records are kept for reuse.
const MAX_POOL: usize = 1024;

impl Player {
    pub(super) fn new(
        reporter: Reporter,
        definitions: Definitions,
        clocks: Option<(ClockPair, ClockPair)>,
    ) -> Self {
        Self {
            reporter,
            definitions,
            threads: FxHashMap::default(),
            forks: FxHashMap::default(),
            pasts: FxHashMap::default(),
            nothing: Past::default(),
            rate: clocks.map_or(Rate::default(), Rate::of),
            recorded: Recorded::default(),
            pool: Vec::new(),
            damaged: BTreeMap::new(),
        }
    }

    /// Whether no more is to be shown.
    pub(super) fn is_over(&self) -> bool {
        self.reporter.is_full() || self.reporter.out.is_broken()
    }

    /// Ends the text. Gives what shows the summary. What is to be told, and was not told at the end of the recording, is added to `notes`.
    pub(super) fn finish(mut self, notes: &mut Vec<String>) -> (Reporter, Points) {
        self.reporter.finish(&self.definitions.points);
        for (tid, damage) in self.damaged {
            let was_told = notes.iter().any(|note| is_overwritten(note, tid));
            if !was_told {
                notes.push(overwritten(tid, damage));
            }
        }
        (self.reporter, self.definitions.points)
    }

    /// Up to where records come before an event.
    pub(super) fn until(&self, event: &Queued) -> Until {
        match event.after {
            After::All => Until::Limits,
            // A time that nobody can compare with those of records is none.
            After::Thread(_, Some(_)) if self.rate.per_tick <= 0.0 => Until::Limits,
            After::Thread(tid, time) => Until::Event {
                tid: Some(tid),
                time: time.and_then(|time| self.rate.ticks(time)).unwrap_or(0),
            },
            After::Event => Until::Event { tid: None, time: 0 },
        }
    }

    /// Shows records that wait.
    pub(super) fn records(
        &mut self,
        chains: &mut Chains,
        file: &RawFile,
        until: Until,
        limits: &impl Limits,
    ) -> Result<(), RawError> {
        let shapes = std::mem::take(&mut self.definitions.shapes);
        let source = Source {
            file,
            shapes: &shapes,
        };
        let drained = chains.drain(&source, until, limits, |tid, item| {
            self.item(tid, item);
            !self.is_over()
        });
        self.definitions.shapes = shapes;
        drained
    }

    fn item(&mut self, tid: i32, item: Result<Item<'_>, Damage>) {
        match item {
            Ok(Item::Block(at)) => {
                let thread = self.threads.get(&tid);
                if let Some(past) = thread.and_then(|thread| self.pasts.get_mut(&thread.tgid)) {
                    past.come_to(at);
                }
            }
            Ok(Item::Whole(call, ret)) => {
                if !self.at_once(tid, &call, &ret) {
                    self.call(tid, &call, false);
                    self.ret(tid, &ret);
                }
            }
            Ok(Item::Record(Record::Call(call))) => self.call(tid, &call, false),
            Ok(Item::Record(Record::TailCall(call))) => self.call(tid, &call, true),
            Ok(Item::Record(Record::Return(ret))) => self.ret(tid, &ret),
            // What was lost was told at the end of the recording.
            Ok(_) => {}
            Err(damage) => {
                self.damaged.entry(Tid::new(tid)).or_insert(damage);
            }
        }
    }

    fn time(&self, stamp: Option<u64>) -> u64 {
        stamp.map_or(0, |stamp| self.rate.nanoseconds(stamp))
    }

    /// Shows a whole call without making it a pending one first, where it is so simple.
    fn at_once(&mut self, tid: i32, call: &Call<'_>, ret: &Call<'_>) -> bool {
        let (began, ended) = (self.time(call.stamp()), self.time(ret.stamp()));
        let (Some(kind), Some(thread)) = (self.definitions.kind(call.id()), self.threads.get_mut(&tid))
        else {
            return false;
        };
        if !kind.point.shown {
            return true;
        }
        let Some(at_once) = &kind.at_once else {
            return false;
        };
        let sp_after = thread.stack_at(call.stack_pointer()).wrapping_add(8);
        if thread.calls.is_left_by(sp_after) {
            return false;
        }
        self.reporter.out.focus(Tid::new(thread.tgid));
        let at = Moment {
            tid,
            time: began,
            address: Addr::new(call.caller().unwrap_or(0)),
        };
        let took = ended.saturating_sub(began);
        let shown = self.reporter.whole(kind.point.id, at_once, (call, ret), at, took);
        if let Ok(Some(sample)) = &shown
            && let Some(around) = thread.around()
        {
            around.open.add_recorded(sample);
        }
        shown.is_ok()
    }

    fn call(&mut self, tid: i32, call: &Call<'_>, by_jump: bool) {
        let time = self.time(call.stamp());
        let (Some(kind), Some(thread)) = (self.definitions.kind(call.id()), self.threads.get_mut(&tid))
        else {
            return;
        };
        if !kind.point.shown {
            return;
        }
        self.reporter.out.focus(Tid::new(thread.tgid));
        if call.stamp().is_some() {
            self.reporter.clock.set(time);
        }
        let mut pending = self.pool.pop().unwrap_or_default();
        renew(&mut pending);
        pending.point = kind.point.id;
        pending.is_recorded = true;
        let raw = &mut pending.call;
        kind.wants.fill_call(call, raw, &mut pending.recorded);
        (raw.tid, raw.call_point, raw.time) = (tid, kind.point.id.0, time);
        raw.sp = thread.stack_at(call.stack_pointer());
        let frame = Frame {
            return_to: thread.returns_to(call.id(), raw.sp, by_jump),
            sp_after: raw.sp.wrapping_add(8),
            entry: marker(call.id()),
        };
        let mut closed = Vec::new();
        let pushed = thread.calls.push(frame, pending, &mut thread.stacks, &mut closed);
        self.close(tid, closed, None);
        if pushed != Pushed::Pending {
            return;
        }
        let (Some(kind), Some(thread)) = (self.definitions.kind(call.id()), self.threads.get_mut(&tid))
        else {
            return;
        };
        let past = self.pasts.get(&thread.tgid).unwrap_or(&self.nothing);
        let Some(pending) = thread.around() else { return };
        let recorded = std::mem::take(&mut pending.recorded);
        let memory = Moments {
            ret: None,
            call: &recorded,
            constant: past,
        };
        self.reporter
            .entry(&self.definitions.points, pending, &kind.point.plan, &memory, past);
        pending.recorded = recorded;
        pending.started = time;
    }

    fn ret(&mut self, tid: i32, ret: &Call<'_>) {
        let time = self.time(ret.stamp());
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        self.reporter.out.focus(Tid::new(thread.tgid));
        if ret.stamp().is_some() {
            self.reporter.clock.set(time);
        }
        let sp_after = thread.stack_at(ret.stack_pointer()).wrapping_add(8);
        let mut closed = Vec::new();
        thread
            .calls
            .returned(marker(ret.id()), sp_after, &mut thread.stacks, &mut closed);
        self.close(tid, closed, Some(ret));
    }

    /// Shows calls that are over, those that have returned by the record `ret`.
    pub(super) fn close(&mut self, tid: i32, closed: Vec<Closed<Box<Pending>>>, ret: Option<&Call<'_>>) {
        for Closed {
            token: pending,
            how,
            frame,
        } in closed
        {
            match (how, ret) {
                // It was told before that it was left.
                _ if pending.hidden && pending.serial != 0 => {}
                (How::Returned, Some(ret)) => self.show_return(tid, &pending, frame.entry, ret),
                _ => self.reporter.unwound(&self.definitions.points, &pending),
            }
            if self.pool.len() < MAX_POOL {
                self.pool.push(pending);
            }
        }
    }

    /// Shows a return. `entry` tells the record by which the call was met: one that was made by a jump returns with the call
    /// around it, whose record has that one's fields.
    fn show_return(&mut self, tid: i32, pending: &Pending, entry: Addr, ret: &Call<'_>) {
        let time = self.time(ret.stamp());
        let Some(kind) = self.definitions.kind(ret.id()) else {
            return;
        };
        let own = entry == marker(ret.id());
        let mut raw = RawReturn {
            time,
            ..RawReturn::default()
        };
        let mut recorded = std::mem::take(&mut self.recorded);
        kind.wants
            .fill_return(ret, &pending.call, &mut raw, &mut recorded);
        self.finish_call(tid, pending, &raw, own.then_some(&recorded));
        self.recorded = recorded;
    }

    /// Shows a return, with the memory that was recorded at it.
    pub(super) fn finish_call(
        &mut self,
        tid: i32,
        pending: &Pending,
        raw: &RawReturn,
        recorded: Option<&Recorded>,
    ) {
        let (Some(plan), Some(thread)) = (self.definitions.plan(pending.point), self.threads.get_mut(&tid))
        else {
            return;
        };
        let past = self.pasts.get(&thread.tgid).unwrap_or(&self.nothing);
        let memory = Moments {
            ret: recorded,
            call: &pending.recorded,
            constant: past,
        };
        let sample = self
            .reporter
            .returned(&self.definitions.points, pending, plan, raw, &memory, past);
        add(thread, sample.as_ref(), true);
    }
}

/// The time of a call is no time of the one around it.
pub(super) fn add(thread: &mut Thread, sample: Option<&Sample>, is_recorded: bool) {
    if let (Some(sample), Some(around)) = (sample, thread.around()) {
        if is_recorded {
            around.open.add_recorded(sample);
        } else {
            around.open.add_inner(sample);
        }
    }
}

/// Makes a record that was used as a new one.
pub(super) fn renew(pending: &mut Pending) {
    pending.call.stack.clear();
    pending.call.fp = None;
    pending.arch = None;
    pending.shown = Shown::default();
    pending.hidden = false;
    pending.return_trap = None;
    pending.is_recorded = false;
    pending.serial = 0;
    pending.by_jump = false;
    pending.recorded.clear();
    pending.open = OpenCall::default();
}
