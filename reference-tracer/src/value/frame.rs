//! One call, as expressions see it.

use arch_abi::{Abi, Addr, CType, Captured, Layout};

use super::number::integer;
use super::{RawCall, RawReturn};
use crate::memory::TargetMemory;
use crate::proto::expr::Env;
use crate::proto::{Failure, Field, Length, Plan, Type, TypeId, Types};

/// The integers among the first members of a structure.
pub(super) type Elements = [Option<i64>; 16];

/// A call, and its return where it has returned.
pub(super) struct Frame<'a> {
    pub(super) types: &'a Types,
    pub(super) plan: &'a Plan,
    pub(super) call: &'a RawCall,
    pub(super) ret: Option<&'a RawReturn>,
}

/// A call with what is around an expression in it.
pub(super) struct Around<'a> {
    frame: &'a Frame<'a>,
    elements: Option<&'a Elements>,
    memory: &'a dyn TargetMemory,
}

impl<'a> Frame<'a> {
    pub(super) fn returned(&self) -> Captured<'a> {
        self.ret.map_or(Captured::default(), RawReturn::captured)
    }

    pub(super) fn with(&'a self, elements: Option<&'a Elements>, memory: &'a dyn TargetMemory) -> Around<'a> {
        Around {
            frame: self,
            elements,
            memory,
        }
    }

    /// Whether the call has returned and its prototype says that it failed.
    pub(super) fn failed(&self, memory: &dyn TargetMemory) -> bool {
        let prototype = &self.plan.prototype;
        let (Some(_), Some(failure)) = (self.ret, &prototype.failure) else {
            return false;
        };
        match failure {
            Failure::Returns(value) => self
                .result_bits()
                .is_some_and(|(bits, mask)| bits == value.cast_unsigned() & mask),
            Failure::When(expr) => expr
                .eval(&self.with(None, memory))
                .is_some_and(|value| value != 0),
        }
    }

    fn result_bits(&self) -> Option<(u64, u64)> {
        let place = self.plan.ret.as_ref()?;
        let mask = if place.size >= 8 {
            u64::MAX
        } else {
            (1 << (place.size * 8)) - 1
        };
        Some((place.fetch_word(&self.returned())? & mask, mask))
    }

    /// A word as a number, by the type of what it is.
    fn number(&self, ty: TypeId, word: u64) -> Option<i64> {
        let abi = self.plan.arch.abi();
        let (size, signed) = match self.types.get(self.types.bare(ty)) {
            Type::Int(int) => (int.size(abi), int.signed),
            Type::Pointer(_) | Type::Code | Type::VaList | Type::Array { .. } => (abi.word_size(), false),
            _ => return None,
        };
        let bytes = word.to_le_bytes();
        let (value, _) = integer(&bytes[..size.min(8)], signed);
        // A 64-bit unsigned number above the largest signed one: the same bits, as C converts it.
        Some(i64::try_from(value).unwrap_or(word.cast_signed()))
    }

    fn arg_word(&self, index: u8, memory: &dyn TargetMemory) -> Option<(TypeId, u64)> {
        let planned = self.plan.params.get(usize::from(index).checked_sub(1)?)?;
        let place = planned.place.as_ref().filter(|place| !place.by_reference)?;
        Some((planned.param.ty, self.word_of(place, memory)?))
    }

    /// The word that an argument is, captured or still on the stack.
    pub(super) fn word_of(&self, place: &arch_abi::Place, memory: &dyn TargetMemory) -> Option<u64> {
        let captured = place.fetch_word(&self.call.captured());
        captured.or_else(|| read_stack(self.call, place, memory))
    }
}

/// A word on the stack that was not captured.
fn read_stack(call: &RawCall, place: &arch_abi::Place, memory: &dyn TargetMemory) -> Option<u64> {
    let piece = place.pieces().first()?;
    let arch_abi::Source::Stack(offset) = piece.source else {
        return None;
    };
    let mut word = [0; 8];
    let len = word.len().min(piece.len as usize);
    let got = memory.read(call.sp.wrapping_add(offset.into()), &mut word[..len]);
    (got == len).then_some(u64::from_le_bytes(word))
}

