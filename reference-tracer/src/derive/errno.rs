//! Where a thread's `errno` lies, told by the C library's function that gives its address.
//!
//! `errno` is a macro that calls `__errno_location`, in glibc and in musl. Its few instructions add to the thread pointer
//! an offset, which is in the code or in a word that the dynamic linker has filled.

use arch_abi::Addr;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// How much of the function's code is wanted.
pub const CODE: usize = 32;
/// More instructions than any such function has.
const MAX_INSTRUCTIONS: usize = 8;

/// Where `errno` lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Whether `offset` counts from the thread pointer.
    in_thread: bool,
    offset: u64,
}

impl Place {
    /// Its address in the thread with this thread pointer.
    #[must_use]
    pub const fn resolve(self, thread: u64) -> u64 {
        if self.in_thread {
            self.offset.wrapping_add(thread)
        } else {
            self.offset
        }
    }

    /// Its distance from the thread pointer; `None` where it is not told, or is not one that thread-local memory of a
    /// library has there (ELF Handling For Thread-Local Storage, variant II: below the pointer).
    #[must_use]
    pub fn from_thread(self) -> Option<i32> {
        let offset = i32::try_from(self.offset.cast_signed()).ok();
        offset.filter(|&offset| self.in_thread && offset < 0)
    }

    fn plus(self, other: Self) -> Option<Self> {
        let once = !(self.in_thread && other.in_thread);
        once.then(|| Self {
            in_thread: self.in_thread || other.in_thread,
            offset: self.offset.wrapping_add(other.offset),
        })
    }
}

/// What the x86-64 function whose code at `at` is `code` returns. `read` reads a word of the process. `None`: the code is
/// of another form.
#[must_use]
pub fn place(code: &[u8], at: Addr, read: &dyn Fn(Addr) -> Option<u64>) -> Option<Place> {
    let mut decoder = Decoder::with_ip(64, code, at.get(), DecoderOptions::NONE);
    let mut rax = None;
    for _ in 0..MAX_INSTRUCTIONS {
        let instruction = decoder.decode();
        match instruction.mnemonic() {
            Mnemonic::Endbr64 | Mnemonic::Nop => {}
            Mnemonic::Ret => return rax,
            _ if instruction.op0_register().full_register() != Register::RAX => return None,
            Mnemonic::Mov => rax = Some(operand(&instruction, read)?),
            Mnemonic::Add => rax = Some(rax?.plus(operand(&instruction, read)?)?),
            Mnemonic::Lea
                if instruction.memory_base() == Register::RAX
                    && instruction.memory_index() == Register::None =>
            {
                rax = Some(rax?.plus(Place {
                    in_thread: false,
                    offset: instruction.memory_displacement64(),
                })?);
            }
            _ => return None,
        }
    }
    None
}

/// The second operand: a number, the thread pointer (`%fs:0`), or a word of the library's.
fn operand(instruction: &Instruction, read: &dyn Fn(Addr) -> Option<u64>) -> Option<Place> {
    let number = |offset| Place {
        in_thread: false,
        offset,
    };
    match instruction.op1_kind() {
        OpKind::Memory if instruction.segment_prefix() == Register::FS => {
            let is_first = instruction.memory_base() == Register::None
                && instruction.memory_index() == Register::None
                && instruction.memory_displacement64() == 0;
            is_first.then_some(Place {
                in_thread: true,
                offset: 0,
            })
        }
        OpKind::Memory if instruction.is_ip_rel_memory_operand() => {
            read(Addr::new(instruction.ip_rel_memory_address())).map(number)
        }
        OpKind::Memory | OpKind::Register => None,
        _ => Some(number(instruction.immediate(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Addr = Addr::new(0x1000);

    fn of(code: &[u8]) -> Option<Place> {
        place(code, AT, &|at| {
            (at.get() == 0x1234).then_some((-0x58_i64).cast_unsigned())
        })
    }

    #[test]
    fn glibcs_form() {
        // endbr64; mov 0x1234(%rip)-form,%rax; add %fs:0,%rax; ret
        let code = [
            0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x8b, 0x05, 0x29, 0x02, 0x00, 0x00, 0x64, 0x48, 0x03, 0x04, 0x25,
            0, 0, 0, 0, 0xc3,
        ];
        assert_eq!(of(&code).expect("a place").resolve(0x7000), 0x7000 - 0x58);
    }

    #[test]
    fn musls_form() {
        // mov %fs:0,%rax; add $0x34,%rax; ret
        let code = [
            0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x48, 0x83, 0xc0, 0x34, 0xc3,
        ];
        assert_eq!(of(&code).expect("a place").resolve(0x7000), 0x7034);
    }

    #[test]
    fn other_code_tells_nothing() {
        for code in [
            &[][..],
            &[0xc3],
            &[0xcc; 32],
            &[0x90; 32],
            &[0x48, 0x83, 0xc0, 0x34, 0xc3],
            &[0xe8, 0, 0, 0, 0, 0xc3],
        ] {
            assert_eq!(of(code), None, "{code:x?}");
        }
        // Twice the thread pointer is no address.
        let twice = [
            0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x64, 0x48, 0x03, 0x04, 0x25, 0, 0, 0, 0, 0xc3,
        ];
        assert_eq!(of(&twice), None);
    }
}
