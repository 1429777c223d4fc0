//! Seizing and stopping processes that run.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use crate::error::{AttachError, AttachReason, Error};
use crate::id::Tid;
use crate::procfs::{self, Stat, Status};
use crate::reaper::while_reaping;
use crate::session::{Ready, Session};
use crate::stop::Stop;
use crate::stopped::Stopped;
use crate::sys;
use crate::tracee::State;
use crate::wait::{Wait, exit_status};

/// More looks at the list of threads than any process that is not out to fool us takes: each sees threads
/// that were born untraced since the one before, of untraced parents that are fewer each time.
const LOOKS: usize = 1000;

impl Session {
    /// Seizes all threads of process `pid`, also those born meanwhile, and gives their ids. They run
    /// on; [`stop_all`](Self::stop_all) stops them. If `pid` is a thread's id, its process is meant.
    ///
    /// # Errors
    /// See [`AttachError`]. Nothing stays seized then.
    pub fn seize_process(&mut self, pid: Tid) -> Result<Vec<Tid>, AttachError> {
        let tgid = look_before(pid)?;
        let mut seized = Vec::new();
        for _ in 0..LOOKS {
            let new = match self.seize_new_threads(tgid) {
                Ok(new) => new,
                Err(error) => {
                    self.release(tgid);
                    return Err(error);
                }
            };
            if new.is_empty() {
                break;
            }
            seized.extend(new);
        }
        if seized.is_empty() {
            return Err(AttachError {
                tid: pid,
                reason: why_not(pid, &io::Error::from_raw_os_error(libc::ESRCH)),
            });
        }
        Ok(seized)
    }

    /// Seizes the threads that are not ours yet.
    fn seize_new_threads(&mut self, tgid: Tid) -> Result<Vec<Tid>, AttachError> {
        let threads = procfs::threads(tgid).unwrap_or_default();
        let is_known = |tid: &Tid| self.tracees.contains_key(tid);
        if threads.len() == 1 || threads.iter().all(is_known) {
            return self.seize_those_of(tgid, threads);
        }
        let (seized, ends) = while_reaping(tgid, || self.seize_those_of(tgid, threads));
        for report in ends {
            self.forget(report.tid);
            if let Some(status) = exit_status(report) {
                self.ready.push_back(Ready::Exited(report.tid, status));
            }
        }
        seized
    }

    fn seize_those_of(&mut self, tgid: Tid, threads: Vec<Tid>) -> Result<Vec<Tid>, AttachError> {
        let mut new = Vec::new();
        for tid in threads {
            if self.tracees.contains_key(&tid) {
                continue;
            }
            let state = match self.seize_thread(tid) {
                Ok(()) => State::Running,
                Err(error) => match error.reason {
                    // Its parent was ours already when it was born, and the kernel gave it to us.
                    AttachReason::AlreadyTraced { tracer, .. } if tracer == sys::gettid() => State::New,
                    // Threads come and go; the leader may be gone before the others.
                    AttachReason::NoSuchProcess | AttachReason::Zombie { .. } => continue,
                    _ => return Err(error),
                },
            };
            let process = self.process(tgid);
            self.add(tid, process, state);
            new.push(tid);
        }
        Ok(new)
    }

    /// Seizes one thread.
    pub(crate) fn seize_thread(&self, tid: Tid) -> Result<(), AttachError> {
        /// How often a thread's id may change hands just then.
        const TRIES: usize = 8;
        let mut reason = None;
        for _ in 0..TRIES {
            let Err(error) = sys::seize(tid, self.options.bits()) else {
                return Ok(());
            };
            let why = reason.insert(why_not(tid, &error));
            // A leader that ends is refused without a reason that could still be found when another thread, by executing a program, has its id.
            if !matches!(why, AttachReason::Other { .. }) {
                break;
            }
        }
        let reason = reason.unwrap_or(AttachReason::NoSuchProcess);
        Err(AttachError { tid, reason })
    }

    /// Lets a process go that was seized in part.
    fn release(&mut self, tgid: Tid) {
        for (stopped, _) in self.stop_all(tgid).unwrap_or_default() {
            let thread = stopped.tid();
            let _ = stopped.detach(None); // it may have died, which is as good
            self.forget(thread);
        }
    }

