//! A session.
use crate::command::Command;
use crate::error::{AttachError, Error, SpawnError};
use crate::id::Tid;
use crate::options::Options;
use crate::stop::Stop;
use crate::stopped::Stopped;
use crate::wait::Wait;
use crate::waker::Waker;
use std::io;
use std::marker::PhantomData;

/// A set of tracees, and the thread that traces them.
pub struct Session {
    _one_thread: PhantomData<*const ()>,
}

impl Session {
    /// A session without tracees, bound to the calling thread.
    #[must_use]
    pub fn new(_options: Options) -> Self {
        todo!()
    }

    /// Starts a command, and returns it stopped (at `PTRACE_EVENT_EXEC`) before its first instruction.
    /// It was seized before it executed the program, so it never runs untraced.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn(&mut self, _command: &Command) -> Result<Stopped, SpawnError> {
        todo!()
    }

    /// Seizes all threads of process `pid`, also those born meanwhile, and gives their ids. They run
    /// on; [`stop_all`](Self::stop_all) stops them.
    ///
    /// # Errors
    /// See [`AttachError`]. Nothing stays seized then.
    pub fn seize_process(&mut self, _pid: Tid) -> Result<Vec<Tid>, AttachError> {
        todo!()
    }

    /// Asks a running thread to stop ([`Stop::Interrupt`], unless another stop comes first).
    ///
    /// # Errors
    /// The thread died or is not traced.
    pub fn interrupt(&mut self, _tid: Tid) -> Result<(), Error> {
        todo!()
    }

    /// Stops all threads of process `tgid` that this session traces and that are not held
    /// already, and gives each with what stopped it. Ends seen meanwhile are returned by the next waits. A
    /// thread that sleeps in the kernel where it cannot be interrupted (a vfork's parent, a
    /// stuck disk) is not returned: it will report [`Stop::Interrupt`] before its next instruction.
    ///
    /// # Errors
    /// Waiting failed.
    pub fn stop_all(&mut self, _tgid: Tid) -> Result<Vec<(Stopped, Stop)>, Error> {
        todo!()
    }

    /// Waits for the next event of any tracee. See the README on when a stop is consumed.
    ///
    /// # Errors
    /// The kernel failed.
    pub fn wait(&mut self) -> Result<Wait, Error> {
        todo!()
    }

    /// The next event if there is one already.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> Result<Option<Wait>, Error> {
        todo!()
    }

    /// Waits, and calls `idle` once before it sleeps, if it has to: the place to flush output.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_with(&mut self, _idle: impl FnOnce()) -> Result<Wait, Error> {
        todo!()
    }

    /// A handle that wakes this session from other threads.
    ///
    /// # Errors
    /// No signal could be set up for it.
    pub fn waker(&mut self) -> io::Result<Waker> {
        todo!()
    }

    /// Whether `cont` hands each thread over on the tracer's CPU, which costs a fraction of waking
    /// another one. Pins the calling thread to the CPU on which it runs, or gives it back its own
    /// affinity. Where the kernel or a cpuset refuses, threads are resumed as without it.
    ///
    /// # Errors
    /// The calling thread cannot be pinned.
    pub fn set_hand_off(&mut self, _on: bool) -> io::Result<()> {
        todo!()
    }

    /// The threads of this session, in no order.
    pub fn tids(&self) -> impl Iterator<Item = Tid> + '_ {
        [].into_iter()
    }

    /// The process of a thread of this session.
    #[must_use]
    pub fn tgid(&self, _tid: Tid) -> Option<Tid> {
        todo!()
    }
}
