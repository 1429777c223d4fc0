//! A tracee that is stopped, and what can be asked of it only then.

use std::rc::Rc;

use arch_abi::{Addr, FpRegs, Regs};

use crate::error::{Error, Refused};
use crate::id::{Signal, Tid};
use crate::memory::Memory;
use crate::stop::SyscallInfo;
use crate::sys;
use crate::tracee::{State, Tracee};

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

impl Stopped {
    /// Its thread id.
    #[must_use]
    pub fn tid(&self) -> Tid {
        todo!()
    }

    /// The id of its process (thread group).
    #[must_use]
    pub fn tgid(&self) -> Tid {
        todo!()
    }

    /// The general registers, by one `PTRACE_GETREGSET` of `NT_PRSTATUS`.
    ///
    /// # Errors
    /// The thread died, or its registers belong to no known ABI.
    pub fn regs(&self) -> Result<Regs, Error> {
        todo!()
    }

    /// Sets the general registers, by one `PTRACE_SETREGSET` of `NT_PRSTATUS`.
    ///
    /// # Errors
    /// The thread died, or the kernel refuses a value (a segment, an address past user space).
    pub fn set_regs(&self, _regs: &Regs) -> Result<(), Error> {
        todo!()
    }

    /// Sets the program counter alone, by one `PTRACE_POKEUSER` where the host has it.
    ///
    /// # Errors
    /// The thread died.
    pub fn set_pc(&self, _pc: Addr) -> Result<(), Error> {
        todo!()
    }

    /// The floating-point and SSE registers.
    ///
    /// # Errors
    /// The thread died.
    pub fn fp_regs(&self) -> Result<FpRegs, Error> {
        todo!()
    }

    /// The whole extended state (`NT_X86_XSTATE`: an XSAVE image in its standard form), into
    /// `buf`, which is cleared, grown as needed, and can be used again.
    ///
    /// # Errors
    /// The thread died, or the machine has no such register set.
    pub fn xstate(&self, _buf: &mut Vec<u8>) -> Result<(), Error> {
        todo!()
    }

    /// Sets the whole extended state.
    ///
    /// # Errors
    /// The thread died, or the image is malformed.
    pub fn set_xstate(&self, _image: &[u8]) -> Result<(), Error> {
        todo!()
    }

    /// The signal's `siginfo_t` at a signal-delivery-stop.
    ///
    /// # Errors
    /// The thread died, or its stop has none (`EINVAL`: a group-stop).
    pub fn siginfo(&self) -> Result<SigInfo, Error> {
        todo!()
    }

    /// Sets the `siginfo_t` of the signal that the thread will get.
    ///
    /// # Errors
    /// The thread died, or its stop has none.
    pub fn set_siginfo(&self, _info: &SigInfo) -> Result<(), Error> {
        todo!()
    }

    /// The signals that the thread blocks.
    ///
    /// # Errors
    /// The thread died.
    pub fn sigmask(&self) -> Result<SignalSet, Error> {
        todo!()
    }

    /// Sets the signals that the thread blocks.
    ///
    /// # Errors
    /// The thread died.
    pub fn set_sigmask(&self, _mask: SignalSet) -> Result<(), Error> {
        todo!()
    }

    /// The message of the last event (`PTRACE_GETEVENTMSG`).
    ///
    /// # Errors
    /// The thread died.
    pub fn event_msg(&self) -> Result<u64, Error> {
        todo!()
    }

    /// Where in a system call the thread stands.
    ///
    /// # Errors
    /// The thread died, or the kernel is older than 5.3 (`EIO`).
    pub fn syscall_info(&self) -> Result<SyscallInfo, Error> {
        todo!()
    }

    /// The memory of its process.
    #[must_use]
    pub fn memory(&self) -> Memory {
        todo!()
    }

    /// Makes one system call in the thread's name and gives what it returned: a value, or a
    /// negated `errno` (-4095 to -1), which belongs to the call, not to the tracer. See
    /// the module documentation of `remote` for what is restored and how.
    ///
    /// # Errors
    /// The thread died; [`Error::InSyscall`]; [`Error::NoSyscallInstruction`].
    pub fn remote_syscall(&self, _nr: u64, _args: [u64; 6]) -> Result<i64, Error> {
        todo!()
    }

    /// Resumes the thread, which gets `signal` if it is at a signal-delivery-stop. If the
    /// session hands over ([`Session::set_hand_off`](crate::Session::set_hand_off)), on the tracer's CPU.
    ///
    /// # Errors
    /// The thread died, or the kernel knows no such signal.
    pub fn cont(self, _signal: Option<Signal>) -> Result<Running, Refused> {
        todo!()
    }

    /// Resumes the thread for one instruction.
    ///
    /// # Errors
    /// As [`cont`](Self::cont).
    pub fn step(self, _signal: Option<Signal>) -> Result<Running, Refused> {
        todo!()
    }

    /// Resumes the thread until it enters or leaves a system call.
    ///
    /// # Errors
    /// As [`cont`](Self::cont).
    pub fn cont_to_syscall(self, _signal: Option<Signal>) -> Result<Running, Refused> {
        todo!()
    }

    /// Leaves the thread in its group-stop, and lets it report the next event (`PTRACE_LISTEN`).
    ///
    /// # Errors
    /// The thread died, or is at another stop than [`Group`](crate::Stop::Group).
    pub fn listen(self) -> Result<Running, Refused> {
        todo!()
    }

    /// Ends tracing and lets the thread run, which gets `signal` if it is at a signal-delivery-stop;
    /// in a group-stop it stays.
    ///
    /// # Errors
    /// The thread died.
    pub fn detach(self, _signal: Option<Signal>) -> Result<(), Refused> {
        todo!()
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
