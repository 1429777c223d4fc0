//! A tracee that is stopped, and what can be asked of it only then.

use std::io;
use std::rc::Rc;

use arch_abi::{Addr, FpRegs, Regs, SIGINFO_LEN};

use crate::error::{Error, Refused};
use crate::id::{Signal, Tid};
use crate::landing::{Room, Search};
use crate::memory::Memory;
use crate::stop::SyscallInfo;
use crate::sys::{self, Resume};
use crate::tracee::{Interrupt, State, Tracee};
use crate::{cpus, host, remote};

/// A stopped tracee. Only the session's waiting makes one; it moves, never copies, and
/// stays on its thread, because ptrace(2) serves only the tracing thread.
///
/// ```compile_fail,E0382
/// # fn f(tracee: ptrace_core::Stopped) -> Result<(), Box<dyn std::error::Error>> {
/// let running = tracee.cont(None)?;
/// tracee.regs()?; // the tracee runs: there are no registers to show
/// # Ok(()) }
/// ```
/// ```
/// # fn f(tracee: ptrace_core::Stopped) -> Result<(), Box<dyn std::error::Error>> {
/// tracee.regs()?;
/// let running = tracee.cont(None)?;
/// # Ok(()) }
/// ```
/// It cannot be resumed twice:
/// ```compile_fail,E0382
/// # fn f(tracee: ptrace_core::Stopped) -> Result<(), Box<dyn std::error::Error>> {
/// tracee.cont(None)?;
/// tracee.cont(None)?;
/// # Ok(()) }
/// ```
/// ```
/// # fn f(tracee: ptrace_core::Stopped) -> Result<(), Box<dyn std::error::Error>> {
/// tracee.cont(None)?;
/// # Ok(()) }
/// ```
/// And it stays on its thread:
/// ```compile_fail,E0277
/// # fn f(tracee: ptrace_core::Stopped) {
/// std::thread::spawn(move || drop(tracee));
/// # }
/// ```
/// ```
/// # fn f(tracee: ptrace_core::Stopped) {
/// (move || drop(tracee))();
/// # }
/// ```
#[must_use = "a stopped tracee stays stopped until it is resumed or detached"]
pub struct Stopped {
    tracee: Rc<Tracee>,
    /// Which of the tracee's stops this is. A tracee that is killed while it is held here, or
    /// whose id another thread took over by exec, is not the one that stopped.
    stop: u32,
}

/// A tracee that runs, or will report a stop to the next wait.
pub struct Running {
    tracee: Rc<Tracee>,
}

impl Running {
    /// Its thread id.
    #[must_use]
    pub fn tid(&self) -> Tid {
        self.tracee.tid
    }
}

/// What `PTRACE_GETSIGINFO` gave: a `siginfo_t`, raw, so that it can be given back unchanged.
#[derive(Clone, Copy)]
pub struct SigInfo(pub(crate) sys::RawSigInfo);

impl SigInfo {
    /// `si_code`: where the signal comes from, such as `SI_USER` (0) or `SI_KERNEL` (0x80); see
    /// sigaction(2).
    #[must_use]
    pub fn code(&self) -> i32 {
        // si_signo, si_errno and si_code are the first three ints (asm-generic/siginfo.h; MIPS differs).
        let [a, b, c, d, ..] = self.0[1].to_ne_bytes();
        i32::from_ne_bytes([a, b, c, d])
    }
}

