//! Values by their types and lenses.

use super::*;

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
fn floats_and_complex_numbers() {
    let mut case = Case::new("double f(double, hex(double), complex(double), float);", &[]);
    case.call.fp = Some(doubles(&[3.4, 1.5, 1.0, -2.0, f64::from_bits(0x3fc0_0000)]));
    case.ret.fp = Some(doubles(&[f64::NEG_INFINITY]));
    assert_eq!(
        case.shown(),
        "3.400000, 0x1.8p+0, { 1.000000, -2.000000 }, 1.500000 = -inf"
    );
}
