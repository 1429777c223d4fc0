//! Which memory a call's values want: the same walk over types as decoding makes, without values.

use arch_abi::{Place, Source};

use super::way::{At, Way};
use super::{Builder, Moment, Reason};
use crate::proto::{Expr, Field, Int, Length as ArrayLength, Lens, Op, Pack, Type, TypeId, Width};
use crate::value::{GUESS_LOOK, MAX_VALUE, constant_layout};
use arch_abi::record::{CallFields, Capture, Count, Length, Pointer, ReturnFields, Step, va_list};

/// The largest structure behind a pointer.
const MAX_POINTEE: u64 = 256;
/// The most bytes of one capture.
const MAX_CAPTURE: usize = Length::MOST as usize;
/// How much is captured of a format. What is longer is read later if it lies in read-only memory, as nearly all do.
const FORMAT: u16 = 256;
/// Words of the stack that are recorded for the arguments of a format.
const FORMAT_STACK: u8 = 12;
/// How many captures there are at most where some are for the arguments of a format.
const FORMAT_CAPTURES: usize = 8;
/// Of how many arguments of a `va_list` the text is captured that they may point at.
const VA_TEXTS: u8 = 8;

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

    /// The text of a format.
    pub(super) fn format(&mut self, index: usize, pack: Pack) -> Result<(), Reason> {
        match pack {
            Pack { scanf: true, .. } => return Err(Reason::Scanf),
            Pack { wide: true, .. } => return Err(Reason::WideFormat),
            Pack { .. } => {}
        }
        let plan = self.ask.plan;
        let place = plan.params[index].place.as_ref();
        let pointer = place.and_then(pointer_of).ok_or(Reason::TooManyArguments)?;
        let way = Way::to(pointer, Moment::Call);
        self.capture(way, Length::String { most: FORMAT })
    }

    /// What a format may ask for: all registers, some of the stack, and the text behind each that may be a string. It comes after all
    /// else that is captured, and takes what room there is.
    pub(super) fn format_args(&mut self) -> Result<(), Reason> {
        let rest = self.ask.plan.rest;
        let first = u8::try_from(rest.stack.saturating_sub(8) / 8).map_err(|_| Reason::TooManyArguments)?;
        self.stack_up_to(rest.stack.saturating_add(8 * u32::from(FORMAT_STACK)))?;
        self.call.ints = CallFields::INTS;
        self.call.floats = CallFields::FLOATS;
        let guess = Length::Guess {
            most: self.string_bytes(1)?,
        };
        let registers = (rest.ints..CallFields::INTS).map(Pointer::Int);
        let stacked = (first..first.saturating_add(FORMAT_STACK)).map(Pointer::Stack);
        let room = FORMAT_CAPTURES.saturating_sub(self.call.captures.len());
        for pointer in registers.chain(stacked).take(room) {
            self.capture(Way::to(pointer, Moment::Call), guess)?;
        }
        Ok(())
    }

    /// The same for a format whose arguments come by the `va_list` that parameter `index` is: what it holds, and the text behind
    /// each of the next arguments that may be a string.
    pub(super) fn va_list(&mut self, index: usize) -> Result<(), Reason> {
        let list = self.ask.plan.params.get(index);
        let place = list.and_then(|list| list.place.as_ref());
        let pointer = place.and_then(pointer_of).ok_or(Reason::VaList)?;
        let list = Way::to(pointer, Moment::Call);
        let stacked = list.then(Step::Word(va_list::STACKED))?;
        let saved = list.then(Step::Word(va_list::SAVED))?;
        self.capture(list, Length::Fixed(va_list::BYTES))?;
        self.capture(saved, Length::Fixed(va_list::SAVED_BYTES))?;
        self.capture(stacked, Length::Fixed(8 * u16::from(FORMAT_STACK)))?;
        let guess = Length::Guess {
            most: self.string_bytes(1)?,
        };
        let room = CallFields::CAPTURES.saturating_sub(self.call.captures.len());
        for number in (0..VA_TEXTS).take(room) {
            self.capture(list.then(Step::VaArg(number))?, guess)?;
        }
        Ok(())
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
    fn string_bytes(&self, width: usize) -> Result<u16, Reason> {
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

    /// A number of elements that a stub finds by itself.
    fn simple_count(&self, count: &Expr, moment: Moment) -> Option<Count> {
        match count {
            Expr::Arg(number) => {
                let planned = self.ask.plan.params.get(usize::from(*number).checked_sub(1)?)?;
                let place = planned.place.as_ref().filter(|place| !place.by_reference)?;
                let [piece] = place.pieces() else { return None };
                let Source::Int(index) = piece.source else {
                    return None;
                };
                let (bytes, signed) = self.integer(planned.param.ty)?;
                let count = Count::Int { index, bytes, signed };
                let fits =
                    moment == Moment::Call || self.remembered(None, Some(count)) <= ReturnFields::REMEMBERED;
                fits.then_some(count)
            }
            Expr::RetVal if moment == Moment::Return => {
                let place = self.ask.plan.ret.as_ref().filter(|place| !place.by_reference)?;
                let in_register = matches!(place.pieces(), [piece] if piece.source == Source::Int(0));
                let (bytes, signed) = self.integer(self.ask.plan.prototype.ret)?;
                in_register.then_some(Count::Result { bytes, signed })
            }
            // Either is enough: decoding takes the lesser.
            Expr::Binary(Op::Min, operands) => {
                let first = self.simple_count(&operands.0, moment);
                first.or_else(|| self.simple_count(&operands.1, moment))
            }
            _ => None,
        }
    }

    /// The size and sign of an integer of 4 or 8 bytes.
    fn integer(&self, ty: TypeId) -> Option<(u8, bool)> {
        let types = self.ask.types;
        let Type::Int(int) = types.get(types.bare(ty)) else {
            return None;
        };
        let size = int.size(self.ask.plan.arch.abi());
        matches!(size, 4 | 8).then_some((if size == 4 { 4 } else { 8 }, int.signed))
    }

    /// What a length reads, if it reads anything.
    fn count_of(&mut self, len: &ArrayLength, at: At) -> Result<(), Reason> {
        match &len.count {
            Some(count) => self.values_of(count, at.moments()),
            None => Ok(()),
        }
    }

    /// The memory that an expression reads: what `*argN` points at. And the registers, also of what is only counted.
    pub(super) fn values_of(&mut self, expr: &Expr, moments: &[Moment]) -> Result<(), Reason> {
        match expr {
            Expr::Arg(number) => {
                let planned = usize::from(*number)
                    .checked_sub(1)
                    .and_then(|index| self.ask.plan.params.get(index));
                match planned.and_then(|planned| planned.place.as_ref()) {
                    Some(place) => self.argument(place),
                    None => Ok(()),
                }
            }
            Expr::Deref(inner) => {
                self.values_of(inner, moments)?;
                self.deref(inner, moments)
            }
            Expr::Not(inner) => self.values_of(inner, moments),
            Expr::Binary(_, operands) => {
                self.values_of(&operands.0, moments)?;
                self.values_of(&operands.1, moments)
            }
            Expr::Num(_) | Expr::RetVal | Expr::Elt(_) | Expr::Name(_) => Ok(()),
        }
    }

    fn deref(&mut self, inner: &Expr, moments: &[Moment]) -> Result<(), Reason> {
        let types = self.ask.types;
        let Expr::Arg(number) = inner else { return Ok(()) };
        let planned = usize::from(*number)
            .checked_sub(1)
            .and_then(|index| self.ask.plan.params.get(index));
        let Some(planned) = planned else { return Ok(()) };
        let Type::Pointer(of) = types.get(types.bare(planned.param.ty)) else {
            return Ok(());
        };
        let Type::Int(int) = types.get(types.bare(*of)) else {
            return Ok(());
        };
        let pointer = planned
            .place
            .as_ref()
            .and_then(pointer_of)
            .ok_or(Reason::TooManyArguments)?;
        let size = u16::try_from(int.size(self.ask.plan.arch.abi()).min(8)).unwrap_or(8);
        for &moment in moments {
            self.capture(Way::to(pointer, moment), Length::Fixed(size))?;
        }
        Ok(())
    }

    /// Wants a piece of memory, once. What lies on the way to it must be wanted before.
    fn capture(&mut self, way: Way, length: Length) -> Result<(), Reason> {
        let Way {
            pointer,
            through,
            moment,
        } = way;
        let capture = Capture {
            pointer,
            through,
            length,
        };
        if length == Length::Fixed(0) || (moment == Moment::Return && !self.returns) {
            return Ok(());
        }
        if moment == Moment::Return && self.remembered(Some(pointer), None) > ReturnFields::REMEMBERED {
            return Err(Reason::TooManyPointers);
        }
        let (captures, most) = match moment {
            Moment::Call => (&mut self.call.captures, CallFields::CAPTURES),
            Moment::Return => (&mut self.ret.captures, ReturnFields::CAPTURES),
        };
        if captures.iter().any(|known| covers(known, &capture)) {
            return Ok(());
        }
        // What takes another's place is found before all that lies behind it, as that was.
        let place = captures.iter().position(|known| covers(&capture, known));
        captures.retain(|known| !covers(&capture, known));
        captures.insert(place.unwrap_or(captures.len()), capture);
        if captures.len() > most {
            return Err(Reason::TooManyPointers);
        }
        Ok(())
    }

    /// How many words of the call the return needs, with one more pointer or count.
    fn remembered(&self, pointer: Option<Pointer>, count: Option<Count>) -> usize {
        let counts = self
            .ret
            .captures
            .iter()
            .filter_map(|capture| match capture.length {
                Length::Counted { count, .. } => Some(count),
                _ => None,
            });
        let counts = counts.chain(count).filter_map(|count| match count {
            Count::Int { index, .. } => Some(Pointer::Int(index)),
            Count::Result { .. } => None,
        });
        let pointers = self
            .ret
            .captures
            .iter()
            .map(|capture| capture.pointer)
            .chain(pointer);
        let mut words: Vec<Pointer> = Vec::new();
        for word in pointers
            .filter(|pointer| *pointer != Pointer::Result)
            .chain(counts)
        {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words.len()
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

/// Whether what one captures is there when the other is captured.
fn covers(has: &Capture, wants: &Capture) -> bool {
    let enough = match (has.length, wants.length) {
        (Length::Fixed(has), Length::Fixed(wants))
        | (Length::String { most: has }, Length::String { most: wants }) => has >= wants,
        (has, wants) => has == wants,
    };
    has.pointer == wants.pointer && has.through == wants.through && enough
}

/// The word that a pointer argument is.
fn pointer_of(place: &Place) -> Option<Pointer> {
    let [piece] = place.pieces() else { return None };
    if piece.len != 8 || place.by_reference {
        return None;
    }
    match piece.source {
        Source::Int(index) => Some(Pointer::Int(index)),
        Source::Stack(offset) if offset >= 8 && offset % 8 == 0 => {
            u8::try_from((offset - 8) / 8).ok().map(Pointer::Stack)
        }
        _ => None,
    }
}
