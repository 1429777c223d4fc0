//! Processes and threads come and go.

use std::cell::RefCell;
use std::rc::Rc;

use ptrace_core::{Error, ExitStatus, SigInfo, Stopped, Tid, procfs};

use super::code::CodeError;
use super::fast::{FastError, Pass};
use super::filtered::may_call;
use super::reporter::Reporter;
use super::sent::send_at_start;
use super::sigtrap::{block_sigtrap, ignore_sigtrap};
use super::space::Space;
use super::thread::{Pending, Returns, SharedSpace, StackMap, Thread};
use super::{Process, Tracer, resume};
use crate::points::Points;
use crate::sys;
use breakpoint::CallStack;

/// What becomes of a new thread or process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Birth {
    /// It is traced, if only until it has memory of its own.
    Stay,
    /// It is not traced: it is clean, and left.
    Leave,
}

impl Tracer {
    /// Whether the events of this process are shown.
    pub(super) fn is_followed(&self, tgid: Tid) -> bool {
        self.processes.get(&tgid).is_some_and(|process| process.followed)
    }

    /// A new program: every address is stale. The other threads of the process are gone.
    pub(super) fn on_exec(&mut self, stopped: Stopped, former: Tid) -> Result<(), Error> {
        let tgid = stopped.tgid();
        tracing::info!(%tgid, %former, "new program");
        self.close_program(tgid, former);
        if !self.is_followed(tgid) && self.processes.contains_key(&tgid) {
            // A vforked child that was kept while it shared its parent's memory: it has its own now,
            // without traps.
            return self.leave_program(stopped);
        }
        if self.processes.contains_key(&tgid) {
            self.reporter.exec(tgid);
        }
        self.begin_program(&stopped)?;
        resume(stopped, None)
    }

    /// The program of a process has ended by executing another one.
    pub(super) fn close_program(&mut self, tgid: Tid, former: Tid) {
        if former != tgid {
            self.take_over_from(former, tgid);
        }
        let of_process = |(_, thread): &(&Tid, &Thread)| thread.tgid == tgid;
        let gone: Vec<Tid> = self
            .threads
            .iter()
            .filter(of_process)
            .map(|(tid, _)| *tid)
            .collect();
        for tid in gone {
            self.forget_recorded(tid);
        }
        if self.threads.contains_key(&tgid) {
            self.close_calls(tgid);
        }
    }

    /// Leaves a process that is at the start of a program, in which there is nothing of the tracer's.
    pub(super) fn leave_program(&mut self, stopped: Stopped) -> Result<(), Error> {
        let tgid = stopped.tgid();
        let process = self.processes.remove(&tgid);
        let (_, to_thread) = self.hand_down(&stopped);
        let to_process = process.and_then(|process| process.sent_sigtrap);
        for (is_threads, info) in [(true, to_thread), (false, to_process)] {
            if let Some(info) = info {
                // Who died needs none.
                let _: Result<(), CodeError> = send_at_start(&stopped, is_threads, &info);
            }
        }
        self.threads.retain(|_, thread| thread.tgid != tgid);
        Ok(stopped.detach(None)?)
    }

    /// Takes up a process that is at the start of a program.
    pub(super) fn begin_program(&mut self, stopped: &Stopped) -> Result<(), Error> {
        let tgid = stopped.tgid();
        let (blocks, sent) = self.hand_down(stopped);
        let sent_to_process = self
            .processes
            .get_mut(&tgid)
            .and_then(|process| process.sent_sigtrap.take());
        let regs = stopped.regs()?;
        let mut space = Space::new(regs.arch(), stopped.memory(), may_call(tgid));
        self.guard(stopped, &mut space);
        let notes = space.take_up(stopped, &mut self.store);
        self.notes.extend(notes);
        let space = Rc::new(RefCell::new(space));
        self.add_thread(stopped.tid(), tgid, &space, blocks);
        if let Some(thread) = self.threads.get_mut(&stopped.tid()) {
            thread.sent_sigtrap = sent;
        }
        let mut process = Process::new(space, true);
        process.sent_sigtrap = sent_to_process;
        self.processes.insert(tgid, process);
        Ok(())
    }

    /// What of SIGTRAP survives execve(2): that it is ignored, blocked, and pending. The first is put in force; the others
    /// are, too, if the process is not followed further.
    fn hand_down(&mut self, stopped: &Stopped) -> (bool, Option<SigInfo>) {
        let Some(thread) = self.threads.get_mut(&stopped.tid()) else {
            return (false, None);
        };
        let (blocks, sent) = (thread.blocks_sigtrap, thread.sent_sigtrap.take());
        let space = thread.space.borrow();
        let ignores = space.programs_action().is_some_and(|action| action.ignores());
        if ignores && space.may_call {
            // Where it cannot be, the new program has the default.
            let _: Result<(), CodeError> = ignore_sigtrap(stopped);
        }
        drop(space);
        if blocks && !self.is_followed(stopped.tgid()) {
            block_sigtrap(stopped);
        }
        (blocks, sent)
    }

