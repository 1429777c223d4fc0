//! Numbers that are always shown: most of what calls are given.

#![allow(
    clippy::inline_always,
    reason = "a line stays in registers only where no call comes between its pieces: benches/quick.rs"
)]

use super::how::{How, guess_is_small};
use super::records::{Records, When};
use super::show::{Show, Shown, Source};
use crate::text::{Line, Two};

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

impl Plain {
    pub(super) fn of(shown: &Shown) -> Option<Self> {
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
    pub(super) fn show<'p>(&self, before: Two, records: &Records<'_>, line: Line<'p>) -> Line<'p> {
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
