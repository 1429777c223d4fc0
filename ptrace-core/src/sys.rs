//! All calls into the C library and the kernel, each as a safe function.
#![allow(
    unsafe_code,
    reason = "the one file of this crate that may; each block is argued"
)]

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_long, c_void};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use arch_abi::Addr;

use crate::command::User;
use crate::id::{Signal, Tid};
use crate::stopped::SignalSet;

/// `siginfo_t` has 128 bytes on every architecture (`SI_MAX_SIZE`, <asm-generic/siginfo.h>).
pub(crate) type RawSigInfo = [u64; 16];

/// The bytes of the kernel's `sigset_t` (not the C library's): 64 signals.
const KERNEL_SIGSET: usize = 8;

#[cfg(target_env = "musl")]
type Request = c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// Gives `errno` if `rc` is -1.
fn check(rc: c_long) -> io::Result<c_long> {
    if rc == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}

// --- ptrace(2) -----------------------------------------------------------------------------------

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

// --- waitid(2) -----------------------------------------------------------------------------------

/// Whom to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whom {
    Anyone,
    One(Tid),
}

/// What waitid(2) told of one thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    pub(crate) tid: Tid,
    /// `CLD_*`.
    pub(crate) code: i32,
    /// The exit status, the signal that killed, or the stop's signal and event.
    pub(crate) status: i32,
}

/// What to do with the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Take {
    /// Any report; it stays to be told again (`WNOWAIT`).
    Peek,
    /// Consumes the report of a stop.
    Stop,
    /// Consumes the report of an end.
    Exit,
}

/// Waits for whom this thread traces or has as a child; `block`: sleeps until there is a report.
/// `None`: there is none, or (`EINTR`) a signal came.
pub(crate) fn wait(whom: Whom, take: Take, block: bool) -> io::Result<Option<Report>> {
    let (kind, id) = match whom {
        Whom::Anyone => (libc::P_ALL, 0),
        Whom::One(tid) => (libc::P_PID, tid.raw().cast_unsigned()),
    };
    let mut flags = libc::__WALL | libc::__WNOTHREAD;
    flags |= match take {
        Take::Peek => libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT,
        Take::Stop => libc::WSTOPPED,
        Take::Exit => libc::WEXITED,
    };
    if !block {
        flags |= libc::WNOHANG;
    }
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the kernel writes one `siginfo_t` to `info` (waitid(2)).
    let rc = unsafe { libc::waitid(kind, id, info.as_mut_ptr(), flags) };
    if rc == -1 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted {
            Ok(None)
        } else {
            Err(error)
        };
    }
    // SAFETY: all-zero bytes are a valid `siginfo_t`, and so is what waitid filled in.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid(2) fills si_pid and si_status, or leaves them zero as they were.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok((pid != 0).then_some(Report {
        tid: Tid::new(pid),
        code: info.si_code,
        status,
    }))
}

// --- memory --------------------------------------------------------------------------------------

/// `process_vm_readv(2)`: fills the buffers one after the other from the addresses beside them, and gives how
/// many bytes came. Ranges past the first [`READ_BATCH`] are left out.
pub(crate) fn read_memory(tid: Tid, ranges: &mut [(Addr, &mut [u8])]) -> io::Result<usize> {
    let mut local = [libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }; READ_BATCH];
    let mut remote = local;
    let count = ranges.len().min(READ_BATCH);
    for (i, (at, buf)) in ranges.iter_mut().take(READ_BATCH).enumerate() {
        let Ok(start) = usize::try_from(at.get()) else {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        };
        local[i] = libc::iovec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: buf.len(),
        };
        remote[i] = libc::iovec {
            iov_base: ptr::without_provenance_mut(start),
            iov_len: buf.len(),
        };
    }
    // SAFETY: the first `count` entries of `local` describe the exclusively borrowed buffers of
    // `ranges`, which outlive the call; `remote` holds addresses of the other process, which the
    // kernel checks (process_vm_readv(2)).
    let done = unsafe {
        libc::process_vm_readv(
            tid.raw(),
            local.as_ptr(),
            count as libc::c_ulong,
            remote.as_ptr(),
            count as libc::c_ulong,
            0,
        )
    };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// The most ranges that one [`read_memory`] takes.
pub(crate) const READ_BATCH: usize = 16;

// --- threads, CPUs -------------------------------------------------------------------------------

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
    // SAFETY: sched_getscheduler(2) takes a number.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, tid.raw()) };
    let normal = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE];
    normal
        .iter()
        .any(|&n| c_long::from(n) == policy & !c_long::from(libc::SCHED_RESET_ON_FORK))
}

// --- signals of the tracer -----------------------------------------------------------------------

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

// --- users ---------------------------------------------------------------------------------------

