//! Copies that go back by themselves.
//!
//! | instruction | copy |
//! |---|---|
//! | most | itself, operands relative to the program counter re-encoded; `jmp` after the original |
//! | `jmp` to a fixed place | `jmp` there |
//! | `jcc`, `loop`, `jrcxz` | itself over a `jmp` to after the original, to a `jmp` to its target |
//! | `call` | push of the *original* return address, in instructions that change no flags; `jmp` |
//! | `syscall` | itself, the original's return address in `%rcx`; `jmp` after the original |
//!
//! Not kept: the address of the last x87 instruction, which `fnstenv` stores; a restartable sequence
//! (rseq(2)) in which the instruction stands; the user-mode shadow stack at a `call`, which
//! gets no return address from a push.

use iced_x86::{Code, Encoder, Mnemonic, Register};

use super::{Decoded, Mode, decode_plan, is_sp};
use crate::addr::Addr;
use crate::step::{CopyError, DisplacedCopy, MAX_COPY, MAX_INSTRUCTION, Progress, StepPlan};
use crate::x86::x86_64;

/// A copy that is being written.
struct Copier<'a> {
    decoded: Decoded<'a>,
    at: Addr,
    copy: DisplacedCopy,
}

/// The copy of `plan`'s instruction for `to`.
pub(crate) fn displaced_copy(plan: &StepPlan, to: Addr) -> Result<DisplacedCopy, CopyError> {
    let at = plan.at();
    let decoded = decode_plan(plan).ok_or(CopyError::NoCopy { at })?;
    let mut copier = Copier {
        decoded,
        at,
        copy: DisplacedCopy::new(to),
    };
    copier.write()?;
    Ok(copier.copy)
}

