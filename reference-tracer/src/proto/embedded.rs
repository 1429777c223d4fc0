//! The embedded prototypes, searched in place. Nothing is parsed at the start.

use rustc_hash::FxHashMap;

use super::builtin;
use super::parser::{Item, Scope, parse_line};
use super::searched::{find, key};
use super::tables::{CURATED, GENERATED, Names, Table, curated, generated};
use super::types::{Prototype, Type, TypeId, Types};

/// The typedefs of the embedded texts that were used so far.
#[derive(Debug, Default)]
pub(super) struct Embedded {
    curated: FxHashMap<&'static str, Typedef>,
    generated: FxHashMap<&'static str, Typedef>,
    names: Names,
}

#[derive(Clone, Copy, Debug)]
enum Typedef {
    Done(TypeId),
    /// It is being parsed. A structure may point at itself meanwhile; nothing else may.
    Open(Option<TypeId>),
    Bad,
}

/// The types that a text of this table may name.
struct View<'a> {
    table: Table,
    embedded: &'a mut Embedded,
}

impl Scope for View<'_> {
    fn typedef(&mut self, name: &str, types: &mut Types) -> Option<TypeId> {
        // Most names are the language's own, and no embedded typedef takes one (a test sees to that).
        if builtin::is_named(name) {
            return None;
        }
        match self.table {
            Table::Curated => self.embedded.defined(Table::Curated, name, types),
            Table::Generated => self
                .embedded
                .defined(Table::Generated, name, types)
                .or_else(|| self.embedded.defined(Table::Curated, name, types)),
        }
    }
}

/// What files of the user's may name: the types of both tables, so that a line of
/// [`lines`](super::tables::lines) means the same in a file of the user's.
impl Scope for Embedded {
    fn typedef(&mut self, name: &str, types: &mut Types) -> Option<TypeId> {
        if builtin::is_named(name) {
            return None;
        }
        self.defined(Table::Curated, name, types)
            .or_else(|| self.defined(Table::Generated, name, types))
    }
}

impl Embedded {
    /// The prototype of `name` in the first of these libraries that has one: as the curated table has
    /// it, or as the generated one does.
    pub(super) fn in_libraries(
        &mut self,
        sonames: &[&str],
        name: &str,
        types: &mut Types,
    ) -> Option<Prototype> {
        sonames
            .iter()
            .filter_map(|soname| curated(soname))
            .find_map(|library| self.in_text(Table::Curated, library.text, name, types))
            .or_else(|| {
                sonames
                    .iter()
                    .flat_map(|soname| generated(soname))
                    .find_map(|(_, text)| self.in_text(Table::Generated, text, name, types))
            })
    }

    /// The prototype of `name` in the first curated library that has one.
    pub(super) fn in_curated(&mut self, name: &str, types: &mut Types) -> Option<Prototype> {
        CURATED
            .iter()
            .find_map(|library| self.in_text(Table::Curated, library.text, name, types))
    }

    /// The prototype of `name` in the first generated library that has one, if there is a text about
    /// each of the libraries that may provide it: then it is a library's that none of them is, as where
    /// a plug-in calls the program that loaded it. Otherwise it may be the unknown library's own, whatever
    /// others mean by the name.
    pub(super) fn in_generated(
        &mut self,
        sonames: &[&str],
        name: &str,
        types: &mut Types,
    ) -> Option<Prototype> {
        if sonames.iter().any(|soname| generated(soname).is_empty()) {
            return None;
        }
        let mut texts = self
            .names
            .about(name)
            .into_iter()
            .map(|number| GENERATED[number].1);
        texts.find_map(|text| self.in_text(Table::Generated, text, name, types))
    }

    fn in_text(
        &mut self,
        table: Table,
        text: &'static str,
        name: &str,
        types: &mut Types,
    ) -> Option<Prototype> {
        match self.parse(table, find(text, name)?, types)? {
            Item::Prototype(prototype) => Some(prototype),
            Item::Alias { old, .. } => match self.parse(table, find(text, &old)?, types)? {
                Item::Prototype(prototype) => Some(Prototype {
                    name: name.into(),
                    ..prototype
                }),
                _ => None, // an alias of an alias: a test finds that there is none
            },
            Item::Typedef(..) | Item::Import(_) => None,
        }
    }

    fn parse(&mut self, table: Table, line: &str, types: &mut Types) -> Option<Item> {
        let mut view = View {
            table,
            embedded: self,
        };
        parse_line(line, types, &mut view).ok()?
    }

