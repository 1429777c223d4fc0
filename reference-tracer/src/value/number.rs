//! Numbers: integers, floating-point numbers and what they may mean.

use arch_abi::Float;

use super::decode::{Span, Walk};
use super::emit::{Base, Shape, Value};
use super::float;
use crate::proto::{Int, Lens, Names, Type, TypeId};

impl Walk<'_, '_> {
    pub(super) fn int(&mut self, int: Int, span: Span, lens: Option<Lens>) {
        let (value, bits) = integer(self.bytes(span), int.signed);
        let plain = |base| Value::Int { value, bits, base };
        let number = |value: i128| i64::try_from(value).unwrap_or_default();
        let value = match lens {
            Some(Lens::Bin) => plain(Base::Bin),
            Some(Lens::Oct) => plain(Base::Oct),
            Some(Lens::Hex) => plain(Base::Hex),
            Some(Lens::Bool) => Value::Bool(bits != 0),
            Some(Lens::GuessText) if self.guessed_text(span) => return,
            Some(Lens::Guess | Lens::GuessText) => {
                Value::Guess(number(value), u64::try_from(bits).unwrap_or(u64::MAX))
            }
            Some(Lens::Enum(names)) => {
                if self.named_bits(self.types().names(names), bits, span) {
                    return;
                }
                plain(Base::Dec)
            }
            Some(Lens::Flags(names)) => return self.flags(self.types().names(names), bits, span),
            Some(Lens::Fd) => return self.fd(number(value), plain(Base::Dec)),
            Some(Lens::Errno) => return self.errno(number(value), plain(Base::Dec)),
            _ if int.character && span.len == 1 => {
                Value::Byte(self.bytes(span).first().copied().unwrap_or(0))
            }
            _ if int.character => Value::Char(u32::try_from(bits & 0xffff_ffff).unwrap_or(0)),
            _ => plain(Base::Dec),
        };
        self.emit.value(value);
    }

    pub(super) fn is_int(&self, ty: TypeId) -> bool {
        matches!(self.types().get(self.types().bare(ty)), Type::Int(_))
    }

    /// The outer of two lenses on a number is the one that counts.
    pub(super) fn without_number_lenses(&self, mut ty: TypeId) -> TypeId {
        while let Type::Lens(lens, of) = self.types().get(ty)
            && !matches!(lens, Lens::Str | Lens::BitVec | Lens::SockAddr | Lens::Hide)
        {
            ty = *of;
        }
        ty
    }

    /// Shows a number's name; `false`: it has none, and nothing was shown.
    pub(super) fn named(&mut self, names: &Names, ty: TypeId, span: Span) -> bool {
        if !self.is_int(ty) && *self.types().get(self.types().bare(ty)) != Type::Code {
            return false;
        }
        let (_, bits) = integer(self.bytes(span), false);
        self.named_bits(names, bits, span)
    }

    fn named_bits(&mut self, names: &Names, bits: u128, span: Span) -> bool {
        let (mask, bits) = (mask_of(span.len), low(bits));
        let found = names
            .groups
            .iter()
            .flat_map(|group| &group.names)
            .find(|(value, _)| value & mask == bits);
        if let Some((_, name)) = found {
            self.emit.value(Value::Named(bits, name.as_bytes()));
        }
        found.is_some()
    }

    fn flags(&mut self, names: &Names, bits: u128, span: Span) {
        let bits = low(bits);
        let mut text = std::mem::take(&mut self.scratch.text);
        text.clear();
        super::flags::write(names, bits, mask_of(span.len), &mut text);
        self.emit.value(Value::Named(bits, &text));
        self.scratch.text = text;
    }

    fn fd(&mut self, value: i64, plain: Value<'_>) {
        let mut text = std::mem::take(&mut self.scratch.text);
        text.clear();
        let tid = self.frame.call.tid;
        match i32::try_from(value) {
            Ok(fd) if fd >= 0 && self.describe.fd(tid, fd, &mut text) => {
                self.emit.value(Value::Fd(value, &text));
            }
            _ => self.emit.value(plain),
        }
        self.scratch.text = text;
    }

    fn errno(&mut self, value: i64, plain: Value<'_>) {
        let name = i32::try_from(value)
            .ok()
            .filter(|&value| value != 0)
            .and_then(super::errno::name);
        match name {
            Some(name) => self
                .emit
                .value(Value::Named(value.cast_unsigned(), name.as_bytes())),
            None => self.emit.value(plain),
        }
    }

    pub(super) fn float(&mut self, float: Float, span: Span, lens: Option<Lens>) {
        let bytes = self.bytes(span);
        let value = match float {
            Float::Single => bytes
                .try_into()
                .ok()
                .map(|bytes| f64::from(f32::from_le_bytes(bytes))),
            Float::Double => bytes.try_into().ok().map(f64::from_le_bytes),
            Float::Long => {
                let Some(Ok(bytes)) = bytes.get(..10).map(<[u8; 10]>::try_from) else {
                    return self.emit.value(Value::Unknown);
                };
                if lens != Some(Lens::Hex) {
                    return self.emit.value(Value::LongDouble(bytes));
                }
                Some(float::to_f64(bytes))
            }
        };
        self.emit.value(match (value, lens) {
            (None, _) => Value::Unknown,
            (Some(value), Some(Lens::Hex)) => Value::HexFloat(value),
            (Some(value), _) => Value::Float(value),
        });
    }

    pub(super) fn complex(&mut self, float: Float, span: Span, lens: Option<Lens>) {
        let half = span.len / 2;
        self.emit.open(Shape::Struct);
        for start in [span.start, span.start + half] {
            self.emit.part(None);
            self.float(float, Span { start, len: half }, lens);
        }
        self.emit.close(Shape::Struct, false);
    }
}

/// Little-endian bytes as a number and as bits. Bytes past the sixteenth are left out.
pub(super) fn integer(bytes: &[u8], signed: bool) -> (i128, u128) {
    let len = bytes.len().min(16);
    let mut buffer = [0; 16];
    buffer[..len].copy_from_slice(&bytes[..len]);
    let bits = u128::from_le_bytes(buffer);
    if !signed || len == 0 {
        return (bits.cast_signed(), bits);
    }
    let shift = 128 - len * 8;
    ((bits << shift).cast_signed() >> shift, bits)
}

fn mask_of(len: usize) -> u64 {
    if len >= 8 { u64::MAX } else { (1 << (len * 8)) - 1 }
}

fn low(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
}
