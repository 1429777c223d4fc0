//! The signals of the tracer itself.

use std::ffi::{c_int, c_long};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use super::{KERNEL_SIGSET, check};
use crate::id::Signal;
use crate::stopped::SignalSet;

/// The signals that the calling thread blocks.
pub(crate) fn blocked_signals() -> SignalSet {
    let mut mask = 0_u64;
    // SAFETY: with no new set, the kernel only writes its 8-byte `sigset_t` to `mask`
    // (rt_sigprocmask(2)).
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_BLOCK,
            ptr::null::<u64>(),
            &raw mut mask,
            KERNEL_SIGSET,
        )
    };
    SignalSet::from_bits(mask)
}

/// The signals that the process ignores.
pub(crate) fn ignored_signals() -> SignalSet {
    let mut ignored = SignalSet::EMPTY;
    for signal in Signal::all() {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: with no new action, sigaction(2) only writes to `action`; it fails for a number
        // that is no signal, and leaves the zeroes.
        let rc = unsafe { libc::sigaction(signal.raw(), ptr::null(), action.as_mut_ptr()) };
        // SAFETY: zeroes are a valid `sigaction`, and so is what the call wrote.
        if rc == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN {
            ignored.insert(signal);
        }
    }
    ignored
}

extern "C" fn nothing(_signal: c_int) {}

/// Makes `signal` interrupt the system calls of the calling thread and do nothing else. Fails with
/// `EBUSY` if the process handles it already, unless by this function.
pub(crate) fn handle_wake_signal(signal: Signal) -> io::Result<()> {
    let ours = nothing as extern "C" fn(c_int) as usize;
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action, sigaction(2) only writes to `old`.
    check(c_long::from(unsafe {
        libc::sigaction(signal.raw(), ptr::null(), old.as_mut_ptr())
    }))?;
    // SAFETY: sigaction(2) wrote it.
    let old = unsafe { old.assume_init() }.sa_sigaction;
    if old != libc::SIG_DFL && old != libc::SIG_IGN && old != ours {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: zeroes are a valid `sigaction`: an empty mask and no flags, so no SA_RESTART.
    let mut new: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    new.sa_sigaction = ours;
    // SAFETY: `new` is initialised, and its handler touches nothing, so it is safe in every state of
    // the program (signal-safety(7)).
    check(c_long::from(unsafe {
        libc::sigaction(signal.raw(), &raw const new, ptr::null_mut())
    }))?;
    let mask = 1_u64 << (signal.raw() - 1);
    // SAFETY: the kernel reads its 8-byte `sigset_t` from `mask` (rt_sigprocmask(2)).
    let rc = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_UNBLOCK,
            &raw const mask,
            ptr::null_mut::<u64>(),
            KERNEL_SIGSET,
        )
    };
    check(rc).map(drop)
}

/// The last realtime signal, as the C library counts.
pub(crate) fn sigrtmax() -> Signal {
    Signal::new(libc::SIGRTMAX())
}

/// The first realtime signal, as the C library counts.
pub(crate) fn sigrtmin() -> Signal {
    Signal::new(libc::SIGRTMIN())
}
