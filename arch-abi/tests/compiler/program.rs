//! The program that calls: its C text, and the shim that stands before each function.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use arch_abi::{Arch, CType, Float, layout};

use super::Test;

/// C text: the types it has declared, and then a declaration of `name` with type `ty`.
fn declare(ty: &CType, name: &str, types: &mut String, count: &mut u32) -> String {
    let float = |float| match float {
        Float::Single => "float",
        Float::Double => "double",
        Float::Long => "long double",
    };
    match ty {
        CType::Void => format!("void {name}"),
        CType::Int(1) => format!("unsigned char {name}"),
        CType::Int(2) => format!("unsigned short {name}"),
        CType::Int(4) => format!("unsigned {name}"),
        CType::Int(8) => format!("unsigned long long {name}"),
        CType::Int(_) => format!("unsigned __int128 {name}"),
        CType::Pointer => format!("void *{name}"),
        CType::Float(kind) => format!("{} {name}", float(*kind)),
        CType::Complex(kind) => format!("_Complex {} {name}", float(*kind)),
        CType::Array(of, len) => declare(of, &format!("{name}[{len}]"), types, count),
        CType::Struct(members) | CType::Union(members) => {
            let word = if matches!(ty, CType::Struct(_)) {
                "struct"
            } else {
                "union"
            };
            let fields: Vec<_> = members
                .iter()
                .enumerate()
                .map(|(index, member)| declare(member, &format!("m{index}"), types, count))
                .collect();
            *count += 1;
            let tag = format!("t{count}");
            writeln!(types, "{word} {tag} {{ {}; }};", fields.join("; ")).unwrap();
            format!("{word} {tag} {name}")
        }
    }
}

fn literal(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(u8::to_string).collect();
    format!(
        "{{ {} }}",
        if bytes.is_empty() {
            "0".into()
        } else {
            bytes.join(",")
        }
    )
}

/// The whole program.
pub(crate) fn program(arch: Arch, tests: &[Test]) -> String {
    let mut parts = Parts::default();
    for (index, test) in tests.iter().enumerate() {
        parts.add(index, test);
        parts.add_call(arch, index, test);
    }
    let Parts {
        types,
        functions,
        calls,
        shims,
        ..
    } = parts;
    let machine = if arch == Arch::X86_64 { SHIM_64 } else { SHIM_32 };
    format!("{COMMON}\n{machine}\n{shims}\n{types}\n{functions}\nvoid run(void) {{\n{calls}}}\n")
}

/// The parts of a program.
#[derive(Default)]
struct Parts {
    types: String,
    /// How many types have a name.
    count: u32,
    functions: String,
    calls: String,
    shims: String,
}

impl Parts {
    /// A function, `g`, and one that calls the shim before it, `c`.
    fn add(&mut self, index: usize, test: &Test) {
        let (types, count, functions) = (&mut self.types, &mut self.count, &mut self.functions);
        let ret = declare(&test.signature.ret, "", types, count);
        let params: Vec<_> = (test.signature.params.iter().enumerate())
            .map(|(param, ty)| declare(ty, &format!("a{param}"), types, count))
            .collect();
        let list = if params.is_empty() {
            "void".to_owned()
        } else {
            params.join(", ")
        };
        let void = test.signature.ret == CType::Void;
        writeln!(functions, "{ret} f{index}({list});\n{ret} g{index}({list}) {{").unwrap();
        if !void {
            let bytes = literal(&test.ret);
            writeln!(
                functions,
                "static unsigned char b[] = {bytes}; {ret} r; copy(&r, b, sizeof r); return r;"
            )
            .unwrap();
        }
        writeln!(functions, "}}\nvoid c{index}(void) {{").unwrap();
        for (param, bytes) in test.args.iter().enumerate() {
            let bytes = literal(bytes);
            writeln!(
                functions,
                "static unsigned char b{param}[] = {bytes}; {}; copy(&a{param}, b{param}, sizeof a{param});",
                params[param]
            )
            .unwrap();
        }
        let names: Vec<_> = (0..params.len()).map(|param| format!("a{param}")).collect();
        let (keep, used) = if void {
            (String::new(), "")
        } else {
            let used = "__asm__ volatile(\"\" :: \"r\"(&r) : \"memory\");";
            (format!("{ret} r = "), used)
        };
        writeln!(functions, "{keep}f{index}({}); {used} }}", names.join(", ")).unwrap();
    }

    /// The call of it, and the name by which the shim stands before it.
    fn add_call(&mut self, arch: Arch, index: usize, test: &Test) {
        let size = match layout(arch.abi(), &test.signature).ret {
            place if place.by_reference => place.size,
            _ => 0,
        };
        writeln!(self.calls, "memory = {size}; c{index}(); emit();").unwrap();
        let jump = if arch == Arch::X86_64 {
            format!("movabs $g{index}, %r11; mov %r11, target(%rip)")
        } else {
            format!("movl $g{index}, target")
        };
        writeln!(
            self.shims,
            "__asm__(\".globl f{index}\\nf{index}: {jump}\\n jmp shim\\n\");"
        )
        .unwrap();
    }
}

