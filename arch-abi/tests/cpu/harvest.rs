//! Instructions to try: a list, what real libraries have, and random bytes.

use std::collections::HashMap;
use std::fs;

use arch_abi::Arch;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};

/// Numbers that are the same in each run (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e3779b97f4a7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545f4914f6cdd1d)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    /// The bytes of some valid instruction that may be tried.
    pub(crate) fn instruction(&mut self, bits: u32) -> Vec<u8> {
        loop {
            let bytes: Vec<u8> = (0..2).flat_map(|_| self.next().to_le_bytes()).collect();
            if let Some(instruction) = decode(bits, &bytes[..15]) {
                return bytes[..instruction.len()].to_vec();
            }
        }
    }
}

/// The instruction at the start of `bytes`, if it is one and may be tried.
fn decode(bits: u32, bytes: &[u8]) -> Option<Instruction> {
    let instruction = Decoder::with_ip(bits, bytes, 0x1000, DecoderOptions::NONE).decode();
    (!instruction.is_invalid() && may_try(&instruction)).then_some(instruction)
}

/// Whether an instruction does the same each time, and nothing to the machine. System calls are tried by
/// themselves, with known numbers.
fn may_try(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    let sets_ss = instruction.op_count() > 0
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register() == iced_x86::Register::SS;
    let excluded = matches!(
        instruction.mnemonic(),
        // enter the kernel or the hypervisor
        M::Syscall | M::Sysenter | M::Int | M::Vmcall | M::Vmmcall | M::Vmgexit
        // change from time to time
        | M::Rdtsc | M::Rdtscp | M::Rdrand | M::Rdseed | M::Rdpid | M::Rdpru | M::Rdpmc
        // set the trap flag, or selectors of other modes, from random words
        | M::Popf | M::Popfd | M::Popfq | M::Iret | M::Iretd | M::Iretq | M::Retf
        // store the state of units that a signal handler's frame or a tracer changes
        | M::Xsave | M::Xsave64 | M::Xsavec | M::Xsavec64 | M::Xsaveopt | M::Xsaveopt64
        | M::Xrstor | M::Xrstor64 | M::Wrpkru
        // store the address of the last x87 instruction
        | M::Fnstenv | M::Fnsave | M::Fstenv | M::Fsave | M::Fxsave | M::Fxsave64
        // suppress the single step after them
        | M::Lss
    );
    !excluded && !sets_ss
}

/// Two instances of each shape of instruction in the C library's and the loader's code.
pub(crate) fn harvest(bits: u32) -> Vec<Vec<u8>> {
    let mut seen: HashMap<(iced_x86::Code, u64), u32> = HashMap::new();
    let mut found = Vec::new();
    for text in mapped_code() {
        let mut rest = &text[..];
        while rest.len() >= 15 {
            let Some(instruction) = decode(bits, &rest[..15]) else {
                rest = &rest[1..];
                continue;
            };
            let count = seen.entry((instruction.code(), shape(&instruction))).or_default();
            if *count < 2 {
                *count += 1;
                found.push(rest[..instruction.len()].to_vec());
            }
            rest = &rest[instruction.len()..];
        }
    }
    found
}

fn shape(instruction: &Instruction) -> u64 {
    let kinds = instruction
        .op_kinds()
        .fold(0, |shape, kind| shape * 32 + kind as u64);
    let memory = u64::from(instruction.memory_base() == iced_x86::Register::RSP)
        | u64::from(instruction.is_ip_rel_memory_operand()) << 1
        | u64::from(instruction.memory_index() != iced_x86::Register::None) << 2
        | u64::from(instruction.has_lock_prefix()) << 3
        | u64::from(instruction.has_rep_prefix() || instruction.has_repne_prefix()) << 4;
    kinds << 8 | memory
}

/// The code of the libraries that this test runs on.
fn mapped_code() -> Vec<Vec<u8>> {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let libraries = maps
        .lines()
        .filter(|line| line.contains("r-xp") && line.contains(".so"));
    let code: Vec<Vec<u8>> = libraries
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let offset = usize::from_str_radix(fields.nth(1)?, 16).ok()?;
            let len = usize::from_str_radix(end, 16).ok()? - usize::from_str_radix(start, 16).ok()?;
            let file = fs::read(fields.nth(2)?).ok()?;
            Some(file.get(offset..(offset + len).min(file.len()))?.to_vec())
        })
        .collect();
    assert!(!code.is_empty(), "this test is linked to libc.so");
    code
}

