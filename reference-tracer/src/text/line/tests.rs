use super::*;

#[test]
fn a_string_is_plain_or_escaped() {
    let mut page = Page::default();
    for byte in 0..=255_u8 {
        for at in 0..20 {
            let mut bytes = *b"some text, some text";
            bytes[at] = byte;
            let (mut expected, mut text) = (Vec::new(), Vec::new());
            crate::value::escape_bytes(&bytes, false, &mut text);
            expected.push(b'"');
            expected.extend_from_slice(&text);
            expected.push(b'"');
            let made = made(&mut page, |line, aside| line.string(&bytes, false, aside));
            assert_eq!(made, expected);
        }
    }
}

#[test]
fn a_line_that_is_too_long_is_told() {
    let mut page = Page::default();
    let (mut line, aside) = page.line();
    for _ in 0..PAGE / 8 {
        line = line.put(b"12345678");
    }
    let line = line.put(b"9").string(b"and more \x01", true, aside).spaces(100);
    assert_eq!(line.end(), None);
    for byte in [b'a', 1] {
        let bytes = vec![byte; PAGE];
        let (line, aside) = page.line();
        assert_eq!(line.string(&bytes, false, aside).end(), None);
    }
    assert_eq!(page.line().0.refuse().put(b"a").end(), None);
    let (line, aside) = page.line();
    assert_eq!(line.string("ž".as_bytes(), true, aside).columns(aside), 6);
}

#[test]
fn lines_that_are_kept_are_poured_out() {
    let (mut page, mut out, mut expected) = (Page::default(), Vec::new(), Vec::new());
    let text: Vec<u8> = (b'a'..=b'z').cycle().take(MOST).collect();
    for len in (0..300).chain([MOST]).chain(0..300) {
        assert!(!page.is_full());
        let end = page.line().0.ascii(&text[..len]).end();
        assert!(page.keep(end), "{len}");
        let end = page.line().0.ascii(&text).refuse().end();
        assert!(!page.keep(end));
        expected.extend_from_slice(&text[..len]);
        if page.is_full() {
            page.pour(&mut out);
            assert!(page.is_empty());
        }
    }
    page.pour(&mut out);
    assert!(out == expected);
}

#[test]
fn numbers_are_those_of_core_fmt() {
    let mut page = Page::default();
    for number in (0..20).flat_map(|power| [10_u64.pow(power), 10_u64.pow(power) - 1, u64::MAX / 3]) {
        let (signed, negative) = (number.cast_signed(), number.cast_signed().wrapping_neg());
        let text = made(&mut page, |line, _| {
            let line = line.unsigned(number).put(b" ").signed(signed).put(b" ");
            let [comma, semicolon, point] = [*b", ", *b"; ", *b". "].map(u16::from_le_bytes);
            let line = line.pointer(number).unsigned_after(comma, number);
            line.signed_after(semicolon, negative).hex_after(point, number)
        });
        let pointer = if number == 0 {
            "nil".to_owned()
        } else {
            format!("{number:#x}")
        };
        let expected = format!("{number} {signed} {pointer}, {number}; {negative}. {number:#x}");
        assert_eq!(String::from_utf8(text).as_deref(), Ok(&*expected));
    }
}

#[test]
fn times_have_six_digits() {
    let mut page = Page::default();
    for micros in [0, 1, 999_999, 1_000_000, 1_234_567, 987_654_321_012] {
        let text = made(&mut page, |line, _| {
            line.millionths(micros, b'>').duration(micros * 1000 + 999)
        });
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        let expected = format!(".{rest:06}> <{seconds}.{rest:06}>");
        assert_eq!(String::from_utf8(text), Ok(expected));
    }
}

#[test]
fn arguments_end_with_as_many_spaces() {
    let mut page = Page::default();
    for more in 0..200 {
        let text = made(&mut page, |line, _| line.closing(more).put(b"="));
        assert_eq!(text, format!("){:width$}=", "", width = more + 1).as_bytes());
    }
}

/// A line.
fn made(page: &mut Page, make: impl for<'p> FnOnce(Line<'p>, &mut Aside) -> Line<'p>) -> Vec<u8> {
    let (line, aside) = page.line();
    let (end, mut text) = (make(line, aside).end(), Vec::new());
    assert!(page.keep(end));
    page.pour(&mut text);
    text
}