impl SigInfo {
    /// The `siginfo_t` as ptrace(2) shows it: with the layout of the tracer's machine, whatever the tracee's.
    #[must_use]
    pub fn bytes(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// As much of it as the kernel uses.
    pub(crate) fn kernel_part(&self) -> [u8; SIGINFO_LEN] {
        let mut bytes = [0; SIGINFO_LEN];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

/// A set of signals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// All signals.
    pub const ALL: Self = Self(u64::MAX);

    /// The kernel's `sigset_t`: bit `n - 1` is signal `n`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The kernel's `sigset_t`.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    const fn bit(signal: Signal) -> u64 {
        match signal.raw() {
            n @ 1..=64 => 1 << (n - 1),
            _ => 0,
        }
    }

    /// Whether `signal` is in it.
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    /// Adds `signal`; a number that is no signal is in no set.
    pub const fn insert(&mut self, signal: Signal) {
        self.0 |= Self::bit(signal);
    }

    /// Removes `signal`.
    pub const fn remove(&mut self, signal: Signal) {
        self.0 &= !Self::bit(signal);
    }
}

/// `NT_PRXFPREG` (<elf.h>): i386's FXSAVE image; its `NT_PRFPREG` is the older FSAVE image.
const NT_PRXFPREG: i32 = 0x46e62b7f;
/// `NT_X86_XSTATE` (<elf.h>).
const NT_X86_XSTATE: i32 = 0x202;
/// The size of an XSAVE area without extensions: legacy region and header (Intel SDM, "XSAVE Area").
const MIN_XSTATE: usize = 4096;
/// More than any XSAVE area has (AMX's tiles included: 11 KiB).
const MAX_XSTATE: usize = 1 << 16;

impl Stopped {
    pub(crate) fn new(tracee: Rc<Tracee>) -> Self {
        let stop = tracee.stop.get();
        Self { tracee, stop }
    }

    pub(crate) fn tracee(&self) -> &Rc<Tracee> {
        &self.tracee
    }

    /// Its thread id.
    #[must_use]
    pub fn tid(&self) -> Tid {
        self.tracee.tid
    }

    /// The id of its process (thread group).
    #[must_use]
    pub fn tgid(&self) -> Tid {
        self.tracee.tgid()
    }

    /// Makes one request, unless this is not the thread that stopped any more.
    pub(crate) fn request<T>(
        &self,
        name: &'static str,
        call: impl FnOnce(Tid) -> io::Result<T>,
    ) -> Result<T, Error> {
        if self.tracee.state.get() != State::Stopped || self.tracee.stop.get() != self.stop {
            return Err(Error::Died { tid: self.tid() });
        }
        call(self.tid()).map_err(|source| Error::request(name, self.tid(), source))
    }

    /// The general registers, by one `PTRACE_GETREGSET` of `NT_PRSTATUS`.
    ///
    /// # Errors
    /// The thread died, or its registers belong to no known ABI.
    pub fn regs(&self) -> Result<Regs, Error> {
        let mut buf = [0; Regs::MAX_LEN];
        let len = self.request("PTRACE_GETREGSET(NT_PRSTATUS)", |tid| {
            sys::get_regset(tid, libc::NT_PRSTATUS, &mut buf)
        })?;
        Regs::from_regset(&buf[..len]).map_err(|source| Error::Registers {
            tid: self.tid(),
            source,
        })
    }

    /// Sets the general registers, by one `PTRACE_SETREGSET` of `NT_PRSTATUS`.
    ///
    /// # Errors
    /// The thread died, or the kernel refuses a value (a segment, an address past user space).
    pub fn set_regs(&self, regs: &Regs) -> Result<(), Error> {
        self.request("PTRACE_SETREGSET(NT_PRSTATUS)", |tid| {
            sys::set_regset(tid, libc::NT_PRSTATUS, regs.as_regset())
        })
    }

    /// Sets the program counter alone, by one `PTRACE_POKEUSER` where the host has it.
    ///
    /// # Errors
    /// The thread died.
    pub fn set_pc(&self, pc: Addr) -> Result<(), Error> {
        if let Some(offset) = host::USER_PC {
            return self.request("PTRACE_POKEUSER(pc)", |tid| sys::poke_user(tid, offset, pc.get()));
        }
        let mut regs = self.regs()?;
        regs.set_pc(pc);
        self.set_regs(&regs)
    }

