//! Words of functions whose prototype is not known: the text that some of them point at.

use arch_abi::Addr;

use super::capture::to_page_end;
use super::decode::{Contents, Span, Walk};

/// How much of what a word points at is looked at, and the least that counts as text.
pub(crate) const LOOK: usize = 64;
const LEAST: usize = 2;
/// No object lies below (`vm.mmap_min_addr`).
const LOWEST: u64 = 0x10000;

/// Whether a word may be the address of text.
pub(crate) fn may_be_address(word: u64) -> bool {
    (LOWEST..1 << 47).contains(&word)
}

impl Walk<'_, '_> {
    /// Shows the text that a word points at. `false`, and nothing shown: it points at none.
    pub(super) fn guessed_text(&mut self, span: Span) -> bool {
        let word = self.word(span);
        if !may_be_address(word) {
            return false;
        }
        let at = Addr::new(word);
        let seen = self.read_some(at, LOOK.min(to_page_end(at)));
        let is_text = is_text(self.bytes(seen), seen.len == LOOK);
        self.scratch.bytes.truncate(seen.start);
        if is_text {
            self.text(Contents::At(at), 1, usize::MAX, true);
        }
        is_text
    }
}

/// Whether these bytes begin with printable text that a zero ends, or that goes on behind them if there is more.
fn is_text(bytes: &[u8], more: bool) -> bool {
    let end = bytes.iter().position(|&byte| byte == 0);
    if end.is_none() && !more {
        return false;
    }
    is_printable(&bytes[..end.unwrap_or(bytes.len())], end.is_none()) && !is_pointer(bytes)
}

/// Whether this is enough text, and printable. `cut`: it goes on behind these bytes.
fn is_printable(text: &[u8], cut: bool) -> bool {
    let is_plain = |byte: &u8| matches!(byte, 0x20..0x7f | b'\n' | b'\t' | b'\r');
    if text.iter().all(is_plain) {
        return text.len() >= LEAST;
    }
    // A character may be cut in two where the look ends.
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_printable = |character: char| !character.is_control() || matches!(character, '\n' | '\t' | '\r');
    text.len() >= LEAST && text.chars().all(is_printable)
}

/// As [`Walk::guessed_text`] decides it of a text at `at` that was recorded without its end. `whole`: a zero follows, and perhaps more of
/// them.
pub(crate) fn recorded_is_text(at: u64, text: &[u8], whole: bool) -> bool {
    let look = LOOK.min(to_page_end(Addr::new(at)));
    if whole && text.len() < look {
        let is_pointer = match text {
            [.., last] if text.len() == 6 && look >= 8 => is_pointer(&[0, 0, 0, 0, 0, *last, 0, 0]),
            _ => false,
        };
        return is_printable(text, false) && !is_pointer;
    }
    look == LOOK && text.get(..LOOK).is_some_and(|text| is_printable(text, true))
}

/// Whether the first eight bytes are rather the address of something in a program or on its heap: `0x0000_55XX_...` are
/// printable now and then.
fn is_pointer(bytes: &[u8]) -> bool {
    bytes
        .first_chunk()
        .is_some_and(|word| matches!(u64::from_le_bytes(*word) >> 40, 0x55 | 0x56 | 0x7e | 0x7f))
}

#[cfg(test)]
mod tests {
    use super::is_text;

    #[test]
    fn text_is_printable_and_ends() {
        let long = [b'a'; 64];
        for (bytes, more) in [
            (&b"DEFAULT\0\x01"[..], false),
            (b"ab\0", false),
            ("žluť\n\0".as_bytes(), false),
            (&long, true),
        ] {
            assert!(is_text(bytes, more), "{bytes:?}");
        }
        let not: [(&[u8], bool); 8] = [
            (b"", false),
            (b"\0", false),
            (b"a\0", false),
            (b"abc", false),
            (b"a\x01b\0", false),
            (b"\xff\xfe\xfd\0", false),
            (b"\x1b[2J\0", false),
            (b"PUUUUU\0\0", false),
        ];
        for (bytes, more) in not {
            assert!(!is_text(bytes, more), "{bytes:?}");
        }
        let mut cut = [b'a'; 64];
        cut[63] = 0xc3;
        assert!(is_text(&cut, true));
        assert!(!is_text(&cut, false));
    }
}
