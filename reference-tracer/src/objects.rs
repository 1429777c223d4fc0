//! Object files: parsed once per run, however often they are mapped, and what of them is traced.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

use arch_abi::record::Hook;
use arch_abi::{Addr, Arch, BaseAddress, FileAddr};
use elf_plt::{CallPoint, CalleeKind, Object, References, Segment, SlotRelocation};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::debugdata;
use crate::filter::{FilterSet, InLibrary, LibraryNames};
use crate::ifuncs::{Ifunc, ImportSlots};
use crate::points::{Kind, ObjectNames, PointId, Points, demangle};
use crate::selection::{self, Selection};
use crate::stack::CodeInfo;
use crate::sys;
use crate::tracer::{WATCHED, Watched};

/// How a probe sees the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// At code that is jumped to with the return address in its place, as the callee would find it:
    /// a PLT entry, or a `jmp *slot` in the text (a tail call).
    Entry,
    /// At a `call *slot` in the text, which has yet to push the return address: the next instruction's.
    Call,
}

/// Where calls of a call point are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The call point.
    pub point: PointId,
    /// Where the instruction lies.
    pub at: FileAddr,
    /// What the call looks like there.
    pub site: Site,
    /// The slot through which the instruction calls, if it does.
    pub slot: Option<FileAddr>,
    /// Whether it is traced only if it leads to a library that was asked for ([`ObjectStore::leads_to_wanted`]).
    pub by_callee: bool,
}

/// A call point whose slot is loaded into a register and called from there: its calls are met only in
/// the function itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadedSlot {
    /// The call point.
    pub point: PointId,
    /// The slot that holds the function's address.
    pub slot: FileAddr,
    /// As [`Probe::by_callee`].
    pub by_callee: bool,
}

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
    is_main: bool,
}

impl FileKey {
    fn of(file: &File, is_main: bool) -> io::Result<Self> {
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

/// Why an object is not traced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// The file is no sound ELF object.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: String,
        /// What is wrong with it, and where.
        source: elf_plt::Error,
    },
}

/// What is kept of object files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Names as they stand in the source.
    pub demangled: bool,
    /// What stacks are made of.
    pub stacks: bool,
    /// The calls of the C library's start-up files.
    pub start_up: bool,
    /// How it finds the code of an address when it unwinds.
    pub unwinding: bool,
}

/// All object files of a run.
#[derive(Debug)]
pub struct ObjectStore {
    files: FxHashMap<FileKey, Rc<ObjectFile>>,
    selection: Selection,
    /// What the libraries export that were asked for by `-l`.
    wanted: FxHashSet<String>,
    kept: Kept,
    points: Points,
    /// How many of them are called by the C library's start-up files only.
    start_up_points: usize,
    programs: Vec<Program>,
    has_libraries: bool,
    /// The names of all call points and objects that were offered to the filters: suggestions are
    /// made from them.
    offered: Offered,
}

/// A main program, as it matters to what can be seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its path.
    pub path: String,
    /// Whether it runs without a dynamic linker.
    pub is_static: bool,
    /// Whether it has no symbol table but that of the dynamic linker, as far as functions' names were asked for.
    pub is_stripped: bool,
}

/// Names that the filters could have matched.
#[derive(Debug, Default)]
pub struct Offered {
    /// Functions that traced objects import, each followed by a NUL.
    symbols: String,
    /// The objects.
    pub libraries: Vec<Box<str>>,
}

/// Of how many bytes of names suggestions are made.
const MAX_OFFERED: usize = 4 << 20;

impl Offered {
    fn add(&mut self, name: &str) {
        if self.symbols.len() + name.len() < MAX_OFFERED {
            self.symbols.extend([name, "\0"]);
        }
    }

    /// Functions that traced objects import.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.symbols.split_terminator('\0')
    }
}