    /// The floating-point and SSE registers.
    ///
    /// # Errors
    /// The thread died.
    pub fn fp_regs(&self) -> Result<FpRegs, Error> {
        let mut buf = [0; FpRegs::MAX_LEN];
        // An i386 tracee has both; only the FXSAVE image has the SSE registers.
        let len = match self.request("PTRACE_GETREGSET(NT_PRXFPREG)", |tid| {
            sys::get_regset(tid, NT_PRXFPREG, &mut buf)
        }) {
            Err(Error::Request { .. }) => self.request("PTRACE_GETREGSET(NT_PRFPREG)", |tid| {
                sys::get_regset(tid, libc::NT_PRFPREG, &mut buf)
            }),
            other => other,
        }?;
        FpRegs::from_regset(&buf[..len]).map_err(|source| Error::Registers {
            tid: self.tid(),
            source,
        })
    }

    /// The whole extended state (`NT_X86_XSTATE`: an XSAVE image in its standard form), into
    /// `buf`, which is cleared, grown as needed, and can be used again.
    ///
    /// # Errors
    /// The thread died, or the machine has no such register set.
    pub fn xstate(&self, buf: &mut Vec<u8>) -> Result<(), Error> {
        let mut room = MIN_XSTATE;
        loop {
            buf.clear();
            buf.resize(room, 0);
            let len = self.request("PTRACE_GETREGSET(NT_X86_XSTATE)", |tid| {
                sys::get_regset(tid, NT_X86_XSTATE, buf)
            })?;
            if len < room || room >= MAX_XSTATE {
                buf.truncate(len);
                return Ok(());
            }
            room *= 2; // the kernel fills what it is given, and does not tell how much more there is
        }
    }

    /// Sets the whole extended state.
    ///
    /// # Errors
    /// The thread died, or the image is malformed.
    pub fn set_xstate(&self, image: &[u8]) -> Result<(), Error> {
        self.request("PTRACE_SETREGSET(NT_X86_XSTATE)", |tid| {
            sys::set_regset(tid, NT_X86_XSTATE, image)
        })
    }

    /// The signal's `siginfo_t` at a signal-delivery-stop.
    ///
    /// # Errors
    /// The thread died, or its stop has none (`EINVAL`: a group-stop).
    pub fn siginfo(&self) -> Result<SigInfo, Error> {
        self.request("PTRACE_GETSIGINFO", sys::siginfo).map(SigInfo)
    }

    /// Sets the `siginfo_t` of the signal that the thread will get.
    ///
    /// # Errors
    /// The thread died, or its stop has none.
    pub fn set_siginfo(&self, info: &SigInfo) -> Result<(), Error> {
        self.request("PTRACE_SETSIGINFO", |tid| sys::set_siginfo(tid, &info.0))
    }

    /// The signals that the thread blocks.
    ///
    /// # Errors
    /// The thread died.
    pub fn sigmask(&self) -> Result<SignalSet, Error> {
        self.request("PTRACE_GETSIGMASK", sys::sigmask).map(SignalSet)
    }

    /// Sets the signals that the thread blocks.
    ///
    /// # Errors
    /// The thread died.
    pub fn set_sigmask(&self, mask: SignalSet) -> Result<(), Error> {
        self.request("PTRACE_SETSIGMASK", |tid| sys::set_sigmask(tid, mask.0))
    }

    /// The message of the last event (`PTRACE_GETEVENTMSG`).
    ///
    /// # Errors
    /// The thread died.
    pub fn event_msg(&self) -> Result<u64, Error> {
        self.request("PTRACE_GETEVENTMSG", sys::event_msg)
    }

    /// Where in a system call the thread stands.
    ///
    /// # Errors
    /// The thread died, or the kernel is older than 5.3 (`EIO`).
    pub fn syscall_info(&self) -> Result<SyscallInfo, Error> {
        self.request("PTRACE_GET_SYSCALL_INFO", sys::syscall_info)
            .map(|words| SyscallInfo::from_words(&words))
    }

    /// The memory of its process.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory::new(self.tid(), Rc::clone(&self.tracee.process.borrow().space))
    }

