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
pub(super) fn may_be_address(word: u64) -> bool {
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
    let text = &bytes[..end.unwrap_or(bytes.len())];
    // A character may be cut in two where the look ends.
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) if end.is_none() && error.error_len().is_none() => {
            std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_printable = |character: char| !character.is_control() || matches!(character, '\n' | '\t' | '\r');
    text.len() >= LEAST && text.chars().all(is_printable) && !is_pointer(bytes)
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
