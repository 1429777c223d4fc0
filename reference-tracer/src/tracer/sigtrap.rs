//! The program's own view of SIGTRAP.
//!
//! A trap that is hit while SIGTRAP is blocked or ignored resets its disposition to the default and unblocks
//! it (quirk sigtrap-blocked), and the guard needs the disposition for itself. So while a process is
//! traced, SIGTRAP is never really blocked or ignored: the system calls by which the main program asks
//! for that are watched, what it asked for is noted, and what it reads back is what it has set.
//!
//! Watched are calls of the C library's functions from the main program. What libraries do among
//! themselves, and system calls made without the C library, are not seen. A SIGTRAP that another
//! process sends is delivered even where the program has blocked it.

use arch_abi::{Abi, Addr, Regs};
use ptrace_core::{Error, Memory, MemoryError, Signal, SignalSet, Stopped};

use super::Tracer;
use super::code::system_call;
use super::space::Space;
use super::thread::SharedSpace;

/// How many system calls of a watched function are looked at: the C library makes at most this many.
pub(super) const WATCHED_CALLS: u8 = 3;

/// Whether a function of the C library may change or tell the disposition or the mask of signals.
pub(crate) fn is_watched(name: &str) -> bool {
    matches!(
        name,
        "sigaction"
            | "__sigaction"
            | "signal"
            | "bsd_signal"
            | "sysv_signal"
            | "__sysv_signal"
            | "sigset"
            | "sigignore"
            | "sighold"
            | "sigrelse"
            | "siginterrupt"
            | "sigprocmask"
            | "pthread_sigmask"
            | "sigblock"
            | "sigsetmask"
    )
}

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
            let blocks = after_sigprocmask(stopped, &space.borrow().memory, args, thread.blocks_sigtrap)?;
            thread.blocks_sigtrap = blocks;
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
