//! An object file: what its headers and its dynamic section say.

use std::ops::Range;

use arch_abi::{Addr, Arch, BaseAddress, FileAddr};

use crate::call_point::CallPoint;
use crate::error::Error;
use crate::functions::Functions;
use crate::references::References;
use crate::symbol::Symbol;

/// What kind of object file it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ObjectKind {
    /// `ET_EXEC`: a program that is loaded where its file says.
    Executable,
    /// `ET_DYN` that is a program: it has an interpreter, or says so by `DF_1_PIE`.
    PositionIndependentExecutable,
    /// `ET_DYN` that is a library.
    SharedObject,
    /// Another `e_type`, such as 1 for a relocatable file (`.o`).
    Other(u16),
}

/// A `PT_LOAD` segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// `p_vaddr`.
    pub addr: FileAddr,
    /// `p_memsz` in bytes.
    pub mem_size: u64,
    /// `p_offset`.
    pub offset: u64,
    /// `p_filesz` in bytes, cut to the file's end.
    pub file_size: u64,
    /// `PF_X`.
    pub executable: bool,
    /// `PF_W`.
    pub writable: bool,
}

/// An object file, parsed as far as its headers and its dynamic section; the rest is read when asked for.
#[derive(Debug)]
pub struct Object<'data> {
    data: &'data [u8],
}

impl<'data> Object<'data> {
    /// Parses the headers and the dynamic section of an object file.
    ///
    /// Section headers are used where they are sound; a file without them, or with broken ones, is
    /// served by its dynamic section alone, as the dynamic linker does.
    ///
    /// # Errors
    /// The bytes are no ELF file of a known machine, or the program headers or the dynamic section
    /// are broken.
    pub fn parse(data: &'data [u8]) -> Result<Self, Error> {
        let _ = data;
        todo!()
    }

    /// The ABI that the code is for.
    #[must_use]
    pub fn arch(&self) -> Arch {
        todo!()
    }

    /// What kind of object it is.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        todo!()
    }

    /// Whether the program is run without a dynamic linker: no `PT_INTERP`, and nothing `DT_NEEDED`.
    /// Of a shared object this says nothing.
    #[must_use]
    pub fn is_static(&self) -> bool {
        todo!()
    }

    /// `PT_INTERP`: the dynamic linker's path.
    #[must_use]
    pub fn interpreter(&self) -> Option<&'data [u8]> {
        todo!()
    }

    /// `e_entry`; zero is none.
    #[must_use]
    pub fn entry(&self) -> Option<FileAddr> {
        todo!()
    }

    /// The `PT_LOAD` segments in the order of the file.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        todo!()
    }

    /// The addresses from the first to the last loaded byte; empty without `PT_LOAD`.
    #[must_use]
    pub fn memory_range(&self) -> Range<FileAddr> {
        todo!()
    }

    /// `DT_SONAME`.
    #[must_use]
    pub fn soname(&self) -> Option<&'data [u8]> {
        todo!()
    }

    /// `DT_NEEDED`, in order.
    #[must_use]
    pub fn needed(&self) -> &[&'data [u8]] {
        todo!()
    }

    /// `DT_RUNPATH`, and `DT_RPATH` where there is none.
    #[must_use]
    pub fn runpath(&self) -> Option<&'data [u8]> {
        todo!()
    }

    /// The `NT_GNU_BUILD_ID` note's bytes.
    #[must_use]
    pub fn build_id(&self) -> Option<&'data [u8]> {
        todo!()
    }

    /// Whether all slots are bound when the object is loaded (`DF_BIND_NOW`, `DF_1_NOW`, `DT_BIND_NOW`).
    #[must_use]
    pub fn bind_now(&self) -> bool {
        todo!()
    }

    /// The word that the dynamic linker fills with the address of `struct r_debug`: `d_un` of
    /// `DT_DEBUG`. See [`crate::read_debug_slot`].
    #[must_use]
    pub fn debug_slot(&self) -> Option<FileAddr> {
        todo!()
    }

    /// `PT_DYNAMIC`'s address; with a link map's `l_ld` it tells which object is which.
    #[must_use]
    pub fn dynamic_addr(&self) -> Option<FileAddr> {
        todo!()
    }

    /// The base address of a program whose program headers lie at `at_phdr` ([`crate::Auxv::phdr`]).
    /// `None` where no segment loads them.
    #[must_use]
    pub fn base_from_phdr(&self, at_phdr: Addr) -> Option<BaseAddress> {
        let _ = at_phdr;
        todo!()
    }

    /// The base address by a line of `/proc/PID/maps`: the file's byte `offset` lies at `start`. `None`
    /// where no segment holds that byte.
    #[must_use]
    pub fn base_from_mapping(&self, start: Addr, offset: u64) -> Option<BaseAddress> {
        let _ = (start, offset);
        todo!()
    }

    /// The `len` bytes that the file loads at `addr`; `None` where it does not load them all.
    #[must_use]
    pub fn bytes_at(&self, addr: FileAddr, len: usize) -> Option<&'data [u8]> {
        let _ = (addr, len);
        todo!()
    }

    /// Whether `addr` lies in an executable segment.
    #[must_use]
    pub fn is_code(&self, addr: FileAddr) -> bool {
        let _ = addr;
        todo!()
    }

    /// The call points, by the address of their first slot. Imported data is none.
    ///
    /// # Errors
    /// A table that the dynamic section names is broken.
    pub fn call_points(&self) -> Result<Vec<CallPoint<'data>>, Error> {
        let _ = self.data;
        todo!()
    }

    /// How code uses the slots of `wanted` other than by PLT entries. All executable bytes are read,
    /// about a nanosecond each; `all` are all call points of this object, so that PLT entries are known.
    ///
    /// # Errors
    /// Executable bytes cannot be read.
    pub fn references<'p>(
        &self,
        all: &'p [CallPoint<'data>],
        wanted: impl IntoIterator<Item = &'p CallPoint<'data>>,
    ) -> Result<References, Error>
    where
        'data: 'p,
    {
        let _ = (all, wanted.into_iter().count());
        todo!()
    }

    /// All symbols, first the dynamic ones (`.dynsym`), then those of `.symtab`. One whose name
    /// cannot be read has an empty name.
    ///
    /// # Errors
    /// A table cannot be read at all.
    pub fn symbols(&self) -> Result<impl Iterator<Item = Symbol<'data>>, Error> {
        Err::<std::iter::Empty<_>, _>(Error::NotElf)
    }

    /// The functions that the object defines, with their aliases: symbols of type `FUNC` and
    /// `GNU_IFUNC` in executable segments, of any size, zero included. Untyped symbols are left out: they
    /// may stand for data or for an end (`etext`).
    ///
    /// # Errors
    /// A symbol table cannot be read at all.
    pub fn functions(&self) -> Result<Functions<'data>, Error> {
        todo!()
    }

    /// The dynamic symbol that the object defines under this name: of `version`, or, without one, the
    /// default version. By `DT_GNU_HASH` or `DT_HASH`, so cheap.
    ///
    /// # Errors
    /// The hash table or a symbol is broken.
    pub fn lookup(&self, name: &[u8], version: Option<&[u8]>) -> Result<Option<Symbol<'data>>, Error> {
        let _ = (name, version);
        todo!()
    }
}