    /// Sees to it that the process would survive the tracer's death. The guard also keeps what the program wants of
    /// SIGTRAP, so that one that is to be killed with the tracer has it, too.
    pub(super) fn guard(&mut self, stopped: &Stopped, space: &mut Space) {
        if let Some(why) = space.guard(stopped)
            && !self.options.kill_on_exit
        {
            self.notes.push(format!("pid {}: {why}", stopped.tgid()));
        }
    }

    /// Takes up a thread. `blocks_sigtrap` is whether the program has blocked SIGTRAP in it.
    pub(super) fn add_thread(&mut self, tid: Tid, tgid: Tid, space: &SharedSpace, blocks_sigtrap: bool) {
        let arch = space.borrow().arch;
        let followed = self.processes.get(&tgid).is_none_or(|process| process.followed);
        self.reporter.tape_thread(tid, tgid);
        if followed && !self.threads.is_empty() && !self.threads.contains_key(&tid) {
            self.reporter.name_threads();
        }
        let mut thread = Thread::new(tid, tgid, arch, SharedSpace::clone(space));
        thread.blocks_sigtrap = blocks_sigtrap;
        self.threads.insert(tid, thread);
    }

    /// The parent's stop at a fork: the child's memory is a copy of its parent's as it is now. What the
    /// parent gets later, the child has not.
    pub(super) fn on_fork(&mut self, stopped: Stopped, child: Tid) -> Result<(), Error> {
        self.note_fork(&stopped, child);
        resume(stopped, None)
    }

    /// Keeps what the memory of a child holds that is about to be born, unless it is a thread.
    pub(super) fn note_fork(&mut self, stopped: &Stopped, child: Tid) {
        if let Some(parent) = self.threads.get(&stopped.tid()) {
            self.masks.insert(child, parent.blocks_sigtrap);
        }
        if self.options.follow {
            self.stamp(stopped.tid());
        }
        let is_thread = procfs::threads(stopped.tgid()).is_ok_and(|threads| threads.contains(&child));
        if !is_thread && let Some(fork) = self.inheritance(stopped.tid(), stopped) {
            self.reporter.tape_fork(stopped.tid(), child);
            self.forks.insert(child, fork);
        }
    }

    /// What a child that `parent` forks now starts with; `stopped` is of either.
    fn inheritance(&self, parent: Tid, stopped: &Stopped) -> Option<Inheritance> {
        let thread = self.threads.get(&parent)?;
        Some(Inheritance {
            space: thread.space.borrow().forked(stopped.memory()),
            calls: thread.calls.clone(),
            returns: thread.returns,
            blocks_sigtrap: thread.blocks_sigtrap,
            follow: self.options.follow && self.is_followed(thread.tgid),
        })
    }

    /// The first stop of a new thread or process.
    pub(super) fn on_birth(&mut self, stopped: Stopped, parent: Option<Tid>) -> Result<(), Error> {
        match self.register_birth(&stopped, parent)? {
            Birth::Stay => resume(stopped, None),
            Birth::Leave => Ok(stopped.detach(None)?),
        }
    }

    /// Takes up a new thread or process at its first stop.
    pub(super) fn register_birth(&mut self, stopped: &Stopped, parent: Option<Tid>) -> Result<Birth, Error> {
        let (tid, tgid) = (stopped.tid(), stopped.tgid());
        tracing::info!(%tid, %tgid, ?parent, "born");
        let noted = self.forks.remove(&tid);
        let parents = || parent.and_then(|parent| self.threads.get(&parent));
        let blocks = self.masks.remove(&tid);
        let blocks = blocks.unwrap_or_else(|| parents().is_some_and(|parent| parent.blocks_sigtrap));
        if let Some(process) = self.processes.get(&tgid) {
            let space = SharedSpace::clone(&process.space);
            let sent = process.sent_sigtrap.is_some();
            self.add_thread(tid, tgid, &space, blocks);
            self.register(stopped, &space);
            if sent && !blocks {
                self.release_sigtrap(stopped);
            }
            return Ok(Birth::Stay);
        }
        let parent = parent.filter(|parent| self.threads.contains_key(parent));
        let shared = parent
            .filter(|parent| sys::same_memory(parent.raw(), tid.raw()) == Some(true))
            .map(|parent| SharedSpace::clone(&self.threads[&parent].space));
        // The parent may have ended since it forked.
        let noted = match (noted, parent) {
            (None, Some(parent)) => {
                self.reporter.tape_fork(parent, tid);
                self.inheritance(parent, stopped)
            }
            (noted, _) => noted,
        };
        let Some(inheritance) = noted else {
            // The parent died before it told of its child: the child is taken up as if attached to.
            self.begin_program(stopped)?;
            return Ok(Birth::Stay);
        };
        Ok(self.new_process(stopped, inheritance, shared))
    }

