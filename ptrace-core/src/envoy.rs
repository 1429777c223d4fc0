//! A thread of the tracer's own in a process, for what need not be done while the program stands still.
//!
//! It is made by clone(2) in the name of a thread that is stopped for that one call, shares all that threads share, blocks all
//! signals, and never executes anything but system calls in the tracer's name. Its registers are those of a thread that is about
//! to call exit(2): whenever it is let go, by the tracer or by the tracer's death, it ends.
//!
//! It has a session of its own, which waits for no other thread: the program's threads are not tracees of it.

use std::io;

use crate::attach::{Pause, is_out_of_reach, look_before, why_not};
use crate::error::{AttachError, Error};
use crate::id::Tid;
use crate::options::Options;
use crate::procfs::{self, Stat};
use crate::remote::{self, NewThread};
use crate::session::Session;
use crate::stop::Stop;
use crate::stopped::Stopped;
use crate::sys::{self, Scheduling, Take, Whom};
use crate::tracee::{Process, State};
use crate::wait::Wait;

/// A thread in a process, by which system calls are made in the process' name while the threads of its program run.
///
/// The program does not know of it; `/proc/PID/task` shows it, and it counts as a thread where the kernel counts them
/// (`RLIMIT_NPROC`, unshare(2) of a user namespace). Keep it no longer than it is needed. While it is there, the tracer's
/// thread must not wait for other tracees: they would take each other's events.
///
/// Dropping it ends it, as [`recall`](Self::recall) does.
#[derive(Debug)]
pub struct Envoy {
    session: Session,
    stopped: Option<Stopped>,
    tid: Tid,
    /// What it is scheduled by when it has time.
    own: Option<Scheduling>,
}

