//! Instructions that name a slot, in compiled code of x86-64 and i386.
//!
//! First every place is found whose bytes could be such an operand, then the code is decoded from a known
//! boundary to tell the instructions: decoding all of it would take ten times as long.

use std::ops::RangeInclusive;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, OpKind, Register};

use super::stub::Mode;
use crate::addr::FileAddr;
use crate::plt::{SlotAccess, SlotReference};

/// `found` gets each offset in `code` at which four bytes may be the operand that names a slot within
/// `slots`, and that slot.
///
/// On x86-64 the operand is relative to the end of its instruction, after which up to four bytes of an
/// immediate operand lie; on i386 it is an address, or a distance from `got`.
pub(super) fn slot_operands(
    mode: Mode,
    code: &[u8],
    at: FileAddr,
    got: Option<FileAddr>,
    slots: &RangeInclusive<FileAddr>,
    found: &mut dyn FnMut(usize, FileAddr),
) {
    let (low, high) = (slots.start().get(), slots.end().get());
    let Some(span) = high.checked_sub(low) else { return };
    match mode {
        Mode::X86_64 => pc_relative_operands(code, at.get(), low, span, found),
        Mode::I386 => i386_operands(code, got.map(FileAddr::get), low, span, found),
    }
}

/// Immediate operands that may follow a memory operand, in bytes.
const IMMEDIATES: [u64; 4] = [0, 1, 2, 4];

fn pc_relative_operands(code: &[u8], at: u64, low: u64, span: u64, found: &mut dyn FnMut(usize, FileAddr)) {
    // The operand's end must lie in `low - 4 ..= high`, so that one immediate leads to a slot.
    let first = low.wrapping_sub(at).wrapping_sub(4 + 4);
    for (index, window) in code.windows(5).enumerate() {
        let &[modrm, d0, d1, d2, d3] = window else {
            continue;
        };
        let operand = index as u64 + 1;
        let disp = i64::from(i32::from_le_bytes([d0, d1, d2, d3])).cast_unsigned();
        let past_first = disp.wrapping_add(operand).wrapping_sub(first);
        if past_first > span.saturating_add(4) || modrm & 0b1100_0111 != 0b0000_0101 {
            continue;
        }
        for immediate in IMMEDIATES {
            let slot = at.wrapping_add(operand + 4 + immediate).wrapping_add(disp);
            if slot.wrapping_sub(low) <= span {
                found(index + 1, FileAddr::new(slot));
            }
        }
    }
}

fn i386_operands(code: &[u8], got: Option<u64>, low: u64, span: u64, found: &mut dyn FnMut(usize, FileAddr)) {
    let mask = u64::from(u32::MAX);
    for (index, window) in code.windows(5).enumerate() {
        let &[before, d0, d1, d2, d3] = window else {
            continue;
        };
        let word = u64::from(u32::from_le_bytes([d0, d1, d2, d3]));
        // `ModRM` with disp32 alone, or the opcodes that move %al and %eax from and to an address.
        let absolute = before & 0b1100_0111 == 0b0000_0101 || matches!(before, 0xa0..=0xa3);
        if absolute && word.wrapping_sub(low) <= span {
            found(index + 1, FileAddr::new(word));
        }
        // `ModRM` with disp32(%register).
        let by_register = before & 0b1100_0000 == 0b1000_0000 && before & 0b111 != 0b100;
        if let (true, Some(got)) = (by_register, got) {
            let slot = got.wrapping_add(word) & mask;
            if slot.wrapping_sub(low) <= span {
                found(index + 1, FileAddr::new(slot));
            }
        }
    }
}

