//! The units of an object's debug information, and the entries in them.
//!
//! Nothing is read before it is asked for: first only the root of each unit, which says whose addresses
//! it describes, and then the one unit that a function lies in.

use std::rc::Rc;

use gimli::{AttributeValue, DwTag, Reader as _};
use rustc_hash::FxHashMap;

use super::Reader;

pub(super) type Unit = Rc<gimli::Unit<Reader>>;
pub(super) type Value = AttributeValue<Reader>;
pub(super) type Attributes = gimli::DebuggingInformationEntry<Reader>;

/// The most units of a file, entries of a unit, children of an entry and address ranges that are looked at.
const MAX_UNITS: usize = 1 << 17;
const MAX_ENTRIES: usize = 1 << 21;
const MAX_CHILDREN: usize = 4096;
const MAX_RANGES: usize = 1 << 20;

/// An entry: the file and unit that it stands in, and where.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Die {
    shared: bool,
    unit: usize,
    offset: usize,
}

/// An entry that was read.
pub(super) struct Entry {
    pub(super) die: Die,
    pub(super) unit: Unit,
    attributes: Attributes,
}

impl Entry {
    pub(super) fn tag(&self) -> DwTag {
        self.attributes.tag()
    }

    pub(super) fn value(&self, name: gimli::DwAt) -> Option<Value> {
        self.attributes.attr_value(name)
    }

    pub(super) fn number(&self, name: gimli::DwAt) -> Option<u64> {
        self.attributes.attr(name)?.udata_value()
    }

    pub(super) fn signed(&self, name: gimli::DwAt) -> Option<i64> {
        self.attributes.attr(name)?.sdata_value()
    }

    pub(super) fn flag(&self, name: gimli::DwAt) -> bool {
        matches!(self.value(name), Some(AttributeValue::Flag(true)))
    }
}

/// The units of one file.
#[derive(Debug, Default)]
struct File {
    /// Where each unit starts, in order.
    headers: Vec<(usize, gimli::UnitHeader<Reader>)>,
    parsed: FxHashMap<usize, Option<Unit>>,
}

impl File {
    fn new(dwarf: &gimli::Dwarf<Reader>) -> Self {
        let mut file = Self::default();
        let mut units = dwarf.units();
        while let Ok(Some(header)) = units.next() {
            let offset = header.offset();
            if file.headers.len() == MAX_UNITS {
                break;
            }
            file.headers.push((offset.0, header));
        }
        file
    }

    fn unit(&mut self, dwarf: &gimli::Dwarf<Reader>, index: usize) -> Option<Unit> {
        let header = &self.headers.get(index)?.1;
        let parsed = self
            .parsed
            .entry(index)
            .or_insert_with(|| dwarf.unit(header.clone()).ok().map(Rc::new));
        parsed.clone()
    }

    /// The unit and the offset in it of an offset in the section.
    fn at(&self, offset: usize) -> Option<(usize, usize)> {
        let index = self
            .headers
            .partition_point(|(start, _)| *start <= offset)
            .checked_sub(1)?;
        Some((index, offset - self.headers[index].0))
    }
}

/// The debug information of an object.
#[derive(Debug)]
pub(super) struct Units {
    dwarf: gimli::Dwarf<Reader>,
    own: File,
    shared: File,
    /// Which unit describes which addresses: start, end, unit; by start.
    ranges: Option<Vec<(u64, u64, usize)>>,
    /// The functions of units that were looked at, by address.
    functions: FxHashMap<usize, FxHashMap<u64, usize>>,
}

impl Units {
    pub(super) fn new(dwarf: gimli::Dwarf<Reader>) -> Self {
        Self {
            own: File::new(&dwarf),
            shared: dwarf.sup().map(File::new).unwrap_or_default(),
            dwarf,
            ranges: None,
            functions: FxHashMap::default(),
        }
    }

    fn unit(&mut self, shared: bool, index: usize) -> Option<Unit> {
        if shared {
            let dwarf = self.dwarf.sup()?;
            self.shared.unit(dwarf, index)
        } else {
            self.own.unit(&self.dwarf, index)
        }
    }

    pub(super) fn entry(&mut self, die: Die) -> Option<Entry> {
        let unit = self.unit(die.shared, die.unit)?;
        let attributes = unit.entry(gimli::UnitOffset(die.offset)).ok()?;
        Some(Entry {
            die,
            unit,
            attributes,
        })
    }

    /// The entry that an attribute refers to.
    pub(super) fn refers(&mut self, from: &Entry, name: gimli::DwAt) -> Option<Entry> {
        let die = self.target(from, name)?;
        self.entry(die)
    }

