//! From a plan to how its calls are shown at once.

use arch_abi::record::{Capture, Length, Pointer, Through};
use arch_abi::{Float, Place, Source as Register};

use super::failure::{Failure, Sign};
use super::how::How;
use super::records::{Memory, Number, Numbers, When, Word, mask};
use super::show::{Count, Show, Shown, Source, Value};
use super::{Quick, Verdict};
use crate::fast::wants::{Ask, Wants};
use crate::proto::{
    Direction, Expr, Failure as Fails, Int, Length as ArrayLength, Lens, NamesId, PlannedParam, Type, TypeId,
    Types, Width,
};
use crate::text::{CallName, MAX_ALIGN, Name, TextOptions};
use crate::value::{constant_layout, first_at_return};

/// See [`Quick::of`].
pub(super) fn quick(
    ask: &Ask<'_>,
    wants: &Wants,
    name: CallName<'_>,
    options: &TextOptions,
) -> Option<Quick> {
    if !ask.lines || options.color || wants.recording.ret.is_none() {
        return None;
    }
    let builder = Builder { ask, wants };
    let numbers = builder.numbers()?;
    let mut text = Vec::new();
    name.write(&mut text);
    text.push(b'(');
    // Its last character is one byte, or is not cut in two.
    let (name, opening) = text
        .split_last_chunk()
        .filter(|(_, opening): &(&[u8], &[u8; 2])| opening.is_ascii())?;
    Some(Quick {
        name: Name::new(name),
        opening: u16::from_le_bytes(*opening),
        args: builder.params()?,
        result: Value::new(Shown {
            show: builder.result()?,
            when: None,
            filled: None,
            late: None,
        }),
        failure: builder.failure()?,
        numbers,
        limit: ask.limits.string,
        columns: options.align.saturating_sub(1).min(MAX_ALIGN),
        duration: options.duration,
    })
}

/// See [`Verdict::of`].
pub(super) fn verdict(ask: &Ask<'_>, wants: &Wants) -> Option<Verdict> {
    let builder = Builder { ask, wants };
    Some(Verdict {
        failure: builder.failure()?,
        numbers: builder.numbers()?,
    })
}

struct Builder<'a> {
    ask: &'a Ask<'a>,
    wants: &'a Wants,
}

/// Where a value is that is looked at.
#[derive(Clone, Copy)]
struct At {
    source: Source,
    size: u8,
}

