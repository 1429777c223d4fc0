//! x86-64: the handler that outlives a tracer (see `arch_abi::guard`).

use iced_x86::IcedError;
use iced_x86::code_asm::{
    CodeAssembler, CodeLabel, dword_ptr, eax, edi, edx, esi, qword_ptr, r8, r9, r10, r10d, r11, rax, rbx,
    rcx, rdi, rdx, rsi, rsp,
};

use super::guard::{SI_CODE, SI_KERNEL, SIGTRAP};
use crate::addr::Addr;
use crate::guard::{DATA_CHAIN, DATA_DEFAULT, DATA_RANGES, DATA_TABLE, HASH, RANGES, TABLE_ENTRIES};

/// `uc_mcontext.gregs[REG_RIP]` in the kernel's `struct ucontext` (`asm/ucontext.h`,
/// `asm/sigcontext.h`: flags, link and stack take 40 bytes, sixteen registers precede `rip`).
const UC_RIP: i32 = 40 + 16 * 8;
// asm/unistd_64.h
const NR_RT_SIGACTION: u32 = 13;
const NR_GETPID: u32 = 39;
const NR_GETTID: u32 = 186;
const NR_RT_TGSIGQUEUEINFO: u32 = 297;
const NR_RT_SIGRETURN: u32 = 15;

/// The handler, for code that lies at its start: the restorer first.
pub(super) fn handler(asm: &mut CodeAssembler, data: Addr) -> Result<CodeLabel, IcedError> {
    // sigreturn(2): the restorer is what the handler returns to.
    asm.mov(eax, NR_RT_SIGRETURN)?;
    asm.syscall()?;
    let mut handler = asm.create_label();
    let mut foreign = asm.create_label();
    let mut not_behind = asm.create_label();
    let mut not_ours = asm.create_label();
    asm.set_label(&mut handler)?;
    asm.mov(r8, data.get())?;
    asm.cmp(dword_ptr(rsi + SI_CODE), SI_KERNEL)?;
    asm.jne(foreign)?;
    look_up(asm, 1, not_behind)?;
    asm.set_label(&mut not_behind)?;
    look_up(asm, 0, not_ours)?;
    asm.set_label(&mut not_ours)?;
    return_from_a_copy(asm)?;
    asm.set_label(&mut foreign)?;
    chain(asm)?;
    Ok(handler)
}

/// Searches the table for the trap `back` bytes before the interrupted PC. Behind a trap, the thread is sent to its
/// copy. On one, the tracer had put it back and died before it let the thread go: it goes on there.
fn look_up(asm: &mut CodeAssembler, back: i32, not_ours: CodeLabel) -> Result<(), IcedError> {
    let mut probe = asm.create_label();
    let mut found = asm.create_label();
    asm.mov(rcx, qword_ptr(rdx + UC_RIP))?;
    asm.sub(rcx, back)?;
    asm.mov(r9, qword_ptr(r8 + DATA_TABLE))?;
    asm.test(r9, r9)?;
    asm.je(not_ours)?;
    asm.mov(r10, qword_ptr(r9))?;
    asm.mov(r11, HASH)?;
    asm.imul_2(r11, rcx)?;
    asm.shr(r11, 32)?;
    asm.set_label(&mut probe)?;
    asm.and(r11, r10)?;
    asm.mov(rax, r11)?;
    asm.shl(rax, 4)?;
    asm.add(rax, r9)?;
    asm.cmp(qword_ptr(rax + TABLE_ENTRIES), rcx)?;
    asm.je(found)?;
    asm.cmp(qword_ptr(rax + TABLE_ENTRIES), 0)?;
    asm.je(not_ours)?;
    asm.inc(r11)?;
    asm.jmp(probe)?;
    asm.set_label(&mut found)?;
    if back > 0 {
        asm.mov(rax, qword_ptr(rax + TABLE_ENTRIES + 8))?;
        asm.mov(qword_ptr(rdx + UC_RIP), rax)?;
    }
    asm.ret()
}

/// Returns when the tracer had moved the PC to a copy already and died before it continued the
/// thread: the SIGTRAP of the stop is then delivered there.
fn return_from_a_copy(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    asm.mov(rax, qword_ptr(rdx + UC_RIP))?;
    for range in 0..RANGES as u64 {
        let mut next = asm.create_label();
        asm.cmp(rax, qword_ptr(r8 + (DATA_RANGES + range * 16)))?;
        asm.jb(next)?;
        asm.cmp(rax, qword_ptr(r8 + (DATA_RANGES + range * 16 + 8)))?;
        asm.jae(next)?;
        asm.ret()?;
        asm.set_label(&mut next)?;
        asm.nop()?;
    }
    Ok(())
}

/// Hands a SIGTRAP that is none of ours to the program's own disposition.
fn chain(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut by_default = asm.create_label();
    let mut ignored = asm.create_label();
    asm.mov(rax, qword_ptr(r8 + DATA_CHAIN))?;
    asm.cmp(rax, 1)?;
    asm.jb(by_default)?;
    asm.je(ignored)?;
    asm.jmp(rax)?;
    asm.set_label(&mut ignored)?;
    // The kernel kills a process that ignores the SIGTRAP of its own int3 (force_sig).
    asm.cmp(dword_ptr(rsi + SI_CODE), SI_KERNEL)?;
    asm.je(by_default)?;
    asm.ret()?;
    asm.set_label(&mut by_default)?;
    asm.push(rbx)?;
    asm.mov(rbx, rsi)?;
    asm.mov(eax, NR_RT_SIGACTION)?;
    asm.mov(edi, SIGTRAP)?;
    asm.lea(rsi, qword_ptr(r8 + DATA_DEFAULT))?;
    asm.xor(edx, edx)?;
    asm.mov(r10d, 8)?;
    asm.syscall()?;
    // The same siginfo again, now by default: to oneself the kernel takes any si_code
    // (rt_tgsigqueueinfo(2)).
    asm.mov(eax, NR_GETPID)?;
    asm.syscall()?;
    asm.mov(rdi, rax)?;
    asm.push(rdi)?;
    asm.mov(eax, NR_GETTID)?;
    asm.syscall()?;
    asm.mov(esi, eax)?;
    asm.mov(rdi, qword_ptr(rsp))?;
    asm.mov(edx, SIGTRAP)?;
    asm.mov(r10, rbx)?;
    asm.mov(eax, NR_RT_TGSIGQUEUEINFO)?;
    asm.syscall()?;
    asm.pop(rdi)?;
    asm.pop(rbx)?;
    asm.ret()
}