/// The deepest nesting, and the most parts, of a type whose size is asked for.
const MAX_NESTING: usize = 32;
const MAX_PARTS: usize = 1024;

impl Around<'_> {
    /// The most elements that a length allows; `None` where it has no value, or a negative one.
    pub(super) fn count(&self, len: &Length) -> Option<usize> {
        let Some(expr) = &len.count else {
            return Some(usize::MAX);
        };
        usize::try_from(expr.eval(self)?).ok()
    }

    /// Size and alignment; `None` where they are not known.
    pub(super) fn layout(&self, ty: TypeId) -> Option<Layout> {
        self.sized(ty, 0, &mut { MAX_PARTS })
    }

    fn sized(&self, ty: TypeId, depth: usize, left: &mut usize) -> Option<Layout> {
        *left = left.checked_sub(1)?;
        if depth == MAX_NESTING {
            return None;
        }
        let abi = self.frame.plan.arch.abi();
        match self.frame.types.get(ty) {
            Type::Lens(_, of) => self.sized(*of, depth + 1, left),
            Type::Array { of, len } => {
                let element = self.sized(*of, depth + 1, left)?;
                let count = u64::try_from(self.count(len)?).ok()?;
                Some(Layout {
                    size: element.size.checked_mul(count)?,
                    ..element
                })
            }
            Type::Struct(fields) => self.members(fields, depth, left, |end, member| {
                align_up(end, member.align).checked_add(member.size)
            }),
            Type::Union(fields) => {
                self.members(fields, depth, left, |size, member| Some(size.max(member.size)))
            }
            scalar => scalar_layout(scalar, abi),
        }
    }

    fn members(
        &self,
        fields: &[Field],
        depth: usize,
        left: &mut usize,
        join: fn(u64, Layout) -> Option<u64>,
    ) -> Option<Layout> {
        let (mut size, mut align) = (0, 1);
        for field in fields {
            let member = self.sized(field.ty, depth + 1, left)?;
            size = join(size, member)?;
            align = align.max(member.align);
        }
        Some(Layout {
            size: align_up(size, align),
            align,
        })
    }
}

fn scalar_layout(ty: &Type, abi: &dyn Abi) -> Option<Layout> {
    let ty = match ty {
        Type::Void => CType::Int(1),
        Type::Int(int) => CType::Int(u8::try_from(int.size(abi)).ok()?),
        Type::Float(float) => CType::Float(*float),
        Type::Complex(float) => CType::Complex(*float),
        Type::Pointer(_) | Type::Code | Type::VaList => CType::Pointer,
        _ => return None,
    };
    Some(abi.layout_of(&ty))
}

pub(super) fn align_up(at: u64, align: u64) -> u64 {
    at.saturating_add(align - 1) & !(align - 1)
}

impl Env for Around<'_> {
    fn arg(&self, index: u8) -> Option<i64> {
        let (ty, word) = self.frame.arg_word(index, self.memory)?;
        self.frame.number(ty, word)
    }

    fn retval(&self) -> Option<i64> {
        let word = self.frame.plan.ret.as_ref()?.fetch_word(&self.frame.returned())?;
        self.frame.number(self.frame.plan.prototype.ret, word)
    }

    fn elt(&self, index: u8) -> Option<i64> {
        *self.elements?.get(usize::from(index).checked_sub(1)?)?
    }

    fn deref(&self, index: u8) -> Option<i64> {
        let (ty, at) = self.frame.arg_word(index, self.memory)?;
        let Type::Pointer(of) = self.frame.types.get(self.frame.types.bare(ty)) else {
            return None;
        };
        let Type::Int(int) = self.frame.types.get(self.frame.types.bare(*of)) else {
            return None;
        };
        let mut bytes = [0; 8];
        let len = int.size(self.frame.plan.arch.abi()).min(8);
        let got = self.memory.read(Addr::new(at), &mut bytes[..len]);
        (got == len).then(|| self.frame.number(*of, u64::from_le_bytes(bytes)))?
    }
}
