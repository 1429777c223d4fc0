//! ptrace(2): each request that is made.

use std::io;
use std::ptr;

use super::{KERNEL_SIGSET, RawSigInfo, check};
use crate::id::{Signal, Tid};

#[cfg(target_env = "musl")]
type Request = std::ffi::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// # Safety
/// `addr` and `data` are what ptrace(2) says `request` takes: where it is a pointer, it is valid
/// for the reads or writes of the kernel.
unsafe fn ptrace(request: Request, tid: Tid, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: the caller promises what the kernel reads or writes through the arguments.
    let rc = unsafe { libc::ptrace(request, tid.raw(), addr, data) };
    check(rc).map(drop)
}

/// How to resume a tracee.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resume {
    Cont,
    Step,
    Syscall,
    Listen,
    Detach,
}

impl Resume {
    /// The request's name in ptrace(2).
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cont => "PTRACE_CONT",
            Self::Step => "PTRACE_SINGLESTEP",
            Self::Syscall => "PTRACE_SYSCALL",
            Self::Listen => "PTRACE_LISTEN",
            Self::Detach => "PTRACE_DETACH",
        }
    }
}

pub(crate) fn resume(tid: Tid, how: Resume, signal: Option<Signal>) -> io::Result<()> {
    let request = match how {
        Resume::Cont => libc::PTRACE_CONT,
        Resume::Step => libc::PTRACE_SINGLESTEP,
        Resume::Syscall => libc::PTRACE_SYSCALL,
        Resume::Listen => libc::PTRACE_LISTEN,
        Resume::Detach => libc::PTRACE_DETACH,
    };
    let signal = usize::try_from(signal.map_or(0, Signal::raw))
        .map_err(|_| io::Error::from_raw_os_error(libc::EIO))?;
    // SAFETY: these requests take a signal number as `data` and no pointer.
    unsafe { ptrace(request, tid, 0, signal) }
}

pub(crate) fn seize(tid: Tid, options: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SEIZE takes options as `data` and no pointer.
    unsafe { ptrace(libc::PTRACE_SEIZE, tid, 0, options.cast_unsigned() as usize) }
}

pub(crate) fn set_options(tid: Tid, options: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SETOPTIONS takes options as `data` and no pointer.
    unsafe { ptrace(libc::PTRACE_SETOPTIONS, tid, 0, options.cast_unsigned() as usize) }
}

pub(crate) fn interrupt(tid: Tid) -> io::Result<()> {
    // SAFETY: PTRACE_INTERRUPT takes nothing.
    unsafe { ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0) }
}

/// Fills `buf` from the register set `note` and gives how many bytes the kernel wrote.
pub(crate) fn get_regset(tid: Tid, note: i32, buf: &mut [u8]) -> io::Result<usize> {
    let mut iov = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    let note = usize::try_from(note).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: `iov` describes `buf`, which outlives the call; the kernel writes at most `iov_len`
    // bytes there and stores how many it wrote (ptrace(2), PTRACE_GETREGSET).
    unsafe { ptrace(libc::PTRACE_GETREGSET, tid, note, (&raw mut iov).addr_exposed())? };
    Ok(iov.iov_len.min(buf.len()))
}

