//! Getting a thread past an instruction that a trap covers, without taking the trap away.
//!
//! A [`StepPlan`] is made once, when the trap is put in, from the original bytes. It knows up to three
//! ways, and which of them is the cheapest:
//!
//! 1. [`Emulation`]: the tracer does what the instruction does. Where only the program counter
//!    changes, that is one register write; otherwise it is a whole register set, with at most one
//!    word read from memory and at most one written.
//! 2. [`DisplacedCopy`]: the thread runs a copy of the instruction elsewhere, which goes back by
//!    itself: one register write and no further stop.
//! 3. [`SteppedCopy`]: the thread single-steps a copy, and a fix-up follows: where the copy cannot go
//!    back by itself.

use crate::abi::{Abi, Arch};
use crate::addr::Addr;
use crate::regs::{Reg, Regs};
use crate::x86::step::Op;

/// The longest instruction of any ABI here, in bytes.
pub(crate) const MAX_INSTRUCTION: usize = 15;

/// The most bytes that a displaced copy takes on any ABI.
pub const MAX_COPY: usize = 32;

/// Why an instruction cannot carry a trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The bytes are no instruction of this ABI.
    #[error("the bytes at {at} are no instruction")]
    NotAnInstruction {
        /// Where the bytes lie.
        at: Addr,
    },
    /// More bytes are needed to decode the instruction than were given.
    #[error("the instruction at {at} is longer than the {given} bytes given")]
    Truncated {
        /// Where the instruction lies.
        at: Addr,
        /// How many bytes of it were there.
        given: usize,
    },
    /// The instruction cannot be run anywhere else, nor emulated.
    #[error("the instruction at {at} can be stepped over in no known way")]
    Unsupported {
        /// Where the instruction lies.
        at: Addr,
    },
}

/// Why an instruction has no copy at a certain place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// What the instruction refers to is out of its reach from there.
    #[error("a copy at {to} of the instruction at {at} does not reach {target}")]
    OutOfReach {
        /// Where the instruction lies.
        at: Addr,
        /// Where the copy was to lie.
        to: Addr,
        /// What it refers to.
        target: Addr,
    },
    /// The instruction does what no copy can undo by itself.
    #[error("the instruction at {at} has no copy that goes back by itself")]
    NoCopy {
        /// Where the instruction lies.
        at: Addr,
    },
}

/// How to get past one instruction.
#[derive(Clone, Copy, Debug)]
pub struct StepPlan {
    pub(crate) at: Addr,
    pub(crate) bytes: [u8; MAX_INSTRUCTION],
    pub(crate) len: u8,
    pub(crate) arch: Arch,
    pub(crate) program_trap: bool,
    pub(crate) emulation: Option<Emulation>,
}

impl StepPlan {
    /// Where the instruction lies.
    #[must_use]
    pub const fn at(&self) -> Addr {
        self.at
    }

    /// The instruction's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Where the next instruction lies.
    #[must_use]
    pub const fn next(&self) -> Addr {
        self.at.wrapping_add(self.len as u64)
    }

    /// Whether the instruction is itself a trap, put there by the program or by another debugger.
    #[must_use]
    pub const fn is_program_trap(&self) -> bool {
        self.program_trap
    }

    /// How to emulate the instruction, where that is known.
    #[must_use]
    pub const fn emulation(&self) -> Option<&Emulation> {
        self.emulation.as_ref()
    }

    /// Where the thread goes on, if that is all that the instruction does and it depends on nothing:
    /// `nop`, `endbr64`, `jmp` to a fixed place.
    #[must_use]
    pub fn constant_pc(&self) -> Option<Addr> {
        self.emulation.as_ref().and_then(Emulation::constant_pc)
    }

    /// The copy to be put at `to`, which goes back by itself.
    ///
    /// # Errors
    /// The instruction has no such copy, or none at `to`.
    pub fn displaced_copy(&self, to: Addr) -> Result<DisplacedCopy, CopyError> {
        self.abi().displaced_copy(self, to)
    }

    /// The copy to be put at `to`, which is to be single-stepped.
    ///
    /// # Errors
    /// What the instruction refers to is out of its reach from `to`.
    pub fn stepped_copy(&self, to: Addr) -> Result<SteppedCopy, CopyError> {
        self.abi().stepped_copy(self, to)
    }