pub(crate) fn lookup_user(name: &str) -> io::Result<User> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("no user {name:?}"));
    let c_name = CString::new(name).map_err(|_| unknown())?;
    if let Some(user) = passwd(|entry, buf, result| {
        // SAFETY: `passwd` gives pointers that are valid for what getpwnam_r(3) writes.
        unsafe { libc::getpwnam_r(c_name.as_ptr(), entry, buf.as_mut_ptr(), buf.len(), result) }
    })? {
        return Ok(user);
    }
    let uid: libc::uid_t = name.parse().map_err(|_| unknown())?;
    passwd(|entry, buf, result| {
        // SAFETY: `passwd` gives pointers that are valid for what getpwuid_r(3) writes.
        unsafe { libc::getpwuid_r(uid, entry, buf.as_mut_ptr(), buf.len(), result) }
    })?
    .ok_or_else(unknown)
}

/// The largest entry of the user database that is read.
const MAX_PASSWD: usize = 1 << 20;

fn passwd(
    lookup: impl Fn(*mut libc::passwd, &mut [c_char], *mut *mut libc::passwd) -> c_int,
) -> io::Result<Option<User>> {
    let mut buf = vec![0; 1024];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::zeroed();
        let mut result = ptr::null_mut();
        match lookup(entry.as_mut_ptr(), &mut buf, &raw mut result) {
            0 if result.is_null() => return Ok(None),
            0 => {}
            libc::ERANGE if buf.len() < MAX_PASSWD => {
                buf.resize(buf.len() * 2, 0);
                continue;
            }
            libc::ENOENT | libc::ESRCH => return Ok(None), // getpwnam(3), "ERRORS"
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
        // SAFETY: the call succeeded with a result, so it filled `entry`.
        let entry = unsafe { entry.assume_init() };
        // SAFETY: its strings are NUL-terminated and lie in `buf`, which lives.
        let (name, home) = unsafe { (CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir)) };
        return Ok(Some(User {
            uid: entry.pw_uid,
            gid: entry.pw_gid,
            groups: groups(name, entry.pw_gid)?,
            home: PathBuf::from(OsStr::from_bytes(home.to_bytes())),
        }));
    }
}

/// The most groups that a process may have (`NGROUPS_MAX`, setgroups(2)).
const MAX_GROUPS: usize = 65536;

fn groups(name: &CStr, gid: u32) -> io::Result<Vec<u32>> {
    let mut groups = vec![0; 64];
    loop {
        let mut count = c_int::try_from(groups.len()).unwrap_or(c_int::MAX);
        // SAFETY: `groups` has room for `count` entries, and the call writes no more
        // (getgrouplist(3)).
        let rc = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let needed = usize::try_from(count).unwrap_or(0);
        if rc >= 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        if groups.len() >= MAX_GROUPS {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        groups.resize(needed.max(groups.len() * 2).min(MAX_GROUPS), 0);
    }
}

// --- fork and exec -------------------------------------------------------------------------------

/// A pipe whose ends are close-on-exec: to read from, to write to.
pub(crate) fn pipe() -> io::Result<(File, File)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: pipe2(2) writes two descriptors to `fds`.
    check(c_long::from(unsafe {
        libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC)
    }))?;
    // SAFETY: the call succeeded: the two are open, and nobody else owns them.
    Ok(unsafe { (File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1])) })
}

/// All that the new process needs, made before the fork: after it, in a process that had other threads,
/// nothing may be allocated (signal-safety(7)).
pub(crate) struct Prepared<'a> {
    /// What to execute: each is tried in turn, as execvp(3) does.
    pub(crate) candidates: &'a [CString],
    pub(crate) args: &'a [CString],
    pub(crate) env: &'a [CString],
    pub(crate) cwd: Option<&'a CStr>,
    pub(crate) user: Option<&'a User>,
    pub(crate) blocked: SignalSet,
    pub(crate) ignored: SignalSet,
    /// The child goes on when a byte can be read from it, and ends at its end.
    pub(crate) go: &'a File,
    /// The other end of `go`, which the child closes, so that the tracer's death ends it, too.
    pub(crate) go_tracer: &'a File,
    /// Where the child writes why it failed: [`Failure`] as bytes.
    pub(crate) failed: &'a File,
}

/// What failed in the child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Step {
    Chdir = 1,
    Setgroups = 2,
    Setgid = 3,
    Setuid = 4,
    Exec = 5,
}

/// The bytes in which a child tells which step failed: the step, then `errno`.
pub(crate) const FAILURE_LEN: usize = 5;

/// Arrays of pointers for `execve`, made before the fork.
struct Vectors {
    args: Vec<*const c_char>,
    /// /bin/sh, the candidate (put in by the child), the arguments after the first.
    shell: Vec<*const c_char>,
    env: Vec<*const c_char>,
}

impl Vectors {
    fn new(prepared: &Prepared<'_>) -> Self {
        let pointers = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
        };
        let mut shell = vec![SHELL.as_ptr(), ptr::null()];
        shell.extend(pointers(prepared.args.get(1..).unwrap_or(&[])));
        Self {
            args: pointers(prepared.args),
            shell,
            env: pointers(prepared.env),
        }
    }
}

/// The shell to which execvp(3) gives what the kernel calls no program (`_PATH_BSHELL`).
const SHELL: &CStr = c"/bin/sh";

