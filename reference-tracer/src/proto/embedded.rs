//! The embedded prototypes: sorted text, searched in place. Nothing is parsed at the start.

use std::collections::HashMap;

use rustc_hash::FxHashMap;

use super::parser::{Item, Scope, parse_line};
use super::types::{Prototype, Type, TypeId, Types};

/// A library's prototypes. The sonames are those under which programs know the library.
struct Library {
    sonames: &'static [&'static str],
    text: &'static str,
}

static LIBRARIES: &[Library] = &[
    // Since glibc 2.34 these are one library, and the others are empty.
    Library {
        sonames: &["libc.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1"],
        text: include_str!("../../prototypes/libc.so.6.conf"),
    },
    Library {
        sonames: &["libm.so.6"],
        text: include_str!("../../prototypes/libm.so.6.conf"),
    },
];

/// The types that all embedded prototypes share.
static TYPES: &str = include_str!("../../prototypes/types.conf");

/// The typedefs of [`TYPES`] that were used so far.
#[derive(Debug, Default)]
pub(super) struct Embedded {
    types: FxHashMap<&'static str, Typedef>,
}

#[derive(Clone, Copy, Debug)]
enum Typedef {
    Done(TypeId),
    /// It is being parsed. A structure may point at itself meanwhile; nothing else may.
    Open(Option<TypeId>),
    Bad,
}

impl Scope for Embedded {
    fn typedef(&mut self, name: &str, types: &mut Types) -> Option<TypeId> {
        match self.types.get(name) {
            Some(Typedef::Done(ty)) => return Some(*ty),
            Some(Typedef::Open(ty)) => return *ty,
            Some(Typedef::Bad) => return None,
            None => {}
        }
        let line = find(TYPES, name)?;
        let name = key(line)?;
        let body = line.split_once('=').map_or("", |(_, body)| body.trim_start());
        let open =
            (body.starts_with("struct(") || body.starts_with("union(")).then(|| types.add(Type::Opaque));
        self.types.insert(name, Typedef::Open(open));
        let Ok(Some(Item::Typedef(_, Some(found)))) = parse_line(line, types, self) else {
            self.types.insert(name, Typedef::Bad); // a test parses every line: this is not reached
            return None;
        };
        let ty = open.unwrap_or(found);
        if open.is_some() {
            let definition = types.get(found).clone();
            types.define(ty, definition);
        }
        self.types.insert(name, Typedef::Done(ty));
        Some(ty)
    }
}

impl Embedded {
    /// The prototype of `name` in the library with this soname, or in the first that has one.
    pub(super) fn prototype(
        &mut self,
        soname: Option<&str>,
        name: &str,
        types: &mut Types,
    ) -> Option<Prototype> {
        let matching = |library: &&Library| soname.is_none_or(|soname| library.sonames.contains(&soname));
        LIBRARIES
            .iter()
            .filter(matching)
            .find_map(|library| self.in_text(library.text, name, types))
    }

    fn in_text(&mut self, text: &'static str, name: &str, types: &mut Types) -> Option<Prototype> {
        let first = parse_line(find(text, name)?, types, self).ok()??;
        let target = match first {
            Item::Prototype(prototype) => return Some(prototype),
            Item::Alias { old, .. } => old,
            Item::Typedef(..) | Item::Import(_) => return None,
        };
        match parse_line(find(text, &target)?, types, self).ok()?? {
            Item::Prototype(prototype) => Some(Prototype {
                name: name.into(),
                ..prototype
            }),
            _ => None, // an alias of an alias: a test finds that there is none
        }
    }

    /// Every embedded prototype: soname, function and the line that describes it.
    pub(super) fn lines() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        LIBRARIES.iter().flat_map(|library| {
            let lines = body(library.text).lines();
            lines.filter_map(|line| Some((library.sonames[0], key(line)?, line)))
        })
    }
}

/// A searched file without the comments before its first item.
fn body(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with('#') || rest.starts_with('\n') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest
}

