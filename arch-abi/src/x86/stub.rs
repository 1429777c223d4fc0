//! The shapes of PLT entries on x86-64 and i386, as GNU ld, gold, lld and mold write them.
//!
//! An entry is told by what it does, not by whose it is: an optional `endbr`, an optional load of the
//! relocation's index, a jump through a memory word (or, as a retpoline, a load of the word and a
//! direct branch), an optional lazy half, and padding up to a multiple of eight bytes.

use crate::addr::FileAddr;
use crate::plt::{PltCode, SlotOperand, Stub};

/// Which of the two machines' encodings to expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    X86_64,
    I386,
}

/// The piece of a PLT that starts at `at`, where `code` lies; `None` where it has no such shape.
pub(super) fn plt_code(mode: Mode, code: &[u8], at: FileAddr) -> Option<PltCode> {
    let cursor = Cursor {
        code,
        at,
        pos: 0,
        mode,
    };
    stub(cursor)
        .map(PltCode::Stub)
        .or_else(|| lazy_half(cursor))
        .or_else(|| first_entry(cursor))
}

#[derive(Clone, Copy)]
struct Cursor<'a> {
    code: &'a [u8],
    at: FileAddr,
    pos: usize,
    mode: Mode,
}

impl Cursor<'_> {
    fn rest(&self) -> &[u8] {
        self.code.get(self.pos..).unwrap_or_default()
    }

    /// Passes `bytes` if they come next.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let found = self.rest().starts_with(bytes);
        if found {
            self.pos += bytes.len();
        }
        found
    }

    /// Passes an opcode and the 32 bits that follow it, and gives these.
    fn skip_imm32(&mut self, opcode: &[u8]) -> Option<i32> {
        let rest = self.rest().strip_prefix(opcode)?;
        let imm = i32::from_le_bytes(*rest.first_chunk::<4>()?);
        self.pos += opcode.len() + 4;
        Some(imm)
    }

    fn skip_endbr(&mut self) -> bool {
        match self.mode {
            Mode::X86_64 => self.skip(&[0xf3, 0x0f, 0x1e, 0xfa]),
            Mode::I386 => self.skip(&[0xf3, 0x0f, 0x1e, 0xfb]),
        }
    }

    /// Passes an instruction of `opcode` bytes and a `ModRM` byte whose `reg` field is `reg`, with one of the
    /// two operands that name a slot: relative to the PC or absolute, and relative to `%ebx`.
    fn skip_slot_operand(&mut self, opcode: &[u8], reg: u8) -> Option<SlotOperand> {
        let mut ahead = *self;
        if !ahead.skip(opcode) {
            return None;
        }
        let direct = reg << 3 | 0b101; // mod 00, rm 101: disp32, on x86-64 relative to the PC
        let by_ebx = 0b1000_0000 | reg << 3 | 0b011; // mod 10, rm 011: disp32(%ebx)
        let operand = if let Some(disp) = ahead.skip_imm32(&[direct]) {
            SlotOperand::Address(ahead.direct_address(disp))
        } else if self.mode == Mode::I386 {
            SlotOperand::GotOffset(low32(ahead.skip_imm32(&[by_ebx])?))
        } else {
            return None;
        };
        *self = ahead;
        Some(operand)
    }

    /// The address that `disp` names in an instruction that ends here.
    fn direct_address(&self, disp: i32) -> FileAddr {
        match self.mode {
            Mode::X86_64 => self
                .at
                .wrapping_add(self.pos as u64)
                .wrapping_add(i64::from(disp).cast_unsigned()),
            Mode::I386 => FileAddr::new(low32(disp)),
        }
    }

    /// Passes padding up to the next multiple of 16 bytes, at most. The length of the whole, if it ends
    /// at a multiple of eight bytes or with the code.
    fn end(mut self, zeros_pad: bool) -> Option<usize> {
        while !self.rest().is_empty() && !self.is_aligned(16) {
            let Some(len) = padding(self.rest(), zeros_pad) else {
                break;
            };
            self.pos += len;
        }
        (self.is_aligned(8) || self.rest().is_empty()).then_some(self.pos)
    }

    fn is_aligned(&self, align: u64) -> bool {
        self.at.wrapping_add(self.pos as u64).get().is_multiple_of(align)
    }
}

