//! The compiler is the witness: C functions of random signatures are called with known values, and
//! what the registers and the stack held is compared with where [`arch_abi::layout`] says it lies.
//!
//! A shim stands before each function. It stores the registers, an FXSAVE image and the stack of the
//! entry, puts its own return address in the caller's place, and stores the registers of the return.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use arch_abi::{Abi, Arch, CType, Captured, Float, FpRegs, Place, Signature, layout};

/// xorshift64*: the same signatures on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn scalar(random: &mut Random, arch: Arch) -> CType {
    match random.below(12) {
        0 => CType::Int(1),
        1 => CType::Int(2),
        2 | 3 => CType::Int(4),
        4 => CType::Int(8),
        5 if arch == Arch::X86_64 => CType::Int(16),
        6 => CType::Float(Float::Single),
        7 => CType::Float(Float::Double),
        8 => CType::Float(Float::Long),
        9 => CType::Complex(
            [Float::Single, Float::Double, Float::Long][usize::try_from(random.below(3)).unwrap()],
        ),
        _ => CType::Pointer,
    }
}

fn any(random: &mut Random, arch: Arch, depth: u64) -> CType {
    if depth >= 3 || random.below(5) < 3 {
        return scalar(random, arch);
    }
    let members = (0..=random.below(3))
        .map(|_| member(random, arch, depth + 1))
        .collect();
    if random.below(4) == 0 {
        CType::Union(members)
    } else {
        CType::Struct(members)
    }
}

/// A type that the shim's buffers hold.
fn small(random: &mut Random, arch: Arch) -> CType {
    loop {
        let ty = any(random, arch, 0);
        if arch.abi().layout_of(&ty).size <= 1024 {
            return ty;
        }
    }
}

fn member(random: &mut Random, arch: Arch, depth: u64) -> CType {
    if random.below(4) == 0 {
        let count = u32::try_from(1 + random.below(3)).unwrap();
        return CType::Array(Box::new(any(random, arch, depth + 1)), count);
    }
    any(random, arch, depth)
}

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

/// The bytes that count of a value of this type: offset and length each.
fn counted(ty: &CType, at: u64, abi: &dyn Abi, out: &mut Vec<(u64, u64)>) {
    let part = |float| {
        if float == Float::Long {
            10
        } else {
            abi.layout_of(&CType::Float(float)).size
        }
    };
    match ty {
        CType::Void => {}
        CType::Int(_) | CType::Pointer => out.push((at, abi.layout_of(ty).size)),
        CType::Float(float) => out.push((at, part(*float))),
        CType::Complex(float) => {
            let size = abi.layout_of(&CType::Float(*float)).size;
            out.extend([(at, part(*float)), (at + size, part(*float))]);
        }
        CType::Array(of, count) => {
            let size = abi.layout_of(of).size;
            (0..u64::from(*count)).for_each(|index| counted(of, at + index * size, abi, out));
        }
        CType::Struct(members) => {
            let mut end = at;
            for member in members {
                let layout = abi.layout_of(member);
                let start = end.next_multiple_of(layout.align);
                counted(member, start, abi, out);
                end = start + layout.size;
            }
        }
        // The first member is set; the others overlay it.
        CType::Union(members) => counted(&members[0], at, abi, out),
    }
}

/// The value's bytes: noise where they count, but floating-point numbers that survive any copy.
fn value(ty: &CType, abi: &dyn Abi, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(abi.layout_of(ty).size).unwrap()];
    fill(ty, 0, abi, random, &mut bytes);
    bytes
}

fn fill(ty: &CType, at: usize, abi: &dyn Abi, random: &mut Random, bytes: &mut [u8]) {
    let size = |ty: &CType| usize::try_from(abi.layout_of(ty).size).unwrap();
    match ty {
        CType::Void => {}
        CType::Int(_) | CType::Pointer => {
            bytes[at..at + size(ty)].fill_with(|| u8::try_from(random.below(256)).unwrap());
        }
        CType::Float(float) => {
            let small = u16::try_from(random.below(1000)).unwrap();
            match float {
                Float::Single => bytes[at..at + 4].copy_from_slice(&f32::from(small).to_le_bytes()),
                Float::Double => bytes[at..at + 8].copy_from_slice(&f64::from(small).to_le_bytes()),
                Float::Long => bytes[at..at + 10].copy_from_slice(&extended(random.next())),
            }
        }
        CType::Complex(float) => {
            let half = CType::Float(*float);
            fill(&half, at, abi, random, bytes);
            fill(&half, at + size(&half), abi, random, bytes);
        }
        CType::Array(of, count) => {
            (0..usize::try_from(*count).unwrap())
                .for_each(|index| fill(of, at + index * size(of), abi, random, bytes));
        }
        CType::Struct(members) => {
            let mut end = at;
            for member in members {
                let align = usize::try_from(abi.layout_of(member).align).unwrap();
                let start = end.next_multiple_of(align);
                fill(member, start, abi, random, bytes);
                end = start + size(member);
            }
        }
        CType::Union(members) => fill(&members[0], at, abi, random, bytes),
    }
}

