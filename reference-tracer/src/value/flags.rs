//! Sets of flags by name.

use std::io::Write;

use crate::proto::Names;

/// Appends the names of `bits`, joined by `|`. `mask`: the bits that the type has.
pub(crate) fn write(names: &Names, bits: u64, mask: u64, out: &mut Vec<u8>) {
    let mut left = bits;
    let mut first = true;
    let mut put = |text: std::fmt::Arguments<'_>| {
        if !std::mem::take(&mut first) {
            out.push(b'|');
        }
        let _ = out.write_fmt(text); // writing to a Vec does not fail
    };
    for group in &names.groups {
        let field = bits & group.mask;
        left &= !group.mask;
        match group.names.iter().find(|(value, _)| *value & mask == field) {
            Some((_, name)) => put(format_args!("{name}")),
            None if field != 0 => put(format_args!("{field:#x}")),
            None => {}
        }
    }
    for (value, name) in &names.flags {
        let value = value & mask;
        if value != 0 && left & value == value {
            left &= !value;
            put(format_args!("{name}"));
        }
    }
    if left != 0 {
        put(format_args!("{left:#x}"));
    }
    if first {
        let zero = names.flags.iter().find(|(value, _)| *value == 0);
        out.extend_from_slice(zero.map_or(b"0".as_slice(), |(_, name)| name.as_bytes()));
    }
}
