//! i386: the handler that outlives a tracer (see `arch_abi::guard`).
//!
//! It is called with the signal's number, `siginfo_t` and `struct ucontext` on the stack, and what it returns to
//! puts all registers back: it may use any.

use iced_x86::IcedError;
use iced_x86::code_asm::{
    AsmMemoryOperand, CodeAssembler, CodeLabel, dword_ptr, eax, ebx, ecx, edi, edx, esi, esp,
};

use super::guard::{SI_CODE, SI_KERNEL, SIGTRAP};
use crate::addr::Addr;
use crate::guard::{DATA_CHAIN, DATA_DEFAULT, DATA_RANGES, DATA_TABLE, HASH, RANGES, TABLE_ENTRIES};

/// `uc_mcontext.gregs[REG_EIP]` in the kernel's `struct ucontext_ia32` (`asm/ia32.h`,
/// `asm/sigcontext.h`: flags, link and stack take 20 bytes, fourteen words precede `ip`).
const UC_EIP: i32 = 20 + 14 * 4;
/// Where the handler's arguments lie, past the address that it returns to.
const ARG_INFO: i32 = 8;
const ARG_CONTEXT: i32 = 12;

// asm/unistd_32.h
const NR_GETPID: u32 = 20;
const NR_RT_SIGRETURN: u32 = 173;
const NR_RT_SIGACTION: u32 = 174;
const NR_GETTID: u32 = 224;
const NR_RT_TGSIGQUEUEINFO: u32 = 335;

/// The handler's data by absolute addresses: i386 has no others.
#[derive(Clone, Copy)]
struct Data(u64);

impl Data {
    /// A word of it.
    fn at(self, offset: u64) -> AsmMemoryOperand {
        dword_ptr(self.0 + offset)
    }
}

/// The handler, for code that lies at its start: the restorer first.
pub(super) fn handler(asm: &mut CodeAssembler, data: Addr) -> Result<CodeLabel, IcedError> {
    let data = Data(data.get());
    // sigreturn(2): the restorer is what the handler returns to.
    asm.mov(eax, NR_RT_SIGRETURN)?;
    asm.int(0x80)?;
    let mut handler = asm.create_label();
    let mut foreign = asm.create_label();
    let mut not_behind = asm.create_label();
    let mut not_ours = asm.create_label();
    asm.set_label(&mut handler)?;
    asm.mov(esi, dword_ptr(esp + ARG_INFO))?;
    asm.mov(edi, dword_ptr(esp + ARG_CONTEXT))?;
    asm.cmp(dword_ptr(esi + SI_CODE), SI_KERNEL)?;
    asm.jne(foreign)?;
    look_up(asm, data, 1, not_behind)?;
    asm.set_label(&mut not_behind)?;
    look_up(asm, data, 0, not_ours)?;
    asm.set_label(&mut not_ours)?;
    return_from_a_copy(asm, data)?;
    asm.set_label(&mut foreign)?;
    chain(asm, data)?;
    Ok(handler)
}

/// Searches the table for the trap `back` bytes before the interrupted PC. Behind a trap, the thread is sent to its
/// copy. On one, the tracer had put it back and died before it let the thread go: it goes on there.
fn look_up(asm: &mut CodeAssembler, data: Data, back: i32, not_ours: CodeLabel) -> Result<(), IcedError> {
    let (low, high) = (HASH & 0xffff_ffff, HASH >> 32);
    let mut probe = asm.create_label();
    let mut found = asm.create_label();
    asm.mov(ecx, dword_ptr(edi + UC_EIP))?;
    asm.sub(ecx, back)?;
    asm.mov(ebx, data.at(DATA_TABLE))?;
    asm.test(ebx, ebx)?;
    asm.je(not_ours)?;
    // Bits 32 to 63 of the product with a 64-bit number, in 32-bit halves.
    asm.mov(eax, word(low))?;
    asm.mul(ecx)?;
    asm.imul_3(eax, ecx, word(high).cast_signed())?;
    asm.add(edx, eax)?;
    asm.set_label(&mut probe)?;
    asm.and(edx, dword_ptr(ebx))?;
    asm.mov(eax, edx)?;
    asm.shl(eax, 4)?;
    asm.add(eax, ebx)?;
    asm.cmp(dword_ptr(eax + TABLE_ENTRIES), ecx)?;
    asm.je(found)?;
    asm.cmp(dword_ptr(eax + TABLE_ENTRIES), 0)?;
    asm.je(not_ours)?;
    asm.inc(edx)?;
    asm.jmp(probe)?;
    asm.set_label(&mut found)?;
    if back > 0 {
        asm.mov(eax, dword_ptr(eax + TABLE_ENTRIES + 8))?;
        asm.mov(dword_ptr(edi + UC_EIP), eax)?;
    }
    asm.ret()
}

/// The low half of a constant.
fn word(constant: u64) -> u32 {
    let [a, b, c, d, ..] = constant.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Returns when the tracer had moved the PC to a copy already and died before it continued the
/// thread: the SIGTRAP of the stop is then delivered there.
fn return_from_a_copy(asm: &mut CodeAssembler, data: Data) -> Result<(), IcedError> {
    asm.mov(eax, dword_ptr(edi + UC_EIP))?;
    for range in 0..RANGES as u64 {
        let mut next = asm.create_label();
        asm.cmp(eax, data.at(DATA_RANGES + range * 16))?;
        asm.jb(next)?;
        asm.cmp(eax, data.at(DATA_RANGES + range * 16 + 8))?;
        asm.jae(next)?;
        asm.ret()?;
        asm.set_label(&mut next)?;
        asm.nop()?;
    }
    Ok(())
}

/// Hands a SIGTRAP that is none of ours to the program's own disposition.
fn chain(asm: &mut CodeAssembler, data: Data) -> Result<(), IcedError> {
    let mut by_default = asm.create_label();
    let mut ignored = asm.create_label();
    asm.mov(eax, data.at(DATA_CHAIN))?;
    asm.cmp(eax, 1)?;
    asm.jb(by_default)?;
    asm.je(ignored)?;
    asm.jmp(eax)?;
    asm.set_label(&mut ignored)?;
    // The kernel kills a process that ignores the SIGTRAP of its own int3 (force_sig).
    asm.cmp(dword_ptr(esi + SI_CODE), SI_KERNEL)?;
    asm.je(by_default)?;
    asm.ret()?;
    asm.set_label(&mut by_default)?;
    asm.mov(edi, esi)?;
    asm.mov(eax, NR_RT_SIGACTION)?;
    asm.mov(ebx, SIGTRAP)?;
    asm.mov(ecx, word(data.0 + DATA_DEFAULT))?;
    asm.xor(edx, edx)?;
    asm.mov(esi, 8)?;
    asm.int(0x80)?;
    // The same siginfo again, now by default: to oneself the kernel takes any si_code
    // (rt_tgsigqueueinfo(2)).
    asm.mov(eax, NR_GETPID)?;
    asm.int(0x80)?;
    asm.mov(ebx, eax)?;
    asm.mov(eax, NR_GETTID)?;
    asm.int(0x80)?;
    asm.mov(ecx, eax)?;
    asm.mov(edx, SIGTRAP)?;
    asm.mov(esi, edi)?;
    asm.mov(eax, NR_RT_TGSIGQUEUEINFO)?;
    asm.int(0x80)?;
    asm.ret()
}
