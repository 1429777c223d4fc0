//! Sets of CPUs, and the hand-off on one CPU.
//!
//! Waking a thread on another, idle CPU costs several times what a stop costs otherwise. A thread that may
//! run on one CPU only is woken there: so its affinity is narrowed to the tracer's CPU, it is resumed, and its
//! own affinity is put back before the tracer sleeps and leaves it that CPU.
//!
//! The program must not see that. It would if the thread ran between the two: the scheduler may let a thread that
//! wakes, or any other, run in place of the one that woke it. With a tracer of the usual policy that was seen within
//! some thousand stops on a busy machine (Linux 6.18). So the tracer's thread becomes a realtime one of the
//! lowest priority (`SCHED_FIFO` 1): no thread of a usual policy runs on a CPU while a realtime thread
//! can, and threads of other policies are not handed over. Where the kernel refuses that (it takes
//! `CAP_SYS_NICE` or `RLIMIT_RTPRIO`), there is no hand-off.
//!
//! What remains: another thread that asks for the affinity of this one in the two microseconds, or sets it, and a
//! `kill -9` of the tracer in them, after which the thread keeps to one CPU.

use std::io;

use crate::id::Tid;
use crate::sys::{self, Scheduling};
use crate::tracee::Tracee;

/// How many CPUs a set can name; machines with more are traced without the hand-off.
const MAX_CPUS: usize = 1024;
const WORDS: usize = MAX_CPUS / 64;

/// A set of CPUs, as `sched_setaffinity(2)` takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuSet {
    words: [u64; WORDS],
}

impl CpuSet {
    /// Every CPU. To set it is to lift every restriction but the cpuset's (cpuset(7)).
    pub const ALL: Self = Self {
        words: [u64::MAX; WORDS],
    };

    /// One CPU; none if its number is past what a set can name.
    #[must_use]
    pub const fn only(cpu: usize) -> Self {
        let mut words = [0; WORDS];
        if cpu < MAX_CPUS {
            words[cpu / 64] = 1 << (cpu % 64);
        }
        Self { words }
    }

    /// The CPUs on which `tid` may run.
    ///
    /// # Errors
    /// There is no such thread, or the machine has more CPUs than a set can name (`EINVAL`).
    pub fn of(tid: Tid) -> io::Result<Self> {
        let mut words = [0; WORDS];
        sys::affinity(tid, &mut words)?;
        Ok(Self { words })
    }

    /// Lets `tid` run on these CPUs only.
    ///
    /// # Errors
    /// There is no such thread, it is another user's, or its cpuset has none of them.
    pub fn apply(&self, tid: Tid) -> io::Result<()> {
        sys::set_affinity(tid, &self.words)
    }

    /// Whether `cpu` is among them.
    #[must_use]
    pub const fn contains(&self, cpu: usize) -> bool {
        cpu < MAX_CPUS && self.words[cpu / 64] & 1 << (cpu % 64) != 0
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The hand-off of a session that has it on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandOff {
    cpu: usize,
    /// That CPU alone.
    narrow: CpuSet,
    /// The tracer's own affinity, for when it is turned off.
    tracer: CpuSet,
    /// The tracer's own scheduling.
    scheduling: Scheduling,
}

impl HandOff {
    /// Makes the calling thread a realtime one and pins it to the CPU on which it runs.
    pub(crate) fn on() -> io::Result<Self> {
        let tid = sys::gettid();
        let tracer = CpuSet::of(tid)?;
        let scheduling = Scheduling::of(tid)?;
        let cpu = sys::current_cpu()?;
        let narrow = CpuSet::only(cpu);
        Scheduling::REALTIME.apply(tid)?;
        narrow.apply(tid).inspect_err(|_| drop(scheduling.apply(tid)))?;
        Ok(Self {
            cpu,
            narrow,
            tracer,
            scheduling,
        })
    }

    /// Gives a command that was started by the pinned tracer the affinity that the tracer had before.
    pub(crate) fn give_tracers_own(&self, child: Tid) {
        if let Some(own) = learn(child, self.tracer) {
            put_back(child, &own);
        }
    }

    pub(crate) fn off(&self) -> io::Result<()> {
        let tid = sys::gettid();
        self.scheduling.apply(tid)?;
        self.tracer.apply(tid)
    }
}

/// As long as it is there, the calling thread is a realtime one of the lowest priority: no thread that it lets run, and no other
/// program, takes its CPU while it holds the rest of a process. So is a thread that makes a system call in its name, while it does, and waits for
/// no CPU either (README). Drop it on the same thread, and soon.
///
/// Where the kernel refuses that (`CAP_SYS_NICE`, `RLIMIT_RTPRIO`), or the thread is a realtime one already, nothing is changed.
#[derive(Debug)]
pub struct Haste {
    own: Option<Scheduling>,
    _one_thread: std::marker::PhantomData<*const ()>,
}

impl Haste {
    /// Begins it.
    #[must_use]
    pub fn begin() -> Self {
        let tid = sys::gettid();
        let own = sys::yields_to_realtime(tid)
            .then(|| Scheduling::of(tid).ok())
            .flatten();
        Self {
            own: own.filter(|_| Scheduling::REALTIME.apply(tid).is_ok()),
            _one_thread: std::marker::PhantomData,
        }
    }
}

impl Haste {
    /// Whether the calling thread is a realtime one, by this or already before.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.own.is_some() || !sys::yields_to_realtime(sys::gettid())
    }
}

impl Drop for Haste {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            // To be less than it may be is allowed to everybody.
            let _ = own.apply(sys::gettid());
        }
    }
}

