//! A line that is being made.

#![allow(
    clippy::inline_always,
    reason = "a line stays in registers only where no call comes between its pieces: benches/quick.rs"
)]

use super::digits;

/// A line that is made here has room for at least so much.
const MOST: usize = 4 << 10;
/// A page is poured out when it has no such room any more. All of it stays in the processor's first cache.
const PAGE: usize = 2 * MOST;

/// Where short lines are made, one after the other: the end of some output, which [`pour`](Page::pour) appends to the rest of it.
///
/// They are not made in that output's buffer: it is large, and each line would wait for memory to be fetched. Nor is each appended when it
/// is whole: what was stored in pieces is slow to load before the processor is done with the stores (`benches/quick.rs`).
#[derive(Debug)]
pub struct Page {
    bytes: Box<[u8; PAGE]>,
    len: usize,
    aside: Aside,
}

/// What is not needed for most lines.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Where the line begins.
    start: usize,
    /// Bytes that take no column: those of characters after the first.
    continued: usize,
    /// Text that is made by slower means.
    spare: Vec<u8>,
}

/// A line in a place of fixed size: to append a few bytes is a bound and a store, and no call.
///
/// It is handed on by value, and is no more than two words, so that it stays in registers: behind a reference, each piece waited for the length
/// that the one before it had stored.
///
/// What does not fit, or can't be made here, makes it [`over`](Self::end): the line is of no use then.
#[must_use]
#[derive(Debug)]
pub(crate) struct Line<'p> {
    bytes: &'p mut [u8; PAGE],
    len: usize,
}

/// Two characters, the first one lowest.
pub(crate) type Two = u16;

/// The length of a line that is over. Nothing fits any more.
const OVER: usize = usize::MAX / 2;

/// What a line begins with. Names are short: one of at most so many bytes is appended without a call.
#[derive(Debug)]
pub(crate) struct Name {
    short: [u8; SHORT],
    /// All of it, where it is longer.
    long: Box<[u8]>,
    len: usize,
    continued: usize,
}

const SHORT: usize = 32;

impl Name {
    pub(crate) fn new(text: &[u8]) -> Self {
        let mut short = [0; SHORT];
        let is_short = text.len() <= SHORT;
        if is_short {
            short[..text.len()].copy_from_slice(text);
        }
        Self {
            short,
            long: if is_short { Box::default() } else { text.into() },
            len: text.len(),
            continued: text.len() - super::columns(text),
        }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self {
            bytes: Box::new([0; PAGE]),
            len: 0,
            aside: Aside::default(),
        }
    }
}

impl Page {
    /// A new line, which stays if it is [kept](Page::keep). There is room for it if the page is not [full](Page::is_full).
    #[inline]
    pub(crate) fn line(&mut self) -> (Line<'_>, &mut Aside) {
        self.aside.start = self.len;
        self.aside.continued = 0;
        let line = Line {
            bytes: &mut self.bytes,
            len: self.len,
        };
        (line, &mut self.aside)
    }

    /// The line that was made last stays, if it is not over. Whether it was kept.
    #[inline]
    pub(crate) fn keep(&mut self, end: Option<usize>) -> bool {
        self.len = end.unwrap_or(self.len);
        end.is_some()
    }

    /// Makes a piece of text and appends it to `out`, behind what the page has.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, make: impl for<'p> FnOnce(Line<'p>) -> Line<'p>) {
        let end = make(self.line().0).end();
        self.keep(end);
        self.pour(out);
    }

    /// Whether it is to be poured out.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len > PAGE - MOST
    }

    /// Whether it has nothing.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends all its lines to `out`. It has none any more.
    #[inline]
    pub fn pour(&mut self, out: &mut Vec<u8>) {
        if self.len > 0 {
            out.extend_from_slice(self.bytes.get(..self.len).unwrap_or_default());
            self.len = 0;
        }
    }
}