impl ObjectStore {
    /// A store whose call points are selected by `selection`, of whose object files `kept` is kept.
    #[must_use]
    pub fn new(selection: Selection, kept: Kept) -> Self {
        Self {
            files: FxHashMap::default(),
            selection,
            wanted: FxHashSet::default(),
            kept,
            points: Points::new(kept.demangled),
            start_up_points: 0,
            programs: Vec::new(),
            has_libraries: false,
            offered: Offered::default(),
        }
    }

    /// The call points that were selected so far.
    #[must_use]
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// The call points, to add those that are in no object.
    pub fn points_mut(&mut self) -> &mut Points {
        &mut self.points
    }

    /// How many call points are called by the C library's start-up files only.
    #[must_use]
    pub fn start_up_points(&self) -> usize {
        self.start_up_points
    }

    /// The main programs, in the order in which they were met.
    #[must_use]
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Whether a library was met, the dynamic linker excepted.
    #[must_use]
    pub fn has_libraries(&self) -> bool {
        self.has_libraries
    }

    /// The filters and the call points.
    pub fn filters_and_points(&mut self) -> (&FilterSet, &mut Points) {
        (&self.selection.calls, &mut self.points)
    }

    /// What was asked for, which knows what it has matched.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Whether a library that was asked for exports a function of this name. More may be known when more
    /// libraries are loaded: [`ObjectStore::wanted_count`] grows then.
    #[must_use]
    pub fn leads_to_wanted(&self, point: PointId) -> bool {
        self.wanted.contains(&*self.points.get(point).name)
    }

    /// Of how many functions [`ObjectStore::leads_to_wanted`] is true.
    #[must_use]
    pub fn wanted_count(&self) -> usize {
        self.wanted.len()
    }

    /// A name that a filter could have matched.
    pub fn offer(&mut self, name: &str) {
        self.offered.add(name);
    }

    /// The names that the filters have seen.
    #[must_use]
    pub fn offered(&self) -> &Offered {
        &self.offered
    }

    /// What is known of `file`, which the target knows as `path`.
    ///
    /// # Errors
    /// The file cannot be mapped, or it is no sound object.
    pub fn load(&mut self, file: &File, path: &str, is_main: bool) -> Result<Rc<ObjectFile>, ObjectError> {
        let read = |source| ObjectError::Read {
            path: path.to_owned(),
            source,
        };
        let key = FileKey::of(file, is_main).map_err(read)?;
        if let Some(known) = self.files.get(&key) {
            return Ok(Rc::clone(known));
        }
        let bytes = sys::map_file(file).map_err(read)?;
        let object = self
            .parse(file, &bytes, path, key)
            .map_err(|source| ObjectError::Parse {
                path: path.to_owned(),
                source,
            })?;
        tracing::debug!(
            path,
            probes = object.probes.len(),
            by_callee = object.loaded_slots.len(),
            "object file"
        );
        let object = Rc::new(object);
        self.files.insert(key, Rc::clone(&object));
        Ok(object)
    }