    fn abi(&self) -> &'static dyn Abi {
        self.arch.abi()
    }
}

/// A word of memory: where it lies and how many bytes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Where the word lies.
    pub at: Addr,
    /// Its size in bytes, at most 8.
    pub size: usize,
}

/// A word to be written to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    at: Addr,
    bytes: [u8; 8],
    size: u8,
}

impl Store {
    /// The low `size` bytes of `value` for `at`; `size` is at most 8.
    pub(crate) fn new(at: Addr, value: u64, size: u8) -> Self {
        debug_assert!(size <= 8);
        Self {
            at,
            bytes: value.to_le_bytes(),
            size: size.min(8),
        }
    }

    /// Where the word goes.
    #[must_use]
    pub const fn at(&self) -> Addr {
        self.at
    }

    /// The word as it lies in memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size)]
    }
}

/// What an instruction does, so that a tracer can do it instead of the thread.
#[derive(Clone, Copy, Debug)]
pub struct Emulation(pub(crate) Op);

impl Emulation {
    /// Where the thread goes on, if the program counter is all that changes and that place depends on
    /// nothing.
    #[must_use]
    pub fn constant_pc(&self) -> Option<Addr> {
        self.0.constant_pc()
    }

    /// Where the thread goes on, if the program counter is all that changes and no memory is read.
    #[must_use]
    pub fn pc_only(&self, regs: &Regs) -> Option<Addr> {
        self.0.pc_only(regs)
    }

    /// The word that the instruction reads; `None` where it reads none.
    #[must_use]
    pub fn load(&self, regs: &Regs) -> Option<Access> {
        self.0.load(regs)
    }

    /// Changes `regs`, those of a thread about to run the instruction, as the instruction does.
    ///
    /// `loaded` is the word that [`Emulation::load`] named, zero-extended. The result is the word to be
    /// written to memory: write it before the registers, so that a failure leaves the thread as it was.
    #[must_use]
    pub fn run(&self, regs: &mut Regs, loaded: u64) -> Option<Store> {
        self.0.run(regs, loaded)
    }
}

/// How a thread that stands in a copy is put back into the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The instruction has not run, or what it had begun is undone: the thread stands on it again.
    NotRun,
    /// The instruction has run: the thread stands where it led.
    Done,
}

/// What is to be done to the registers of a thread that stands at one place of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Back {
    /// How far into the copy the thread stands, in bytes.
    pub(crate) offset: u8,
    pub(crate) progress: Progress,
    /// Where the thread belongs.
    pub(crate) pc: Addr,
    /// What is added to the stack pointer.
    pub(crate) sp_add: u8,
    /// A register that holds an address of the copy, and what it should hold.
    pub(crate) set: Option<(Reg, u64)>,
}

/// The most places in one copy between which a thread can stand.
const MAX_PLACES: usize = 4;

/// A copy of an instruction that does what the instruction does where it lies, and then goes on after
/// the original. No address of it reaches the stack or a register that the program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplacedCopy {
    to: Addr,
    bytes: [u8; MAX_COPY],
    len: u8,
    back: [Option<Back>; MAX_PLACES],
}

impl DisplacedCopy {
    pub(crate) const fn new(to: Addr) -> Self {
        Self {
            to,
            bytes: [0; MAX_COPY],
            len: 0,
            back: [None; MAX_PLACES],
        }
    }

    /// Appends code; `None` where there is no more room.
    pub(crate) fn emit(&mut self, code: &[u8]) -> Option<()> {
        let start = usize::from(self.len);
        let end = start.checked_add(code.len())?;
        self.bytes.get_mut(start..end)?.copy_from_slice(code);
        self.len = u8::try_from(end).ok()?;
        Some(())
    }

    /// Where the next byte of code goes.
    pub(crate) fn end(&self) -> Addr {
        self.to.wrapping_add(u64::from(self.len))
    }

