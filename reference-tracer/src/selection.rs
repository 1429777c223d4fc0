//! What the user asked to be traced: calls by their callers, by the libraries that they lead to, and functions
//! where they begin.

use std::cell::Cell;

use arch_abi::FileAddr;
use elf_plt::{Binding, Object};

use crate::filter::{Filter, FilterError, FilterSet, LibraryNames, NamePattern};

/// What is traced.
#[derive(Debug, Default)]
pub struct Selection {
    /// Calls between objects: `-e`.
    pub calls: FilterSet,
    /// Calls of what these libraries export: `-l`.
    pub exporters: FilterSet,
    /// Functions where they begin: `-x`.
    pub entries: FilterSet,
    /// Places in the code: `-x LIBRARY+0xADDRESS`.
    pub places: Vec<CodePlace>,
}

impl Selection {
    /// Whether functions or places are asked for where they begin.
    #[must_use]
    pub fn asks_for_entries(&self) -> bool {
        !self.entries.is_empty() || !self.places.is_empty()
    }

    /// Whether nothing is asked for but, perhaps, system calls.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.exporters.is_empty() && !self.asks_for_entries()
    }
}

/// An address in an object file, as its disassembly shows it: `LIBRARY+0xADDRESS`.
#[derive(Debug)]
pub struct CodePlace {
    text: String,
    library: NamePattern,
    /// The address.
    pub addr: FileAddr,
    met: Cell<bool>,
}

/// What an argument of `-x` is.
#[derive(Debug)]
pub enum Entry {
    /// Functions by name.
    Filter(Filter),
    /// A place.
    Place(CodePlace),
}

impl Entry {
    /// Reads what `-x` takes.
    ///
    /// # Errors
    /// What was expected, and where.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        // No function's name begins with a digit: a rule `+0x...` selects nothing.
        let place = text.rsplit_once("+0x").and_then(|(library, digits)| {
            let addr = u64::from_str_radix(digits, 16).ok()?;
            (!library.is_empty() && !library.contains('@')).then_some((library, addr))
        });
        let Some((library, addr)) = place else {
            return Filter::parse(text).map(Self::Filter);
        };
        Ok(Self::Place(CodePlace {
            text: text.to_owned(),
            library: NamePattern::glob(library)?,
            addr: FileAddr::new(addr),
            met: Cell::new(false),
        }))
    }
}

impl CodePlace {
    /// Whether it lies in the code of `object`, which is known by these names.
    #[must_use]
    pub fn is_in(&self, object: &Object<'_>, names: &LibraryNames<'_>) -> bool {
        let is = names.any(|name| self.library.matches(name)) && object.is_code(self.addr);
        if is {
            self.met.set(true);
        }
        is
    }

    /// Whether no object had it.
    #[must_use]
    pub fn is_unmet(&self) -> bool {
        !self.met.get()
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A function that is to be met where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// Its first instruction.
    pub addr: FileAddr,
    /// The name to show.
    pub name: String,
    /// Whether the name says which object it is in.
    pub is_place: bool,
}

/// The functions of `object` that are selected, those among them that only its separate symbol table `debug` names.
///
/// # Errors
/// Its symbol tables are damaged.
pub fn beginnings(
    selection: &Selection,
    object: &Object<'_>,
    debug: Option<&[u8]>,
    names: LibraryNames<'_>,
    mut offer: impl FnMut(&str),
) -> Result<Vec<Beginning>, elf_plt::Error> {
    let mut found: Vec<_> = selection
        .places
        .iter()
        .filter(|place| place.is_in(object, &names))
        .map(|place| Beginning {
            addr: place.addr,
            name: place.text.clone(),
            is_place: true,
        })
        .collect();
    let Some(filter) = selection.entries.in_library(names) else {
        return Ok(found);
    };
    for function in object.functions_with(debug)?.iter() {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let mut name = text(function.public().name);
        let aliases: Vec<String> = function.aliases().iter().map(|alias| text(alias.name)).collect();
        let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
        for alias in &aliases {
            offer(alias);
        }
        if filter.selects(&name, &aliases) {
            if function.is_ifunc() {
                name.push_str(".IFUNC");
            }
            found.push(Beginning {
                addr: function.addr(),
                name,
                is_place: false,
            });
        }
    }
    Ok(found)
}

/// The names that `object` offers to others, if it is a library that was asked for.
///
/// # Errors
/// Its symbol tables are damaged.
pub fn exports(
    selection: &Selection,
    object: &Object<'_>,
    names: LibraryNames<'_>,
) -> Result<Vec<String>, elf_plt::Error> {
    let Some(filter) = selection.exporters.in_library(names) else {
        return Ok(Vec::new());
    };
    let functions = object.functions()?;
    let names = functions
        .iter()
        .flat_map(|function| function.aliases())
        .filter(|symbol| symbol.binding != Binding::LOCAL)
        .map(|symbol| String::from_utf8_lossy(symbol.name).into_owned());
    Ok(names.filter(|name| filter.selects(name, &[])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_from_filters() {
        for (text, addr) in [("libfoo.so+0x1234", 0x1234), ("a+b*+0xffff", 0xffff)] {
            let Ok(Entry::Place(place)) = Entry::parse(text) else {
                panic!("{text} is a place");
            };
            assert_eq!((place.addr, place.is_unmet()), (FileAddr::new(addr), true));
        }
        for text in ["malloc+free", "f@libfoo.so", "f@lib+0x12", "+0x12", "a+0xfg"] {
            assert!(matches!(Entry::parse(text), Ok(Entry::Filter(_))), "{text}");
        }
        assert!(Entry::parse("[a+0x12").is_err());
    }
}
