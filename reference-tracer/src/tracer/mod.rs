//! The trap engine: a session of tracees, their traps, and what happens at each stop.
//!
//! [`Tracer::run`] waits and dispatches; the files beside this one decide. A stop is handled at once
//! and its thread resumed, so that no stop need be taken from the kernel before its thread runs on.

mod arrive;
mod backtrace;
mod clock;
mod code;
mod deferred;
mod end;
mod fast;
mod filtered;
mod guard;
mod hits;
mod leave;
mod lifecycle;
mod linkage;
mod pace;
mod prepare;
mod reason;
mod replay;
mod reporter;
mod sent;
mod signal;
mod sigtrap;
mod space;
mod streams;
mod surroundings;
mod syscalls;
mod tape;
mod thread;
mod ticker;
mod trap;

use std::io;

use arch_abi::Arch;
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use ptrace_core::{Error, ExitStatus, Interruptible, Session, SigInfo, Signal, Stop, Stopped, Tid, Wait};
use rustc_hash::FxHashMap;

use crate::objects::{Kept, ObjectStore};
use crate::output::OutputError;
use crate::proto::Prototypes;
use crate::selection::Selection;
pub use end::{Leave, Left, Outcome, Waker};
pub use fast::{Engine, RecordOptions};
use fast::{Pass, Recorder};
use filtered::spare;
use hits::Buffers;
use lifecycle::Inheritance;
pub(crate) use linkage::chain;
use pace::Pace;
pub(crate) use replay::Replay;
use reporter::Reporter;
pub use reporter::{RawOptions, ReportOptions, SummaryOptions};
pub(crate) use sigtrap::{WATCHED, Watched};
pub use streams::Destination;
pub use syscalls::Syscalls;
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
    /// Which system calls are shown.
    pub syscalls: Syscalls,
    /// Whether the calls of the C library's start-up files are shown, as `__libc_start_main`.
    pub start_up: bool,
    /// Whether names are shown as they stand in the source.
    pub demangle: bool,
    /// How calls are recorded inside the programs, if they are.
    pub record: RecordOptions,
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
    recorder: Recorder,
    syscalls: Option<syscalls::Table>,
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
    /// When processes were looked at for filters.
    filters_look: filtered::Look,
    notes: Vec<String>,
}

