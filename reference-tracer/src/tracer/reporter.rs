//! What the user sees: events go in, text or a summary comes out.

use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arch_abi::{Addr, Arch};
use ptrace_core::{ExitStatus, Signal, Tid};

use super::thread::Pending;
use crate::memory::TargetMemory;
use crate::output::Output;
use crate::points::{Point, PointId, Points};
use crate::proto::{Plan, Prototypes};
use crate::summary::{Column, Correction, Report, Sample, Summary};
use crate::text::{CallName, Moment, PidPrefix, TextSink};
use crate::value::{Decoder, Limits, NoDescription, RawReturn, Scratch};

/// Nanoseconds since the epoch that never go back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    epoch: u64,
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            epoch: u64::try_from(epoch.as_nanos()).unwrap_or(0),
            start: Instant::now(),
        }
    }

    /// Now.
    pub(super) fn now(&self) -> u64 {
        self.epoch
            .saturating_add(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// What is shown of what happens.
#[derive(Debug, Clone, Copy)]
pub struct ReportOptions {
    /// Bounds of values.
    pub limits: Limits,
    /// Whether calls are counted instead of shown.
    pub summary: bool,
    /// Whether names are shown with their callers.
    pub callers: bool,
    /// Whether signals are shown.
    pub signals: bool,
    /// How lines name their thread once there are several.
    pub threads: PidPrefix,
}

/// Turns events into text, or counts them.
pub(super) struct Reporter {
    pub(super) output: Output,
    pub(super) clock: Clock,
    options: ReportOptions,
    sink: TextSink,
    prototypes: Prototypes,
    plans: Vec<Option<Rc<Plan>>>,
    summary: Summary,
    scratch: Scratch,
    args: Vec<u8>,
    result: Vec<u8>,
    calls: u64,
}

impl Reporter {
    pub(super) fn new(
        output: Output,
        sink: TextSink,
        prototypes: Prototypes,
        options: ReportOptions,
    ) -> Self {
        Self {
            output,
            clock: Clock::start(),
            options,
            sink,
            prototypes,
            plans: Vec::new(),
            summary: Summary::new(),
            scratch: Scratch::default(),
            args: Vec::new(),
            result: Vec::new(),
            calls: 0,
        }
    }

    /// There is more than one thread: without its thread's name, a return cannot be given to its call.
    pub(super) fn name_threads(&mut self) {
        self.sink.name_threads(self.options.threads);
    }

    /// Whether calls are only counted, so that no argument need be fetched.
    pub(super) fn counts_only(&self) -> bool {
        self.options.summary
    }

    /// How many calls were seen.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// The bounds of values.
    pub(super) fn limits(&self) -> Limits {
        self.options.limits
    }

    /// The prototypes, whose types plans refer to.
    pub(super) fn prototypes(&self) -> &Prototypes {
        &self.prototypes
    }

    /// How calls of this call point are shown; found once.
    pub(super) fn plan(&mut self, id: PointId, point: &Point, arch: Arch) -> Rc<Plan> {
        let index = id.0 as usize;
        if self.plans.len() <= index {
            self.plans.resize(index + 1, None);
        }
        let prototypes = &mut self.prototypes;
        let plan = self.plans[index].get_or_insert_with(|| {
            let sonames: Vec<&str> = point.caller.needed.iter().map(String::as_str).collect();
            Rc::new(prototypes.plan(arch, &sonames, &point.name))
        });
        Rc::clone(plan)
    }

    fn name<'p>(&self, point: &'p Point) -> CallName<'p> {
        CallName {
            caller: self.options.callers.then(|| point.caller.short()),
            function: &point.name,
            library: None,
        }
    }

    /// A call was entered.
    pub(super) fn entry(
        &mut self,
        points: &Points,
        pending: &mut Pending,
        plan: &Plan,
        memory: &dyn TargetMemory,
    ) {
        self.calls += 1;
        if self.options.summary {
            return;
        }
        let decoder = Decoder {
            types: self.prototypes.types(),
            limits: self.options.limits,
            memory,
            describe: &NoDescription,
        };
        self.args.clear();
        decoder.entry(
            plan,
            &pending.call,
            &mut pending.shown,
            &mut self.scratch,
            &mut self.args,
        );
        let at = call_moment(pending, pending.call.time);
        let name = self.name(points.get(pending.point));
        self.sink.entry(self.output.buffer(), at, name, &self.args);
        self.output.end_line();
    }

    /// A call returned. Gives what the call that it was made in counts as time of this one.
    pub(super) fn returned(
        &mut self,
        points: &Points,
        pending: &Pending,
        plan: &Plan,
        ret: &RawReturn,
        memory: &dyn TargetMemory,
    ) -> Option<Sample> {
        let took = ret.time.saturating_sub(pending.call.time);
        if self.options.summary {
            let sample = pending.open.close(took, false, &Correction::default());
            self.summary.record(pending.point.0, &sample);
            return Some(sample);
        }
        let decoder = Decoder {
            types: self.prototypes.types(),
            limits: self.options.limits,
            memory,
            describe: &NoDescription,
        };
        self.args.clear();
        self.result.clear();
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
        let at = call_moment(pending, ret.time);
        let name = self.name(points.get(pending.point));
        self.sink
            .exit(self.output.buffer(), at, name, &self.args, &self.result, took);
        self.output.end_line();
        None
    }

    /// A call's frame was left without a return.
    pub(super) fn unwound(&mut self, points: &Points, pending: &Pending) {
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
        if self.options.summary {
            self.summary.record_unreturned(pending.point.0);
            return;
        }
        let at = call_moment(pending, self.clock.now());
        let name = self.name(points.get(pending.point));
        show(&mut self.sink, self.output.buffer(), at, name);
        self.output.end_line();
    }

    /// A signal is delivered.
    pub(super) fn signal(&mut self, tid: Tid, pc: Addr, signal: Signal) {
        if self.options.signals && !self.options.summary {
            let at = self.moment(tid, pc);
            self.sink.signal(self.output.buffer(), at, signal.raw());
            self.output.end_line();
        }
    }

    /// A process ended.
    pub(super) fn exited(&mut self, tid: Tid, status: ExitStatus) {
        if self.options.summary {
            return;
        }
        let at = self.moment(tid, Addr::new(0));
        match status {
            ExitStatus::Exited(status) => self.sink.exited(self.output.buffer(), at, status.into()),
            ExitStatus::Signaled { signal, .. } => {
                self.sink.killed(self.output.buffer(), at, signal.raw());
            }
        }
        self.output.end_line();
    }

    /// A thread ended, but not its process.
    pub(super) fn thread_end(&mut self, tid: Tid) {
        if !self.options.summary {
            let at = self.moment(tid, Addr::new(0));
            self.sink.thread_end(self.output.buffer(), at);
        }
    }

    /// A process has a new program.
    pub(super) fn exec(&mut self, tid: Tid) {
        if !self.options.summary {
            let at = self.moment(tid, Addr::new(0));
            self.sink.exec(self.output.buffer(), at);
            self.output.end_line();
        }
    }

    fn moment(&self, tid: Tid, address: Addr) -> Moment {
        Moment {
            tid: tid.raw(),
            time: self.clock.now(),
            address,
        }
    }

    /// The summary by name.
    pub(super) fn summary(&self, points: &Points) -> Report {
        self.summary.report(|key| points.get(PointId(key)).name.as_ref())
    }

    /// Ends the output: an open line is ended, or the summary is written.
    pub(super) fn finish(&mut self, points: &Points) {
        if self.options.summary {
            let table = self.summary(points).table(&COLUMNS, Column::SelfTime);
            self.output.buffer().extend_from_slice(table.as_bytes());
            self.output.end_line();
        } else {
            self.sink.finish(self.output.buffer());
            self.output.end_line();
        }
    }
}

/// The columns of the summary.
const COLUMNS: [Column; 9] = [
    Column::TimePercent,
    Column::SelfTime,
    Column::Mean,
    Column::P50,
    Column::P99,
    Column::Max,
    Column::Calls,
    Column::Errors,
    Column::Name,
];

fn call_moment(pending: &Pending, time: u64) -> Moment {
    Moment {
        tid: pending.call.tid,
        time,
        address: pending.call.return_address,
    }
}
