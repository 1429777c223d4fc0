//! Which instructions can be emulated, and how.

use iced_x86::{Code, Mnemonic, OpKind, Register};

use super::emulate::{Action, Condition, Op, Operand, Place};
use super::{Decoded, Mode};
use crate::regs::Reg;
use crate::x86::{i386, x86_64};

/// How to emulate an instruction, if that is known.
pub(super) fn of(decoded: &Decoded<'_>) -> Option<Op> {
    let action = branch(decoded)
        .or_else(|| stack(decoded))
        .or_else(|| data(decoded))?;
    Some(Op {
        action,
        next: decoded.next(),
        mode: decoded.mode,
    })
}

/// Instructions that go somewhere, and those that do nothing.
fn branch(decoded: &Decoded<'_>) -> Option<Action> {
    let instruction = &decoded.instruction;
    Some(match instruction.mnemonic() {
        Mnemonic::Nop | Mnemonic::Endbr64 | Mnemonic::Endbr32 | Mnemonic::Pause => {
            Action::Goto(decoded.next())
        }
        Mnemonic::Jmp if decoded.near_target().is_some() => Action::Goto(decoded.near_target()?),
        Mnemonic::Jmp if instruction.code().is_jmp_near_indirect() => Action::Jump(operand(decoded, 0)?),
        Mnemonic::Call if decoded.near_target().is_some() => {
            Action::Call(Operand::Constant(decoded.near_target()?))
        }
        Mnemonic::Call if instruction.code().is_call_near_indirect() => Action::Call(operand(decoded, 0)?),
        Mnemonic::Jrcxz => Action::Branch(Condition::CountZero(u64::MAX), decoded.near_target()?),
        Mnemonic::Jecxz => Action::Branch(Condition::CountZero(0xffff_ffff), decoded.near_target()?),
        _ if instruction.is_jcc_short_or_near() => Action::Branch(
            Condition::Flags(instruction.condition_code()),
            decoded.near_target()?,
        ),
        _ => return None,
    })
}

/// Instructions that push and pop whole words.
fn stack(decoded: &Decoded<'_>) -> Option<Action> {
    Some(match decoded.instruction.code() {
        Code::Push_r64
        | Code::Push_r32
        | Code::Push_rm64
        | Code::Push_rm32
        | Code::Pushq_imm8
        | Code::Pushq_imm32
        | Code::Pushd_imm8
        | Code::Pushd_imm32 => Action::Push(operand(decoded, 0)?),
        Code::Pop_r64 | Code::Pop_r32 => match operand(decoded, 0)? {
            Operand::Register(reg, _) => Action::Pop(reg),
            _ => return None,
        },
        Code::Retnq | Code::Retnd => Action::Return(0),
        Code::Retnq_imm16 | Code::Retnd_imm16 => Action::Return(decoded.instruction.immediate16()),
        Code::Leaveq | Code::Leaved => Action::Leave,
        _ => return None,
    })
}

/// Instructions that move words, and the arithmetic of function prologues.
fn data(decoded: &Decoded<'_>) -> Option<Action> {
    let two = || Some((operand(decoded, 0)?, operand(decoded, 1)?));
    match decoded.instruction.code() {
        Code::Mov_r64_rm64
        | Code::Mov_rm64_r64
        | Code::Mov_r32_rm32
        | Code::Mov_rm32_r32
        | Code::Mov_r64_imm64
        | Code::Mov_r32_imm32
        | Code::Mov_rm64_imm32
        | Code::Mov_rm32_imm32 => two().map(|(to, from)| Action::Move { to, from }),
        Code::Lea_r64_m | Code::Lea_r32_m => {
            let size = width(decoded.instruction.op0_register())?;
            let from = Operand::Address(place(decoded, true)?, size);
            Some(Action::Move {
                to: operand(decoded, 0)?,
                from,
            })
        }
        _ => arithmetic(decoded),
    }
}

