//! What the lengths of arrays and strings want, and the numbers of elements that a stub finds by itself.

use arch_abi::Source;
use arch_abi::record::{Count, Length, ReturnFields};

use super::way::{At, Way, pointer_of};
use super::{Builder, Moment, Reason};
use crate::proto::{Expr, Length as ArrayLength, Op, PlannedParam, Type, TypeId};

impl<'a> Builder<'a> {
    /// A number of elements that a stub finds by itself.
    pub(super) fn simple_count(&self, count: &Expr, moment: Moment) -> Option<Count> {
        match count {
            Expr::Arg(number) => {
                let planned = self.planned(*number)?;
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
    pub(super) fn count_of(&mut self, len: &ArrayLength, at: At) -> Result<(), Reason> {
        match &len.count {
            Some(count) => self.values_of(count, at.moments()),
            None => Ok(()),
        }
    }

    /// The memory that an expression reads: what `*argN` points at. And the registers, also of what is only counted.
    pub(super) fn values_of(&mut self, expr: &Expr, moments: &[Moment]) -> Result<(), Reason> {
        match expr {
            Expr::Arg(number) => match self.planned(*number).and_then(|planned| planned.place.as_ref()) {
                Some(place) => self.argument(place),
                None => Ok(()),
            },
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
        let Some(planned) = self.planned(*number) else {
            return Ok(());
        };
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

    /// Parameter so and so, counted from one as in expressions.
    fn planned(&self, number: u8) -> Option<&'a PlannedParam> {
        let index = usize::from(number).checked_sub(1)?;
        self.ask.plan.params.get(index)
    }
}