/// A thread's own affinity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnMask {
    /// As `sched_getaffinity(2)` showed it.
    seen: CpuSet,
    /// What to set so that it is as it was.
    restore: CpuSet,
    /// At how many stops to come the thread's scheduling policy is not asked for again.
    trusted: u8,
}

/// After how many stops a thread's policy is asked for again. One that becomes a realtime thread in
/// between may run before its mask is put back, and see it: as rare as that, and it is no harm.
const TRUSTED_STOPS: u8 = 63;

/// Calls `resume`, which resumes `tracee`, so that it wakes on the tracer's CPU if it may run there and elsewhere.
pub(crate) fn hand_over(tracee: &Tracee, resume: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let hand_off = tracee.shared.hand_off.borrow();
    let Some(hand_off) = hand_off.as_ref() else {
        return resume();
    };
    let Some(own) = narrow(tracee, hand_off) else {
        return resume();
    };
    let result = resume();
    put_back(tracee.tid, &own);
    result
}

/// Narrows the thread's affinity; `None` where that is refused or pointless.
fn narrow(tracee: &Tracee, hand_off: &HandOff) -> Option<OwnMask> {
    // The mask is read each time: the program, taskset(1) or a cpuset may have changed it since, and a
    // stale one put back would undo that.
    let seen = CpuSet::of(tracee.tid).ok()?;
    if !seen.contains(hand_off.cpu) || seen == hand_off.narrow {
        return None;
    }
    let mut known = tracee.own_mask.borrow_mut();
    let mut own = match *known {
        Some(own) if own.seen == seen => own,
        _ => learn(tracee.tid, seen)?,
    };
    if own.trusted == 0 && !sys::yields_to_realtime(tracee.tid) {
        return None;
    }
    own.trusted = own.trusted.checked_sub(1).unwrap_or(TRUSTED_STOPS);
    *known = Some(own);
    hand_off.narrow.apply(tracee.tid).ok()?;
    Some(own)
}

/// Finds out whether the mask is the thread's own or all that its cpuset allows. The kernel keeps what was set
/// and applies it within every later cpuset: a thread that nobody restricted must not be bound to
/// what its cpuset happens to be today, since containers get theirs changed while they run.
fn learn(tid: Tid, seen: CpuSet) -> Option<OwnMask> {
    CpuSet::ALL.apply(tid).ok()?;
    let restore = match CpuSet::of(tid) {
        Ok(all) if all == seen => CpuSet::ALL,
        _ => {
            seen.apply(tid).ok()?;
            seen
        }
    };
    Some(OwnMask {
        seen,
        restore,
        trusted: 0,
    })
}

fn put_back(tid: Tid, own: &OwnMask) {
    if own.restore.apply(tid).is_err() {
        // The thread died, or its cpuset changed in this instant and has none of these CPUs any more: all
        // that the cpuset allows is then what the kernel itself would give it.
        let _ = CpuSet::ALL.apply(tid);
    }
}

/// Gives a newborn its parent's own affinity, if it was started while the parent's was narrowed.
pub(crate) fn fix_newborn(child: Tid, parent: &Tracee) {
    let hand_off = parent.shared.hand_off.borrow();
    let (Some(hand_off), Some(own)) = (hand_off.as_ref(), *parent.own_mask.borrow()) else {
        return;
    };
    if CpuSet::of(child).is_ok_and(|mask| mask == hand_off.narrow) && own.seen != hand_off.narrow {
        put_back(child, &own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_its_cpus_and_no_other() {
        let set = CpuSet::only(65);
        assert!(set.contains(65) && !set.contains(64) && !set.contains(1) && !set.contains(MAX_CPUS));
        assert_eq!(set.len(), 1);
        assert!(CpuSet::only(MAX_CPUS).is_empty());
    }
}
