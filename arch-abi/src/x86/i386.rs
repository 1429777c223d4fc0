//! i386: System V psABI, Intel386 Architecture Processor Supplement.

use super::call32;
use crate::abi::{Abi, Arch};
use crate::call::{ArgCursor, CType, Layout, Place, VaCursor};
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
};

impl Abi for I386 {
    fn arch(&self) -> Arch {
        Arch::I386
    }

    fn word_size(&self) -> usize {
        4
    }

    fn trap(&self) -> &'static [u8] {
        &[0xcc] // int3
    }

    fn pc_past_trap(&self) -> u64 {
        1
    }

    fn max_instruction(&self) -> usize {
        15 // Intel SDM, "Instruction Format"
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
}
