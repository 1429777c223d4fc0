//! The handler that outlives a tracer (see `arch_abi::guard`): what its two machines share.

use iced_x86::code_asm::{CodeAssembler, CodeLabel};
use iced_x86::{BlockEncoderOptions, IcedError};

use super::stub::Mode;
use super::{guard32, guard64};
use crate::abi::Abi;
use crate::addr::Addr;
use crate::guard::{DATA_LEN, Guard};

/// `si_code` in `siginfo_t`.
pub(super) const SI_CODE: i32 = 8;
/// `si_code` of the SIGTRAP that an `int3` raises on x86 (`arch/x86/kernel/traps.c`, `do_int3`).
pub(super) const SI_KERNEL: i32 = 0x80;
pub(super) const SIGTRAP: u32 = 5;

/// `SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER` (`asm/signal.h`).
const SA_FLAGS: u64 = 0x4 | 0x0800_0000 | 0x4000_0000 | 0x0400_0000;

/// Assembles the guard for the place `at`, with its data at `data`.
pub(super) fn assemble(mode: Mode, at: Addr, data: Addr) -> Option<Guard> {
    let end = data.checked_add(DATA_LEN)?;
    let (abi, bits, write): (&dyn Abi, _, Handler) = match mode {
        Mode::X86_64 => (&super::x86_64::X86_64, 64, guard64::handler),
        Mode::I386 => (&super::i386::I386, 32, guard32::handler),
    };
    if bits == 32 && u32::try_from(end.get().max(at.get())).is_err() {
        return None;
    }
    let (code, handler) = encode(bits, at, data, write).ok()?;
    // asm/signal.h: handler, flags, restorer, and an empty mask.
    let word = abi.word_size();
    let words = [handler, SA_FLAGS, at.get()].map(u64::to_le_bytes);
    let mut action: Vec<u8> = words.iter().flat_map(|bytes| &bytes[..word]).copied().collect();
    action.resize(abi.sigaction_size(), 0);
    Some(Guard { code, action })
}

type Handler = fn(&mut CodeAssembler, Addr) -> Result<CodeLabel, IcedError>;

/// The code, which begins with the restorer, and the address of the handler in it.
fn encode(bits: u32, at: Addr, data: Addr, write: Handler) -> Result<(Vec<u8>, u64), IcedError> {
    let mut asm = CodeAssembler::new(bits)?;
    let handler = write(&mut asm, data)?;
    let assembled = asm.assemble_options(at.get(), BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
    let handler = assembled.label_ip(&handler)?;
    Ok((assembled.inner.code_buffer, handler))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{DATA_CHAIN, DATA_TABLE};
    use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};

    const AT: Addr = Addr::new(0x5555_0000);
    const DATA: Addr = Addr::new(0x6666_0000);

    fn disassembled(guard: &Guard, bits: u32) -> Vec<Instruction> {
        let decoder = Decoder::with_ip(bits, &guard.code, AT.get(), DecoderOptions::NONE);
        decoder.into_iter().collect()
    }

    #[test]
    fn the_action_names_restorer_and_handler() {
        for (mode, word, len) in [(Mode::X86_64, 8, 32), (Mode::I386, 4, 20)] {
            let guard = assemble(mode, AT, DATA).expect("a guard");
            assert_eq!(guard.action.len(), len);
            let words: Vec<u64> = guard.action[..3 * word]
                .chunks(word)
                .map(|bytes| {
                    bytes
                        .iter()
                        .rev()
                        .fold(0, |word, &byte| word << 8 | u64::from(byte))
                })
                .collect();
            assert_eq!(words[1..], [SA_FLAGS, AT.get()], "{mode:?}");
            let instructions = disassembled(&guard, if word == 8 { 64 } else { 32 });
            let handler = instructions.iter().position(|i| i.ip() == words[0]);
            assert_eq!(
                handler,
                Some(2),
                "{mode:?}: behind the two instructions of the restorer"
            );
            assert!(guard.action[3 * word..].iter().all(|&byte| byte == 0), "{mode:?}");
        }
    }

    /// Unwinders know a signal frame by the bytes that it returns to.
    #[test]
    fn the_restorer_is_what_unwinders_look_for() {
        let of = |mode| assemble(mode, AT, DATA).expect("a guard").code;
        assert_eq!(of(Mode::I386)[..7], [0xb8, 173, 0, 0, 0, 0xcd, 0x80]);
        assert_eq!(of(Mode::X86_64)[..7], [0xb8, 15, 0, 0, 0, 0x0f, 0x05]);
    }

    #[test]
    fn the_code_of_i386_is_whole_and_names_its_data() {
        let guard = assemble(Mode::I386, AT, DATA).expect("a guard");
        let instructions = disassembled(&guard, 32);
        assert!(instructions.iter().all(|i| i.code() != Code::INVALID));
        let absolute: Vec<u64> = instructions
            .iter()
            .filter(|i| i.memory_displ_size() == 4 && i.memory_base() == Register::None)
            .map(|i| i.memory_displacement64() - DATA.get())
            .collect();
        assert_eq!(absolute[0], DATA_TABLE);
        assert_eq!(absolute.last(), Some(&DATA_CHAIN));
        assert!(absolute.iter().all(|&offset| offset < DATA_LEN));
        assert!(instructions.iter().all(|i| !i.is_jmp_short_or_near() || {
            let to = i.near_branch_target();
            instructions.iter().any(|i| i.ip() == to)
        }));
    }

    #[test]
    fn no_memory_of_i386_lies_past_4_gib() {
        let past = Addr::new(1 << 32);
        assert!(assemble(Mode::I386, past, DATA).is_none());
        assert!(assemble(Mode::I386, AT, past.wrapping_sub(8)).is_none());
        assert!(assemble(Mode::X86_64, past, past).is_some());
        assert!(assemble(Mode::X86_64, AT, Addr::new(u64::MAX)).is_none());
    }
}
