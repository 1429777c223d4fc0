//! x86-64: System V psABI, AMD64 Architecture Processor Supplement.

use super::{call64, common, landing, operand};
use crate::abi::{Abi, RelativeOperand, SystemCalls};
use crate::addr::Addr;
use crate::call::{ArgCursor, CType, Layout, Place, VaCursor};
use crate::landing::{Interrupted, Landing};
use crate::plt::SlotRelocations;
use crate::regs::{Reg, RegLayout, Regs};

/// The x86-64 ABI.
#[derive(Debug)]
pub struct X86_64;

macro_rules! registers {
    ($($name:ident = $index:literal;)*) => {
        $(
            #[doc = concat!("Word ", $index, " of `user_regs_struct` (`<sys/user.h>`).")]
            pub const $name: Reg = Reg::at($index * 8, 8);
        )*
    };
}

registers! {
    R15 = 0; R14 = 1; R13 = 2; R12 = 3; RBP = 4; RBX = 5; R11 = 6; R10 = 7; R9 = 8; R8 = 9;
    RAX = 10; RCX = 11; RDX = 12; RSI = 13; RDI = 14; ORIG_RAX = 15; RIP = 16; CS = 17;
    EFLAGS = 18; RSP = 19; SS = 20; FS_BASE = 21; GS_BASE = 22;
}

static LAYOUT: RegLayout = RegLayout {
    len: 27 * 8,
    pc: RIP,
    sp: RSP,
    ret: [RAX, RDX],                          // psABI, "Returning of Values"
    call_args: &[RDI, RSI, RDX, RCX, R8, R9], // psABI, "Parameter Passing"
    syscall_nr: ORIG_RAX,                     // psABI, "Calling Conventions" of the Linux kernel
    syscall_args: [RDI, RSI, RDX, R10, R8, R9],
    syscall_ret: RAX,
    thread_pointer: Some(FS_BASE),
    spare_base: Some(GS_BASE),
};

impl Abi for X86_64 {
    common!(X86_64);

    fn word_size(&self) -> usize {
        8
    }

    fn regs(&self) -> &'static RegLayout {
        &LAYOUT
    }

    fn return_address_size(&self) -> u64 {
        8
    }

    fn syscall_instruction(&self) -> &'static [u8] {
        &[0x0f, 0x05] // syscall
    }

    fn system_calls(&self) -> &'static SystemCalls {
        // asm/unistd_64.h
        &SystemCalls {
            mmap: 9,
            munmap: 11,
            rt_sigaction: 13,
            rt_sigprocmask: 14,
            rt_sigqueueinfo: 129,
            rt_tgsigqueueinfo: 297,
            close: 3,
            madvise: 28,
            memfd_create: 319,
            clone: 56,
            exit: 60,
        }
    }

    fn sigaction_size(&self) -> usize {
        32 // asm/signal.h: handler, flags and restorer of 8 bytes, and the mask
    }

    fn landing(&self, thread: &Interrupted<'_>) -> Option<Landing> {
        Some(landing::landing(thread))
    }

    fn loaded_operand(&self, code: &[u8], at: Addr) -> Option<RelativeOperand> {
        operand::loaded(code, at)
    }

    fn recorder(&self) -> Option<&'static dyn crate::record::Recorder> {
        Some(&X86_64)
    }

    fn max_callee_pop(&self) -> u64 {
        0 // psABI, "The Stack Frame": the caller removes the arguments
    }

    fn layout_of(&self, ty: &CType) -> Layout {
        call64::layout_of(ty)
    }

    fn first_arg(&self) -> ArgCursor {
        ArgCursor {
            stack: 8,
            ..ArgCursor::default()
        } // past the return address
    }

    fn place_arg(&self, ty: &CType, cursor: &mut ArgCursor) -> Place {
        call64::place_arg(ty, cursor)
    }

    fn place_return(&self, ty: &CType, cursor: &mut ArgCursor) -> (Place, Option<Place>) {
        call64::place_return(ty, cursor)
    }

    fn variadic_uses_vectors(&self, regs: &Regs) -> bool {
        regs.get(RAX) & 0xff != 0 // psABI, "Parameter Passing": %al bounds their number
    }

    fn va_list_size(&self) -> usize {
        call64::VA_LIST_SIZE
    }

    fn va_start(&self, _word: u64, object: &[u8]) -> Option<VaCursor> {
        call64::va_start(object)
    }

    fn va_arg(&self, ty: &CType, cursor: &mut VaCursor) -> Option<u64> {
        call64::va_arg(ty, cursor)
    }

    fn slot_relocations(&self) -> SlotRelocations {
        // psABI, "Relocation Types": R_X86_64_JUMP_SLOT, _GLOB_DAT, _IRELATIVE, _64
        SlotRelocations {
            jump_slot: 7,
            glob_dat: 6,
            irelative: 37,
            pointer: 1,
        }
    }
}
