//! One object of the target's, as far as its functions can be told without a prototype.

use std::cell::OnceCell;
use std::fs::File;

use arch_abi::{Arch, FileAddr};
use elf_plt::{Object as Elf, Symbol};
use rustc_hash::{FxHashMap, FxHashSet};

use super::code::{self, Args, Found, Program};
use crate::sys;

/// The most imports and functions of an object that are kept; more are looked up no better.
const MAX_NAMES: usize = 1 << 20;

/// What was gathered of an object's code: where it calls others, and where its own functions begin.
#[derive(Debug, Default)]
pub(super) struct CodeIndex {
    imports: FxHashMap<FileAddr, Box<str>>,
    starts: FxHashSet<FileAddr>,
}

impl CodeIndex {
    fn new(elf: &Elf<'_>) -> Self {
        let mut index = Self::default();
        for point in elf.call_points().unwrap_or_default() {
            let Some(name) = point.name().and_then(|name| std::str::from_utf8(name).ok()) else {
                continue;
            };
            let places = point.slots().iter().map(|slot| slot.addr);
            for at in places.chain(point.plt().iter().map(|entry| entry.addr)) {
                if index.imports.len() < MAX_NAMES {
                    index.imports.insert(at, name.into());
                }
            }
        }
        if let Ok(functions) = elf.functions() {
            index
                .starts
                .extend(functions.iter().map(|function| function.addr()).take(MAX_NAMES));
        }
        index
    }
}

/// The functions of an object, in the order of their addresses: a table that takes as long to make as the object is large.
#[derive(Debug, Default)]
struct Names {
    /// Where each begins, its size or 0, and where its name ends; it begins where the one before ends.
    functions: Vec<(FileAddr, u64, usize)>,
    text: Vec<u8>,
}

impl Names {
    fn new(elf: &Elf<'_>) -> Self {
        let mut names = Self::default();
        let Ok(functions) = elf.functions() else {
            return names;
        };
        for function in functions.iter().take(MAX_NAMES) {
            names.text.extend_from_slice(function.public().name);
            names
                .functions
                .push((function.addr(), function.size(), names.text.len()));
        }
        names
    }

    /// The name of the function that covers an address, and how far into it that is.
    fn of(&self, at: FileAddr) -> Option<Box<[u8]>> {
        let index = self
            .functions
            .partition_point(|&(start, ..)| start <= at)
            .checked_sub(1)?;
        let &(start, size, end) = self.functions.get(index)?;
        let within = at
            .offset_from(start)
            .filter(|&within| size == 0 || within < size)?;
        let begin = index.checked_sub(1).map_or(0, |before| self.functions[before].2);
        let mut name = self.text.get(begin..end)?.to_vec();
        if name.is_empty() {
            return None;
        }
        if within != 0 {
            name.extend_from_slice(format!("+{within:#x}").as_bytes());
        }
        Some(name.into())
    }
}

/// The file of an object, and what was found in it so far.
#[derive(Debug)]
pub(super) struct ObjectCode {
    file: File,
    index: OnceCell<CodeIndex>,
    names: OnceCell<Names>,
}

impl ObjectCode {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            index: OnceCell::new(),
            names: OnceCell::new(),
        }
    }

    /// The name of the code at an address: `compare`, or `compare+0x12` within it. `None`: no symbol covers it.
    pub(super) fn code_name(&self, at: FileAddr) -> Option<Box<[u8]>> {
        let look = || self.with(|elf, _| Some(Names::new(elf))).unwrap_or_default();
        self.names.get_or_init(look).of(at)
    }

    /// Has `look` look at the object. `None`: it can't be read any more.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Elf<'_>, &File) -> Option<T>) -> Option<T> {
        let bytes = sys::map_file(&self.file).ok()?;
        let elf = Elf::parse(&bytes).ok()?;
        look(&elf, &self.file)
    }

    /// What the code of the function at `at` tells of its arguments.
    pub(super) fn arguments(
        &self,
        elf: &Elf<'_>,
        at: FileAddr,
        prototype: &dyn Fn(&str) -> Option<Args>,
    ) -> Option<Found> {
        let index = self.index.get_or_init(|| CodeIndex::new(elf));
        code::arguments(
            &Linked {
                elf,
                index,
                prototype,
            },
            elf.arch(),
            at,
        )
    }
}

/// An object with what is known of its surroundings.
struct Linked<'a> {
    elf: &'a Elf<'a>,
    index: &'a CodeIndex,
    prototype: &'a dyn Fn(&str) -> Option<Args>,
}

impl Program for Linked<'_> {
    fn code(&self, at: FileAddr) -> Option<&[u8]> {
        // The last instruction of a segment may be shorter than the longest.
        self.elf
            .is_code(at)
            .then(|| (1..=15).rev().find_map(|len| self.elf.bytes_at(at, len)))
            .flatten()
    }

    fn import(&self, at: FileAddr) -> Option<&str> {
        self.index.imports.get(&at).map(AsRef::as_ref)
    }

    fn defined(&self, name: &str) -> Option<FileAddr> {
        function(self.elf, name.as_bytes()).map(|symbol| symbol.addr)
    }

    fn is_function(&self, at: FileAddr) -> bool {
        self.index.starts.contains(&at)
    }

    fn prototype(&self, name: &str) -> Option<Args> {
        (self.prototype)(name)
    }
}

/// The function of this name that `elf` exports, unless it is one that a resolver selects: the code at
/// its address is the resolver's.
pub(super) fn function<'data>(elf: &Elf<'data>, name: &[u8]) -> Option<Symbol<'data>> {
    let symbol = elf.lookup(name, None).ok().flatten()?;
    (symbol.kind != elf_plt::SymbolType::GNU_IFUNC && elf.is_code(symbol.addr)).then_some(symbol)
}

/// Argument counts of a whole object's functions, for measuring how good they are: each exported function
/// with what its code tells.
///
/// # Errors
/// The file can't be opened or is no object.
pub fn exported_arguments(
    path: &std::path::Path,
    prototype: &dyn Fn(&str) -> Option<Args>,
) -> std::io::Result<(Arch, Vec<(String, Found)>)> {
    let code = ObjectCode::new(File::open(path)?);
    let all = code.with(|elf, _| {
        let mut names: Vec<_> = elf
            .functions()
            .ok()?
            .iter()
            .flat_map(|function| function.aliases().to_vec())
            .filter_map(|symbol| Some(std::str::from_utf8(symbol.name).ok()?.to_owned()))
            .collect();
        names.sort_unstable();
        names.dedup();
        let found = names.into_iter().filter_map(|name| {
            let symbol = function(elf, name.as_bytes())?;
            let found = code.arguments(elf, symbol.addr, prototype)?;
            Some((name, found))
        });
        Some((elf.arch(), found.collect()))
    });
    all.ok_or_else(|| std::io::Error::other("not an ELF object that can be read"))
}