/// What a line of a searched file is about: the second word of a typedef or alias, and of a
/// prototype the word before the first parenthesis.
fn key(line: &str) -> Option<&str> {
    for keyword in ["alias ", "typedef "] {
        if let Some(rest) = line.strip_prefix(keyword) {
            return rest.split([' ', '=']).next();
        }
    }
    let before = line.split_once('(')?.0;
    let start = before.rfind([' ', '*']).map_or(0, |space| space + 1);
    Some(&before[start..])
}

/// The line about `name` in a sorted text, by binary search.
fn find<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let text = body(text);
    let (mut low, mut high) = (0, text.len()); // both at the start of a line, or at the end
    while low < high {
        let middle = low + (high - low) / 2;
        let bytes = text.as_bytes();
        let start = bytes[low..middle]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(low, |at| low + at + 1);
        let end = bytes[middle..high]
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(high, |at| middle + at);
        let line = text.get(start..end)?;
        match key(line)?.as_bytes().cmp(name.as_bytes()) {
            std::cmp::Ordering::Equal => return Some(line),
            std::cmp::Ordering::Less => low = (end + 1).min(high),
            std::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

/// Types that a file of the user's defines, and behind them the embedded ones.
pub(super) struct Layered<'a> {
    pub(super) own: &'a HashMap<Box<str>, TypeId, rustc_hash::FxBuildHasher>,
    pub(super) embedded: &'a mut Embedded,
}

impl Scope for Layered<'_> {
    fn typedef(&mut self, name: &str, types: &mut Types) -> Option<TypeId> {
        self.own
            .get(name)
            .copied()
            .or_else(|| self.embedded.typedef(name, types))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &'static str, allowed: fn(&Item) -> bool) {
        let mut last = "";
        for line in body(text).lines() {
            let name = key(line).unwrap_or_else(|| panic!("no name: {line}"));
            assert!(
                last.as_bytes() < name.as_bytes(),
                "`{name}` stands after `{last}`"
            );
            assert_eq!(find(text, name), Some(line));
            let mut embedded = Embedded::default();
            let item = match parse_line(line, &mut Types::default(), &mut embedded) {
                Ok(Some(item)) => item,
                Ok(None) => panic!("an empty line after {last}"),
                Err(message) => panic!("{line}: {message}"),
            };
            assert!(allowed(&item), "not an item of this file: {line}");
            assert!(
                embedded.types.values().all(|ty| matches!(ty, Typedef::Done(_))),
                "{line}"
            );
            match item {
                Item::Prototype(prototype) => assert_eq!(&*prototype.name, name),
                Item::Alias { new, old } => {
                    assert_eq!(&*new, name);
                    let old = find(text, &old).unwrap_or_else(|| panic!("no such function: {line}"));
                    assert!(!old.starts_with("alias"), "an alias of an alias: {line}");
                }
                Item::Typedef(new, _) => assert_eq!(&*new, name),
                Item::Import(_) => {}
            }
            last = name;
        }
    }

    #[test]
    fn embedded_types_are_sorted_and_well_formed() {
        check(TYPES, |item| matches!(item, Item::Typedef(_, Some(_))));
    }

    #[test]
    fn embedded_prototypes_are_sorted_and_well_formed() {
        for library in LIBRARIES {
            check(library.text, |item| {
                matches!(item, Item::Prototype(_) | Item::Alias { .. })
            });
        }
    }

    #[test]
    fn a_search_ends_whatever_the_text() {
        for text in [
            "",
            "\n",
            "# only\n",
            "a",
            "int f(",
            "int b();\nint d();\n",
            "int b();\nint d();",
        ] {
            for name in ["", "a", "b", "c", "d", "e"] {
                let found = find(text, name);
                assert_eq!(
                    found.is_some(),
                    !name.is_empty() && text.contains(&format!(" {name}(")),
                    "{text:?} {name}"
                );
            }
        }
    }

    #[test]
    fn a_structure_may_point_at_itself() {
        let mut types = Types::default();
        let ty = Embedded::default()
            .typedef("addrinfo", &mut types)
            .expect("addrinfo is embedded");
        let Type::Struct(fields) = types.get(ty) else {
            panic!("not a structure: {:?}", types.get(ty))
        };
        let last = fields.last().expect("members");
        assert_eq!(*types.get(last.ty), Type::Pointer(ty));
    }
}
