//! The routines that copy memory into a record: see `capture` for what is in which register.
//!
//! No word is read across the end of a page, and no page that has no byte of what is captured: a word that
//! begins in the last seven bytes of a page is read byte by byte. What is read beyond the end lies in the same page. Up to
//! eight bytes are written beyond the capture's end, into what the next record will fill or the tail room.

use iced_x86::code_asm::{
    AsmRegister64, al, byte_ptr, dword_ptr, dx, eax, ecx, edi, edx, esi, qword_ptr, r8, r8d, r9, r9d, r10,
    r10d, r11, rax, rcx, rdi, rdx, rsi, word_ptr,
};

use super::aside;
use super::builder::{Builder, Label, Made, To};
use super::capture::{BACK_TO_AGAIN, BACK_TO_MISS};
use super::plan::CAPTURE_HEAD;
use crate::addr::Addr;
use crate::record::{Interruption, RingLayout, Zones};

const NR_RT_SIGPROCMASK: u32 = 14; // asm/unistd_64.h
const EFAULT: i32 = 14; // asm-generic/errno-base.h

/// Bytes of a page, less one; and the last place in it where a word may begin.
const PAGE_MASK: i32 = 0xfff;
const LAST_WORD: i32 = 0xff8;

/// Where the routines begin.
pub(super) struct Entries {
    pub(super) string: Label,
    pub(super) guess: Label,
    pub(super) fixed: Label,
    pub(super) counted: Label,
    pub(super) unreadable: Label,
    pub(super) null: Label,
}

/// Where the routines end.
struct Ends {
    null: Label,
    /// `eax` has the bytes, `edx` the reason in its bits.
    finish: Label,
    /// `rdx` is behind the last byte.
    fault: Label,
    /// Nothing was read, and nothing can be.
    unreadable: Label,
}

/// Writes them all.
pub(super) fn write(b: &mut Builder, zones: Addr, ring: &RingLayout) -> Made<Entries> {
    let begin = b.here()?;
    let ends = Ends {
        null: b.label(),
        finish: b.label(),
        fault: b.label(),
        unreadable: b.label(),
    };
    let [string_at, ask] = std::array::from_fn(|_| b.label());
    let guess = guess(b, zones, &ends, ask)?;
    b.bind(string_at)?;
    string(b, ring, &ends)?;
    let (counted, fixed) = bytes(b, ring, &ends)?;
    write_ends(b, ring, &ends)?;
    b.bind(ask)?;
    let asking = ask_kernel(b, string_at, ends.unreadable)?;
    let end = b.here()?;
    ways_back(b, asking, Some(r8))?;
    ways_back(b, (begin, end), None)?;
    Ok(Entries {
        string: string_at,
        guess,
        fixed,
        counted,
        unreadable: ends.unreadable,
        null: ends.null,
    })
}

fn head() -> i32 {
    i32::try_from(CAPTURE_HEAD).unwrap_or(0)
}

fn reason(ring: &RingLayout, end: u16) -> u32 {
    u32::from(end) << ring.capture_bits
}

/// Jumps to `edge` when a word at `rsi` would reach into the next page. Changes `r9`.
fn check_page(b: &mut Builder, edge: Label) -> Made {
    b.asm.mov(r9d, esi)?;
    b.asm.and(r9d, PAGE_MASK)?;
    b.asm.cmp(r9d, LAST_WORD)?;
    Ok(b.asm.ja(b.code(edge))?)
}

/// What may be a pointer to a string, which comes next.
fn guess(b: &mut Builder, zones: Addr, ends: &Ends, ask: Label) -> Made<Label> {
    let guess = b.here()?;
    b.asm.mov(rax, rsi)?;
    b.asm.shr(rax, 47)?;
    b.asm.jne(b.code(ends.null))?;
    b.asm.cmp(rsi, 0x10000)?;
    b.asm.jb(b.code(ends.null))?;
    b.asm.mov(rax, rsi)?;
    b.asm.shr(rax, Zones::SHIFT)?;
    b.asm.mov(r8, zones.get())?;
    b.asm.bt(dword_ptr(r8), eax)?; // the bit may lie in any word from there on
    b.asm.jae(b.code(ask))?;
    Ok(guess)
}

