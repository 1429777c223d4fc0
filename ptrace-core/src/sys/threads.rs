//! Threads, their CPUs and their scheduling.

use std::ffi::c_int;
use std::io;

use super::check;
use crate::id::Tid;

pub(crate) fn gettid() -> Tid {
    // SAFETY: gettid(2) takes nothing and always succeeds.
    Tid::new(unsafe { libc::gettid() })
}

pub(crate) fn tgkill(process: Tid, tid: Tid, signal: i32) -> io::Result<()> {
    // SAFETY: tgkill(2) takes three numbers.
    let rc = unsafe { libc::syscall(libc::SYS_tgkill, process.raw(), tid.raw(), signal) };
    check(rc).map(drop)
}

/// Whether `tid` is a thread of `process`: signal 0 is sent to nobody, but the pair is looked up first
/// (tgkill(2), ESRCH), before any permission.
pub(crate) fn is_thread_of(process: Tid, tid: Tid) -> bool {
    tgkill(process, tid, 0).err().and_then(|e| e.raw_os_error()) != Some(libc::ESRCH)
}

/// The CPU on which the calling thread runs.
pub(crate) fn current_cpu() -> io::Result<usize> {
    // SAFETY: sched_getcpu(3) takes nothing.
    let cpu = unsafe { libc::sched_getcpu() };
    usize::try_from(cpu).map_err(|_| io::Error::last_os_error())
}

/// `sched_getaffinity(2)` of the kernel: fills `words` and gives how many of them it wrote.
pub(crate) fn affinity(tid: Tid, words: &mut [u64]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most the given number of bytes to `words`.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_sched_getaffinity,
            tid.raw(),
            size_of_val(words),
            words.as_mut_ptr(),
        )
    };
    let bytes = usize::try_from(check(rc)?).unwrap_or(0);
    Ok(bytes.div_ceil(size_of::<u64>()).min(words.len()))
}

pub(crate) fn set_affinity(tid: Tid, words: &[u64]) -> io::Result<()> {
    // SAFETY: the kernel reads the given number of bytes from `words` (sched_setaffinity(2)).
    let rc = unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            tid.raw(),
            size_of_val(words),
            words.as_ptr(),
        )
    };
    check(rc).map(drop)
}

/// A thread's scheduling policy and static priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scheduling {
    policy: c_int,
    priority: c_int,
}

impl Scheduling {
    /// The lowest realtime priority, which a fork does not inherit (sched(7), "`SCHED_FIFO`" and
    /// "Resetting scheduling policy for child processes").
    pub(crate) const REALTIME: Self = Self {
        policy: libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
        priority: 1,
    };

    /// The same for a thread that gets its own back: that would not be allowed to take the flag back.
    pub(crate) const LENT: Self = Self {
        policy: libc::SCHED_FIFO,
        priority: 1,
    };

    /// The policy's number, without its flag.
    pub(crate) const fn policy(self) -> u32 {
        (self.policy & !libc::SCHED_RESET_ON_FORK).unsigned_abs()
    }

    /// Whether its threads never run on a CPU while a realtime thread can.
    pub(crate) const fn is_usual(self) -> bool {
        const USUAL: [c_int; 3] = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE];
        let policy = self.policy & !libc::SCHED_RESET_ON_FORK;
        policy == USUAL[0] || policy == USUAL[1] || policy == USUAL[2]
    }

    /// Whether a thread that it makes has the usual one.
    pub(crate) const fn resets_on_fork(self) -> bool {
        self.policy & libc::SCHED_RESET_ON_FORK != 0
    }

    pub(crate) fn of(tid: Tid) -> io::Result<Self> {
        let mut param = libc::sched_param { sched_priority: 0 };
        // SAFETY: the kernel writes one `struct sched_param` to `param` (sched_getparam(2)).
        let rc = unsafe { libc::syscall(libc::SYS_sched_getparam, tid.raw(), &raw mut param) };
        check(rc)?;
        // SAFETY: sched_getscheduler(2) takes a number.
        let policy = check(unsafe { libc::syscall(libc::SYS_sched_getscheduler, tid.raw()) })?;
        let policy = c_int::try_from(policy).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        Ok(Self {
            policy,
            priority: param.sched_priority,
        })
    }

    pub(crate) fn apply(self, tid: Tid) -> io::Result<()> {
        let param = libc::sched_param {
            sched_priority: self.priority,
        };
        // SAFETY: the kernel reads one `struct sched_param` from `param` (sched_setscheduler(2)).
        let rc = unsafe {
            libc::syscall(
                libc::SYS_sched_setscheduler,
                tid.raw(),
                self.policy,
                &raw const param,
            )
        };
        check(rc).map(drop)
    }
}

/// Whether the thread's scheduling policy is one whose threads never run while a realtime thread can.
pub(crate) fn yields_to_realtime(tid: Tid) -> bool {
    Scheduling::of(tid).is_ok_and(Scheduling::is_usual)
}

/// Whether the threads of a process may be realtime ones for a limited time only (`RLIMIT_RTTIME` of getrlimit(2)), or that cannot be told.
pub(crate) fn limits_realtime(process: Tid) -> bool {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: with no new limit, the kernel writes one `struct rlimit64` to `limit` (prlimit(2)).
    let rc = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            process.raw(),
            libc::RLIMIT_RTTIME,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    };
    rc == -1 || limit.rlim_cur != libc::RLIM64_INFINITY
}
