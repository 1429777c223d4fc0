//! A session: the tracees of one thread.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::cpus::HandOff;
use crate::error::Error;
use crate::id::{ExitStatus, Tid};
use crate::options::Options;
use crate::sys;
use crate::tracee::{Interrupt, Process, Shared, State, Tracee};
use crate::waker::{WakeState, Waker};

/// A set of tracees, and the thread that traces them.
///
/// It stays on the thread that made it, because ptrace(2) serves only the tracing thread. Two sessions
/// in two threads do not meet; two in one thread would take each other's events. Children of this
/// thread that it does not trace count: their ends are returned by [`wait`](Self::wait), too.
///
/// When the thread ends, all its tracees run on untraced (or die, by
/// [`kill_on_exit`](Options::kill_on_exit)); when the session alone is dropped, they stay as they are.
pub struct Session {
    pub(crate) options: Options,
    pub(crate) shared: Rc<Shared>,
    pub(crate) tracees: HashMap<Tid, Rc<Tracee>, FxBuildHasher>,
    pub(crate) ready: VecDeque<Ready>,
    pub(crate) early: Vec<Early>,
    /// Whom to look at before taking whomever the kernel names first.
    pub(crate) round: Vec<Tid>,
    pub(crate) since_round: usize,
    pub(crate) wake: Option<Arc<WakeState>>,
    _one_thread: PhantomData<*const ()>,
}

/// What the next waits return before they ask the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ready {
    /// The first stop of this tracee.
    Born(Tid),
    /// An end seen while the caller asked for something else.
    Exited(Tid, ExitStatus),
}

/// A tracee that stopped for the first time before its parent's event was told.
#[derive(Debug)]
pub(crate) struct Early {
    pub(crate) child: Tid,
    /// Who may be its parent. Each of them reports next either the event or its end: the kernel tells the
    /// event before the parent does anything else (kernel/fork.c, `kernel_clone`).
    pub(crate) suspects: Vec<Tid>,
}

impl Session {
    /// A session without tracees, bound to the calling thread.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            shared: Rc::new(Shared {
                hand_off: RefCell::new(None),
                syscalls: options.syscalls,
            }),
            tracees: HashMap::default(),
            ready: VecDeque::new(),
            early: Vec::new(),
            round: Vec::new(),
            since_round: 0,
            wake: None,
            _one_thread: PhantomData,
        }
    }

    /// Asks a running thread to stop: [`Stop::Interrupt`](crate::Stop::Interrupt), unless another stop
    /// comes first, which answers the request.
    ///
    /// # Errors
    /// The thread died or is not traced.
    pub fn interrupt(&mut self, tid: Tid) -> Result<(), Error> {
        let tracee = self.tracees.get(&tid).ok_or(Error::NotTraced { tid })?;
        sys::interrupt(tid).map_err(|e| Error::request("PTRACE_INTERRUPT", tid, e))?;
        tracee.interrupt.set(Interrupt::Asked);
        Ok(())
    }

    /// A handle that wakes this session from other threads, by a realtime signal that the process does not
    /// use, whose handler does nothing. System calls of this thread may fail with
    /// `EINTR` when it is used, which Rust's standard library retries.
    ///
    /// # Errors
    /// All realtime signals are in use (`EBUSY`).
    pub fn waker(&mut self) -> io::Result<Waker> {
        let state = match &self.wake {
            Some(state) => Arc::clone(state),
            None => Arc::clone(self.wake.insert(WakeState::new()?)),
        };
        Ok(state.waker())
    }

    /// Whether [`cont`](crate::Stopped::cont) hands each thread over on the tracer's CPU, which costs a
    /// fraction of waking another CPU. It makes the calling thread a realtime one of the lowest priority
    /// (so that no tracee sees what is done to its affinity) and pins it to the CPU on which it
    /// runs, or gives it back its own scheduling and affinity. A thread for which the kernel or a
    /// cpuset refuses is resumed as without it.
    ///
    /// # Errors
    /// The calling thread may not be a realtime one (`EPERM`: it takes `CAP_SYS_NICE` or
    /// `RLIMIT_RTPRIO`), or cannot be pinned. Nothing is changed then, and the session works without.
    pub fn set_hand_off(&mut self, on: bool) -> io::Result<()> {
        let mut hand_off = self.shared.hand_off.borrow_mut();
        match (&*hand_off, on) {
            (None, true) => *hand_off = Some(HandOff::on()?),
            (Some(active), false) => {
                active.off()?;
                *hand_off = None;
            }
            _ => {}
        }
        Ok(())
    }

    /// The threads of this session, in no order.
    pub fn tids(&self) -> impl Iterator<Item = Tid> + '_ {
        self.tracees.keys().copied()
    }

    /// The threads of process `tgid` that this session traces, in no order.
    pub fn threads(&self, tgid: Tid) -> impl Iterator<Item = Tid> + '_ {
        self.tracees
            .values()
            .filter(move |t| t.tgid() == tgid)
            .map(|t| t.tid)
    }

    /// The process of a thread of this session.
    #[must_use]
    pub fn tgid(&self, tid: Tid) -> Option<Tid> {
        self.tracees.get(&tid).map(|tracee| tracee.tgid())
    }

    /// The process `tgid`, as its threads share it.
    pub(crate) fn process(&self, tgid: Tid) -> Rc<Process> {
        let known = self.tracees.get(&tgid).filter(|t| t.tgid() == tgid);
        let known = known.or_else(|| self.tracees.values().find(|t| t.tgid() == tgid));
        known.map_or_else(|| Process::new(tgid), |tracee| tracee.process())
    }

    pub(crate) fn add(&mut self, tid: Tid, process: Rc<Process>, state: State) -> Rc<Tracee> {
        let tracee = Tracee::new(tid, Rc::clone(&self.shared), process, state);
        if let Some(old) = self.tracees.insert(tid, Rc::clone(&tracee)) {
            old.state.set(State::Gone);
        }
        tracee
    }

    /// Forgets a tracee; whoever holds it stopped finds it dead.
    pub(crate) fn forget(&mut self, tid: Tid) -> Option<Rc<Tracee>> {
        let tracee = self.tracees.remove(&tid)?;
        tracee.state.set(State::Gone);
        Some(tracee)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(hand_off) = self.shared.hand_off.borrow_mut().take() {
            let _ = hand_off.off(); // the thread's CPUs may have gone meanwhile: nothing to do then
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("tracees", &self.tracees.len())
            .finish_non_exhaustive()
    }
}
