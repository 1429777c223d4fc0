//! From a frame of i386 code to its caller, by `.eh_frame` (`framehop` knows no i386).
//!
//! Registers have the numbers of the System V psABI for i386, "DWARF Register Number Mapping". What the tables say of an address is
//! kept: the next stack through it costs no search.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, Evaluation, EvaluationResult, Expression,
    LittleEndian, Location, RegisterRule, UnwindContext, UnwindExpression, UnwindSection as _, Value,
};
use rustc_hash::FxHashMap;

use super::Sections;

/// `%esp`.
pub const ESP: usize = 4;
/// `%ebp`.
pub const EBP: usize = 5;
/// The return address, for which `%eip` stands.
pub const EIP: usize = 8;

/// The registers of a frame, as far as they are known.
pub type Frame = [Option<u32>; 9];

/// Of how many addresses the rules are kept.
const MAX_RULES: usize = 1 << 16;
/// How many steps an expression may take.
const MAX_STEPS: u32 = 1000;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// How to find what a register held in the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// It is as it was.
    Same,
    /// Nobody knows.
    Undefined,
    /// It was saved at this distance from the frame's address (the CFA).
    At(i32),
    /// It was this distance from it.
    Value(i32),
    /// It is in another register.
    Register(usize),
    /// It was saved where this expression says.
    AtExpression(Box<[u8]>),
    /// It was what this expression says.
    ValueExpression(Box<[u8]>),
}

/// Where a frame begins, and where it keeps its caller's registers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rules {
    cfa: Cfa,
    registers: [Rule; 9],
}

/// The frame's own address ("Canonical Frame Address").
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cfa {
    Register(usize, i32),
    Expression(Box<[u8]>),
}

/// What has been found of the code of one address space.
#[derive(Debug, Default)]
pub struct Unwinder {
    /// By address in the process.
    rules: FxHashMap<u32, Option<Rules>>,
}

impl Unwinder {
    /// The caller's registers; `None` where no table tells, or it tells that there is no caller.
    ///
    /// `at` is the instruction to look for in the process, and `in_file` the same one as `sections` have it; `word` reads memory.
    pub fn caller(
        &mut self,
        frame: &Frame,
        (at, in_file): (u32, u64),
        sections: &Sections,
        word: &mut impl FnMut(u64) -> Option<u32>,
    ) -> Option<Frame> {
        if self.rules.len() > MAX_RULES {
            self.rules.clear();
        }
        let rules = self
            .rules
            .entry(at)
            .or_insert_with(|| rules_of(sections, in_file))
            .as_ref()?;
        apply(rules, frame, word)
    }
}

fn apply(rules: &Rules, frame: &Frame, word: &mut impl FnMut(u64) -> Option<u32>) -> Option<Frame> {
    let cfa = match &rules.cfa {
        Cfa::Register(register, offset) => frame.get(*register).copied()??.wrapping_add_signed(*offset),
        Cfa::Expression(bytes) => evaluate(bytes, None, frame, word)?,
    };
    let mut caller = [None; 9];
    for (number, rule) in rules.registers.iter().enumerate() {
        caller[number] = match rule {
            Rule::Same => frame[number],
            Rule::Undefined => None,
            Rule::At(offset) => word(cfa.wrapping_add_signed(*offset).into()),
            Rule::Value(offset) => Some(cfa.wrapping_add_signed(*offset)),
            Rule::Register(other) => frame.get(*other).copied().flatten(),
            Rule::AtExpression(bytes) => {
                evaluate(bytes, Some(cfa), frame, word).and_then(|at| word(at.into()))
            }
            Rule::ValueExpression(bytes) => evaluate(bytes, Some(cfa), frame, word),
        };
    }
    // The psABI's "Stack Frame": the caller's stack pointer is the frame's address.
    caller[ESP] = caller[ESP]
        .filter(|_| rules.registers[ESP] != Rule::Same)
        .or(Some(cfa));
    Some(caller)
}

