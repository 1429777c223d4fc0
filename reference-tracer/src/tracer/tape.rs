//! A raw trace as it is written: all that the reporter is told goes to the file as it is, and records as they come out of their rings.
//!
//! Records are packed by thread, and written when there are many of them or when an event comes, which must stand behind them. Nothing of
//! them is looked at, but for the few call points that show names of code or text that is read where it lies.

use arch_abi::Arch;
use fast_ring::Packer;
use ptrace_core::{ExitStatus, Tid};
use rustc_hash::{FxHashMap, FxHashSet};

use super::reporter::Reporter;
use super::thread::{Pending, Thread};
use crate::points::{Kind, Point, PointId, Points};
use crate::proto::{Plan, Types};
use crate::raw::{
    Ending, Entry, Event, Exported, Header, Jump, MAGIC, PointDef, Put, kind, put_entry, put_json,
};
use crate::sys;
use crate::value::RawReturn;

/// The records of a ring that were read and not written.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) tid: Tid,
    pub(super) packer: Packer,
    pub(super) packed: Vec<u8>,
    /// Whether nothing of it was written.
    fresh: bool,
}

impl Lane {
    fn new(tid: Tid) -> Self {
        Self {
            tid,
            packer: Packer::new(),
            packed: Vec::new(),
            fresh: true,
        }
    }

    pub(super) fn put(&mut self, out: &mut Vec<u8>) {
        if self.packed.is_empty() {
            return;
        }
        put_entry(out, kind::BLOCK, |out| {
            out.id(self.tid.raw());
            out.number(self.fresh.into());
            out.extend_from_slice(&self.packed);
        });
        self.packed.clear();
        self.fresh = false;
    }
}

/// What is known of the file so far.
#[derive(Debug, Default)]
pub(super) struct Tape {
    /// By ring.
    pub(super) lanes: Vec<Option<Lane>>,
    /// What is to be looked at in the records of each kind that was defined.
    pub(super) looks: Vec<Option<super::fast::Look>>,
    /// What was written of the constants of processes: names of code and bytes, by process and address.
    pub(super) known: FxHashSet<(Tid, u64)>,
    /// How many records were written.
    pub(super) records: u64,
    points: Vec<bool>,
    types: Exported,
    /// Calls that were told.
    serial: u64,
    stacks: FxHashMap<Tid, (u64, (u64, u64))>,
}

/// So many packed bytes of a thread are written without waiting for more.
pub(super) const BLOCK: usize = 128 << 10;

impl Tape {
    /// The lane of a ring, which is this thread's, taken out of its place.
    pub(super) fn take_lane(&mut self, ring: usize, tid: Tid) -> Lane {
        if self.lanes.len() <= ring {
            self.lanes.resize_with(ring + 1, || None);
        }
        let lane = self.lanes[ring].take().filter(|lane| lane.tid == tid);
        lane.unwrap_or_else(|| Lane::new(tid))
    }

    /// A ring is nobody's any more.
    pub(super) fn close_lane(&mut self, ring: usize, out: &mut Vec<u8>) {
        if let Some(mut lane) = self.lanes.get_mut(ring).and_then(Option::take) {
            lane.put(out);
        }
    }

    /// Appends all records that were read.
    fn flush(&mut self, out: &mut Vec<u8>) {
        self.lanes.iter_mut().flatten().for_each(|lane| lane.put(out));
    }

    fn holds_records(&self) -> bool {
        self.lanes.iter().flatten().any(|lane| !lane.packed.is_empty())
    }

    /// Defines a call point, unless that was done.
    pub(super) fn define(
        &mut self,
        id: PointId,
        point: &Point,
        plan: &Plan,
        types: &Types,
        out: &mut Vec<u8>,
    ) {
        let index = id.0 as usize;
        if self.points.len() <= index {
            self.points.resize(index + 1, false);
        }
        if std::mem::replace(&mut self.points[index], true) {
            return;
        }
        let new = self.types.new_in(types, &plan.prototype);
        if !new.is_empty() {
            put_json(out, kind::TYPES, &new);
        }
        put_json(out, kind::POINT, &definition(id, point, plan));
    }
}

fn definition(id: PointId, point: &Point, plan: &Plan) -> PointDef {
    PointDef {
        id: id.0,
        kind: match point.kind {
            Kind::Import => 0,
            Kind::Entry => 1,
            Kind::Place => 2,
            Kind::Syscall => 3,
        },
        name: point.name.to_string(),
        path: point.caller.path.clone(),
        soname: point.caller.soname.clone(),
        is_main: point.caller.is_main,
        i386: plan.arch == Arch::I386,
        known: plan.known,
        prototype: plan.prototype.clone(),
    }
}

/// Appends what both clocks show now.
fn put_clocks(out: &mut Vec<u8>, reporter_now: impl Fn() -> u64) {
    let before = sys::ticks();
    let now = reporter_now();
    let ticks = before.wrapping_add(sys::ticks().wrapping_sub(before) / 2);
    put_entry(out, kind::CLOCK, |out| {
        out.number(ticks);
        out.number(now);
    });
}

impl Reporter {
    /// Whether all is written as it was recorded.
    pub(super) fn is_raw(&self) -> bool {
        self.tape.is_some()
    }