    /// Says how a thread that stands at the end of the code so far is put back; `None` where there are
    /// too many such places.
    pub(crate) fn place(&mut self, progress: Progress, pc: Addr) -> Option<&mut Back> {
        let offset = self.len;
        let free = self.back.iter_mut().find(|back| back.is_none())?;
        Some(free.insert(Back {
            offset,
            progress,
            pc,
            sp_add: 0,
            set: None,
        }))
    }

    /// Where the copy lies, and where the thread is sent.
    #[must_use]
    pub const fn start(&self) -> Addr {
        self.to
    }

    /// The copy's code.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Puts a thread that stands in this copy back into the program: sets its program counter, and undoes
    /// or completes what the copy has done. `None`, and nothing is changed, where the program counter
    /// is at no instruction of this copy.
    pub fn put_back(&self, regs: &mut Regs) -> Option<Progress> {
        let offset = regs.pc().offset_from(self.to)?;
        let back = self
            .back
            .iter()
            .flatten()
            .find(|back| u64::from(back.offset) == offset)?;
        regs.set_pc(back.pc);
        if back.sp_add != 0 {
            regs.set_sp(regs.sp().wrapping_add(u64::from(back.sp_add)));
        }
        if let Some((reg, value)) = back.set {
            regs.set(reg, value);
        }
        Some(back.progress)
    }
}

/// A copy of an instruction that is single-stepped, after which the registers are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteppedCopy {
    pub(crate) to: Addr,
    pub(crate) bytes: [u8; MAX_INSTRUCTION],
    pub(crate) len: u8,
    pub(crate) at: Addr,
    pub(crate) next: Addr,
    /// Whether the instruction goes to a place relative to its own, so that the copy went as far beside
    /// its target as it lies beside the original.
    pub(crate) relative: bool,
    pub(crate) pushed: Option<Pushed>,
    /// A register that is left with an address of the copy, and what it should hold.
    pub(crate) set: Option<(Reg, u64)>,
}

/// What a single-stepped copy leaves on the stack that it would not have left where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// A return address of this size.
    ReturnAddress { size: u8 },
    /// The flags, of this size, with the bits of `clear` set by the single step itself.
    Flags { size: u8, clear: u64 },
}

impl SteppedCopy {
    /// Where the copy lies, and where the thread is sent.
    #[must_use]
    pub const fn start(&self) -> Addr {
        self.to
    }

    /// The copy's code.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The word that has to be read after the step, before [`SteppedCopy::fix`].
    #[must_use]
    pub fn load(&self, after: &Regs) -> Option<Access> {
        let size = match self.pushed? {
            Pushed::Flags { size, .. } => size,
            Pushed::ReturnAddress { .. } => return None,
        };
        self.has_run(after).then(|| Access {
            at: after.sp(),
            size: usize::from(size),
        })
    }

    /// Makes the registers after the step what they would be had the instruction run where it lies.
    /// `loaded` is the word that [`SteppedCopy::load`] named; the result is what has to be written.
    ///
    /// A thread that a signal stopped before the copy ran is put back onto the original.
    #[must_use]
    pub fn fix(&self, after: &mut Regs, loaded: u64) -> (Progress, Option<Store>) {
        if !self.has_run(after) {
            after.set_pc(self.at);
            return (Progress::NotRun, None);
        }
        let store = self.pushed.map(|pushed| match pushed {
            Pushed::ReturnAddress { size } => Store::new(after.sp(), self.next.get(), size),
            Pushed::Flags { size, clear } => Store::new(after.sp(), loaded & !clear, size),
        });
        if let Some((reg, value)) = self.set {
            after.set(reg, value);
        }
        after.set_pc(self.pc_after(after.pc()));
        (Progress::Done, store)
    }

    /// A thread that still stands on the copy has not run it: it was stopped by a signal, or by a fault. (An
    /// instruction that jumps to itself is where it was in either case, and one with a repeat prefix goes
    /// on with what is left.)
    fn has_run(&self, after: &Regs) -> bool {
        after.pc() != self.to
    }

    fn pc_after(&self, pc: Addr) -> Addr {
        if self.relative {
            return self.at.wrapping_add(pc.get().wrapping_sub(self.to.get()));
        }
        if pc == self.to.wrapping_add(u64::from(self.len)) {
            self.next
        } else {
            pc
        }
    }
}