/// An x87 extended number: the integer bit set, an exponent near one.
fn extended(noise: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&(noise | 1 << 63).to_le_bytes());
    bytes[8..].copy_from_slice(&0x3fff_u16.to_le_bytes());
    bytes
}

struct Test {
    signature: Signature,
    args: Vec<Vec<u8>>,
    ret: Vec<u8>,
}

fn tests(arch: Arch, count: usize, random: &mut Random) -> Vec<Test> {
    let abi = arch.abi();
    (0..count)
        .map(|_| {
            let params: Vec<_> = (0..random.below(12)).map(|_| small(random, arch)).collect();
            let ret = if random.below(8) == 0 {
                CType::Void
            } else {
                small(random, arch)
            };
            let args = params.iter().map(|ty| value(ty, abi, random)).collect();
            let result = value(&ret, abi, random);
            Test {
                signature: Signature { ret, params },
                args,
                ret: result,
            }
        })
        .collect()
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
fn program(arch: Arch, tests: &[Test]) -> String {
    let (mut types, mut count) = (String::new(), 0);
    let (mut functions, mut calls, mut shims) = (String::new(), String::new(), String::new());
    for (index, test) in tests.iter().enumerate() {
        let ret = declare(&test.signature.ret, "", &mut types, &mut count);
        let params: Vec<_> = (test.signature.params.iter().enumerate())
            .map(|(param, ty)| declare(ty, &format!("a{param}"), &mut types, &mut count))
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
        let keep = if void {
            String::new()
        } else {
            format!("{ret} r = ")
        };
        writeln!(
            functions,
            "{keep}f{index}({}); {} }}",
            names.join(", "),
            if void {
                ""
            } else {
                "__asm__ volatile(\"\" :: \"r\"(&r) : \"memory\");"
            }
        )
        .unwrap();
        let size = match layout(arch.abi(), &test.signature).ret {
            place if place.by_reference => place.size,
            _ => 0,
        };
        writeln!(calls, "memory = {size}; c{index}(); emit();").unwrap();
        let jump = if arch == Arch::X86_64 {
            "movabs $g{}, %r11; mov %r11, target(%rip)"
        } else {
            "movl $g{}, target"
        };
        let jump = jump.replace("{}", &index.to_string());
        writeln!(
            shims,
            "__asm__(\".globl f{index}\\nf{index}: {jump}\\n jmp shim\\n\");"
        )
        .unwrap();
    }
    let machine = if arch == Arch::X86_64 { SHIM_64 } else { SHIM_32 };
    format!("{COMMON}\n{machine}\n{shims}\n{types}\n{functions}\nvoid run(void) {{\n{calls}}}\n")
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

fn build(arch: Arch, text: &str) -> PathBuf {
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

const STACK: usize = 4096;

/// One call's record, as the program wrote it.
struct Record<'a> {
    ints: Vec<u64>,
    out: Vec<u64>,
    stack: &'a [u8],
    object: &'a [u8],
    fp_in: FpRegs,
    fp_out: FpRegs,
}

fn parse(bytes: &[u8], word: usize) -> Record<'_> {
    let number = |index: usize| {
        let mut buffer = [0; 8];
        buffer[..word].copy_from_slice(&bytes[index * word..(index + 1) * word]);
        u64::from_le_bytes(buffer)
    };
    let (stack, rest) = bytes[10 * word..].split_at(STACK);
    let (object, rest) = rest.split_at(STACK);
    let fp = &rest[rest.len() - 1024..];
    Record {
        ints: (0..8).map(number).collect(),
        out: (8..10).map(number).collect(),
        stack,
        object,
        fp_in: FpRegs::from_regset(&fp[..512]).unwrap(),
        fp_out: FpRegs::from_regset(&fp[512..]).unwrap(),
    }
}

fn fetch(place: &Place, from: &Captured<'_>, test: &Test) -> Vec<u8> {
    let mut bytes = Vec::new();
    place
        .fetch(from, &mut bytes)
        .unwrap_or_else(|| panic!("not captured: {place:?} of {:?}", test.signature));
    bytes
}

fn check(ty: &CType, found: &[u8], expected: &[u8], abi: &dyn Abi, what: &str, test: &Test) {
    let mut parts = Vec::new();
    counted(ty, 0, abi, &mut parts);
    for (at, len) in parts {
        let range = usize::try_from(at).unwrap()..usize::try_from(at + len).unwrap();
        assert_eq!(
            found.get(range.clone()),
            Some(&expected[range.clone()]),
            "{what}, bytes {range:?}, of {:?}",
            test.signature
        );
    }
}

/// A `float` or `double` in st(0) is an extended number.
fn widened(ty: &CType, bytes: &[u8]) -> Option<Vec<u8>> {
    let value = match ty {
        CType::Float(Float::Single) => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
        CType::Float(Float::Double) => f64::from_le_bytes(bytes.try_into().unwrap()),
        _ => return None,
    };
    if value == 0.0 {
        return Some(vec![0; 10]);
    }
    let bits = value.to_bits();
    let exponent = u16::try_from(bits >> 52 & 0x7ff).unwrap() + 16383 - 1023;
    let significand = 1 << 63 | (bits & ((1 << 52) - 1)) << 11;
    Some([&significand.to_le_bytes()[..], &exponent.to_le_bytes()].concat())
}

fn agree_with_the_compiler(arch: Arch, seed: u64) {
    let abi = arch.abi();
    let tests = tests(arch, 1000, &mut Random(seed));
    let program = build(arch, &program(arch, &tests));
    let output = Command::new(&program).output().unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        program.display(),
        output.status
    );
    let word = abi.word_size();
    let size = (10 * word + 2 * STACK).next_multiple_of(if word == 8 { 8 } else { 4 }) + 1024;
    let size = if output.stdout.len() == size * tests.len() {
        size
    } else {
        output.stdout.len() / tests.len()
    };
    assert_eq!(output.stdout.len(), size * tests.len());
    for (test, bytes) in tests.iter().zip(output.stdout.chunks_exact(size)) {
        let record = parse(bytes, word);
        let entry = Captured {
            ints: &record.ints,
            fp: Some(&record.fp_in),
            stack: record.stack,
        };
        let exit = Captured {
            ints: &record.out,
            fp: Some(&record.fp_out),
            stack: &[],
        };
        let layout = layout(abi, &test.signature);
        for (index, (place, expected)) in layout.args.iter().zip(&test.args).enumerate() {
            if place.needs_stack() as usize > STACK {
                continue; // further than the shim keeps; such arguments are counted below
            }
            let found = fetch(place, &entry, test);
            check(
                &test.signature.params[index],
                &found,
                expected,
                abi,
                &format!("argument {index}"),
                test,
            );
        }
        let found = fetch(&layout.ret, &exit, test);
        let x87 = widened(&test.signature.ret, &test.ret).filter(|_| found.len() == 10);
        if let Some(expected) = x87 {
            assert_eq!(found, expected, "result of {:?}", test.signature);
        } else if layout.ret.by_reference {
            check(
                &test.signature.ret,
                record.object,
                &test.ret,
                abi,
                "result in memory",
                test,
            );
            let hidden = fetch(
                &layout.hidden.expect("a result in memory has a hidden address"),
                &entry,
                test,
            );
            assert_eq!(hidden, found, "hidden address of {:?}", test.signature);
        } else {
            check(&test.signature.ret, &found, &test.ret, abi, "result", test);
        }
    }
    let args = tests.iter().flat_map(|test| layout(abi, &test.signature).args);
    let (kept, far): (Vec<_>, Vec<_>) = args.partition(|place| place.needs_stack() as usize <= STACK);
    assert!(
        far.len() * 20 < kept.len(),
        "{} arguments were not checked",
        far.len()
    );
}

#[test]
fn x86_64_agrees_with_the_compiler() {
    agree_with_the_compiler(Arch::X86_64, 0x9e37_79b9_7f4a_7c15);
}

#[test]
fn i386_agrees_with_the_compiler() {
    agree_with_the_compiler(Arch::I386, 0xbf58_476d_1ce4_e5b9);
}
