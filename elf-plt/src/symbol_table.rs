//! The symbol tables: the dynamic one, by the dynamic section and its hash tables, and `.symtab`.

use arch_abi::FileAddr;
use goblin::container::Ctx;
use goblin::elf::section_header::{SHT_DYNSYM, SHT_SYMTAB};
use goblin::elf::sym::Sym;

use crate::error::Error;
use crate::hash::{GnuHash, SysvHash};
use crate::image::{Image, Table, len64, string};
use crate::object::Object;
use crate::symbol::{Binding, Symbol, SymbolType};
use crate::version::Versions;

/// gABI, "Special Section Indexes": `SHN_UNDEF`, `SHN_ABS`, `SHN_COMMON`.
const SHN_UNDEF: usize = 0;
const SHN_ABS: usize = 0xfff1;
const SHN_COMMON: usize = 0xfff2;

/// A symbol table and what belongs to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SymbolTable<'data> {
    table: Table<'data>,
    strings: &'data [u8],
    versions: Versions<'data>,
    ctx: Ctx,
}

impl<'data> SymbolTable<'data> {
    /// The dynamic symbols. The table goes on to the end of its segment: a relocation may name symbols
    /// that the hash table does not count.
    pub(crate) fn dynamic(object: &Object<'data>) -> Result<Self, Error> {
        let image = &object.image;
        let ctx = image.ctx();
        let Some(dynamic) = &object.dynamic else {
            return Ok(Self {
                ctx,
                ..Self::default()
            });
        };
        let Some(symtab) = dynamic.symtab else {
            return Ok(Self {
                ctx,
                ..Self::default()
            });
        };
        Ok(Self {
            table: Table::new(image.loaded(symtab, "DT_SYMTAB")?, Sym::size(ctx.container)),
            strings: dynamic.strings,
            versions: Versions::parse(image, dynamic),
            ctx,
        })
    }

    /// `.symtab`; empty where the object is stripped or its section headers are broken.
    pub(crate) fn full(object: &Object<'data>) -> Self {
        Self::of_section(object, SHT_SYMTAB).unwrap_or(Self {
            ctx: object.image.ctx(),
            ..Self::default()
        })
    }

    fn of_section(object: &Object<'data>, kind: u32) -> Option<Self> {
        let image = &object.image;
        let section = object.sections.iter().find(|section| section.kind == kind)?;
        let strings = object.sections.get(usize::try_from(section.link).ok()?)?;
        let ctx = image.ctx();
        Some(Self {
            table: Table::new(
                image.slice(section.offset, section.size, ".symtab").ok()?,
                Sym::size(ctx.container),
            ),
            strings: image.slice(strings.offset, strings.size, ".strtab").ok()?,
            versions: Versions::default(),
            ctx,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn raw(&self, index: usize) -> Option<Sym> {
        self.table.get(index, self.ctx)
    }

    /// The name alone: what a look-up compares.
    pub(crate) fn name(&self, index: usize) -> Option<&'data [u8]> {
        string(self.strings, len64(self.raw(index)?.st_name))
    }

    pub(crate) fn get(&self, index: usize) -> Option<Symbol<'data>> {
        self.raw(index).map(|sym| self.symbol(index, &sym))
    }

    fn symbol(&self, index: usize, sym: &Sym) -> Symbol<'data> {
        let defined = sym.st_shndx != SHN_UNDEF;
        Symbol {
            name: string(self.strings, len64(sym.st_name)).unwrap_or_default(),
            version: self.versions.of(index, defined),
            addr: FileAddr::new(sym.st_value),
            size: sym.st_size,
            kind: SymbolType(sym.st_type()),
            binding: Binding(sym.st_bind()),
            defined,
        }
    }

    /// The symbols after the first, which is none (gABI, "Symbol Table", `STN_UNDEF`).
    pub(crate) fn iter(self) -> impl Iterator<Item = Symbol<'data>> {
        (1..self.len()).map_while(move |index| self.get(index))
    }

    /// The symbols that `wanted` picks by their raw form, before names and versions are looked up.
    pub(crate) fn filtered<F: Fn(&Sym) -> bool>(
        self,
        wanted: F,
    ) -> impl Iterator<Item = Symbol<'data>> + use<'data, F> {
        (1..self.len()).filter_map(move |index| {
            let sym = self.raw(index).filter(&wanted)?;
            Some(self.symbol(index, &sym))
        })
    }

    fn truncated(self, len: usize) -> Self {
        Self {
            table: self.table.truncated(len),
            ..self
        }
    }
}

