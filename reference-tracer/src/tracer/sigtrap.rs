//! The program's own view of SIGTRAP.
//!
//! A trap that is hit while SIGTRAP is blocked or ignored resets its disposition to the default and unblocks
//! it (quirk sigtrap-blocked), and the guard needs the disposition for itself. So while a process is
//! traced, SIGTRAP is never really blocked or ignored: the functions by which programs ask for that are
//! watched, what was asked for is noted, and what is read back is what was set. A SIGTRAP that is sent
//! meanwhile is kept until the program unblocks it (`sent.rs`).
//!
//! Watched are the functions themselves, whoever calls them. Not seen are system calls that are made in other ways, and
//! the mask that the kernel sets for a signal handler: a trap hit under such a mask takes SIGTRAP out of it.

use arch_abi::{Abi, Addr, Regs};
use ptrace_core::{Error, Memory, MemoryError, Signal, SignalSet, Stopped};

use super::Tracer;
use super::code::{CodeError, system_call};
use super::space::Space;
use super::thread::SharedSpace;

/// How many system calls of a watched function are looked at: the C library makes at most this many.
pub(super) const WATCHED_CALLS: u8 = 3;

/// What a watched function takes, by which most of its calls are known to concern other signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watched {
    /// A signal's number first.
    Signal,
    /// How, and the address of a mask.
    Mask,
    /// A mask of 32 signals.
    OldMask,
    /// As prctl(2): none, but it may install a seccomp filter.
    Prctl,
    /// None, but it installs a seccomp filter.
    Filter,
}

/// The functions of C libraries that may change or tell the disposition or the mask of signals, and those that may install
/// a filter of system calls.
pub(crate) const WATCHED: [(&str, Watched); 17] = [
    ("sigaction", Watched::Signal),
    ("__sigaction", Watched::Signal),
    ("signal", Watched::Signal),
    ("bsd_signal", Watched::Signal),
    ("sysv_signal", Watched::Signal),
    ("__sysv_signal", Watched::Signal),
    ("sigset", Watched::Signal),
    ("sigignore", Watched::Signal),
    ("sighold", Watched::Signal),
    ("sigrelse", Watched::Signal),
    ("siginterrupt", Watched::Signal),
    ("sigprocmask", Watched::Mask),
    ("pthread_sigmask", Watched::Mask),
    ("sigblock", Watched::OldMask),
    ("sigsetmask", Watched::OldMask),
    ("prctl", Watched::Prctl),
    ("seccomp_load", Watched::Filter),
];

impl Watched {
    /// Whether the call that begins at these registers may concern SIGTRAP, which the program `blocks` or not.
    pub(super) fn concerns_sigtrap(self, regs: &Regs, memory: &Memory, blocks: bool) -> bool {
        let argument = |n| argument(regs, memory, n);
        match self {
            Self::Signal => argument(0).is_none_or(|signal| signal & 0xffff_ffff == sigtrap()),
            Self::Mask => blocks || argument(1).is_none_or(|set| set != 0 && names_sigtrap(memory, set)),
            Self::OldMask => true,
            Self::Prctl | Self::Filter => false,
        }
    }
}

/// The first arguments of a function that begins at these registers, if they are words.
pub(super) fn argument(regs: &Regs, memory: &Memory, n: usize) -> Option<u64> {
    let abi = regs.abi();
    if let Some(&reg) = abi.regs().call_args.get(n) {
        return Some(regs.get(reg));
    }
    let word = abi.word_size();
    let skip = abi.return_address_size() + (n * word) as u64;
    let mut bytes = [0; 8];
    let at = regs.sp().wrapping_add(skip);
    memory.read_exact(at, &mut bytes[..word]).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// Whether the mask at `set` names SIGTRAP, or cannot be read.
fn names_sigtrap(memory: &Memory, set: u64) -> bool {
    word_at(memory, set).is_none_or(|bits| SignalSet::from_bits(bits).contains(Signal::SIGTRAP))
}

/// The size of the kernel's `sigset_t`.
pub(super) const SIGSET: u64 = 8;
const BELOW_STACK: u64 = 512;

/// `how` of `sigprocmask` (`asm/signal.h`).
const SIG_BLOCK: u64 = 0;
const SIG_UNBLOCK: u64 = 1;

/// A disposition, as the kernel's `struct sigaction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Action {
    bytes: [u8; 32],
    len: usize,
    word: usize,
}

impl Action {
    /// `SIG_DFL`.
    pub(super) fn default_of(abi: &dyn Abi) -> Self {
        Self {
            bytes: [0; 32],
            len: abi.sigaction_size().min(32),
            word: abi.word_size(),
        }
    }

