//! The raw record of a call: what every engine makes, and all that decoding starts from.

use arch_abi::{Addr, Captured, FpRegs, Regs};

/// A call at its entry, before the callee has run.
#[derive(Clone, Debug, Default)]
pub struct RawCall {
    /// The thread, as the kernel numbers it.
    pub tid: i32,
    /// Which call point of the engine's list was hit.
    pub call_point: u32,
    /// The stack pointer at the callee's first instruction.
    pub sp: Addr,
    /// Where the call returns to.
    pub return_address: Addr,
    /// The integer argument registers, in the ABI's order.
    pub words: [u64; 8],
    /// How many of `words` the ABI has.
    pub word_count: u8,
    /// The floating-point registers, where the plan wants them.
    pub fp: Option<FpRegs>,
    /// The bytes from `sp` on, as many as the plan wants or as there are.
    pub stack: Vec<u8>,
    /// When: nanoseconds, of whatever clock the engine uses.
    pub time: u64,
}

impl RawCall {
    /// Takes the words of `regs` for a call that is at its first instruction (or at its PLT entry,
    /// where registers and stack are the same). `stack` and `fp` are left as they are.
    pub fn take_registers(&mut self, regs: &Regs) {
        self.sp = regs.sp();
        self.word_count = u8::try_from(regs.arg_words(&mut self.words)).unwrap_or(0);
    }

    /// What was captured, as `arch-abi` takes values out of it.
    #[must_use]
    pub fn captured(&self) -> Captured<'_> {
        let count = usize::from(self.word_count).min(self.words.len());
        Captured {
            ints: &self.words[..count],
            fp: self.fp.as_ref(),
            stack: &self.stack,
        }
    }
}

/// A call at its return.
#[derive(Clone, Debug, Default)]
pub struct RawReturn {
    /// The integer return registers.
    pub words: [u64; 2],
    /// The floating-point registers, where the plan wants them.
    pub fp: Option<FpRegs>,
    /// The thread's `errno`, where the plan wants it and it was read.
    pub errno: Option<i32>,
    /// When: nanoseconds, of the same clock as the entry's.
    pub time: u64,
}

impl RawReturn {
    /// Takes the words of `regs` for a call that has just returned.
    pub fn take_registers(&mut self, regs: &Regs) {
        self.words = regs.return_words();
    }

    /// What was captured, as `arch-abi` takes values out of it.
    #[must_use]
    pub fn captured(&self) -> Captured<'_> {
        Captured {
            ints: &self.words,
            fp: self.fp.as_ref(),
            stack: &[],
        }
    }
}
