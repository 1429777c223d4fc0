//! The trap engine: a session of tracees, their traps, and what happens at each stop.
//!
//! [`Tracer::run`] waits and dispatches; the files beside this one decide. A stop is handled at once
//! and its thread resumed, so that no stop need be taken from the kernel before its thread runs on.

mod arrive;
mod code;
mod guard;
mod hits;
mod leave;
mod lifecycle;
mod linkage;
mod pace;
mod reporter;
mod sent;
mod signal;
mod sigtrap;
mod space;
mod thread;
mod ticker;
mod trap;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use ptrace_core::{Error, ExitStatus, Interruptible, Session, SigInfo, Signal, Stop, Stopped, Tid, Wait};
use rustc_hash::FxHashMap;

use crate::filter::FilterSet;
use crate::objects::ObjectStore;
use crate::output::{Output, OutputError};
use crate::proto::Prototypes;
use crate::text::TextSink;
use hits::Buffers;
use lifecycle::Inheritance;
pub(crate) use linkage::chain;
use pace::Pace;
pub use reporter::ReportOptions;
use reporter::Reporter;
pub(crate) use sigtrap::{WATCHED, Watched};
use thread::{SharedSpace, Thread};
use ticker::Ticker;

/// What is traced of the processes.
#[derive(Debug, Clone, Copy)]
pub struct TraceOptions {
    /// Whether children are traced too.
    pub follow: bool,
    /// Whether threads are handed over on one CPU.
    pub hand_off: bool,
    /// Whether the tracees are killed when the tracer dies.
    pub kill_on_exit: bool,
}

/// What leads to the end of a trace, from other threads.
#[derive(Debug, Clone, Default)]
pub struct Leave(Arc<AtomicI32>);

impl Leave {
    /// Asks the tracer to leave because of `signal`; wake its session after.
    pub fn ask(&self, signal: Signal) {
        // The first signal counts: a second Ctrl-C changes nothing.
        let (new, order) = (signal.raw(), Ordering::SeqCst);
        let _: Result<i32, i32> = self.0.compare_exchange(0, new, order, order);
    }

    fn asked(&self) -> Option<Signal> {
        Some(self.0.load(Ordering::SeqCst))
            .filter(|&signal| signal != 0)
            .map(Signal::new)
    }
}

/// Wakes a [`Tracer`] that is to leave, whatever it waits for.
#[derive(Debug, Clone)]
pub struct Waker {
    session: ptrace_core::Waker,
    calls: ptrace_core::Waker,
}

impl Waker {
    /// Wakes it.
    pub fn wake(&self) {
        self.session.wake();
        self.calls.wake();
    }
}

/// How a trace ended.
#[derive(Debug)]
pub struct Outcome {
    /// How the command ended; `None` if there was none, or it runs on.
    pub command: Option<ExitStatus>,
    /// The signal that made the tracer leave.
    pub left: Option<Signal>,
    /// How many calls were seen.
    pub calls: u64,
    /// Whether a part of the trace could not be written, which was told.
    pub lost: bool,
    /// Lines for the user, such as why nothing was seen.
    pub notes: Vec<String>,
}

/// A process under trace.
struct Process {
    space: SharedSpace,
    /// Whether its events are shown. A child that is not followed but shares its parent's memory is
    /// kept until it has its own.
    followed: bool,
    /// A SIGTRAP that was sent to it while all its threads block SIGTRAP.
    sent_sigtrap: Option<SigInfo>,
}

impl Process {
    fn new(space: SharedSpace, followed: bool) -> Self {
        Self {
            space,
            followed,
            sent_sigtrap: None,
        }
    }
}

/// A trace of one or more processes.
pub struct Tracer {
    session: Session,
    options: TraceOptions,
    store: ObjectStore,
    reporter: Reporter,
    processes: FxHashMap<Tid, Process>,
    threads: FxHashMap<Tid, Thread>,
    /// What the memory of children holds that are not born yet: as it was at their parents' forks.
    forks: FxHashMap<Tid, Inheritance>,
    /// Whether threads that are not born yet block SIGTRAP: as their parents did when they made them.
    masks: FxHashMap<Tid, bool>,
    /// How many threads are to get a SIGTRAP that another thread blocked.
    due_sigtraps: usize,
    buffers: Buffers,
    command: Option<Tid>,
    command_status: Option<ExitStatus>,
    leave: Leave,
    /// What the tracer's thread may wait for beside its tracees.
    calls: Option<Interruptible>,
    ticker: Option<Ticker>,
    pace: Option<Pace>,
    /// The thread that stopped last, and how often in a row.
    run_of_stops: (Option<Tid>, u32),
    notes: Vec<String>,
}