    fn parse(
        &mut self,
        file: &File,
        bytes: &[u8],
        path: &str,
        key: FileKey,
    ) -> Result<ObjectFile, elf_plt::Error> {
        let is_main = key.is_main;
        let object = Object::parse(bytes)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let names = Rc::new(ObjectNames {
            path: path.to_owned(),
            soname: object.soname().map(text),
            needed: object.needed().iter().map(|name| text(name)).collect(),
            is_main,
        });
        self.offered.libraries.push(names.short().into());
        let (mut probes, loaded_slots) = self.select(&object, &names)?;
        let debug = self.unpack_symbols(bytes, &names);
        if is_main {
            self.programs.push(Program {
                path: path.to_owned(),
                is_static: object.is_static(),
                is_stripped: !object.has_symbol_table() && debug.is_none(),
            });
        } else {
            let is_linker = object.lookup(b"_r_debug", None).ok().flatten().is_some();
            self.has_libraries |= !is_linker;
        }
        let (entries, ifuncs, import_slots) = self.select_entries(&object, debug.as_deref(), &names)?;
        probes.extend(entries);
        let exports = selection::exports(&self.selection, &object, library_names(&names))?;
        self.wanted.extend(exports);
        let defined = |name: &[u8]| object.lookup(name, None).ok().flatten().map(|symbol| symbol.addr);
        let watched = WATCHED
            .iter()
            .filter_map(|&(name, watched)| Some((defined(name.as_bytes())?, watched)))
            .collect();
        let is_linker = !is_main || object.interpreter().is_none();
        Ok(ObjectFile {
            key,
            arch: object.arch(),
            is_static: object.is_static(),
            interpreter: object.interpreter().map(<[u8]>::to_vec),
            debug_slot: object.debug_slot(),
            state_function: is_linker.then(|| defined(b"_dl_debug_state")).flatten(),
            r_debug: is_linker.then(|| defined(b"_r_debug")).flatten(),
            errno_function: defined(b"__errno_location"),
            entry: object.entry(),
            range: object.memory_range(),
            segments: object.segments().to_vec(),
            phdr: object
                .base_from_phdr(Addr::new(0))
                .map(|base| base.unresolve(Addr::new(0))),
            probes,
            loaded_slots,
            ifuncs,
            import_slots,
            code: self.kept.stacks.then(|| {
                Box::new(CodeInfo::of(
                    Some(file),
                    bytes,
                    &object,
                    debug.as_deref(),
                    self.kept.demangled,
                ))
            }),
            watched,
            unwinding: if self.kept.unwinding {
                unwinding(&object, bytes)?
            } else {
                Vec::new()
            },
            names,
        })
    }

    /// The calls of `object` that the filters select.
    fn select(
        &mut self,
        object: &Object<'_>,
        names: &Rc<ObjectNames>,
    ) -> Result<(Vec<Probe>, Vec<LoadedSlot>), elf_plt::Error> {
        let library = library_names(names);
        let filter = self.selection.calls.in_library(library);
        let by_callee = !self.selection.exporters.is_empty();
        // A library that needs no other calls those that a program has loaded beside it.
        if names.is_main && object.is_static() || (filter.is_none() && !by_callee) {
            return Ok((Vec::new(), Vec::new()));
        }
        let demangled = self.kept.demangled;
        let by_caller = |name: &str| {
            filter
                .as_ref()
                .is_some_and(|filter| selects(filter, name, demangled))
        };
        let offered = &mut self.offered;
        let mut is_whole = true;
        let points = object.call_points_where(|name| {
            let name = String::from_utf8_lossy(name);
            offered.add(&name);
            let wanted = by_caller(&name) || by_callee;
            is_whole &= wanted;
            wanted
        })?;
        let (references, no_plt_style) = how_it_calls(object, &points, is_whole)?;
        let mut plan = Plan {
            probes: Vec::new(),
            loaded: Vec::new(),
            no_plt_style,
        };
        for point in &points {
            // An ifunc of a stripped object is known by its resolver's address alone: it has no name to
            // select or to print it by.
            let Some(name) = point.name() else { continue };
            let shown = self.kept.start_up || !point.is_start_up();
            if shown && plan.is_met(point, &references) {
                let name = String::from_utf8_lossy(name);
                let id = self.points.add(Kind::Import, &name, names);
                self.start_up_points += usize::from(point.is_start_up());
                plan.add(point, id, by_callee && !by_caller(&name), &references);
            }
        }
        Ok((plan.probes, plan.loaded))
    }

    /// The symbols that the object has beside its tables, if its functions' names are asked for.
    fn unpack_symbols(&self, bytes: &[u8], names: &ObjectNames) -> Option<Vec<u8>> {
        let of_entries = || self.selection.entries.in_library(library_names(names)).is_some();
        (self.kept.stacks || of_entries())
            .then(|| debugdata::unpack(bytes))
            .flatten()
    }