    /// A process that a tracee made: it has a copy of its parent's memory, traps included, or shares it.
    fn new_process(&mut self, stopped: &Stopped, from: Inheritance, shared: Option<SharedSpace>) -> Birth {
        let (tid, tgid) = (stopped.tid(), stopped.tgid());
        if !from.follow && shared.is_none() {
            leave_child(stopped, from);
            return Birth::Leave;
        }
        let own = Space {
            memory: stopped.memory(),
            ..from.space
        };
        let space = shared.unwrap_or_else(|| Rc::new(RefCell::new(own)));
        self.add_thread(tid, tgid, &space, from.blocks_sigtrap);
        if let Some(thread) = self.threads.get_mut(&tid).filter(|_| from.follow) {
            // The child returns from the calls that its parent was in.
            thread.calls = from.calls;
            thread.returns = from.returns;
            thread
                .calls
                .iter_mut()
                .for_each(|(_, call)| call.call.tid = tid.raw());
        }
        self.processes
            .insert(tgid, Process::new(SharedSpace::clone(&space), from.follow));
        if from.follow {
            self.register(stopped, &space);
        } else if let Some(fast) = &space.borrow().fast {
            // It shares its parent's memory, and its thread the parent's ring: nothing of it is recorded.
            let _: Result<(), FastError> = fast.silence(stopped);
        }
        Birth::Stay
    }

    /// A thread ended.
    pub(super) fn on_exit(&mut self, tid: Tid, status: ExitStatus) {
        let tgid = self.threads.get(&tid).map_or(tid, |thread| thread.tgid);
        tracing::info!(%tid, ?status, "ended");
        self.drain(Pass::All);
        self.forget_recorded(tid);
        self.reporter.out.focus(tgid);
        self.close_calls_as(tid, if tid == tgid { Over::NoReturn } else { Over::CutOff });
        self.threads.remove(&tid);
        if tid != tgid {
            self.reporter.thread_end(tid);
            return;
        }
        if self.is_followed(tgid) {
            self.reporter.exited(tgid, status);
            self.reporter.process_end(self.store.points(), tgid);
        }
        self.processes.remove(&tgid);
        if self.command == Some(tgid) {
            self.command_status = Some(status);
        }
    }

    /// The thread that executes a program becomes the leader: its mask and its signals stay.
    fn take_over_from(&mut self, former: Tid, leader: Tid) {
        self.close_calls(former);
        if let Some(mut thread) = self.threads.remove(&former)
            && let Some(leader) = self.threads.get_mut(&leader)
        {
            leader.blocks_sigtrap = thread.blocks_sigtrap;
            leader.sent_sigtrap = thread.sent_sigtrap.take();
        }
    }

    /// The returns of a thread's calls will not be seen.
    pub(super) fn close_calls(&mut self, tid: Tid) {
        self.close_calls_as(tid, Over::NoReturn);
    }

    fn close_calls_as(&mut self, tid: Tid, how: Over) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        self.reporter.out.focus(thread.tgid);
        let syscall = thread.syscall.take();
        let mut closed = Vec::new();
        thread.calls.drain(&mut closed);
        let followed = self
            .processes
            .get(&thread.tgid)
            .is_some_and(|process| process.followed);
        self.reporter.tape_close(tid, how == Over::CutOff, followed);
        if let Some(call) = syscall.filter(|_| followed) {
            self.reporter.no_return(self.store.points(), &call);
        }
        for call in closed {
            if followed {
                how.show(&mut self.reporter, self.store.points(), &call.token);
            }
        }
    }
}

/// How the calls of a thread end that do not return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Their returns will not be seen.
    NoReturn,
    /// The thread has ended in them.
    CutOff,
}

impl Over {
    /// Shows the end of one.
    pub(super) fn show(self, reporter: &mut Reporter, points: &Points, pending: &Pending) {
        match self {
            Self::NoReturn => reporter.no_return(points, pending),
            Self::CutOff => reporter.cut_off(points, pending),
        }
    }
}

/// What a child has from its parent, as it was at the fork.
pub(super) struct Inheritance {
    space: Space,
    calls: CallStack<Box<Pending>>,
    returns: Returns,
    blocks_sigtrap: bool,
    follow: bool,
}

/// Makes a child as it would be if its parent had never been traced.
fn leave_child(stopped: &Stopped, from: Inheritance) {
    if from.blocks_sigtrap {
        block_sigtrap(stopped);
    }
    let mut space = Space {
        memory: stopped.memory(),
        ..from.space
    };
    if let Some(fast) = &space.fast {
        // Where it cannot be, its parent's ring is damaged, and that is told.
        let _: Result<(), FastError> = fast.silence(stopped);
    }
    space.clean(stopped);
    if let Some(fast) = &space.fast {
        // Where it is in calls that cannot be found, the code for them is there.
        fast.give_back_calls(&space.memory, stopped, &mut StackMap::default());
    }
    space.clear_away(stopped);
}