impl Builder<'_> {
    fn types(&self) -> &Types {
        self.ask.types
    }

    /// The parameters that are shown. `None`: one is not simple.
    fn params(&self) -> Option<Box<[Value]>> {
        let params = &self.ask.plan.params;
        let is_shown = |index: &usize| {
            !matches!(
                self.types().get(params[*index].param.ty),
                Type::Lens(Lens::Hide, _)
            )
        };
        let shown = (0..params.len()).filter(is_shown);
        shown.map(|index| self.param(index).map(Value::new)).collect()
    }

    /// `None`: it is not simple.
    fn param(&self, index: usize) -> Option<Shown> {
        let PlannedParam { param, place } = &self.ask.plan.params[index];
        if param.direction == Direction::InOut || param.pack.is_some() {
            return None;
        }
        // An entry does not know the result.
        if param
            .when
            .as_ref()
            .is_some_and(|when| reads_memory(when) || when.uses_retval())
        {
            return None;
        }
        let at = self.argument(place.as_ref()?)?;
        let Source::Word(word) = at.source else {
            return None;
        };
        let bare = self.types().get(self.types().bare(param.ty));
        if matches!(bare, Type::Array { .. }) {
            return None;
        }
        let at_return = param.direction == Direction::Out || self.types().mentions_retval(param.ty);
        let when = if at_return { When::Return } else { When::Call };
        let is_late = index >= first_at_return(self.types(), self.ask.plan) && !at_return;
        let show = self.value(param.ty, None, at, when)?;
        let follows = !matches!(
            show,
            Show::Bits {
                from: Source::Word(_),
                ..
            } | Show::Void
        );
        let filled = param.direction == Direction::Out && matches!(bare, Type::Pointer(_));
        Some(Shown {
            show,
            when: param.when.clone(),
            filled: filled.then_some(word),
            late: (is_late && follows).then_some(word),
        })
    }

    /// The one word that an argument is, or part of one.
    fn argument(&self, place: &Place) -> Option<At> {
        let [piece] = place.pieces() else { return None };
        let fields = &self.wants.recording.call;
        let (index, float) = match piece.source {
            Register::Int(index) => (index, false),
            Register::Vector(index) => (index, true),
            Register::Stack(offset) if offset >= 8 && offset % 8 == 0 => (
                fields.ints.checked_add(u8::try_from(offset / 8 - 1).ok()?)?,
                false,
            ),
            _ => return None,
        };
        let word = Word {
            when: When::Call,
            index,
            float,
        };
        sized(place, piece.len, word)
    }

    fn returned(&self) -> Option<At> {
        let place = self.ask.plan.ret.as_ref()?;
        let [piece] = place.pieces() else { return None };
        let (index, float) = match piece.source {
            Register::Int(index) => (index, false),
            Register::Vector(index) => (index, true),
            _ => return None,
        };
        let word = Word {
            when: When::Return,
            index,
            float,
        };
        sized(place, piece.len, word)
    }

    fn result(&self) -> Option<Show> {
        let ty = self.ask.plan.prototype.ret;
        if *self.types().get(ty) == Type::Void {
            return Some(Show::Void);
        }
        self.value(ty, None, self.returned()?, When::Return)
    }

    /// What tells that a call has failed. `None`: that is not simple.
    fn failure(&self) -> Option<Failure> {
        let plan = self.ask.plan;
        let sign = match &plan.prototype.failure {
            None => Sign::Never,
            Some(Fails::When(expr)) if reads_memory(expr) => return None,
            Some(Fails::When(expr)) => Sign::When(expr.clone()),
            Some(Fails::Returns(value)) => {
                let Source::Word(word) = self.returned()?.source else {
                    return None;
                };
                let mask = mask(u8::try_from(plan.ret.as_ref()?.size).ok()?);
                let value = value.cast_unsigned() & mask;
                Sign::Returns { word, mask, value }
            }
        };
        let ret = self.wants.recording.ret.as_ref()?;
        let errno = ret.errno.map(|_| ret.ints).filter(|_| plan.prototype.errno);
        Some(Failure { sign, errno })
    }

    /// What expressions may be about. `None`: one is about more.
    fn numbers(&self) -> Option<Numbers> {
        let plan = self.ask.plan;
        let args = plan.params.iter().map(|planned| {
            let at = self.argument(planned.place.as_ref()?)?;
            self.number(planned.param.ty, at)
        });
        let result = self.returned().and_then(|at| self.number(plan.prototype.ret, at));
        let ret = self.wants.recording.ret.as_ref()?;
        // Where what lies behind a pointer in memory begins is not told by words.
        if ret
            .captures
            .iter()
            .any(|capture| capture.through != Through::NOTHING)
        {
            return None;
        }
        let filled = ret
            .captures
            .iter()
            .map(|capture| self.pointer_word(capture.pointer));
        Some(Numbers {
            args: args.collect(),
            result,
            filled: filled.collect(),
        })
    }

    /// As `Frame::number` takes a word.
    fn number(&self, ty: TypeId, at: At) -> Option<Number> {
        let Source::Word(word) = at.source else {
            return None;
        };
        let abi = self.ask.plan.arch.abi();
        let (size, signed) = match self.types().get(self.types().bare(ty)) {
            Type::Int(int) => (int.size(abi), int.signed),
            Type::Pointer(_) | Type::Code | Type::VaList | Type::Array { .. } => (abi.word_size(), false),
            _ => return None,
        };
        let size = u8::try_from(size).ok().filter(|size| *size == at.size)?;
        Some(Number { word, size, signed })
    }

    fn pointer_word(&self, pointer: Pointer) -> Word {
        let (when, index) = match pointer {
            Pointer::Int(index) => (When::Call, index),
            Pointer::Stack(index) => (When::Call, self.wants.recording.call.ints.saturating_add(index)),
            Pointer::Result => (When::Return, 0),
        };
        Word {
            when,
            index,
            float: false,
        }
    }

    /// The one capture of what a word points at.
    fn memory(&self, word: Word, when: When) -> Option<(Memory, Length)> {
        let captures: &[Capture] = match when {
            When::Call => &self.wants.recording.call.captures,
            When::Return => &self.wants.recording.ret.as_ref()?.captures,
        };
        let mut found = captures
            .iter()
            .enumerate()
            .filter(|(_, capture)| capture.through == Through::NOTHING)
            .filter(|(_, capture)| self.pointer_word(capture.pointer) == word);
        let (index, capture) = found.next()?;
        if found.next().is_some() {
            return None;
        }
        let index = u8::try_from(index).ok()?;
        Some((Memory { when, index }, capture.length))
    }

    fn value(&self, ty: TypeId, lens: Option<Lens>, at: At, when: When) -> Option<Show> {
        match self.types().get(ty) {
            Type::Int(int) => self.int(*int, lens, at, when),
            Type::Float(Float::Single) if lens != Some(Lens::Hex) => bits(at, 4, How::Single),
            Type::Float(Float::Double) if lens != Some(Lens::Hex) => bits(at, 8, How::Double),
            Type::Pointer(of) => self.pointer(*of, lens, at, when),
            Type::Code => bits(at, 8, How::Code),
            Type::VaList | Type::Opaque => bits(at, 8, How::Pointer),
            Type::Lens(seen, of) => self.through(*seen, *of, at, when),
            _ => None,
        }
    }

    fn through(&self, lens: Lens, of: TypeId, at: At, when: When) -> Option<Show> {
        match lens {
            Lens::Hide | Lens::BitVec => None,
            Lens::Str => self.string(of, at, when),
            Lens::Enum(names) => {
                let is_int = matches!(self.types().get(self.types().bare(of)), Type::Int(_));
                let Show::Bits { from, size, how } = self.value(of, None, at, when).filter(|_| is_int)?
                else {
                    return None;
                };
                let how = How::Named(self.names(names, mask(size)), Box::new(how));
                Some(Show::Bits { from, size, how })
            }
            _ => self.value(self.without_number_lenses(of), Some(lens), at, when),
        }
    }

    /// Values and the first name of each.
    fn names(&self, names: NamesId, mask: u64) -> Box<[(u64, Box<[u8]>)]> {
        let groups = self.types().names(names).groups.iter();
        let names = groups.flat_map(|group| &group.names);
        let mut table: Vec<_> = names
            .map(|(value, name)| (value & mask, Box::from(name.as_bytes())))
            .collect();
        table.sort_by_key(|(value, _)| *value); // it is stable: the first name stays the first
        table.dedup_by_key(|(value, _)| *value);
        table.into()
    }

    fn int(&self, int: Int, lens: Option<Lens>, at: At, when: When) -> Option<Show> {
        let size = u8::try_from(int.size(self.ask.plan.arch.abi())).ok()?;
        let signed = int.signed;
        let plain = if signed { How::Signed } else { How::Unsigned };
        let how = match lens {
            Some(Lens::Bin) => How::Bin,
            Some(Lens::Oct) => How::Oct,
            Some(Lens::Hex) => How::Hex,
            Some(Lens::Bool) => How::Bool,
            Some(Lens::GuessText) => {
                let Source::Word(word) = at.source else {
                    return None;
                };
                let (memory, length) = self.memory(word, when)?;
                let number = Number { word, size, signed };
                let fits = size == 8 && at.size == 8 && matches!(length, Length::Guess { .. });
                return fits.then_some(Show::GuessText { number, memory });
            }
            Some(Lens::Guess) => How::Guess { signed },
            Some(Lens::Flags(names)) => How::Flags(Box::new(self.types().names(names).clone())),
            Some(Lens::Errno) => How::Errno { signed },
            Some(Lens::Enum(_)) => return None,
            Some(Lens::Fd) => plain,
            _ if int.character && size == 1 => How::Byte,
            _ if int.character => How::Char,
            _ => plain,
        };
        bits(at, size, how)
    }

    fn pointer(&self, of: TypeId, lens: Option<Lens>, at: At, when: When) -> Option<Show> {
        let bare = self.types().get(self.types().bare(of));
        if matches!(bare, Type::Void | Type::Opaque | Type::VaList) {
            return bits(at, 8, How::Pointer);
        }
        let Source::Word(word) = at.source else {
            return None;
        };
        if matches!(bare, Type::Array { .. } | Type::Struct(_) | Type::Union(_)) {
            return None;
        }
        let size = u8::try_from(constant_layout(self.types(), self.ask.plan, of)?.size).ok()?;
        let (memory, length) = self.memory(word, when)?;
        let fits = (1..=8).contains(&size) && length == Length::Fixed(size.into());
        let at = At {
            source: Source::Behind(word, memory),
            size,
        };
        self.value(of, lens, at, when).filter(|_| fits)
    }

    fn string(&self, of: TypeId, at: At, when: When) -> Option<Show> {
        let Source::Word(pointer) = at.source else {
            return None;
        };
        let Type::Pointer(inner) = self.types().get(self.types().bare(of)) else {
            return None;
        };
        let (element, len) = match self.types().get(self.types().bare(*inner)) {
            Type::Array { of, len } => (*of, len),
            _ => (*inner, &ArrayLength::ZERO),
        };
        match self.types().get(self.types().bare(element)) {
            Type::Int(Int {
                width: Width::Bytes(4),
                ..
            }) => return None,
            Type::Int(_) => {}
            _ => return None,
        }
        let count = match &len.count {
            None => Count::Unbounded,
            Some(Expr::Num(count)) => Count::Fixed(usize::try_from(*count).ok()?),
            Some(expr) if reads_memory(expr) || (expr.uses_retval() && when == When::Call) => return None,
            Some(expr) => Count::Expr(expr.clone()),
        };
        let (memory, length) = self.memory(pointer, when)?;
        let fits = matches!(
            (len.terminated, length),
            (true, Length::String { .. }) | (false, Length::Fixed(_) | Length::Counted { .. })
        );
        fits.then_some(Show::Text {
            pointer,
            memory,
            count,
            terminated: len.terminated,
        })
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
}

/// Whether an expression is about more than arguments and the result.
fn reads_memory(expr: &Expr) -> bool {
    match expr {
        Expr::Num(_) | Expr::Arg(_) | Expr::RetVal => false,
        Expr::Elt(_) | Expr::Name(_) | Expr::Deref(_) => true,
        Expr::Not(inner) => reads_memory(inner),
        Expr::Binary(_, operands) => reads_memory(&operands.0) || reads_memory(&operands.1),
    }
}

/// A value in the low bytes of a word.
fn sized(place: &Place, len: u32, word: Word) -> Option<At> {
    let size = u8::try_from(len).ok().filter(|size| (1..=8).contains(size))?;
    let fits = !place.by_reference && place.size == u64::from(size);
    fits.then_some(At {
        source: Source::Word(word),
        size,
    })
}

/// The bits of a value of so many bytes, where that is what is there.
fn bits(at: At, size: u8, how: How) -> Option<Show> {
    (at.size == size).then_some(Show::Bits {
        from: at.source,
        size,
        how,
    })
}
