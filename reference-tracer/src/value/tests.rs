//! Whole calls, from a prototype's text and a raw record to what is printed.

use std::path::Path;

use arch_abi::{Addr, Arch};

use super::*;
use crate::memory::{Layered, NoMemory, Snapshot};
use crate::proto::{Plan, Prototypes};

/// Memory of a process: bytes at an address each.
struct Cells(Vec<(u64, Vec<u8>)>);

impl TargetMemory for Cells {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        let found = self.0.iter().find_map(|(start, bytes)| {
            let skip = usize::try_from(at.get().checked_sub(*start)?).ok()?;
            bytes.get(skip..).filter(|rest| !rest.is_empty())
        });
        let Some(rest) = found else { return 0 };
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        len
    }
}

struct Names;

impl Describe for Names {
    fn code(&self, at: Addr, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"main+0x10");
        at.get() == 0x1010
    }

    fn fd(&self, _tid: i32, fd: i32, out: &mut Vec<u8>) -> bool {
        if fd == 9 {
            out.extend_from_slice(b"/etc/pass\nwd");
        }
        fd == 9
    }
}

fn load(text: &str) -> Prototypes {
    let mut prototypes = Prototypes::new();
    let mut problems = Vec::new();
    prototypes.load(Path::new("test.conf"), text, None, &mut problems);
    assert_eq!(problems, []);
    prototypes
}

struct Case {
    prototypes: Prototypes,
    plan: Plan,
    call: RawCall,
    ret: RawReturn,
    before: Cells,
    after: Cells,
    limits: Limits,
}

impl Case {
    /// A call of `f` of the prototypes in `text`, on x86-64.
    fn new(text: &str, words: &[u64]) -> Self {
        Self::named(load(text), "f", words)
    }

    fn named(mut prototypes: Prototypes, name: &str, words: &[u64]) -> Self {
        let plan = prototypes.plan(Arch::X86_64, &[], name);
        let mut call = RawCall {
            word_count: 6,
            sp: Addr::new(0x7000),
            ..RawCall::default()
        };
        call.words[..words.len()].copy_from_slice(words);
        let (before, after) = (Cells(Vec::new()), Cells(Vec::new()));
        Self {
            prototypes,
            plan,
            call,
            ret: RawReturn::default(),
            before,
            after,
            limits: Limits::default(),
        }
    }

    fn at(mut self, at: u64, bytes: &[u8]) -> Self {
        self.before.0.push((at, bytes.to_vec()));
        self.after.0.push((at, bytes.to_vec()));
        self
    }

    fn then(mut self, at: u64, bytes: &[u8]) -> Self {
        self.after.0.retain(|(start, _)| *start != at);
        self.after.0.push((at, bytes.to_vec()));
        self
    }

    fn returns(mut self, word: u64) -> Self {
        self.ret.words[0] = word;
        self
    }

    fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// `ENTRY | REST) = RESULT`, once with a snapshot before the memory and once without: they agree.
    fn shown(&self) -> String {
        let (with, without) = (self.run(true), self.run(false));
        assert_eq!(with, without, "a snapshot must not change what is shown");
        with
    }

    fn run(&self, capture: bool) -> String {
        let types = self.prototypes.types();
        let mut snapshot = Snapshot::default();
        let (mut shown, mut scratch) = (Shown::default(), Scratch::default());
        let (mut entry, mut rest, mut result) = (Vec::new(), Vec::new(), Vec::new());
        if capture {
            wants_at_entry(types, &self.plan, &self.call, self.limits, &mut snapshot);
            snapshot.fill_from(&self.before);
        }
        let memory = Layered {
            snapshot: &snapshot,
            memory: &self.before,
        };
        let decoder = Decoder {
            types,
            limits: self.limits,
            memory: &memory,
            describe: &Names,
        };
        decoder.entry(&self.plan, &self.call, &mut shown, &mut scratch, &mut entry);
        let mut snapshot = Snapshot::default();
        if capture {
            wants_at_return(
                types,
                &self.plan,
                &self.call,
                &self.ret,
                self.limits,
                &mut snapshot,
            );
            snapshot.fill_from(&self.after);
        }
        let memory = Layered {
            snapshot: &snapshot,
            memory: &self.after,
        };
        let decoder = Decoder {
            types,
            limits: self.limits,
            memory: &memory,
            describe: &Names,
        };
        decoder.exit(
            &self.plan,
            &self.call,
            &self.ret,
            &shown,
            &mut scratch,
            &mut rest,
            &mut result,
        );
        let text = [
            &entry[..],
            if shown.complete() { b"" } else { b"|" },
            &rest,
            b" = ",
            &result,
        ]
        .concat();
        String::from_utf8(text).expect("text is UTF-8")
    }
}