/// What the tables say of `at`.
fn rules_of(sections: &Sections, at: u64) -> Option<Rules> {
    let (frames_at, frames) = sections.frames.as_ref()?;
    let (index_at, index) = sections.index.as_ref()?;
    let start = |section: &Option<(u64, _)>| section.as_ref().map_or(0, |(at, _)| *at);
    let bases = BaseAddresses::default()
        .set_eh_frame(*frames_at)
        .set_eh_frame_hdr(*index_at)
        .set_text(start(&sections.text))
        .set_got(sections.got.map_or(0, |(start, _)| start));
    let mut eh_frame = EhFrame::new(frames, LittleEndian);
    eh_frame.set_address_size(4);
    let index = EhFrameHdr::new(index, LittleEndian).parse(&bases, 4).ok()?;
    let fde = index
        .table()?
        .fde_for_address(&eh_frame, &bases, at, EhFrame::cie_from_offset)
        .ok()?;
    let mut context = UnwindContext::new();
    let row = fde
        .unwind_info_for_address(&eh_frame, &bases, &mut context, at)
        .ok()?;
    let bytes = |expression: &UnwindExpression<usize>| -> Option<Box<[u8]>> {
        Some(expression.get(&eh_frame).ok()?.0.slice().into())
    };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            Cfa::Register(register.0.into(), i32::try_from(*offset).ok()?)
        }
        CfaRule::Expression(expression) => Cfa::Expression(bytes(expression)?),
    };
    let mut registers = [const { Rule::Same }; 9];
    // The psABI's "Registers": these need not survive a call; and nobody keeps where a caller of the last frame would go on.
    for lost in [0, 1, 2, EIP] {
        registers[lost] = Rule::Undefined;
    }
    for (register, rule) in row.registers() {
        let Some(slot) = registers.get_mut(usize::from(register.0)) else {
            continue;
        };
        *slot = match rule {
            RegisterRule::SameValue => Rule::Same,
            RegisterRule::Offset(offset) => Rule::At(i32::try_from(*offset).ok()?),
            RegisterRule::ValOffset(offset) => Rule::Value(i32::try_from(*offset).ok()?),
            RegisterRule::Register(other) => Rule::Register(other.0.into()),
            RegisterRule::Expression(expression) => Rule::AtExpression(bytes(expression)?),
            RegisterRule::ValExpression(expression) => Rule::ValueExpression(bytes(expression)?),
            _ => Rule::Undefined,
        };
    }
    Some(Rules { cfa, registers })
}