    /// Writes what a raw trace begins with.
    pub(super) fn begin_tape(&mut self) {
        let Some(header) = self.header() else { return };
        let clock = self.clock;
        self.out.write(|_, out| {
            out.extend_from_slice(&MAGIC);
            put_json(out, kind::HEADER, &header);
            put_clocks(out, || clock.now());
        });
    }

    fn header(&self) -> Option<Header> {
        let options = self.options();
        let raw = options.raw?;
        Some(Header {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            times: Header::times(self.stamps()),
            lines: options.lines,
            addresses: self.shows_callers(),
            callers: options.callers,
            many: raw.many,
            demangle: raw.demangle,
            limits: [options.limits.string, options.limits.array, options.limits.depth],
            correction: options.summary.as_ref().and_then(|summary| summary.correction),
        })
    }

    /// Something happens: what was recorded before stands before it.
    pub(super) fn tell(&mut self, event: Event<'_>) {
        if let Some(tape) = &mut self.tape {
            self.out.write(|_, out| {
                tape.flush(out);
                event.put(out);
            });
        }
    }

    pub(super) fn tape_entry(&mut self, points: &Points, pending: &mut Pending, plan: &Plan) {
        let types = self.prototypes.types();
        let Some(tape) = &mut self.tape else { return };
        tape.serial += 1;
        pending.serial = tape.serial;
        let call = &pending.call;
        let jump = pending.by_jump.then_some(Jump {
            words: call.words.first_chunk().copied().unwrap_or_default(),
            stack: &call.stack,
        });
        let entry = Event::Entry(Entry {
            tid: call.tid,
            serial: pending.serial,
            point: pending.point.0,
            time: call.time,
            sp: call.sp.get(),
            address: call.return_address.get(),
            jump,
            args: &self.args,
        });
        self.out.write(|_, out| {
            tape.flush(out);
            tape.define(pending.point, points.get(pending.point), plan, types, out);
            entry.put(out);
        });
    }

    pub(super) fn tape_return(&mut self, pending: &Pending, ret: &RawReturn, took: u64, failed: bool) {
        let Some(tape) = &mut self.tape else { return };
        let exit = Event::Exit {
            tid: pending.call.tid,
            serial: pending.serial,
            time: ret.time,
            took,
            failed,
            words: ret.words,
            args: &self.args,
            result: &self.result,
        };
        self.out.write(|_, out| {
            tape.flush(out);
            exit.put(out);
        });
    }

    pub(super) fn tape_exited(&mut self, tid: Tid, status: ExitStatus) {
        let (status, signal) = match status {
            ExitStatus::Exited(status) => (status, 0),
            ExitStatus::Signaled { signal, .. } => (0, signal.raw()),
        };
        let (tid, time) = (tid.raw(), self.clock.now());
        self.tell(Event::Exited {
            tid,
            time,
            status,
            signal,
        });
    }

    /// A thread is taken up.
    pub(super) fn tape_thread(&mut self, tid: Tid, tgid: Tid) {
        let (tid, tgid) = (tid.raw(), tgid.raw());
        self.tell(Event::Thread { tid, tgid });
    }

    /// A thread makes a process.
    pub(super) fn tape_fork(&mut self, parent: Tid, child: Tid) {
        let (parent, child) = (parent.raw(), child.raw());
        self.tell(Event::Forking { parent, child });
    }

    /// All calls of a thread are over.
    pub(super) fn tape_close(&mut self, tid: Tid, cut_off: bool, shown: bool) {
        if self.tape.is_some() {
            let (tid, time) = (tid.raw(), self.clock.now());
            self.tell(Event::Close {
                tid,
                time,
                cut_off,
                shown,
            });
        }
    }

    /// What is known of a thread's stack.
    pub(super) fn tape_stack(&mut self, thread: &Thread) {
        let Some(tape) = &mut self.tape else { return };
        let main = thread.stacks.main();
        let main = main.map_or((0, 0), |(start, end)| (start.get(), end.get()));
        let (tid, high) = (thread.tid, thread.stack_high);
        if tape.stacks.insert(tid, (high, main)) != Some((high, main)) {
            let tid = tid.raw();
            self.tell(Event::Stack { tid, high, main });
        }
    }

    /// The objects of a process are others now, and so may be the names of their code.
    pub(super) fn forget_names(&mut self) {
        if let Some(tape) = &mut self.tape {
            tape.known.clear();
        }
    }

    /// Writes what was recorded so far, and text that is buffered.
    pub(super) fn flush(&mut self) {
        if let Some(tape) = self.tape.as_mut().filter(|tape| tape.holds_records()) {
            let clock = self.clock;
            self.out.write(|_, out| {
                tape.flush(out);
                put_clocks(out, || clock.now());
            });
        }
        self.out.flush();
    }

    /// Whether there is something that is to be written soon.
    pub(super) fn is_waiting(&mut self) -> bool {
        self.out.is_waiting() || self.tape.as_ref().is_some_and(|tape| tape.holds_records())
    }

    /// How many records went to the file as they were.
    pub(super) fn raw_records(&self) -> u64 {
        self.tape.as_ref().map_or(0, |tape| tape.records)
    }

    /// Writes what a raw trace ends with.
    pub(super) fn end_tape(&mut self, notes: &[String]) {
        let Some(tape) = &mut self.tape else { return };
        let clock = self.clock;
        let ending = Ending {
            notes: notes.to_vec(),
        };
        self.out.write(|_, out| {
            tape.flush(out);
            put_clocks(out, || clock.now());
            put_json(out, kind::END, &ending);
        });
    }
}
