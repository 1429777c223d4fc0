//! The two records of a call, and where in them a value is.

#![allow(
    clippy::inline_always,
    reason = "a line stays in registers only where no call comes between its pieces: benches/quick.rs"
)]

use fast_ring::{Call, Capture, Words};

use crate::proto::Expr;
use crate::proto::expr::Env;

/// The two records of a call.
pub(super) struct Records<'a> {
    call: &'a Call<'a>,
    ret: &'a Call<'a>,
    /// Of either.
    words: [Words<'a>; 2],
    numbers: &'a Numbers,
    /// The most bytes of a string that are shown.
    pub(super) limit: usize,
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
    pub(super) fn word(&self, word: Word) -> Option<u64> {
        if word.float {
            return self.record(word.when).floats().get(word.index.into());
        }
        self.int(word.when, word.index)
    }

    /// A word of an integer register or of the stack.
    #[inline(always)]
    pub(super) fn int(&self, when: When, index: u8) -> Option<u64> {
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
    pub(super) fn capture(&self, memory: Memory) -> Option<Capture<'a>> {
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
    pub(super) fn is_filled(&self, pointer: Word) -> bool {
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
pub(super) fn low(word: u64, size: u8) -> u64 {
    word & mask(size)
}

#[inline]
pub(super) fn mask(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)))
}

/// A number of so many bytes with its sign.
#[inline]
pub(super) fn extended(bits: u64, size: u8) -> i64 {
    let shift = 64 - 8 * u32::from(size.clamp(1, 8));
    (bits << shift).cast_signed() >> shift
}
