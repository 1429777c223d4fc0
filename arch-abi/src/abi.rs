//! One trait that each architecture implements in a file of its own.

use crate::addr::Addr;
use crate::regs::RegLayout;
use crate::step::{CopyError, DisplacedCopy, StepError, StepPlan, SteppedCopy};
use crate::x86;

/// An ABI whose facts are known here. One process may hold tracees of several.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Arch {
    /// x86-64: System V psABI, AMD64 Architecture Processor Supplement.
    X86_64,
    /// i386: System V psABI, Intel386 Architecture Processor Supplement.
    I386,
}

/// `e_machine` of i386 (gABI, "ELF Header").
const EM_386: u16 = 3;
/// `e_machine` of x86-64 (gABI, "ELF Header").
const EM_X86_64: u16 = 62;

impl Arch {
    /// The ABI of an object file by its header's `e_machine`, and whether its class is
    /// `ELFCLASS64`. `None`: not known here; so is x32 (`EM_X86_64` in `ELFCLASS32`).
    #[must_use]
    pub const fn of_elf(e_machine: u16, is_64: bool) -> Option<Self> {
        match (e_machine, is_64) {
            (EM_X86_64, true) => Some(Self::X86_64),
            (EM_386, false) => Some(Self::I386),
            _ => None,
        }
    }

    /// The ABI of a tracee by the length in bytes of its `NT_PRSTATUS` register set.
    #[must_use]
    pub const fn of_regset_len(len: usize) -> Option<Self> {
        match len {
            216 => Some(Self::X86_64),
            68 => Some(Self::I386),
            _ => None,
        }
    }

    /// The ABI's facts.
    #[must_use]
    pub fn abi(self) -> &'static dyn Abi {
        match self {
            Self::X86_64 => &x86::x86_64::X86_64,
            Self::I386 => &x86::i386::I386,
        }
    }
}

/// The facts of one ABI.
pub trait Abi: Sync + std::fmt::Debug {
    /// Which ABI this is.
    fn arch(&self) -> Arch;

    /// Size of a pointer and of a general register, in bytes.
    fn word_size(&self) -> usize;

    /// The trap instruction as it lies in memory.
    fn trap(&self) -> &'static [u8];

    /// How far past the start of a trap instruction the program counter stands when it was hit.
    fn pc_past_trap(&self) -> u64;

    /// The longest instruction in bytes.
    fn max_instruction(&self) -> usize;

    /// Where the registers lie, and which play which part.
    fn regs(&self) -> &'static RegLayout;

    /// How far the stack pointer at a function's entry lies below the one after its return: the
    /// size of the return address that the call pushed, zero where a register holds it.
    fn return_address_size(&self) -> u64;

    /// The instruction that enters the kernel for a system call.
    fn syscall_instruction(&self) -> &'static [u8];

    /// How to get past the instruction at `at`, whose bytes `code` starts with. More bytes than the
    /// instruction has do no harm; [`Abi::max_instruction`] are always enough.
    ///
    /// # Errors
    /// The bytes are no instruction, or one that cannot be stepped over.
    fn step(&self, code: &[u8], at: Addr) -> Result<StepPlan, StepError>;

    /// The copy of `plan`'s instruction for `to`: see [`StepPlan::displaced_copy`].
    ///
    /// # Errors
    /// The instruction has no such copy, or none at `to`.
    fn displaced_copy(&self, plan: &StepPlan, to: Addr) -> Result<DisplacedCopy, CopyError>;

    /// The copy of `plan`'s instruction for `to` that is single-stepped: see [`StepPlan::stepped_copy`].
    ///
    /// # Errors
    /// What the instruction refers to is out of its reach from `to`.
    fn stepped_copy(&self, plan: &StepPlan, to: Addr) -> Result<SteppedCopy, CopyError>;

    /// The most bytes by which a called function can leave the stack pointer above the return address
    /// that it popped: zero where callers remove arguments.
    fn max_callee_pop(&self) -> u64;
}
