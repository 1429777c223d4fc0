//! Calls with every register loaded, of functions that look at every register.

use std::arch::global_asm;

/// `rax`, `rcx`, `rdx`, `rbx`, `rbp`, `rsi`, `rdi`, `r8` to `r15`: in this order.
pub(crate) const REGISTERS: usize = 15;
pub(crate) const RAX: usize = 0;
pub(crate) const RDX: usize = 2;
pub(crate) const RBX: usize = 3;
pub(crate) const RBP: usize = 4;
pub(crate) const R11: usize = 10;
pub(crate) const R12: usize = 11;
pub(crate) const R13: usize = 12;
pub(crate) const R14: usize = 13;
pub(crate) const R15: usize = 14;
/// The integer argument registers.
pub(crate) const ARGS: [usize; 6] = [6, 5, RDX, 1, 7, 8];

/// What registers hold.
#[repr(C, align(16))]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct File {
    pub(crate) registers: [u64; REGISTERS],
    pub(crate) stack_pointer: u64,
    pub(crate) vectors: [[u64; 2]; 16],
    /// The first words of the stack, above the return address.
    pub(crate) stack: [u64; 4],
    /// Two values of the x87 stack, of 10 bytes each.
    pub(crate) floats: [[u64; 2]; 2],
}

/// A call: what goes in, what the function finds, what it leaves, and what comes out.
#[repr(C)]
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub(crate) before: File,
    pub(crate) inside: File,
    pub(crate) left: File,
    pub(crate) after: File,
}

const FILE: usize = size_of::<File>();

unsafe extern "C" {
    /// Calls `function` with the registers of `call.before`, and stores those after it.
    fn rltrace_test_invoke(function: u64, call: *mut Call);
    /// A function for [`invoke`], whose `r12` is the address of the [`Call`].
    fn rltrace_test_inspect();
    /// Where a function returns to that was called by `invoke`.
    static rltrace_test_invoked: [u8; 0];
    /// Jumps to what `r13` holds, with all registers as they are.
    fn rltrace_test_jump_on();
}

global_asm!(
    r#"
    .macro each_register what, base
    \what rax, \base + 0
    \what rcx, \base + 8
    \what rdx, \base + 16
    \what rbx, \base + 24
    \what rbp, \base + 32
    \what rsi, \base + 40
    \what rdi, \base + 48
    \what r8, \base + 56
    \what r9, \base + 64
    \what r10, \base + 72
    \what r11, \base + 80
    \what r13, \base + 96
    \what r14, \base + 104
    \what r15, \base + 112
    .endm
    .macro each_vector what, base
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \what xmm\n, \base + 128 + 16 * \n
    .endr
    .endm
    .macro load reg, at
    mov \reg, [r12 + \at]
    .endm
    .macro save reg, at
    mov [r12 + \at], \reg
    .endm
    .macro loadv reg, at
    movaps \reg, [r12 + \at]
    .endm
    .macro savev reg, at
    movaps [r12 + \at], \reg
    .endm

    .globl rltrace_test_invoke
rltrace_test_invoke:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdi
    mov r12, rsi
    .irp n, 3, 2, 1, 0
    push [r12 + {stack} + 8 * \n]
    .endr
    mov [r12 + {stack_pointer}], rsp
    each_vector loadv, 0
    each_register load, 0
    call [rsp + 32]
    .globl rltrace_test_invoked
rltrace_test_invoked:
    mov [r12 + 3 * {file} + {stack_pointer}], rsp
    each_register save, 3 * {file}
    each_vector savev, 3 * {file}
    mov [r12 + 3 * {file} + 88], r12
    fstp tbyte ptr [r12 + 3 * {file} + {floats}]
    fstp tbyte ptr [r12 + 3 * {file} + {floats} + 16]
    add rsp, 32 + 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

    .globl rltrace_test_inspect
rltrace_test_inspect:
    mov [r12 + {file} + {stack_pointer}], rsp
    each_register save, {file}
    each_vector savev, {file}
    mov [r12 + {file} + 88], r12
    .irp n, 0, 1, 2, 3
    mov rax, [rsp + 8 + 8 * \n]
    mov [r12 + {file} + {stack} + 8 * \n], rax
    .endr
    each_vector loadv, 2 * {file}
    fldpi
    fld1
    .irp n, 0, 8, 16, 40, 48, 56, 64, 72, 80
    push [r12 + 2 * {file} + \n]
    .endr
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    ret

    .globl rltrace_test_jump_on
rltrace_test_jump_on:
    jmp r13
    "#,
    file = const FILE,
    stack_pointer = const std::mem::offset_of!(File, stack_pointer),
    stack = const std::mem::offset_of!(File, stack),
    floats = const std::mem::offset_of!(File, floats),
);

/// A function that looks at all registers, and leaves others than it has found.
pub(crate) fn inspect() -> u64 {
    rltrace_test_inspect as *const () as u64
}

/// A function that ends with a jump to what `r13` holds.
pub(crate) fn jump_on() -> u64 {
    rltrace_test_jump_on as *const () as u64
}

/// Where functions return to that [`Call::invoke`] has called.
pub(crate) fn invoked() -> u64 {
    &raw const rltrace_test_invoked as u64
}

impl Call {
    /// A call with different values everywhere.
    pub(crate) fn new() -> Box<Call> {
        let file = |seed: u64| {
            let word = |i: usize| seed << 56 | 0x0011_2233_4455_0000 | i as u64;
            File {
                registers: std::array::from_fn(word),
                vectors: std::array::from_fn(|i| [word(100 + 2 * i), word(101 + 2 * i)]),
                stack: std::array::from_fn(|i| word(200 + i)),
                ..File::default()
            }
        };
        let mut call = Box::new(Call {
            before: file(0xb0),
            left: file(0x1e),
            ..Call::default()
        });
        call.before.registers[R12] = &raw const *call as u64;
        call
    }

    /// Makes the call. `function` is, or ends with, [`inspect`].
    pub(crate) fn invoke(&mut self, function: u64) {
        // SAFETY: `inspect` keeps the calling convention, all that it and `invoke` write lies in `self`, and its address is in
        // `r12` for both.
        unsafe { rltrace_test_invoke(function, self) };
    }

    /// That the function has found what was there before, and the caller what it has left.
    pub(crate) fn check(&self) {
        let mut found = self.before.clone();
        found.registers[R11] = self.inside.registers[R11]; // psABI, "Register Usage": nobody's at a call
        found.stack_pointer -= 8;
        assert_eq!(self.inside, found);
        let preserved = [RBX, RBP, R12, R13, R14, R15];
        for register in preserved {
            assert_eq!(
                self.after.registers[register], self.before.registers[register],
                "{register}"
            );
        }
        for register in [RAX, RDX] {
            assert_eq!(
                self.after.registers[register], self.left.registers[register],
                "{register}"
            );
        }
        assert_eq!(self.after.vectors, self.left.vectors);
        assert_eq!(self.after.stack_pointer, self.before.stack_pointer);
        let one = [1 << 63, 0x3fff];
        let pi = [0xc90f_daa2_2168_c235, 0x4000];
        assert_eq!(self.after.floats, [one, pi]);
    }
}