/// There is no envoy. The process is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoEnvoy {
    /// No thread of the process can be seized.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A request failed.
    #[error(transparent)]
    Trace(#[from] Error),
    /// The kernel made no thread: `EAGAIN`, the process has as many as it may have.
    #[error("clone in the name of pid {pid}")]
    Clone {
        /// The process.
        pid: Tid,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread is under a seccomp filter, which may kill its process for clone(2), or for what else an envoy is there for.
    #[error("tid {tid} is under a seccomp filter, which may forbid what is needed")]
    Filtered {
        /// The thread.
        tid: Tid,
    },
    /// No thread of the process can be stopped at once: all are stopped already, asleep where nothing interrupts them, or under a seccomp filter.
    #[error("pid {pid} has no thread that can be interrupted")]
    NobodyRuns {
        /// The process.
        pid: Tid,
    },
}

impl Envoy {
    /// Sends one to a process that this thread does not trace. One of its threads is stopped for some
    /// 100 µs, and is not traced afterwards. If `pid` is a thread's id, its process is meant.
    ///
    /// # Errors
    /// See [`NoEnvoy`].
    pub fn to(pid: Tid) -> Result<Self, NoEnvoy> {
        let tgid = look_before(pid)?;
        let host = host(tgid).ok_or(NoEnvoy::NobodyRuns { pid: tgid })?;
        let mut session = Session::new(Options::new());
        sys::seize(host, 0).map_err(|error| AttachError {
            tid: host,
            reason: why_not(host, &error),
        })?;
        session.add(host, Process::new(tgid), State::Running);
        let (stopped, stop) = stop(&mut session, host, tgid)?;
        // Not before: a thread that it makes by itself is not to be ours.
        let traced = stopped.request("PTRACE_SETOPTIONS", |tid| {
            sys::set_options(tid, libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE)
        });
        let envoy = traced.map_err(NoEnvoy::from).and_then(|()| Self::from(&stopped));
        let _ = stopped.detach(stop.signal()); // it may have died, which is as good
        envoy
    }

    /// Sends one into the process of a stopped thread whose session follows its threads, as all do. The thread stays stopped.
    ///
    /// # Errors
    /// See [`NoEnvoy`].
    pub fn from(stopped: &Stopped) -> Result<Self, NoEnvoy> {
        if procfs::Status::of(stopped.tid())?.seccomp != 0 {
            return Err(NoEnvoy::Filtered { tid: stopped.tid() });
        }
        let NewThread { tid, own } = remote::make_thread(stopped)?.map_err(|value| NoEnvoy::Clone {
            pid: stopped.tgid(),
            source: io::Error::from_raw_os_error(i32::try_from(-value).unwrap_or(libc::EAGAIN)),
        })?;
        let mut session = Session::new(Options::new());
        session.add(tid, stopped.tracee().process(), State::New);
        match session.look_at(tid)? {
            Some(Wait::Stopped(stopped, _)) => Ok(Self {
                session,
                stopped: Some(stopped),
                tid,
                own,
            }),
            _ => Err(Error::Died { tid }.into()),
        }
    }

    /// The thread, stopped. System calls may be made in its name, and its process' memory be read and written; it must not be
    /// resumed, and it has no stack.
    ///
    /// # Panics
    /// Never: it is there until it is recalled.
    pub fn stopped(&self) -> &Stopped {
        match &self.stopped {
            Some(stopped) => stopped,
            None => unreachable!("it is taken by `recall` alone, which takes the envoy"),
        }
    }

    /// From now on it waits for a CPU like other threads of the process. One that is made while the tracer's thread is a realtime one
    /// ([`Haste`](crate::Haste)) is one, too, until then.
    pub fn take_time(&mut self) {
        if let Some(own) = self.own.take() {
            // It may have died, which is as good.
            let _ = own.apply(self.tid);
        }
    }

    /// Lets it end, and waits until it has. A death meanwhile is as good.
    pub fn recall(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(stopped) = self.stopped.take() else {
            return;
        };
        let _ = stopped.cont(None);
        // Its signals are blocked; a group-stop of its process is told all the same.
        while let Ok(report) = sys::wait(Whom::One(self.tid), Take::Peek, true) {
            let Some(report) = report else { continue };
            match self.session.on_report(report) {
                Ok(Some(Wait::Stopped(stopped, _))) => drop(stopped.cont(None)),
                Ok(Some(Wait::Exited(..))) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.end();
    }
}

/// A thread that can be interrupted at once and is under no filter: not the leader if that can be.
// QUIRK leader-of-an-exec: who waits for the leader alone, by its id, is not woken when another thread executes a program and takes that id
// over: the leader has the other's id when it wakes its tracer. Seen: Linux 6.18. Source: fs/exec.c, de_thread; kernel/exit.c,
// pid_child_should_wake. Drop when: unknown. Test: tests/tests/attach.rs, a_target_that_executes_itself.
fn host(tgid: Tid) -> Option<Tid> {
    // Who is under a filter cannot make an envoy, and is not to be stopped for nothing.
    let is_free = |tid: Tid| procfs::Status::of(tid).is_ok_and(|status| status.seccomp == 0);
    let can_stop =
        |tid: &Tid| Stat::of(*tid).is_ok_and(|stat| matches!(stat.state, 'R' | 'S')) && is_free(*tid);
    let threads = procfs::threads(tgid).ok()?;
    let mut candidates = threads.into_iter().filter(can_stop);
    let first = candidates.next()?;
    Some(if first == tgid {
        candidates.next().unwrap_or(first)
    } else {
        first
    })
}

/// Stops the one tracee of a session, a thread of process `tgid`.
fn stop(session: &mut Session, mut tid: Tid, tgid: Tid) -> Result<(Stopped, Stop), NoEnvoy> {
    session.interrupt(tid)?;
    let mut pause = Pause::default();
    loop {
        match session.look_at(tid)? {
            Some(Wait::Stopped(stopped, stop)) => return Ok((stopped, stop)),
            None if session.tracees.contains_key(&tid) => {}
            // It may have executed a program, and live on, still ours and asked to stop, under the leader's id.
            None if tid != tgid => {
                tid = tgid;
                session.add(tid, Process::new(tgid), State::Running);
            }
            _ => return Err(Error::Died { tid }.into()),
        }
        // It is seized, and cannot be let go before it stops: a session that seizes its process takes it over.
        if pause.long() && is_out_of_reach(tid) {
            return Err(NoEnvoy::NobodyRuns { pid: tgid });
        }
        pause.rest();
    }
}
