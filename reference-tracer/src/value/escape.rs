//! Bytes of a target as text that can do a terminal no harm.

use std::io::Write;

/// Appends a string's bytes: what is valid UTF-8 and printable as it is, the rest escaped as in C.
/// `cut`: more bytes follow, so an incomplete character at the end is left out.
pub(super) fn bytes(mut bytes: &[u8], cut: bool, out: &mut Vec<u8>) {
    loop {
        let (valid, bad) = match std::str::from_utf8(bytes) {
            Ok(valid) => (valid, None),
            Err(error) => {
                let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
                (valid, Some(error.error_len()))
            }
        };
        valid.chars().for_each(|c| character(c.into(), b'"', out));
        let rest = &bytes[valid.len()..];
        let skip = match bad {
            None => return,
            Some(None) if cut => return,
            Some(None) => rest.len(),
            Some(Some(len)) => len.min(rest.len()),
        };
        rest[..skip].iter().for_each(|&byte| octal(byte, out));
        bytes = &rest[skip..];
    }
}

/// Appends the characters of a wide string, four bytes each.
pub(super) fn wide(bytes: &[u8], out: &mut Vec<u8>) {
    for unit in bytes.chunks_exact(4) {
        let unit = u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]);
        if char::from_u32(unit).is_none() {
            let _ = write!(out, "\\x{{{unit:x}}}");
        } else {
            character(unit, b'"', out);
        }
    }
}

/// Appends a name or a path: printable characters as they are.
pub(super) fn plain(name: &[u8], out: &mut Vec<u8>) {
    bytes(name, false, out);
}

/// Appends a character, escaped where it is the quote, a backslash or not printable.
pub(super) fn character(code: u32, quote: u8, out: &mut Vec<u8>) {
    let short = match code {
        0 => b'0',
        7 => b'a',
        8 => b'b',
        9 => b't',
        10 => b'n',
        11 => b'v',
        12 => b'f',
        13 => b'r',
        0x5c => b'\\',
        code if code == u32::from(quote) => quote,
        _ => 0,
    };
    if short != 0 {
        out.extend_from_slice(&[b'\\', short]);
        return;
    }
    match (char::from_u32(code), u8::try_from(code)) {
        (Some(c), _) if !is_harmful(c) => {
            let mut utf8 = [0; 4];
            out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
        }
        (_, Ok(byte)) => octal(byte, out),
        _ => {
            let _ = write!(out, "\\x{{{code:x}}}");
        }
    }
}

/// Appends a character of one byte; one that is no ASCII is no character by itself.
pub(super) fn byte(byte: u8, quote: u8, out: &mut Vec<u8>) {
    if byte.is_ascii() {
        character(byte.into(), quote, out);
    } else {
        octal(byte, out);
    }
}

fn octal(byte: u8, out: &mut Vec<u8>) {
    let _ = write!(out, "\\{byte:03o}");
}

/// Control characters, and characters that change how others are shown: bidirectional controls,
/// line separators, tags, those without a glyph (Unicode, "General Category" Cc, Cf, Zl, Zp).
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &[u8], cut: bool) -> String {
        let mut out = Vec::new();
        bytes(text, cut, &mut out);
        String::from_utf8(out).expect("escaped text is UTF-8")
    }

    #[test]
    fn strings_are_escaped_as_in_c() {
        for (text, expected) in [
            (&b"plain"[..], "plain"),
            (b"a\tb\nc\r\x07\x08\x0b\x0c", r"a\tb\nc\r\a\b\v\f"),
            (b"q\"q'q\\", r#"q\"q'q\\"#),
            (b"\0\x01\x1b[31m\x7f", r"\0\001\033[31m\177"),
            ("grün €".as_bytes(), "grün €"),
            (b"\xff\xc3(", r"\377\303("),
            ("\u{9b}31m".as_bytes(), r"\23331m"), // C1's CSI
            ("a\u{202e}b".as_bytes(), r"a\x{202e}b"),
        ] {
            assert_eq!(shown(text, false), expected, "{text:?}");
        }
    }

    #[test]
    fn a_character_that_the_limit_cuts_is_left_out() {
        let euro = "x€".as_bytes();
        assert_eq!(shown(&euro[..2], true), "x");
        assert_eq!(shown(&euro[..2], false), r"x\342");
    }

    #[test]
    fn nothing_raw_comes_out_of_any_byte() {
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                for text in [&[first, second][..], &[0xe2, 0x80, first, second]] {
                    let text = shown(text, second & 1 == 0);
                    assert!(!text.chars().any(is_harmful), "{first:#x} {second:#x}: {text:?}");
                }
            }
        }
    }
}