impl Tracer {
    /// A tracer without tracees.
    #[must_use]
    pub fn new(
        options: TraceOptions,
        report: ReportOptions,
        filters: FilterSet,
        prototypes: Prototypes,
        sink: TextSink,
        output: Output,
        leave: Leave,
    ) -> Self {
        let session_options = ptrace_core::Options::new()
            .follow_forks(true)
            .kill_on_exit(options.kill_on_exit);
        Self {
            session: Session::new(session_options),
            options,
            store: ObjectStore::new(filters),
            reporter: Reporter::new(output, sink, prototypes, report),
            processes: FxHashMap::default(),
            threads: FxHashMap::default(),
            forks: FxHashMap::default(),
            masks: FxHashMap::default(),
            due_sigtraps: 0,
            buffers: Buffers::default(),
            command: None,
            command_status: None,
            leave,
            calls: None,
            ticker: None,
            pace: None,
            run_of_stops: (None, 0),
            notes: Vec::new(),
        }
    }

    /// A handle that wakes this tracer from another thread, to see that it should leave. A write that it is in
    /// is interrupted.
    ///
    /// # Errors
    /// No signal could be set up for it.
    pub fn waker(&mut self) -> io::Result<Waker> {
        let calls = match &self.calls {
            Some(calls) => calls,
            None => self.calls.insert(Interruptible::new()?),
        };
        self.reporter.output.interrupt_by(calls.clone());
        Ok(Waker {
            session: self.session.waker()?,
            calls: calls.waker(),
        })
    }

    /// Traces until all processes have ended or the tracer is asked to leave.
    ///
    /// # Errors
    /// Waiting failed. All tracees that could be left in order were.
    pub fn run(mut self) -> Result<Outcome, Error> {
        if !self.reporter.output.is_terminal() {
            // Without the thread, lines stay in the buffer until it is full.
            self.ticker = self.session.waker().and_then(Ticker::start).ok();
        }
        if self.options.hand_off {
            // Where the tracer cannot be pinned, threads are resumed wherever they are.
            self.pace = self.session.set_hand_off(true).is_ok().then(Pace::new);
        }
        let left = match self.trace() {
            Ok(left) => left,
            Err(error) => {
                self.depart();
                self.reporter.finish(self.store.points());
                return Err(error);
            }
        };
        if left {
            self.depart();
        }
        self.reporter.finish(self.store.points());
        if left {
            self.await_command();
        }
        Ok(self.outcome())
    }

    /// Traces to the end, or until there is a reason to leave; gives whether there is.
    fn trace(&mut self) -> Result<bool, Error> {
        loop {
            if self.leave.asked().is_some() || self.reporter.output.broken().is_some() {
                return Ok(true);
            }
            match self.session.wait()? {
                Wait::Stopped(stopped, stop) => {
                    let tid = stopped.tid();
                    self.on_stop(stopped, stop)?;
                    self.keep_pace(tid);
                }
                Wait::Exited(tid, status) => self.on_exit(tid, status),
                Wait::Woken => self.on_woken(),
                Wait::NoTracees => return Ok(false),
            }
            if let Some(ticker) = &mut self.ticker
                && !self.reporter.output.buffer().is_empty()
            {
                ticker.arm();
            }
        }
    }

    /// Hands threads over where that is the quicker way: while one thread makes all the calls, because the
    /// tracer is a realtime thread meanwhile. With several there is always one more stop to see to, and
    /// a tracer that never sleeps would keep everything else from its CPU.
    fn keep_pace(&mut self, tid: Tid) {
        let (last, stops) = self.run_of_stops;
        self.run_of_stops = if last == Some(tid) {
            (last, stops.saturating_add(1))
        } else {
            (Some(tid), 0)
        };
        let alone = self.threads.len() == 1 || self.run_of_stops.1 >= ALONE;
        let Some(pace) = &mut self.pace else { return };
        if let Some(on) = pace.stopped(alone)
            && self.session.set_hand_off(on).is_err()
        {
            self.pace = None;
        }
    }