    pub(super) fn target(&self, from: &Entry, name: gimli::DwAt) -> Option<Die> {
        let (shared, section_offset) = match from.value(name)? {
            AttributeValue::UnitRef(offset) => {
                return Some(Die {
                    offset: offset.0,
                    ..from.die
                });
            }
            AttributeValue::DebugInfoRef(offset) => (from.die.shared, offset.0),
            AttributeValue::DebugInfoRefSup(offset) => (true, offset.0),
            _ => return None, // a type unit's signature
        };
        let file = if shared { &self.shared } else { &self.own };
        let (unit, offset) = file.at(section_offset)?;
        Some(Die { shared, unit, offset })
    }

    /// An entry's children, as many as are looked at.
    pub(super) fn children(of: &Entry) -> Vec<Entry> {
        let mut found = Vec::new();
        let Ok(mut tree) = of.unit.entries_tree(Some(gimli::UnitOffset(of.die.offset))) else {
            return found;
        };
        let Ok(root) = tree.root() else { return found };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            if found.len() == MAX_CHILDREN {
                break;
            }
            found.push(Entry {
                die: Die {
                    offset: child.entry().offset().0,
                    ..of.die
                },
                unit: Rc::clone(&of.unit),
                attributes: child.entry().clone(),
            });
        }
        found
    }

    /// A string of an entry's.
    pub(super) fn text(&self, of: &Entry, name: gimli::DwAt) -> Option<String> {
        let value = of.value(name)?;
        let dwarf = if of.die.shared {
            self.dwarf.sup()?
        } else {
            &self.dwarf
        };
        let text = dwarf.attr_string(&of.unit, value).ok()?;
        let text = text.to_string_lossy().ok()?;
        (text.len() <= 4096).then(|| text.into_owned())
    }

    /// The entry that describes the function at this address of the object.
    pub(super) fn function(&mut self, at: u64) -> Option<Entry> {
        let unit = self.unit_of(at)?;
        if !self.functions.contains_key(&unit) {
            let found = self.functions_of(unit);
            self.functions.insert(unit, found);
        }
        let offset = *self.functions.get(&unit)?.get(&at)?;
        self.entry(Die {
            shared: false,
            unit,
            offset,
        })
    }

    fn unit_of(&mut self, at: u64) -> Option<usize> {
        if self.ranges.is_none() {
            self.ranges = Some(self.all_ranges());
        }
        let ranges = self.ranges.as_ref()?;
        let after = ranges.partition_point(|(start, ..)| *start <= at);
        // Ranges may overlap where the linker has merged code: the nearest one that holds the address.
        let before = ranges[..after].iter().rev().take(16);
        before
            .clone()
            .find(|(_, end, _)| at < *end)
            .map(|(.., unit)| *unit)
    }

    fn all_ranges(&mut self) -> Vec<(u64, u64, usize)> {
        let mut all = Vec::new();
        for index in 0..self.own.headers.len() {
            // A unit is kept only once one of its functions is asked for.
            let Ok(unit) = self.dwarf.unit(self.own.headers[index].1.clone()) else {
                continue;
            };
            let Ok(mut ranges) = self.dwarf.unit_ranges(&unit) else {
                continue;
            };
            while let Ok(Some(range)) = ranges.next() {
                if all.len() == MAX_RANGES {
                    break;
                }
                // Code that the linker has left out lies at zero.
                if range.begin != 0 && range.begin < range.end {
                    all.push((range.begin, range.end, index));
                }
            }
        }
        all.sort_unstable();
        all
    }

    /// The functions that a unit describes, by their first address.
    fn functions_of(&mut self, index: usize) -> FxHashMap<u64, usize> {
        let mut found = FxHashMap::default();
        let Some(unit) = self.unit(false, index) else {
            return found;
        };
        let mut entries = unit.entries();
        for _ in 0..MAX_ENTRIES {
            let Ok(Some(entry)) = entries.next_dfs() else {
                break;
            };
            if entry.tag() != gimli::DW_TAG_subprogram {
                continue;
            }
            let start = entry
                .attr_value(gimli::DW_AT_low_pc)
                .and_then(|value| self.dwarf.attr_address(&unit, value).ok().flatten())
                .or_else(|| {
                    self.dwarf
                        .die_ranges(&unit, entry)
                        .ok()?
                        .next()
                        .ok()?
                        .map(|range| range.begin)
                });
            if let Some(start) = start {
                found.entry(start).or_insert(entry.offset().0);
            }
        }
        found
    }

    /// The language of the unit that an entry stands in.
    pub(super) fn language(of: &Entry) -> Option<gimli::DwLang> {
        let root = of.unit.entry(of.unit.root_offset()).ok()?;
        match root.attr_value(gimli::DW_AT_language)? {
            AttributeValue::Language(language) => Some(language),
            _ => None,
        }
    }
}