    /// The functions of `object` that are met where they begin.
    fn select_entries(
        &mut self,
        object: &Object<'_>,
        debug: Option<&[u8]>,
        names: &Rc<ObjectNames>,
    ) -> Result<(Vec<Probe>, Vec<Ifunc>, ImportSlots), elf_plt::Error> {
        let offered = &mut self.offered;
        let offer = |name: &str| offered.add(name);
        let found = selection::beginnings(&self.selection, object, debug, library_names(names), offer)?;
        let mut ifuncs = Vec::new();
        let points = &mut self.points;
        let probe = |selection::Beginning {
                         addr,
                         name,
                         is_place,
                         is_ifunc,
                     }| {
            let point = if is_ifunc {
                let (resolver, function) = points.add_ifunc(&name, names);
                ifuncs.push(Ifunc::new(addr, function));
                resolver
            } else if is_place {
                points.add(Kind::Place, &name, names)
            } else {
                points.add(Kind::Entry, &name, names)
            };
            Probe {
                point,
                at: addr,
                site: Site::Entry,
                slot: None,
                by_callee: false,
            }
        };
        let probes = found.into_iter().map(probe).collect();
        let slots = if self.selection.entries.is_empty() {
            ImportSlots::default()
        } else {
            ImportSlots::of(object, &mut ifuncs)?
        };
        Ok((probes, ifuncs, slots))
    }
}

/// Where an object calls the functions by which unwinders find the code of an address. One that asks for single objects need not
/// be shown them all.
fn unwinding(object: &Object<'_>, bytes: &[u8]) -> Result<Vec<(FileAddr, Hook)>, elf_plt::Error> {
    const FIND: &[u8] = b"_dl_find_object";
    const ITERATE: &[u8] = b"dl_iterate_phdr";
    if object.is_static() {
        return Ok(Vec::new());
    }
    let points = object.call_points_where(|name| name == FIND || name == ITERATE)?;
    let finds = points.iter().any(|point| point.name() == Some(FIND));
    let (references, _) = how_it_calls(object, &points, false)?;
    let mut places = Vec::new();
    for point in &points {
        let hook = match point.name() {
            Some(FIND) => Hook::FindObject,
            _ if finds || !has_unwinder(object, bytes)? => continue,
            _ => Hook::IteratePhdr,
        };
        places.extend(point.plt().iter().map(|entry| (entry.addr, hook)));
        for used in point.slots().iter().filter_map(|slot| references.of(slot.addr)) {
            let calls = used.calls.iter().chain(&used.jumps);
            places.extend(calls.map(|&at| (at, hook)));
        }
    }
    Ok(places)
}

/// Whether an object that asks for all objects may do so to unwind, and not for some other reason: it has landing pads, but imports no
/// unwinder, so that it must have one. One without section headers may.
fn has_unwinder(object: &Object<'_>, bytes: &[u8]) -> Result<bool, elf_plt::Error> {
    use object::{Object as _, ObjectSection as _};
    let imported = object.call_points_where(|name| name.starts_with(b"_Unwind_"))?;
    if !imported.is_empty() {
        return Ok(false);
    }
    let Ok(file) = object::File::parse(bytes) else {
        return Ok(true);
    };
    // GCC's and LLVM's name of the language-specific data of C++ and Rust.
    let lands = |name: &[u8]| name.starts_with(b".gcc_except_table");
    let mut sections = file.sections().peekable();
    Ok(sections.peek().is_none() || sections.any(|section| section.name_bytes().is_ok_and(lands)))
}

fn library_names(names: &ObjectNames) -> LibraryNames<'_> {
    let soname = names.soname.as_deref();
    if names.is_main {
        LibraryNames::main(soname, &names.path)
    } else {
        LibraryNames::library(soname, &names.path)
    }
}

/// Whether the filter selects a function by its symbol or, if `demangled`, by its name in the source, with its
/// parameters or without.
fn selects(filter: &InLibrary<'_>, name: &str, demangled: bool) -> bool {
    let Some(clear) = demangled.then(|| demangle(name)).flatten() else {
        return filter.selects(name, &[]);
    };
    let bare = clear.split_once('(').map_or(&*clear, |(bare, _)| bare);
    filter.selects(name, &[&clear, bare])
}

