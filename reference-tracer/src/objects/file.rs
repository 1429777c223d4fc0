//! What is kept of one object file.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

use arch_abi::record::Hook;
use arch_abi::{Addr, Arch, BaseAddress, FileAddr};
use elf_plt::{Object, Segment};

use super::probes::{LoadedSlot, Probe};
use crate::ifuncs::{Ifunc, ImportSlots};
use crate::points::ObjectNames;
use crate::stack::CodeInfo;
use crate::tracer::{WATCHED, Watched};

/// What is known of an object file, and which of its calls are traced.
#[derive(Debug)]
pub struct ObjectFile {
    /// Which version of which file it is.
    pub key: FileKey,
    /// How it is known.
    pub names: Rc<ObjectNames>,
    /// Its ABI.
    pub arch: Arch,
    /// Whether it runs without a dynamic linker.
    pub is_static: bool,
    /// Its interpreter.
    pub interpreter: Option<Vec<u8>>,
    /// `DT_DEBUG`'s word.
    pub debug_slot: Option<FileAddr>,
    /// `_dl_debug_state`, if this is a dynamic linker that has it.
    pub state_function: Option<FileAddr>,
    /// `_r_debug`, if this is a dynamic linker that has it.
    pub r_debug: Option<FileAddr>,
    /// `__errno_location`, if this is a C library that has it.
    pub errno_function: Option<FileAddr>,
    /// The entry point.
    pub entry: Option<FileAddr>,
    /// The addresses it covers.
    pub range: std::ops::Range<FileAddr>,
    /// Where to look for calls.
    pub probes: Vec<Probe>,
    /// What can be met only at the callee.
    pub loaded_slots: Vec<LoadedSlot>,
    /// Its functions that a resolver selects, and that are met where they begin.
    pub ifuncs: Vec<Ifunc>,
    /// Where the functions are found that it calls, if functions are met where they begin.
    pub import_slots: ImportSlots,
    /// Its functions that may concern the tracer's own signal.
    pub(crate) watched: Vec<(FileAddr, Watched)>,
    /// Where it calls functions by which unwinders find the code of an address.
    pub(crate) unwinding: Vec<(FileAddr, Hook)>,
    /// What stacks are made of, where they are shown.
    pub code: Option<Box<CodeInfo>>,
    segments: Vec<Segment>,
    phdr: Option<FileAddr>,
}

impl ObjectFile {
    /// What an object says of itself. Nothing of it is traced.
    pub(super) fn of(object: &Object<'_>, key: FileKey, names: Rc<ObjectNames>) -> Self {
        let defined = |name: &[u8]| object.lookup(name, None).ok().flatten().map(|symbol| symbol.addr);
        let is_linker = !names.is_main || object.interpreter().is_none();
        let phdr = object.base_from_phdr(Addr::new(0));
        Self {
            key,
            names,
            arch: object.arch(),
            is_static: object.is_static(),
            interpreter: object.interpreter().map(<[u8]>::to_vec),
            debug_slot: object.debug_slot(),
            state_function: is_linker.then(|| defined(b"_dl_debug_state")).flatten(),
            r_debug: is_linker.then(|| defined(b"_r_debug")).flatten(),
            errno_function: defined(b"__errno_location"),
            entry: object.entry(),
            range: object.memory_range(),
            probes: Vec::new(),
            loaded_slots: Vec::new(),
            ifuncs: Vec::new(),
            import_slots: ImportSlots::default(),
            watched: WATCHED
                .iter()
                .filter_map(|&(name, watched)| Some((defined(name.as_bytes())?, watched)))
                .collect(),
            unwinding: Vec::new(),
            code: None,
            segments: object.segments().to_vec(),
            phdr: phdr.map(|base| base.unresolve(Addr::new(0))),
        }
    }

    /// The base address by a line of `/proc/PID/maps`.
    #[must_use]
    pub fn base_from_mapping(&self, start: Addr, offset: u64) -> Option<BaseAddress> {
        self.segments.iter().find_map(|segment| {
            let skip = segment.offset % 4096;
            let first = segment.offset - skip;
            let within = offset.checked_sub(first)?;
            (within < segment.file_size + skip).then(|| {
                let addr = segment.addr.wrapping_sub(skip).wrapping_add(within);
                BaseAddress::between(start, addr)
            })
        })
    }

    /// How many bytes from `at` on the process cannot write: those of a segment that is not writable.
    #[must_use]
    pub fn constant_from(&self, at: FileAddr) -> Option<u64> {
        let left = |segment: &Segment| {
            let skip = at.get().checked_sub(segment.addr.get())?;
            segment.mem_size.checked_sub(skip).filter(|&left| left > 0)
        };
        self.segments
            .iter()
            .filter(|segment| !segment.writable)
            .find_map(left)
    }

    /// Whether `addr` lies in executable code.
    #[must_use]
    pub fn is_code(&self, addr: FileAddr) -> bool {
        let holds = |segment: &Segment| {
            addr.offset_from(segment.addr)
                .is_some_and(|skip| skip < segment.mem_size)
        };
        self.segments
            .iter()
            .any(|segment| segment.executable && holds(segment))
    }

    /// The base address of the program whose program headers lie at `at_phdr`.
    #[must_use]
    pub fn base_from_phdr(&self, at_phdr: Addr) -> Option<BaseAddress> {
        self.phdr.map(|addr| BaseAddress::between(at_phdr, addr))
    }
}

/// What tells one version of one file from another.
#[derive(PartialEq, Eq, Hash, Clone, Copy, Debug)]
pub struct FileKey {
    dev: u64,
    ino: u64,
    size: u64,
    modified: (i64, i64),
    pub(super) is_main: bool,
}

impl FileKey {
    pub(super) fn of(file: &File, is_main: bool) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            is_main,
        })
    }

    /// Whether `file` is this version of this file.
    #[must_use]
    pub fn is_of(&self, file: &File) -> bool {
        Self::of(file, self.is_main).is_ok_and(|key| key == *self)
    }
}