/// A value of a parameter of this type, whose word is `word`, with some memory.
fn arg(ty: &str, word: u64) -> String {
    let cells: [(u64, &[u8]); 8] = [
        (0x1000, b"hello\0world"),
        (
            0x2000,
            &[
                5, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0,
            ],
        ),
        (0x3000, b"a long string, longer than 32 byes, much longer\0"),
        (0x4000, &[0x40, 0, 0, 0, 0xac, 0x20, 0, 0, 0, 0, 0, 0]),
        (0x5ffa, b"edge of"),
        (0x6800, &[1, 2]),
        (
            0x8000,
            &[
                0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (
            0x9000,
            &[
                9, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x90, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0x90, 0, 0,
                0, 0, 0, 0,
            ],
        ),
    ];
    let text =
        format!("typedef list = struct;\ntypedef list = struct(int, list*);\nvoid f({ty}, hide(int));");
    let case = cells
        .iter()
        .fold(Case::new(&text, &[word, 2]), |case, (at, bytes)| {
            case.at(*at, bytes)
        });
    case.shown()
        .strip_suffix(" = <void>")
        .expect("a void function")
        .to_owned()
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn every_lens_shows_what_it_should() {
    let minus_one = u64::MAX;
    for (ty, word, expected) in [
        ("int", 7, "7"),
        ("int", 0xffff_ffff, "-1"),
        ("int", 0xdead_beef_0000_0007, "7"),
        ("uint", minus_one, "4294967295"),
        ("long", minus_one, "-1"),
        ("ulong", minus_one, "18446744073709551615"),
        ("short", 0xffff, "-1"),
        ("ushort", 0xffff, "65535"),
        ("int8_t", 0xff, "-1"),
        ("unsigned char", 0xff, "255"),
        ("long long", minus_one, "-1"),
        ("char", 0x141, "'A'"),
        ("char", 10, r"'\n'"),
        ("char", 0x27, r"'\''"),
        ("char", 0x22, r#"'"'"#),
        ("char", 0xff, r"'\377'"),
        ("wchar_t", 0x20ac, "'€'"),
        ("octal", 0o26, "026"),
        ("oct(uint)", 0, "0"),
        ("hex(int)", 24, "0x18"),
        ("hex(int)", 0xffff_ffff, "0xffffffff"),
        ("bin(uint)", 5, "0b101"),
        ("bool(int)", 2, "true"),
        ("bool(int)", 0, "false"),
        ("bitvec(uint)", 0b10_0011, "<0-1,5>"),
        ("bitvec(uint)", 0xffff_fffe, "~<0>"),
        ("bitvec(array(char, 2)*)", 0x6800, "<0,9>"),
        ("addr", 0, "nil"),
        ("addr", 0x1234, "0x1234"),
        ("file", 0x1234, "0x1234"),
        ("void*", 0x1234, "0x1234"),
        ("fn", 0x1010, "main+0x10"),
        ("fn", 0x1011, "0x1011"),
        ("fn", 0, "nil"),
        ("fd", 3, "3"),
        ("fd", 9, r"9</etc/pass\nwd>"),
        ("errnum", 2, "ENOENT"),
        ("errnum", 0, "0"),
        ("errnum", 9999, "9999"),
        ("enum(A, B=5, C)", 6, "C"),
        ("enum(A, B=5, C)", 7, "7"),
        ("enum(M=-1)", 0xffff_ffff, "M"),
        ("enum[short](M=-1)", 0xffff, "M"),
        ("enum[hex(uint)](A=1)", 16, "0x10"),
        ("enum[fd](AT_FDCWD=-100)", 0xffff_ff9c, "AT_FDCWD"),
        ("enum[fd](AT_FDCWD=-100)", 9, r"9</etc/pass\nwd>"),
        ("hex(mode_t)", 8, "0x8"),
        ("struct(enum(A=5), oct(int))*", 0x2000, "{ A, 06 }"),
        ("flags(mask(3, R=0, W=1), C=0x40, T=0x200)", 0x241, "W|C|T"),
        ("flags(mask(3, R=0, W=1), C=0x40)", 0x1000, "R|0x1000"),
        ("flags(mask(3, R=0, W=1), C=0x40)", 3, "0x3"),
        ("flags(Z=0, C=0x40)", 0, "Z"),
        ("flags(C=0x40)", 0, "0"),
        ("flags(AB=3, A=1, B=2)", 3, "AB"),
        ("string", 0x1000, r#""hello""#),
        ("string", 0, "nil"),
        ("string", 0x6666_0000, "0x66660000"),
        ("string", 0x3000, r#""a long string, longer than 32 by"..."#),
        ("string[arg2]", 0x1000, r#""he""#),
        ("string2", 0x1000, r#""he""#),
        ("string[8]", 0x1000, r#""hello\0wo""#),
        ("string[zero(3)]", 0x1000, r#""hel""#),
        ("string[zero(8)]", 0x1000, r#""hello""#),
        ("string[-1]", 0x1000, "0x1000"),
        ("string[0]", 0x1000, r#""""#),
        ("string(char*)", 0x1000, r#""hello""#),
        ("string(array(int, zero)*)", 0x4000, "\"@€\""),
        ("wstring", 0x4000, "\"@€\""),
        ("string", 0x5ffa, r#""edge of"..."#),
        ("char*", 0x1000, "'h'"),
        ("int*", 0x2000, "5"),
        ("int*", 0, "nil"),
        ("int*", 0x66, "0x66"),
        ("array(int, 5)*", 0x2000, "[ 5, 6, 7, 0... ]"),
        ("array(int, 2)", 0x2000, "[ 5, 6 ]"),
        ("array(int, arg2)*", 0x2000, "[ 5, 6 ]"),
        ("array(int, arg2*2-1)*", 0x2000, "[ 5, 6, 7 ]"),
        ("array(int, zero)*", 0x2000, "[ 5, 6, 7 ]"),
        ("array(int, 0)*", 0x2000, "[  ]"),
        (
            "array(string, zero)*",
            0x8000,
            r#"[ "hello", "a long string, longer than 32 by"... ]"#,
        ),
        ("hex(array(int, 2))*", 0x2000, "[ 0x5, 0x6 ]"),
        ("struct(int, int)*", 0x2000, "{ 5, 6 }"),
        ("struct(short, int)*", 0x2000, "{ 5, 6 }"),
        (
            "struct(int n, array(hex(int), n))*",
            0x2000,
            "{ 5, [ 0x6, 0x7, 0, 0x8... ] }",
        ),
        ("struct(int, hide(int), int)*", 0x2000, "{ 5, 7 }"),
        ("struct()*", 0x2000, "{  }"),
        ("struct(string(array(char, 6)))*", 0x1000, r#"{ "hello\0" }"#),
        ("union(char, int)*", 0x2000, r"{ '\005', 5 }"),
        ("struct(int, int)", 0x6_0000_0005, "{ 5, 6 }"),
        ("list*", 0x9000, "{ 9, { 8, recurse^ } }"),
        ("hide(int)", 5, ""),
    ] {
        assert_eq!(arg(ty, word), expected, "{ty} {word:#x}");
    }
}

#[test]
fn limits_cut() {
    let limits = Limits {
        string: 3,
        array: 0,
        depth: 4,
    };
    let case = |ty: &str| {
        Case::new(&format!("void f({ty});"), &[0x1000])
            .at(0x1000, b"hello\0")
            .limits(limits)
            .shown()
    };
    assert_eq!(case("string"), r#""hel"... = <void>"#);
    assert_eq!(case("array(char, 5)*"), "[ ... ] = <void>");
}

#[test]
fn out_parameters_wait_for_the_return() {
    let read = |word| {
        Case::named(Prototypes::new(), "read", &[3, 0x1000, 4096])
            .at(0x1000, b"")
            .then(0x1000, b"root:x\n")
            .returns(word)
    };
    assert_eq!(read(7).shown(), r#"3|, "root:x\n", 4096 = 7"#);
    let mut failed = read(u64::MAX);
    failed.ret.errno = Some(9);
    assert_eq!(
        failed.shown(),
        "3|, 0x1000, 4096 = -1 EBADF (Bad file descriptor)"
    );
    let types = failed.prototypes.types();
    assert!(wants_errno(
        types,
        &failed.plan,
        &failed.call,
        &failed.ret,
        &NoMemory
    ));
    assert!(!wants_errno(
        types,
        &failed.plan,
        &failed.call,
        &RawReturn::default(),
        &NoMemory
    ));
}

#[test]
fn in_out_parameters_show_both_values() {
    let text = "int f(inout int* a, int b, inout uint* c);";
    let case = || {
        Case::new(text, &[0x1000, 2, 0x2000])
            .at(0x1000, &[5, 0, 0, 0])
            .at(0x2000, &[6, 0, 0, 0])
    };
    assert_eq!(case().shown(), "5|, 2, 6 = 0");
    assert_eq!(case().then(0x1000, &[7, 0, 0, 0]).shown(), "5| => 7, 2, 6 = 0");
    assert_eq!(case().then(0x2000, &[7, 0, 0, 0]).shown(), "5|, 2, 6 => 7 = 0");
}

#[test]
fn the_mode_of_open_is_shown_only_where_it_is_there() {
    let open = |flags| {
        let case =
            Case::named(Prototypes::new(), "open", &[0x1000, flags, 0o644]).at(0x1000, b"/etc/passwd\0");
        case.returns(3).shown()
    };
    assert_eq!(open(0x80000), r#""/etc/passwd", O_RDONLY|O_CLOEXEC = 3"#);
    assert_eq!(
        open(0x241),
        r#""/etc/passwd", O_WRONLY|O_CREAT|O_TRUNC, 0644 = 3"#
    );
}

#[test]
fn an_unknown_function_has_four_words() {
    let case = Case::named(
        Prototypes::new(),
        "no_such_function",
        &[1, u64::MAX, 10001, 0x7fff_0000_1234],
    );
    assert!(!case.plan.known);
    assert_eq!(
        case.returns(10000).shown(),
        "1, -1, 0x2711, 0x7fff00001234 = 10000"
    );
}

fn doubles(values: &[f64]) -> arch_abi::FpRegs {
    let mut bytes = [0; 512];
    for (index, value) in values.iter().enumerate() {
        bytes[160 + index * 16..][..8].copy_from_slice(&value.to_le_bytes());
    }
    arch_abi::FpRegs::from_regset(&bytes).expect("an FXSAVE image")
}

#[test]
fn printf_shows_what_its_format_asks_for() {
    for (format, words, expected) in [
        ("%d %s %c %%\n", &[5, 0x2000, 0x41][..], r#", 5, "str", 'A'"#),
        ("%5.2f|%Lf|%d", &[7], ", 1.500000, 0.000000, 7"),
        (
            "%ld %lld %hhd %hd",
            &[u64::MAX, 1, 0x1ff, 0x1ffff],
            ", -1, 1, -1, -1",
        ),
        ("%x %#o %u", &[255, 8, 0xffff_ffff], ", 0xff, 010, 4294967295"),
        ("%*d", &[3, 4], ", 3, 4"),
        ("%.*s", &[2, 0x2000], r#", 2, "st""#),
        ("%.2s", &[0x2000], r#", "st""#),
        ("%2$s %1$d", &[4, 0x2000], r#", 4, "str""#),
        ("%p %m %n", &[0, 0x66], ", nil, 0x66"),
        ("%zu %jd %td", &[1, 2, 3], ", 1, 2, 3"),
        ("%s", &[0x66], ", 0x66"),
        ("%ls", &[0x3000], r#", "w""#),
        ("%w32d %b", &[4, 5], ", 4, 0b101"),
        ("%k %d", &[4], ""),
        ("%", &[], ""),
        ("no conversions", &[], ""),
    ] {
        let words: Vec<_> = std::iter::once(0x1000).chain(words.iter().copied()).collect();
        let mut case = Case::new("int f(format);", &words)
            .at(0x1000, &[format.as_bytes(), b"\0"].concat())
            .at(0x2000, b"str\0")
            .at(0x3000, b"w\0\0\0\0\0\0\0")
            .at(0x7008, &[0; 16]); // the long double on the stack
        case.call.fp = Some(doubles(&[1.5]));
        let shown = case.shown();
        let args = shown.split_once("\", ").map_or("", |(_, rest)| rest);
        let args = if args.is_empty() {
            String::new()
        } else {
            format!(", {args}")
        };
        assert_eq!(args.trim_end_matches(" = 0"), expected, "{format}");
    }
}

#[test]
fn scanf_shows_what_was_assigned() {
    let case = |result| {
        Case::new("int f(string, scanf);", &[0x1000, 0x2000, 0x3000, 0x4000])
            .at(0x1000, b"12 x\0")
            .at(0x2000, b"%d%*d %5s\0")
            .then(0x3000, &[12, 0, 0, 0])
            .then(0x4000, b"x\0")
            .returns(result)
            .shown()
    };
    assert_eq!(case(2), r#""12 x", "%d%*d %5s"|, 12, "x" = 2"#);
    assert_eq!(case(1), r#""12 x", "%d%*d %5s"|, 12, 0x4000 = 1"#);
    assert_eq!(case(0xffff_ffff), r#""12 x", "%d%*d %5s"|, 0x3000, 0x4000 = -1"#);
}

#[test]
fn a_va_list_is_shown_as_its_arguments() {
    let list: Vec<u8> = [
        &16_u32.to_le_bytes()[..],
        &48_u32.to_le_bytes(),
        &0x5000_u64.to_le_bytes(),
        &0x4000_u64.to_le_bytes(),
    ]
    .concat();
    let mut saved = vec![0; 176];
    saved[16] = 7;
    saved[48..56].copy_from_slice(&2.5_f64.to_le_bytes());
    let case = Case::named(Prototypes::new(), "vprintf", &[0x1000, 0x3000])
        .at(0x1000, b"%d %f\n\0")
        .at(0x3000, &list)
        .at(0x4000, &saved);
    assert_eq!(case.shown(), r#""%d %f\n", 7, 2.500000 = 0"#);
}

#[test]
fn floats_and_complex_numbers() {
    let mut case = Case::new("double f(double, hex(double), complex(double), float);", &[]);
    case.call.fp = Some(doubles(&[3.4, 1.5, 1.0, -2.0, f64::from_bits(0x3fc0_0000)]));
    case.ret.fp = Some(doubles(&[f64::NEG_INFINITY]));
    assert_eq!(
        case.shown(),
        "3.400000, 0x1.8p+0, { 1.000000, -2.000000 }, 1.500000 = -inf"
    );
}

#[test]
fn debian_ltraces_own_file_loads() {
    let mut prototypes = Prototypes::new();
    let mut problems = Vec::new();
    let path = Path::new("/etc/ltrace.conf");
    prototypes
        .load_file(path, None, &mut problems)
        .expect("the package ltrace is installed (the README's second command)");
    assert_eq!(problems, []);
    assert!(prototypes.plan(Arch::X86_64, &[], "bfd_check_format").known);
    assert!(prototypes.syscall_plan(Arch::X86_64, "read").known);
}

/// xorshift64*: the same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end as u64)).expect("below a usize")
    }
}

#[test]
fn hostile_files_and_values_do_no_harm() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let lines: Vec<_> = Prototypes::embedded().map(|(_, _, line)| line).collect();
    let extra = [
        "typedef a = struct;",
        "typedef a = struct(int n, array(a*, n)*, string[*n]);",
        "void f(a*, inout a*);",
    ];
    let pieces = [
        "(",
        ")",
        "struct(",
        "array(",
        "*",
        ",",
        "arg1",
        "\u{1b}",
        "zero",
        "-",
        "enum(",
        "99999999999",
        "…",
        "[",
    ];
    for _ in 0..4000 {
        let mut text: Vec<String> = extra.iter().map(ToString::to_string).collect();
        for _ in 0..3 {
            let mut line: Vec<char> = lines[random.below(lines.len())].chars().collect();
            for _ in 0..random.below(4) {
                let at = random.below(line.len() + 1);
                match random.below(3) {
                    0 => drop(line.splice(at..at, pieces[random.below(pieces.len())].chars())),
                    1 if at < line.len() => drop(line.remove(at)),
                    _ => line.truncate(at.max(1)),
                }
            }
            text.push(line.into_iter().collect());
        }
        harmless(&text.join("\n"), &mut random);
    }
}

/// Loads the text and shows a call of every function in it, with random words and random memory.
fn harmless(text: &str, random: &mut Random) {
    let mut prototypes = Prototypes::new();
    prototypes.load(Path::new("x.conf"), text, None, &mut Vec::new());
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('(')?.0.split([' ', '*']).next_back())
        .collect();
    for name in names {
        let plan = prototypes.plan(Arch::X86_64, &["libmine.so"], name);
        let noise: Vec<u8> = (0..256)
            .map(|_| u8::try_from(random.next() & 0xff).expect("a byte"))
            .collect();
        let memory = Cells(vec![(0x1000, noise.clone())]);
        let mut call = RawCall {
            word_count: 6,
            ..RawCall::default()
        };
        call.words.fill_with(|| {
            if random.next().is_multiple_of(4) {
                random.next()
            } else {
                0x1000 + random.next() % 256
            }
        });
        let ret = RawReturn {
            words: [random.next() % 64, 0],
            ..RawReturn::default()
        };
        let types = prototypes.types();
        let decoder = Decoder {
            types,
            limits: Limits::default(),
            memory: &memory,
            describe: &Names,
        };
        let (mut shown, mut scratch, mut out, mut result) =
            (Shown::default(), Scratch::default(), Vec::new(), Vec::new());
        let mut snapshot = Snapshot::default();
        wants_at_entry(types, &plan, &call, Limits::default(), &mut snapshot);
        decoder.entry(&plan, &call, &mut shown, &mut scratch, &mut out);
        wants_at_return(types, &plan, &call, &ret, Limits::default(), &mut snapshot);
        decoder.exit(&plan, &call, &ret, &shown, &mut scratch, &mut out, &mut result);
        let text = String::from_utf8([out, result].concat()).expect("text is UTF-8");
        assert!(!text.chars().any(char::is_control), "{name}: {text:?}");
        assert!(text.len() < 1 << 20, "{name}: {} bytes", text.len());
    }
}

#[test]
fn errors_name_the_line_and_what_was_expected() {
    for (text, expected) in [
        ("int f(int", "expected `,` or `)`, found the end of the line"),
        ("int f(noun);", "unknown type `noun`"),
        ("int (int);", "expected the name of a function, found `(`"),
        ("int f(array(int));", "expected `,`, found `)`"),
        ("int f(array(int, n));", "`n` is no parameter and no field here"),
        ("int f(enum());", "expected a name in `enum(…)`, found `)`"),
        ("int f(int) errno;", "expected `(`, found the end of the line"),
        (
            "int f(int) never;",
            "expected `;`, `errno`, `fails` or `noreturn`, found `never`",
        ),
        ("int f(0x);", "expected a number, found `0x`"),
        (
            "import \"none\";",
            "can't import none: No such file or directory (os error 2)",
        ),
        ("int f(unsigned double x);", "`unsigned double` is no type"),
        (
            "typedef a = struct;\ntypedef a = hex(a);",
            "`a` was declared: expected `struct(` or `union(`",
        ),
    ] {
        let mut problems = Vec::new();
        let mut prototypes = Prototypes::new();
        prototypes.load(
            Path::new("x.conf"),
            &format!("# one\n{text}\nint g();"),
            None,
            &mut problems,
        );
        let [problem] = &problems[..] else {
            panic!("{text}: {problems:?}")
        };
        assert_eq!(
            problem.to_string(),
            format!("x.conf:{}: error: {expected}", text.lines().count() + 1),
            "{text}"
        );
        assert!(
            prototypes.plan(Arch::X86_64, &[], "g").known,
            "the line after it is used: {text}"
        );
    }
}
