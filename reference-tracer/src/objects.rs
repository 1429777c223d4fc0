//! Object files: parsed once per run, however often they are mapped, and what of them is traced.

mod file;
mod probes;
mod unwinding;

use std::fs::File;
use std::io;
use std::rc::Rc;

use elf_plt::Object;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::debugdata;
use crate::filter::{FilterSet, InLibrary, LibraryNames};
use crate::ifuncs::{Ifunc, ImportSlots};
use crate::points::{Kind, ObjectNames, PointId, Points, demangle};
use crate::selection::{self, Selection};
use crate::stack::CodeInfo;
use crate::sys;
use probes::{Collected, how_it_calls};

pub use file::{FileKey, ObjectFile};
pub use probes::{LoadedSlot, Probe, Site};

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
        let object = Object::parse(bytes)?;
        let names = Rc::new(object_names(&object, path, key.is_main));
        self.offered.libraries.push(names.short().into());
        let (mut probes, loaded_slots) = self.select(&object, &names)?;
        let debug = self.unpack_symbols(bytes, &names);
        self.note(&object, &names, debug.is_some());
        let (entries, ifuncs, import_slots) = self.select_entries(&object, debug.as_deref(), &names)?;
        probes.extend(entries);
        let exports = selection::exports(&self.selection, &object, library_names(&names))?;
        self.wanted.extend(exports);
        let mut made = ObjectFile::of(&object, key, names);
        (made.probes, made.loaded_slots) = (probes, loaded_slots);
        (made.ifuncs, made.import_slots) = (ifuncs, import_slots);
        if self.kept.stacks {
            let demangled = self.kept.demangled;
            let code = CodeInfo::of(Some(file), bytes, &object, debug.as_deref(), demangled);
            made.code = Some(Box::new(code));
        }
        if self.kept.unwinding {
            made.unwinding = unwinding::calls(&object, bytes)?;
        }
        Ok(made)
    }

    /// Notes what an object is among those of the run. `has_debug`: it has symbols beside its tables.
    fn note(&mut self, object: &Object<'_>, names: &ObjectNames, has_debug: bool) {
        if names.is_main {
            self.programs.push(Program {
                path: names.path.clone(),
                is_static: object.is_static(),
                is_stripped: !object.has_symbol_table() && !has_debug,
            });
        } else {
            let is_linker = object.lookup(b"_r_debug", None).ok().flatten().is_some();
            self.has_libraries |= !is_linker;
        }
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
        let mut found = Collected {
            probes: Vec::new(),
            loaded: Vec::new(),
            no_plt_style,
        };
        for point in &points {
            // An ifunc of a stripped object is known by its resolver's address alone: it has no name to
            // select or to print it by.
            let Some(name) = point.name() else { continue };
            let shown = self.kept.start_up || !point.is_start_up();
            if shown && found.is_met(point, &references) {
                let name = String::from_utf8_lossy(name);
                let id = self.points.add(Kind::Import, &name, names);
                self.start_up_points += usize::from(point.is_start_up());
                found.add(point, id, by_callee && !by_caller(&name), &references);
            }
        }
        Ok((found.probes, found.loaded))
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

fn object_names(object: &Object<'_>, path: &str, is_main: bool) -> ObjectNames {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ObjectNames {
        path: path.to_owned(),
        soname: object.soname().map(text),
        needed: object.needed().iter().map(|name| text(name)).collect(),
        is_main,
    }
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
