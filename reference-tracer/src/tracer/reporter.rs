//! What the user sees: events go in, text or a summary comes out.

mod options;
mod others;
mod plans;
mod tables;

use std::cell::RefCell;
use std::rc::Rc;

use arch_abi::Addr;

use super::clock::Clock;
use super::streams::{Destination, Streams};
use super::surroundings::{Surroundings, World};
use super::tape::Tape;
use super::thread::Pending;
use crate::derive::Derived;
use crate::fast::quick::{Quick, Verdict};
use crate::fast::wants::{Ask, Wants};
use crate::memory::TargetMemory;
use crate::points::{Kind, Point, PointId, Points};
use crate::proto::{Plan, Prototypes};
use crate::raw::Event;
use crate::summary::{Correction, OpenCall, Sample, Summary};
use crate::text::{CallName, Moment, TextSink};
use crate::value::{Decoder, NoDescription, RawCall, RawReturn, Scratch, Shown, has_failed};
use rustc_hash::{FxHashMap, FxHashSet};

pub use options::{RawOptions, ReportOptions, SummaryOptions};

/// The return of a call as text.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextReturn<'a> {
    pub(super) time: u64,
    /// The time inside the call.
    pub(super) took: u64,
    pub(super) failed: bool,
    /// The arguments that were known only now.
    pub(super) args: &'a [u8],
    pub(super) result: &'a [u8],
}

/// How whole calls of a call point are shown, and counted, at once.
#[derive(Debug)]
pub(super) struct AtOnce {
    line: Option<Quick>,
    verdict: Option<Verdict>,
}

/// What was counted, by process where each has its own output.
#[derive(Debug, Default)]
struct Summaries {
    all: Vec<(i32, Summary)>,
    places: FxHashMap<i32, usize>,
    /// The place of the last one: mostly it is the next one, too.
    last: usize,
}

impl Summaries {
    #[inline]
    fn of(&mut self, key: i32) -> &mut Summary {
        if self.all.get(self.last).is_none_or(|(last, _)| *last != key) {
            self.last = *self.places.entry(key).or_insert(self.all.len());
            if self.last == self.all.len() {
                self.all.push((key, Summary::new()));
            }
        }
        &mut self.all[self.last].1
    }
}

/// Turns events into text, or counts them.
pub(super) struct Reporter {
    pub(super) out: Streams,
    pub(super) clock: Clock,
    options: ReportOptions,
    pub(super) prototypes: Prototypes,
    derived: RefCell<Derived>,
    plans: Vec<Option<Rc<Plan>>>,
    summaries: Summaries,
    /// The processes whose tables are written.
    tables: FxHashSet<i32>,
    scratch: Scratch,
    pub(super) args: Vec<u8>,
    pub(super) result: Vec<u8>,
    calls: u64,
    /// How many of them are over.
    ended: u64,
    /// Whether a call more has begun than was asked for.
    is_over: bool,
    /// Whether there is, or was, more than one thread.
    several: bool,
    /// What becomes of all that in place of text.
    pub(super) tape: Option<Box<Tape>>,
}

/// A call is not to be shown at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotSimple;

impl Reporter {
    pub(super) fn new(destination: Destination, prototypes: Prototypes, options: ReportOptions) -> Self {
        let tape = options.raw.map(|_| Box::default());
        let mut reporter = Self {
            out: Streams::new(destination, options.text),
            clock: Clock::start(),
            tape,
            options,
            prototypes,
            derived: RefCell::default(),
            plans: Vec::new(),
            summaries: Summaries::default(),
            tables: FxHashSet::default(),
            scratch: Scratch::default(),
            args: Vec::new(),
            result: Vec::new(),
            calls: 0,
            ended: 0,
            is_over: false,
            several: false,
        };
        reporter.begin_tape();
        reporter
    }

    /// There is more than one thread: without its thread's name, a return cannot be given to its call.
    pub(super) fn name_threads(&mut self) {
        self.several = true;
        self.tell(Event::NameThreads);
        self.out.name_threads(self.options.threads);
    }

    /// Whether there was more than one thread.
    pub(super) fn names_threads(&self) -> bool {
        self.several
    }

    /// Whether as many calls are over as were asked for, or one more has begun.
    pub(super) fn is_full(&self) -> bool {
        let limit = self.options.limit.unwrap_or(u64::MAX);
        self.ended >= limit || self.is_over
    }

    /// How many calls were seen.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// The prototypes, whose types plans refer to.
    pub(super) fn prototypes(&self) -> &Prototypes {
        &self.prototypes
    }

