//! What the user sees: events go in, text or a summary comes out.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arch_abi::{Addr, Arch};
use ptrace_core::{ExitStatus, Signal, Tid};

use super::streams::{Destination, Streams};
use super::surroundings::{Surroundings, World};
use super::tape::Tape;
use super::thread::Pending;
use crate::derive::{Candidate, Derived};
use crate::fast::quick::{Quick, Verdict};
use crate::fast::wants::{Ask, Stamps, Wants};
use crate::memory::TargetMemory;
use crate::points::{Kind, Point, PointId, Points};
use crate::proto::{Plan, Prototypes};
use crate::raw::Event;
use crate::summary::{Column, Correction, OpenCall, Report, Sample, Summary};
use crate::text::{CallName, Moment, PidPrefix, TextOptions, TextSink, TimePrefix};
use crate::value::{Decoder, Limits, NoDescription, RawCall, RawReturn, Scratch, Shown, has_failed};
use rustc_hash::{FxHashMap, FxHashSet};

/// Nanoseconds since the epoch that never go back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    epoch: u64,
    start: Instant,
    /// The time that it shows for good: that of what is replayed.
    fixed: Option<u64>,
}

impl Clock {
    fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            epoch: u64::try_from(epoch.as_nanos()).unwrap_or(0),
            start: Instant::now(),
            fixed: None,
        }
    }

    /// From now on it is `time`.
    pub(super) fn set(&mut self, time: u64) {
        self.fixed = Some(time);
    }

    /// Now.
    pub(super) fn now(&self) -> u64 {
        if let Some(time) = self.fixed {
            return time;
        }
        self.epoch
            .saturating_add(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// What is shown of what happens.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// Bounds of values.
    pub limits: Limits,
    /// How lines look.
    pub text: TextOptions,
    /// Whether calls are shown.
    pub lines: bool,
    /// How calls are counted, if they are.
    pub summary: Option<SummaryOptions>,
    /// Whether names are shown with their callers.
    pub callers: bool,
    /// Whether signals are shown.
    pub signals: bool,
    /// Whether errors of system calls are shown as the kernel's negative numbers, as ltrace does.
    pub raw_errors: bool,
    /// Whether file descriptors are shown with what they refer to.
    pub fd_paths: bool,
    /// How lines name their thread once there are several.
    pub threads: PidPrefix,
    /// How many frames of the stack are shown after each call; 0: all.
    pub stack: Option<usize>,
    /// After how many calls the trace ends.
    pub limit: Option<u64>,
    /// Whether all is written as it was recorded, to be made into text later.
    pub raw: Option<RawOptions>,
}

/// What a raw trace is to tell of the options with which it was made.
#[derive(Debug, Clone, Copy)]
pub struct RawOptions {
    /// Whether lines name their thread from the start.
    pub many: bool,
    /// Whether names are shown as they stand in the source.
    pub demangle: bool,
}

/// How calls are counted.
#[derive(Debug, Clone)]
pub struct SummaryOptions {
    /// What is taken off for the tracer's own cost.
    pub correction: Option<Correction>,
    /// What the table shows.
    pub columns: Vec<Column>,
    /// What it is sorted by.
    pub sort: Column,
    /// Whether the table is ltrace's.
    pub ltrace: bool,
    /// Whether a table is written at the end.
    pub table: bool,
}

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

    /// Whether calls are only counted, so that no argument need be fetched.
    pub(super) fn counts_only(&self) -> bool {
        !self.options.lines
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

    /// Whether errors of system calls are shown as the kernel's negative numbers.
    pub(super) fn raw_errors(&self) -> bool {
        self.options.raw_errors
    }

    /// The bounds of values.
    pub(super) fn limits(&self) -> Limits {
        self.options.limits
    }

    /// Whether all that is shown can be recorded inside the program: stacks cannot.
    pub(super) fn can_be_recorded(&self) -> bool {
        self.options.stack.is_none()
    }

    /// Whether return addresses are shown.
    pub(super) fn shows_callers(&self) -> bool {
        self.options.lines && self.options.text.address
    }

    /// Whether file descriptors are shown with what they refer to.
    pub(super) fn shows_paths(&self) -> bool {
        self.options.fd_paths
    }

    /// Which times are wanted.
    pub(super) fn stamps(&self) -> Stamps {
        if self.measures() {
            Stamps::Both
        } else if self.options.text.time == TimePrefix::None {
            Stamps::None
        } else {
            Stamps::Call
        }
    }

    /// The prototypes, whose types plans refer to.
    pub(super) fn prototypes(&self) -> &Prototypes {
        &self.prototypes
    }

    /// How calls of this call point are shown; found once. Where no prototype is known, `objects` are asked, those of
    /// the process in search order.
    pub(super) fn plan(
        &mut self,
        id: PointId,
        point: &Point,
        arch: Arch,
        objects: impl FnOnce() -> Vec<Candidate>,
    ) -> Rc<Plan> {
        if let Some(Some(plan)) = self.plans.get(id.0 as usize) {
            return Rc::clone(plan);
        }
        self.make_plans(&[(id, point)], arch, objects);
        let plan = self.plans.get(id.0 as usize).and_then(Option::as_ref);
        Rc::clone(plan.unwrap_or_else(|| unreachable!("it was just made")))
    }

    /// Finds how calls of these call points are shown, as [`plan`](Self::plan) does. Of many, the objects are looked into once.
    pub(super) fn make_plans(
        &mut self,
        points: &[(PointId, &Point)],
        arch: Arch,
        objects: impl FnOnce() -> Vec<Candidate>,
    ) {
        let may_infer = self.options.lines && !self.prototypes.is_only_loaded();
        let mut unknown = Vec::new();
        for &(id, point) in points {
            let index = id.0 as usize;
            if self.plans.len() <= index {
                self.plans.resize(index + 1, None);
            }
            if self.plans[index].is_some() {
                continue;
            }
            let plan = self.stated(point, arch);
            if matches!(point.kind, Kind::Import | Kind::Entry) && !plan.known && may_infer {
                unknown.push((index, &*point.name));
            }
            self.plans[index] = Some(Rc::new(plan));
        }
        if unknown.is_empty() {
            return;
        }
        let names: Vec<&str> = unknown.iter().map(|&(_, name)| name).collect();
        let derived = self.derived.get_mut();
        let found = derived.of(objects(), &names, arch, &mut self.prototypes);
        for ((index, _), found) in unknown.into_iter().zip(found) {
            if let Some((prototype, source)) = found {
                let plan = Plan::new(self.prototypes.types(), prototype, arch, !source.is_guess());
                self.plans[index] = Some(Rc::new(plan));
            }
        }
    }

    /// The plan by the prototypes that were written down.
    fn stated(&mut self, point: &Point, arch: Arch) -> Plan {
        let sonames: Vec<&str> = point.caller.needed.iter().map(String::as_str).collect();
        match point.kind {
            Kind::Syscall => self.prototypes.syscall_plan(arch, &point.name),
            Kind::Import => self.prototypes.plan(arch, &sonames, &point.name),
            Kind::Entry | Kind::Place => self.prototypes.plan(arch, &[point.caller.short()], &point.name),
        }
    }

    /// What is shown.
    pub(super) fn options(&self) -> &ReportOptions {
        &self.options
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
            self.decode_entry(pending, plan, memory, space);
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

    fn decode_entry(
        &mut self,
        pending: &mut Pending,
        plan: &Plan,
        memory: &dyn TargetMemory,
        space: &dyn World,
    ) {
        let decoder = Decoder {
            types: self.prototypes.types(),
            limits: self.options.limits,
            memory,
            describe: &Surroundings {
                space,
                tid: pending.call.tid,
                fd_paths: self.options.fd_paths,
                derived: &self.derived,
            },
        };
        decoder.entry(
            plan,
            &pending.call,
            &mut pending.shown,
            &mut self.scratch,
            &mut self.args,
        );
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
            self.decode_return(pending, plan, ret, memory, space);
        }
        if self.tape.is_some() {
            self.tape_return(pending, ret, took, failed);
            return None;
        }
        let sample = self.count(pending, took, failed);
        self.show_return(points, pending, ret.time, took);
        sample
    }

    fn decode_return(
        &mut self,
        pending: &Pending,
        plan: &Plan,
        ret: &RawReturn,
        memory: &dyn TargetMemory,
        space: &dyn World,
    ) {
        let decoder = Decoder {
            types: self.prototypes.types(),
            limits: self.options.limits,
            memory,
            describe: &Surroundings {
                space,
                tid: pending.call.tid,
                fd_paths: self.options.fd_paths,
                derived: &self.derived,
            },
        };
        let (args, result) = (&mut self.args, &mut self.result);
        decoder.exit(
            plan,
            &pending.call,
            ret,
            &pending.shown,
            &mut self.scratch,
            args,
            result,
        );
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

    /// Whether it matters how long calls take.
    pub(super) fn measures(&self) -> bool {
        self.counts() || self.options.text.duration
    }

    /// Whether calls are counted.
    pub(super) fn counts(&self) -> bool {
        self.options.summary.is_some()
    }

    /// How many frames are shown of the stack after a call, if any are.
    pub(super) fn stack(&self, pending: &Pending) -> Option<usize> {
        self.options
            .stack
            .filter(|_| self.options.lines && !pending.hidden)
    }

    /// A stack: lines that stand by themselves.
    pub(super) fn lines(&mut self, text: &[u8]) {
        if self.tape.is_some() {
            let tgid = self.out.process();
            return self.tell(Event::Lines { tgid, text });
        }
        self.out.write(|sink, out| {
            sink.finish(out);
            out.extend_from_slice(text);
        });
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

    /// A signal is delivered.
    pub(super) fn signal(&mut self, tid: Tid, pc: Addr, signal: Signal) {
        if self.options.signals && self.options.lines {
            let at = self.moment(tid, pc);
            if self.tape.is_some() {
                return self.tell(Event::Signal {
                    tid: tid.raw(),
                    time: at.time,
                    pc: pc.get(),
                    number: signal.raw(),
                });
            }
            self.out.write(|sink, out| sink.signal(out, at, signal.raw()));
        }
    }

    /// A process ended.
    pub(super) fn exited(&mut self, tid: Tid, status: ExitStatus) {
        if self.tape.is_some() {
            return self.tape_exited(tid, status);
        }
        if !self.options.lines {
            return;
        }
        let at = self.moment(tid, Addr::new(0));
        self.out.write(|sink, out| match status {
            ExitStatus::Exited(status) => sink.exited(out, at, status.into()),
            ExitStatus::Signaled { signal, .. } => sink.killed(out, at, signal.raw()),
        });
    }

    /// A process is gone: nothing more comes of it.
    pub(super) fn process_end(&mut self, points: &Points, tgid: Tid) {
        self.tell(Event::ProcessEnd { tgid: tgid.raw() });
        if self.out.key() != 0 && self.tape.is_none() {
            self.write_table(points);
            self.tables.insert(tgid.raw());
            self.out.close(tgid);
        }
    }

    /// A thread ended, but not its process.
    pub(super) fn thread_end(&mut self, tid: Tid) {
        if self.tape.is_some() {
            let (tid, time) = (tid.raw(), self.clock.now());
            return self.tell(Event::ThreadEnd { tid, time });
        }
        if self.options.lines {
            let at = self.moment(tid, Addr::new(0));
            self.out.write(|sink, out| sink.thread_end(out, at));
        }
    }

    /// A process has a new program.
    pub(super) fn exec(&mut self, tid: Tid) {
        if self.tape.is_some() {
            let (tid, time) = (tid.raw(), self.clock.now());
            return self.tell(Event::Exec { tid, time });
        }
        if self.options.lines {
            let at = self.moment(tid, Addr::new(0));
            self.out.write(|sink, out| sink.exec(out, at));
        }
    }

    fn moment(&self, tid: Tid, address: Addr) -> Moment {
        Moment {
            tid: tid.raw(),
            time: self.clock.now(),
            address,
        }
    }

    /// The summary by name, of all processes.
    pub(super) fn summary(&self, points: &Points) -> Option<Report> {
        let options = self.options.summary.as_ref().filter(|_| self.tape.is_none())?;
        let mut all = Summary::new();
        for (_, summary) in &self.summaries.all {
            all.merge(summary);
        }
        if let Some(correction) = options.correction {
            all.set_correction(correction);
        }
        Some(all.report(|key| points.get(PointId(key)).counted_as()))
    }

    /// Writes the table of the process that lines are of, or of all.
    fn write_table(&mut self, points: &Points) {
        let Some(options) = self.options.summary.as_ref().filter(|options| options.table) else {
            return;
        };
        let mut report = self
            .summaries
            .of(self.out.key())
            .report(|key| points.get(PointId(key)).counted_as());
        report.correction = options.correction;
        let table = if options.ltrace {
            report.ltrace_table()
        } else {
            report.table(&options.columns, options.sort)
        };
        self.out.text(&table);
    }

    /// Ends the output: an open line is ended, and the summary is written.
    pub(super) fn finish(&mut self, points: &Points) {
        if self.tape.is_some() {
            return;
        }
        self.out.end_lines();
        if self.out.key() == 0 {
            return self.write_table(points);
        }
        let ended = |pid: &i32| self.tables.contains(pid);
        let left: Vec<i32> = self
            .summaries
            .all
            .iter()
            .map(|(pid, _)| *pid)
            .filter(|pid| !ended(pid))
            .collect();
        for pid in left {
            self.out.focus(Tid::new(pid));
            self.write_table(points);
        }
    }
}

fn call_moment(pending: &Pending, time: u64) -> Moment {
    Moment {
        tid: pending.call.tid,
        time,
        address: pending.call.return_address,
    }
}
