//! One object of the target's, as far as its functions can be told without a prototype.

use std::cell::OnceCell;
use std::fs::File;

use arch_abi::{Arch, FileAddr};
use elf_plt::{FunctionIndex, Object as Elf, Symbol};
use rustc_hash::FxHashMap;

use super::code::{self, Args, Found, Program};
use crate::sys;

/// The most imports of an object that are kept; more are looked up no better.
const MAX_NAMES: usize = 1 << 20;

/// What was gathered of an object's code: where it calls others.
#[derive(Debug, Default)]
pub(super) struct CodeIndex {
    imports: FxHashMap<FileAddr, Box<str>>,
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
        index
    }
}

/// The file of an object, and what was found in it so far.
#[derive(Debug)]
pub(super) struct ObjectCode {
    file: File,
    index: OnceCell<CodeIndex>,
    functions: OnceCell<FunctionIndex>,
}

impl ObjectCode {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            index: OnceCell::new(),
            functions: OnceCell::new(),
        }
    }

    /// Where its functions begin. Of an object whose symbols cannot be read there are none.
    fn functions(&self, elf: &Elf<'_>) -> &FunctionIndex {
        self.functions
            .get_or_init(|| elf.function_index().unwrap_or_default())
    }

    /// The function that has the code at an address.
    pub(super) fn containing<'data>(&self, elf: &Elf<'data>, at: FileAddr) -> Option<Symbol<'data>> {
        self.functions(elf).containing(elf, at)
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
                functions: self.functions(elf),
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
    functions: &'a FunctionIndex,
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
        self.functions.is_start(at)
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
