//! From bytes to typed values.

use arch_abi::{Abi, Addr, Float, Layout, Place, Source};

use super::emit::{Emit, Shape, Value};
use super::float;
use super::frame::{Elements, Frame, align_up};
use super::number::integer;
use super::{Limits, Scratch};
use crate::memory::TargetMemory;
use crate::proto::{Field, Lens, Type, TypeId, Types};

/// The most that is looked at of one value, whatever its type says: structures within structures.
const MAX_NESTING: usize = 32;
/// The most bytes of one value by itself.
pub(crate) const MAX_VALUE: u64 = 4096;
/// The most members or elements shown in one argument.
const MAX_PARTS: usize = 1024;

/// Decodes the values of one call.
pub(super) struct Walk<'a, 'e> {
    pub(super) frame: &'a Frame<'a>,
    pub(super) limits: Limits,
    pub(super) memory: &'a dyn TargetMemory,
    pub(super) describe: &'a dyn super::Describe,
    pub(super) emit: &'e mut dyn Emit,
    pub(super) scratch: &'e mut Scratch,
    parts: usize,
    nesting: usize,
}

/// A value that lies somewhere in the scratch buffer: its first byte and its length.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) len: usize,
}

/// What is handed down to the parts of a value.
#[derive(Clone, Copy, Default)]
pub(super) struct Inherited<'a> {
    /// The lens of what is around, for parts that have none.
    pub(super) lens: Option<Lens>,
    /// The elements of the structure around.
    pub(super) elements: Option<&'a Elements>,
}

impl<'a, 'e> Walk<'a, 'e> {
    pub(super) fn new(
        decoder: &'a super::Decoder<'a>,
        frame: &'a Frame<'a>,
        emit: &'e mut dyn Emit,
        scratch: &'e mut Scratch,
    ) -> Self {
        scratch.bytes.clear();
        scratch.open.clear();
        let super::Decoder {
            limits,
            memory,
            describe,
            ..
        } = *decoder;
        Self {
            frame,
            limits,
            memory,
            describe,
            emit,
            scratch,
            parts: 0,
            nesting: 0,
        }
    }

