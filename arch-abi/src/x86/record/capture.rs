//! Copies memory into records: what a stub does for each capture, and the routines of the common code that copy.
//!
//! Registers between the two: `rdi` where in the record the capture begins, and afterwards where it ends; `r10` where in the stub the
//! routine comes back to; `rsi` the pointer; `rcx` the most bytes; for `Counted` the count in `rax` and the size of an element in `r8`.
//! `r11` has the record's start and is left alone. All but `rdi`, `r10` and `r11` may be changed.

use iced_x86::code_asm::{
    AsmRegister64, dword_ptr, eax, ecx, edx, qword_ptr, r8d, r10, r11, rax, rdi, rdx, rsi, rsp,
};

use super::builder::{Builder, Label, Made, Side, To};
use super::common::Routine;
use super::plan::Plan;
use super::{INTS, STACK_ARGS, aside};
use crate::record::{Capture, Count, Interruption, Length, Pointer, REMEMBERED, Shadow, Step, va_list};

/// What a thread does that is interrupted in a capture.
pub(super) struct Ways {
    pub(super) side: Side,
    /// Begins the record again.
    pub(super) again: Label,
    /// Goes on without it.
    pub(super) miss: Label,
}

/// Bytes before the place that a routine comes back to: a jump to [`Ways::again`], and one to [`Ways::miss`].
pub(super) const BACK_TO_AGAIN: i32 = -10;
pub(super) const BACK_TO_MISS: i32 = -5;

/// Before the first capture: goes to [`Ways::miss`] if the tracer has died. What cannot be read is a fault, which nobody would deal with any more: it
/// would end the program.
pub(super) fn attended(b: &mut Builder, plan: &Plan<'_>, ways: &Ways) -> Made {
    let ring = plan.ring;
    b.asm.mov(rsi, Builder::block(ring.header))?;
    b.asm.test(dword_ptr(rsi + ring.consumer), ring.consumer_died)?;
    Ok(b.asm.jne(b.code(ways.miss))?)
}

/// One capture.
pub(super) fn capture(b: &mut Builder, plan: &Plan<'_>, ways: &Ways, capture: &Capture) -> Made {
    let after = b.label();
    b.asm.lea(r10, qword_ptr(b.code(after)))?;
    Source::of(plan, ways.side, capture.pointer).load(b, plan, rsi, 8, false)?;
    for step in capture.through.steps() {
        follow(b, plan, ways.side, step)?;
    }
    let most = u32::from(capture.length.most());
    let routine = match capture.length {
        Length::String { .. } => Routine::String,
        Length::Guess { .. } => Routine::Guess,
        Length::Fixed(_) => Routine::Fixed,
        Length::Counted { count, element, .. } => {
            let (value, bytes, signed) = match count {
                Count::Int { index, bytes, signed } => (Pointer::Int(index), bytes, signed),
                Count::Result { bytes, signed } => (Pointer::Result, bytes, signed),
            };
            Source::of(plan, ways.side, value).load(b, plan, rax, bytes, signed)?;
            if signed {
                b.asm.xor(edx, edx)?;
                b.asm.test(rax, rax)?;
                b.asm.cmovs(rax, rdx)?;
            }
            b.asm.mov(r8d, u32::from(element))?;
            Routine::Counted
        }
    };
    b.asm.mov(ecx, most)?;
    b.jump(To::There(plan.routine(ways.side, routine)))?;
    b.jump(To::Here(ways.again))?;
    b.jump(To::Here(ways.miss))?;
    b.bind(after)
}