    /// Makes one system call in the thread's name and gives what it returned: a value, or a
    /// negated `errno` (-4095 to -1), which belongs to the call, not to the tracer. The
    /// README tells what is restored, and how.
    ///
    /// # Errors
    /// The thread died; [`Error::InSyscall`]; [`Error::NoSyscallInstruction`].
    pub fn remote_syscall(&self, nr: u64, args: [u64; 6]) -> Result<i64, Error> {
        remote::syscall(self, nr, args)
    }

    /// Gives `len` bytes of the process' memory at `at` to remote system calls, instead of those at the end of the vDSO,
    /// for the code by which a thread finds its way back when the tracer is killed (README). They must be
    /// executable, may be read-only, hold zeros, and stay the session's until it leaves the process;
    /// [`LANDING_LEN`](arch_abi::LANDING_LEN) bytes serve one thread at a time. Gives whether there is room for one.
    #[must_use = "false: the memory is not used"]
    pub fn lend_landing(&self, at: Addr, len: usize) -> bool {
        let room = Room::lent(at, len);
        if room.is_some() {
            self.memory().space().landing.set(Search::Done(room));
        }
        room.is_some()
    }

    /// Resumes the thread, which gets `signal` if it is at a signal-delivery-stop. If the
    /// session hands over ([`Session::set_hand_off`](crate::Session::set_hand_off)), on the tracer's CPU. If it stops at
    /// system calls ([`Options::stop_at_syscalls`](crate::Options::stop_at_syscalls)), until the next one at most.
    ///
    /// # Errors
    /// The thread died, or the kernel knows no such signal.
    pub fn cont(self, signal: Option<Signal>) -> Result<Running, Refused> {
        let how = if self.tracee.shared.syscalls {
            Resume::Syscall
        } else {
            Resume::Cont
        };
        self.resume(how, signal, State::Running)
    }

    /// Resumes the thread for one instruction.
    ///
    /// # Errors
    /// As [`cont`](Self::cont).
    pub fn step(self, signal: Option<Signal>) -> Result<Running, Refused> {
        self.resume(Resume::Step, signal, State::Running)
    }

    /// Resumes the thread until it enters or leaves a system call.
    ///
    /// # Errors
    /// As [`cont`](Self::cont).
    pub fn cont_to_syscall(self, signal: Option<Signal>) -> Result<Running, Refused> {
        self.resume(Resume::Syscall, signal, State::Running)
    }

    /// Leaves the thread in its group-stop, and lets it report the next event (`PTRACE_LISTEN`).
    ///
    /// # Errors
    /// The thread died, or is at another stop than [`Group`](crate::Stop::Group).
    pub fn listen(self) -> Result<Running, Refused> {
        self.resume(Resume::Listen, None, State::Listening)
    }

    /// Ends tracing and lets the thread run, which gets `signal` if it is at a signal-delivery-stop;
    /// in a group-stop it stays.
    ///
    /// # Errors
    /// The thread died.
    pub fn detach(self, signal: Option<Signal>) -> Result<(), Refused> {
        self.resume(Resume::Detach, signal, State::Gone).map(drop)
    }

    fn resume(self, how: Resume, signal: Option<Signal>, next: State) -> Result<Running, Refused> {
        let result = self.request(how.name(), |tid| {
            self.before_resume(how)?;
            // From here on a stop of the thread is a new one, even if its status is the same.
            match how {
                Resume::Cont | Resume::Syscall => {
                    cpus::hand_over(&self.tracee, || sys::resume(tid, how, signal))
                }
                _ => sys::resume(tid, how, signal),
            }
        });
        match result {
            Ok(()) => {
                self.tracee.state.set(next);
                Ok(Running { tracee: self.tracee })
            }
            Err(error) => Err(Refused { stopped: self, error }),
        }
    }

    fn before_resume(&self, how: Resume) -> io::Result<()> {
        if self.tracee.group_at_birth.replace(false) && how != Resume::Detach {
            self.tracee.interrupt.set(Interrupt::Stale);
            sys::interrupt(self.tid())?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopped")
            .field("tid", &self.tracee.tid)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("tid", &self.tracee.tid)
            .finish_non_exhaustive()
    }
}
