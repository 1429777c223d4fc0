//! x86-64: arguments in registers (System V psABI, "Parameter Passing").

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use super::{Access, Args, Frame, Machine};

pub(super) struct X86_64;

impl Machine for X86_64 {
    fn bitness(&self) -> u32 {
        64
    }

    fn all(&self) -> Args {
        Args(0xff3f)
    }

    fn step(&self, instruction: &Instruction, _: &mut Frame, variadic: bool) -> Access {
        let mut access = Access::default();
        if matches!(
            instruction.mnemonic(),
            Mnemonic::Call | Mnemonic::Push | Mnemonic::Nop
        ) && !reads_memory(instruction)
        {
            return access; // a register that is pushed is saved; the register that a call goes through is none of its arguments
        }
        let mut factory = InstructionInfoFactory::new();
        for used in factory.info(instruction).used_registers() {
            let Some(place) = place(used.register()) else {
                continue;
            };
            let (reads, writes) = match used.access() {
                OpAccess::Read | OpAccess::CondRead => (true, false),
                OpAccess::Write => (false, true),
                OpAccess::ReadWrite | OpAccess::ReadCondWrite => (true, true),
                _ => (false, false), // a conditional write leaves what was there, or not
            };
            if reads {
                access.reads = access.reads.or(place);
            }
            if writes {
                access.writes = access.writes.or(place);
            }
        }
        access.reads = access.reads.without(overwritten(instruction));
        if is_saving(instruction, variadic) {
            access.reads = Args::NONE;
        }
        access
    }

    /// The callee may change all argument registers.
    fn after_call(&self, _: Args) -> Args {
        Args::NONE
    }

    fn passes_on(&self, _: &Frame, _: bool) -> bool {
        true
    }

    /// The registers are saved where `va_arg` finds them, the last one too ("The Register Save Area"), or `%al` is
    /// read before it is written: it "is used to indicate the number of vector arguments passed to a function requiring a
    /// variable number of arguments" ("Register Usage").
    fn is_variadic(&self, prologue: &mut dyn Iterator<Item = Instruction>) -> bool {
        let (mut area, mut saved, mut al_is_argument) = (None, 0, true);
        for instruction in prologue {
            let is_test = instruction.mnemonic() == Mnemonic::Test
                && instruction.op0_register() == Register::AL
                && instruction.op1_register() == Register::AL;
            if is_test && al_is_argument {
                return true;
            }
            if let Some((start, index)) = save(&instruction) {
                saved = if area == Some(start) { saved + 1 } else { 1 };
                area = Some(start);
                if index == 5 && saved > 1 {
                    return true;
                }
            }
            al_is_argument &= !writes_rax(&instruction);
        }
        false
    }
}

fn writes_rax(instruction: &Instruction) -> bool {
    instruction.op_count() > 0
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register().full_register() == Register::RAX
}

/// Where the save area starts into which this stores an argument register, and the register's number.
fn save(instruction: &Instruction) -> Option<(i64, u16)> {
    let stores = instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Memory
        && matches!(instruction.memory_base(), Register::RSP | Register::RBP)
        && instruction.op1_kind() == OpKind::Register
        && instruction.op1_register().is_gpr64();
    let place = place(instruction.op1_register()).filter(|_| stores)?;
    let index = (0..6).find(|&index| Args::int(index) == place)?;
    let at = instruction.memory_displacement64().cast_signed();
    Some((at.wrapping_sub(i64::from(index) * 8), index))
}

fn place(register: Register) -> Option<Args> {
    Some(match register.full_register() {
        Register::RDI => Args::int(0),
        Register::RSI => Args::int(1),
        Register::RDX => Args::int(2),
        Register::RCX => Args::int(3),
        Register::R8 => Args::int(4),
        Register::R9 => Args::int(5),
        full if full.is_vector_register() && full.number() < 8 => {
            Args::vector(u16::try_from(full.number()).unwrap_or(u16::MAX))
        }
        _ => return None,
    })
}

fn reads_memory(instruction: &Instruction) -> bool {
    instruction.op_count() > 0 && instruction.op0_kind() == OpKind::Memory
}

/// What an instruction reads only as far as the machine goes: zero idioms, and conversions that keep the
/// upper half of a vector register.
fn overwritten(instruction: &Instruction) -> Args {
    let first = instruction.op0_register();
    let last = match instruction.op_count() {
        2 => instruction.op1_register(),
        3 => instruction.op2_register(),
        _ => Register::None,
    };
    let same = match instruction.op_count() {
        2 => first == last,
        3 => instruction.op1_register() == last,
        _ => false,
    };
    let is_zero = same
        && last != Register::None
        && matches!(
            instruction.mnemonic(),
            Mnemonic::Xor
                | Mnemonic::Sub
                | Mnemonic::Sbb
                | Mnemonic::Pxor
                | Mnemonic::Xorps
                | Mnemonic::Xorpd
                | Mnemonic::Vpxor
                | Mnemonic::Vxorps
                | Mnemonic::Vxorpd
                | Mnemonic::Pcmpeqd
                | Mnemonic::Pcmpeqb
        );
    if is_zero {
        return place(last).unwrap_or_default();
    }
    let keeps_upper = matches!(
        instruction.mnemonic(),
        Mnemonic::Cvtsi2sd
            | Mnemonic::Cvtsi2ss
            | Mnemonic::Cvtss2sd
            | Mnemonic::Cvtsd2ss
            | Mnemonic::Sqrtsd
            | Mnemonic::Sqrtss
            | Mnemonic::Movsd
            | Mnemonic::Movss
            | Mnemonic::Movlps
            | Mnemonic::Movhps
            | Mnemonic::Roundsd
            | Mnemonic::Roundss
    );
    let to_self = instruction.op_count() == 2 && first == last;
    if keeps_upper && !to_self && instruction.op0_kind() == OpKind::Register {
        return place(first).unwrap_or_default();
    }
    Args::NONE
}

/// Whether this stores a register where `va_arg` finds it ("The Register Save Area"): that is done with
/// all argument registers, whatever the named arguments are.
fn is_saving(instruction: &Instruction, variadic: bool) -> bool {
    let to_stack = instruction.op_count() == 2
        && instruction.op0_kind() == OpKind::Memory
        && matches!(instruction.memory_base(), Register::RSP | Register::RBP)
        && instruction.op1_kind() == OpKind::Register;
    to_stack
        && match instruction.mnemonic() {
            Mnemonic::Movaps | Mnemonic::Vmovaps => true,
            Mnemonic::Mov => variadic,
            _ => false,
        }
}
