//! One value: where it is in the records, and how it is shown.

#![allow(
    clippy::inline_always,
    reason = "a line stays in registers only where no call comes between its pieces: benches/quick.rs"
)]

use fast_ring::{Call, Capture, End, Words};

use crate::proto::expr::Env;
use crate::proto::{Expr, Names};
use crate::text::{Aside, Line, Two};
use crate::value::{
    errno_name, flag_names, guess_is_address, guess_is_text, write_byte, write_char, write_errno, write_float,
};

/// The two records of a call.
pub(super) struct Records<'a> {
    call: &'a Call<'a>,
    ret: &'a Call<'a>,
    /// Of either.
    words: [Words<'a>; 2],
    numbers: &'a Numbers,
    /// The most bytes of a string that are shown.
    limit: usize,
}

/// What expressions are about: the arguments and the result that are integers.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) args: Vec<Option<Number>>,
    pub(super) result: Option<Number>,
    /// The pointers whose targets are captured at the return.
    pub(super) filled: Vec<Word>,
}

/// Which of the two records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    Call,
    Return,
}

/// A word of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Word {
    pub(super) when: When,
    pub(super) index: u8,
    /// Whether it is of a floating-point register.
    pub(super) float: bool,
}

/// An integer in a word, of 1 to 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Number {
    pub(super) word: Word,
    pub(super) size: u8,
    pub(super) signed: bool,
}

/// A capture of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Memory {
    pub(super) when: When,
    pub(super) index: u8,
}

/// Where the bits of a value are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Word(Word),
    Behind(Word, Memory),
}

/// How many elements a string has.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Count {
    /// It ends with a zero.
    Unbounded,
    Fixed(usize),
    Expr(Expr),
}

/// How a value is shown.
#[derive(Debug)]
pub(super) enum Show {
    Void,
    Bits {
        from: Source,
        size: u8,
        how: How,
    },
    Text {
        pointer: Word,
        memory: Memory,
        count: Count,
        terminated: bool,
    },
    GuessText {
        number: Number,
        memory: Memory,
    },
}

/// How the bits of a value are shown.
#[derive(Debug)]
pub(super) enum How {
    Signed,
    Unsigned,
    Hex,
    Oct,
    Bin,
    Bool,
    Byte,
    Char,
    Guess {
        signed: bool,
    },
    Pointer,
    Code,
    /// By name, or else as something else.
    Named(Box<[(u64, Box<[u8]>)]>, Box<How>),
    Flags(Box<Names>),
    Errno {
        signed: bool,
    },
    Single,
    Double,
}

impl<'a> Records<'a> {
    #[inline]
    pub(super) fn new(call: &'a Call<'a>, ret: &'a Call<'a>, numbers: &'a Numbers, limit: usize) -> Self {
        Self {
            call,
            ret,
            words: [call.words_and_more(), ret.words_and_more()],
            numbers,
            limit,
        }
    }

    #[inline]
    fn word(&self, word: Word) -> Option<u64> {
        if word.float {
            return self.record(word.when).floats().get(word.index.into());
        }
        self.int(word.when, word.index)
    }

    /// A word of an integer register or of the stack.
    #[inline(always)]
    fn int(&self, when: When, index: u8) -> Option<u64> {
        self.words[when as usize].get(index.into())
    }

    #[inline]
    fn record(&self, when: When) -> &'a Call<'a> {
        match when {
            When::Call => self.call,
            When::Return => self.ret,
        }
    }

    #[inline]
    fn capture(&self, memory: Memory) -> Option<Capture<'a>> {
        let record = self.record(memory.when);
        // There are few: from one to the next is less than to note down where each is.
        record.captures().iter().nth(memory.index.into())
    }

    fn number(&self, number: Option<Number>) -> Option<i64> {
        let number = number?;
        let bits = low(self.word(number.word)?, number.size);
        Some(if number.signed {
            extended(bits, number.size)
        } else {
            bits.cast_signed()
        })
    }

    pub(super) fn eval(&self, expr: &Expr) -> Option<i64> {
        expr.eval(self)
    }

    /// Whether what lies at a pointer may be captured at the return, too: then that is shown.
    fn is_filled(&self, pointer: Word) -> bool {
        let Some(at) = self.word(pointer) else { return true };
        let filled = self.numbers.filled.iter().zip(self.ret.captures().iter());
        // A little more than was captured: the zeros that end a string are not.
        filled.into_iter().any(|(&word, capture)| {
            let start = self.word(word).unwrap_or(0);
            at.wrapping_sub(start) < capture.bytes.len() as u64 + 8
        })
    }
}

