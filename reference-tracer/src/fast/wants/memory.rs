//! Which memory a call's values want: the same walk over types as decoding makes, without values.

use arch_abi::record::{Length, Pointer};
use arch_abi::{Place, Source};

use super::way::{At, Way, pointer_of};
use super::{Builder, Moment, Reason};
use crate::proto::{Expr, Field, Int, Length as ArrayLength, Lens, Type, TypeId, Width};
use crate::value::{GUESS_LOOK, MAX_VALUE, constant_layout};

/// The largest structure behind a pointer.
const MAX_POINTEE: u64 = 256;
/// The most bytes of one capture.
const MAX_CAPTURE: usize = Length::MOST as usize;

impl Builder<'_> {
    /// The memory of a parameter.
    pub(super) fn param_at(&mut self, index: usize, moment: Moment) -> Result<(), Reason> {
        if moment == Moment::Return && !self.returns {
            return Ok(());
        }
        let types = self.ask.types;
        let planned = &self.ask.plan.params[index];
        let Some(place) = &planned.place else {
            return Ok(());
        };
        let at = match pointer_of(place) {
            Some(pointer) => At::Word(pointer, moment),
            None => At::Inside,
        };
        let ty = planned.param.ty;
        // An array as a parameter is a pointer to its first element.
        if matches!(types.get(types.bare(ty)), Type::Array { .. }) {
            return self.pointer(ty, None, at);
        }
        self.value(ty, None, at)
    }

    /// The memory of the result.
    pub(super) fn result_memory(&mut self, place: &Place) -> Result<(), Reason> {
        let ty = self.ask.plan.prototype.ret;
        if place.by_reference {
            if place.size <= MAX_VALUE {
                let size = u16::try_from(place.size).ok();
                let size = size.filter(|size| u64::from(*size) <= MAX_POINTEE);
                let length = Length::Fixed(size.ok_or(Reason::TooLarge)?);
                let way = Way::to(Pointer::Result, Moment::Return);
                self.capture(way, length)?;
                let (offset, open) = (0, 0);
                return self.value(ty, None, At::Behind { way, offset, open });
            }
            return self.value(ty, None, At::Inside);
        }
        let is_word = matches!(place.pieces(), [piece] if piece.source == Source::Int(0) && piece.len == 8);
        let at = if is_word {
            At::Word(Pointer::Result, Moment::Return)
        } else {
            At::Inside
        };
        self.value(ty, None, at)
    }

    /// The memory that showing a value of type `ty` wants.
    fn value(&mut self, ty: TypeId, lens: Option<Lens>, at: At) -> Result<(), Reason> {
        let types = self.ask.types;
        match types.get(ty) {
            Type::Int(_) => self.int(lens, at),
            Type::Void | Type::Float(_) | Type::Complex(_) | Type::Code | Type::VaList | Type::Opaque => {
                Ok(())
            }
            Type::Pointer(of) => self.pointer(*of, lens, at),
            Type::Array { of, len } => {
                self.count_of(len, at)?;
                self.parts(*of, len, lens, at)
            }
            Type::Struct(fields) => self.members(fields, lens, at, u64::checked_add),
            Type::Union(fields) => self.members(fields, lens, at, |_, _| Some(0)),
            Type::Lens(seen, of) => self.through(*seen, *of, lens, at),
        }
    }

    /// The members of a structure or union. `next` gives where the next one may begin, by where this one does and its size.
    fn members(
        &mut self,
        fields: &[Field],
        lens: Option<Lens>,
        at: At,
        next: fn(u64, u64) -> Option<u64>,
    ) -> Result<(), Reason> {
        let types = self.ask.types;
        // Behind a member of unknown size nobody knows where the others are.
        let mut end = Some(0_u64);
        for field in fields {
            let layout = constant_layout(types, self.ask.plan, field.ty);
            let start = end
                .zip(layout)
                .and_then(|(end, layout)| end.checked_next_multiple_of(layout.align.max(1)));
            if !matches!(types.get(field.ty), Type::Lens(Lens::Hide, _)) {
                self.value(field.ty, lens, at.part(start))?;
            }
            end = start
                .zip(layout)
                .and_then(|(start, layout)| next(start, layout.size));
        }
        Ok(())
    }

    /// The elements of an array that lies at `at`, as many as are shown.
    fn parts(&mut self, of: TypeId, len: &ArrayLength, lens: Option<Lens>, at: At) -> Result<(), Reason> {
        let count = match len.count {
            Some(Expr::Num(count)) => usize::try_from(count).unwrap_or(0),
            _ => usize::MAX,
        };
        let size = constant_layout(self.ask.types, self.ask.plan, of).map(|layout| layout.size);
        let wanted = |builder: &Self| builder.call.captures.len() + builder.ret.captures.len();
        let mut before = wanted(self);
        for index in 0..count.min(self.ask.limits.array).max(1) {
            let start = size.and_then(|size| size.checked_mul(index as u64));
            self.value(of, lens, at.part(start))?;
            // One that wants no memory is like all others.
            if std::mem::replace(&mut before, wanted(self)) == before {
                break;
            }
        }
        Ok(())
    }

    fn through(&mut self, lens: Lens, of: TypeId, around: Option<Lens>, at: At) -> Result<(), Reason> {
        let types = self.ask.types;
        match lens {
            Lens::Hide => Ok(()),
            // Its family says how much of it there is, and for a result another number in memory.
            Lens::SockAddr => Err(Reason::Length),
            Lens::Str => self.string(of, around, at),
            Lens::BitVec => self.bit_vector(of, at),
            Lens::Enum(_) if matches!(types.get(types.bare(of)), Type::Int(_)) => self.value(of, None, at),
            _ => self.value(self.without_number_lenses(of), Some(lens), at),
        }
    }

    fn int(&mut self, lens: Option<Lens>, at: At) -> Result<(), Reason> {
        match (lens, at) {
            (Some(Lens::Fd), _) if self.ask.fd_paths => Err(Reason::Descriptors),
            (Some(Lens::GuessText), _) => {
                let look = u16::try_from(GUESS_LOOK).unwrap_or(u16::MAX);
                let most = self.string_bytes(1)?.max(look);
                self.capture(at.followed()?, Length::Guess { most })
            }
            _ => Ok(()),
        }
    }

    /// What lies behind a pointer to `of`.
    fn pointer(&mut self, of: TypeId, lens: Option<Lens>, at: At) -> Result<(), Reason> {
        let types = self.ask.types;
        let bare = types.get(types.bare(of));
        if matches!(bare, Type::Void | Type::Opaque | Type::VaList) {
            return Ok(());
        }
        if let Type::Array { of: element, len } = types.get(of) {
            return self.array(*element, len, lens, at);
        }
        let is_aggregate = matches!(bare, Type::Struct(_) | Type::Union(_));
        if is_aggregate && at.open() >= self.ask.limits.depth {
            return Ok(()); // it is elided
        }
        let way = at.followed()?;
        let size = constant_layout(types, self.ask.plan, of)
            .ok_or(Reason::Length)?
            .size;
        if size > MAX_VALUE {
            return Ok(()); // it is shown as a pointer
        }
        let size = u16::try_from(size)
            .ok()
            .filter(|&size| u64::from(size) <= MAX_POINTEE);
        self.capture(way, Length::Fixed(size.ok_or(Reason::TooLarge)?))?;
        let open = at.open() + usize::from(is_aggregate);
        let offset = 0;
        self.value(of, lens, At::Behind { way, offset, open })
    }

    fn array(&mut self, of: TypeId, len: &ArrayLength, lens: Option<Lens>, at: At) -> Result<(), Reason> {
        let way = at.followed()?;
        let size = constant_layout(self.ask.types, self.ask.plan, of)
            .ok_or(Reason::Length)?
            .size;
        if size == 0 || size > MAX_VALUE {
            return Ok(()); // it is shown as a pointer
        }
        let wanted = self.ask.limits.array.saturating_add(1);
        let size = usize::try_from(size).map_err(|_| Reason::TooLarge)?;
        self.elements(len, wanted, size, way)?;
        let (offset, open) = (0, at.open());
        self.parts(of, len, lens, At::Behind { way, offset, open })
    }

    fn bit_vector(&mut self, of: TypeId, at: At) -> Result<(), Reason> {
        let types = self.ask.types;
        let Type::Pointer(target) = types.get(types.bare(of)) else {
            return Ok(());
        };
        let way = at.followed()?;
        let size = constant_layout(types, self.ask.plan, *target)
            .ok_or(Reason::Length)?
            .size;
        if size > MAX_VALUE {
            return Ok(());
        }
        let size = u16::try_from(size)
            .ok()
            .filter(|&size| usize::from(size) <= MAX_CAPTURE);
        self.capture(way, Length::Fixed(size.ok_or(Reason::TooLarge)?))?;
        let (offset, open) = (0, at.open());
        self.bit_vector(*target, At::Behind { way, offset, open })
    }

    fn string(&mut self, of: TypeId, lens: Option<Lens>, at: At) -> Result<(), Reason> {
        let types = self.ask.types;
        let (inner, behind) = match types.get(types.bare(of)) {
            Type::Pointer(inner) => (*inner, Some(at)),
            _ => (of, None),
        };
        let (element, len) = match types.get(types.bare(inner)) {
            Type::Array { of, len } => (*of, len),
            _ => (inner, &ArrayLength::ZERO),
        };
        let width = match types.get(types.bare(element)) {
            Type::Int(Int {
                width: Width::Bytes(4),
                ..
            }) => 4,
            Type::Int(_) => 1,
            _ => return self.value(of, lens, at), // not a string: as what it is
        };
        match behind {
            None => self.count_of(len, at),
            Some(at) => {
                let wanted = usize::from(self.string_bytes(1)?);
                self.elements(len, wanted, width, at.followed()?)
            }
        }
    }

    /// The bytes of a string that are wanted: one character more than is shown, to see whether it goes on.
    pub(super) fn string_bytes(&self, width: usize) -> Result<u16, Reason> {
        let bytes = self
            .ask
            .limits
            .string
            .min(MAX_CAPTURE)
            .saturating_add(1)
            .saturating_mul(width);
        let bytes = u16::try_from(bytes)
            .ok()
            .filter(|&bytes| usize::from(bytes) <= MAX_CAPTURE);
        bytes.ok_or(Reason::TooLong)
    }

    /// At most `wanted` elements of `size` bytes behind a pointer.
    fn elements(&mut self, len: &ArrayLength, wanted: usize, size: usize, way: Way) -> Result<(), Reason> {
        let moment = way.moment;
        self.count_of(len, At::Word(way.pointer, moment))?;
        let constant = match len.count {
            Some(Expr::Num(count)) => usize::try_from(count).ok(),
            _ => Some(usize::MAX),
        };
        let Some(count) = constant else {
            return Ok(()); // it is shown as a pointer
        };
        let bytes = wanted.min(count).saturating_mul(size);
        let most = u16::try_from(bytes)
            .ok()
            .filter(|&most| usize::from(most) <= MAX_CAPTURE);
        let most = most.ok_or(Reason::TooLong)?;
        if most == 0 {
            return Ok(());
        }
        let counted = || {
            let count = self.simple_count(len.count.as_ref()?, moment)?;
            let element = u16::try_from(size).ok()?;
            Some(Length::Counted { count, element, most })
        };
        let length = match len.terminated {
            true if size == 1 => Length::String { most },
            // What has a zero within its count may end before its count does. More than is there does no harm: what can't
            // be read ends the capture.
            true => Length::Fixed(most),
            false => counted().unwrap_or(Length::Fixed(most)),
        };
        self.capture(way, length)
    }

    /// The outer of two lenses on a number is the one that counts.
    fn without_number_lenses(&self, mut ty: TypeId) -> TypeId {
        while let Type::Lens(lens, of) = self.ask.types.get(ty)
            && !matches!(lens, Lens::Str | Lens::BitVec | Lens::Hide)
        {
            ty = *of;
        }
        ty
    }
}