    /// Stops all threads of process `tgid` that this session traces and that are not held
    /// already, and gives each with what stopped it: [`Stop::Interrupt`], or what came first. Ends seen
    /// meanwhile are returned by the next waits.
    ///
    /// A thread that sleeps in the kernel where it cannot be interrupted (a vfork's parent, a stuck disk)
    /// is not returned: it will report [`Stop::Interrupt`] before its next instruction, so
    /// its code and registers may be trusted to stand still, but it cannot be detached before. When
    /// the tracer's thread ends, the kernel lets it go.
    ///
    /// # Errors
    /// Waiting failed.
    pub fn stop_all(&mut self, tgid: Tid) -> Result<Vec<(Stopped, Stop)>, Error> {
        let mut stopped = Vec::new();
        let mut asked = HashSet::new();
        let mut pause = Pause::default();
        loop {
            let pending = self.to_stop(tgid);
            if pending.is_empty() {
                // A thread may have been on its way into the world, untraced, when its parent was seized
                // (kernel_clone decides whether a child is traced before it makes it). Now that all others
                // stand still, this one is in the list and makes no further ones unseen.
                match self.seize_new_threads(tgid) {
                    Ok(new) if !new.is_empty() => continue,
                    _ => break, // what cannot be seized is not ours to stop
                }
            }
            let mut progress = false;
            for &tid in &pending {
                progress |= self.stop_one(tid, asked.insert(tid), &mut stopped)?;
            }
            if progress {
                pause = Pause::default();
            } else if pause.long() && pending.iter().all(|&tid| is_out_of_reach(tid)) {
                break;
            } else {
                pause.rest();
            }
        }
        self.take_newborns(tgid, &mut stopped);
        Ok(stopped)
    }

    /// The threads that run.
    fn to_stop(&self, tgid: Tid) -> Vec<Tid> {
        let runs = |state| matches!(state, State::Running | State::New | State::Listening);
        self.tracees
            .values()
            .filter(|t| t.tgid() == tgid && runs(t.state.get()))
            .map(|t| t.tid)
            .collect()
    }

