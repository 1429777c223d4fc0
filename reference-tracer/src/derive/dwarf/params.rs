//! Parameters and results: a type and which way the value goes.

use super::is_void;
use super::target::Target;
use super::types::Builder;
use super::units::{Entry, Units};
use crate::proto::{Direction, Expr, Length, Lens, Param, Type, TypeId};

/// The most parameters of a function.
const MAX_PARAMS: usize = 64;

/// A function's parameters.
pub(super) struct Params {
    pub(super) list: Vec<Param>,
    pub(super) ellipsis: bool,
}

/// A parameter as it is described.
struct Described {
    name: Option<String>,
    /// The entry that has its type.
    typed: Entry,
    artificial: bool,
}

impl Builder<'_> {
    /// The parameters of a function that these entries describe.
    pub(super) fn params(&mut self, origins: &[Entry]) -> Option<Params> {
        let mut params = Params {
            list: Vec::new(),
            ellipsis: false,
        };
        // The outermost entry has parameters of its own unless it only says where the code lies.
        for origin in origins {
            let children = Units::children(origin);
            params.ellipsis |= children
                .iter()
                .any(|child| child.tag() == gimli::DW_TAG_unspecified_parameters);
            let described: Vec<Described> = children
                .into_iter()
                .filter(|child| child.tag() == gimli::DW_TAG_formal_parameter)
                .map(|child| self.described(child))
                .filter(|param| param.name.as_deref() != Some("__in_chrg"))
                .collect();
            if described.len() > MAX_PARAMS {
                return None;
            }
            if !described.is_empty() {
                params.list = self.all(&described)?;
                break;
            }
        }
        Some(params)
    }

    fn described(&mut self, param: Entry) -> Described {
        let name = self.units.text(&param, gimli::DW_AT_name);
        let artificial = param.flag(gimli::DW_AT_artificial);
        match self.units.refers(&param, gimli::DW_AT_abstract_origin) {
            Some(origin) => Described {
                name: name.or_else(|| self.units.text(&origin, gimli::DW_AT_name)),
                artificial: artificial || origin.flag(gimli::DW_AT_artificial),
                typed: if param.value(gimli::DW_AT_type).is_some() {
                    param
                } else {
                    origin
                },
            },
            None => Described {
                name,
                typed: param,
                artificial,
            },
        }
    }

    fn all(&mut self, described: &[Described]) -> Option<Vec<Param>> {
        let mut list = Vec::with_capacity(described.len());
        for (index, param) in described.iter().enumerate() {
            // The length of a buffer is the parameter after it.
            let after = described
                .get(index + 1)
                .filter(|next| self.is_length(next))
                .and_then(|_| u8::try_from(index + 2).ok());
            let (ty, direction) = if param.artificial {
                // `this`: an object, which is mostly too large to be shown each time.
                (self.types.address(), Direction::In)
            } else {
                self.param(&param.typed, after)?
            };
            list.push(Param {
                name: param.name.as_deref().map(Into::into),
                direction,
                ..Param::new(ty)
            });
        }
        Some(list)
    }

    fn is_length(&mut self, param: &Described) -> bool {
        let Some(name) = &param.name else { return false };
        let name = name.trim_start_matches('_').to_ascii_lowercase();
        let is_named = matches!(
            name.as_str(),
            "n" | "len" | "size" | "count" | "nbytes" | "num" | "nbyte"
        ) || ["len", "length", "size", "_n", "_count"]
            .iter()
            .any(|end| name.ends_with(end));
        is_named
            && self
                .target_of(&param.typed, 0)
                .is_some_and(|target| target.is_wide_int())
    }

    /// A parameter's type and direction. `length`: the number of the parameter that says how long its
    /// target is.
    fn param(&mut self, typed: &Entry, length: Option<u8>) -> Option<(TypeId, Direction)> {
        let Some(outer) = self.target_of(typed, 0) else {
            return Some((self.types.address(), Direction::In)); // an unnamed type: cannot be, but a word it is
        };
        if !outer.is_pointer() {
            let ty = self.by_value(&outer)?;
            return Some((ty, Direction::In));
        }
        let Some(target) = self.target_of(&outer.entry, 0) else {
            return Some((self.bytes_or_address(length), Direction::In)); // `void *`, `const void *`
        };
        if target.is_void {
            let ty = if target.constant {
                self.bytes_or_address(length)
            } else {
                self.types.address()
            };
            return Some((ty, Direction::In));
        }
        if target.is_function() {
            return Some((self.types.add(Type::Code), Direction::In));
        }
        if self.is_text(&target) {
            return Some(self.string(&target, length));
        }
        let pointer = self.pointer_to(&target, 0);
        let is_shown = !matches!(self.types.get(pointer), Type::Pointer(of) if is_void(self.types, *of));
        let direction = if target.is_scalar() && !target.constant && is_shown {
            Direction::Out
        } else if target.is_pointer() && !target.constant && is_shown {
            Direction::InOut
        } else {
            Direction::In
        };
        let counted = length.filter(|_| target.is_scalar() && is_shown);
        let ty = match (counted, self.types.get(pointer).clone()) {
            (Some(length), Type::Pointer(of)) => self.array(
                of,
                Length {
                    terminated: false,
                    count: Some(Expr::Arg(length)),
                },
            ),
            _ => pointer,
        };
        Some((ty, direction))
    }

    /// `const void *` before a length is a buffer.
    fn bytes_or_address(&mut self, length: Option<u8>) -> TypeId {
        match length {
            Some(length) => self.text(Length {
                terminated: false,
                count: Some(Expr::Arg(length)),
            }),
            None => self.types.address(),
        }
    }

    fn string(&mut self, target: &Target, length: Option<u8>) -> (TypeId, Direction) {
        // Bytes without a sign are data, which only a length ends.
        let terminated = target.is_character();
        let Some(length) = length else {
            let ty = if terminated {
                self.text(Length::ZERO)
            } else {
                self.types.address()
            };
            return (ty, Direction::In);
        };
        let count = Some(Expr::Arg(length));
        let ty = self.text(Length { terminated, count });
        (
            ty,
            if target.constant {
                Direction::In
            } else {
                Direction::Out
            },
        )
    }

    /// A string of so many characters.
    pub(super) fn text(&mut self, length: Length) -> TypeId {
        self.types.string(1, length)
    }

    fn array(&mut self, of: TypeId, len: Length) -> TypeId {
        let array = self.types.add(Type::Array { of, len });
        self.types.add(Type::Pointer(array))
    }

    /// What a function returns; and, where C++ returns an object that must not be copied by its bytes, the
    /// type of the address that the caller passes for it.
    pub(super) fn result(&mut self, origins: &[Entry]) -> Option<(TypeId, Option<TypeId>)> {
        let typed = origins
            .iter()
            .find(|entry| entry.value(gimli::DW_AT_type).is_some());
        let Some(typed) = typed else {
            return Some((self.types.add(Type::Void), None));
        };
        let Some(target) = self.target_of(typed, 0) else {
            return Some((self.types.add(Type::Void), None));
        };
        if target.is_void {
            return Some((self.types.add(Type::Void), None));
        }
        if self.is_passed_by_reference(&target, 0) {
            let address = self.types.address();
            let hidden = self.types.add(Type::Lens(Lens::Hide, address));
            return Some((self.pointer_to(&target, 0), Some(hidden)));
        }
        if target.is_pointer()
            && let Some(pointee) = self.target_of(&target.entry, 0)
            && pointee.is_character()
            && self.is_text(&pointee)
        {
            return Some((self.text(Length::ZERO), None));
        }
        Some((self.by_value(&target)?, None))
    }
}
