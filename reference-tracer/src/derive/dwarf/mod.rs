//! Prototypes from debug information: the object's own or that of its separate debug file.
//!
//! A function is found by its address, so that all its names are known; its parameters have names and
//! types. What debug information does not tell (whether a pointer's target is read or filled, how long a
//! buffer is) is taken from how C programmers write: `const` is read, and a length follows its buffer.

mod classes;
mod params;
mod sections;
mod structures;
mod target;
mod types;
mod units;

use std::fs::File;

use arch_abi::{Arch, FileAddr};
use rustc_hash::FxHashMap;

pub(super) use sections::{Memory, Places};
use types::Builder;
use units::{Entry, Units};

use crate::proto::{Param, Prototype, Type, TypeId, Types};

type Reader = gimli::EndianArcSlice<gimli::LittleEndian>;

/// The debug information of one object.
#[derive(Debug)]
pub(super) struct Dwarf {
    units: Units,
    /// The types that were built so far, by where they are described and how many pointers deep.
    built: FxHashMap<(units::Die, u8), TypeId>,
}

/// How many origins of origins an entry may have.
const MAX_ORIGINS: usize = 4;

impl Dwarf {
    /// The debug information of the object `file`. `None`: there is none that can be read.
    pub(super) fn load(file: &File, places: &Places, memory: &mut Memory) -> Option<Self> {
        Some(Self {
            units: Units::new(sections::load(file, places, memory)?),
            built: FxHashMap::default(),
        })
    }

    /// The prototype of the function `name` at this address.
    pub(super) fn prototype(
        &mut self,
        at: FileAddr,
        name: &str,
        arch: Arch,
        types: &mut Types,
    ) -> Option<Prototype> {
        let function = self.units.function(at.get())?;
        let language = Units::language(&function);
        if !is_c_convention(language, name) {
            return None;
        }
        let origins = self.origins(function);
        let mut builder = Builder::new(&mut self.units, &mut self.built, types, arch.abi(), language);
        let params = builder.params(&origins)?;
        let (ret, hidden) = builder.result(&origins)?;
        let hidden = hidden.map(Param::new);
        Some(Prototype {
            name: name.into(),
            ret,
            params: hidden.into_iter().chain(params.list).collect(),
            ellipsis: params.ellipsis,
            noreturn: origins.iter().any(|entry| entry.flag(gimli::DW_AT_noreturn)),
            failure: None,
            errno: false,
        })
    }

    /// A function's entry, and those that say the rest of it.
    fn origins(&mut self, function: Entry) -> Vec<Entry> {
        let mut all = vec![function];
        while let Some(last) = all.last()
            && all.len() <= MAX_ORIGINS
        {
            let next = [gimli::DW_AT_abstract_origin, gimli::DW_AT_specification]
                .into_iter()
                .find_map(|name| self.units.refers(last, name));
            match next {
                Some(next) => all.push(next),
                None => break,
            }
        }
        all
    }
}

/// Whether a function of this language and name is called as the psABI says. Rust's own convention is
/// not, and no document describes it.
fn is_c_convention(language: Option<gimli::DwLang>, name: &str) -> bool {
    match language {
        Some(gimli::DW_LANG_Rust) => !name.starts_with("_R") && !is_legacy_rust(name),
        Some(gimli::DW_LANG_Go | gimli::DW_LANG_Swift | gimli::DW_LANG_Haskell | gimli::DW_LANG_OCaml) => {
            false
        }
        _ => true,
    }
}

/// `_ZN...17h` and sixteen digits, then `E`.
fn is_legacy_rust(name: &str) -> bool {
    let Some(hash) = name
        .strip_suffix('E')
        .and_then(|name| name.len().checked_sub(19).and_then(|at| name.get(at..)))
    else {
        return false;
    };
    name.starts_with("_ZN")
        && hash.starts_with("17h")
        && hash[3..].bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a type is one of no size.
fn is_void(types: &Types, ty: TypeId) -> bool {
    *types.get(types.bare(ty)) == Type::Void
}

#[cfg(test)]
mod hostile;

#[cfg(test)]
mod tests {
    #[test]
    fn rusts_own_functions_are_told() {
        assert!(super::is_legacy_rust("_ZN4core3fmt5write17h0123456789abcdefE"));
        for other in [
            "",
            "E",
            "_ZN3foo3barE",
            "_ZN4core3fmt5write17h0123456789abcdegE",
            "17h0123456789abcdefE",
        ] {
            assert!(!super::is_legacy_rust(other), "{other}");
        }
    }
}
