//! Waiting for events, and making one clean order of what the kernel tells in several.

use std::io;
use std::rc::Rc;

use crate::cpus;
use crate::error::Error;
use crate::id::{ExitStatus, Signal, Tid};
use crate::procfs;
use crate::session::{Early, Ready, Session};
use crate::stop::{Status, Stop, SyscallStop};
use crate::stopped::Stopped;
use crate::sys::{self, Report, Resume, Take, Whom};
use crate::tracee::{Interrupt, Process, State, Tracee};

/// What waiting found.
#[derive(Debug)]
pub enum Wait {
    /// A tracee stopped.
    Stopped(Stopped, Stop),
    /// A thread ended. The last one of a process to be reported is its leader, whose status is
    /// that of the process.
    Exited(Tid, ExitStatus),
    /// A [`Waker`](crate::Waker) called.
    Woken,
    /// There is no tracee left, nor another child of this thread.
    NoTracees,
}

/// The fewest stops between two rounds.
const ROUND: usize = 64;

impl Session {
    /// Waits for the next event of any tracee.
    ///
    /// The report of a stop is looked at, not consumed, until the tracee is resumed: a stop whose report was
    /// consumed loses its signal when the tracer is killed. If a tracee is kept stopped while the
    /// caller waits for others, its report has to be consumed. Whoever keeps a tracee at a trap
    /// therefore sets its PC right first.
    ///
    /// # Errors
    /// The kernel failed.
    pub fn wait(&mut self) -> Result<Wait, Error> {
        loop {
            if let Some(event) = self.next(true)? {
                return Ok(event);
            }
        }
    }

