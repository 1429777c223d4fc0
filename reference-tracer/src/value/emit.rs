//! Typed values, one after the other, and their form in ltrace's text.

use std::io::Write;

use arch_abi::Addr;

/// The base in which an integer is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Base {
    /// Base 10.
    #[default]
    Dec,
    /// Base 2.
    Bin,
    /// Base 8.
    Oct,
    /// Base 16.
    Hex,
}

/// A value without parts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// No value: the result of a `void` function.
    Void,
    /// An integer. `bits` holds it as the machine does, `value` as a number.
    Int {
        /// The number.
        value: i128,
        /// The number's bits, zero-extended.
        bits: u128,
        /// How it is shown.
        base: Base,
    },
    /// An integer of a function whose prototype is not known.
    Guess(i64, u64),
    /// A character of one byte.
    Byte(u8),
    /// A wide character.
    Char(u32),
    /// A truth value.
    Bool(bool),
    /// A floating-point number.
    Float(f64),
    /// A floating-point number, shown as C's `%a`.
    HexFloat(f64),
    /// An x87 extended number, its ten bytes.
    LongDouble([u8; 10]),
    /// A pointer; zero is the null pointer.
    Pointer(Addr),
    /// A pointer to code, by name.
    Code(Addr, &'a [u8]),
    /// A number and the names that it has: an enumeration, flags, an errno.
    Named(u64, &'a [u8]),
    /// A file descriptor and what it refers to.
    Fd(i64, &'a [u8]),
    /// The bytes of a string, and whether there is more of it.
    Str(&'a [u8], bool),
    /// The characters of a wide string, and whether there is more of it.
    WideStr(&'a [u8], bool),
    /// Bits, the lowest of the first byte being number 0.
    BitVec(&'a [u8]),
    /// A pointer to a structure that is being shown, so many levels up.
    Recurse(usize),
    /// What is left out, because it lies too deep.
    Elided,
    /// A value that was not captured.
    Unknown,
}

/// What has parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A structure.
    Struct,
    /// A union.
    Union,
    /// An array.
    Array,
    /// A complex number: real and imaginary part.
    Complex,
}

/// What decoded values go to. A structured output implements it as the text does.
pub trait Emit {
    /// A value without parts.
    fn value(&mut self, value: Value<'_>);
    /// The next argument follows.
    fn separator(&mut self);
    /// A value with parts begins.
    fn open(&mut self, shape: Shape);
    /// A part follows. Between [`open`](Self::open) and [`close`](Self::close), before each part.
    fn part(&mut self, name: Option<&str>);
    /// The value with parts ends. `cut`: it has more parts.
    fn close(&mut self, shape: Shape, cut: bool);
}

/// ltrace's text.
#[derive(Debug)]
pub(super) struct Text<'o> {
    pub(super) out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Text<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, first: true }
    }

    fn put(&mut self, args: std::fmt::Arguments<'_>) {
        // Writing to a Vec does not fail.
        let _ = self.out.write_fmt(args);
    }

    fn int(&mut self, value: i128, bits: u128, base: Base) {
        match base {
            _ if value == 0 => self.put(format_args!("0")),
            Base::Dec => self.put(format_args!("{value}")),
            Base::Bin => self.put(format_args!("{bits:#b}")),
            Base::Oct => self.put(format_args!("0{bits:o}")),
            Base::Hex => self.put(format_args!("{bits:#x}")),
        }
    }
}

impl Emit for Text<'_> {
    fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Void => self.put(format_args!("<void>")),
            Value::Int { value, bits, base } => self.int(value, bits, base),
            Value::Guess(value, _) if (-10000..=10000).contains(&value) => self.put(format_args!("{value}")),
            Value::Guess(_, bits) => self.put(format_args!("{bits:#x}")),
            Value::Char(character) => super::write_char(character, self.out),
            Value::Byte(byte) => super::write_byte(byte, self.out),
            Value::Bool(value) => self.put(format_args!("{value}")),
            Value::Float(value) => super::float::decimal(value, self.out),
            Value::HexFloat(value) => super::float::hex(value, self.out),
            Value::LongDouble(bytes) => super::float::extended(bytes, self.out),
            Value::Pointer(at) if at.get() == 0 => self.put(format_args!("nil")),
            Value::Pointer(at) => self.put(format_args!("{at}")),
            Value::Code(_, name) => super::escape::plain(name, self.out),
            Value::Named(_, name) => self.out.extend_from_slice(name),
            Value::Fd(fd, path) => {
                self.put(format_args!("{fd}<"));
                super::escape::plain(path, self.out);
                self.out.push(b'>');
            }
            Value::Str(bytes, cut) => {
                self.out.push(b'"');
                super::escape::bytes(bytes, cut, self.out);
                self.out.extend_from_slice(if cut { b"\"..." } else { b"\"" });
            }
            Value::WideStr(bytes, cut) => {
                self.out.push(b'"');
                super::escape::wide(bytes, self.out);
                self.out.extend_from_slice(if cut { b"\"..." } else { b"\"" });
            }
            Value::BitVec(bytes) => super::bits::write(bytes, self.out),
            Value::Recurse(levels) => {
                self.put(format_args!("recurse"));
                self.out.resize(self.out.len() + levels, b'^');
            }
            Value::Elided => self.put(format_args!("...")),
            Value::Unknown => self.put(format_args!("?")),
        }
    }

    fn separator(&mut self) {
        self.out.extend_from_slice(b", ");
    }

    fn open(&mut self, shape: Shape) {
        self.first = true;
        self.out.extend_from_slice(match shape {
            Shape::Struct | Shape::Union => b"{ ",
            Shape::Array => b"[ ",
            Shape::Complex => b"",
        });
    }

    fn part(&mut self, _name: Option<&str>) {
        if !std::mem::take(&mut self.first) {
            self.out.extend_from_slice(b", ");
        }
    }

    fn close(&mut self, shape: Shape, cut: bool) {
        if cut {
            self.out.extend_from_slice(b"...");
        }
        self.first = false;
        self.out.extend_from_slice(match shape {
            Shape::Struct | Shape::Union => b" }",
            Shape::Array => b" ]",
            Shape::Complex => b"",
        });
    }
}