pub(crate) fn set_regset(tid: Tid, note: i32, bytes: &[u8]) -> io::Result<()> {
    let mut iov = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let note = usize::try_from(note).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: `iov` describes `bytes`, from which the kernel only reads (ptrace(2),
    // PTRACE_SETREGSET); it writes `iov.iov_len` alone.
    unsafe { ptrace(libc::PTRACE_SETREGSET, tid, note, (&raw mut iov).addr_exposed()) }
}

pub(crate) fn poke_user(tid: Tid, offset: usize, value: u64) -> io::Result<()> {
    let value = usize::try_from(value).map_err(|_| io::Error::from_raw_os_error(libc::EIO))?;
    // SAFETY: PTRACE_POKEUSER takes an offset and a word, and no pointer.
    unsafe { ptrace(libc::PTRACE_POKEUSER, tid, offset, value) }
}

pub(crate) fn event_msg(tid: Tid) -> io::Result<u64> {
    let mut msg: libc::c_ulong = 0;
    // SAFETY: the kernel writes one `unsigned long` to `msg` (ptrace(2), PTRACE_GETEVENTMSG).
    unsafe { ptrace(libc::PTRACE_GETEVENTMSG, tid, 0, (&raw mut msg).addr_exposed())? };
    Ok(msg)
}

pub(crate) fn siginfo(tid: Tid) -> io::Result<RawSigInfo> {
    let mut info: RawSigInfo = [0; 16];
    // SAFETY: the kernel writes one `siginfo_t`, whose size and alignment `info` has (ptrace(2),
    // PTRACE_GETSIGINFO).
    unsafe { ptrace(libc::PTRACE_GETSIGINFO, tid, 0, (&raw mut info).addr_exposed())? };
    Ok(info)
}

pub(crate) fn set_siginfo(tid: Tid, info: &RawSigInfo) -> io::Result<()> {
    // SAFETY: the kernel reads one `siginfo_t` from `info` (ptrace(2), PTRACE_SETSIGINFO).
    unsafe {
        ptrace(
            libc::PTRACE_SETSIGINFO,
            tid,
            0,
            ptr::from_ref(info).addr_exposed(),
        )
    }
}

pub(crate) fn sigmask(tid: Tid) -> io::Result<u64> {
    let mut mask = 0_u64;
    // SAFETY: the kernel writes `addr` bytes, its `sigset_t`, to `mask` (ptrace(2),
    // PTRACE_GETSIGMASK).
    unsafe {
        ptrace(
            libc::PTRACE_GETSIGMASK,
            tid,
            KERNEL_SIGSET,
            (&raw mut mask).addr_exposed(),
        )?;
    };
    Ok(mask)
}

pub(crate) fn set_sigmask(tid: Tid, mask: u64) -> io::Result<()> {
    // SAFETY: the kernel reads `addr` bytes, its `sigset_t`, from `mask` (ptrace(2),
    // PTRACE_SETSIGMASK).
    unsafe {
        ptrace(
            libc::PTRACE_SETSIGMASK,
            tid,
            KERNEL_SIGSET,
            (&raw const mask).addr_exposed(),
        )
    }
}

/// `struct ptrace_syscall_info`, as words: its fields lie at multiples of eight bytes but for the
/// first word (`op`, padding, `arch`) and seccomp's last (ptrace(2), `PTRACE_GET_SYSCALL_INFO`).
pub(crate) fn syscall_info(tid: Tid) -> io::Result<[u64; 11]> {
    let mut info = [0_u64; 11];
    // SAFETY: the kernel writes at most `addr` bytes to `info` (PTRACE_GET_SYSCALL_INFO).
    unsafe {
        ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            tid,
            size_of_val(&info),
            (&raw mut info).addr_exposed(),
        )?;
    };
    Ok(info)
}

/// `PTRACE_GET_RSEQ_CONFIGURATION` (<linux/ptrace.h>, Linux 5.13).
const PTRACE_GET_RSEQ_CONFIGURATION: Request = 0x420f;

/// Where the thread's `struct rseq` lies; 0 if it registered none.
pub(crate) fn rseq_address(tid: Tid) -> io::Result<u64> {
    let mut config = [0_u64; 3];
    // SAFETY: the kernel writes at most `addr` bytes, a `struct ptrace_rseq_configuration` of 24 bytes whose
    // first word is the pointer, to `config`.
    unsafe {
        ptrace(
            PTRACE_GET_RSEQ_CONFIGURATION,
            tid,
            size_of_val(&config),
            (&raw mut config).addr_exposed(),
        )?;
    };
    Ok(config[0])
}

/// Pointers that go through ptrace's integer arguments.
trait Exposed {
    fn addr_exposed(self) -> usize;
}

impl<T> Exposed for *mut T {
    fn addr_exposed(self) -> usize {
        self.expose_provenance()
    }
}

impl<T> Exposed for *const T {
    fn addr_exposed(self) -> usize {
        self.expose_provenance()
    }
}