    /// The next event if there is one already.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> Result<Option<Wait>, Error> {
        self.next(false)
    }

    /// Waits, and calls `idle` once before it sleeps, if it has to: the place to flush output. It costs one
    /// system call more than [`wait`](Self::wait) if it has to sleep.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_with(&mut self, idle: impl FnOnce()) -> Result<Wait, Error> {
        if let Some(event) = self.try_wait()? {
            return Ok(event);
        }
        idle();
        self.wait()
    }

    /// The next event; `None` if there is none and it may not sleep.
    fn next(&mut self, block: bool) -> Result<Option<Wait>, Error> {
        loop {
            if self.wake.as_ref().is_some_and(|wake| wake.take()) {
                return Ok(Some(Wait::Woken));
            }
            if let Some(event) = self.take_ready() {
                return Ok(Some(event));
            }
            if let Some(event) = self.take_from_round()? {
                return Ok(Some(event));
            }
            match self.ask(block) {
                Ok(Some(report)) => {
                    if let Some(event) = self.on_report(report)? {
                        return Ok(Some(event));
                    }
                }
                Ok(None) if block => {} // a signal came, or a call: look again
                Ok(None) => return Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
                    self.all_gone();
                    return Ok(Some(Wait::NoTracees));
                }
                Err(error) => return Err(Error::Wait(error)),
            }
        }
    }

    fn ask(&self, block: bool) -> io::Result<Option<Report>> {
        match &self.wake {
            Some(wake) if block => wake
                .guard(|| sys::wait(Whom::Anyone, Take::Peek, true))
                .unwrap_or(Ok(None)),
            _ => sys::wait(Whom::Anyone, Take::Peek, block),
        }
    }

    fn all_gone(&mut self) {
        for (_, tracee) in self.tracees.drain() {
            tracee.state.set(State::Gone);
        }
    }

    pub(crate) fn take_ready(&mut self) -> Option<Wait> {
        while let Some(ready) = self.ready.pop_front() {
            match ready {
                Ready::Exited(tid, status) => return Some(Wait::Exited(tid, status)),
                Ready::Born(tid) => {
                    let tracee = self.tracees.get(&tid).filter(|t| t.state.get() == State::Early);
                    if let Some(tracee) = tracee.map(Rc::clone) {
                        return Some(self.born(&tracee, true));
                    }
                }
            }
        }
        None
    }

    /// Looks at each tracee in turn now and then: the kernel names the first in its list that has something to
    /// tell, so one that always has would keep the others waiting, for ever if it waits for them.
    fn take_from_round(&mut self) -> Result<Option<Wait>, Error> {
        while let Some(tid) = self.round.pop() {
            let running = |t: &Rc<Tracee>| !matches!(t.state.get(), State::Stopped | State::Early);
            if !self.tracees.get(&tid).is_some_and(running) {
                continue;
            }
            if let Some(event) = self.look_at(tid)? {
                return Ok(Some(event));
            }
        }
        if self.since_round >= ROUND.max(8 * self.tracees.len()) {
            self.since_round = 0;
            self.round.extend(self.tracees.keys());
        }
        Ok(None)
    }

    /// What `tid` has to tell now, if anything.
    pub(crate) fn look_at(&mut self, tid: Tid) -> Result<Option<Wait>, Error> {
        match sys::wait(Whom::One(tid), Take::Peek, false) {
            Ok(Some(report)) => self.on_report(report),
            Ok(None) => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
                self.forget(tid);
                Ok(None)
            }
            Err(error) => Err(Error::Wait(error)),
        }
    }

    /// Turns a report into an event, or swallows it.
    pub(crate) fn on_report(&mut self, report: Report) -> Result<Option<Wait>, Error> {
        if let Some(status) = exit_status(report) {
            return self.on_exit(report.tid, status).map(Some);
        }
        match report.code {
            // A child that is not traced was stopped by a signal.
            libc::CLD_STOPPED => consume(report.tid, Take::Stop).map(|_| None),
            _ => self.on_stop(report),
        }
    }

    fn on_exit(&mut self, tid: Tid, status: ExitStatus) -> Result<Wait, Error> {
        consume(tid, Take::Exit)?;
        self.forget(tid);
        self.early.retain(|early| early.child != tid);
        self.clear_suspect(tid);
        Ok(Wait::Exited(tid, status))
    }

    fn on_stop(&mut self, report: Report) -> Result<Option<Wait>, Error> {
        let status = Status::of(report.status);
        let tracee = match self.tracees.get(&report.tid) {
            Some(tracee) => Rc::clone(tracee),
            None => match status {
                Status::EventStop(_) => return self.on_early(report),
                _ => self.adopt(report.tid, State::Running),
            },
        };
        if matches!(tracee.state.get(), State::Stopped | State::Early)
            && tracee.status.get() == report.status
            && !tracee.consumed.get()
        {
            // It is kept stopped while its keeper waits for others.
            tracee.consumed.set(true);
            return match consume(report.tid, Take::Stop)? {
                Some(other) if other.status != report.status => self.on_stop(other),
                _ => Ok(None),
            };
        }
        tracee.status.set(report.status);
        self.clear_suspects_of(&tracee, status);
        match status {
            Status::Signal(signal) => Ok(Some(self.hand_out(&tracee, Stop::SignalDelivery(signal)))),
            Status::Syscall => self.on_syscall(&tracee),
            Status::EventStop(signal) => self.on_event_stop(&tracee, signal),
            Status::Event(event) => self.on_event(&tracee, event),
        }
    }

    /// Gives the caller the tracee at a new stop.
    fn hand_out(&mut self, tracee: &Rc<Tracee>, stop: Stop) -> Wait {
        if tracee.interrupt.get() == Interrupt::Asked {
            let answered = stop == Stop::Interrupt;
            tracee.interrupt.set(if answered {
                Interrupt::None
            } else {
                Interrupt::Stale
            });
        }
        tracee.state.set(State::Stopped);
        tracee.consumed.set(false);
        tracee.stop.set(tracee.stop.get().wrapping_add(1));
        self.since_round += 1;
        Wait::Stopped(Stopped::new(Rc::clone(tracee)), stop)
    }

    fn on_syscall(&mut self, tracee: &Rc<Tracee>) -> Result<Option<Wait>, Error> {
        let words = match sys::syscall_info(tracee.tid) {
            Ok(words) => words,
            Err(error) => return Self::lost(tracee.tid, "PTRACE_GET_SYSCALL_INFO", error),
        };
        let stop = match crate::stop::SyscallInfo::from_words(&words).stop {
            SyscallStop::Exit { .. } => Stop::SyscallExit,
            _ => Stop::SyscallEnter,
        };
        Ok(Some(self.hand_out(tracee, stop)))
    }

    fn on_event_stop(&mut self, tracee: &Rc<Tracee>, signal: Signal) -> Result<Option<Wait>, Error> {
        if tracee.state.get() == State::New {
            // One that an envoy's sender left seized has other options. A failure is a death.
            let _ = sys::set_options(tracee.tid, self.options.bits());
            tracee.group_at_birth.set(signal != Signal::SIGTRAP);
            return Ok(Some(self.born(tracee, false)));
        }
        if signal != Signal::SIGTRAP {
            return Ok(Some(self.hand_out(tracee, Stop::Group(signal))));
        }
        if tracee.interrupt.get() == Interrupt::Stale && tracee.state.get() != State::Listening {
            tracee.interrupt.set(Interrupt::None);
            return match sys::resume(tracee.tid, Resume::Cont, None) {
                Ok(()) => Ok(None),
                Err(error) => Self::lost(tracee.tid, "PTRACE_CONT", error),
            };
        }
        Ok(Some(self.hand_out(tracee, Stop::Interrupt)))
    }

    /// A request at a stop failed: the thread was killed, which its end will tell, or the kernel refused.
    fn lost(tid: Tid, request: &'static str, error: io::Error) -> Result<Option<Wait>, Error> {
        match Error::request(request, tid, error) {
            Error::Died { .. } => Ok(None),
            error => Err(error),
        }
    }

    fn on_event(&mut self, tracee: &Rc<Tracee>, event: i32) -> Result<Option<Wait>, Error> {
        // QUIRK exec-is-waited-for: when another thread than the leader executed a program, every request on it
        // fails with ESRCH until the report of PTRACE_EVENT_EXEC is consumed. Seen: Linux 6.18. Source:
        // kernel/ptrace.c, looks_like_a_spurious_pid (since 5.13). Drop when: never. Test:
        // tests/events.rs, exec_from_a_thread_takes_over_the_leader. The report carries no signal that
        // could be lost with the tracer.
        let consumed = event == libc::PTRACE_EVENT_EXEC;
        if consumed
            && let Some(other) = consume(tracee.tid, Take::Stop)?.filter(|r| r.status != tracee.status.get())
        {
            return self.on_stop(other);
        }
        let msg = match sys::event_msg(tracee.tid) {
            Ok(msg) => msg,
            Err(error) => return Self::lost(tracee.tid, "PTRACE_GETEVENTMSG", error),
        };
        let [a, b, c, d, ..] = msg.to_le_bytes();
        let low = i32::from_le_bytes([a, b, c, d]);
        let other = Tid::new(low);
        let stop = match event {
            libc::PTRACE_EVENT_FORK => Stop::Fork { child: other },
            libc::PTRACE_EVENT_VFORK => Stop::Vfork { child: other },
            libc::PTRACE_EVENT_CLONE => Stop::Clone { child: other },
            libc::PTRACE_EVENT_VFORK_DONE => Stop::VforkDone { child: other },
            libc::PTRACE_EVENT_EXEC => return Ok(Some(self.on_exec(tracee, other))),
            libc::PTRACE_EVENT_EXIT => Stop::Exit {
                status: ExitStatus::from_wait_status(low),
            },
            libc::PTRACE_EVENT_SECCOMP => Stop::Seccomp {
                data: u16::from_le_bytes([a, b]),
            },
            unknown => Stop::Event(unknown),
        };
        if let Stop::Fork { child } | Stop::Vfork { child } | Stop::Clone { child } = stop {
            self.expect(tracee, child);
        }
        Ok(Some(self.hand_out(tracee, stop)))
    }

    fn on_exec(&mut self, tracee: &Rc<Tracee>, former: Tid) -> Wait {
        let tid = tracee.tid;
        // The former leader died without a report, and the thread that executed lives under its id.
        let successor = if former == tid {
            *tracee.process.borrow_mut() = Process::new(tid);
            Rc::clone(tracee)
        } else {
            let executed = self.forget(former);
            let successor = self.add(tid, Process::new(tid), State::Running);
            if let Some(executed) = executed {
                *successor.own_mask.borrow_mut() = *executed.own_mask.borrow();
            }
            successor.status.set(tracee.status.get());
            successor
        };
        self.clear_suspect(former);
        let event = self.hand_out(&successor, Stop::Exec { former });
        successor.consumed.set(true);
        event
    }

    // --- Births ----------------------------------------------------------------------------------

    /// `parent` told that it made `child`.
    fn expect(&mut self, parent: &Rc<Tracee>, child: Tid) {
        if let Some(known) = self.tracees.get(&child).map(Rc::clone) {
            known.parent.set(Some(parent.tid));
            if known.state.get() == State::Early {
                self.early.retain(|early| early.child != child);
                self.ready.push_back(Ready::Born(child));
            }
            self.clear_suspect(parent.tid);
            return;
        }
        self.clear_suspect(parent.tid);
        let tgid = parent.tgid();
        let process = if sys::is_thread_of(tgid, child) {
            parent.process()
        } else {
            Process::new(child)
        };
        self.add(child, process, State::New).parent.set(Some(parent.tid));
    }

    /// The first stop of a tracee that nobody announced.
    fn on_early(&mut self, report: Report) -> Result<Option<Wait>, Error> {
        let child = report.tid;
        let tracee = self.adopt(child, State::Early);
        tracee.status.set(report.status);
        tracee.consumed.set(true);
        tracee
            .group_at_birth
            .set(Status::of(report.status) != Status::EventStop(Signal::SIGTRAP));
        // It has to be consumed, or the kernel would name it for ever.
        if let Some(other) = consume(child, Take::Stop)?.filter(|other| other.status != report.status) {
            return self.on_stop(other);
        }
        let maker = if tracee.tgid() == child {
            procfs::parent(child)
        } else {
            Some(tracee.tgid())
        };
        let may_be =
            |t: &&Rc<Tracee>| Some(t.tgid()) == maker && t.state.get() == State::Running && t.tid != child;
        let suspects: Vec<Tid> = self.tracees.values().filter(may_be).map(|t| t.tid).collect();
        if suspects.is_empty() {
            self.ready.push_back(Ready::Born(child));
        } else {
            self.early.push(Early { child, suspects });
        }
        Ok(None)
    }

    /// Takes up a tracee that is ours by the kernel's doing.
    fn adopt(&mut self, tid: Tid, state: State) -> Rc<Tracee> {
        let process = if sys::is_thread_of(tid, tid) {
            tid
        } else {
            procfs::process_of(tid).unwrap_or(tid)
        };
        let process = self.process(process);
        self.add(tid, process, state)
    }

    /// `tid` reported something that is not the announcement of an early child, or ended.
    fn clear_suspect(&mut self, tid: Tid) {
        if self.early.is_empty() {
            return;
        }
        let ready = &mut self.ready;
        self.early.retain_mut(|early| {
            early.suspects.retain(|&suspect| suspect != tid);
            if early.suspects.is_empty() {
                ready.push_back(Ready::Born(early.child));
            }
            !early.suspects.is_empty()
        });
    }

    /// As [`clear_suspect`](Self::clear_suspect), unless the stop may be the announcement, which is seen to later.
    fn clear_suspects_of(&mut self, tracee: &Tracee, status: Status) {
        let announces = matches!(
            status,
            Status::Event(libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE)
        );
        if !announces {
            self.clear_suspect(tracee.tid);
        }
    }

    pub(crate) fn born(&mut self, tracee: &Rc<Tracee>, consumed: bool) -> Wait {
        let parent = tracee.parent.get();
        if let Some(parent) = parent.and_then(|tid| self.tracees.get(&tid)) {
            cpus::fix_newborn(tracee.tid, parent);
        }
        let event = self.hand_out(tracee, Stop::Born { parent });
        tracee.consumed.set(consumed);
        event
    }
}

/// Consumes the report of a stop or an end that was looked at. Between the two the thread may have been
/// killed: then the report of its end stays, or another stop (`PTRACE_EVENT_EXIT`) is consumed and given.
pub(crate) fn consume(tid: Tid, take: Take) -> Result<Option<Report>, Error> {
    match sys::wait(Whom::One(tid), take, false) {
        Ok(report) => Ok(report),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(Error::Wait(error)),
    }
}
/// How a thread ended, if this tells of that.
pub(crate) fn exit_status(report: Report) -> Option<ExitStatus> {
    match report.code {
        libc::CLD_EXITED => Some(ExitStatus::from_wait_status((report.status & 0xff) << 8)),
        libc::CLD_KILLED | libc::CLD_DUMPED => Some(ExitStatus::Signaled {
            signal: Signal::new(report.status),
            core_dumped: report.code == libc::CLD_DUMPED,
        }),
        _ => None,
    }
}
