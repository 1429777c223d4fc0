//! A prototype from the arguments that a function's code reads.

use arch_abi::{Arch, Float};

use super::code::{Counts, Found};
use crate::proto::{Lens, Param, Prototype, Type, Types};

/// The prototype of a function that takes these arguments: first the words, each shown as a number or as the text that
/// it points at, then the floating-point numbers. In which order the two kinds mix can't be told.
pub(super) fn prototype(name: &str, found: Found, arch: Arch, types: &mut Types) -> Prototype {
    let Counts { ints, floats } = found.args.counts(arch);
    let word = types.word(Lens::GuessText);
    let float = types.add(Type::Float(Float::Double));
    let types_of = std::iter::repeat_n(word, ints).chain(std::iter::repeat_n(float, floats));
    let params = types_of.map(Param::new).collect();
    Prototype {
        ellipsis: found.variadic,
        ..Prototype::new(name, types.word(Lens::Guess), params)
    }
}
