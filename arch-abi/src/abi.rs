//! One trait that each architecture implements in a file of its own.

use crate::addr::{Addr, FileAddr};
use crate::call::{ArgCursor, CType, Layout, Place, VaCursor};
use crate::guard::Guard;
use crate::landing::{Interrupted, Landing};
use crate::regs::{RegLayout, Regs};
use crate::step::{CopyError, DisplacedCopy, StepError, StepPlan, SteppedCopy};
use std::ops::RangeInclusive;

use crate::plt::{PltCode, SlotReference, SlotRelocations};
use crate::record::Recorder;
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

/// Numbers of the system calls that a tracer makes in the name of a tracee, or looks at. The arguments are
/// the same in all ABIs, if the offset of `mmap` is zero: some count it in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SystemCalls {
    /// mmap(2).
    pub mmap: u64,
    /// munmap(2).
    pub munmap: u64,
    /// `rt_sigaction`, behind sigaction(2).
    pub rt_sigaction: u64,
    /// `rt_sigprocmask`, behind sigprocmask(2).
    pub rt_sigprocmask: u64,
    /// `rt_sigqueueinfo(2)`.
    pub rt_sigqueueinfo: u64,
    /// `rt_tgsigqueueinfo(2)`.
    pub rt_tgsigqueueinfo: u64,
    /// close(2).
    pub close: u64,
    /// madvise(2).
    pub madvise: u64,
    /// `memfd_create(2)`.
    pub memfd_create: u64,
    /// clone(2).
    pub clone: u64,
    /// exit(2), of one thread.
    pub exit: u64,
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

    /// The numbers of system calls.
    fn system_calls(&self) -> &'static SystemCalls;

    /// Size in bytes of the kernel's `struct sigaction`, which `rt_sigaction` takes: a word for the handler,
    /// the flags and, where it has one, the restorer, and a mask of eight bytes at the end.
    fn sigaction_size(&self) -> usize;

    /// The landing code for an interrupted thread of this ABI; `None` where none is known.
    fn landing(&self, _thread: &Interrupted<'_>) -> Option<Landing> {
        None
    }

    /// The handler that outlives a tracer, for code that lies at `code` and data at `data`. `None` where
    /// none is known for the ABI, or its memory does not reach there.
    fn guard(&self, _code: Addr, _data: Addr) -> Option<Guard> {
        None
    }

    /// What makes recording code for the ABI; `None` where nothing does.
    fn recorder(&self) -> Option<&'static dyn Recorder> {
        None
    }

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

    /// Size and alignment of a type as a member of a structure. Sizes too large for the address
    /// space saturate.
    fn layout_of(&self, ty: &CType) -> Layout;

    /// The cursor at a function's first argument.
    fn first_arg(&self) -> ArgCursor;

    /// The place of the next argument, of type `ty`; the cursor moves past it. Variadic arguments
    /// are placed by the same call, after C's default argument promotions.
    fn place_arg(&self, ty: &CType, cursor: &mut ArgCursor) -> Place;

    /// The place of a result of type `ty`, in the registers of the moment after the return, and
    /// where at the entry the hidden address of a result in memory lies; `cursor` moves past that.
    /// Call it before the first argument is placed.
    fn place_return(&self, ty: &CType, cursor: &mut ArgCursor) -> (Place, Option<Place>);

    /// Whether a call to a variadic function that is at its entry may pass arguments in vector
    /// registers. `false` is certain.
    fn variadic_uses_vectors(&self, regs: &Regs) -> bool;

    /// How many bytes [`va_start`](Self::va_start) wants of the object that a `va_list` parameter
    /// points at; zero where the parameter itself says where the arguments lie.
    fn va_list_size(&self) -> usize;

    /// Where the arguments of a `va_list` lie, `word` being the parameter's value and `object` the
    /// bytes that it points at. `None`: those bytes are too few or make no sense.
    fn va_start(&self, word: u64, object: &[u8]) -> Option<VaCursor>;

    /// The address of the next argument of a `va_list`, a scalar of type `ty`; the cursor moves
    /// past it.
    fn va_arg(&self, ty: &CType, cursor: &mut VaCursor) -> Option<u64>;

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

    /// The operand by which code that starts at `at`, where the bytes `code` lie, loads the address that it goes to next: of the
    /// first instruction that names a memory word, within a few. `None` where the ABI has no operands relative to
    /// the program counter, there is no such operand, or a number was put into a register before, which whoever is gone to is to find there.
    fn loaded_operand(&self, _code: &[u8], _at: Addr) -> Option<RelativeOperand> {
        None
    }
}

/// An operand of 32 bits that names a memory word by its distance from the end of the instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelativeOperand {
    /// Where the operand's four bytes lie.
    pub at: Addr,
    /// The instruction's end, from which it counts.
    pub from: Addr,
    /// What it names.
    pub word: Addr,
}

impl RelativeOperand {
    /// The operand's bytes where it is to name `word`; `None` if that is out of its reach.
    #[must_use]
    pub fn naming(&self, word: Addr) -> Option<[u8; 4]> {
        let distance = word.get().wrapping_sub(self.from.get()).cast_signed();
        i32::try_from(distance).ok().map(i32::to_le_bytes)
    }
}
