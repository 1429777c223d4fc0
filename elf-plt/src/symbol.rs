//! Symbols, as the gABI has them, with their versions.

use arch_abi::FileAddr;

/// A symbol's type: gABI, "Symbol Table", `ELF32_ST_TYPE`. A number without a name here is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SymbolType(pub u8);

impl SymbolType {
    /// No type: of an undefined symbol that the linker saw no definition of, and of hand-written labels.
    pub const NOTYPE: Self = Self(0);
    /// A data object.
    pub const OBJECT: Self = Self(1);
    /// A function.
    pub const FUNC: Self = Self(2);
    /// A section.
    pub const SECTION: Self = Self(3);
    /// A source file.
    pub const FILE: Self = Self(4);
    /// An uninitialised common block.
    pub const COMMON: Self = Self(5);
    /// A thread-local object.
    pub const TLS: Self = Self(6);
    /// The symbol's address is that of a resolver, which selects the function (GNU extension).
    pub const GNU_IFUNC: Self = Self(10);
}

/// A symbol's binding: gABI, "Symbol Table", `ELF32_ST_BIND`. A number without a name here is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Binding(pub u8);

impl Binding {
    /// Not visible outside the object.
    pub const LOCAL: Self = Self(0);
    /// Visible to all objects.
    pub const GLOBAL: Self = Self(1);
    /// As global, with lower precedence; undefined, it may stay so.
    pub const WEAK: Self = Self(2);
    /// Unique in the whole process (GNU extension).
    pub const GNU_UNIQUE: Self = Self(10);
}

/// A symbol's version: LSB Core, "Symbol Versioning".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Version<'data> {
    /// Such as `GLIBC_2.34`.
    pub name: &'data [u8],
    /// For an undefined symbol: the object that should define the version (`vn_file`).
    pub file: Option<&'data [u8]>,
    /// For a defined symbol: it is bound only where the version is asked for (`name@VERSION`, not
    /// `name@@VERSION`).
    pub hidden: bool,
}

/// A symbol of an object file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Symbol<'data> {
    /// The name as the file has it: not necessarily UTF-8, never with a NUL.
    pub name: &'data [u8],
    /// The version; `None` where the symbol or the object has none.
    pub version: Option<Version<'data>>,
    /// `st_value`: an address if the symbol is defined and neither `TLS` nor `COMMON`.
    pub addr: FileAddr,
    /// `st_size` in bytes; zero where it is not known.
    pub size: u64,
    /// The type.
    pub kind: SymbolType,
    /// The binding.
    pub binding: Binding,
    /// Whether the object defines the symbol: `st_shndx` is not `SHN_UNDEF`.
    pub defined: bool,
}
