//! The functions that an object defines: one place in the code, all its names.

use std::cmp::Reverse;

use arch_abi::FileAddr;

use crate::error::Error;
use crate::object::Object;
use crate::symbol::{Binding, Symbol};
use crate::symbol_table::{SymbolTable, is_defined_function};

/// The functions of an object, by address.
#[derive(Clone, Debug, Default)]
pub struct Functions<'data> {
    /// By address; of one address, the public name first.
    pub(crate) symbols: Vec<Symbol<'data>>,
    /// Where each address starts in `symbols`.
    pub(crate) starts: Vec<usize>,
}

/// One function and its names.
#[derive(Clone, Copy, Debug)]
pub struct Function<'a, 'data> {
    symbols: &'a [Symbol<'data>],
}

impl<'a, 'data> Function<'a, 'data> {
    /// Its first instruction; of an ifunc, its resolver's.
    #[must_use]
    pub const fn addr(&self) -> FileAddr {
        self.symbols[0].addr
    }

    /// The symbol under which users know it: without leading underscores, of the default version,
    /// global before weak before local, then the shortest.
    #[must_use]
    pub const fn public(&self) -> &'a Symbol<'data> {
        &self.symbols[0]
    }

    /// All its symbols, the public one first.
    #[must_use]
    pub const fn aliases(&self) -> &'a [Symbol<'data>] {
        self.symbols
    }

    /// Its length in bytes: the largest that a symbol states; zero where none does.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.symbols.iter().map(|symbol| symbol.size).max().unwrap_or(0)
    }

    /// Whether the address is that of a resolver, which selects the function (`STT_GNU_IFUNC`).
    #[must_use]
    pub fn is_ifunc(&self) -> bool {
        self.symbols
            .iter()
            .any(|symbol| symbol.kind == crate::SymbolType::GNU_IFUNC)
    }
}

impl<'data> Functions<'data> {
    /// The functions by address.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Function<'_, 'data>> {
        (0..self.starts.len()).map(|index| self.nth(index))
    }

    /// How many functions there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The function that starts at `addr`.
    #[must_use]
    pub fn at(&self, addr: FileAddr) -> Option<Function<'_, 'data>> {
        let found = self
            .starts
            .binary_search_by_key(&addr, |&start| self.symbols[start].addr)
            .ok()?;
        Some(self.nth(found))
    }

    /// The function whose code `addr` lies in: one whose size covers it, or, where the size is not
    /// known, the next one before it.
    #[must_use]
    pub fn containing(&self, addr: FileAddr) -> Option<Function<'_, 'data>> {
        let after = self
            .starts
            .partition_point(|&start| self.symbols[start].addr <= addr);
        let function = self.nth(after.checked_sub(1)?);
        let within = addr.offset_from(function.addr())?;
        (function.size() == 0 || within < function.size()).then_some(function)
    }

    fn nth(&self, index: usize) -> Function<'_, 'data> {
        let end = self.starts.get(index + 1).copied().unwrap_or(self.symbols.len());
        Function {
            symbols: &self.symbols[self.starts[index]..end],
        }
    }
}

/// What sorts the names of one function: the one under which users know it comes first.
pub(crate) fn rank<'data>(symbol: &Symbol<'data>) -> impl Ord + use<'data> {
    let underscores = symbol.name.iter().take_while(|&&byte| byte == b'_').count();
    let hidden = symbol.version.is_some_and(|version| version.hidden);
    let binding = match symbol.binding {
        Binding::GLOBAL | Binding::GNU_UNIQUE => 0,
        Binding::WEAK => 1,
        _ => 2,
    };
    // Itanium mangled names start with an underscore, which hides nothing.
    let underscores = if symbol.name.starts_with(b"_Z") {
        0
    } else {
        underscores
    };
    (
        symbol.name.is_empty(),
        underscores,
        hidden,
        binding,
        symbol.name.len(),
        symbol.name,
    )
}

impl<'data> Object<'data> {
    /// The functions that the object defines, with their aliases: symbols of type `FUNC` and
    /// `GNU_IFUNC` in executable segments, of any size, zero included. Untyped symbols are left out: they
    /// may stand for data or for an end (`etext`).
    ///
    /// # Errors
    /// The dynamic symbol table cannot be read.
    pub fn functions(&self) -> Result<Functions<'data>, Error> {
        self.functions_with(None)
    }

    /// The same, with the symbols of a file that has been made for this object's symbols: what `.gnu_debugdata` holds unpacked,
    /// or a separate debug file. Of its bytes `debug` only the headers and the symbol table are read; what is no ELF file for
    /// the same machine has none.
    ///
    /// # Errors
    /// The dynamic symbol table cannot be read.
    pub fn functions_with(&self, debug: Option<&'data [u8]>) -> Result<Functions<'data>, Error> {
        let debug = debug
            .and_then(|debug| Object::parse_debug(debug).ok())
            .filter(|debug| debug.arch() == self.arch());
        let mut tables = vec![self.dynamic_symbols()?, SymbolTable::full(self)];
        tables.extend(debug.as_ref().map(SymbolTable::full));
        let symbols = tables.into_iter().flat_map(|table| {
            table.filtered(|sym| is_defined_function(sym) && self.is_code(FileAddr::new(sym.st_value)))
        });
        let mut symbols: Vec<_> = symbols.filter(|symbol| !symbol.name.is_empty()).collect();
        symbols.sort_by_cached_key(|symbol| (symbol.addr, rank(symbol), Reverse(symbol.version.is_some())));
        // .symtab repeats the dynamic symbols, without their versions.
        symbols.dedup_by(|later, first| {
            later.addr == first.addr && later.name == first.name && later.version.is_none()
        });
        let mut starts = Vec::new();
        for (index, symbol) in symbols.iter().enumerate() {
            if index == 0 || symbols[index - 1].addr != symbol.addr {
                starts.push(index);
            }
        }
        Ok(Functions { symbols, starts })
    }
}