impl Copier<'_> {
    fn write(&mut self) -> Result<(), CopyError> {
        self.place(Progress::NotRun, self.at.get(), 0)?;
        let instruction = &self.decoded.instruction;
        let target = self.decoded.near_target();
        match (instruction.mnemonic(), target) {
            (Mnemonic::Jmp, Some(target)) => self.jump(target),
            (Mnemonic::Call, Some(target)) => self.call(target),
            (Mnemonic::Xbegin, Some(target)) => self.transaction(target),
            (_, Some(target)) => self.conditional(target),
            (Mnemonic::Call, None) if instruction.code().is_call_near_indirect() => self.call_indirect(),
            (Mnemonic::Call, None) => Err(self.no_copy()),
            (Mnemonic::Syscall, None) if self.decoded.mode == Mode::Bits64 => self.syscall(),
            (_, None) => self.itself(),
        }
    }

    fn itself(&mut self) -> Result<(), CopyError> {
        let code = relocated(&self.decoded, self.decoded.bytes, self.at, self.copy.end())?;
        self.emit(&code)?;
        self.place(Progress::Done, self.decoded.next(), 0)?;
        self.jump(self.decoded.next())
    }

    /// `jcc over; jmp next; over: jmp target`.
    fn conditional(&mut self, target: u64) -> Result<(), CopyError> {
        let mut code = self.short_form();
        let after = self.copy.end().wrapping_add(code.len() as u64);
        let to_next = self.jump_code(after, self.decoded.next());
        let over = u8::try_from(to_next.len()).map_err(|_| self.no_copy())?;
        *code.last_mut().ok_or(self.no_copy())? = over;
        self.emit(&code)?;
        self.place(Progress::Done, self.decoded.next(), 0)?;
        self.emit(&to_next)?;
        self.place(Progress::Done, target, 0)?;
        self.jump(target)
    }

    /// The conditional branch with a displacement of one byte, which is its last.
    fn short_form(&self) -> Vec<u8> {
        match self.decoded.split_prefixes().1 {
            // Intel SDM, "Jcc": 0F 80+cc with four bytes, 70+cc with one. REX is ignored in front.
            [0x0f, near, ..] | [_, 0x0f, near, ..] if self.decoded.instruction.is_jcc_near() => {
                vec![0x70 | near & 0xf, 0]
            }
            _ => self.decoded.bytes.to_vec(), // `jcc`, `loop`, `jrcxz` have one byte
        }
    }

    /// `xbegin`: the place for aborts is re-encoded.
    fn transaction(&mut self, target: u64) -> Result<(), CopyError> {
        let mut code = self.decoded.bytes.to_vec();
        let start = code.len().checked_sub(4).ok_or(self.no_copy())?;
        let to = self.copy.end();
        let relative = self.relative(to.wrapping_add(code.len() as u64), target);
        let relative = relative.ok_or(self.out_of_reach(target))?;
        code[start..].copy_from_slice(&relative);
        self.emit(&code)?;
        self.place(Progress::Done, self.decoded.next(), 0)?;
        self.jump(self.decoded.next())
    }

    fn call(&mut self, target: u64) -> Result<(), CopyError> {
        self.push_return_address()?;
        self.place(Progress::Done, target, 0)?;
        self.jump(target)
    }

    /// `call *operand` becomes a push and `jmp *operand`, which reads the operand after the push.
    fn call_indirect(&mut self) -> Result<(), CopyError> {
        self.push_return_address()?;
        self.place(Progress::NotRun, self.at.get(), self.decoded.mode.word())?;
        let instruction = &self.decoded.instruction;
        let uses_sp = is_sp(instruction.op0_register()) || is_sp(instruction.memory_base());
        let code = if uses_sp {
            self.jump_by_sp()?
        } else {
            self.jump_by_operand()?
        };
        self.emit(&code)
    }

    /// The same bytes with the opcode extension of `jmp` (Intel SDM, "CALL": FF /2; "JMP": FF /4).
    fn jump_by_operand(&self) -> Result<Vec<u8>, CopyError> {
        let mut code = self.decoded.bytes.to_vec();
        let (prefixes, rest) = self.decoded.split_prefixes();
        let opcode = rest
            .iter()
            .position(|&byte| byte == 0xff)
            .filter(|&index| index <= 1);
        let modrm = prefixes.len() + opcode.ok_or(self.no_copy())? + 1;
        let modrm = code.get_mut(modrm).ok_or(self.no_copy())?;
        *modrm = *modrm & !0x38 | 4 << 3;
        relocated(&self.decoded, &code, self.at, self.copy.end())
    }

    /// `jmp *operand(%rsp)`, where the push has moved the stack pointer.
    fn jump_by_sp(&self) -> Result<Vec<u8>, CopyError> {
        let mut instruction = self.decoded.instruction;
        let word = u64::from(self.decoded.mode.word());
        let jump = match instruction.code() {
            Code::Call_rm64 => Code::Jmp_rm64,
            Code::Call_rm32 => Code::Jmp_rm32,
            _ => return Err(self.no_copy()),
        };
        let displacement = instruction.memory_displacement64();
        // `call *%rsp` jumps to where the stack pointer was, and below it the push overwrites the operand.
        let overwritten = self.decoded.mode.wrap(displacement.wrapping_add(2 * word)) < 2 * word;
        let is_register = instruction.memory_base() == Register::None;
        if is_register || overwritten && instruction.memory_index() == Register::None {
            return Err(self.no_copy());
        }
        instruction.set_code(jump);
        instruction.set_memory_displacement64(self.decoded.mode.wrap(displacement.wrapping_add(word)));
        instruction.set_memory_displ_size(u32::from(self.decoded.mode.word()));
        let mut encoder = Encoder::new(self.decoded.mode.bits());
        encoder
            .encode(&instruction, self.copy.end().get())
            .map_err(|_| self.no_copy())?;
        Ok(encoder.take_buffer())
    }

    /// Pushes the address after the original, as `call` does: flags and registers stay.
    fn push_return_address(&mut self) -> Result<(), CopyError> {
        let word = self.decoded.next().to_le_bytes();
        let [low, high] = [&word[..4], &word[4..]];
        self.emit(&[0x68])?; // push $imm32, sign-extended
        self.emit(low)?;
        let extended = if low[3] & 0x80 == 0 { [0; 4] } else { [0xff; 4] };
        if self.decoded.mode == Mode::Bits64 && high != extended {
            self.place(Progress::NotRun, self.at.get(), self.decoded.mode.word())?;
            self.emit(&[0xc7, 0x44, 0x24, 0x04])?; // movl $imm32,4(%rsp)
            let high = [word[4], word[5], word[6], word[7]];
            self.emit(&high)?;
        }
        Ok(())
    }

    /// `syscall; lea next,%rcx; jmp next`: the kernel leaves the return address in `%rcx` (Intel SDM, "SYSCALL").
    fn syscall(&mut self) -> Result<(), CopyError> {
        let next = self.decoded.next();
        self.emit(self.decoded.bytes)?;
        let back = self.copy.place(Progress::Done, Addr::new(next));
        back.ok_or(CopyError::NoCopy { at: self.at })?.set = Some((x86_64::RCX, next));
        let after = self.copy.end().wrapping_add(7);
        let relative = self.relative(after, next).ok_or(self.out_of_reach(next))?;
        self.emit(&[0x48, 0x8d, 0x0d])?; // lea disp32(%rip),%rcx
        self.emit(&relative)?;
        self.place(Progress::Done, next, 0)?;
        self.jump(next)
    }

    fn jump(&mut self, target: u64) -> Result<(), CopyError> {
        let code = self.jump_code(self.copy.end(), target);
        self.emit(&code)
    }

    /// A jump at `from`: of five bytes where the target is in reach, through a word after it where not.
    fn jump_code(&self, from: Addr, target: u64) -> Vec<u8> {
        let mut code = Vec::with_capacity(14);
        if let Some(relative) = self.relative(from.wrapping_add(5), target) {
            code.push(0xe9);
            code.extend_from_slice(&relative);
        } else {
            code.extend_from_slice(&[0xff, 0x25, 0, 0, 0, 0]); // jmp *0(%rip)
            code.extend_from_slice(&target.to_le_bytes());
        }
        code
    }

    /// The displacement from `next` to `target`, if it is in reach. In 32-bit code everything is.
    fn relative(&self, next: Addr, target: u64) -> Option<[u8; 4]> {
        relative(self.decoded.mode, next, target)
    }

    fn emit(&mut self, code: &[u8]) -> Result<(), CopyError> {
        self.copy.emit(code).ok_or(CopyError::NoCopy { at: self.at })
    }

    fn place(&mut self, progress: Progress, pc: u64, sp_add: u8) -> Result<(), CopyError> {
        let back = self
            .copy
            .place(progress, Addr::new(pc))
            .ok_or(CopyError::NoCopy { at: self.at })?;
        back.sp_add = sp_add;
        Ok(())
    }

    fn no_copy(&self) -> CopyError {
        CopyError::NoCopy { at: self.at }
    }

    fn out_of_reach(&self, target: u64) -> CopyError {
        CopyError::OutOfReach {
            at: self.at,
            to: self.copy.start(),
            target: Addr::new(target),
        }
    }
}

