//! Register sets, kept as the raw bytes that the kernel gave.

use std::fmt;

use crate::abi::{Abi, Arch};
use crate::addr::Addr;

/// The size of the largest `NT_PRSTATUS` register set that any ABI here has, in bytes
/// (`AArch64`: 34 double words).
const MAX_REGSET: usize = 272;

/// The size of the largest floating-point register set read here, in bytes (`AArch64`'s
/// `user_fpsimd_state`: 528; x86's FXSAVE image: 512).
const MAX_FP_REGSET: usize = 528;

/// One register: where it lies in the `NT_PRSTATUS` register set of its ABI.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reg {
    pub(crate) offset: u16,
    pub(crate) size: u8,
}

impl Reg {
    /// The register of `size` bytes at `offset` of the register set.
    ///
    /// # Panics
    /// `size` is neither 4 nor 8 (at compile time where this makes a constant).
    #[must_use]
    pub const fn at(offset: u16, size: u8) -> Self {
        assert!(
            size == 4 || size == 8,
            "registers of user_regs_struct have 4 or 8 bytes"
        );
        Self { offset, size }
    }

    /// The register's byte offset in the register set.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset as usize
    }

    /// The register's size in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        self.size as usize
    }
}

/// Which registers of a register set play which part.
#[derive(Debug)]
pub struct RegLayout {
    /// Length of the `NT_PRSTATUS` register set in bytes: it tells the ABI.
    pub len: usize,
    /// The program counter.
    pub pc: Reg,
    /// The stack pointer.
    pub sp: Reg,
    /// The words that return an integer or a pointer, lowest part first.
    pub ret: [Reg; 2],
    /// The registers that pass integers and pointers, in order; empty where all go on the stack.
    pub call_args: &'static [Reg],
    /// The system call number while a system call is under way.
    pub syscall_nr: Reg,
    /// The arguments of a system call.
    pub syscall_args: [Reg; 6],
    /// Where a system call leaves its result.
    pub syscall_ret: Reg,
    /// The thread pointer, where it is one of these registers.
    pub thread_pointer: Option<Reg>,
    /// A register that each thread has for itself, for a purpose that the ABI leaves open.
    pub spare_base: Option<Reg>,
}

/// The general registers of a stopped thread, as `PTRACE_GETREGSET` with `NT_PRSTATUS` gave them.
///
/// All bytes are kept, also those that have no name here, so that what is written back differs
/// from what was read only where it was set.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(align(8))]
pub struct Regs {
    bytes: [u8; MAX_REGSET],
    arch: Arch,
}

/// A register set whose length belongs to no ABI known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a register set of {len} bytes belongs to no known ABI")]
pub struct UnknownRegset {
    /// The length in bytes.
    pub len: usize,
}

impl Regs {
    /// How many bytes to offer the kernel for `NT_PRSTATUS`, whatever the tracee's ABI.
    pub const MAX_LEN: usize = MAX_REGSET;

    /// The registers in `bytes`, a whole `NT_PRSTATUS` register set; its length tells the ABI
    /// (ptrace(2), `PTRACE_GETREGSET`).
    ///
    /// # Errors
    /// The length belongs to no ABI known here.
    pub fn from_regset(bytes: &[u8]) -> Result<Self, UnknownRegset> {
        let arch = Arch::of_regset_len(bytes.len()).ok_or(UnknownRegset { len: bytes.len() })?;
        let mut regs = Self {
            bytes: [0; MAX_REGSET],
            arch,
        };
        regs.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(regs)
    }

    /// The register set as the kernel takes it back.
    #[must_use]
    pub fn as_regset(&self) -> &[u8] {
        &self.bytes[..self.layout().len]
    }

    /// The ABI that these registers belong to.
    #[must_use]
    pub const fn arch(&self) -> Arch {
        self.arch
    }

    /// The ABI's facts.
    #[must_use]
    pub fn abi(&self) -> &'static dyn Abi {
        self.arch.abi()
    }

    fn layout(&self) -> &'static RegLayout {
        self.abi().regs()
    }

    /// The value of `reg`, zero-extended.
    #[must_use]
    pub fn get(&self, reg: Reg) -> u64 {
        let bytes = &self.bytes[reg.offset()..reg.offset() + reg.size()];
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    }

    /// Sets `reg` to the low bytes of `value`.
    pub fn set(&mut self, reg: Reg, value: u64) {
        let bytes = value.to_le_bytes();
        self.bytes[reg.offset()..reg.offset() + reg.size()].copy_from_slice(&bytes[..reg.size()]);
    }

    /// The program counter.
    #[must_use]
    pub fn pc(&self) -> Addr {
        Addr::new(self.get(self.layout().pc))
    }

    /// Sets the program counter.
    pub fn set_pc(&mut self, pc: Addr) {
        self.set(self.layout().pc, pc.get());
    }

    /// The stack pointer.
    #[must_use]
    pub fn sp(&self) -> Addr {
        Addr::new(self.get(self.layout().sp))
    }

    /// Sets the stack pointer.
    pub fn set_sp(&mut self, sp: Addr) {
        self.set(self.layout().sp, sp.get());
    }

    /// The first word of an integer or pointer result, at the return of a call.
    #[must_use]
    pub fn return_word(&self) -> u64 {
        self.get(self.layout().ret[0])
    }

    /// The words in the integer argument registers, in order, for [`Captured`](crate::Captured); how
    /// many there are. The rest of `out` is left alone.
    pub fn arg_words(&self, out: &mut [u64; 8]) -> usize {
        let regs = self.layout().call_args;
        for (word, &reg) in out.iter_mut().zip(regs) {
            *word = self.get(reg);
        }
        regs.len()
    }

    /// The words in the integer return registers, in order, for [`Captured`](crate::Captured).
    #[must_use]
    pub fn return_words(&self) -> [u64; 2] {
        self.layout().ret.map(|reg| self.get(reg))
    }

    /// The integer argument register number `index` at the entry of a call; `None` where the ABI
    /// passes that word on the stack.
    #[must_use]
    pub fn call_arg(&self, index: usize) -> Option<u64> {
        self.layout().call_args.get(index).map(|&reg| self.get(reg))
    }
}

