//! The embedded prototypes: sorted texts, searched in place. Nothing is parsed at the start.
//!
//! There are two tables: the curated one, written by hand, and behind it the generated one. Each has
//! its own types, so that what one of them names does not change what the other says.

use std::borrow::Cow;
use std::hash::{BuildHasher, BuildHasherDefault};

use rustc_hash::{FxHashMap, FxHasher};

use super::builtin;
use super::parser::{Item, Scope, parse_line};
use super::searched::{body, find, key};
use super::types::{Prototype, Type, TypeId, Types};

/// A library's prototypes, written by hand. The sonames are those under which programs know the
/// library; the first is its own.
struct Library {
    sonames: &'static [&'static str],
    text: &'static str,
}

static CURATED: &[Library] = &[
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

/// The types of the curated prototypes.
static CURATED_TYPES: &str = include_str!("../../prototypes/types.conf");

/// The generated prototypes: soname and text, sorted by soname.
static GENERATED: &[(&str, &str)] = &include!("../../prototypes/db/index.rs");

/// The types of the generated prototypes; those that they share with the curated ones are not here.
static GENERATED_TYPES: &str = include_str!("../../prototypes/db/types.conf");

/// The table that a text belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Table {
    Curated,
    Generated,
}

impl Table {
    fn types(self) -> &'static str {
        match self {
            Self::Curated => CURATED_TYPES,
            Self::Generated => GENERATED_TYPES,
        }
    }
}

/// The typedefs of the embedded texts that were used so far.
#[derive(Debug, Default)]
pub(super) struct Embedded {
    curated: FxHashMap<&'static str, Typedef>,
    generated: FxHashMap<&'static str, Typedef>,
    names: Names,
}

/// Which of the generated texts have a name, once many were looked for that may be in any of them.
#[derive(Debug, Default)]
struct Names {
    asked: u32,
    /// The hash of each name with the number of its text, sorted.
    texts: Vec<(u64, usize)>,
}

impl Names {
    /// To gather the names takes as long as so many searches of all texts.
    const MANY: u32 = 24;

    /// The numbers of the texts that may be about `name`, in order.
    fn about(&mut self, name: &str) -> Vec<usize> {
        let hasher = BuildHasherDefault::<FxHasher>::default();
        self.asked = self.asked.saturating_add(1);
        if self.asked < Self::MANY {
            return (0..GENERATED.len()).collect();
        }
        if self.texts.is_empty() {
            for (number, (_, text)) in GENERATED.iter().enumerate() {
                let names = body(text).lines().filter_map(key);
                self.texts
                    .extend(names.map(|name| (hasher.hash_one(name), number)));
            }
            self.texts.sort_unstable();
        }
        let hash = hasher.hash_one(name);
        let start = self.texts.partition_point(|&(other, _)| other < hash);
        let same = self.texts[start..]
            .iter()
            .take_while(|&&(other, _)| other == hash);
        same.map(|&(_, number)| number).collect()
    }
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
/// [`Embedded::lines`] means the same in a file of the user's.
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

    /// The line about a function of a library, of the curated text or of the generated one.
    pub(super) fn line(soname: &str, name: &str) -> Option<&'static str> {
        curated(soname)
            .and_then(|library| find(library.text, name))
            .or_else(|| generated(soname).iter().find_map(|(_, text)| find(text, name)))
    }

    /// Every embedded prototype as it is used for its library, sorted by soname and function: soname,
    /// function and the line that describes it. An alias is given as the prototype that it stands for.
    pub(super) fn lines() -> impl Iterator<Item = (&'static str, &'static str, Cow<'static, str>)> {
        GENERATED.iter().flat_map(|&(soname, text)| {
            let curated = curated(soname).map_or("", |library| library.text);
            let mut lines: Vec<_> = lines_of(text)
                .filter(|(name, _)| find(curated, name).is_none())
                .chain(lines_of(curated))
                .collect();
            lines.sort_unstable_by_key(|&(name, _)| name);
            lines.into_iter().map(move |(name, line)| (soname, name, line))
        })
    }
}

/// The functions of a text and the prototypes that they have.
fn lines_of(text: &'static str) -> impl Iterator<Item = (&'static str, Cow<'static, str>)> {
    body(text).lines().filter_map(move |line| {
        let name = key(line)?;
        let Some((_, old)) = line
            .strip_prefix("alias ")
            .and_then(|rest| rest.split_once(" = "))
        else {
            return Some((name, line.into()));
        };
        let (before, after) = find(text, old.trim_end_matches(';'))?.split_once('(')?;
        let ret = &before[..before.rfind([' ', '*']).map_or(0, |end| end + 1)];
        Some((name, format!("{ret}{name}({after}").into()))
    })
}

/// The library that programs know under this soname, in the curated table.
fn curated(soname: &str) -> Option<&'static Library> {
    CURATED.iter().find(|library| library.sonames.contains(&soname))
}

/// The texts of the generated table that are about a library: its own or, where there is none, those
/// of its other versions (`libssl.so.3` for `libssl.so.1.1`).
fn generated(soname: &str) -> &'static [(&'static str, &'static str)] {
    let soname = curated(soname).map_or(soname, |library| library.sonames[0]);
    if let Ok(at) = GENERATED.binary_search_by(|(own, _)| (*own).cmp(soname)) {
        return &GENERATED[at..=at];
    }
    let Some(end) = soname.find(".so.") else {
        return &[];
    };
    let family = &soname[..end + ".so.".len()];
    let first = GENERATED.partition_point(|(own, _)| *own < family);
    let len = GENERATED[first..].partition_point(|(own, _)| own.starts_with(family));
    &GENERATED[first..first + len]
}

#[cfg(test)]
mod tests {
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
    fn libraries_are_sorted_by_soname() {
        assert!(GENERATED.is_sorted_by(|(one, _), (next, _)| one < next));
    }

    #[test]
    fn curated_libraries_are_generated_too() {
        for library in CURATED {
            let texts = generated(library.sonames[0]);
            assert_eq!(texts.len(), 1, "{}", library.sonames[0]);
            for soname in library.sonames {
                assert_eq!(generated(soname), texts, "{soname}");
            }
        }
    }

    #[test]
    fn a_library_is_found_by_its_soname_or_by_another_version() {
        let names = |soname| {
            let texts = generated(soname).iter();
            texts.map(|(own, _)| *own).collect::<Vec<_>>()
        };
        assert_eq!(names("libssl.so.3"), ["libssl.so.3"]);
        assert_eq!(names("libssl.so.1.1"), ["libssl.so.3"]);
        for unknown in ["", "libssl", "libssl.so", "libs.so.3", ".so.", "libzzz.so.1"] {
            assert_eq!(names(unknown), [""; 0], "{unknown}");
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
        let lines: Vec<_> = Embedded::lines().collect();
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