/// Whether a raw symbol is a function that lies at its value.
pub(crate) fn is_defined_function(sym: &Sym) -> bool {
    let kind = SymbolType(sym.st_type());
    let function = kind == SymbolType::FUNC || kind == SymbolType::GNU_IFUNC;
    let placed = !matches!(sym.st_shndx, SHN_UNDEF | SHN_ABS | SHN_COMMON);
    function && placed && sym.st_value != 0
}

/// How many dynamic symbols there are: by section header, `DT_HASH`, `DT_GNU_HASH`, or where the strings
/// start, which linkers put behind the symbols. None of these counts what only relocations name.
fn dynamic_count(object: &Object<'_>, table: &SymbolTable<'_>) -> usize {
    let Some(dynamic) = &object.dynamic else { return 0 };
    let image = &object.image;
    let section = || {
        object
            .sections
            .iter()
            .find(|s| s.kind == SHT_DYNSYM && Some(s.addr) == dynamic.symtab)
    };
    let entry = len64(Sym::size(table.ctx.container));
    let by_section = || usize::try_from(section()?.size / entry).ok();
    let by_hash = || SysvHash::parse(image, dynamic.hash?).map(|hash| hash.symbol_count());
    let by_gnu_hash = || GnuHash::parse(image, dynamic.gnu_hash?).map(|hash| hash.symbol_count());
    let by_order = || {
        let strings = image.offset_of(dynamic.strings);
        let symbols = image.offset_of(image.loaded(dynamic.symtab?, "DT_SYMTAB").ok()?);
        usize::try_from(strings.checked_sub(symbols)? / entry).ok()
    };
    let count = by_section()
        .or_else(by_hash)
        .or_else(by_gnu_hash)
        .or_else(by_order);
    count.unwrap_or(0).min(table.len())
}

impl<'data> Object<'data> {
    /// All symbols, first the dynamic ones (`.dynsym`), then those of `.symtab`. One whose name
    /// cannot be read has an empty name.
    ///
    /// # Errors
    /// The dynamic symbol table cannot be read at all.
    pub fn symbols(&self) -> Result<impl Iterator<Item = Symbol<'data>> + use<'data>, Error> {
        Ok(self
            .dynamic_symbols()?
            .iter()
            .chain(SymbolTable::full(self).iter()))
    }

    /// Whether it has a symbol table beside that of the dynamic linker (`SHT_SYMTAB`), which strip(1) takes out: without it
    /// functions that are not exported have no names.
    #[must_use]
    pub fn has_symbol_table(&self) -> bool {
        SymbolTable::full(self).len() > 1
    }

    /// The dynamic symbols that are known to be there.
    pub(crate) fn dynamic_symbols(&self) -> Result<SymbolTable<'data>, Error> {
        let table = SymbolTable::dynamic(self)?;
        let count = dynamic_count(self, &table);
        Ok(table.truncated(count))
    }

    /// The dynamic symbol that the object defines under this name: of `version`, or, without one, the
    /// default version. By `DT_GNU_HASH` or `DT_HASH`, so cheap.
    ///
    /// # Errors
    /// The dynamic symbol table cannot be read at all.
    pub fn lookup(&self, name: &[u8], version: Option<&[u8]>) -> Result<Option<Symbol<'data>>, Error> {
        let Some(dynamic) = &self.dynamic else {
            return Ok(None);
        };
        let table = SymbolTable::dynamic(self)?;
        let matches = |index: usize| {
            let sym = table.raw(index)?;
            if sym.st_shndx == SHN_UNDEF || table.name(index) != Some(name) {
                return None;
            }
            let symbol = table.symbol(index, &sym);
            let found = match (version, symbol.version) {
                (Some(wanted), Some(version)) => version.name == wanted,
                (Some(_), None) => false,
                (None, version) => !version.is_some_and(|version| version.hidden),
            };
            found.then_some(symbol)
        };
        let image = &self.image;
        if let Some(hash) = dynamic.gnu_hash.and_then(|at| GnuHash::parse(image, at)) {
            return Ok(hash.candidates(name).find_map(matches));
        }
        if let Some(hash) = dynamic.hash.and_then(|at| SysvHash::parse(image, at)) {
            return Ok(hash.candidates(name).find_map(matches));
        }
        Ok((1..dynamic_count(self, &table)).find_map(matches))
    }
}

impl Image<'_> {
    /// Whether `addr` lies in an executable segment.
    pub(crate) fn is_code(&self, addr: FileAddr) -> bool {
        self.segment_of(addr).is_some_and(|segment| segment.executable)
    }
}