impl Line<'_> {
    /// Where it ends; `None` if it is over.
    #[inline]
    pub(crate) fn end(self) -> Option<usize> {
        (self.len <= PAGE).then_some(self.len)
    }

    /// It can't be made here.
    #[inline]
    pub(crate) fn refuse(mut self) -> Self {
        self.len = OVER;
        self
    }

    /// How many columns it takes, if it is not over.
    #[inline]
    pub(crate) fn columns(&self, aside: &Aside) -> usize {
        self.len.wrapping_sub(aside.start + aside.continued)
    }

    /// Appends the first `len` of these bytes.
    #[inline(always)]
    pub(crate) fn some<const N: usize>(mut self, bytes: &[u8; N], len: usize) -> Self {
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
    pub(crate) fn put<const N: usize>(self, bytes: &[u8; N]) -> Self {
        self.some(bytes, N)
    }

    /// Appends ASCII.
    #[inline]
    pub(crate) fn ascii(mut self, bytes: &[u8]) -> Self {
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
    pub(crate) fn name(self, name: &Name, aside: &mut Aside) -> Self {
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
    pub(crate) fn spaces(mut self, mut count: usize) -> Self {
        const AT_ONCE: usize = 16;
        while count > 0 && self.len < PAGE {
            let some = count.min(AT_ONCE);
            self = self.some(&[b' '; AT_ONCE], some);
            count -= some;
        }
        self
    }

    /// Appends a number with six digits after its point.
    pub(crate) fn float(self, value: f64, aside: &mut Aside) -> Self {
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
    pub(crate) fn text(self, bytes: &[u8], aside: &mut Aside) -> Self {
        aside.continued += bytes.iter().filter(|&&byte| byte & 0xc0 == 0x80).count();
        self.ascii(bytes)
    }

    #[inline(always)]
    pub(crate) fn unsigned(self, number: u64) -> Self {
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
    pub(crate) fn signed(self, number: i64) -> Self {
        let line = if number < 0 { self.put(b"-") } else { self };
        line.unsigned(number.unsigned_abs())
    }

    /// Appends two characters and a number.
    #[inline(always)]
    pub(crate) fn unsigned_after(self, before: Two, number: u64) -> Self {
        if number < 10 {
            return self.digit_after(before, number);
        }
        if number < digits::EIGHT_DIGITS {
            return self.short_after(before, number);
        }
        self.put(&before.to_le_bytes()).long(number)
    }

    /// Appends two characters and a number with its sign.
    #[inline(always)]
    pub(crate) fn signed_after(self, before: Two, number: i64) -> Self {
        // As those without a sign, negative ones are large.
        if number.cast_unsigned() < 10 {
            return self.digit_after(before, number.cast_unsigned());
        }
        if number.cast_unsigned() < digits::EIGHT_DIGITS {
            return self.short_after(before, number.cast_unsigned());
        }
        self.long_after(before, number)
    }

    /// Appends two characters and a digit.
    #[inline(always)]
    pub(crate) fn digit_after(self, before: Two, digit: u64) -> Self {
        let both = u64::from(before) | (u64::from(b'0') + digit) << 16;
        let [a, b, c, d, ..] = both.to_le_bytes();
        self.some(&[a, b, c, d], 3)
    }

    #[inline(always)]
    fn short_after(self, before: Two, number: u64) -> Self {
        let (digits, len) = digits::short(number);
        let both = u128::from(u64::from_le_bytes(digits)) << 16 | u128::from(before);
        self.some(&both.to_le_bytes(), 2 + len)
    }

    #[inline(never)]
    fn long_after(self, before: Two, number: i64) -> Self {
        let line = self.put(&before.to_le_bytes());
        let line = if number < 0 { line.put(b"-") } else { line };
        line.unsigned(number.unsigned_abs())
    }

    /// Appends two characters and a number in base 16.
    #[inline(always)]
    pub(crate) fn hex_after(self, before: Two, number: u64) -> Self {
        let [a, b] = before.to_le_bytes();
        self.put(&[a, b, b'0', b'x'])
            .some(&digits::hex(number), digits::hex_len(number))
    }

    /// Appends the end of the arguments, and spaces: one, and so many more.
    #[inline(always)]
    pub(crate) fn closing(self, more: usize) -> Self {
        const AT_ONCE: &[u8; 32] = b")                               ";
        let some = more.min(AT_ONCE.len() - 2);
        let line = self.some(AT_ONCE, 2 + some);
        if some < more {
            line.spaces(more - some)
        } else {
            line
        }
    }

    /// Appends a number in base 16, with `0x`.
    #[inline(always)]
    pub(crate) fn hex(self, number: u64) -> Self {
        self.put(b"0x")
            .some(&digits::hex(number), digits::hex_len(number))
    }

    /// Appends a pointer.
    #[inline(always)]
    pub(crate) fn pointer(self, at: u64) -> Self {
        if at == 0 { self.put(b"nil") } else { self.hex(at) }
    }

    /// Appends a point, the microseconds of a time that is given in them, and what follows.
    #[inline(always)]
    pub(crate) fn millionths(self, micros: u64, then: u8) -> Self {
        const SIX: u64 = 0x00ff_ffff_ffff_ff00;
        let digits = u64::from_le_bytes(digits::last_eight(micros)) >> 8 & SIX;
        let ends = u64::from(b'.') | u64::from(then) << 56;
        self.put(&(digits | ends).to_le_bytes())
    }

    /// Appends the time inside a call, given in nanoseconds: ` <0.001166>`.
    #[inline(always)]
    pub(crate) fn duration(self, nanoseconds: u64) -> Self {
        let micros = nanoseconds / 1000;
        let line = self.put(b" <").unsigned(micros / 1_000_000);
        line.millionths(micros, b'>')
    }

    /// Appends the bytes of a string in quotes. `cut`: there is more of it.
    #[inline]
    pub(crate) fn string(self, bytes: &[u8], cut: bool, aside: &mut Aside) -> Self {
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
    pub(crate) fn slowly(self, aside: &mut Aside, write: impl FnOnce(&mut Vec<u8>)) -> Self {
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
mod tests;