/// What traps are most often on, and what is hard to step over.
pub(crate) fn listed(arch: Arch) -> Vec<Vec<u8>> {
    let jumps = (0..16).flat_map(|cc| [vec![0x70 | cc, 0x40], vec![0x0f, 0x80 | cc, 0, 0, 0, 0]]);
    let mode = if arch == Arch::X86_64 { WIDE } else { NARROW };
    BOTH.iter()
        .chain(mode)
        .map(|bytes| bytes.to_vec())
        .chain(jumps)
        .collect()
}

/// In either mode.
const BOTH: &[&[u8]] = &[
    &[0x90],
    &[0xf3, 0x0f, 0x1e, 0xfa],             // endbr64
    &[0xf3, 0x0f, 0x1e, 0xfb],             // endbr32
    &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00], // nopw
    &[0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
    &[0xf3, 0x90],                      // pause
    &[0x55],                            // push %rbp
    &[0x54],                            // push %rsp
    &[0x5d],                            // pop %rbp
    &[0x5c],                            // pop %rsp
    &[0x68, 1, 2, 3, 0x84],             // push $imm32
    &[0x6a, 0xfe],                      // push $imm8
    &[0xff, 0x30],                      // push (%rax)
    &[0xff, 0x74, 0x24, 0x08],          // push 8(%rsp)
    &[0x8f, 0x44, 0x24, 0x08],          // pop 8(%rsp)
    &[0x66, 0x50],                      // push %ax
    &[0xc9],                            // leave
    &[0xc8, 0x20, 0x00, 0x00],          // enter $32,$0
    &[0xc3],                            // ret
    &[0xf3, 0xc3],                      // rep ret
    &[0xc2, 0x08, 0x00],                // ret $8
    &[0x89, 0xe5],                      // mov %esp,%ebp
    &[0x83, 0xec, 0x18],                // sub $24,%esp
    &[0x83, 0xc4, 0x18],                // add $24,%esp
    &[0x2d, 0, 0, 0, 0x80],             // sub $0x80000000,%eax
    &[0x05, 0xff, 0xff, 0xff, 0x7f],    // add $0x7fffffff,%eax
    &[0x29, 0xd8],                      // sub %ebx,%eax
    &[0x01, 0xd8],                      // add %ebx,%eax
    &[0x39, 0xd8],                      // cmp %ebx,%eax
    &[0x3b, 0x03],                      // cmp (%rbx),%eax
    &[0x39, 0x03],                      // cmp %eax,(%rbx)
    &[0x83, 0x3b, 0x07],                // cmpl $7,(%rbx)
    &[0x8d, 0x44, 0x8b, 0x10],          // lea 16(%rbx,%rcx,4),%eax
    &[0x8b, 0x44, 0x24, 0x08],          // mov 8(%rsp),%eax
    &[0x89, 0x44, 0x24, 0xf8],          // mov %eax,-8(%rsp)
    &[0xc7, 0x04, 0x24, 1, 2, 3, 0x84], // movl $imm32,(%rsp)
    &[0xb8, 1, 2, 3, 0x84],             // mov $imm32,%eax
    &[0xe9, 0, 0, 0, 0],                // jmp
    &[0xeb, 0x40],
    &[0xeb, 0xc0],
    &[0xe8, 0, 0, 0, 0], // call
    &[0xff, 0xe0],       // jmp *%rax
    &[0xff, 0xd0],       // call *%rax
    &[0xff, 0x10],       // call *(%rax)
    &[0xff, 0x20],       // jmp *(%rax)
    &[0xff, 0x14, 0x24], // call *(%rsp)
    &[0xff, 0x54, 0x24, 0x10],
    &[0xff, 0x54, 0x24, 0xf0],
    &[0xff, 0x54, 0x24, 0xf8], // call *-8(%rsp): reads what the push overwrites
    &[0xff, 0x54, 0x8c, 0x10],
    &[0xff, 0x94, 0x24, 0x00, 0x01, 0x00, 0x00],
    &[0xff, 0xd4],             // call *%rsp
    &[0xff, 0x93, 4, 0, 0, 0], // call *4(%rbx)
    &[0xff, 0xa3, 4, 0, 0, 0], // jmp *4(%rbx): an i386 PIC stub
    &[0x3e, 0xff, 0xe0],       // notrack jmp *%rax
    &[0xf2, 0xff, 0x20],       // bnd jmp *(%rax)
    &[0xf2, 0xe8, 0, 0, 0, 0], // bnd call
    &[0xe2, 0x30],             // loop
    &[0xe1, 0x30],
    &[0xe0, 0x30],
    &[0xe3, 0x30],       // jrcxz
    &[0x67, 0xe3, 0x30], // jecxz
    &[0xcc],             // a trap of the program's
    &[0xf1],
    &[0x0f, 0x0b],                         // ud2
    &[0xf4],                               // hlt
    &[0x9c],                               // pushf
    &[0xf3, 0xa4],                         // rep movsb
    &[0xf3, 0xaa],                         // rep stosb
    &[0xc7, 0xf8, 0x10, 0, 0, 0],          // xbegin
    &[0xff, 0x18],                         // lcall *(%rax)
    &[0x65, 0x8b, 0x04, 0x25, 0, 0, 0, 0], // mov %gs:0,%eax
    &[0x31, 0xc0],                         // xor %eax,%eax
    &[0x85, 0xc0],                         // test %eax,%eax
    &[0x0f, 0x05],                         // syscall: see `Machine`
    &[0xcd, 0x80],                         // int $0x80
];