impl Env for Records<'_> {
    fn arg(&self, index: u8) -> Option<i64> {
        self.number(*self.numbers.args.get(usize::from(index).checked_sub(1)?)?)
    }

    fn retval(&self) -> Option<i64> {
        self.number(self.numbers.result)
    }

    fn elt(&self, _index: u8) -> Option<i64> {
        None
    }

    fn deref(&self, _index: u8) -> Option<i64> {
        None
    }
}

/// The low bytes of a word.
#[inline]
fn low(word: u64, size: u8) -> u64 {
    word & mask(size)
}

#[inline]
pub(super) fn mask(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)))
}

/// A number of so many bytes with its sign.
#[inline]
fn extended(bits: u64, size: u8) -> i64 {
    let shift = 64 - 8 * u32::from(size.clamp(1, 8));
    (bits << shift).cast_signed() >> shift
}

/// One argument, or the result.
#[derive(Debug)]
pub(super) enum Value {
    /// A number.
    Plain(Plain),
    /// Something else.
    Other(Box<Shown>),
}

/// A number in an integer register that is always shown.
#[derive(Debug)]
pub(super) struct Plain {
    when: When,
    index: u8,
    /// How many of the word's upper bits are not of it.
    unused: u8,
    how: Digits,
}

/// How a number is shown.
#[derive(Debug, Clone, Copy)]
enum Digits {
    Signed,
    Unsigned,
    Hex,
    Pointer,
    Guess,
    GuessUnsigned,
}

impl Value {
    pub(super) fn new(shown: Shown) -> Self {
        match Plain::of(&shown) {
            Some(plain) => Self::Plain(plain),
            None => Self::Other(Box::new(shown)),
        }
    }

    #[inline]
    pub(super) fn is_there(&self, records: &Records<'_>) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Other(shown) => shown.is_there(records),
        }
    }

    /// Appends it; a line that is over, if it can't be shown here.
    #[inline(always)]
    pub(super) fn show<'p>(
        &self,
        before: Two,
        records: &Records<'_>,
        failed: bool,
        line: Line<'p>,
        aside: &mut Aside,
    ) -> Line<'p> {
        match self {
            Self::Plain(plain) => plain.show(before, records, line),
            Self::Other(shown) => shown.show(records, failed, line.put(&before.to_le_bytes()), aside),
        }
    }
}

impl Plain {
    fn of(shown: &Shown) -> Option<Self> {
        let is_bare = shown.when.is_none() && shown.filled.is_none() && shown.late.is_none();
        let Show::Bits {
            from: Source::Word(word),
            size,
            how,
        } = &shown.show
        else {
            return None;
        };
        let how = match how {
            How::Signed => Digits::Signed,
            How::Unsigned => Digits::Unsigned,
            How::Hex => Digits::Hex,
            How::Pointer => Digits::Pointer,
            How::Guess { signed: true } => Digits::Guess,
            How::Guess { signed: false } => Digits::GuessUnsigned,
            _ => return None,
        };
        (is_bare && !word.float && (1..=8).contains(size)).then_some(Self {
            when: word.when,
            index: word.index,
            unused: 64 - 8 * size,
            how,
        })
    }

    #[inline(always)]
    fn show<'p>(&self, before: Two, records: &Records<'_>, line: Line<'p>) -> Line<'p> {
        let Some(word) = records.int(self.when, self.index) else {
            return line.refuse();
        };
        let high = word << (self.unused & 63);
        let bits = || high >> (self.unused & 63);
        let signed = || high.cast_signed() >> (self.unused & 63);
        match self.how {
            Digits::Signed => line.signed_after(before, signed()),
            Digits::Unsigned => line.unsigned_after(before, bits()),
            Digits::Hex if high == 0 => line.unsigned_after(before, 0),
            Digits::Pointer if high == 0 => line.put(&before.to_le_bytes()).put(b"nil"),
            Digits::Guess if guess_is_small(signed()) => line.signed_after(before, signed()),
            Digits::GuessUnsigned if guess_is_small(bits().cast_signed().max(0)) => {
                line.unsigned_after(before, bits().cast_signed().max(0).cast_unsigned())
            }
            _ => line.hex_after(before, bits()),
        }
    }
}

/// What is not only a number, or not always there.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) show: Show,
    /// It is there only if this is not zero.
    pub(super) when: Option<Expr>,
    /// The callee fills what it points at: after a failure only the pointer is shown.
    pub(super) filled: Option<Word>,
    /// What it points at was captured at the call, and is shown with what was captured at the return.
    pub(super) late: Option<Word>,
}