/// Compiles it.
pub(crate) fn build(arch: Arch, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let source = folder.join(format!("calls-{arch:?}.c"));
    let program = folder.join(format!("calls-{arch:?}"));
    std::fs::write(&source, text).unwrap();
    let width = if arch == Arch::X86_64 { "-m64" } else { "-m32" };
    let output = Command::new("cc")
        .args([
            width,
            "-O0",
            "-w",
            "-ffreestanding",
            "-fno-stack-protector",
            "-fcf-protection=none",
            "-fno-pie",
        ])
        .args([
            "-mno-sse3",
            "-msse2",
            "-no-pie",
            "-static",
            "-nostdlib",
            "-fno-builtin",
            "-o",
        ])
        .arg(&program)
        .arg(&source)
        .output()
        .expect("a C compiler is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    program
}

/// What both machines have: no C library, so that it links where a 32-bit one is not installed.
const COMMON: &str = r"
#define STACK 4096
struct record { unsigned long in[8], out[2]; unsigned char stack[STACK], object[STACK]; };
struct record record __attribute__((used, aligned(16)));
unsigned char fp_in[512] __attribute__((used, aligned(16))), fp_out[512] __attribute__((used, aligned(16)));
void *target __attribute__((used)), *back __attribute__((used));
unsigned long memory;
static void copy(void *to, const void *from, unsigned long n) {
    for (unsigned long i = 0; i < n; i++) ((volatile unsigned char *)to)[i] = ((const unsigned char *)from)[i];
}
/* What the compiler calls by itself to copy large structures. */
void *memcpy(void *to, const void *from, unsigned long n) { copy(to, from, n); return to; }
static void put(const void *at, unsigned long n);
static void emit(void) {
    put(&record, sizeof record); put(fp_in, 512); put(fp_out, 512);
}
__attribute__((used)) void keep_stack(unsigned char *sp) { copy(record.stack, sp, STACK); }
__attribute__((used)) void keep_object(void) { copy(record.object, (void *)record.out[0], memory); }
void run(void);
";

const SHIM_64: &str = r#"
__asm__(".globl shim\nshim:\n"
" mov %rdi, record(%rip)\n mov %rsi, record+8(%rip)\n mov %rdx, record+16(%rip)\n"
" mov %rcx, record+24(%rip)\n mov %r8, record+32(%rip)\n mov %r9, record+40(%rip)\n fxsave64 fp_in(%rip)\n"
" push %rax\n lea 8(%rsp), %rdi\n call keep_stack\n pop %rax\n"
" mov record(%rip), %rdi\n mov record+8(%rip), %rsi\n mov record+16(%rip), %rdx\n"
" mov record+24(%rip), %rcx\n mov record+32(%rip), %r8\n mov record+40(%rip), %r9\n fxrstor64 fp_in(%rip)\n"
" pop back(%rip)\n lea 1f(%rip), %r11\n push %r11\n jmp *target(%rip)\n"
"1: mov %rax, record+64(%rip)\n mov %rdx, record+72(%rip)\n fxsave64 fp_out(%rip)\n"
" call keep_object\n mov record+64(%rip), %rax\n mov record+72(%rip), %rdx\n fxrstor64 fp_out(%rip)\n jmp *back(%rip)\n"
".globl _start\n_start: and $-16, %rsp\n sub $16384, %rsp\n call run\n mov $60, %eax\n xor %edi, %edi\n syscall\n");
static void put(const void *at, unsigned long n) {
    while (n) {
        long done;
        __asm__ volatile("syscall" : "=a"(done) : "0"(1L), "D"(1L), "S"(at), "d"(n) : "rcx", "r11", "memory");
        if (done <= 0) __builtin_trap();
        at = (const char *)at + done; n -= done;
    }
}
"#;

const SHIM_32: &str = r#"
__asm__(".globl shim\nshim:\n"
" fxsave fp_in\n push %eax\n push %ecx\n push %edx\n lea 12(%esp), %eax\n push %eax\n call keep_stack\n add $4, %esp\n"
" pop %edx\n pop %ecx\n pop %eax\n fxrstor fp_in\n"
" popl back\n push $1f\n jmp *target\n"
"1: mov %eax, record+32\n mov %edx, record+36\n fxsave fp_out\n"
" push back\n call keep_object\n mov record+32, %eax\n mov record+36, %edx\n fxrstor fp_out\n ret\n"
".globl _start\n_start: and $-16, %esp\n sub $16384, %esp\n call run\n mov $1, %eax\n xor %ebx, %ebx\n int $0x80\n");
static void put(const void *at, unsigned long n) {
    while (n) {
        long done;
        __asm__ volatile("int $0x80" : "=a"(done) : "0"(4L), "b"(1L), "c"(at), "d"(n) : "memory");
        if (done <= 0) __builtin_trap();
        at = (const char *)at + done; n -= done;
    }
}
"#;
