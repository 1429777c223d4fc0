//! Processes that put themselves under a seccomp filter while they are traced.
//!
//! The filter may kill for every system call that the program does not make itself: those in its name, of recording code, and the kernel's own
//! `restart_syscall(2)`. So each of the first asks (`code::system_call`), recording code makes none from then on, and calls that a stop has
//! interrupted are made again as they were (`Stopped::restart_whole`).
//!
//! That a filter comes is seen at the functions by which programs install one, before it is there. One that is installed in another way is found
//! when processes are looked at, some time later.

use std::time::{Duration, Instant};

use arch_abi::Regs;
use ptrace_core::{Memory, Stop, Stopped, Tid, procfs};

use super::Tracer;
use super::sigtrap::{Watched, argument};
use super::space::Space;

/// How often processes are looked at whose calls are recorded.
const LOOK: Duration = Duration::from_millis(50);

/// The first argument of prctl(2) that installs a filter (`linux/prctl.h`).
const PR_SET_SECCOMP: u64 = 22;

/// Whether system calls may be made in the name of a thread: one under a filter may be killed for them.
pub(super) fn may_call(tid: Tid) -> bool {
    procfs::Status::of(tid).is_ok_and(|status| status.seccomp == 0)
}

/// Whether a thread is under a filter. One that has died meanwhile is not.
pub(super) fn is_filtered(tid: Tid) -> bool {
    procfs::Status::of(tid).is_ok_and(|status| status.seccomp != 0)
}

/// Sees to it that going on does not kill a thread that this stop may have taken out of a system call.
pub(super) fn spare(stopped: &Stopped, stop: Stop) {
    if matches!(stop, Stop::Interrupt | Stop::SignalDelivery(_) | Stop::Group(_)) {
        // Who has died needs nothing.
        let _: Result<bool, _> = stopped.restart_whole();
    }
}

impl Watched {
    /// Whether the call that begins at these registers installs a filter.
    pub(super) fn restricts(self, regs: &Regs, memory: &Memory) -> bool {
        match self {
            Self::Prctl => {
                argument(regs, memory, 0).is_none_or(|option| option & 0xffff_ffff == PR_SET_SECCOMP)
            }
            Self::Filter => true,
            Self::Signal | Self::Mask | Self::OldMask => false,
        }
    }
}

impl Space {
    /// From now on the process' recording code makes no system call.
    pub(super) fn restrict(&mut self, tgid: Tid) {
        if let Some(fast) = &mut self.fast
            && fast.restrict(&self.memory)
        {
            tracing::debug!(pid = %tgid, "it may be under a seccomp filter: calls are recorded without system calls");
        }
    }
}

/// When processes are looked at.
#[derive(Debug, Default)]
pub(super) struct Look(Option<Instant>);

impl Look {
    /// Whether it is time, which it is not for a while then.
    fn is_due(&mut self) -> bool {
        let is_due = self.0.is_none_or(|last| last.elapsed() >= LOOK);
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}

impl Tracer {
    /// Looks for filters that were not seen to come.
    pub(super) fn look_for_filters(&mut self) {
        if !self.filters_look.is_due() {
            return;
        }
        for (&tgid, process) in &self.processes {
            let mut space = process.space.borrow_mut();
            if space.fast.as_ref().is_some_and(|fast| !fast.is_restricted()) && is_filtered(tgid) {
                space.restrict(tgid);
            }
        }
    }
}