impl Shown {
    #[inline]
    pub(super) fn is_there(&self, records: &Records<'_>) -> bool {
        match &self.when {
            Some(when) => records.eval(when) != Some(0),
            None => true,
        }
    }

    #[inline(never)]
    fn show<'p>(&self, records: &Records<'_>, failed: bool, line: Line<'p>, aside: &mut Aside) -> Line<'p> {
        if let Some(pointer) = self.filled.filter(|_| failed) {
            return match records.word(pointer) {
                Some(at) => line.pointer(at),
                None => line.refuse(),
            };
        }
        if let Some(pointer) = self.late
            && records.is_filled(pointer)
        {
            return line.refuse();
        }
        match self.show.seen(records) {
            Some(Seen::Void) => line.put(b"<void>"),
            Some(Seen::Bits(bits, size, how)) => how.show(bits, size, line, aside),
            Some(Seen::Pointer(at)) => line.pointer(at),
            Some(Seen::Guess(bits, value)) => guess(bits, value, line),
            Some(Seen::Text(bytes, cut)) => line.string(bytes, cut, aside),
            None => line.refuse(),
        }
    }
}

/// What a value is in the records of a call.
enum Seen<'a, 's> {
    Void,
    Bits(u64, u8, &'s How),
    Pointer(u64),
    Guess(u64, i64),
    /// A string's bytes that are shown, and whether there are more.
    Text(&'a [u8], bool),
}

impl Show {
    /// `None`: it can't be shown here.
    #[inline]
    fn seen<'a>(&self, records: &Records<'a>) -> Option<Seen<'a, '_>> {
        Some(match self {
            Self::Void => Seen::Void,
            Self::Bits {
                from: Source::Word(word),
                size,
                how,
            } => Seen::Bits(low(records.word(*word)?, *size), *size, how),
            Self::Bits {
                from: Source::Behind(pointer, memory),
                size,
                how,
            } => match records.capture(*memory)?.bytes.get(..usize::from(*size)) {
                Some(bytes) => {
                    let mut word = [0; 8];
                    word.get_mut(..bytes.len())?.copy_from_slice(bytes);
                    Seen::Bits(u64::from_le_bytes(word), *size, how)
                }
                None => Seen::Pointer(records.word(*pointer)?),
            },
            Self::Text {
                pointer,
                memory,
                count,
                terminated,
            } => {
                let at = records.word(*pointer)?;
                let count = match count {
                    Count::Unbounded => Some(usize::MAX),
                    Count::Fixed(count) => Some(*count),
                    Count::Expr(expr) => records.eval(expr).and_then(|count| usize::try_from(count).ok()),
                };
                match count.filter(|_| at != 0) {
                    // A stub captures nothing where nothing can be shown.
                    Some(count) => text(at, &records.capture(*memory)?, count, *terminated, records.limit),
                    None => Seen::Pointer(at),
                }
            }
            Self::GuessText { number, memory } => {
                let bits = records.word(number.word)?;
                let capture = records.capture(*memory)?;
                if guess_is_address(bits) && guess_is_text(bits, capture.bytes, capture.end == End::Whole) {
                    text(bits, &capture, usize::MAX, true, records.limit)
                } else if number.signed {
                    Seen::Guess(bits, bits.cast_signed())
                } else {
                    Seen::Guess(bits, i64::try_from(bits).unwrap_or_default())
                }
            }
        })
    }
}

/// A string of at most `count` bytes, of which those of `capture` are known.
#[inline]
fn text<'a, 's>(
    at: u64,
    capture: &Capture<'a>,
    count: usize,
    terminated: bool,
    limit: usize,
) -> Seen<'a, 's> {
    let known = capture.bytes.len();
    let wanted = count.min(limit.saturating_add(1));
    let has_end = terminated && capture.end == End::Whole && known < wanted;
    let whole = known.min(wanted);
    if whole == 0 && wanted > 0 && !has_end {
        return Seen::Pointer(at);
    }
    let ended = has_end || (whole == wanted && whole == count);
    let shown = whole.min(limit);
    Seen::Text(
        capture.bytes.get(..shown).unwrap_or_default(),
        !(ended && shown == whole),
    )
}

/// A number of which it is not known what it is: its bits, and what they are as a number; 0 if that is too large for one.
#[inline(always)]
fn guess(bits: u64, value: i64, line: Line<'_>) -> Line<'_> {
    if guess_is_small(value) {
        line.signed(value)
    } else {
        line.hex(bits)
    }
}

#[inline(always)]
fn guess_is_small(value: i64) -> bool {
    (-10000..=10000).contains(&value)
}

#[inline(always)]
fn hex(bits: u64, line: Line<'_>) -> Line<'_> {
    if bits == 0 { line.put(b"0") } else { line.hex(bits) }
}

impl How {
    #[inline]
    fn show<'p>(&self, bits: u64, size: u8, line: Line<'p>, aside: &mut Aside) -> Line<'p> {
        match self {
            Self::Signed => line.signed(extended(bits, size)),
            Self::Unsigned => line.unsigned(bits),
            Self::Hex => hex(bits, line),
            Self::Guess { signed: true } => guess(bits, extended(bits, size), line),
            Self::Guess { signed: false } => guess(bits, i64::try_from(bits).unwrap_or_default(), line),
            Self::Byte if is_plain(bits) => line.put(&[b'\'', bits.to_le_bytes()[0], b'\'']),
            Self::Double => line.float(f64::from_bits(bits), aside),
            Self::Bool if bits != 0 => line.put(b"true"),
            Self::Bool => line.put(b"false"),
            Self::Named(names, otherwise) => {
                let found = names.binary_search_by_key(&bits, |(value, _)| *value);
                match found.ok().and_then(|found| names.get(found)) {
                    Some((_, name)) => line.text(name, aside),
                    None => otherwise.show(bits, size, line, aside),
                }
            }
            Self::Code if bits != 0 => line.refuse(), // its name is asked for elsewhere
            Self::Pointer | Self::Code => line.pointer(bits),
            Self::Oct | Self::Bin if bits == 0 => line.put(b"0"),
            _ => line.slowly(aside, |out| self.write(bits, size, out)),
        }
    }

    /// What is not so frequent.
    fn write(&self, bits: u64, size: u8, out: &mut Vec<u8>) {
        use std::io::Write as _;
        // Writing to a Vec does not fail.
        let _ = match self {
            Self::Oct => write!(out, "0{bits:o}"),
            Self::Bin => write!(out, "{bits:#b}"),
            Self::Errno { signed } => {
                let value = if *signed {
                    extended(bits, size)
                } else {
                    i64::try_from(bits).unwrap_or_default()
                };
                let name = i32::try_from(value)
                    .ok()
                    .filter(|&value| value != 0)
                    .and_then(errno_name);
                match name {
                    Some(name) => write!(out, "{name}"),
                    None if *signed => write!(out, "{}", extended(bits, size)),
                    None => write!(out, "{bits}"),
                }
            }
            Self::Byte => return write_byte(bits.to_le_bytes()[0], out),
            Self::Char => return write_char(low_half(bits), out),
            Self::Flags(names) => return flag_names(names, bits, mask(size), out),
            Self::Single => return write_float(f32::from_bits(low_half(bits)).into(), out),
            _ => Ok(()),
        };
    }
}

fn low_half(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Whether a character is shown as it is within single quotes.
#[inline]
fn is_plain(byte: u64) -> bool {
    (0x20..0x7f).contains(&byte) && byte != u64::from(b'\'') && byte != u64::from(b'\\')
}

/// When a call has failed, and why.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) sign: Sign,
    /// The word of the return with `errno`.
    pub(super) errno: Option<u8>,
}

/// What tells that a call has failed.
#[derive(Debug)]
pub(super) enum Sign {
    /// Nothing does.
    Never,
    /// The bits of a word that count have this value.
    Returns { word: Word, mask: u64, value: u64 },
    /// This is not zero.
    When(Expr),
}

impl Failure {
    #[inline]
    pub(super) fn is(&self, records: &Records<'_>) -> bool {
        match &self.sign {
            Sign::Never => false,
            Sign::Returns { word, mask, value } => {
                records.word(*word).is_some_and(|word| word & mask == *value)
            }
            Sign::When(expr) => records.eval(expr).is_some_and(|value| value != 0),
        }
    }

    /// Appends the reason, where it is known.
    #[cold]
    pub(super) fn why<'p>(&self, records: &Records<'_>, line: Line<'p>, aside: &mut Aside) -> Line<'p> {
        let errno = self.errno.and_then(|index| records.ret.word(index));
        match errno {
            Some(errno) => line.slowly(aside, |out| write_errno(low_half(errno).cast_signed(), out)),
            None => line,
        }
    }
}
