//! The operand through which a piece of a procedure linkage table, or a call without one, gets its address.

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind};

use crate::abi::RelativeOperand;
use crate::addr::Addr;

/// More instructions than any linker or compiler writes before the one that names the slot: `endbr64`, a prefix.
const MAX_INSTRUCTIONS: usize = 3;

pub(super) fn loaded(code: &[u8], at: Addr) -> Option<RelativeOperand> {
    let mut decoder = Decoder::with_ip(64, code, at.get(), DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    for _ in 0..MAX_INSTRUCTIONS {
        if !decoder.can_decode() {
            return None;
        }
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return None;
        }
        // mold's entries leave the slot's number there for the resolver: `mov $number, %r11d`, `jmp *slot(%rip)`.
        if instruction.op0_kind() == OpKind::Register && instruction.op1_kind() == OpKind::Immediate32 {
            return None;
        }
        if instruction.is_ip_rel_memory_operand() {
            let offsets = decoder.get_constant_offsets(&instruction);
            let narrow = offsets.displacement_size() == 4;
            return narrow.then(|| RelativeOperand {
                at: Addr::new(instruction.ip() + offsets.displacement_offset() as u64),
                from: Addr::new(instruction.next_ip()),
                word: Addr::new(instruction.ip_rel_memory_address()),
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_that_linkers_write() {
        let at = Addr::new(0x40_1030);
        let shapes: [(&[u8], u64); 5] = [
            // jmp *0x2fe2(%rip)
            (&[0xff, 0x25, 0xe2, 0x2f, 0, 0], 2),
            // endbr64; bnd jmp *0x2fe2(%rip)
            (&[0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0xe2, 0x2f, 0, 0], 7),
            // call *0x2fe2(%rip)
            (&[0xff, 0x15, 0xe2, 0x2f, 0, 0], 2),
            // mov 0x2fe2(%rip),%r11
            (&[0x4c, 0x8b, 0x1d, 0xe2, 0x2f, 0, 0], 3),
            // notrack jmp *0x2fe2(%rip)
            (&[0x3e, 0xff, 0x25, 0xe2, 0x2f, 0, 0], 3),
        ];
        for (code, offset) in shapes {
            let end = at.get() + code.len() as u64;
            let operand = loaded(code, at).unwrap();
            assert_eq!(operand.at.get(), at.get() + offset, "{code:x?}");
            assert_eq!(operand.word.get(), end + 0x2fe2);
            assert_eq!(operand.naming(operand.word), Some([0xe2, 0x2f, 0, 0]));
            assert_eq!(operand.naming(Addr::new(1 << 40)), None);
        }
        assert_eq!(loaded(&[0x90, 0x90, 0x90, 0xff, 0x25, 0, 0, 0, 0], at), None);
        assert_eq!(loaded(&[0xff, 0x25], at), None);
        let mold = [
            0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0xbb, 7, 0, 0, 0, 0xff, 0x25, 0xe2, 0x2f, 0, 0,
        ];
        assert_eq!(loaded(&mold, at), None);
    }
}
