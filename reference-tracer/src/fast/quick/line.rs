//! A line that is being made.

use crate::text::digits;

/// The longest line that is made here.
const MOST: usize = 8 << 10;

/// A line in a place of fixed size: to append a few bytes is a bound and a store, and no call. (Made at the end of the output, in bytes that were
/// set to zero for it, it took some nanoseconds longer: `benches/quick.rs`.)
///
/// What does not fit makes it [`over`](Self::is_over): the line is of no use then.
#[derive(Debug)]
pub(super) struct Line {
    bytes: Box<[u8; MOST]>,
    len: usize,
    over: bool,
    /// Bytes that take no column: those of characters after the first.
    continued: usize,
    /// Text that is made by slower means.
    spare: Vec<u8>,
}

/// What a line begins with. Names are short: one of at most so many bytes is appended without a call.
#[derive(Debug)]
pub(super) struct Name {
    short: [u8; SHORT],
    /// All of it, where it is longer.
    long: Box<[u8]>,
    len: usize,
    continued: usize,
}

const SHORT: usize = 32;

impl Name {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut short = [0; SHORT];
        let is_short = text.len() <= SHORT;
        if is_short {
            short[..text.len()].copy_from_slice(text);
        }
        Self {
            short,
            long: if is_short { Box::default() } else { text.into() },
            len: text.len(),
            continued: text.len() - crate::text::columns(text),
        }
    }
}

impl Line {
    pub(super) fn new() -> Self {
        Self {
            bytes: Box::new([0; MOST]),
            len: 0,
            over: false,
            continued: 0,
            spare: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.over = false;
        self.continued = 0;
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len.min(MOST)]
    }

    /// How many columns it takes.
    pub(super) fn columns(&self) -> usize {
        self.len - self.continued
    }

    /// The next `N` bytes, of which `len` will be part of the line.
    #[inline]
    fn next<const N: usize>(&mut self, len: usize) -> Option<&mut [u8; N]> {
        let place = self
            .bytes
            .get_mut(self.len..)
            .and_then(|rest| rest.first_chunk_mut());
        if place.is_some() {
            self.len += len;
        } else {
            self.over = true;
        }
        place
    }