    /// Takes what one thread has to tell, or asks it to stop if it was not asked yet. Gives whether
    /// anything came of it.
    fn stop_one(&mut self, tid: Tid, ask: bool, stopped: &mut Vec<(Stopped, Stop)>) -> Result<bool, Error> {
        match self.look_at(tid)? {
            Some(Wait::Stopped(tracee, stop)) => stopped.push((tracee, stop)),
            Some(Wait::Exited(tid, status)) => self.ready.push_back(Ready::Exited(tid, status)),
            _ => {
                // A newborn stops by itself; asked all the same, it answers both by one stop, and
                // should it be one that an earlier session of this thread left behind, it stops, too.
                if ask {
                    match self.interrupt(tid) {
                        Ok(()) | Err(Error::Died { .. } | Error::NotTraced { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                return Ok(ask);
            }
        }
        Ok(true)
    }

    /// Threads that stopped at birth before their parents told of them: these stand still already.
    fn take_newborns(&mut self, tgid: Tid, stopped: &mut Vec<(Stopped, Stop)>) {
        let newborn: Vec<Tid> = self
            .tracees
            .values()
            .filter(|t| t.tgid() == tgid && t.state.get() == State::Early)
            .map(|t| t.tid)
            .collect();
        for tid in newborn {
            self.early.retain(|early| early.child != tid);
            self.ready.retain(|&ready| ready != Ready::Born(tid));
            let Some(tracee) = self.tracees.get(&tid).map(std::rc::Rc::clone) else {
                continue;
            };
            if let Wait::Stopped(tracee, stop) = self.born(&tracee, true) {
                stopped.push((tracee, stop));
            }
        }
    }
}

/// The rests between looks at threads that have not stopped yet.
#[derive(Default)]
pub(crate) struct Pause(u32);

impl Pause {
    /// Whether the threads had more time than a running thread takes to stop.
    pub(crate) const fn long(&self) -> bool {
        self.0 > 9
    }

    pub(crate) fn rest(&mut self) {
        self.0 = self.0.saturating_add(1);
        // A realtime tracer (see `cpus`) yields to no thread of its CPU but by sleeping, and when it wakes too early, one that is
        // about to stop there waits for it: that takes 20 µs.
        if self.0 < 2 {
            std::thread::yield_now();
        } else {
            std::thread::sleep(Duration::from_micros(25 << (self.0 - 2).min(7)));
        }
    }
}

/// Whether a thread cannot stop now: it sleeps uninterruptibly, or is a leader that ended before its threads.
pub(crate) fn is_out_of_reach(tid: Tid) -> bool {
    Stat::of(tid).map_or(true, |stat| matches!(stat.state, 'D' | 'Z' | 'X'))
}

/// The process of `pid`, unless it is one that must not be seized.
pub(crate) fn look_before(pid: Tid) -> Result<Tid, AttachError> {
    let fail = |reason| Err(AttachError { tid: pid, reason });
    if pid.raw() <= 0 {
        return fail(AttachReason::NoSuchProcess);
    }
    let Ok(status) = Status::of(pid) else {
        return fail(why_not(pid, &io::Error::from_raw_os_error(libc::ESRCH)));
    };
    let tgid = Tid::new(status.tgid);
    let me = Tid::new(std::process::id().cast_signed());
    if tgid == me {
        return fail(AttachReason::Myself);
    }
    if ancestors(me).any(|ancestor| ancestor == tgid) {
        return fail(AttachReason::Ancestor);
    }
    Ok(tgid)
}

/// More generations than any pid namespace has processes.
const GENERATIONS: usize = 1 << 22;

/// The ancestors of a process, as far as this pid namespace shows them.
fn ancestors(pid: Tid) -> impl Iterator<Item = Tid> {
    let parent = |tid: &Tid| procfs::parent(*tid).filter(|parent| parent.raw() > 0);
    std::iter::successors(parent(&pid), parent).take(GENERATIONS)
}

/// `CAP_SYS_PTRACE` as a bit of a capability set (capabilities(7)).
const CAP_SYS_PTRACE: u64 = 1 << 19;

/// Why the kernel refused to seize `tid` with `error`. It does not say, so the reasons are looked for in
/// the order in which it checks them (ptrace(2), "Ptrace access mode checking").
pub(crate) fn why_not(tid: Tid, error: &io::Error) -> AttachReason {
    let other = || AttachReason::Other {
        source: io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0)),
    };
    // It may have ended since it was refused as one that was ending.
    let Ok(target) = Status::of(tid) else {
        return AttachReason::NoSuchProcess;
    };
    if matches!(target.state, 'Z' | 'X') {
        return AttachReason::Zombie {
            parent: Tid::new(target.ppid),
        };
    }
    if error.raw_os_error() == Some(libc::ESRCH) {
        return AttachReason::NoSuchProcess;
    }
    if error.raw_os_error() != Some(libc::EPERM) && error.raw_os_error() != Some(libc::EACCES) {
        return other();
    }
    why_forbidden(tid, &target).unwrap_or_else(other)
}

fn why_forbidden(tid: Tid, target: &Status) -> Option<AttachReason> {
    if Stat::of(tid).is_ok_and(|stat| stat.is_kernel_thread()) {
        return Some(AttachReason::KernelThread);
    }
    if target.tgid == std::process::id().cast_signed() {
        return Some(AttachReason::Myself);
    }
    if target.tracer != 0 {
        let tracer = Tid::new(target.tracer);
        return Some(AttachReason::AlreadyTraced {
            tracer,
            name: printable_name(tracer),
        });
    }
    let own = Status::of(sys::gettid()).ok()?;
    let capable = own.capabilities & CAP_SYS_PTRACE != 0;
    let scope = yama_scope();
    if !capable && own.uid[1] != target.uid[0] {
        return Some(AttachReason::OtherUser {
            uid: target.uid[0],
            own_uid: own.uid[1],
        });
    }
    match scope {
        Some(scope @ 3..) => return Some(AttachReason::Yama { scope }),
        Some(scope @ 1..) if !capable => return Some(AttachReason::Yama { scope }),
        _ => {}
    }
    if own.seccomp == 2 && capable {
        return Some(AttachReason::Seccomp);
    }
    (!capable).then_some(AttachReason::MissingCapability)
}

fn yama_scope() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// A command name fit for a terminal: it is the target's choice.
fn printable_name(tid: Tid) -> Option<String> {
    let name = Status::of(tid).ok()?.name;
    Some(
        name.to_string_lossy()
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect(),
    )
}
