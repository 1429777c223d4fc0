//! A line that is being made.

#![allow(
    clippy::inline_always,
    reason = "a line stays in registers only where no call comes between its pieces: benches/quick.rs"
)]

use crate::text::digits;

/// The longest line that is made here.
const MOST: usize = 8 << 10;

/// Where lines are made, one after the other.
#[derive(Debug)]
pub(super) struct Page {
    bytes: Box<[u8; MOST]>,
    aside: Aside,
}

/// What is not needed for most lines.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Bytes that take no column: those of characters after the first.
    continued: usize,
    /// Text that is made by slower means.
    spare: Vec<u8>,
}

/// A line in a place of fixed size: to append a few bytes is a bound and a store, and no call.
///
/// It is handed on by value, and is no more than two words, so that it stays in registers: behind a reference, each piece waited for the length
/// that the one before it had stored. (Made at the end of the output, in bytes that were set to zero for it, it took longer, too:
/// `benches/quick.rs`.)
///
/// What does not fit, or can't be made here, makes it [`over`](Self::is_over): the line is of no use then.
#[must_use]
#[derive(Debug)]
pub(super) struct Line<'p> {
    bytes: &'p mut [u8; MOST],
    len: usize,
}

/// The length of a line that is over. Nothing fits any more.
const OVER: usize = usize::MAX / 2;

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

impl Page {
    pub(super) fn new() -> Self {
        Self {
            bytes: Box::new([0; MOST]),
            aside: Aside::default(),
        }
    }

    /// A new line.
    #[inline]
    pub(super) fn line(&mut self) -> (Line<'_>, &mut Aside) {
        self.aside.continued = 0;
        let line = Line {
            bytes: &mut self.bytes,
            len: 0,
        };
        (line, &mut self.aside)
    }
}

