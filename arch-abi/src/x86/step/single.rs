//! Copies that are single-stepped.

use iced_x86::Code;

use super::copy::relocated;
use super::{Decoded, Mode, decode_plan, is_far_call};
use crate::addr::Addr;
use crate::step::{CopyError, MAX_INSTRUCTION, Pushed, StepPlan, SteppedCopy};
use crate::x86::x86_64;

/// TF, which the single step sets (Intel SDM, "EFLAGS Register").
const TRAP_FLAG: u64 = 1 << 8;

/// The copy of `plan`'s instruction for `to` that is single-stepped. A branch relative to the program
/// counter stays as it is: it goes nowhere before the step is over.
pub(crate) fn stepped_copy(plan: &StepPlan, to: Addr) -> Result<SteppedCopy, CopyError> {
    let at = plan.at();
    let decoded = decode_plan(plan).ok_or(CopyError::NoCopy { at })?;
    let code = relocated(&decoded, decoded.bytes, at, to)?;
    let mut bytes = [0; MAX_INSTRUCTION];
    bytes
        .get_mut(..code.len())
        .ok_or(CopyError::NoCopy { at })?
        .copy_from_slice(&code);
    let is_syscall = decoded.mode == Mode::Bits64 && decoded.instruction.code() == Code::Syscall;
    Ok(SteppedCopy {
        to,
        bytes,
        len: u8::try_from(code.len()).map_err(|_| CopyError::NoCopy { at })?,
        at,
        next: Addr::new(decoded.next()),
        relative: decoded.near_target().is_some(),
        pushed: pushed(&decoded),
        set: is_syscall.then(|| (x86_64::RCX, decoded.next())),
    })
}

fn pushed(decoded: &Decoded<'_>) -> Option<Pushed> {
    let code = decoded.instruction.code();
    let flags = |size| {
        Some(Pushed::Flags {
            size,
            clear: TRAP_FLAG,
        })
    };
    match code {
        Code::Pushfw => flags(2),
        Code::Pushfd => flags(4),
        Code::Pushfq => flags(8),
        _ if is_far_call(code) => Some(Pushed::ReturnAddress { size: far_word(code) }),
        _ if code.is_call_near() || code.is_call_near_indirect() => Some(Pushed::ReturnAddress {
            size: decoded.mode.word(),
        }),
        _ => None,
    }
}

/// How many bytes a far call pushes for the program counter: its operand size (Intel SDM, "CALL").
fn far_word(code: Code) -> u8 {
    match code {
        Code::Call_m1616 | Code::Call_ptr1616 => 2,
        Code::Call_m1664 => 8,
        _ => 4,
    }
}