/// The displacement of 32 bits from `next` to `target`, if it is in reach.
fn relative(mode: Mode, next: Addr, target: u64) -> Option<[u8; 4]> {
    let difference = target.wrapping_sub(next.get());
    let bytes = difference.to_le_bytes();
    let low = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let extended = i64::from(i32::from_le_bytes(low)).to_le_bytes();
    (mode == Mode::Bits32 || extended == bytes).then_some(low)
}

/// `code`, which is the decoded instruction but for its opcode, so that its memory operand is the same when
/// it lies at `to`.
pub(super) fn relocated(
    decoded: &Decoded<'_>,
    code: &[u8],
    at: Addr,
    to: Addr,
) -> Result<Vec<u8>, CopyError> {
    let mut code = code.to_vec();
    let Some(target) = decoded.pc_relative_operand() else {
        return Ok(code);
    };
    let offset = decoded.displacement_offset().ok_or(CopyError::NoCopy { at })?;
    // With an address-size prefix the sum is truncated: everything is in reach.
    let mode = if decoded.instruction.memory_base() == Register::EIP {
        Mode::Bits32
    } else {
        decoded.mode
    };
    let next = to.wrapping_add(code.len() as u64);
    let displacement = relative(mode, next, target).ok_or(CopyError::OutOfReach {
        at,
        to,
        target: Addr::new(target),
    })?;
    code.get_mut(offset..offset + 4)
        .ok_or(CopyError::NoCopy { at })?
        .copy_from_slice(&displacement);
    Ok(code)
}

// The longest copies: an instruction of any length, or a pushed return address and a jump, each with a
// jump through a word. A `call` and its prefixes longer than this has no copy.
const _: () = assert!(MAX_INSTRUCTION + 14 <= MAX_COPY && 5 + 8 + 14 <= MAX_COPY);
