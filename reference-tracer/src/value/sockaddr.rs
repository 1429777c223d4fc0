//! Socket addresses: the family says what the other bytes are.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use arch_abi::Addr;

use super::decode::{Contents, Inherited, Span, Walk};
use super::emit::{Base, Shape, Value};
use crate::proto::{Type, TypeId};

/// The most bytes that the kernel takes (`struct sockaddr_storage`).
pub(super) const MAX_LEN: usize = 128;

/// Address families (`bits/socket.h`).
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const FAMILIES: [(u16, &[u8]); 9] = [
    (0, b"AF_UNSPEC"),
    (AF_UNIX, b"AF_UNIX"),
    (AF_INET, b"AF_INET"),
    (AF_INET6, b"AF_INET6"),
    (16, b"AF_NETLINK"),
    (17, b"AF_PACKET"),
    (31, b"AF_BLUETOOTH"),
    (38, b"AF_ALG"),
    (40, b"AF_VSOCK"),
];

impl Walk<'_, '_> {
    /// What a pointer to an array of bytes, whose length is that of the address, points at.
    pub(super) fn socket_address(&mut self, of: TypeId, span: Span, inherited: Inherited<'_>) {
        let at = Addr::new(self.word(span));
        let Type::Pointer(target) = self.types().get(self.types().bare(of)) else {
            return self.value(of, span, inherited);
        };
        let Type::Array { len, .. } = self.types().get(*target) else {
            return self.value(of, span, inherited);
        };
        let count = self.count(len, inherited.elements).unwrap_or(0).min(MAX_LEN);
        if at.get() == 0 || count == 0 {
            return self.emit.value(Value::Pointer(at));
        }
        let read = self.read_some(at, count);
        if read.len < count {
            return self.unreadable(Contents::At(at));
        }
        // One copy: the emitter borrows this while the walk is borrowed too.
        let mut bytes = [0; MAX_LEN];
        bytes[..count].copy_from_slice(self.bytes(read));
        self.scratch.bytes.truncate(read.start);
        self.emit.open(Shape::Struct);
        self.address_parts(&bytes[..count]);
        self.emit.close(Shape::Struct, false);
    }

    fn address_parts(&mut self, bytes: &[u8]) {
        let Some((family, rest)) = bytes.split_first_chunk() else {
            return self.part(Value::Str(bytes, false));
        };
        let family = u16::from_ne_bytes(*family);
        let name = FAMILIES.iter().find(|(number, _)| *number == family);
        self.part(match name {
            Some((number, name)) => Value::Named((*number).into(), name),
            None => int(family.into()),
        });
        match (family, rest) {
            // sockaddr_in: port and address in network order, and padding.
            (AF_INET, [high, low, rest @ ..]) if let Some(octets) = rest.first_chunk::<4>() => {
                let address = Ipv4Addr::from(*octets);
                self.address(address.to_bits().into(), format_args!("{address}"));
                self.part(int(u16::from_be_bytes([*high, *low]).into()));
            }
            // sockaddr_in6: port, flow, address.
            (AF_INET6, [high, low, _, _, _, _, rest @ ..]) if let Some(octets) = rest.first_chunk::<16>() => {
                self.address(0, format_args!("{}", Ipv6Addr::from(*octets)));
                self.part(int(u16::from_be_bytes([*high, *low]).into()));
            }
            // unix(7): a path ends at a NUL; an abstract name begins with one, and all bytes count.
            (AF_UNIX, [first, ..]) if *first != 0 => {
                let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
                self.part(Value::Str(&rest[..end], false));
            }
            (_, []) => {}
            _ => self.part(Value::Str(rest, false)),
        }
    }

    fn part(&mut self, value: Value<'_>) {
        self.emit.part(None);
        self.emit.value(value);
    }

    /// An address in its own notation.
    fn address(&mut self, number: u64, text: std::fmt::Arguments<'_>) {
        let mut shown = std::mem::take(&mut self.scratch.text);
        shown.clear();
        // Writing to a Vec does not fail.
        let _: std::io::Result<()> = shown.write_fmt(text);
        self.part(Value::Named(number, &shown));
        self.scratch.text = shown;
    }
}

fn int(value: u128) -> Value<'static> {
    Value::Int {
        value: i128::try_from(value).unwrap_or(0),
        bits: value,
        base: Base::Dec,
    }
}
