//! Floating-point numbers as C's printf writes them.

use std::io::Write;

/// Appends `value` as glibc's `%a`.
pub(super) fn hex(value: f64, out: &mut Vec<u8>) {
    let bits = value.to_bits();
    let exponent = i32::try_from(bits >> 52 & 0x7ff).unwrap_or(0);
    let mut fraction = bits & ((1 << 52) - 1);
    let sign = if value.is_sign_negative() { "-" } else { "" };
    // Writing to a Vec does not fail.
    let _ = match (exponent, fraction) {
        (0x7ff, 0) => write!(out, "{sign}inf"),
        (0x7ff, _) => write!(out, "{sign}nan"),
        (0, 0) => write!(out, "{sign}0x0p+0"),
        _ => {
            let (lead, exponent) = if exponent == 0 {
                (0, -1022)
            } else {
                (1, exponent - 1023)
            };
            let mut digits = 13;
            while digits > 0 && fraction.is_multiple_of(16) {
                fraction >>= 4;
                digits -= 1;
            }
            let point = if digits == 0 { "" } else { "." };
            let fraction = if digits == 0 {
                String::new()
            } else {
                format!("{fraction:0digits$x}")
            };
            write!(out, "{sign}0x{lead}{point}{fraction}p{exponent:+}")
        }
    };
}

/// Appends `value` as `%f`.
pub(crate) fn decimal(value: f64, out: &mut Vec<u8>) {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    // Writing to a Vec does not fail.
    let _ = match millionths(value) {
        Some((whole, micros)) => write!(out, "{sign}{whole}.{micros:06}"),
        None if value.is_nan() => write!(out, "{sign}nan"),
        None => write!(out, "{value:.6}"),
    };
}

/// The magnitude of a number below 2^53, as a whole part and millionths, rounded to even as printf does. With integers alone, which is several
/// times as fast as `core::fmt`.
pub(crate) fn millionths(value: f64) -> Option<(u64, u64)> {
    let bits = value.to_bits();
    let exponent = i32::try_from(bits >> 52 & 0x7ff).ok()?;
    let fraction = bits & ((1 << 52) - 1);
    let (significand, exponent) = match exponent {
        0 => (fraction, 1),
        1..=1075 => (fraction | 1 << 52, exponent),
        _ => return None,
    };
    let (whole, micros) = fixed(significand, 1075 - exponent);
    Some((u64::try_from(whole).ok()?, micros))
}

/// Appends an x87 extended number (Intel SDM, "Double Extended-Precision Format") as `%Lf`; one whose
/// magnitude a double can't hold as its significand and exponent.
pub(super) fn extended(bytes: [u8; 10], out: &mut Vec<u8>) {
    let (significand, exponent, negative) = parts(bytes);
    let sign = if negative { "-" } else { "" };
    let value = to_f64(bytes);
    let _ = match exponent {
        0x7fff if significand << 1 == 0 => write!(out, "{sign}inf"),
        0x7fff => write!(out, "{sign}nan"),
        _ if exponent < 16383 + 63 => {
            let (whole, micros) = fixed(significand, 16383 + 63 - exponent);
            write!(out, "{sign}{whole}.{micros:06}")
        }
        _ if value.is_infinite() => write!(out, "{sign}{significand:#x}p{:+}", exponent - 16383 - 63),
        // A whole number: 64 bits of it are exact in the sum of two doubles, but `%f` wants all digits.
        _ if exponent < 16383 + 63 + 64 => write!(
            out,
            "{sign}{}.000000",
            u128::from(significand) << (exponent - 16383 - 63)
        ),
        _ => write!(out, "{value:.6}"),
    };
}

/// `significand / 2^shift` as a whole part and millionths, rounded to even as printf does.
fn fixed(significand: u64, shift: i32) -> (u128, u64) {
    const MILLION: u128 = 1_000_000;
    let scaled = u128::from(significand) * MILLION; // < 2^84
    let shift = u32::try_from(shift).unwrap_or(0);
    let rounded = if shift >= 100 {
        0
    } else {
        let (whole, rest, half) = (
            scaled >> shift,
            scaled & ((1 << shift) - 1),
            (1_u128 << shift) >> 1,
        );
        whole + u128::from(rest > half || (rest == half && rest != 0 && whole & 1 == 1))
    };
    (rounded / MILLION, u64::try_from(rounded % MILLION).unwrap_or(0))
}

