//! A prototype from the arguments that a function's code reads.

use arch_abi::{Arch, Float};

use super::code::{Counts, Found};
use crate::proto::{Direction, Int, Lens, Param, Prototype, Type, TypeId, Types, Width};

/// The prototype of a function that takes these arguments: first the words, each shown as a number or as the text that
/// it points at, then the floating-point numbers. In which order the two kinds mix can't be told.
pub(super) fn prototype(name: &str, found: Found, arch: Arch, types: &mut Types) -> Prototype {
    let Counts { ints, floats } = found.args.counts(arch);
    let word = word(types, Lens::GuessText);
    let float = types.add(Type::Float(Float::Double));
    let types_of = std::iter::repeat_n(word, ints).chain(std::iter::repeat_n(float, floats));
    let params = types_of.map(|ty| Param {
        name: None,
        ty,
        direction: Direction::In,
        pack: None,
        when: None,
    });
    Prototype {
        name: name.into(),
        params: params.collect(),
        ret: self::word(types, Lens::Guess),
        ellipsis: found.variadic,
        noreturn: false,
        failure: None,
        errno: false,
    }
}

fn word(types: &mut Types, lens: Lens) -> TypeId {
    let int = types.add(Type::Int(Int {
        width: Width::Word,
        signed: true,
        character: false,
    }));
    types.add(Type::Lens(lens, int))
}
