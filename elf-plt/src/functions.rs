//! The functions that an object defines: one place in the code, all its names.

use arch_abi::FileAddr;

use crate::symbol::Symbol;

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