    pub(super) fn read(memory: &Memory, at: Addr, abi: &dyn Abi) -> Result<Self, MemoryError> {
        let mut action = Self::default_of(abi);
        memory.read_exact(at, action.bytes_mut())?;
        Ok(action)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// `SIG_DFL` (0), `SIG_IGN` (1) or an address.
    pub(super) fn handler(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes[..self.word].copy_from_slice(&self.bytes[..self.word]);
        u64::from_le_bytes(bytes)
    }

    /// Whether this is what becomes of `set` when the kernel resets it: all but the handler stays
    /// (`kernel/signal.c`, `force_sig_info_to_task`).
    pub(super) fn is_reset_of(&self, set: &Self) -> bool {
        self.handler() == 0 && self.bytes[self.word..] == set.bytes[self.word..]
    }

    /// Whether it is `SIG_IGN`.
    pub(super) fn ignores(&self) -> bool {
        self.handler() == 1
    }
}

impl Tracer {
    /// The end of a system call that a watched function made.
    pub(super) fn on_watched_call(&mut self, stopped: &Stopped) -> Result<(), Error> {
        let regs = stopped.regs()?;
        let Some(thread) = self.threads.get_mut(&stopped.tid()) else {
            return Ok(());
        };
        let space = SharedSpace::clone(&thread.space);
        let layout = regs.abi().regs();
        let numbers = regs.abi().system_calls();
        let number = regs.get(layout.syscall_nr);
        if regs.get(layout.syscall_ret) != 0 {
            return Ok(());
        }
        let args = layout.syscall_args.map(|reg| regs.get(reg));
        if number == numbers.rt_sigprocmask {
            let blocked = thread.blocks_sigtrap;
            thread.blocks_sigtrap = after_sigprocmask(stopped, &space.borrow().memory, args, blocked)?;
            if blocked && !thread.blocks_sigtrap {
                self.release_sigtrap(stopped);
            }
        } else if number == numbers.rt_sigaction && args[0] == sigtrap() {
            space.borrow_mut().after_sigaction(stopped, &regs, args);
        }
        Ok(())
    }
}

/// The number of SIGTRAP, as system calls take it.
pub(super) fn sigtrap() -> u64 {
    Signal::SIGTRAP.raw().unsigned_abs().into()
}

/// Memory for a structure in a process that stands at the start of a program: nothing below its stack pointer is in use.
pub(super) fn below_stack(regs: &Regs) -> Addr {
    Addr::new(regs.sp().wrapping_sub(BELOW_STACK).get() & !7)
}

/// Makes SIGTRAP really ignored in a process that stands at the start of a program: what a program ignores, the next one
/// ignores, too (execve(2)), but the kernel saw a handler.
pub(super) fn ignore_sigtrap(stopped: &Stopped) -> Result<(), CodeError> {
    let (memory, regs) = (stopped.memory(), stopped.regs()?);
    let mut action = Action::default_of(regs.abi());
    action.bytes_mut()[0] = 1; // SIG_IGN
    let at = below_stack(&regs);
    memory.write(at, action.bytes())?;
    let number = regs.abi().system_calls().rt_sigaction;
    let args = [sigtrap(), at.get(), 0, SIGSET, 0, 0];
    system_call(stopped, number, args).map(drop)
}

/// What the program has blocked is really blocked, where it is not traced any more.
pub(super) fn block_sigtrap(stopped: &Stopped) {
    if let Ok(mut mask) = stopped.sigmask() {
        mask.insert(Signal::SIGTRAP);
        // A thread that died has no mask.
        let _: Result<(), Error> = stopped.set_sigmask(mask);
    }
}

/// The mask was read or set: the program reads what it has set, and SIGTRAP is unblocked. Gives whether the
/// program blocks it now.
fn after_sigprocmask(
    stopped: &Stopped,
    memory: &Memory,
    [how, set, old, ..]: [u64; 6],
    blocked: bool,
) -> Result<bool, Error> {
    if old != 0 && blocked {
        let mut seen = word_at(memory, old).map_or(SignalSet::EMPTY, SignalSet::from_bits);
        seen.insert(Signal::SIGTRAP);
        // The kernel has just written there.
        let _ = memory.write(Addr::new(old), &seen.bits().to_le_bytes());
    }
    if set == 0 {
        return Ok(blocked);
    }
    let named = word_at(memory, set).is_some_and(|bits| SignalSet::from_bits(bits).contains(Signal::SIGTRAP));
    let mut mask = stopped.sigmask()?;
    if mask.contains(Signal::SIGTRAP) {
        mask.remove(Signal::SIGTRAP);
        stopped.set_sigmask(mask)?;
    }
    Ok(match how {
        SIG_BLOCK => blocked || named,
        SIG_UNBLOCK => blocked && !named,
        _ => named,
    })
}

fn word_at(memory: &Memory, at: u64) -> Option<u64> {
    let mut word = [0; 8];
    memory.read_exact(Addr::new(at), &mut word).ok()?;
    Some(u64::from_le_bytes(word))
}

impl Space {
    /// The disposition of SIGTRAP was read or set.
    fn after_sigaction(&mut self, stopped: &Stopped, regs: &Regs, args: [u64; 6]) {
        let [_, new, old, ..] = args;
        if old != 0
            && let Some(was) = self.programs_action()
        {
            // The kernel has just written there.
            let _ = self.memory.write(Addr::new(old), was.bytes());
        }
        if new == 0 {
            return;
        }
        let Ok(action) = Action::read(&self.memory, Addr::new(new), regs.abi()) else {
            return;
        };
        self.own_sigtrap = Some(action);
        if self.guard.is_some() {
            self.take_over(stopped);
        } else if action.ignores() {
            self.make_default(stopped, regs, args);
        }
    }

    /// What the program has set, where that is not what is in force.
    pub(super) fn programs_action(&self) -> Option<Action> {
        let guards = || Some(self.guard.as_ref()?.programs_action());
        self.own_sigtrap.or_else(guards)
    }

    /// Where there is no guard: the disposition is the default instead of being ignored, which a trap
    /// would make it anyway. The program's own structure serves for the call, and is then as it was.
    fn make_default(&mut self, stopped: &Stopped, regs: &Regs, [signal, new, _, size, ..]: [u64; 6]) {
        let at = Addr::new(new);
        let word = regs.abi().word_size();
        let Some(own) = self.own_sigtrap else { return };
        if self.memory.write(at, &[0; 8][..word]).is_ok() {
            let number = regs.get(regs.abi().regs().syscall_nr);
            // If it fails, the next trap does the same.
            let _ = system_call(stopped, number, [signal, new, 0, size, 0, 0]);
            let _ = self.memory.write(at, &own.bytes[..word]);
        }
    }
}