/// Decodes `code` from its start, which must be an instruction's, up to the last of `operands`
/// (ascending offsets in `code`). `found` gets each instruction whose bytes hold one of them and that
/// names a memory word by it.
pub(super) fn slot_references(
    mode: Mode,
    code: &[u8],
    at: FileAddr,
    got: Option<FileAddr>,
    operands: &[usize],
    found: &mut dyn FnMut(SlotReference),
) {
    let bitness = if mode == Mode::X86_64 { 64 } else { 32 };
    let mut decoder = Decoder::with_ip(bitness, code, at.get(), DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut operands = operands.iter().copied().peekable();
    while let Some(&operand) = operands.peek() {
        if !decoder.can_decode() {
            return;
        }
        decoder.decode_out(&mut instruction);
        if decoder.position() <= operand {
            continue;
        }
        while operands
            .next_if(|&operand| operand < decoder.position())
            .is_some()
        {}
        if let Some(slot) = named_word(&instruction, got) {
            let reference = SlotReference {
                at: FileAddr::new(instruction.ip()),
                slot,
                access: access(&instruction),
            };
            found(reference);
        }
    }
}

/// The address of the memory word that an operand names without an index: relative to the PC, absolute,
/// or by one register that should hold `got`.
fn named_word(instruction: &Instruction, got: Option<FileAddr>) -> Option<FileAddr> {
    let in_memory = (0..instruction.op_count()).any(|op| instruction.op_kind(op) == OpKind::Memory);
    if !in_memory || instruction.memory_index() != Register::None {
        return None;
    }
    let disp = instruction.memory_displacement64();
    match instruction.memory_base() {
        Register::None | Register::RIP => Some(FileAddr::new(disp)), // iced has resolved a relative one
        base if base.is_gpr32() && instruction.memory_displ_size() == 4 => {
            let mask = u64::from(u32::MAX);
            got.map(|got| FileAddr::new(got.get().wrapping_add(disp) & mask))
        }
        _ => None,
    }
}

fn access(instruction: &Instruction) -> SlotAccess {
    match instruction.code() {
        Code::Call_rm64 | Code::Call_rm32 => SlotAccess::Call,
        Code::Jmp_rm64 | Code::Jmp_rm32 => SlotAccess::Jump,
        _ => SlotAccess::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: u64 = 0x3fd8;

    fn references(mode: Mode, code: &[u8], at: u64, got: Option<u64>) -> Vec<SlotReference> {
        let got = got.map(FileAddr::new);
        let range = FileAddr::new(SLOT)..=FileAddr::new(SLOT);
        let mut operands = Vec::new();
        slot_operands(mode, code, FileAddr::new(at), got, &range, &mut |offset, slot| {
            assert_eq!(slot.get(), SLOT);
            operands.push(offset);
        });
        let mut references = Vec::new();
        slot_references(mode, code, FileAddr::new(at), got, &operands, &mut |found| {
            if found.slot.get() == SLOT {
                references.push(found);
            }
        });
        references
    }

    fn reference(at: u64, access: SlotAccess) -> SlotReference {
        SlotReference {
            at: FileAddr::new(at),
            slot: FileAddr::new(SLOT),
            access,
        }
    }

    #[test]
    fn x86_64_calls_jumps_and_loads() {
        let code = [
            &[0x66, 0x48, 0xff, 0x15, 0xd0, 0x2f, 0, 0][..], // 1000: data16 rex.W call *0x2fd0(%rip)
            &[0xff, 0x15, 0xca, 0x2f, 0, 0],                 // 1008: call *0x2fca(%rip)
            &[0x48, 0x83, 0x3d, 0xc2, 0x2f, 0, 0, 0],        // 100e: cmpq $0,0x2fc2(%rip), imm8 follows
            &[0x4c, 0x8b, 0x25, 0xbb, 0x2f, 0, 0],           // 1016: mov 0x2fbb(%rip),%r12
            &[0x3e, 0xff, 0x25, 0xb4, 0x2f, 0, 0],           // 101d: notrack jmp *0x2fb4(%rip)
            &[0xff, 0x15, 0xb5, 0x2f, 0, 0],                 // 1024: call of the next slot
        ]
        .concat();
        let expected = [
            reference(0x1000, SlotAccess::Call),
            reference(0x1008, SlotAccess::Call),
            reference(0x100e, SlotAccess::Other),
            reference(0x1016, SlotAccess::Other),
            reference(0x101d, SlotAccess::Jump),
        ];
        assert_eq!(references(Mode::X86_64, &code, 0x1000, None), expected);
    }

    #[test]
    fn i386_by_register_and_absolute() {
        let code = [
            &[0xff, 0x93, 0xe4, 0xff, 0xff, 0xff][..], // 1000: call *-0x1c(%ebx)
            &[0xff, 0x15, 0xd8, 0x3f, 0, 0],           // 1006: call *0x3fd8
            &[0xa1, 0xd8, 0x3f, 0, 0],                 // 100c: mov 0x3fd8,%eax
            &[0x8b, 0xb0, 0xe4, 0xff, 0xff, 0xff],     // 1011: mov -0x1c(%eax),%esi
            &[0xff, 0xa3, 0xe4, 0xff, 0xff, 0xff],     // 1017: jmp *-0x1c(%ebx)
            &[0xb8, 0xe4, 0xff, 0xff, 0xff],           // 101d: mov $-0x1c,%eax: a number
        ]
        .concat();
        let expected = [
            reference(0x1000, SlotAccess::Call),
            reference(0x1006, SlotAccess::Call),
            reference(0x100c, SlotAccess::Other),
            reference(0x1011, SlotAccess::Other),
            reference(0x1017, SlotAccess::Jump),
        ];
        assert_eq!(references(Mode::I386, &code, 0x1000, Some(0x3ff4)), expected);
    }

    #[test]
    fn bytes_that_look_like_an_operand_are_none() {
        // mov $imm64: its bytes hold what would be `call *slot(%rip)`.
        let code = [0x48, 0xb8, 0xff, 0x15, 0xd0, 0x2f, 0, 0, 0, 0, 0xc3];
        assert_eq!(references(Mode::X86_64, &code, 0x1000, None), []);
    }
}
