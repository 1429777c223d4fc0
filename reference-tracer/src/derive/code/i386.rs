//! i386: arguments on the stack, above the return address (System V psABI, "Parameter Passing").

use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use super::{Access, Args, Frame, Machine};

pub(super) struct I386;

/// The return address lies at the stack pointer, the arguments above it.
const FIRST: i64 = 4;

/// The words of the arguments that `len` bytes at `offset` above the entry's stack pointer touch.
pub(super) fn words(offset: i64, len: i64) -> Args {
    let (first, end) = (
        (offset - FIRST).div_euclid(4),
        (offset + len - FIRST + 3).div_euclid(4),
    );
    (first.max(0)..end.min(16))
        .filter_map(|word| u16::try_from(word).ok())
        .fold(Args::NONE, |args, word| args.or(Args::int(word)))
}

impl Machine for I386 {
    fn bitness(&self) -> u32 {
        32
    }

    fn all(&self) -> Args {
        Args(u16::MAX)
    }

    fn step(&self, instruction: &Instruction, frame: &mut Frame, _: bool) -> Access {
        let mut access = Access::default();
        let mut factory = InstructionInfoFactory::new();
        for used in factory.info(instruction).used_memory() {
            let base = match used.base() {
                Register::ESP => frame.sp,
                Register::EBP => frame.bp,
                _ => None,
            };
            let Some(base) = base.filter(|_| used.index() == Register::None) else {
                continue;
            };
            // A 32-bit displacement: as a number with a sign.
            let displacement = i64::from(
                u32::try_from(used.displacement() & 0xffff_ffff)
                    .unwrap_or(0)
                    .cast_signed(),
            );
            let len = i64::try_from(used.memory_size().size()).unwrap_or(4);
            let touched = words(base + displacement, len);
            match used.access() {
                OpAccess::Read | OpAccess::CondRead => access.reads = access.reads.or(touched),
                OpAccess::Write => access.writes = access.writes.or(touched),
                OpAccess::ReadWrite | OpAccess::ReadCondWrite => {
                    access.reads = access.reads.or(touched);
                    access.writes = access.writes.or(touched);
                }
                _ => {}
            }
        }
        move_frame(instruction, frame);
        access
    }

    /// Arguments stay where they are.
    fn after_call(&self, live: Args) -> Args {
        live
    }

    /// A jump with the stack as it was at the first instruction: a tail call.
    fn passes_on(&self, frame: &Frame, is_jump: bool) -> bool {
        is_jump && frame.sp == Some(0)
    }

    /// Nothing in the code of a variadic function tells it from others.
    fn is_variadic(&self, _: &mut dyn Iterator<Item = Instruction>) -> bool {
        false
    }
}

/// Keeps account of the stack and frame pointers.
fn move_frame(instruction: &Instruction, frame: &mut Frame) {
    let to = |register| {
        instruction.op_count() > 0
            && instruction.op0_kind() == OpKind::Register
            && instruction.op0_register() == register
    };
    match instruction.mnemonic() {
        Mnemonic::Call => {} // the callee takes its return address off
        Mnemonic::Leave => {
            *frame = Frame {
                sp: frame.bp.map(|bp| bp + 4),
                bp: None,
            };
        }
        Mnemonic::Mov if to(Register::EBP) => {
            frame.bp = (instruction.op1_register() == Register::ESP)
                .then_some(frame.sp)
                .flatten();
        }
        Mnemonic::Mov if to(Register::ESP) => {
            frame.sp = (instruction.op1_register() == Register::EBP)
                .then_some(frame.bp)
                .flatten();
        }
        Mnemonic::Lea if to(Register::ESP) => {
            let base = match instruction.memory_base() {
                Register::EBP => frame.bp,
                Register::ESP => frame.sp,
                _ => None,
            };
            frame.sp = base.map(|base| base + i64::from(instruction.memory_displacement32().cast_signed()));
        }
        Mnemonic::Add | Mnemonic::Sub if to(Register::ESP) => {
            let amount = matches!(
                instruction.code(),
                Code::Add_rm32_imm8 | Code::Add_rm32_imm32 | Code::Sub_rm32_imm8 | Code::Sub_rm32_imm32
            )
            .then(|| i64::from(instruction.immediate32().cast_signed()));
            let sign = if instruction.mnemonic() == Mnemonic::Add {
                1
            } else {
                -1
            };
            frame.sp = frame.sp.zip(amount).map(|(sp, amount)| sp + sign * amount);
        }
        Mnemonic::And if to(Register::ESP) => frame.sp = None,
        _ => {
            frame.sp = frame
                .sp
                .map(|sp| sp + i64::from(instruction.stack_pointer_increment()));
            if to(Register::EBP)
                && instruction.mnemonic() != Mnemonic::Push
                && instruction.mnemonic() != Mnemonic::Cmp
                && instruction.mnemonic() != Mnemonic::Test
            {
                frame.bp = None;
            }
        }
    }
}