fn arithmetic(decoded: &Decoded<'_>) -> Option<Action> {
    let (left, right) = (operand(decoded, 0)?, operand(decoded, 1)?);
    match (decoded.instruction.mnemonic(), left) {
        (Mnemonic::Add, Operand::Register(to, size)) => Some(Action::Add {
            to,
            from: right,
            size,
        }),
        (Mnemonic::Sub, Operand::Register(to, size)) => Some(Action::Subtract {
            to: Some(to),
            left,
            right,
            size,
        }),
        (Mnemonic::Cmp, Operand::Register(_, size) | Operand::Memory(_, size)) => Some(Action::Subtract {
            to: None,
            left,
            right,
            size,
        }),
        _ => None,
    }
}

/// Operand number `index`, if it is a whole register, a word in memory or a constant.
fn operand(decoded: &Decoded<'_>, index: u32) -> Option<Operand> {
    let instruction = &decoded.instruction;
    match instruction.try_op_kind(index).ok()? {
        OpKind::Register => {
            let register = instruction.op_register(index);
            Some(Operand::Register(
                general(register, decoded.mode)?,
                width(register)?,
            ))
        }
        OpKind::Memory => {
            let size = u8::try_from(instruction.memory_size().size()).ok()?;
            matches!(size, 4 | 8).then_some(())?;
            Some(Operand::Memory(place(decoded, false)?, size))
        }
        _ => instruction
            .try_immediate(index)
            .ok()
            .map(|value| Operand::Constant(decoded.mode.wrap(value))),
    }
}

/// The address of the memory operand. The base addresses of i386's segments are not in its register set.
fn place(decoded: &Decoded<'_>, is_lea: bool) -> Option<Place> {
    let instruction = &decoded.instruction;
    let segment = match instruction.memory_segment() {
        _ if is_lea => None,
        Register::FS if decoded.mode == Mode::Bits64 => Some(x86_64::FS_BASE),
        Register::GS if decoded.mode == Mode::Bits64 => Some(x86_64::GS_BASE),
        Register::FS | Register::GS => return None,
        _ => None,
    };
    let part = |register| match register {
        Register::None | Register::RIP => Some(None),
        // A part of a 64-bit register: the address would have to be truncated.
        _ if width(register)? == decoded.mode.word() => general(register, decoded.mode).map(Some),
        _ => None,
    };
    Some(Place {
        segment,
        base: part(instruction.memory_base())?,
        index: part(instruction.memory_index())?,
        scale: u8::try_from(instruction.memory_index_scale()).ok()?,
        displacement: instruction.memory_displacement64(),
        mode: decoded.mode,
    })
}

/// The size of a general register, if it is 4 or 8.
fn width(register: Register) -> Option<u8> {
    match register {
        _ if register.is_gpr64() => Some(8),
        _ if register.is_gpr32() => Some(4),
        _ => None,
    }
}

/// Where a general register lies in the register set of `mode`.
fn general(register: Register, mode: Mode) -> Option<Reg> {
    width(register)?;
    match mode {
        Mode::Bits64 => GENERAL_64.get(register.number()).copied(),
        Mode::Bits32 => GENERAL_32.get(register.number()).copied(),
    }
}

/// By the number that instructions give them (Intel SDM, "ModR/M and SIB Bytes").
const GENERAL_32: [Reg; 8] = [
    i386::EAX,
    i386::ECX,
    i386::EDX,
    i386::EBX,
    i386::ESP,
    i386::EBP,
    i386::ESI,
    i386::EDI,
];

/// By the number that instructions give them (Intel SDM, "REX Prefixes").
const GENERAL_64: [Reg; 16] = [
    x86_64::RAX,
    x86_64::RCX,
    x86_64::RDX,
    x86_64::RBX,
    x86_64::RSP,
    x86_64::RBP,
    x86_64::RSI,
    x86_64::RDI,
    x86_64::R8,
    x86_64::R9,
    x86_64::R10,
    x86_64::R11,
    x86_64::R12,
    x86_64::R13,
    x86_64::R14,
    x86_64::R15,
];
