//! The signal handler that keeps an x86-64 process alive when its tracer has died.
//!
//! A tracer that is killed leaves its `int3` instructions behind, and each is a death for the
//! thread that meets it. This handler for SIGTRAP sends such a thread to the displaced copy of the
//! instruction instead. While a tracer is there it never runs: the tracer sees SIGTRAP first and
//! suppresses it.
//!
//! The handler only reads its data, so code and data may lie in one mapping that the process itself
//! cannot write. Whoever writes them from outside stores the copy of a table entry before its trap,
//! and a whole new table before the pointer to it, so that the handler is right at any instant.

use iced_x86::IcedError;
use iced_x86::code_asm::{
    CodeAssembler, CodeLabel, dword_ptr, eax, edi, edx, esi, qword_ptr, r8, r9, r10, r10d, r11, rax, rbx,
    rcx, rdi, rdx, rsi, rsp,
};

use crate::addr::Addr;

/// `uc_mcontext.gregs[REG_RIP]` in the kernel's `struct ucontext` (`asm/ucontext.h`,
/// `asm/sigcontext.h`: flags, link and stack take 40 bytes, sixteen registers precede `rip`).
const UC_RIP: i32 = 40 + 16 * 8;
/// `si_code` in `siginfo_t`.
const SI_CODE: i32 = 8;
/// `si_code` of the SIGTRAP that an `int3` raises on x86 (`arch/x86/kernel/traps.c`, `do_int3`).
const SI_KERNEL: i32 = 0x80;
const SIGTRAP: u32 = 5;
const NR_RT_SIGACTION: u32 = 13;
const NR_GETPID: u32 = 39;
const NR_GETTID: u32 = 186;
const NR_RT_TGSIGQUEUEINFO: u32 = 297;
const NR_RT_SIGRETURN: u32 = 15;

/// Byte offset in the data of the address of the table; zero while there is none.
pub const DATA_TABLE: u64 = 0;
/// Byte offset in the data of the program's own handler of SIGTRAP: `SIG_DFL` (0), `SIG_IGN` (1)
/// or an address.
pub const DATA_CHAIN: u64 = 8;
/// Byte offset in the data of [`RANGES`] pairs of addresses (start, end), the areas of displaced
/// copies; unused ones are zero.
pub const DATA_RANGES: u64 = 16;
/// How many areas of displaced copies the handler knows.
pub const RANGES: usize = 8;
/// Byte offset in the data of a `struct sigaction` of zeros: the default disposition.
const DATA_DEFAULT: u64 = DATA_RANGES + RANGES as u64 * 16;
/// Size of the data in bytes.
pub const DATA_LEN: u64 = DATA_DEFAULT + 32;

/// Byte offset of a table's first entry: before it stands the number of entries minus one, a
/// 64-bit word. An entry is the trap's address and the copy's, both 64 bits; a free entry is zero.
pub const TABLE_ENTRIES: u64 = 16;

/// Multiplier of the hash (2⁶⁴ divided by the golden ratio).
const HASH: u64 = 0x9e37_79b9_7f4a_7c15;

/// The entry of a table of `mask + 1` entries at which the search for `trap` begins; it goes on
/// from one entry to the next, round the end, up to a free one.
#[must_use]
pub const fn first_entry(trap: Addr, mask: u64) -> u64 {
    (trap.get().wrapping_mul(HASH) >> 32) & mask
}

/// The code of the guard.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The bytes, to be placed at the address that was given.
    pub code: Vec<u8>,
    /// The handler of SIGTRAP: `sa_sigaction`, to be installed with `SA_SIGINFO | SA_NODEFER`.
    pub handler: Addr,
    /// The restorer: `sa_restorer`, with `SA_RESTORER`.
    pub restorer: Addr,
}

/// Assembles the guard for the place `at`, with its data at `data`.
///
/// # Errors
/// The assembler refuses; it does so for no address known.
pub fn assemble(at: Addr, data: Addr) -> Result<Guard, IcedError> {
    let mut asm = CodeAssembler::new(64)?;
    // sigreturn(2): the restorer is what the handler returns to.
    asm.mov(eax, NR_RT_SIGRETURN)?;
    asm.syscall()?;
    let mut handler = asm.create_label();
    let mut foreign = asm.create_label();
    let mut not_ours = asm.create_label();
    asm.set_label(&mut handler)?;
    asm.mov(r8, data.get())?;
    asm.cmp(dword_ptr(rsi + SI_CODE), SI_KERNEL)?;
    asm.jne(foreign)?;
    look_up(&mut asm, not_ours)?;
    asm.set_label(&mut not_ours)?;
    return_from_a_copy(&mut asm)?;
    asm.set_label(&mut foreign)?;
    chain(&mut asm)?;
    let options = iced_x86::BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
    let assembled = asm.assemble_options(at.get(), options)?;
    let handler = assembled.label_ip(&handler)?;
    Ok(Guard {
        code: assembled.inner.code_buffer,
        handler: Addr::new(handler),
        restorer: at,
    })
}

/// Searches the table for the trap before the interrupted PC, and sends the thread to its copy.
fn look_up(asm: &mut CodeAssembler, not_ours: CodeLabel) -> Result<(), IcedError> {
    let mut probe = asm.create_label();
    let mut found = asm.create_label();
    asm.mov(rcx, qword_ptr(rdx + UC_RIP))?;
    asm.sub(rcx, 1)?;
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
    asm.mov(rax, qword_ptr(rax + TABLE_ENTRIES + 8))?;
    asm.mov(qword_ptr(rdx + UC_RIP), rax)?;
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