    /// Appends the name of the code at an address.
    pub(super) fn code_name(&self, space: &dyn World, tid: i32, at: Addr, out: &mut Vec<u8>) -> bool {
        space.code_name(at, tid, &self.derived, out)
    }

    /// Makes the arguments of a call, for what is read of `memory` and what is noted in `shown`.
    pub(super) fn decode_unseen(
        &mut self,
        plan: &Plan,
        call: &RawCall,
        shown: &mut Shown,
        memory: &dyn TargetMemory,
    ) {
        let decoder = Decoder {
            types: self.prototypes.types(),
            limits: self.options.limits,
            memory,
            describe: &NoDescription,
        };
        self.args.clear();
        decoder.entry(plan, call, shown, &mut self.scratch, &mut self.args);
    }

    fn name<'p>(&self, point: &'p Point) -> CallName<'p> {
        let callers = self.options.callers && point.kind == Kind::Import;
        CallName {
            caller: callers.then(|| point.caller.short()),
            function: point.shown(),
            library: point.shown_library(),
        }
    }

    /// A call was entered.
    pub(super) fn entry(
        &mut self,
        points: &Points,
        pending: &mut Pending,
        plan: &Plan,
        memory: &dyn TargetMemory,
        space: &dyn World,
    ) {
        if !self.begin(pending) {
            return;
        }
        self.args.clear();
        if self.options.lines {
            let Pending { call, shown, .. } = &mut *pending;
            self.decode(call.tid, memory, space, |decoder, scratch, args, _| {
                decoder.entry(plan, call, shown, scratch, args);
            });
        }
        if self.tape.is_some() {
            return self.tape_entry(points, pending, plan);
        }
        self.show_entry(points, pending);
    }

    /// Counts a call that begins. Whether it is to be shown.
    pub(super) fn begin(&mut self, pending: &mut Pending) -> bool {
        pending.hidden = self.options.limit.is_some_and(|limit| self.calls >= limit);
        if pending.hidden {
            self.is_over = true;
            return false;
        }
        self.calls += 1;
        true
    }

    /// Makes text of values that a thread has put where `memory` and `space` tell: `values` appends that of arguments, and of a result.
    fn decode(
        &mut self,
        tid: i32,
        memory: &dyn TargetMemory,
        space: &dyn World,
        values: impl FnOnce(&Decoder<'_>, &mut Scratch, &mut Vec<u8>, &mut Vec<u8>),
    ) {
        let decoder = Decoder {
            types: self.prototypes.types(),
            limits: self.options.limits,
            memory,
            describe: &Surroundings {
                space,
                tid,
                fd_paths: self.options.fd_paths,
                derived: &self.derived,
            },
        };
        values(&decoder, &mut self.scratch, &mut self.args, &mut self.result);
    }

    /// Shows a call that begins, whose arguments were made.
    fn show_entry(&mut self, points: &Points, pending: &Pending) {
        if !self.options.lines {
            return;
        }
        let at = call_moment(pending, pending.call.time);
        let name = self.name(points.get(pending.point));
        self.out.write(|sink, out| sink.entry(out, at, name, &self.args));
    }

    /// Shows a call whose arguments are text already.
    pub(super) fn entry_text(&mut self, points: &Points, pending: &mut Pending, args: &[u8]) {
        if self.begin(pending) {
            self.args.clear();
            self.args.extend_from_slice(args);
            self.show_entry(points, pending);
        }
    }

    /// A call returned. Gives what the call that it was made in counts as time of this one.
    pub(super) fn returned(
        &mut self,
        points: &Points,
        pending: &Pending,
        plan: &Plan,
        ret: &RawReturn,
        memory: &dyn TargetMemory,
        space: &dyn World,
    ) -> Option<Sample> {
        if pending.hidden {
            return None;
        }
        self.ended += 1;
        let took = ret.time.saturating_sub(pending.started);
        let counts = self.counts() || self.tape.is_some();
        let failed = counts && has_failed(self.prototypes.types(), plan, &pending.call, ret, memory);
        self.args.clear();
        self.result.clear();
        if self.options.lines {
            let Pending { call, shown, .. } = pending;
            self.decode(call.tid, memory, space, |decoder, scratch, args, result| {
                decoder.exit(plan, call, ret, shown, scratch, args, result);
            });
        }
        if self.tape.is_some() {
            self.tape_return(pending, ret, took, failed);
            return None;
        }
        let sample = self.count(pending, took, failed);
        self.show_return(points, pending, ret.time, took);
        sample
    }

    /// Shows a return, whose text was made.
    fn show_return(&mut self, points: &Points, pending: &Pending, time: u64, took: u64) {
        if !self.options.lines {
            return;
        }
        let at = call_moment(pending, time);
        let name = self.name(points.get(pending.point));
        self.out
            .write(|sink, out| sink.exit(out, at, name, &self.args, &self.result, took));
    }

    /// Shows the return of a call that is text already, as [`returned`](Self::returned) does.
    pub(super) fn returned_text(
        &mut self,
        points: &Points,
        pending: &Pending,
        ret: &TextReturn<'_>,
    ) -> Option<Sample> {
        if pending.hidden {
            return None;
        }
        self.ended += 1;
        let sample = self.count(pending, ret.took, ret.failed);
        self.args.clear();
        self.args.extend_from_slice(ret.args);
        self.result.clear();
        self.result.extend_from_slice(ret.result);
        self.show_return(points, pending, ret.time, ret.took);
        sample
    }

    /// How calls that are recorded as `wants` says are shown at once, if they are so simple.
    pub(super) fn at_once(&self, ask: &Ask<'_>, wants: &Wants, point: &Point) -> Option<AtOnce> {
        if self.options.limit.is_some() {
            return None;
        }
        let line = || Quick::of(ask, wants, self.name(point), &self.options.text);
        let line = if self.options.lines { Some(line()?) } else { None };
        let verdict = if self.counts() {
            Some(Verdict::of(ask, wants)?)
        } else {
            None
        };
        Some(AtOnce { line, verdict })
    }

    /// Shows a call that has returned before anything else was seen. Gives what the call around it counts as time of this one, if calls are
    /// counted.
    ///
    /// # Errors
    /// It is to be shown in the general way.
    #[inline]
    pub(super) fn whole(
        &mut self,
        point: PointId,
        at_once: &AtOnce,
        (call, ret): (&fast_ring::Call<'_>, &fast_ring::Call<'_>),
        at: Moment,
        took: u64,
    ) -> Result<Option<Sample>, NotSimple> {
        if let Some(quick) = &at_once.line
            && !self
                .out
                .line(|sink, page| quick.whole_line(sink, page, (call, ret), at, took))
        {
            return Err(NotSimple);
        }
        self.calls += 1;
        self.ended += 1;
        let Some(verdict) = &at_once.verdict else {
            return Ok(None);
        };
        let failed = verdict.has_failed(call, ret);
        let sample = OpenCall::default().close(took, failed, &Correction::default());
        self.tally().record(point.0, &sample);
        Ok(Some(sample))
    }

    /// Counts a call that has returned.
    fn count(&mut self, pending: &Pending, took: u64, failed: bool) -> Option<Sample> {
        let options = self.options.summary.as_ref()?;
        let mut correction = options.correction.unwrap_or_default();
        if pending.is_recorded {
            correction.inside_ns = 0;
        }
        let sample = pending.open.close(took, failed, &correction);
        self.tally().record(pending.point.0, &sample);
        Some(sample)
    }

    fn tally(&mut self) -> &mut Summary {
        self.summaries.of(self.out.key())
    }

    /// A call's frame was left without a return.
    pub(super) fn unwound(&mut self, points: &Points, pending: &Pending) {
        if self.tape.is_some() {
            let (tid, serial, time) = (pending.call.tid, pending.serial, self.clock.now());
            return self.tell(Event::Unwound { tid, serial, time });
        }
        self.without_return(points, pending, TextSink::unwound);
    }

    /// A call's return will not be seen: its process ended, or tracing did.
    pub(super) fn no_return(&mut self, points: &Points, pending: &Pending) {
        self.without_return(points, pending, TextSink::no_return);
    }

    /// A call's thread ended in it.
    pub(super) fn cut_off(&mut self, points: &Points, pending: &Pending) {
        self.without_return(points, pending, TextSink::cut_off);
    }

    fn without_return(
        &mut self,
        points: &Points,
        pending: &Pending,
        show: fn(&mut TextSink, &mut Vec<u8>, Moment, CallName<'_>),
    ) {
        // A raw trace tells of all calls of a thread at once.
        if pending.hidden || self.tape.is_some() {
            return;
        }
        self.ended += 1;
        if self.counts() {
            self.tally().record_unreturned(pending.point.0);
        }
        if !self.options.lines {
            return;
        }
        let at = call_moment(pending, self.clock.now());
        let name = self.name(points.get(pending.point));
        self.out.write(|sink, out| show(sink, out, at, name));
    }
}

fn call_moment(pending: &Pending, time: u64) -> Moment {
    Moment {
        tid: pending.call.tid,
        time,
        address: pending.call.return_address,
    }
}
