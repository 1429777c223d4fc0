//! From bytes to typed values.

use arch_abi::{Abi, Addr, Float, Layout, Place, Source};

use super::emit::{Base, Emit, Shape, Value};
use super::float;
use super::frame::{Elements, Frame, align_up};
use super::{Limits, Scratch};
use crate::memory::TargetMemory;
use crate::proto::{Field, Int, Length, Lens, Names, Type, TypeId, Types, Width};

/// The most that is looked at of one value, whatever its type says: structures within structures.
const MAX_NESTING: usize = 32;
/// The most bytes of one value by itself.
pub(super) const MAX_VALUE: u64 = 4096;
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
        if place.fetch(&captured, &mut self.scratch.bytes).is_none() && !self.read_stacked(place, at_return) {
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

    /// Arguments on the stack that were not captured are read now, at the entry or at the return.
    fn read_stacked(&mut self, place: &Place, at_return: bool) -> bool {
        let [piece] = place.pieces() else { return false };
        let (Source::Stack(offset), false) = (piece.source, at_return) else {
            return false;
        };
        self.read(self.frame.call.sp.wrapping_add(offset.into()), piece.len.into())
            .is_some()
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

    /// A value whose last bytes are padding, which no register holds: a structure that ends with a `long double`.
    fn padded(&mut self, span: Span, size: u64) -> Span {
        let is_last = span.start + span.len == self.scratch.bytes.len();
        match usize::try_from(size.min(16)) {
            Ok(size) if size > span.len && is_last && span.len == 10 => {
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

    fn int(&mut self, int: Int, span: Span, lens: Option<Lens>) {
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

    fn is_int(&self, ty: TypeId) -> bool {
        matches!(self.types().get(self.types().bare(ty)), Type::Int(_))
    }

    /// The outer of two lenses on a number is the one that counts.
    fn without_number_lenses(&self, mut ty: TypeId) -> TypeId {
        while let Type::Lens(lens, of) = self.types().get(ty)
            && !matches!(lens, Lens::Str | Lens::BitVec | Lens::Hide)
        {
            ty = *of;
        }
        ty
    }

    /// Shows a number's name; `false`: it has none, and nothing was shown.
    fn named(&mut self, names: &Names, ty: TypeId, span: Span) -> bool {
        if !self.is_int(ty) {
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

    fn float(&mut self, float: Float, span: Span, lens: Option<Lens>) {
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

    fn complex(&mut self, float: Float, span: Span, lens: Option<Lens>) {
        let half = span.len / 2;
        self.emit.open(Shape::Struct);
        for start in [span.start, span.start + half] {
            self.emit.part(None);
            self.float(float, Span { start, len: half }, lens);
        }
        self.emit.close(Shape::Struct, false);
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

    fn array(&mut self, of: TypeId, len: &Length, contents: Contents, inherited: Inherited<'_>) {
        let Some(size) = self
            .layout(of)
            .map(|layout| layout.size)
            .filter(|&size| size > 0 && size <= MAX_VALUE)
        else {
            return self.unreadable(contents);
        };
        let Some(count) = self.count(len, inherited.elements) else {
            return self.unreadable(contents);
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // One element more is looked at, to see whether the array goes on.
        let wanted = count.min(self.limits.array.saturating_add(1));
        let span = match contents {
            Contents::Inline(span) => Span {
                len: span.len.min(wanted.saturating_mul(size)),
                ..span
            },
            Contents::At(at) => self.read_some(at, wanted.saturating_mul(size).min(64 * 1024)),
        };
        let mut whole = span.len / size;
        if whole == 0 && count > 0 && wanted > 0 && matches!(contents, Contents::At(_)) {
            return self.unreadable(contents);
        }
        let element = |index: usize| Span {
            start: span.start + index * size,
            len: size,
        };
        let mut ended = whole == count;
        if len.terminated
            && let Some(end) =
                (0..whole).find(|&index| self.bytes(element(index)).iter().all(|&byte| byte == 0))
        {
            (whole, ended) = (end, true);
        }
        let shown = whole.min(self.limits.array);
        self.emit.open(Shape::Array);
        for index in 0..shown {
            self.emit.part(None);
            self.value(of, element(index), inherited);
        }
        self.emit.close(Shape::Array, !(ended && shown == whole));
    }

    fn unreadable(&mut self, contents: Contents) {
        match contents {
            Contents::At(at) => self.emit.value(Value::Pointer(at)),
            Contents::Inline(_) => self.emit.value(Value::Elided),
        }
    }

    /// The most elements that a length allows; `None` where it has no value.
    pub(super) fn count(&self, len: &Length, elements: Option<&Elements>) -> Option<usize> {
        self.frame.with(elements, self.memory).count(len)
    }

    fn bit_vector(&mut self, of: TypeId, span: Span, inherited: Inherited<'_>) {
        let bare = self.types().bare(of);
        let Type::Pointer(target) = self.types().get(bare) else {
            // One copy: the emitter borrows this while the walk is borrowed too.
            let mut text = std::mem::take(&mut self.scratch.text);
            text.clear();
            text.extend_from_slice(self.bytes(span));
            self.emit.value(Value::BitVec(&text));
            self.scratch.text = text;
            return;
        };
        let at = Addr::new(self.word(span));
        let size = self
            .layout_in(*target, inherited.elements)
            .map(|layout| layout.size);
        let target_span = size
            .filter(|&size| at.get() != 0 && size <= MAX_VALUE)
            .and_then(|size| self.read(at, size));
        match target_span {
            Some(read) => self.bit_vector(*target, read, inherited),
            None => self.emit.value(Value::Pointer(at)),
        }
    }

    /// Size and alignment, where they depend on no structure around.
    pub(super) fn layout(&self, ty: TypeId) -> Option<Layout> {
        self.layout_in(ty, None)
    }

    fn layout_in(&self, ty: TypeId, elements: Option<&Elements>) -> Option<Layout> {
        self.frame.with(elements, self.memory).layout(ty)
    }

    /// The value of a pointer, an array of characters or a pointer to one, as text.
    fn string(&mut self, of: TypeId, span: Span, inherited: Inherited<'_>) {
        let (inner, contents) = match self.types().get(self.types().bare(of)) {
            Type::Pointer(inner) => (*inner, Contents::At(Addr::new(self.word(span)))),
            _ => (of, Contents::Inline(span)),
        };
        if let Contents::At(at) = contents
            && at.get() == 0
        {
            return self.emit.value(Value::Pointer(at));
        }
        let (element, len) = match self.types().get(self.types().bare(inner)) {
            Type::Array { of, len } => (*of, len),
            _ => (inner, &Length::ZERO),
        };
        let width = match self.types().get(self.types().bare(element)) {
            Type::Int(Int {
                width: Width::Bytes(4),
                ..
            }) => 4,
            Type::Int(_) => 1,
            _ => return self.value(of, span, inherited), // not a string: as what it is
        };
        match self.count(len, inherited.elements) {
            Some(count) => self.text(contents, width, count, len.terminated),
            None => self.unreadable(contents),
        }
    }

    /// A string of at most `count` characters of `width` bytes.
    pub(super) fn text(&mut self, contents: Contents, width: usize, count: usize, terminated: bool) {
        let limit = self.limits.string.min(16 * 1024);
        let wanted = count.min(limit.saturating_add(1)).saturating_mul(width);
        let span = match contents {
            Contents::Inline(span) => Span {
                len: span.len.min(wanted),
                ..span
            },
            Contents::At(at) => self.read_string(at, wanted, width, terminated),
        };
        let mut whole = span.len / width;
        if whole == 0 && wanted > 0 && matches!(contents, Contents::At(_)) {
            return self.unreadable(contents);
        }
        let mut ended = whole.saturating_mul(width) == wanted && whole == count;
        let character = |index: usize| Span {
            start: span.start + index * width,
            len: width,
        };
        if terminated
            && let Some(end) =
                (0..whole).find(|&index| self.bytes(character(index)).iter().all(|&byte| byte == 0))
        {
            (whole, ended) = (end, true);
        }
        let shown = whole.min(limit);
        let cut = !(ended && shown == whole);
        let bytes = &self.scratch.bytes[span.start..span.start + shown * width];
        self.emit.value(if width == 1 {
            Value::Str(bytes, cut)
        } else {
            Value::WideStr(bytes, cut)
        });
    }

    /// Reads a string page by page, so that it is not read past its end into a page that is not
    /// there.
    fn read_string(&mut self, at: Addr, wanted: usize, width: usize, terminated: bool) -> Span {
        let start = self.scratch.bytes.len();
        let mut len = 0;
        while len < wanted {
            let next = at.wrapping_add(len as u64);
            let step = (wanted - len).min(super::capture::to_page_end(next));
            let got = self.read_some(next, step);
            len += got.len;
            let ended = terminated && width == 1 && self.bytes(got).contains(&0);
            if got.len < step || ended {
                break;
            }
        }
        Span { start, len }
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