/// Asks the kernel whether the word can be read that `rsi` points into: `rt_sigprocmask(2)` fails with `EFAULT` if a mask cannot be read, and
/// with `EINVAL` if it can and it is not told what to do with it. Gives where `r10` is in `r8`.
fn ask_kernel(b: &mut Builder, string: Label, unreadable: Label) -> Made<(Label, Label)> {
    let [keep_rdi, keep_rsi] = aside::CAPTURE.map(Builder::stack);
    b.asm.mov(keep_rdi, rdi)?;
    b.asm.mov(keep_rsi, rsi)?;
    b.asm.mov(rdx, rcx)?; // where the old mask would go: that is looked at last
    b.asm.mov(r8, r10)?;
    b.asm.mov(r9, r11)?;
    let start = b.here()?;
    b.asm.mov(edi, -1)?;
    b.asm.and(rsi, -8)?;
    b.asm.mov(r10d, 8)?;
    b.asm.mov(eax, NR_RT_SIGPROCMASK)?;
    b.asm.syscall()?;
    b.asm.mov(r10, r8)?;
    let end = b.here()?;
    b.asm.mov(r11, r9)?;
    b.asm.mov(rcx, rdx)?;
    b.asm.mov(rdi, keep_rdi)?;
    b.asm.mov(rsi, keep_rsi)?;
    b.asm.cmp(eax, -EFAULT)?;
    b.asm.jne(b.code(string))?;
    b.asm.jmp(b.code(unreadable))?;
    Ok((start, end))
}

/// A string: `rcx` is what may still come, `rdx` where it goes. A byte is zero where subtracting 1 borrows and the
/// byte itself has no upper bit; the lowest such is exact.
fn string(b: &mut Builder, ring: &RingLayout, ends: &Ends) -> Made {
    let [cut, found, found_at, edge, next] = std::array::from_fn(|_| b.label());
    b.asm.test(rsi, rsi)?;
    b.asm.je(b.code(ends.null))?;
    b.asm.lea(rdx, qword_ptr(rdi + head()))?;
    b.bind(next)?;
    check_page(b, edge)?;
    let word = b.here()?;
    b.asm.mov(rax, qword_ptr(rsi))?;
    let loaded = b.here()?;
    b.on(Interruption::Fault, (word, loaded), To::Here(ends.fault));
    b.asm.mov(qword_ptr(rdx), rax)?;
    b.asm.mov(r8, 0xfefe_fefe_fefe_feff_u64)?;
    b.asm.lea(r9, qword_ptr(rax + r8))?;
    b.asm.not(rax)?;
    b.asm.and(r9, rax)?;
    b.asm.mov(r8, 0x8080_8080_8080_8080_u64)?;
    b.asm.and(r9, r8)?;
    b.asm.jne(b.code(found))?;
    b.asm.add(rsi, 8)?;
    b.asm.add(rdx, 8)?;
    b.asm.sub(ecx, 8)?;
    b.asm.jns(b.code(next))?;
    b.bind(cut)?; // the string went on, so that `rcx` came to be what was copied too much, or 0
    b.asm.lea(eax, qword_ptr(rdx + rcx - head()))?;
    b.asm.sub(eax, edi)?;
    b.asm.mov(edx, reason(ring, ring.capture_cut))?;
    b.asm.jmp(b.code(ends.finish))?;
    b.bind(found)?;
    b.asm.bsf(r9, r9)?;
    b.asm.shr(r9d, 3)?;
    b.bind(found_at)?;
    b.asm.cmp(r9d, ecx)?;
    b.asm.jg(b.code(cut))?;
    b.asm.lea(eax, qword_ptr(rdx + r9 - head()))?;
    b.asm.sub(eax, edi)?;
    b.asm.mov(edx, reason(ring, ring.capture_whole))?;
    b.asm.jmp(b.code(ends.finish))?;
    b.bind(edge)?;
    let byte = b.here()?;
    b.asm.movzx(eax, byte_ptr(rsi))?;
    let loaded = b.here()?;
    b.on(Interruption::Fault, (byte, loaded), To::Here(ends.fault));
    b.asm.xor(r9d, r9d)?;
    b.asm.test(eax, eax)?;
    b.asm.je(b.code(found_at))?;
    b.asm.test(ecx, ecx)?;
    b.asm.je(b.code(cut))?;
    b.asm.mov(byte_ptr(rdx), al)?;
    b.asm.inc(rsi)?;
    b.asm.inc(rdx)?;
    b.asm.dec(ecx)?;
    Ok(b.asm.jmp(b.code(next))?)
}