/// Goes from the pointer in `rsi` to the next.
fn follow(b: &mut Builder, plan: &Plan<'_>, side: Side, step: Step) -> Made {
    let there = b.label();
    b.asm.test(rsi, rsi)?;
    b.asm.jne(b.code(there))?;
    b.jump(To::There(plan.routine(side, Routine::Null)))?;
    b.bind(there)?;
    let start = b.here()?;
    match step {
        Step::Word(offset) => b.asm.mov(rsi, qword_ptr(rsi + u32::from(offset)))?,
        Step::VaArg(number) => va_arg(b, i32::from(number) * 8)?,
    }
    let end = b.here()?;
    let unreadable = To::There(plan.routine(side, Routine::Unreadable));
    b.on(Interruption::Fault, (start, end), unreadable);
    Ok(())
}

/// Loads the word that is so many bytes behind the next integer argument of the `va_list` at `rsi` (psABI, "The `va_list` Type":
/// `gp_offset` comes first; from the end of the saved integer registers on it goes on on the stack).
fn va_arg(b: &mut Builder, behind: i32) -> Made {
    let in_register = b.label();
    b.asm.mov(eax, dword_ptr(rsi))?;
    b.asm.add(eax, behind)?;
    b.asm.mov(rdx, qword_ptr(rsi + u32::from(va_list::SAVED)))?;
    b.asm.cmp(eax, i32::from(va_list::SAVED_INTS) - 8)?;
    b.asm.jbe(b.code(in_register))?;
    b.asm.mov(rdx, qword_ptr(rsi + u32::from(va_list::STACKED)))?;
    b.asm.sub(eax, i32::from(va_list::SAVED_INTS))?;
    b.bind(in_register)?;
    Ok(b.asm.mov(rsi, qword_ptr(rdx + rax))?)
}

/// After the last capture: all bytes of the record in `rdi`, and in `eax` as a first half word has them.
pub(super) fn total(b: &mut Builder, plan: &Plan<'_>) -> Made {
    b.asm.sub(rdi, r11)?;
    b.asm.mov(rax, rdi)?;
    Ok(b.asm.shl(eax, plan.ring.length_shift - 3)?)
}

/// Where a value lies that a capture needs.
struct Source {
    side: Side,
    place: Place,
}

enum Place {
    /// At the stack pointer, so far from it.
    Stack(i32),
    /// In this of the shadows.
    Shadow(Shadow),
}

impl Source {
    fn of(plan: &Plan<'_>, side: Side, value: Pointer) -> Source {
        let place = match (side, value) {
            (Side::Entry, Pointer::Int(index)) => Place::Stack(INTS[usize::from(index)].1),
            (Side::Entry, Pointer::Stack(index)) => Place::Stack(STACK_ARGS + 8 * i32::from(index)),
            // `Plan` has refused it at the entry.
            (_, Pointer::Result) => Place::Stack(aside::RAX),
            (Side::Return, value) => {
                let index = plan.remembered.iter().position(|&known| known == value);
                Place::Shadow(REMEMBERED[index.unwrap_or(0)])
            }
        };
        Source { side, place }
    }

    /// Loads it. If there is nothing to be loaded from, the capture tells so.
    fn load(&self, b: &mut Builder, plan: &Plan<'_>, to: AsmRegister64, bytes: u8, signed: bool) -> Made {
        let (base, offset) = match self.place {
            Place::Stack(offset) => (rsp, offset),
            Place::Shadow(shadow) => {
                b.asm.lea(to, qword_ptr(rsp - 8))?;
                b.shadow(to, shadow)?;
                (to, i32::try_from(shadow.past).unwrap_or(0))
            }
        };
        let start = b.here()?;
        match (bytes, signed) {
            (4, true) => b.asm.movsxd(to, dword_ptr(base + offset))?,
            // A load of 32 bits clears the upper half; of the two registers that are loaded only this one is a count.
            (4, false) => b.asm.mov(eax, dword_ptr(base + offset))?,
            _ => b.asm.mov(to, qword_ptr(base + offset))?,
        }
        let end = b.here()?;
        let unreadable = To::There(plan.routine(self.side, Routine::Unreadable));
        b.on(Interruption::Fault, (start, end), unreadable);
        Ok(())
    }
}