/// The 32 bits, as an address or a distance modulo 2³².
fn low32(word: i32) -> u64 {
    u64::from(word.cast_unsigned())
}

/// The length of the padding instruction at the start of `code`.
fn padding(code: &[u8], zeros_pad: bool) -> Option<usize> {
    /// Intel SDM, "NOP": recommended multi-byte sequences; and `int3`, which lld and mold use.
    const PADDING: &[&[u8]] = &[
        &[0xcc],
        &[0x90],
        &[0x66, 0x90],
        &[0x0f, 0x1f, 0x00],
        &[0x0f, 0x1f, 0x40, 0x00],
        &[0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    ];
    if zeros_pad && code[0] == 0 {
        return Some(1); // GNU ld's and gold's first entry on i386
    }
    PADDING
        .iter()
        .find(|nop| code.starts_with(nop))
        .map(|nop| nop.len())
}

/// `[endbr] [mov $index,%r11d] [bnd] jmp *slot [push $index; jmp first]`, or the same as a retpoline.
fn stub(mut cursor: Cursor<'_>) -> Option<Stub> {
    cursor.skip_endbr();
    match cursor.mode {
        Mode::X86_64 => cursor.skip_imm32(&[0x41, 0xbb]), // mold: mov $index,%r11d
        Mode::I386 => cursor.skip_imm32(&[0xb9]),         // mold: mov $index,%ecx
    };
    let jump = cursor.pos;
    let slot = match jump_through(&mut cursor) {
        Some(slot) => slot,
        None => retpoline(&mut cursor)?,
    };
    lazy_branch(&mut cursor);
    let len = cursor.end(false)?;
    Some(Stub { len, jump, slot })
}

/// `[bnd] jmp *slot`
fn jump_through(cursor: &mut Cursor<'_>) -> Option<SlotOperand> {
    let mut ahead = *cursor;
    ahead.skip(&[0xf2]);
    let slot = ahead.skip_slot_operand(&[0xff], 4)?;
    *cursor = ahead;
    Some(slot)
}

/// lld's `-z retpolineplt`: `mov slot,%r11` and `jmp thunk`, or `call thunk; jmp lazy`. On i386 through
/// `%eax`, which it saves.
fn retpoline(cursor: &mut Cursor<'_>) -> Option<SlotOperand> {
    let slot = match cursor.mode {
        Mode::X86_64 => cursor.skip_slot_operand(&[0x4c, 0x8b], 3)?, // mov slot(%rip),%r11
        Mode::I386 => {
            if !cursor.skip(&[0x50]) {
                return None; // push %eax
            }
            match cursor.skip_imm32(&[0xa1]) {
                Some(moffs) => SlotOperand::Address(FileAddr::new(low32(moffs))), // mov slot,%eax
                None => cursor.skip_slot_operand(&[0x8b], 0)?,                    // mov off(%ebx),%eax
            }
        }
    };
    if cursor.skip_imm32(&[0xe8]).is_some() {
        cursor.skip_imm32(&[0xe9]);
    } else {
        cursor.skip_imm32(&[0xe9])?;
    }
    Some(slot)
}

/// `push $index; [bnd] jmp first`
fn lazy_branch(cursor: &mut Cursor<'_>) -> bool {
    let mut ahead = *cursor;
    let found = ahead.skip_imm32(&[0x68]).is_some() && {
        ahead.skip(&[0xf2]);
        ahead.skip_imm32(&[0xe9]).is_some()
    };
    if found {
        *cursor = ahead;
    }
    found
}

/// The half of an entry that binds the slot, where the other half lies in `.plt.sec`.
fn lazy_half(mut cursor: Cursor<'_>) -> Option<PltCode> {
    cursor.skip_endbr();
    if !lazy_branch(&mut cursor) {
        return None;
    }
    Some(PltCode::Other {
        len: cursor.end(false)?,
    })
}

/// `[endbr] [push %r11] push GOT+word; [bnd] jmp *GOT+2*word`: the first entry, and that of TLS
/// descriptors, which is last.
fn first_entry(mut cursor: Cursor<'_>) -> Option<PltCode> {
    cursor.skip_endbr();
    match cursor.mode {
        Mode::X86_64 => cursor.skip(&[0x41, 0x53]), // mold: push %r11
        Mode::I386 => cursor.skip(&[0x51]),         // mold: push %ecx
    };
    cursor.skip_slot_operand(&[0xff], 6)?;
    jump_through(&mut cursor)?;
    Some(PltCode::Other {
        len: cursor.end(true)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_at(mode: Mode, at: u64, hex: &str) -> Option<PltCode> {
        let bytes: Vec<u8> = hex
            .split_whitespace()
            .map(|b| u8::from_str_radix(b, 16).unwrap())
            .collect();
        plt_code(mode, &bytes, FileAddr::new(at))
    }

    fn address(len: usize, jump: usize, slot: u64) -> PltCode {
        PltCode::Stub(Stub {
            len,
            jump,
            slot: SlotOperand::Address(FileAddr::new(slot)),
        })
    }

    fn got(len: usize, jump: usize, offset: u64) -> PltCode {
        PltCode::Stub(Stub {
            len,
            jump,
            slot: SlotOperand::GotOffset(offset),
        })
    }

    /// What follows an entry: the next one, or the end of the code.
    const NEXT: [&str; 2] = ["", " ff 25 00 00 00 00"];

    #[test]
    fn x86_64_entries() {
        for next in NEXT {
            let at = |hex: &str| code_at(Mode::X86_64, 0x1020, &format!("{hex}{next}"));
            // GNU ld, gold, lld: lazy .plt
            assert_eq!(
                at("ff 25 8a 19 00 00 68 00 00 00 00 e9 e0 ff ff ff"),
                Some(address(16, 0, 0x29b0))
            );
            // GNU ld: .plt.got
            assert_eq!(at("ff 25 7a 2f 00 00 66 90"), Some(address(8, 0, 0x3fa0)));
            // GNU ld: .plt.bnd
            assert_eq!(at("f2 ff 25 7a 2f 00 00 90"), Some(address(8, 0, 0x3fa1)));
            // GNU ld: .plt.sec
            assert_eq!(
                at("f3 0f 1e fa ff 25 5e 2f 00 00 66 0f 1f 44 00 00"),
                Some(address(16, 4, 0x3f88))
            );
            // the same before binutils 2.41
            assert_eq!(
                at("f3 0f 1e fa f2 ff 25 5e 2f 00 00 0f 1f 44 00 00"),
                Some(address(16, 4, 0x3f89))
            );
            // mold: .plt and .plt.got
            assert_eq!(
                at("f3 0f 1e fa 41 bb 00 00 00 00 ff 25 b0 21 00 00"),
                Some(address(16, 10, 0x31e0))
            );
            assert_eq!(
                at("f3 0f 1e fa ff 25 76 11 00 00 cc cc cc cc cc cc"),
                Some(address(16, 4, 0x21a0))
            );
            // lld: retpoline, bound at once
            assert_eq!(
                at("4c 8b 1d 41 11 00 00 e9 d4 ff ff ff cc cc cc cc"),
                Some(address(16, 0, 0x2168))
            );
        }
        // lld: lazy retpoline
        let lazy =
            "4c 8b 1d 51 21 00 00 e8 e4 ff ff ff e9 d1 ff ff ff 68 00 00 00 00 e9 b5 ff ff ff cc cc cc cc cc";
        assert_eq!(code_at(Mode::X86_64, 0x1020, lazy), Some(address(32, 0, 0x3178)));
    }

    #[test]
    fn i386_entries() {
        for next in NEXT {
            let at = |hex: &str| code_at(Mode::I386, 0x1020, &format!("{hex}{next}"));
            assert_eq!(
                at("ff a3 0c 00 00 00 68 00 00 00 00 e9 e0 ff ff ff"),
                Some(got(16, 0, 0xc))
            );
            assert_eq!(
                at("ff 25 00 c0 04 08 68 00 00 00 00 e9 e0 ff ff ff"),
                Some(address(16, 0, 0x804c000))
            );
            assert_eq!(at("ff a3 f8 ff ff ff 66 90"), Some(got(8, 0, 0xfffffff8)));
            assert_eq!(
                at("f3 0f 1e fb ff a3 0c 00 00 00 66 0f 1f 44 00 00"),
                Some(got(16, 4, 0xc))
            );
            // mold
            assert_eq!(
                at("f3 0f 1e fb b9 00 00 00 00 ff a3 1c 10 00 00 cc"),
                Some(got(16, 9, 0x101c))
            );
            assert_eq!(
                at("f3 0f 1e fb b9 10 00 00 00 ff 25 c0 33 20 00 cc"),
                Some(address(16, 9, 0x2033c0))
            );
        }
        // lld: lazy retpolines
        let tail = "e8 e4 ff ff ff e9 d1 ff ff ff 68 00 00 00 00 e9 b5 ff ff ff cc cc";
        assert_eq!(
            code_at(
                Mode::I386,
                0x1020,
                &format!("50 8b 83 0c 00 00 00 {tail} cc cc cc")
            ),
            Some(got(32, 0, 0xc))
        );
        assert_eq!(
            code_at(
                Mode::I386,
                0x1020,
                &format!("50 a1 a4 33 40 00 {tail} cc cc cc cc")
            ),
            Some(address(32, 0, 0x4033a4))
        );
    }

    #[test]
    fn what_jumps_through_no_slot_of_its_own() {
        let other = |len| Some(PltCode::Other { len });
        let at = |mode, hex| code_at(mode, 0x1020, hex);
        assert_eq!(
            at(Mode::X86_64, "ff 35 8a 19 00 00 ff 25 8c 19 00 00 0f 1f 40 00"),
            other(16)
        );
        assert_eq!(
            at(Mode::X86_64, "f3 0f 1e fa 68 01 00 00 00 e9 e2 ff ff ff 66 90"),
            other(16)
        );
        assert_eq!(
            at(Mode::X86_64, "f3 0f 1e fa 68 01 00 00 00 f2 e9 e1 ff ff ff 90"),
            other(16)
        );
        assert_eq!(
            at(Mode::I386, "ff b3 04 00 00 00 ff a3 08 00 00 00 00 00 00 00"),
            other(16)
        );
    }

    #[test]
    fn compiled_code_is_no_entry() {
        // A tail call in the midst of a function: what follows is no padding and not aligned.
        assert_eq!(
            code_at(Mode::X86_64, 0x1020, "ff 25 8a 19 00 00 48 89 e5 c3"),
            None
        );
        assert_eq!(code_at(Mode::X86_64, 0x1020, "48 83 c4 08 c3"), None);
        // A call through a slot.
        assert_eq!(code_at(Mode::X86_64, 0x1020, "ff 15 8a 19 00 00 66 90"), None);
    }

    #[test]
    fn no_bytes_are_no_entry_and_no_panic() {
        let entry = [
            0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0xbb, 0, 0, 0, 0, 0xff, 0x25, 0xb0, 0x21, 0, 0,
        ];
        for len in 0..entry.len() {
            let cut = plt_code(Mode::X86_64, &entry[..len], FileAddr::new(0x1020));
            assert_eq!(cut, None, "{len} bytes");
        }
    }
}