impl fmt::Debug for Regs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Regs")
            .field("arch", &self.arch)
            .field("pc", &self.pc())
            .field("sp", &self.sp())
            .finish_non_exhaustive()
    }
}

/// The floating-point and vector registers of a stopped thread, raw.
///
/// On x86 these are the 512 bytes of an FXSAVE image (Intel SDM, "FXSAVE"): x86-64's
/// `NT_PRFPREG`, i386's `NT_PRXFPREG`.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub struct FpRegs {
    bytes: [u8; MAX_FP_REGSET],
    len: usize,
}

impl FpRegs {
    /// How many bytes to offer the kernel, whatever the tracee's ABI.
    pub const MAX_LEN: usize = MAX_FP_REGSET;

    /// The registers in `bytes`.
    ///
    /// # Errors
    /// There are more bytes than any known register set has.
    pub fn from_regset(bytes: &[u8]) -> Result<Self, UnknownRegset> {
        if bytes.len() > MAX_FP_REGSET {
            return Err(UnknownRegset { len: bytes.len() });
        }
        let mut regs = Self {
            bytes: [0; MAX_FP_REGSET],
            len: bytes.len(),
        };
        regs.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(regs)
    }

    /// The register set as the kernel gave it.
    #[must_use]
    pub fn as_regset(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Vector register `index`, its low 16 bytes: on x86 `xmm0` and up. `None` where the set has
    /// none of that number.
    #[must_use]
    pub fn vector(&self, index: u8) -> Option<&[u8; 16]> {
        // Intel SDM, "FXSAVE Area": XMM0 at byte 160, each 16 bytes.
        let start = 160 + usize::from(index) * 16;
        (index < 16).then(|| self.as_regset().get(start..start + 16)?.try_into().ok())?
    }

    /// x87 register `st(index)`, ten bytes. `None` where the set has none of that number.
    #[must_use]
    pub fn x87(&self, index: u8) -> Option<&[u8; 10]> {
        // Intel SDM, "FXSAVE Area": ST0 at byte 32, each in 16 bytes, counted from the top.
        let start = 32 + usize::from(index) * 16;
        (index < 8).then(|| self.as_regset().get(start..start + 10)?.try_into().ok())?
    }
}

impl fmt::Debug for FpRegs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FpRegs({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x86::{i386, x86_64};

    #[test]
    fn the_length_tells_the_abi() {
        assert_eq!(Regs::from_regset(&[0; 216]).unwrap().arch(), Arch::X86_64);
        assert_eq!(Regs::from_regset(&[0; 68]).unwrap().arch(), Arch::I386);
        assert_eq!(
            Regs::from_regset(&[0; 217]).unwrap_err(),
            UnknownRegset { len: 217 }
        );
    }

    #[test]
    fn registers_lie_where_user_regs_struct_has_them() {
        // <sys/user.h>: r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs
        // eflags rsp ss fs_base gs_base ds es fs gs
        let bytes: Vec<u8> = (0_u64..27).flat_map(u64::to_le_bytes).collect();
        let mut regs = Regs::from_regset(&bytes).unwrap();
        assert_eq!(regs.pc(), Addr::new(16));
        assert_eq!(regs.sp(), Addr::new(19));
        assert_eq!(regs.return_word(), 10);
        let args: Vec<_> = (0..7).map(|i| regs.call_arg(i)).collect();
        assert_eq!(
            args,
            [Some(14), Some(13), Some(12), Some(11), Some(9), Some(8), None]
        );
        regs.set(x86_64::RSP, 0xffff_ffff_ffff_fff8);
        assert_eq!(regs.sp().get(), 0xffff_ffff_ffff_fff8);
        regs.set_sp(Addr::new(19));
        assert_eq!(regs.as_regset(), bytes);
    }

    #[test]
    fn an_i386_register_has_32_bits() {
        // ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss
        let bytes: Vec<u8> = (0_u32..17).flat_map(u32::to_le_bytes).collect();
        let mut regs = Regs::from_regset(&bytes).unwrap();
        assert_eq!(
            (regs.pc().get(), regs.sp().get(), regs.return_word()),
            (12, 15, 6)
        );
        assert_eq!(regs.call_arg(0), None);
        regs.set(i386::EAX, 0x1_ffff_fffe);
        assert_eq!(regs.return_word(), 0xffff_fffe);
    }
}