    /// Appends a few bytes.
    #[inline]
    pub(super) fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        if let Some(place) = self.next(N) {
            *place = *bytes;
        }
    }

    /// Appends ASCII.
    #[inline]
    pub(super) fn ascii(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        } else {
            self.over = true;
        }
    }

    /// Appends a name.
    #[inline]
    pub(super) fn name(&mut self, name: &Name) {
        if name.long.is_empty() {
            if let Some(place) = self.next(name.len) {
                *place = name.short;
            }
        } else {
            self.ascii(&name.long);
        }
        self.continued += name.continued;
    }

    /// Appends spaces.
    #[inline]
    pub(super) fn spaces(&mut self, mut count: usize) {
        const AT_ONCE: usize = 16;
        while count > 0 {
            let some = count.min(AT_ONCE);
            let Some(place) = self.next(some) else { return };
            *place = [b' '; AT_ONCE];
            count -= some;
        }
    }

    /// Appends a number with six digits after its point.
    pub(super) fn float(&mut self, value: f64) {
        let Some((whole, micros)) = crate::value::millionths(value) else {
            return self.slowly(|out| crate::value::write_float(value, out));
        };
        if value.is_sign_negative() {
            self.put(b"-");
        }
        self.unsigned(whole);
        let mut fraction = *b".000000";
        digits::decimal(micros, &mut fraction[1..]);
        self.put(&fraction);
    }

    /// Appends text.
    pub(super) fn text(&mut self, bytes: &[u8]) {
        self.ascii(bytes);
        self.continued += bytes.iter().filter(|&&byte| byte & 0xc0 == 0x80).count();
    }

    #[inline]
    pub(super) fn unsigned(&mut self, number: u64) {
        if number < 10 {
            return self.put(&[b'0' + (number % 10) as u8]);
        }
        let len = digits::decimal_len(number);
        if let Some(place) = self.next::<{ digits::MAX_DECIMAL }>(len) {
            digits::decimal(number, &mut place[..len]);
        }
    }

    #[inline]
    pub(super) fn signed(&mut self, number: i64) {
        if number < 0 {
            self.put(b"-");
        }
        self.unsigned(number.unsigned_abs());
    }

    /// Appends a number in base 16, with `0x`.
    #[inline]
    pub(super) fn hex(&mut self, number: u64) {
        self.put(b"0x");
        if let Some(place) = self.next(digits::hex_len(number)) {
            *place = digits::hex(number);
        }
    }

    /// Appends a pointer.
    #[inline]
    pub(super) fn pointer(&mut self, at: u64) {
        if at == 0 {
            self.put(b"nil");
        } else {
            self.hex(at);
        }
    }

    /// Appends the time inside a call, given in nanoseconds: ` <0.001166>`.
    pub(super) fn duration(&mut self, nanoseconds: u64) {
        let micros = nanoseconds / 1000;
        self.put(b" <");
        self.unsigned(micros / 1_000_000);
        let mut fraction = *b".000000";
        digits::decimal(micros % 1_000_000, &mut fraction[1..]);
        self.put(&fraction);
        self.put(b">");
    }

    /// Appends the bytes of a string in quotes. `cut`: there is more of it.
    #[inline]
    pub(super) fn string(&mut self, bytes: &[u8], cut: bool) {
        self.put(b"\"");
        if !self.plain(bytes) {
            self.slowly(|out| crate::value::escape_bytes(bytes, cut, out));
        }
        if cut {
            self.put(b"\"...");
        } else {
            self.put(b"\"");
        }
    }

    /// Appends characters that are shown as they are; if there are others among them, nothing.
    #[inline]
    fn plain(&mut self, bytes: &[u8]) -> bool {
        let before = self.len;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            if !is_plain(u64::from_le_bytes(word)) {
                self.len = before;
                return false;
            }
            self.put(&word);
        }
        let rest = chunks.remainder();
        let mut word = [b' '; 8];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        if !is_plain(u64::from_le_bytes(word)) {
            self.len = before;
            return false;
        }
        if let Some(place) = self.next(rest.len()) {
            *place = word;
        }
        true
    }

    /// Appends text that `write` makes.
    #[cold]
    pub(super) fn slowly(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut spare = std::mem::take(&mut self.spare);
        spare.clear();
        write(&mut spare);
        self.text(&spare);
        self.spare = spare;
    }
}

/// Whether eight bytes are all ASCII that is shown as it is within quotes.
#[inline]
fn is_plain(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    // Of bytes below 0x80: those below `n`; and those that are `n`, where a byte above such a one may be told wrongly, but not
    // the lowest (Warren, "Hacker's Delight", "Find First 0-Byte").
    let below = |n: u64| word.wrapping_sub(n * ONES) & !word;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let bad = word
        | below(0x20)
        | zero(word ^ (u64::from(b'"') * ONES))
        | zero(word ^ (u64::from(b'\\') * ONES))
        | zero(word ^ (0x7f * ONES));
    bad & HIGH == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_plain_or_escaped() {
        let mut line = Line::new();
        for byte in 0..=255_u8 {
            for at in 0..20 {
                let mut bytes = *b"some text, some text";
                bytes[at] = byte;
                let (mut expected, mut text) = (Vec::new(), Vec::new());
                crate::value::escape_bytes(&bytes, false, &mut text);
                expected.push(b'"');
                expected.extend_from_slice(&text);
                expected.push(b'"');
                line.clear();
                line.string(&bytes, false);
                assert_eq!(line.bytes(), expected);
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_told() {
        let mut line = Line::new();
        for _ in 0..MOST / 8 {
            line.put(b"12345678");
        }
        assert!(!line.is_over());
        line.put(b"9");
        assert!(line.is_over());
        line.clear();
        line.string(&[b'a'; MOST], false);
        assert!(line.is_over());
        line.clear();
        line.string("ž".as_bytes(), true);
        assert_eq!((line.bytes(), line.columns()), ("\"ž\"...".as_bytes(), 6));
    }
}