impl Line<'_> {
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.len > MOST
    }

    /// It can't be made here.
    #[inline]
    pub(super) fn refuse(mut self) -> Self {
        self.len = OVER;
        self
    }

    /// The line; nothing if it is over.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Appends the line to `out`.
    #[inline(always)]
    pub(super) fn append_to(self, out: &mut Vec<u8>) {
        /// Most lines are not longer. So many bytes are copied without a call.
        const SHORT: usize = 64;
        const LONGER: usize = 128;
        let end = out.len() + self.len;
        if self.len <= SHORT {
            out.extend_from_slice(&self.bytes[..SHORT]);
            out.truncate(end);
        } else if self.len <= LONGER {
            out.extend_from_slice(&self.bytes[..LONGER]);
            out.truncate(end);
        } else {
            out.extend_from_slice(self.bytes.get(..self.len).unwrap_or_default());
        }
    }

    /// How many columns it takes.
    #[inline]
    pub(super) fn columns(&self, aside: &Aside) -> usize {
        self.len - aside.continued.min(self.len)
    }

    /// Appends the first `len` of these bytes.
    #[inline(always)]
    pub(super) fn some<const N: usize>(mut self, bytes: &[u8; N], len: usize) -> Self {
        let place = self.bytes.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut);
        if let Some(place) = place {
            *place = *bytes;
            self.len += len;
        } else {
            self.len = OVER;
        }
        self
    }

    /// Appends a few bytes.
    #[inline(always)]
    pub(super) fn put<const N: usize>(self, bytes: &[u8; N]) -> Self {
        self.some(bytes, N)
    }

    /// Appends ASCII.
    #[inline]
    pub(super) fn ascii(mut self, bytes: &[u8]) -> Self {
        let rest = self.bytes.get_mut(self.len..).unwrap_or_default();
        if let Some(place) = rest.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        } else {
            self.len = OVER;
        }
        self
    }

    /// Appends a name.
    #[inline]
    pub(super) fn name(self, name: &Name, aside: &mut Aside) -> Self {
        if name.long.is_empty() && name.continued == 0 {
            return self.some(&name.short, name.len);
        }
        aside.continued += name.continued;
        let long = if name.long.is_empty() {
            &name.short[..name.len.min(SHORT)]
        } else {
            &name.long
        };
        self.ascii(long)
    }

    /// Appends spaces.
    #[inline(always)]
    pub(super) fn spaces(mut self, mut count: usize) -> Self {
        const AT_ONCE: usize = 16;
        while count > 0 && self.len < MOST {
            let some = count.min(AT_ONCE);
            self = self.some(&[b' '; AT_ONCE], some);
            count -= some;
        }
        self
    }

    /// Appends a number with six digits after its point.
    pub(super) fn float(self, value: f64, aside: &mut Aside) -> Self {
        let Some((whole, micros)) = crate::value::millionths(value) else {
            return self.slowly(aside, |out| crate::value::write_float(value, out));
        };
        let line = if value.is_sign_negative() {
            self.put(b"-")
        } else {
            self
        };
        line.unsigned(whole).put(b".").put(&digits::last_six(micros))
    }

    /// Appends text.
    pub(super) fn text(self, bytes: &[u8], aside: &mut Aside) -> Self {
        aside.continued += bytes.iter().filter(|&&byte| byte & 0xc0 == 0x80).count();
        self.ascii(bytes)
    }

    #[inline(always)]
    pub(super) fn unsigned(self, number: u64) -> Self {
        if number < 10 {
            return self.put(&[b'0' + (number % 10) as u8]);
        }
        if number < digits::EIGHT_DIGITS {
            let (digits, len) = digits::short(number);
            return self.some(&digits, len);
        }
        self.long(number)
    }

    /// Appends a number of more than eight digits.
    #[inline(never)]
    fn long(self, number: u64) -> Self {
        let line = self.unsigned(number / digits::EIGHT_DIGITS);
        line.put(&digits::last_eight(number))
    }

    #[inline(always)]
    pub(super) fn signed(self, number: i64) -> Self {
        let line = if number < 0 { self.put(b"-") } else { self };
        line.unsigned(number.unsigned_abs())
    }

    /// Appends a number in base 16, with `0x`.
    #[inline(always)]
    pub(super) fn hex(self, number: u64) -> Self {
        self.put(b"0x")
            .some(&digits::hex(number), digits::hex_len(number))
    }

    /// Appends a pointer.
    #[inline(always)]
    pub(super) fn pointer(self, at: u64) -> Self {
        if at == 0 { self.put(b"nil") } else { self.hex(at) }
    }

    /// Appends the time inside a call, given in nanoseconds: ` <0.001166>`.
    #[inline]
    pub(super) fn duration(self, nanoseconds: u64) -> Self {
        let micros = nanoseconds / 1000;
        let line = self.put(b" <").unsigned(micros / 1_000_000).put(b".");
        line.put(&digits::last_six(micros)).put(b">")
    }

    /// Appends the bytes of a string in quotes. `cut`: there is more of it.
    #[inline]
    pub(super) fn string(self, bytes: &[u8], cut: bool, aside: &mut Aside) -> Self {
        let start = self.len + 1;
        let (mut line, is_plain) = self.put(b"\"").plain(bytes);
        if !is_plain {
            line.len = line.len.min(start);
            line = line.slowly(aside, |out| crate::value::escape_bytes(bytes, cut, out));
        }
        if cut { line.put(b"\"...") } else { line.put(b"\"") }
    }

    /// Appends characters that are shown as they are; `false`: there are others among them, and what was appended is to be taken back.
    #[inline]
    fn plain(mut self, bytes: &[u8]) -> (Self, bool) {
        let mut chunks = bytes.chunks_exact(8);
        let mut all = true;
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            all &= is_plain(u64::from_le_bytes(word));
            self = self.put(&word);
        }
        let rest = chunks.remainder();
        let mut word = [b' '; 8];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        all &= is_plain(u64::from_le_bytes(word));
        (self.some(&word, rest.len()), all)
    }

    /// Appends text that `write` makes.
    #[cold]
    pub(super) fn slowly(self, aside: &mut Aside, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut spare = std::mem::take(&mut aside.spare);
        spare.clear();
        write(&mut spare);
        let line = self.text(&spare, aside);
        aside.spare = spare;
        line
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
        let mut page = Page::new();
        for byte in 0..=255_u8 {
            for at in 0..20 {
                let mut bytes = *b"some text, some text";
                bytes[at] = byte;
                let (mut expected, mut text) = (Vec::new(), Vec::new());
                crate::value::escape_bytes(&bytes, false, &mut text);
                expected.push(b'"');
                expected.extend_from_slice(&text);
                expected.push(b'"');
                let (line, aside) = page.line();
                assert_eq!(line.string(&bytes, false, aside).bytes(), expected);
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_told() {
        let mut page = Page::new();
        let (mut line, aside) = page.line();
        for _ in 0..MOST / 8 {
            line = line.put(b"12345678");
        }
        assert!(!line.is_over());
        let line = line.put(b"9").string(b"and more \x01", true, aside).spaces(100);
        assert!(line.is_over());
        for bytes in [[b'a'; MOST], [1; MOST]] {
            let (line, aside) = page.line();
            assert!(line.string(&bytes, false, aside).is_over());
        }
        let (line, aside) = page.line();
        let line = line.string("ž".as_bytes(), true, aside);
        assert_eq!((line.bytes(), line.columns(aside)), ("\"ž\"...".as_bytes(), 6));
        assert!(page.line().0.refuse().put(b"a").is_over());
    }

    #[test]
    fn lines_of_every_length_are_appended() {
        let mut page = Page::new();
        let text: Vec<u8> = (b'a'..=b'z').cycle().take(300).collect();
        for len in 0..text.len() {
            let mut out = b"before ".to_vec();
            page.line().0.ascii(&text[..len]).append_to(&mut out);
            assert_eq!(out, [b"before ", &text[..len]].concat());
        }
    }

    #[test]
    fn numbers_are_those_of_core_fmt() {
        let mut page = Page::new();
        for number in (0..20).flat_map(|power| [10_u64.pow(power), 10_u64.pow(power) - 1, u64::MAX / 3]) {
            let signed = number.cast_signed();
            let line = page
                .line()
                .0
                .unsigned(number)
                .put(b" ")
                .signed(signed)
                .put(b" ")
                .pointer(number);
            let pointer = if number == 0 {
                "nil".to_owned()
            } else {
                format!("{number:#x}")
            };
            let expected = format!("{number} {signed} {pointer}");
            assert_eq!(std::str::from_utf8(line.bytes()), Ok(&*expected));
        }
    }
}