/// In 64-bit mode.
const WIDE: &[&[u8]] = &[
    &[0x48, 0x89, 0xe5],                               // mov %rsp,%rbp
    &[0x48, 0x83, 0xec, 0x18],                         // sub $24,%rsp
    &[0x48, 0x81, 0xc4, 0xd8, 0, 0, 0],                // add $216,%rsp
    &[0x41, 0x57],                                     // push %r15
    &[0x41, 0x5f],                                     // pop %r15
    &[0x48, 0x8d, 0x05, 0, 0, 0, 0],                   // lea (%rip),%rax
    &[0x8d, 0x05, 0, 0, 0, 0],                         // lea (%rip),%eax
    &[0x48, 0x8b, 0x05, 0, 0, 0, 0],                   // mov (%rip),%rax
    &[0x48, 0x83, 0x3d, 0, 0, 0, 0, 0x05],             // cmpq $5,(%rip)
    &[0x80, 0x3d, 0, 0, 0, 0, 0x05],                   // cmpb $5,(%rip)
    &[0xff, 0x25, 0, 0, 0, 0],                         // jmp *(%rip)
    &[0xf2, 0xff, 0x25, 0, 0, 0, 0],                   // bnd jmp *(%rip)
    &[0xff, 0x15, 0, 0, 0, 0],                         // call *(%rip)
    &[0x40, 0xff, 0x15, 0, 0, 0, 0],                   // rex call *(%rip)
    &[0x4c, 0x8b, 0x1d, 0, 0, 0, 0],                   // mov (%rip),%r11: a retpoline stub
    &[0x66, 0x66, 0x48, 0xe8, 0, 0, 0, 0],             // data16 data16 rex.W call: __tls_get_addr
    &[0x49, 0xbb, 1, 2, 3, 4, 5, 6, 7, 0x88],          // movabs
    &[0x48, 0xc7, 0xc0, 1, 2, 3, 0x84],                // mov $imm32,%rax
    &[0x41, 0xff, 0xd3],                               // call *%r11
    &[0x41, 0xff, 0x54, 0x24, 0x08],                   // call *8(%r12)
    &[0x4c, 0x39, 0xf8],                               // cmp %r15,%rax
    &[0x67, 0x8b, 0x05, 0, 0, 0, 0],                   // mov (%eip),%eax
    &[0x67, 0x48, 0x8d, 0x04, 0x18],                   // lea (%eax,%ebx),%rax
    &[0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0],       // mov %fs:0,%rax
    &[0x64, 0x48, 0x8d, 0x04, 0x25, 8, 0, 0, 0],       // lea %fs:8,%rax
    &[0x41, 0x90],                                     // xchg %r8d,%eax
    &[0xc5, 0xf8, 0x77],                               // vzeroupper
    &[0xc5, 0xfe, 0x6f, 0x05, 0, 0, 0, 0],             // vmovdqu (%rip),%ymm0
    &[0x62, 0xf1, 0x7e, 0x48, 0x6f, 0x05, 0, 0, 0, 0], // vmovdqu32 (%rip),%zmm0
];

/// In 32-bit mode.
const NARROW: &[&[u8]] = &[
    &[0x9a, 0, 0, 0, 0, 0x23, 0x00], // lcall $0x23,…
    &[0x60],                         // pusha
    &[0x61],
    &[0xce],                   // into
    &[0xa1, 0, 0, 0, 0x08],    // mov 0x8000000,%eax
    &[0x8d, 0x83, 4, 0, 0, 0], // lea 4(%ebx),%eax
    &[0x40],                   // inc %eax
    &[0x06],                   // push %es
];