impl Tracer {
    /// A tracer without tracees.
    #[must_use]
    pub fn new(
        options: TraceOptions,
        report: ReportOptions,
        selection: Selection,
        prototypes: Prototypes,
        destination: Destination,
        leave: Leave,
    ) -> Self {
        let session_options = ptrace_core::Options::new()
            .follow_forks(true)
            .kill_on_exit(options.kill_on_exit)
            .stop_at_syscalls(options.syscalls != Syscalls::None);
        let mut store = ObjectStore::new(
            selection,
            Kept {
                demangled: options.demangle,
                stacks: report.stack.is_some(),
                start_up: options.start_up,
                unwinding: options.record.engine != Engine::Trap,
            },
        );
        let syscalls = (options.syscalls != Syscalls::None).then(|| {
            let (filters, points) = store.filters_and_points();
            syscalls::Table::new(options.syscalls, filters, points)
        });
        if options.syscalls == Syscalls::Selected {
            let numbers = crate::syscalls::numbers(Arch::X86_64);
            numbers.for_each(|number| store.offer(&crate::syscalls::name(Arch::X86_64, number)));
        }
        Self {
            session: Session::new(session_options),
            options,
            recorder: Recorder::new(options.record, options.syscalls == Syscalls::None),
            store,
            syscalls,
            reporter: Reporter::new(destination, prototypes, report),
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
            filters_look: filtered::Look::default(),
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
        self.reporter.out.interrupt_by(calls);
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
        self.start_pump();
        if !self.reporter.out.is_terminal() {
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
        if left.is_some() {
            self.depart();
        }
        self.reporter.finish(self.store.points());
        let left = left.map(|left| self.await_command(left));
        Ok(self.outcome(left))
    }

    /// Where no signal is the reason to leave, the command has run on, and its end is awaited, as its user awaits it:
    /// until it has ended, or the user asks to leave.
    fn await_command(&mut self, left: Left) -> Left {
        if matches!(left, Left::Signal(_)) {
            return left;
        }
        self.reporter.flush();
        let unfinished = self.command.filter(|_| self.command_status.is_none());
        if let (Some(calls), Some(command)) = (&self.calls, unfinished) {
            let command = Pid::from_raw(command.raw());
            let ended = loop {
                match calls.run(|| waitpid(command, None)) {
                    Some(Err(Errno::EINTR)) => {}
                    other => break other,
                }
            };
            self.command_status = ended.and_then(Result::ok).and_then(exit_status);
        }
        self.leave
            .asked()
            .filter(|asked| matches!(asked, Left::Signal(_)))
            .unwrap_or(left)
    }

    /// Traces to the end, or until there is a reason to leave, which it gives.
    fn trace(&mut self) -> Result<Option<Left>, Error> {
        loop {
            if let Some(left) = self.should_leave() {
                return Ok(Some(left));
            }
            match self.next_event()? {
                Wait::Stopped(stopped, stop) => {
                    let tid = stopped.tid();
                    self.on_stop(stopped, stop)?;
                    self.keep_pace(tid);
                }
                Wait::Exited(tid, status) => self.on_exit(tid, status),
                Wait::Woken => self.on_woken(),
                Wait::NoTracees => return Ok(None),
            }
            if let Some(ticker) = &mut self.ticker
                && self.reporter.is_waiting()
            {
                ticker.arm();
            }
        }
    }

    /// The next event. What was recorded meanwhile is shown.
    fn next_event(&mut self) -> Result<Wait, Error> {
        loop {
            if !self.recorder.is_active() {
                return self.session.wait();
            }
            self.look_for_filters();
            let read = self.drain(Pass::Settled);
            if self.recorder.keep_busy(read) {
                // A realtime tracer that reads without a pause would keep everything else from its CPU.
                self.set_pace(false);
            }
            if let Some(event) = self.session.try_wait()? {
                return Ok(event);
            }
            if self.should_leave().is_some() {
                return Ok(Wait::Woken);
            }
            // What goes to a file as it is can wait in its ring until it is much.
            if (read == 0 || self.reporter.is_raw()) && self.recorder.may_sleep() {
                return self.session.wait();
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
        let alone = (self.threads.len() == 1 || self.run_of_stops.1 >= ALONE) && !self.recorder.is_busy();
        self.set_pace(alone);
    }

    fn set_pace(&mut self, alone: bool) {
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
        self.reporter.flush();
    }

    fn should_leave(&self) -> Option<Left> {
        let broken = || self.reporter.out.is_broken().then_some(Left::Output);
        let full = || self.reporter.is_full().then_some(Left::Limit);
        self.leave.asked().or_else(broken).or_else(full)
    }

    /// One stop: what it concerns is done, and the thread runs on. The death of a tracee in the
    /// middle is no error: its end is reported by itself.
    fn on_stop(&mut self, stopped: Stopped, stop: Stop) -> Result<(), Error> {
        // What the thread has recorded comes before its stop.
        self.drain(Pass::All);
        self.reporter.out.focus(stopped.tgid());
        tracing::trace!(tid = %stopped.tid(), ?stop, "stop");
        match self.dispatch(stopped, stop) {
            Err(error) if error.is_death() => Ok(()),
            other => other,
        }
    }

    fn dispatch(&mut self, stopped: Stopped, stop: Stop) -> Result<(), Error> {
        if self.due_sigtraps > 0 {
            self.release_due_sigtrap(&stopped);
        }
        if stop != Stop::SignalDelivery(Signal::SIGTRAP) {
            spare(&stopped, stop);
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
        self.show_syscall(&stopped, stop)?;
        if stop == Stop::SyscallExit {
            self.await_thread_pointer(&stopped)?;
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
            .is_some_and(|thread| thread.watched_calls > 0 || thread.system_calls_left > 0)
        {
            stopped.cont_to_syscall(None)?;
            return Ok(());
        }
        resume(stopped, None)
    }

    fn outcome(self, left: Option<Left>) -> Outcome {
        let mut reporter = self.reporter;
        let mut notes = self.notes;
        let (summary, calls) = (reporter.summary(self.store.points()), reporter.calls());
        let seen = reason::Seen {
            calls: calls + reporter.raw_records(),
            left,
            is_explained: !notes.is_empty(),
        };
        // Where nothing could be written, that is why.
        if left != Some(Left::Output) {
            notes.extend(reason::why(&self.store, &seen));
        }
        reporter.end_tape(&notes);
        let lost = match reporter.out.finish() {
            Ok(()) => false,
            Err(error) => matches!(error, OutputError::Write { .. } | OutputError::Open { .. }),
        };
        Outcome {
            command: self.command_status,
            left,
            calls,
            summary,
            lost,
            notes,
        }
    }
}

/// After how many stops in a row of one thread it counts as the only one that calls.
const ALONE: u32 = 32;

/// Lets a thread run on.
fn resume(stopped: Stopped, signal: Option<Signal>) -> Result<(), Error> {
    stopped.cont(signal)?;
    Ok(())
}

/// How a child ended that waitpid(2) told of.
fn exit_status(status: WaitStatus) -> Option<ExitStatus> {
    match status {
        WaitStatus::Exited(_, code) => u8::try_from(code & 0xff).ok().map(ExitStatus::Exited),
        WaitStatus::Signaled(_, signal, core_dumped) => Some(ExitStatus::Signaled {
            signal: Signal::new(signal as i32),
            core_dumped,
        }),
        _ => None,
    }
}
