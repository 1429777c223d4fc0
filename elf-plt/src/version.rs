//! Symbol versions: LSB Core, "Symbol Versioning".

use crate::dynamic::Dynamic;
use crate::image::{Image, string, u16_at, u32_at};
use crate::symbol::Version;

/// `vs_vers` bit of a version that is bound only where it is asked for.
const VERSYM_HIDDEN: u16 = 0x8000;
/// Indices up to here are no versions: `VER_NDX_LOCAL`, `VER_NDX_GLOBAL`.
const VER_NDX_GLOBAL: u16 = 1;
/// There are 2¹⁵ version indices; entries beyond that many are not read.
const MAX_ENTRIES: usize = 1 << 15;

/// A version's name, and the file that is to define it.
type Named<'data> = (&'data [u8], Option<&'data [u8]>);

/// The versions of the dynamic symbols.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions<'data> {
    /// `DT_VERSYM`: an index for each symbol.
    versym: &'data [u8],
    /// By index.
    names: Vec<Option<Named<'data>>>,
}

impl<'data> Versions<'data> {
    /// Reads the tables. What is broken in them has no version, as in an object without versions: they
    /// matter to no address.
    pub(crate) fn parse(image: &Image<'data>, dynamic: &Dynamic<'data>) -> Self {
        let versym = dynamic.versym.and_then(|at| image.loaded(at, "DT_VERSYM").ok());
        let mut versions = Self {
            versym: versym.unwrap_or_default(),
            names: Vec::new(),
        };
        if let Some((at, count)) = dynamic.verneed {
            let bytes = image.loaded(at, "DT_VERNEED").unwrap_or_default();
            versions.read_needed(bytes, count, dynamic.strings);
        }
        if let Some((at, count)) = dynamic.verdef {
            let bytes = image.loaded(at, "DT_VERDEF").unwrap_or_default();
            versions.read_defined(bytes, count, dynamic.strings);
        }
        versions
    }

    /// The version of the dynamic symbol number `symbol`, which the object defines or not.
    pub(crate) fn of(&self, symbol: usize, defined: bool) -> Option<Version<'data>> {
        let raw = u16_at(self.versym, symbol.checked_mul(2)?)?;
        let index = raw & !VERSYM_HIDDEN;
        if index <= VER_NDX_GLOBAL {
            return None;
        }
        let (name, file) = (*self.names.get(usize::from(index))?)?;
        Some(Version {
            name,
            file,
            hidden: defined && raw & VERSYM_HIDDEN != 0,
        })
    }

    /// `Elf32_Verneed`: version, cnt, file, aux, next; and `Elf32_Vernaux`: hash, flags, other, name, next.
    fn read_needed(&mut self, bytes: &'data [u8], count: u64, strings: &'data [u8]) {
        let mut budget = MAX_ENTRIES;
        for need in chain(bytes, 0, count, 12) {
            let file = u32_at(bytes, need + 4).and_then(|offset| string(strings, offset.into()));
            let (Some(aux_count), Some(aux)) = (u16_at(bytes, need + 2), u32_at(bytes, need + 8)) else {
                return;
            };
            let Some(first) = offset_by(need, aux) else { return };
            for aux in chain(bytes, first, aux_count.into(), 12) {
                let Some(left) = budget.checked_sub(1) else { return };
                budget = left;
                let name = u32_at(bytes, aux + 8).and_then(|offset| string(strings, offset.into()));
                if let (Some(index), Some(name)) = (u16_at(bytes, aux + 6), name) {
                    self.set(index, name, file);
                }
            }
        }
    }

    /// `Elf32_Verdef`: version, flags, ndx, cnt, hash, aux, next; and `Elf32_Verdaux`: name, next. The first
    /// of these is the version, others are those that it inherits.
    fn read_defined(&mut self, bytes: &'data [u8], count: u64, strings: &'data [u8]) {
        for definition in chain(bytes, 0, count, 16) {
            let name = u32_at(bytes, definition + 12)
                .and_then(|aux| u32_at(bytes, offset_by(definition, aux)?))
                .and_then(|offset| string(strings, offset.into()));
            if let (Some(index), Some(name)) = (u16_at(bytes, definition + 4), name) {
                self.set(index, name, None);
            }
        }
    }

    fn set(&mut self, raw: u16, name: &'data [u8], file: Option<&'data [u8]>) {
        let index = usize::from(raw & !VERSYM_HIDDEN);
        if self.names.len() <= index {
            self.names.resize(index + 1, None);
        }
        self.names[index] = Some((name, file));
    }
}

fn offset_by(start: usize, distance: u32) -> Option<usize> {
    start.checked_add(usize::try_from(distance).ok()?)
}

/// The offsets of at most `count` structures, the first at `first`, each with the distance to the next at
/// `next_at`; zero ends the chain. Distances are positive, so that it comes to an end.
fn chain(bytes: &[u8], first: usize, count: u64, next_at: usize) -> impl Iterator<Item = usize> {
    let count = usize::try_from(count).unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
    let next = move |&start: &usize| {
        let distance = u32_at(bytes, start.checked_add(next_at)?).filter(|&distance| distance != 0)?;
        offset_by(start, distance).filter(|&next| next < bytes.len())
    };
    std::iter::successors(Some(first).filter(|&first| first < bytes.len()), next).take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_ends_with_its_bytes_and_its_count() {
        let bytes = [4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(chain(&bytes, 0, 9, 0).collect::<Vec<_>>(), [0, 4, 8]);
        assert_eq!(chain(&bytes, 0, 2, 0).collect::<Vec<_>>(), [0, 4]);
        assert_eq!(chain(&[255; 12], 0, 9, 0).collect::<Vec<_>>(), [0]);
        assert_eq!(chain(&[], 0, 9, 0).count(), 0);
    }

    #[test]
    fn a_hostile_chain_costs_no_more_than_there_are_indices() {
        let bytes = 1_u32.to_le_bytes().repeat(1 << 17);
        assert!(chain(&bytes, 0, u64::MAX, 0).count() <= MAX_ENTRIES);
    }
}