    pub(super) fn types(&self) -> &'a Types {
        self.frame.types
    }

    pub(super) fn abi(&self) -> &'static dyn Abi {
        self.frame.plan.arch.abi()
    }

    /// The value at `place`, of type `ty`. At an entry `captured` are its registers, else the
    /// return's.
    pub(super) fn placed(&mut self, ty: TypeId, place: &Place, at_return: bool) {
        let captured = if at_return {
            self.frame.returned()
        } else {
            self.frame.call.captured()
        };
        let start = self.scratch.bytes.len();
        let is_there = place.fetch(&captured, &mut self.scratch.bytes).is_some()
            || (!at_return && self.read_stacked(place).is_some());
        if !is_there {
            self.emit.value(Value::Unknown);
            return;
        }
        let mut span = Span {
            start,
            len: self.scratch.bytes.len() - start,
        };
        if place.by_reference {
            let at = self.word(span);
            span = match self.read(Addr::new(at), place.size.min(MAX_VALUE)) {
                Some(span) => span,
                None => return self.emit.value(Value::Pointer(Addr::new(at))),
            };
        } else if matches!(place.pieces(), [piece] if matches!(piece.source, Source::X87(_))) {
            span = self.narrowed(ty, span);
        }
        span = self.padded(span, place.size);
        // An array as a parameter is a pointer to its first element.
        let decays = !at_return
            && !place.by_reference
            && matches!(self.types().get(self.types().bare(ty)), Type::Array { .. });
        if decays {
            self.pointer(ty, span, Inherited::default());
        } else {
            self.value(ty, span, Inherited::default());
        }
    }

    /// An argument on the stack that was not captured: it is read now, at the entry or at the return.
    pub(super) fn read_stacked(&mut self, place: &Place) -> Option<Span> {
        let [piece] = place.pieces() else { return None };
        let Source::Stack(offset) = piece.source else {
            return None;
        };
        self.read(self.frame.call.sp.wrapping_add(offset.into()), piece.len.into())
    }

    /// st(0) holds every floating-point type as an extended number.
    fn narrowed(&mut self, ty: TypeId, span: Span) -> Span {
        let bytes = self.bytes(span);
        let Ok(bytes) = <[u8; 10]>::try_from(bytes) else {
            return span;
        };
        let start = self.scratch.bytes.len();
        match self.types().get(self.types().bare(ty)) {
            Type::Float(Float::Double) => {
                self.scratch
                    .bytes
                    .extend_from_slice(&float::to_f64(bytes).to_le_bytes());
            }
            Type::Float(Float::Single) => {
                #[allow(
                    clippy::cast_possible_truncation,
                    reason = "the callee returned a float: it is one"
                )]
                let single = float::to_f64(bytes) as f32;
                self.scratch.bytes.extend_from_slice(&single.to_le_bytes());
            }
            _ => return span,
        }
        Span {
            start,
            len: self.scratch.bytes.len() - start,
        }
    }

    /// A value whose last bytes are padding, which no register holds: a `long double`, or what ends with one.
    fn padded(&mut self, span: Span, size: u64) -> Span {
        /// No value in registers is larger.
        const MOST: u64 = 64;
        let is_last = span.start + span.len == self.scratch.bytes.len();
        match usize::try_from(size.min(MOST)) {
            Ok(size) if size > span.len && span.len > 0 && is_last => {
                self.scratch.bytes.resize(span.start + size, 0);
                Span { len: size, ..span }
            }
            _ => span,
        }
    }

    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        self.scratch
            .bytes
            .get(span.start..span.start + span.len)
            .unwrap_or_default()
    }

    /// The value's low bytes as a word.
    pub(super) fn word(&self, span: Span) -> u64 {
        let (_, bits) = integer(
            self.bytes(Span {
                len: span.len.min(self.abi().word_size()),
                ..span
            }),
            false,
        );
        u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
    }

    /// Reads `len` bytes into the scratch buffer; all or nothing.
    pub(super) fn read(&mut self, at: Addr, len: u64) -> Option<Span> {
        let span = self.read_some(at, usize::try_from(len).ok()?);
        if span.len as u64 == len {
            return Some(span);
        }
        self.scratch.bytes.truncate(span.start);
        None
    }

    /// Reads up to `len` bytes into the scratch buffer.
    pub(super) fn read_some(&mut self, at: Addr, len: usize) -> Span {
        let start = self.scratch.bytes.len();
        self.scratch.bytes.resize(start + len, 0);
        let got = self.memory.read(at, &mut self.scratch.bytes[start..]).min(len);
        self.scratch.bytes.truncate(start + got);
        Span { start, len: got }
    }

    /// The value of type `ty` whose bytes are `span`.
    pub(super) fn value(&mut self, ty: TypeId, span: Span, inherited: Inherited<'_>) {
        self.parts += 1;
        if self.nesting == MAX_NESTING || self.parts > MAX_PARTS {
            return self.emit.value(Value::Elided);
        }
        self.nesting += 1;
        self.shown(ty, span, inherited);
        self.nesting -= 1;
    }

    fn shown(&mut self, ty: TypeId, span: Span, inherited: Inherited<'_>) {
        match self.types().get(ty) {
            Type::Void => self.emit.value(Value::Void),
            Type::Int(int) => self.int(*int, span, inherited.lens),
            Type::Float(float) => self.float(*float, span, inherited.lens),
            Type::Complex(float) => self.complex(*float, span, inherited.lens),
            Type::Pointer(of) => self.pointer(*of, span, inherited),
            Type::Code => self.code(span),
            Type::VaList | Type::Opaque => {
                let at = Addr::new(self.word(span));
                self.emit.value(Value::Pointer(at));
            }
            Type::Array { of, len } => self.array(*of, len, Contents::Inline(span), inherited),
            Type::Struct(fields) => self.aggregate(Shape::Struct, fields, span, inherited.lens),
            Type::Union(fields) => self.aggregate(Shape::Union, fields, span, inherited.lens),
            Type::Lens(lens, of) => self.through(*lens, *of, span, inherited),
        }
    }

    fn through(&mut self, lens: Lens, of: TypeId, span: Span, inherited: Inherited<'_>) {
        match lens {
            Lens::Hide => {}
            Lens::Str => self.string(of, span, inherited),
            Lens::BitVec => self.bit_vector(of, span, inherited),
            Lens::SockAddr => self.socket_address(of, span, inherited),
            Lens::Enum(names) if self.named(self.types().names(names), of, span) => {}
            // A number without a name is shown as what it is besides.
            Lens::Enum(_) if self.is_int(of) => self.value(
                of,
                span,
                Inherited {
                    lens: None,
                    ..inherited
                },
            ),
            _ => self.value(
                self.without_number_lenses(of),
                span,
                Inherited {
                    lens: Some(lens),
                    ..inherited
                },
            ),
        }
    }

    fn code(&mut self, span: Span) {
        let at = Addr::new(self.word(span));
        let mut text = std::mem::take(&mut self.scratch.text);
        text.clear();
        if at.get() != 0 && self.describe.code(at, &mut text) {
            self.emit.value(Value::Code(at, &text));
        } else {
            self.emit.value(Value::Pointer(at));
        }
        self.scratch.text = text;
    }

    fn pointer(&mut self, of: TypeId, span: Span, inherited: Inherited<'_>) {
        let at = Addr::new(self.word(span));
        let bare = self.types().bare(of);
        let number =
            at.get() == 0 || matches!(self.types().get(bare), Type::Void | Type::Opaque | Type::VaList);
        if number {
            return self.emit.value(Value::Pointer(at));
        }
        if let Type::Array { of: element, len } = self.types().get(of) {
            return self.array(*element, len, Contents::At(at), inherited);
        }
        let is_aggregate = matches!(self.types().get(bare), Type::Struct(_) | Type::Union(_));
        if is_aggregate {
            if let Some(level) = self
                .scratch
                .open
                .iter()
                .rev()
                .position(|&open| open == (at, bare))
            {
                return self.emit.value(Value::Recurse(level));
            }
            if self.scratch.open.len() >= self.limits.depth {
                return self.emit.value(Value::Elided);
            }
        }
        let size = self.pointee_size(of, at).filter(|&size| size <= MAX_VALUE);
        let Some(pointee) = size.and_then(|size| self.read(at, size)) else {
            return self.emit.value(Value::Pointer(at));
        };
        if is_aggregate {
            self.scratch.open.push((at, bare));
        }
        self.value(of, pointee, inherited);
        if is_aggregate {
            self.scratch.open.pop();
        }
        self.scratch.bytes.truncate(pointee.start);
    }

    /// The size of what lies at `at`. Where a structure's own elements tell how long it is, those are
    /// read first.
    fn pointee_size(&mut self, ty: TypeId, at: Addr) -> Option<u64> {
        if let Some(layout) = self.layout(ty) {
            return Some(layout.size);
        }
        let types = self.types();
        let Type::Struct(fields) = types.get(types.bare(ty)) else {
            return None;
        };
        let known = fields.iter().map_while(|field| self.layout(field.ty));
        let head = known.fold(0, |end: u64, layout| {
            align_up(end, layout.align).saturating_add(layout.size)
        });
        let span = self.read(at, Some(head).filter(|&head| head <= MAX_VALUE)?)?;
        let elements = self.elements(Shape::Struct, fields, span);
        self.scratch.bytes.truncate(span.start);
        Some(self.layout_in(ty, Some(&elements))?.size)
    }

    fn aggregate(&mut self, shape: Shape, fields: &'a [Field], span: Span, lens: Option<Lens>) {
        if self.nesting > self.limits.depth * 2 + 2 {
            return self.emit.value(Value::Elided);
        }
        let elements = self.elements(shape, fields, span);
        self.emit.open(shape);
        let (mut at, mut cut) = (0, false);
        for field in fields {
            let Some(layout) = self.layout_in(field.ty, Some(&elements)) else {
                cut = true; // what comes after a member of unknown size can't be found
                break;
            };
            if shape == Shape::Struct {
                at = align_up(at, layout.align);
            }
            let inside = usize::try_from(at).ok().zip(usize::try_from(layout.size).ok());
            let Some((offset, len)) = inside.filter(|(offset, len)| offset.saturating_add(*len) <= span.len)
            else {
                cut = true;
                break;
            };
            if !matches!(self.types().get(field.ty), Type::Lens(Lens::Hide, _)) {
                self.emit.part(field.name.as_deref());
                let part = Span {
                    start: span.start + offset,
                    len,
                };
                self.value(
                    field.ty,
                    part,
                    Inherited {
                        lens,
                        elements: Some(&elements),
                    },
                );
            }
            if shape == Shape::Struct {
                at += layout.size;
            }
        }
        self.emit.close(shape, cut);
    }

    /// The integers among the first members, for lengths that name them.
    fn elements(&self, shape: Shape, fields: &[Field], span: Span) -> Elements {
        let mut elements = Elements::default();
        let mut at = 0;
        for (slot, field) in elements.iter_mut().zip(fields) {
            let Some(layout) = self.layout(field.ty) else {
                break;
            };
            let offset = if shape == Shape::Struct {
                align_up(at, layout.align)
            } else {
                0
            };
            let start = span
                .start
                .saturating_add(usize::try_from(offset).unwrap_or(usize::MAX));
            if let Type::Int(int) = self.types().get(self.types().bare(field.ty)) {
                let bytes = self
                    .scratch
                    .bytes
                    .get(start..start.saturating_add(int.size(self.abi())));
                *slot = bytes.and_then(|bytes| i64::try_from(integer(bytes, int.signed).0).ok());
            }
            at = offset.saturating_add(layout.size);
        }
        elements
    }

    /// Size and alignment, where they depend on no structure around.
    pub(super) fn layout(&self, ty: TypeId) -> Option<Layout> {
        self.layout_in(ty, None)
    }

    pub(super) fn layout_in(&self, ty: TypeId, elements: Option<&Elements>) -> Option<Layout> {
        self.frame.with(elements, self.memory).layout(ty)
    }
}

/// Where the elements of an array are.
#[derive(Clone, Copy)]
pub(super) enum Contents {
    /// In the scratch buffer.
    Inline(Span),
    /// In the process.
    At(Addr),
}