fn parts(bytes: [u8; 10]) -> (u64, i32, bool) {
    let [s0, s1, s2, s3, s4, s5, s6, s7, e0, e1] = bytes;
    let significand = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let exponent = u16::from_le_bytes([e0, e1]);
    (significand, i32::from(exponent & 0x7fff), exponent & 0x8000 != 0)
}

/// The nearest double.
pub(super) fn to_f64(bytes: [u8; 10]) -> f64 {
    let (significand, exponent, negative) = parts(bytes);
    let magnitude = if exponent == 0x7fff {
        if significand << 1 == 0 {
            f64::INFINITY
        } else {
            f64::NAN
        }
    } else {
        #[allow(
            clippy::cast_precision_loss,
            reason = "rounding to the nearest double is what is asked for"
        )]
        let significand = significand as f64;
        // Two steps, so that no power of two is out of range before the product is.
        let power = exponent - 16383 - 63;
        significand * 2_f64.powi(power / 2) * 2_f64.powi(power - power / 2)
    };
    if negative { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimal_is_as_core_fmt_writes_it() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        let random = (0..20_000).map(|_| {
            bits = bits.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(17) ^ 0x1234_5678_9abc_def1;
            f64::from_bits(bits)
        });
        let halves = (-4000..4000).map(|number| f64::from(number) / 64e6 * 4.0);
        let eighths = (-40_000..40_000).map(|number| f64::from(number) / 128.0);
        let edges = [
            0.0,
            -0.0,
            1e-7,
            5e-7,
            2_f64.powi(53),
            2_f64.powi(52) - 0.5,
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::INFINITY,
        ];
        let small = (0..2000).map(|number| 2_f64.powi(number % 120 - 60) * f64::from(number));
        for value in random.chain(halves).chain(eighths).chain(edges).chain(small) {
            let expected = if value.is_nan() {
                format!("{}nan", if value.is_sign_negative() { "-" } else { "" })
            } else {
                format!("{value:.6}")
            };
            assert_eq!(text(|out| decimal(value, out)), expected, "{value:e}");
        }
    }

    #[test]
    fn hex_floats_as_glibc_writes_them() {
        for (value, expected) in [
            (1.5, "0x1.8p+0"),
            (0.0, "0x0p+0"),
            (-0.0, "-0x0p+0"),
            (1.0, "0x1p+0"),
            (-0.1, "-0x1.999999999999ap-4"),
            (f64::MIN_POSITIVE / 2.0, "0x0.8p-1022"),
            (f64::INFINITY, "inf"),
            (1024.0, "0x1p+10"),
        ] {
            assert_eq!(text(|out| hex(value, out)), expected);
        }
    }

    #[test]
    fn extended_numbers_as_glibc_writes_them() {
        let number = |significand: u64, exponent: u16| {
            let mut bytes = [0; 10];
            bytes[..8].copy_from_slice(&significand.to_le_bytes());
            bytes[8..].copy_from_slice(&exponent.to_le_bytes());
            bytes
        };
        for (bytes, expected) in [
            (number(0, 0), "0.000000"),
            (number(1 << 63, 16383), "1.000000"),
            (number(3 << 62, 16383), "1.500000"),
            (number(3 << 62, 16383 | 0x8000), "-1.500000"),
            (number(u64::MAX, 16383 + 63), "18446744073709551615.000000"),
            (number(1 << 63, 16383 + 64), "18446744073709551616.000000"),
            (number(1 << 63, 16383 - 21), "0.000000"), // 4.77e-7
            (number(1 << 63, 16383 - 20), "0.000001"), // 9.5e-7
            (number(1 << 63, 0x7fff), "inf"),
            (number(3 << 62, 0x7fff), "nan"),
            (number(1 << 63, 0x7ffe), "0x8000000000000000p+16320"),
        ] {
            assert_eq!(text(|out| extended(bytes, out)), expected);
        }
        assert!((to_f64(number(3 << 62, 16383)) - 1.5).abs() < f64::EPSILON);
    }
}
