//! Facts of the machine that the tracer itself is compiled for: where its kernel interface has the
//! registers. Everything else about an architecture is in `arch-abi`.

/// Where `PTRACE_POKEUSER` finds the program counter, if the host has such a request.
// QUIRK compat-pokeuser: the offsets of a 64-bit tracer are those of the 64-bit `struct user`, also for a
// 32-bit tracee. Seen: Linux 6.18. Source: arch/x86/kernel/ptrace.c, arch_ptrace: `putreg` by the
// tracer's ABI; the tracee's is not asked. Drop when: never, it is the ABI. Test: tests/i386.rs, pc_of_a_32_bit_tracee.
#[cfg(target_arch = "x86_64")]
pub(crate) const USER_PC: Option<usize> = Some(arch_abi::x86::x86_64::RIP.offset());
/// Where `PTRACE_POKEUSER` finds the program counter.
#[cfg(target_arch = "x86")]
pub(crate) const USER_PC: Option<usize> = Some(arch_abi::x86::i386::EIP.offset());
/// There is no `PTRACE_POKEUSER` for it: the whole register set is written.
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
pub(crate) const USER_PC: Option<usize> = None;