/// Bytes: `rax` is how many, `rcx` what may still come, `rdx` where it goes.
fn bytes(b: &mut Builder, ring: &RingLayout, ends: &Ends) -> Made<(Label, Label)> {
    let [copy, cut, next, edge, done, enough] = std::array::from_fn(|_| b.label());
    let counted = b.here()?;
    b.asm.cmp(rax, rcx)?; // an element has at least one byte
    b.asm.ja(b.code(cut))?;
    b.asm.imul_2(rax, r8)?;
    b.asm.cmp(rax, rcx)?;
    b.asm.jbe(b.code(enough))?;
    b.bind(cut)?;
    b.asm.mov(r8d, reason(ring, ring.capture_cut))?;
    b.asm.jmp(b.code(copy))?;
    let fixed = b.here()?;
    b.asm.mov(eax, ecx)?;
    b.bind(enough)?;
    b.asm.mov(ecx, eax)?;
    b.asm.mov(r8d, reason(ring, ring.capture_whole))?;
    b.bind(copy)?;
    b.asm.test(rsi, rsi)?;
    b.asm.je(b.code(ends.null))?;
    b.asm.add(r8d, ecx)?;
    b.asm.lea(rdx, qword_ptr(rdi + head()))?;
    b.bind(next)?;
    b.asm.test(ecx, ecx)?;
    b.asm.jle(b.code(done))?;
    check_page(b, edge)?;
    let word = b.here()?;
    b.asm.mov(rax, qword_ptr(rsi))?;
    let loaded = b.here()?;
    b.on(Interruption::Fault, (word, loaded), To::Here(ends.fault));
    b.asm.mov(qword_ptr(rdx), rax)?;
    b.asm.add(rsi, 8)?;
    b.asm.add(rdx, 8)?;
    b.asm.sub(ecx, 8)?;
    b.asm.jmp(b.code(next))?;
    b.bind(edge)?;
    let byte = b.here()?;
    b.asm.movzx(eax, byte_ptr(rsi))?;
    let loaded = b.here()?;
    b.on(Interruption::Fault, (byte, loaded), To::Here(ends.fault));
    b.asm.mov(byte_ptr(rdx), al)?;
    b.asm.inc(rsi)?;
    b.asm.inc(rdx)?;
    b.asm.dec(ecx)?;
    b.asm.jmp(b.code(next))?;
    b.bind(done)?;
    b.asm.mov(edx, r8d)?;
    b.asm.mov(eax, r8d)?;
    b.asm.and(eax, (1 << ring.capture_bits) - 1)?;
    b.asm.xor(edx, eax)?;
    b.asm.jmp(b.code(ends.finish))?;
    Ok((counted, fixed))
}

/// Writes what stands before the bytes, and goes back.
fn write_ends(b: &mut Builder, ring: &RingLayout, ends: &Ends) -> Made {
    b.bind(ends.null)?;
    b.asm.xor(eax, eax)?;
    b.asm.mov(edx, reason(ring, ring.capture_null))?;
    b.asm.jmp(b.code(ends.finish))?;
    b.bind(ends.unreadable)?;
    b.asm.lea(rdx, qword_ptr(rdi + head()))?;
    b.bind(ends.fault)?;
    b.asm.lea(eax, qword_ptr(rdx - head()))?;
    b.asm.sub(eax, edi)?;
    b.asm.mov(edx, reason(ring, ring.capture_fault))?;
    b.bind(ends.finish)?;
    b.asm.or(edx, eax)?;
    b.asm.mov(word_ptr(rdi), dx)?;
    b.asm.lea(rdi, qword_ptr(rdi + rax + (head() + 7)))?;
    b.asm.and(rdi, -8)?;
    Ok(b.asm.jmp(r10)?)
}

/// Interrupted threads go to what stands in the stub before the place that the routine comes back to. That is in `kept`, or still where it was.
fn ways_back(b: &mut Builder, range: (Label, Label), kept: Option<AsmRegister64>) -> Made {
    for (why, back) in [
        (Interruption::Signal, BACK_TO_AGAIN),
        (Interruption::Fault, BACK_TO_MISS),
        (Interruption::Leave, BACK_TO_MISS),
    ] {
        let way = b.here()?;
        b.on(why, range, To::Here(way));
        if let Some(kept) = kept {
            b.asm.mov(r10, kept)?;
        }
        b.asm.add(r10, back)?;
        b.asm.jmp(r10)?;
    }
    Ok(())
}