    fn used(&mut self, table: Table) -> &mut FxHashMap<&'static str, Typedef> {
        match table {
            Table::Curated => &mut self.curated,
            Table::Generated => &mut self.generated,
        }
    }

    /// The type of this name in the table's own text, parsed at its first use.
    fn defined(&mut self, table: Table, name: &str, types: &mut Types) -> Option<TypeId> {
        match self.used(table).get(name) {
            Some(Typedef::Done(ty)) => return Some(*ty),
            Some(Typedef::Open(ty)) => return *ty,
            Some(Typedef::Bad) => return None,
            None => {}
        }
        let line = find(table.types(), name)?;
        let name = key(line)?;
        let body = line.split_once('=').map_or("", |(_, body)| body.trim_start());
        let open =
            (body.starts_with("struct(") || body.starts_with("union(")).then(|| types.add(Type::Opaque));
        self.used(table).insert(name, Typedef::Open(open));
        let Some(Item::Typedef(_, Some(found))) = self.parse(table, line, types) else {
            self.used(table).insert(name, Typedef::Bad); // a test parses every line: this is not reached
            return None;
        };
        let ty = open.unwrap_or(found);
        if open.is_some() {
            let definition = types.get(found).clone();
            types.define(ty, definition);
        }
        self.used(table).insert(name, Typedef::Done(ty));
        Some(ty)
    }
}

#[cfg(test)]
mod tests {
    use super::super::searched::body;
    use super::super::tables::lines;
    use super::*;

    fn check(table: Table, text: &'static str, allowed: fn(&Item) -> bool) {
        let mut last = "";
        // Once for a text: what a type needs is parsed once, and its lines are many.
        let (mut types, mut embedded) = (Types::default(), Embedded::default());
        for line in body(text).lines() {
            let name = key(line).unwrap_or_else(|| panic!("no name: {line}"));
            assert!(
                last.as_bytes() < name.as_bytes(),
                "`{name}` stands after `{last}`"
            );
            assert_eq!(find(text, name), Some(line));
            let mut view = View {
                table,
                embedded: &mut embedded,
            };
            let item = match parse_line(line, &mut types, &mut view) {
                Ok(Some(item)) => item,
                Ok(None) => panic!("an empty line after {last}"),
                Err(message) => panic!("{line}: {message}"),
            };
            assert!(allowed(&item), "not an item of this file: {line}");
            match item {
                Item::Prototype(prototype) => assert_eq!(&*prototype.name, name),
                Item::Alias { new, old } => {
                    assert_eq!(&*new, name);
                    let old = find(text, &old).unwrap_or_else(|| panic!("no such function: {line}"));
                    assert!(!old.starts_with("alias"), "an alias of an alias: {line}");
                }
                Item::Typedef(new, _) => {
                    assert_eq!(&*new, name);
                    assert!(!builtin::is_named(name), "the language's own: {name}");
                }
                Item::Import(_) => {}
            }
            last = name;
        }
        let used = embedded.curated.iter().chain(&embedded.generated);
        for (name, ty) in used {
            assert!(matches!(ty, Typedef::Done(_)), "{name}: {ty:?}");
        }
    }

    #[test]
    fn embedded_types_are_sorted_and_well_formed() {
        for table in [Table::Curated, Table::Generated] {
            check(table, table.types(), |item| {
                matches!(item, Item::Typedef(_, Some(_)))
            });
        }
    }

    #[test]
    fn embedded_prototypes_are_sorted_and_well_formed() {
        let curated = CURATED.iter().map(|library| (Table::Curated, library.text));
        let generated = GENERATED.iter().map(|&(_, text)| (Table::Generated, text));
        for (table, text) in curated.chain(generated) {
            check(table, text, |item| {
                matches!(item, Item::Prototype(_) | Item::Alias { .. })
            });
        }
    }

    #[test]
    fn the_curated_prototype_goes_first() {
        let (types, embedded) = (&mut Types::default(), &mut Embedded::default());
        for soname in CURATED[0].sonames {
            let found = embedded.in_libraries(&[soname], "open", types).expect("open");
            let line = find(CURATED[0].text, "open").expect("it is curated");
            let curated = embedded.parse(Table::Curated, line, types);
            let Some(Item::Prototype(curated)) = curated else {
                panic!("{line}")
            };
            assert_eq!(found.failure, curated.failure);
            assert_eq!(found.params.len(), curated.params.len());
        }
        assert!(
            embedded.generated.is_empty(),
            "the generated table was not looked at"
        );
    }