/// What uses the slots of these call points, and whether the object calls through slots: whether a loaded slot is a call
/// or an address taken is told by how the whole object calls. `is_whole`: they are all that it has.
fn how_it_calls(
    object: &Object<'_>,
    points: &[CallPoint<'_>],
    is_whole: bool,
) -> Result<(References, bool), elf_plt::Error> {
    if !points
        .iter()
        .any(|point| point.name().is_some() && used_directly(point))
    {
        return Ok((References::default(), false));
    }
    let others;
    let all = if is_whole {
        points
    } else {
        others = object.call_points()?;
        &others
    };
    let references = object.references(all, all.iter().filter(|point| used_directly(point)))?;
    let no_plt_style = calls_through_slots(&references, all);
    Ok((references, no_plt_style))
}

/// Whether code may use a slot of this call point without a PLT entry.
fn used_directly(point: &CallPoint<'_>) -> bool {
    point.plt().is_empty()
        || point
            .slots()
            .iter()
            .any(|slot| slot.relocation != SlotRelocation::JumpSlot)
}

/// Whether the object was compiled to call through slots (`-fno-plt`, rustc): where it was, a slot that
/// is loaded into a register may be a call, otherwise it is an address taken. An object that calls
/// through a slot somewhere, or has no PLT at all, was.
fn calls_through_slots(references: &References, all: &[CallPoint<'_>]) -> bool {
    let mut own = all.iter().filter(|point| !point.is_start_up());
    let calls = |point: &CallPoint<'_>| {
        let mut uses = point.slots().iter().filter_map(|slot| references.of(slot.addr));
        uses.any(|used| !used.calls.is_empty())
    };
    own.clone().any(calls) || own.all(|point| point.plt().is_empty())
}

/// The probes of an object, as they are collected.
struct Plan {
    probes: Vec<Probe>,
    loaded: Vec<LoadedSlot>,
    no_plt_style: bool,
}

impl Plan {
    /// Whether there is a place where calls of `point` can be met.
    fn is_met(&self, point: &CallPoint<'_>, references: &References) -> bool {
        let uses = || point.slots().iter().filter_map(|slot| references.of(slot.addr));
        !point.plt().is_empty()
            || uses().any(|used| !used.calls.is_empty() || !used.jumps.is_empty())
            || self.is_loaded(point, references)
    }

    /// Whether calls of `point` are met only in the function itself.
    fn is_loaded(&self, point: &CallPoint<'_>, references: &References) -> bool {
        let mut uses = point.slots().iter().filter_map(|slot| references.of(slot.addr));
        self.no_plt_style
            && point.plt().is_empty()
            && !matches!(point.kind(), CalleeKind::Ifunc { .. })
            && uses.any(|used| used.loaded)
    }

    fn add(&mut self, point: &CallPoint<'_>, id: PointId, by_callee: bool, references: &References) {
        let probe = |at, site, slot| Probe {
            point: id,
            at,
            site,
            slot: Some(slot),
            by_callee,
        };
        let entries = point.plt().iter();
        self.probes
            .extend(entries.map(|entry| probe(entry.addr, Site::Entry, entry.slot)));
        for slot in point.slots().iter().map(|slot| slot.addr) {
            let Some(used) = references.of(slot) else { continue };
            let (calls, jumps) = (used.calls.iter(), used.jumps.iter());
            self.probes.extend(calls.map(|&at| probe(at, Site::Call, slot)));
            self.probes.extend(jumps.map(|&at| probe(at, Site::Entry, slot)));
        }
        // A loaded slot is met in the function, where the direct calls come by once more: they are
        // told by their call site, which knows the name that was called.
        let loaded = self.is_loaded(point, references);
        if loaded {
            let slots = point
                .slots()
                .iter()
                .filter(|s| references.of(s.addr).is_some_and(|u| u.loaded));
            self.loaded.extend(slots.map(|slot| LoadedSlot {
                point: id,
                slot: slot.addr,
                by_callee,
            }));
        }
    }
}
