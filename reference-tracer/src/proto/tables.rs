//! The texts of the embedded prototypes, and which of them are about a library.
//!
//! There are two tables: the curated one, written by hand, and behind it the generated one. Each has
//! its own types, so that what one of them names does not change what the other says.

use std::borrow::Cow;
use std::hash::{BuildHasher, BuildHasherDefault};

use rustc_hash::FxHasher;

use super::searched::{body, find, key};

/// A library's prototypes, written by hand. The sonames are those under which programs know the
/// library; the first is its own.
pub(super) struct Library {
    pub(super) sonames: &'static [&'static str],
    pub(super) text: &'static str,
}

pub(super) static CURATED: &[Library] = &[
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
pub(super) static GENERATED: &[(&str, &str)] = &include!("../../prototypes/db/index.rs");

/// The types of the generated prototypes; those that they share with the curated ones are not here.
static GENERATED_TYPES: &str = include_str!("../../prototypes/db/types.conf");

/// The table that a text belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Table {
    Curated,
    Generated,
}

impl Table {
    pub(super) fn types(self) -> &'static str {
        match self {
            Self::Curated => CURATED_TYPES,
            Self::Generated => GENERATED_TYPES,
        }
    }
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
pub(super) fn curated(soname: &str) -> Option<&'static Library> {
    CURATED.iter().find(|library| library.sonames.contains(&soname))
}

/// The texts of the generated table that are about a library: its own or, where there is none, those
/// of its other versions (`libssl.so.3` for `libssl.so.1.1`).
pub(super) fn generated(soname: &str) -> &'static [(&'static str, &'static str)] {
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

/// Which of the generated texts have a name, once many were looked for that may be in any of them.
#[derive(Debug, Default)]
pub(super) struct Names {
    asked: u32,
    /// The hash of each name with the number of its text, sorted.
    pub(super) texts: Vec<(u64, usize)>,
}

impl Names {
    /// To gather the names takes as long as so many searches of all texts.
    const MANY: u32 = 24;

    /// The numbers of the texts that may be about `name`, in order.
    pub(super) fn about(&mut self, name: &str) -> Vec<usize> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