    /// What only the generated table has, and its alias, under any name of the C library.
    #[test]
    fn the_generated_prototype_fills_the_gaps() {
        let (types, embedded) = (&mut Types::default(), &mut Embedded::default());
        let only_generated = |name| find(CURATED[0].text, name).is_none();
        assert!(only_generated("_IO_fclose") && only_generated("_Fork"));
        for soname in CURATED[0].sonames {
            let found = embedded.in_libraries(&[soname], "_Fork", types).expect("_Fork");
            assert_eq!(&*found.name, "_Fork");
            let found = embedded
                .in_libraries(&[soname], "_IO_fclose", types)
                .expect("alias");
            assert_eq!(&*found.name, "_IO_fclose");
            assert_eq!(found.params.len(), 1);
        }
    }

    #[test]
    fn each_table_has_its_own_types() {
        let (types, embedded) = (&mut Types::default(), &mut Embedded::default());
        let found = embedded
            .in_libraries(&["liblzma.so.5"], "lzma_code", types)
            .expect("lzma_code");
        assert!(matches!(
            types.get(found.ret),
            Type::Lens(super::super::types::Lens::Enum(_), _)
        ));
        assert!(embedded.generated.contains_key("lzma_ret"));
        assert!(!embedded.curated.contains_key("lzma_ret"));
        let mut view = View {
            table: Table::Curated,
            embedded,
        };
        assert_eq!(view.typedef("lzma_ret", types), None);
    }

    #[test]
    fn a_function_of_no_named_library_is_looked_for_everywhere() {
        let (types, embedded) = (&mut Types::default(), &mut Embedded::default());
        assert!(
            embedded
                .in_libraries(&["libc.so.6"], "lzma_code", types)
                .is_none()
        );
        assert!(embedded.in_generated(&[], "lzma_code", types).is_some());
        assert!(
            embedded
                .in_generated(&["libc.so.6"], "lzma_code", types)
                .is_some()
        );
        assert!(embedded.in_curated("lzma_code", types).is_none());
        assert!(embedded.in_generated(&[], "no such function", types).is_none());
    }

    #[test]
    fn a_function_of_an_unknown_library_is_its_own() {
        let (types, embedded) = (&mut Types::default(), &mut Embedded::default());
        let sonames = ["libc.so.6", "libmine.so"];
        assert!(embedded.in_generated(&sonames, "lzma_code", types).is_none());
    }

    #[test]
    fn what_is_looked_for_everywhere_is_found_however_many_were() {
        let (types, embedded) = (&mut Types::default(), &mut Embedded::default());
        let names = GENERATED
            .iter()
            .flat_map(|(_, text)| body(text).lines().filter_map(key).take(3));
        for name in names {
            let found = embedded.in_generated(&[], name, types).expect(name);
            let first = Embedded::default().in_generated(&[], name, types).expect(name);
            assert_eq!(found.params.len(), first.params.len(), "{name}");
            assert!(embedded.in_generated(&[], &format!("{name}'"), types).is_none());
        }
        assert!(!embedded.names.texts.is_empty());
    }

    #[test]
    fn lines_are_what_is_used_sorted_and_aliases_spelt_out() {
        let lines: Vec<_> = lines().collect();
        assert!(lines.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
        let (types, embedded) = (&mut Types::default(), &mut Embedded::default());
        for (soname, name, line) in &lines {
            assert!(!line.contains(['\t', '\n']), "{line}");
            assert_eq!(key(line), Some(*name), "{line}");
            assert!(!line.starts_with("alias "), "{line}");
            let used = embedded
                .in_libraries(&[soname], name, types)
                .unwrap_or_else(|| panic!("{soname} {name}"));
            let Ok(Some(Item::Prototype(listed))) = parse_line(line, types, embedded) else {
                panic!("{line}")
            };
            assert_eq!(listed.name, used.name);
            assert_eq!(listed.params.len(), used.params.len(), "{line}");
            assert_eq!(listed.failure, used.failure, "{line}");
        }
        for library in CURATED {
            let listed = lines.iter().filter(|line| line.0 == library.sonames[0]);
            assert!(listed.count() >= body(library.text).lines().count());
        }
    }

    #[test]
    fn a_structure_may_point_at_itself() {
        let mut types = Types::default();
        let ty = Embedded::default()
            .defined(Table::Curated, "addrinfo", &mut types)
            .expect("addrinfo is embedded");
        let Type::Struct(fields) = types.get(ty) else {
            panic!("not a structure: {:?}", types.get(ty))
        };
        let last = fields.last().expect("members");
        assert_eq!(*types.get(last.ty), Type::Pointer(ty));
    }
}
