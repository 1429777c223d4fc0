//! The bit vector lens: `<1,3-5>`, and `~<0>` where more bits are set than not.

use std::io::Write;

/// Appends the numbers of the bits that are set; the lowest of the first byte is number 0.
pub(super) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    let set: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
    let inverse = set as usize > bytes.len() * 4;
    let is_shown = |bit: usize| (bytes[bit / 8] >> (bit % 8) & 1 == 1) != inverse;
    out.extend_from_slice(if inverse { b"~<" } else { b"<" });
    let (mut bit, end, mut first) = (0, bytes.len() * 8, true);
    while bit < end {
        if !is_shown(bit) {
            bit += 1;
            continue;
        }
        let start = bit;
        while bit < end && is_shown(bit) {
            bit += 1;
        }
        let comma = if std::mem::take(&mut first) { "" } else { "," };
        // Writing to a Vec does not fail.
        let _ = match bit - start {
            1 => write!(out, "{comma}{start}"),
            _ => write!(out, "{comma}{start}-{}", bit - 1),
        };
    }
    out.push(b'>');
}

#[cfg(test)]
mod tests {
    #[test]
    fn bit_vectors_as_the_manual_shows_them() {
        // ltrace.conf(5), LENSES.
        for (bytes, expected) in [
            (&[0b1011_1000][..], "<3-5,7>"),
            (&[0, 0, 0, 0], "<>"),
            (&[0xfe, 0xff, 0xff, 0xff], "~<0>"),
            (&[0xff; 4], "~<>"),
            (&[2, 1], "<1,8>"),
            (&[0b11, 0], "<0-1>"),
            (&[], "<>"),
        ] {
            let mut out = Vec::new();
            super::write(bytes, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
