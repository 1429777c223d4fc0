//! How the bits of a value are shown.

#![allow(
    clippy::inline_always,
    reason = "a line stays in registers only where no call comes between its pieces: benches/quick.rs"
)]

use super::records::{extended, mask};
use crate::proto::Names;
use crate::text::{Aside, Line};
use crate::value::{errno_name, flag_names, write_byte, write_char, write_float};

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

/// A number of which it is not known what it is: its bits, and what they are as a number; 0 if that is too large for one.
#[inline(always)]
pub(super) fn guess(bits: u64, value: i64, line: Line<'_>) -> Line<'_> {
    if guess_is_small(value) {
        line.signed(value)
    } else {
        line.hex(bits)
    }
}

#[inline(always)]
pub(super) fn guess_is_small(value: i64) -> bool {
    (-10000..=10000).contains(&value)
}

#[inline(always)]
fn hex(bits: u64, line: Line<'_>) -> Line<'_> {
    if bits == 0 { line.put(b"0") } else { line.hex(bits) }
}

impl How {
    #[inline]
    pub(super) fn show<'p>(&self, bits: u64, size: u8, line: Line<'p>, aside: &mut Aside) -> Line<'p> {
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

pub(super) fn low_half(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Whether a character is shown as it is within single quotes.
#[inline]
fn is_plain(byte: u64) -> bool {
    (0x20..0x7f).contains(&byte) && byte != u64::from(b'\'') && byte != u64::from(b'\\')
}