/// Forks a child that does what `prepared` says.
pub(crate) fn fork_exec(prepared: &Prepared<'_>) -> io::Result<Tid> {
    let mut vectors = Vectors::new(prepared);
    // SAFETY: the child calls only functions of signal-safety(7), on memory made before the fork, and
    // leaves by `execve` or `_exit`.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => child(prepared, &mut vectors),
        pid => Ok(Tid::new(pid)),
    }
}

/// The child's whole life before the program. Async-signal-safe: no allocation, no lock.
fn child(prepared: &Prepared<'_>, vectors: &mut Vectors) -> ! {
    // SAFETY: close(2) takes a number; this process does nothing more with the descriptor.
    unsafe { libc::close(prepared.go_tracer.as_raw_fd()) };
    let mut byte = 0_u8;
    loop {
        // SAFETY: read(2) writes at most one byte to `byte`.
        let got = unsafe { libc::read(prepared.go.as_raw_fd(), (&raw mut byte).cast::<c_void>(), 1) };
        if got == 1 {
            break;
        }
        if got == -1 && errno() == libc::EINTR {
            continue;
        }
        // SAFETY: _exit(2) takes a number. The tracer is gone.
        unsafe { libc::_exit(127) };
    }
    let step = match become_user(prepared) {
        Ok(()) => exec(prepared, vectors),
        Err(step) => step,
    };
    let errno = errno().to_le_bytes();
    let failure: [u8; FAILURE_LEN] = [step as u8, errno[0], errno[1], errno[2], errno[3]];
    // SAFETY: write(2) reads `FAILURE_LEN` bytes from `failure`, and _exit(2) takes a number. A failed
    // write tells the tracer as much as none: the pipe's end.
    unsafe {
        libc::write(prepared.failed.as_raw_fd(), failure.as_ptr().cast(), FAILURE_LEN);
        libc::_exit(127)
    }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn become_user(prepared: &Prepared<'_>) -> Result<(), Step> {
    if let Some(user) = prepared.user {
        // SAFETY: setgroups(2) reads `len` ids from `groups`; the others take a number. They are made as
        // raw system calls: the C library's would signal "all other threads" of a process that
        // has none after fork, taking locks that another thread may have held.
        unsafe {
            if libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()) == -1 {
                return Err(Step::Setgroups);
            }
            if libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) == -1 {
                return Err(Step::Setgid);
            }
            if libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) == -1 {
                return Err(Step::Setuid);
            }
        }
    }
    if let Some(cwd) = prepared.cwd {
        // SAFETY: `cwd` is NUL-terminated (chdir(2)).
        if unsafe { libc::chdir(cwd.as_ptr()) } == -1 {
            return Err(Step::Chdir);
        }
    }
    Ok(())
}

/// Sets dispositions and mask; the mask last, so that no handler of the tracer's runs here.
fn set_signals(prepared: &Prepared<'_>) {
    for signal in Signal::all() {
        // SAFETY: signal(2) with SIG_DFL or SIG_IGN takes numbers; the C library refuses those that it
        // keeps for itself, whose handlers execve resets anyway.
        unsafe {
            let to = if prepared.ignored.contains(signal) {
                libc::SIG_IGN
            } else {
                libc::SIG_DFL
            };
            libc::signal(signal.raw(), to);
        }
    }
    let mask = prepared.blocked.bits();
    // SAFETY: the kernel reads its 8-byte `sigset_t` from `mask` (rt_sigprocmask(2)).
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            ptr::null_mut::<u64>(),
            KERNEL_SIGSET,
        )
    };
}

/// Executes the first candidate that can be, as execvp(3) does; returns only with a failure.
fn exec(prepared: &Prepared<'_>, vectors: &mut Vectors) -> Step {
    set_signals(prepared);
    let mut denied = false;
    for candidate in prepared.candidates {
        exec_one(candidate, vectors);
        match errno() {
            libc::EACCES => denied = true,
            // execvp(3) of the C library goes on with the next after these.
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return Step::Exec,
        }
    }
    if denied {
        set_errno(libc::EACCES);
    } else if prepared.candidates.is_empty() {
        set_errno(libc::ENOENT);
    }
    Step::Exec
}

fn exec_one(candidate: &CStr, vectors: &mut Vectors) {
    // SAFETY: the path and the strings are NUL-terminated and live, the arrays end with a null pointer
    // (execve(2)).
    unsafe { libc::execve(candidate.as_ptr(), vectors.args.as_ptr(), vectors.env.as_ptr()) };
    if errno() == libc::ENOEXEC {
        vectors.shell[1] = candidate.as_ptr();
        // SAFETY: as above; the array has room for the candidate at index 1.
        unsafe { libc::execve(SHELL.as_ptr(), vectors.shell.as_ptr(), vectors.env.as_ptr()) };
    }
}

fn set_errno(errno: i32) {
    // SAFETY: the C library gives a pointer to this thread's `errno` (errno(3)).
    unsafe { *libc::__errno_location() = errno };
}
