//! i386: System V psABI, Intel386 Architecture Processor Supplement.

use super::{call32, common};
use crate::abi::{Abi, SystemCalls};
use crate::call::{ArgCursor, CType, Layout, Place, VaCursor};
use crate::plt::SlotRelocations;
use crate::regs::{Reg, RegLayout, Regs};

/// The i386 ABI.
#[derive(Debug)]
pub struct I386;

macro_rules! registers {
    ($($name:ident = $index:literal;)*) => {
        $(
            #[doc = concat!("Word ", $index, " of i386's `user_regs_struct` (`<sys/user.h>`).")]
            pub const $name: Reg = Reg::at($index * 4, 4);
        )*
    };
}

registers! {
    EBX = 0; ECX = 1; EDX = 2; ESI = 3; EDI = 4; EBP = 5; EAX = 6; DS = 7; ES = 8; FS = 9; GS = 10;
    ORIG_EAX = 11; EIP = 12; CS = 13; EFLAGS = 14; ESP = 15; SS = 16;
}

static LAYOUT: RegLayout = RegLayout {
    len: 17 * 4,
    pc: EIP,
    sp: ESP,
    ret: [EAX, EDX], // psABI, "Functions Returning Scalars or No Value"
    call_args: &[],  // psABI, "Parameter Passing": all on the stack
    syscall_nr: ORIG_EAX,
    syscall_args: [EBX, ECX, EDX, ESI, EDI, EBP],
    syscall_ret: EAX,
    thread_pointer: None,
    spare_base: None,
};

impl Abi for I386 {
    common!(I386);

    fn word_size(&self) -> usize {
        4
    }

    fn regs(&self) -> &'static RegLayout {
        &LAYOUT
    }

    fn return_address_size(&self) -> u64 {
        4
    }

    fn syscall_instruction(&self) -> &'static [u8] {
        &[0xcd, 0x80] // int $0x80
    }

    fn system_calls(&self) -> &'static SystemCalls {
        // asm/unistd_32.h; `mmap` is `mmap2`, which counts the offset in pages
        &SystemCalls {
            mmap: 192,
            munmap: 91,
            rt_sigaction: 174,
            rt_sigprocmask: 175,
            rt_sigqueueinfo: 178,
            rt_tgsigqueueinfo: 335,
            close: 6,
            madvise: 219,
            memfd_create: 356,
            clone: 120,
            exit: 1,
        }
    }

    fn sigaction_size(&self) -> usize {
        20 // asm/signal.h: handler, flags and restorer of 4 bytes, and the mask
    }

    fn max_callee_pop(&self) -> u64 {
        1024 // `ret $n`: 4 for a returned struct (psABI, "Functions Returning Structures or Unions"), arguments for stdcall
    }

    fn layout_of(&self, ty: &CType) -> Layout {
        call32::layout_of(ty)
    }

    fn first_arg(&self) -> ArgCursor {
        ArgCursor {
            stack: 4,
            ..ArgCursor::default()
        } // past the return address
    }

    fn place_arg(&self, ty: &CType, cursor: &mut ArgCursor) -> Place {
        call32::place_arg(ty, cursor)
    }

    fn place_return(&self, ty: &CType, cursor: &mut ArgCursor) -> (Place, Option<Place>) {
        call32::place_return(ty, cursor)
    }

    fn variadic_uses_vectors(&self, _regs: &Regs) -> bool {
        false
    }

    fn va_list_size(&self) -> usize {
        0 // the parameter is the pointer
    }

    fn va_start(&self, word: u64, _object: &[u8]) -> Option<VaCursor> {
        Some(call32::va_start(word))
    }

    fn va_arg(&self, ty: &CType, cursor: &mut VaCursor) -> Option<u64> {
        call32::va_arg(ty, cursor)
    }

    fn slot_relocations(&self) -> SlotRelocations {
        // psABI, "Relocation Types": R_386_JMP_SLOT, _GLOB_DAT, _IRELATIVE, _32
        SlotRelocations {
            jump_slot: 7,
            glob_dat: 6,
            irelative: 42,
            pointer: 1,
        }
    }
}
