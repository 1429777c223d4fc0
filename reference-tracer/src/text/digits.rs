//! Numbers as text, into places of fixed size: much quicker than `core::fmt`, which lines full of numbers cannot afford.

#![allow(
    clippy::inline_always,
    reason = "they are parts of lines that are made in registers: benches/quick.rs"
)]

/// The most digits of a word in base 10, and of one in base 16.
pub(crate) const MAX_DECIMAL: usize = 20;
pub(crate) const MAX_HEX: usize = 16;

/// All numbers of two digits.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let (mut index, mut number) = (0, 0_u8);
    while index < pairs.len() {
        pairs[index] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
        index += 1;
    }
    pairs
};

/// How many digits a number has in base 10.
#[inline]
pub(crate) fn decimal_len(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Writes the last digits of a number in base 10, as many as there is place for, with zeros before it.
#[inline]
pub(crate) fn decimal(mut number: u64, place: &mut [u8]) {
    let mut pairs = place.rchunks_exact_mut(2);
    for pair in &mut pairs {
        pair.copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if let [digit] = pairs.into_remainder() {
        *digit = b'0' + (number % 10) as u8;
    }
}

/// One more than the largest number of eight digits.
pub(crate) const EIGHT_DIGITS: u64 = 100_000_000;

/// The eight digits of a number below [`EIGHT_DIGITS`], with zeros before it: each in a byte of a word, the first one lowest.
#[inline(always)]
fn eight(number: u64) -> u64 {
    // Both halves of four digits, then all four pairs, then all digits: divisions of several numbers at once, as products with the
    // inverse, which are right for numbers so small.
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (halves - hundreds * 100) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs - tens * 10) << 8
}

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The digits of a number below [`EIGHT_DIGITS`] from its first one on, and how many they are; what follows them is of no use.
#[inline(always)]
pub(crate) fn short(number: u64) -> ([u8; 8], usize) {
    let len = short_len(number);
    let before = 8 * (8 - len); // below 64
    (((eight(number) | ZEROS) >> (before & 63)).to_le_bytes(), len)
}

/// How many digits a number below [`EIGHT_DIGITS`] has. It does not wait for the digits: all that follows in the line waits for it.
#[inline(always)]
fn short_len(number: u64) -> usize {
    let is_longer = |power: u64| usize::from(number >= power);
    let few = is_longer(10) + is_longer(100) + is_longer(1_000);
    let more = is_longer(10_000) + is_longer(100_000);
    1 + few + more + (is_longer(1_000_000) + is_longer(10_000_000))
}

/// The last eight digits of a number.
#[inline]
pub(crate) fn last_eight(number: u64) -> [u8; 8] {
    (eight(number % EIGHT_DIGITS) | ZEROS).to_le_bytes()
}

/// The last six digits of a number.
#[inline]
pub(crate) fn last_six(number: u64) -> [u8; 6] {
    let [_, _, digits @ ..] = last_eight(number);
    digits
}

/// How many digits a number has in base 16.
#[inline]
pub(crate) fn hex_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(4)
}

/// The digits of a number in base 16, from its first one on; what follows them is of no use.
#[inline(always)]
pub(crate) fn hex(number: u64) -> [u8; MAX_HEX] {
    let aligned = number << ((16 - hex_len(number)) * 4);
    let mut digits = [0; MAX_HEX];
    let (high, low) = digits.split_at_mut(8);
    high.copy_from_slice(&hex_half(aligned >> 32));
    low.copy_from_slice(&hex_half(aligned & 0xffff_ffff));
    digits
}

/// Eight digits at once: each in a byte of a word.
#[inline]
fn hex_half(half: u64) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // 0x0000_0000_1234_5678 -> 0x0102_0304_0506_0708
    let quarters = (half | half << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (quarters | quarters << 8) & 0x00ff_00ff_00ff_00ff;
    let digits = (bytes | bytes << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 where the digit is 10 or more: there is a carry into the upper half of its byte.
    let letters = (digits + 6 * ONES) >> 4 & ONES;
    (digits + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_in_every_place() {
        // The halves are divided apart from one another: all numbers of four digits in each of them.
        for half in 0..10_000 {
            for number in [half, half * 10_000, half * 10_000 + 9_999, 99_990_000 + half] {
                let (digits, len) = short(number);
                assert_eq!(std::str::from_utf8(&digits[..len]), Ok(&*number.to_string()));
            }
        }
    }

    #[test]
    fn digits_are_those_of_core_fmt() {
        let words =
            (0..64).flat_map(|shift| [1_u64 << shift, (1 << shift) - 1, 0xfedc_ba98_7654_3210 >> shift]);
        let tens =
            (0..20).flat_map(|power| [10_u64.pow(power), 10_u64.pow(power) - 1, 10_u64.pow(power) + 7]);
        for number in words.chain(tens).chain([u64::MAX]) {
            let mut place = vec![0; decimal_len(number)];
            decimal(number, &mut place);
            assert_eq!(String::from_utf8(place).unwrap(), number.to_string());
            let digits = &hex(number)[..hex_len(number)];
            assert_eq!(std::str::from_utf8(digits).unwrap(), format!("{number:x}"));
            assert_eq!(
                last_eight(number),
                *format!("{:08}", number % 100_000_000).as_bytes()
            );
            assert_eq!(last_six(number), *format!("{:06}", number % 1_000_000).as_bytes());
            let (digits, len) = short(number % EIGHT_DIGITS);
            let expected = (number % EIGHT_DIGITS).to_string();
            assert_eq!(std::str::from_utf8(&digits[..len]), Ok(&*expected));
            let mut place = [0; 7];
            decimal(number, &mut place);
            assert_eq!(
                std::str::from_utf8(&place).unwrap(),
                format!("{:07}", number % 10_000_000)
            );
        }
    }
}
