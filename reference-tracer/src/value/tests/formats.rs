//! Arguments that formats ask for.

use super::*;

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
