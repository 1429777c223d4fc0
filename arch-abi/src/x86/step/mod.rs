//! Stepping over x86 instructions: what can be emulated, what a copy must do differently.
//!
//! Sources: Intel SDM, volume 2, each instruction's page ("Operation", "Flags Affected"); AMD APM, volume 3,
//! where the two differ.

mod copy;
mod emulate;
mod single;
mod table;

use iced_x86::{
    Code, ConstantOffsets, Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic, OpKind, Register,
};

pub(crate) use copy::displaced_copy;
pub(crate) use emulate::Op;
pub(crate) use single::stepped_copy;

use crate::abi::Arch;
use crate::addr::Addr;
use crate::step::{Emulation, MAX_INSTRUCTION, StepError, StepPlan};

/// One instruction, decoded, with the bytes it was decoded from.
struct Decoded<'a> {
    instruction: Instruction,
    constant_offsets: ConstantOffsets,
    bytes: &'a [u8],
    mode: Mode,
}

/// What differs between the two ABIs here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Bits32,
    Bits64,
}

impl Mode {
    const fn of(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self::Bits64,
            Arch::I386 => Self::Bits32,
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::Bits32 => 32,
            Self::Bits64 => 64,
        }
    }

    /// Size of a pushed word.
    const fn word(self) -> u8 {
        match self {
            Self::Bits32 => 4,
            Self::Bits64 => 8,
        }
    }

    /// An address as this mode computes it: modulo 2³² or 2⁶⁴.
    const fn wrap(self, address: u64) -> u64 {
        match self {
            Self::Bits32 => address & 0xffff_ffff,
            Self::Bits64 => address,
        }
    }
}

/// How to get past the instruction at `at`.
pub(crate) fn plan(arch: Arch, code: &[u8], at: Addr) -> Result<StepPlan, StepError> {
    let decoded = decode(Mode::of(arch), code, at)?;
    if !decoded.is_supported() {
        return Err(StepError::Unsupported { at });
    }
    let mut bytes = [0; MAX_INSTRUCTION];
    bytes[..decoded.bytes.len()].copy_from_slice(decoded.bytes);
    Ok(StepPlan {
        at,
        bytes,
        len: u8::try_from(decoded.bytes.len()).map_err(|_| StepError::NotAnInstruction { at })?,
        arch,
        program_trap: decoded.is_trap(),
        emulation: table::of(&decoded).map(Emulation),
    })
}

fn decode(mode: Mode, code: &[u8], at: Addr) -> Result<Decoded<'_>, StepError> {
    let given = &code[..code.len().min(MAX_INSTRUCTION)];
    let ip = mode.wrap(at.get());
    let mut decoder = Decoder::with_ip(mode.bits(), given, ip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    match decoder.last_error() {
        DecoderError::None => {}
        DecoderError::NoMoreBytes if given.len() < MAX_INSTRUCTION => {
            return Err(StepError::Truncated {
                at,
                given: given.len(),
            });
        }
        _ => return Err(StepError::NotAnInstruction { at }),
    }
    let constant_offsets = decoder.get_constant_offsets(&instruction);
    Ok(Decoded {
        instruction,
        constant_offsets,
        bytes: &given[..instruction.len()],
        mode,
    })
}

/// The instruction of a plan that was made by [`plan`], decoded again.
fn decode_plan(plan: &StepPlan) -> Option<Decoded<'_>> {
    decode(Mode::of(plan.arch), plan.bytes(), plan.at).ok()
}

impl Decoded<'_> {
    /// Where the next instruction lies.
    fn next(&self) -> u64 {
        self.mode.wrap(self.instruction.next_ip())
    }

    /// The target, if the instruction is encoded relative to the program counter.
    fn near_target(&self) -> Option<u64> {
        match self.instruction.op0_kind() {
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                Some(self.mode.wrap(self.instruction.near_branch_target()))
            }
            _ => None,
        }
    }

    /// The address of the memory operand, if it is encoded relative to the program counter.
    fn pc_relative_operand(&self) -> Option<u64> {
        self.instruction
            .is_ip_rel_memory_operand()
            .then(|| self.instruction.ip_rel_memory_address())
    }

    /// Whether the instruction can be run elsewhere or emulated at all.
    ///
    /// An operand-size prefix on a near branch truncates the program counter to 16 bits in 32-bit code,
    /// and in 64-bit code does so on AMD's processors and nothing on Intel's (Intel SDM, "JMP"; AMD APM,
    /// "Near Branches in 64-Bit Mode"). With REX.W, as in the call of `__tls_get_addr` (psABI, "Thread-Local Storage"),
    /// it has no meaning on either.
    fn is_supported(&self) -> bool {
        let near = self.near_target().is_some() || is_near_indirect(self.instruction.code());
        !(near && self.has_operand_size_prefix())
    }

    fn has_operand_size_prefix(&self) -> bool {
        let (prefixes, rest) = self.split_prefixes();
        let rex_w = self.mode == Mode::Bits64 && rest.first().is_some_and(|byte| byte & 0xf8 == 0x48);
        prefixes.contains(&0x66) && !rex_w
    }

    /// The legacy prefixes, and what follows them (Intel SDM, "Instruction Prefixes").
    fn split_prefixes(&self) -> (&[u8], &[u8]) {
        let is_prefix = |byte: &u8| {
            matches!(
                byte,
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x66 | 0x67 | 0xf0 | 0xf2 | 0xf3
            )
        };
        let count = self.bytes.iter().take_while(|byte| is_prefix(byte)).count();
        self.bytes.split_at(count)
    }

    /// Whether running the instruction raises SIGTRAP.
    fn is_trap(&self) -> bool {
        match self.instruction.mnemonic() {
            Mnemonic::Int3 | Mnemonic::Int1 => true,
            Mnemonic::Int => self.instruction.immediate8() == 3,
            _ => false,
        }
    }

    /// Where in the instruction its displacement of four bytes lies.
    fn displacement_offset(&self) -> Option<usize> {
        let offsets = self.constant_offsets;
        (offsets.displacement_size() == 4).then(|| offsets.displacement_offset())
    }
}

fn is_near_indirect(code: Code) -> bool {
    code.is_jmp_near_indirect() || code.is_call_near_indirect()
}

fn is_far_call(code: Code) -> bool {
    code.is_call_far() || code.is_call_far_indirect()
}

/// Whether `register` is the stack pointer.
fn is_sp(register: Register) -> bool {
    matches!(register, Register::RSP | Register::ESP)
}