    /// There is something to flush, or the tracer is to leave, which is looked at next.
    fn on_woken(&mut self) {
        if let Some(ticker) = &mut self.ticker {
            ticker.fired();
        }
        for (&tgid, process) in &self.processes {
            process.space.borrow_mut().look_after_guard(tgid);
        }
        self.reporter.output.flush_idle();
    }

    /// A command whose trace cannot be written goes on by itself, and its end is awaited, as its user awaits it.
    fn await_command(&self) {
        let unfinished = self.command.filter(|_| self.command_status.is_none());
        let (Some(calls), Some(command)) = (&self.calls, unfinished) else {
            return;
        };
        let command = Pid::from_raw(command.raw());
        // Until it has ended, or the user asks to leave.
        while calls.run(|| waitpid(command, None)) == Some(Err(Errno::EINTR)) {}
    }

    /// One stop: what it concerns is done, and the thread runs on. The death of a tracee in the
    /// middle is no error: its end is reported by itself.
    fn on_stop(&mut self, stopped: Stopped, stop: Stop) -> Result<(), Error> {
        match self.dispatch(stopped, stop) {
            Err(error) if error.is_death() => Ok(()),
            other => other,
        }
    }

    fn dispatch(&mut self, stopped: Stopped, stop: Stop) -> Result<(), Error> {
        if self.due_sigtraps > 0 {
            self.release_due_sigtrap(&stopped);
        }
        match stop {
            Stop::SignalDelivery(Signal::SIGTRAP) => self.on_trap(stopped),
            Stop::SignalDelivery(signal) => self.on_signal(stopped, signal),
            Stop::Group(_) => {
                stopped.listen()?;
                Ok(())
            }
            Stop::Exec { former } => self.on_exec(stopped, former),
            Stop::Born { parent } => self.on_birth(stopped, parent),
            Stop::SyscallEnter | Stop::SyscallExit => self.on_syscall(stopped, stop),
            Stop::Fork { child } | Stop::Clone { child } => self.on_fork(stopped, child),
            // A vfork's child shares its parent's memory: it is looked at when it is born.
            _ => self.resume_watched(stopped),
        }
    }

    /// A system call inside a watched function.
    fn on_syscall(&mut self, stopped: Stopped, stop: Stop) -> Result<(), Error> {
        if stop == Stop::SyscallExit {
            self.on_watched_call(&stopped)?;
            if let Some(thread) = self.threads.get_mut(&stopped.tid()) {
                thread.watched_calls = thread.watched_calls.saturating_sub(1);
            }
        }
        self.resume_watched(stopped)
    }

    /// Lets a thread run on, to the next system call if a watched function is under way.
    fn resume_watched(&self, stopped: Stopped) -> Result<(), Error> {
        if self
            .threads
            .get(&stopped.tid())
            .is_some_and(|thread| thread.watched_calls > 0)
        {
            stopped.cont_to_syscall(None)?;
            return Ok(());
        }
        resume(stopped, None)
    }

    fn outcome(self) -> Outcome {
        let reporter = self.reporter;
        let calls = reporter.calls();
        let mut notes = self.notes;
        notes.extend(why_nothing(&self.store));
        let lost = matches!(reporter.output.finish(), Err(OutputError::Write { .. }));
        Outcome {
            command: self.command_status,
            left: self.leave.asked(),
            calls,
            lost,
            notes,
        }
    }
}

/// Why filters saw no call: those that match nothing at all, each with the nearest names.
fn why_nothing(store: &ObjectStore) -> Vec<String> {
    let offered = store.offered();
    let unmatched = store.filters().unmatched();
    // Where there was nothing to choose from, the reason is another: a static program, say.
    if unmatched.is_empty() || offered.symbols().next().is_none() {
        return Vec::new();
    }
    let libraries = || offered.libraries.iter().map(|name| &**name);
    unmatched
        .iter()
        .map(|rule| rule.explain(offered.symbols(), libraries()))
        .collect()
}

/// After how many stops in a row of one thread it counts as the only one that calls.
const ALONE: u32 = 32;

/// Lets a thread run on.
fn resume(stopped: Stopped, signal: Option<Signal>) -> Result<(), Error> {
    stopped.cont(signal)?;
    Ok(())
}
