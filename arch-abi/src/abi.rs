//! One trait that each architecture implements in a file of its own.

use std::ops::RangeInclusive;

use crate::addr::FileAddr;
use crate::plt::{PltCode, SlotReference, SlotRelocations};
use crate::regs::RegLayout;
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

    /// The relocations that fill slots.
    fn slot_relocations(&self) -> SlotRelocations;

    /// The piece of a procedure linkage table that starts at `at`, where `code` lies and goes on as far
    /// as its section or segment does. `None` where the bytes have no shape that a linker writes.
    ///
    /// Compiled code may have the same shape: a function that does nothing but a tail call through a
    /// slot. Who asks must know by other means that a linker wrote the code.
    fn plt_code(&self, code: &[u8], at: FileAddr) -> Option<PltCode>;

    /// `found` gets every offset in `code`, which lies at `at`, of bytes that may be an operand naming a
    /// slot within `slots`, and that slot; `got` is the address of `_GLOBAL_OFFSET_TABLE_`.
    ///
    /// This only looks at bytes, so that it is fast, and may find what is no operand;
    /// [`Abi::slot_references`] tells.
    fn slot_operands(
        &self,
        code: &[u8],
        at: FileAddr,
        got: Option<FileAddr>,
        slots: &RangeInclusive<FileAddr>,
        found: &mut dyn FnMut(usize, FileAddr),
    );

    /// Decodes `code` from its start, which must be the start of an instruction, until past the last of
    /// `operands`, which are ascending offsets in `code`. `found` gets the instructions whose bytes hold one of
    /// them and that name a memory word, whichever it is.
    fn slot_references(
        &self,
        code: &[u8],
        at: FileAddr,
        got: Option<FileAddr>,
        operands: &[usize],
        found: &mut dyn FnMut(SlotReference),
    );
}
