//! An object file: what its headers and its dynamic section say.

use std::ops::Range;

use arch_abi::{Addr, Arch, BaseAddress, FileAddr};

use crate::dynamic::Dynamic;
use crate::error::Error;
use crate::headers::{self, Headers, Section};
use crate::image::{Image, len64};
use crate::unwind_index::UnwindIndex;

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
#[derive(Clone, Debug)]
pub struct Object<'data> {
    pub(crate) image: Image<'data>,
    pub(crate) sections: Vec<Section>,
    pub(crate) dynamic: Option<Dynamic<'data>>,
    headers: Headers<'data>,
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
        let (image, headers) = headers::parse(data)?;
        let sections = headers::sections(&image);
        let dynamic = match headers.dynamic {
            Some((addr, offset, size)) => Some(Dynamic::parse(&image, addr, offset, size)?),
            None => None,
        };
        Ok(Self {
            image,
            sections,
            dynamic,
            headers,
        })
    }

    /// Parses the headers of a file that has symbols for another one: its segments, the dynamic one among them, may have no bytes.
    pub(crate) fn parse_debug(data: &'data [u8]) -> Result<Self, Error> {
        let (image, headers) = headers::parse(data)?;
        Ok(Self {
            sections: headers::sections(&image),
            image,
            dynamic: None,
            headers,
        })
    }

    /// The ABI that the code is for.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.image.arch
    }

    /// What kind of object it is.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        /// gABI, "ELF Header": `e_type`.
        const ET_EXEC: u16 = 2;
        const ET_DYN: u16 = 3;
        match self.headers.e_type {
            ET_EXEC => ObjectKind::Executable,
            ET_DYN if self.is_pie() => ObjectKind::PositionIndependentExecutable,
            ET_DYN => ObjectKind::SharedObject,
            other => ObjectKind::Other(other),
        }
    }

    /// libc.so.6 and ld.so have entry points, and libc an interpreter too, but their names of their own
    /// (`DT_SONAME`) make them libraries.
    fn is_pie(&self) -> bool {
        let says_so = self.dynamic.as_ref().is_some_and(|dynamic| dynamic.pie);
        says_so || self.headers.interpreter.is_some() && self.soname().is_none()
    }

    /// Whether the program is run without a dynamic linker: no `PT_INTERP`, and nothing `DT_NEEDED`.
    /// Of a shared object this says nothing.
    #[must_use]
    pub fn is_static(&self) -> bool {
        self.headers.interpreter.is_none() && self.needed().is_empty()
    }

    /// `PT_INTERP`: the dynamic linker's path.
    #[must_use]
    pub fn interpreter(&self) -> Option<&'data [u8]> {
        self.headers.interpreter
    }

    /// `e_entry`; zero is none.
    #[must_use]
    pub fn entry(&self) -> Option<FileAddr> {
        self.headers.entry
    }

    /// The `PT_LOAD` segments by address.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.image.segments
    }

    /// The addresses from the first to the last loaded byte; empty without `PT_LOAD`.
    #[must_use]
    pub fn memory_range(&self) -> Range<FileAddr> {
        let start = self
            .segments()
            .first()
            .map_or(FileAddr::new(0), |segment| segment.addr);
        let ends = self
            .segments()
            .iter()
            .map(|segment| segment.addr.get().saturating_add(segment.mem_size));
        start..FileAddr::new(ends.max().unwrap_or(0))
    }

    /// `DT_SONAME`.
    #[must_use]
    pub fn soname(&self) -> Option<&'data [u8]> {
        self.dynamic.as_ref()?.soname
    }

    /// `DT_NEEDED`, in order.
    #[must_use]
    pub fn needed(&self) -> &[&'data [u8]] {
        self.dynamic.as_ref().map_or(&[], |dynamic| &dynamic.needed)
    }

    /// `DT_RUNPATH`, and `DT_RPATH` where there is none.
    #[must_use]
    pub fn runpath(&self) -> Option<&'data [u8]> {
        self.dynamic.as_ref()?.runpath
    }

    /// The `NT_GNU_BUILD_ID` note's bytes.
    #[must_use]
    pub fn build_id(&self) -> Option<&'data [u8]> {
        self.headers.build_id
    }

    /// Whether all slots are bound when the object is loaded (`DF_BIND_NOW`, `DF_1_NOW`, `DT_BIND_NOW`).
    #[must_use]
    pub fn bind_now(&self) -> bool {
        self.dynamic.as_ref().is_some_and(|dynamic| dynamic.bind_now)
    }

    /// The word that the dynamic linker fills with the address of `struct r_debug`: `d_un` of
    /// `DT_DEBUG`. See [`crate::read_debug_slot`].
    #[must_use]
    pub fn debug_slot(&self) -> Option<FileAddr> {
        self.dynamic.as_ref()?.debug_slot
    }

    /// `PT_DYNAMIC`'s address; with a link map's `l_ld` it tells which object is which.
    #[must_use]
    pub fn dynamic_addr(&self) -> Option<FileAddr> {
        Some(self.dynamic.as_ref()?.addr)
    }

    /// The base address of a program whose program headers lie at `at_phdr` ([`crate::Auxv::phdr`]).
    /// `None` where no segment loads them.
    #[must_use]
    pub fn base_from_phdr(&self, at_phdr: Addr) -> Option<BaseAddress> {
        let phdr = self
            .headers
            .phdr_addr
            .or_else(|| self.image.address_of(self.headers.phdr_offset))?;
        Some(BaseAddress::between(at_phdr, phdr))
    }

    /// The base address by a line of `/proc/PID/maps`: the file's byte `offset` lies at `start`. `None`
    /// where no segment holds that byte.
    ///
    /// A mapping starts at a page, so that it may begin before the segment it serves, and a page may serve
    /// two segments: of several lines, the one with the lowest address is surest.
    #[must_use]
    pub fn base_from_mapping(&self, start: Addr, offset: u64) -> Option<BaseAddress> {
        /// The smallest page of the architectures known here.
        const PAGE: u64 = 4096;
        let holds = |segment: &&Segment| {
            let first = segment.offset & !(PAGE - 1);
            (first..segment.offset.saturating_add(segment.file_size)).contains(&offset)
        };
        let segment = self.segments().iter().find(holds)?;
        let file = FileAddr::new(
            segment
                .addr
                .get()
                .wrapping_add(offset)
                .wrapping_sub(segment.offset),
        );
        Some(BaseAddress::between(start, file))
    }

    /// The `len` bytes that the file loads at `addr`; `None` where it does not load them all.
    #[must_use]
    pub fn bytes_at(&self, addr: FileAddr, len: usize) -> Option<&'data [u8]> {
        self.image.loaded_len(addr, len64(len), "bytes").ok()
    }

    /// Whether `addr` lies in an executable segment.
    #[must_use]
    pub fn is_code(&self, addr: FileAddr) -> bool {
        self.image
            .segment_of(addr)
            .is_some_and(|segment| segment.executable)
    }

    /// The starts of functions that the unwinding tables tell.
    pub(crate) fn unwind_index(&self) -> UnwindIndex<'data> {
        self.headers
            .eh_frame_hdr
            .and_then(|addr| UnwindIndex::parse(&self.image, addr))
            .unwrap_or_default()
    }
}