/// The value of a DWARF expression, which begins with the frame's address on its stack where that is known.
fn evaluate(
    bytes: &[u8],
    cfa: Option<u32>,
    frame: &Frame,
    word: &mut impl FnMut(u64) -> Option<u32>,
) -> Option<u32> {
    let encoding = gimli::Encoding {
        address_size: 4,
        format: gimli::Format::Dwarf32,
        version: 4,
    };
    let expression = Expression(Slice::new(bytes, LittleEndian));
    let mut evaluation: Evaluation<Slice<'_>> = expression.evaluation(encoding);
    evaluation.set_max_iterations(MAX_STEPS);
    if let Some(cfa) = cfa {
        evaluation.set_initial_value(cfa.into());
    }
    let mut state = evaluation.evaluate().ok()?;
    loop {
        state = match state {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresMemory { address, size: 4, .. } => {
                let value = word(address)?;
                evaluation.resume_with_memory(Value::Generic(value.into())).ok()?
            }
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = frame.get(usize::from(register.0)).copied()??;
                evaluation
                    .resume_with_register(Value::Generic(value.into()))
                    .ok()?
            }
            _ => return None,
        };
    }
    match evaluation.as_result() {
        [piece] => match piece.location {
            Location::Address { address } => u32::try_from(address & u64::from(u32::MAX)).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The registers that a signal interrupted, if its handler returns to the code at `frame`'s EIP: the kernel's
/// `__kernel_sigreturn` and `__kernel_rt_sigreturn`, or the C library's copies of them. `code` reads a process' bytes.
pub fn interrupted(
    frame: &Frame,
    code: impl Fn(u32, &mut [u8; 8]) -> bool,
    word: &mut impl FnMut(u64) -> Option<u32>,
) -> Option<Frame> {
    /// `pop %eax; mov $__NR_sigreturn, %eax; int $0x80`
    const PLAIN: [u8; 8] = [0x58, 0xb8, 0x77, 0, 0, 0, 0xcd, 0x80];
    /// `mov $__NR_rt_sigreturn, %eax; int $0x80`
    const REALTIME: [u8; 7] = [0xb8, 0xad, 0, 0, 0, 0xcd, 0x80];
    let (eip, esp) = (frame[EIP]?, u64::from(frame[ESP]?));
    let mut bytes = [0; 8];
    if !code(eip, &mut bytes) {
        return None;
    }
    // The handler has returned: the stack pointer is at its argument. asm/sigframe.h: `struct sigframe_ia32` has the context
    // behind that, `struct rt_sigframe_ia32` has its address as the third argument; `uc_mcontext` is at 20.
    let context = if bytes == PLAIN {
        esp + 4
    } else if bytes[..7] == REALTIME {
        u64::from(word(esp + 8)?) + 20
    } else {
        return None;
    };
    // asm/sigcontext.h, `struct sigcontext_32`: edi, esi, ebp, esp, ebx, edx, ecx, eax from 16 on, eip at 56.
    let mut register = |offset: u64| word(context + offset);
    Some([
        register(44),
        register(40),
        register(36),
        register(32),
        register(28),
        register(24),
        register(20),
        register(16),
        register(56),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0x1000 holds 0x11, 0x1004 holds 0x22 …
    fn memory(at: u64) -> Option<u32> {
        let index = u32::try_from(at.checked_sub(0x1000)? / 4).ok()?;
        (index < 64).then(|| (index + 1) * 0x11)
    }

    fn frame() -> Frame {
        let mut frame = [None; 9];
        (frame[ESP], frame[EBP], frame[EIP]) = (Some(0x1000), Some(0x1010), Some(0x8000));
        frame
    }

    #[test]
    fn rules_are_followed() {
        let mut registers = [const { Rule::Same }; 9];
        registers[EIP] = Rule::At(-4);
        registers[3] = Rule::Value(8);
        registers[6] = Rule::Register(EBP);
        registers[7] = Rule::AtExpression([0x23, 4].into()); // DW_OP_plus_uconst 4
        let rules = Rules {
            cfa: Cfa::Register(ESP, 8),
            registers,
        };
        let caller = apply(&rules, &frame(), &mut memory).expect("a caller");
        assert_eq!(caller[ESP], Some(0x1008));
        assert_eq!((caller[EIP], caller[EBP]), (Some(0x22), Some(0x1010)));
        assert_eq!(
            (caller[3], caller[6], caller[7]),
            (Some(0x1010), Some(0x1010), Some(0x44))
        );
    }

    /// The frame of a `main` that aligns its stack: `DW_OP_breg5 -4; DW_OP_deref`.
    #[test]
    fn expressions_read_registers_and_memory() {
        let value = evaluate(&[0x75, 0x7c, 0x06], None, &frame(), &mut memory);
        assert_eq!(value, memory(0x100c));
        // A register that is not known, memory that is not there, a loop (DW_OP_skip -3), nonsense, nothing.
        for wrong in [
            &[0x73, 0][..],
            &[0x75, 0, 0x23, 0xff, 0xff, 0x7f, 0x06],
            &[0x2f, 0xfd, 0xff],
            &[0xff],
            &[],
        ] {
            assert_eq!(evaluate(wrong, None, &frame(), &mut memory), None, "{wrong:x?}");
        }
    }

    #[test]
    fn signal_frames_are_known_by_their_code() {
        let plain = |_, code: &mut [u8; 8]| {
            *code = [0x58, 0xb8, 0x77, 0, 0, 0, 0xcd, 0x80];
            true
        };
        let seen = interrupted(&frame(), plain, &mut memory).expect("a context");
        assert_eq!((seen[EIP], seen[ESP]), (memory(0x1004 + 56), memory(0x1004 + 28)));
        assert_eq!(interrupted(&frame(), |_, _| false, &mut memory), None);
        let other = |_, code: &mut [u8; 8]| {
            *code = [0x90; 8];
            true
        };
        assert_eq!(interrupted(&frame(), other, &mut memory), None);
    }

    #[test]
    fn damaged_tables_are_no_rules() {
        let damaged = Sections {
            base: 0,
            frames: Some((0x100, [0xff; 64][..].into())),
            index: Some((
                0x200,
                [1, 0x1b, 3, 0x3b, 0xff, 0xff, 0xff, 0x7f, 9, 0, 0, 0][..].into(),
            )),
            ..Sections::default()
        };
        assert_eq!(rules_of(&damaged, 0x1234), None);
        assert_eq!(rules_of(&Sections::default(), 0), None);
    }
}
