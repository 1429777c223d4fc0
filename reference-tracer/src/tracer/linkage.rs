//! Which objects a process has: what the kernel mapped, and what the dynamic linker says.

use std::fs::File;

use arch_abi::{Addr, BaseAddress};
use elf_plt::{Auxv, RState};
use ptrace_core::{Memory, MemoryError, Stopped, Tid, procfs};

use super::fast::Choice;
use super::space::{Function, Loaded, Space};
use crate::objects::{ObjectStore, Probe, Site};
use crate::points::PointId;

/// What is known of the dynamic linker of an address space.
#[derive(Debug, Clone, Default)]
pub(super) struct Linkage {
    /// `struct r_debug`, once it is known.
    r_debug: Option<Addr>,
    /// The word that will hold its address (`DT_DEBUG`).
    debug_slot: Option<Addr>,
    /// Where the kernel has put the vDSO.
    pub(super) vdso: Option<Addr>,
    /// Whether the list of objects was read once, when it was consistent.
    pub(super) seen_consistent: bool,
}

/// Something that a user should hear once, in one line.
pub(super) type Note = String;

struct Target<'a>(&'a Memory);

impl elf_plt::Memory for Target<'_> {
    type Error = MemoryError;

    fn read(&self, at: Addr, buf: &mut [u8]) -> Result<(), MemoryError> {
        self.0.read_exact(at, buf)
    }
}

impl Space {
    /// Takes up what the kernel mapped for a new program: the main program and its dynamic linker.
    /// Puts in the trap that tells when the dynamic linker is done.
    pub(super) fn take_up(&mut self, stopped: &Stopped, store: &mut ObjectStore) -> Vec<Note> {
        let mut notes = Vec::new();
        let pid = stopped.tgid();
        let auxv = match procfs::auxv(pid) {
            Ok(bytes) => Auxv::parse(&bytes, self.arch.abi().word_size()),
            Err(error) => return vec![format!("pid {pid}: {error}")],
        };
        let main = match load_main(pid, &auxv, store) {
            Ok(main) => main,
            Err(note) => return vec![note],
        };
        let file = std::rc::Rc::clone(&main.file);
        let nothing_else = store.points().is_empty() && !store.selection().asks_for_entries();
        if file.is_static && file.interpreter.is_none() && file.state_function.is_none() && nothing_else {
            notes.push(static_note(&file.names.path));
        }
        self.linkage.vdso = auxv.sysinfo_ehdr();
        self.linkage.debug_slot = file.debug_slot.map(|slot| main.base.resolve(slot));
        let linker = load_linker(pid, &auxv, &main, store);
        self.objects.push(main);
        let at = match &linker {
            Some(linker) => {
                self.linkage.r_debug = linker.file.r_debug.map(|addr| linker.base.resolve(addr));
                linker.file.state_function.map(|addr| linker.base.resolve(addr))
            }
            None => None,
        };
        let planted = match (at, auxv.entry()) {
            (Some(at), _) => self.plant(stopped, at, |role| role.link_map = true).map(drop),
            (None, Some(entry)) => self
                .plant(stopped, entry, |role| role.program_entry = true)
                .map(drop),
            (None, None) => Ok(()),
        };
        if let Err(error) = planted {
            notes.push(format!(
                "{}: its libraries cannot be followed: {}",
                file.names.path,
                chain(&error)
            ));
        }
        notes
    }

    /// Reads the files of a process' objects, as far as they can be told now, into `store`. Whatever fails is met again when they are taken up.
    pub(super) fn look_ahead(&mut self, pid: Tid, store: &mut ObjectStore) {
        let Ok(bytes) = procfs::auxv(pid) else { return };
        let word = self.arch.abi().word_size();
        let auxv = Auxv::parse(&bytes, word);
        let Ok(main) = load_main(pid, &auxv, store) else {
            return;
        };
        let linker = load_linker(pid, &auxv, &main, store);
        let r_debug = linker.and_then(|linker| Some(linker.base.resolve(linker.file.r_debug?)));
        let Some(at) = r_debug.filter(|_| main.file.arch == self.arch) else {
            return;
        };
        let Ok(namespaces) = elf_plt::read_namespaces(&Target(&self.memory), at, word) else {
            return;
        };
        let maps = procfs::maps(pid).unwrap_or_default();
        for map in namespaces.iter().flat_map(|space| &space.objects) {
            let _: Result<_, Note> = load_library(pid, map, &maps, store);
        }
    }

    /// Brings the objects up to date with the dynamic linker's list, if that is whole, and puts
    /// traps on the calls of new ones.
    pub(super) fn refresh(
        &mut self,
        stopped: &Stopped,
        store: &mut ObjectStore,
        choice: &mut Choice<'_>,
    ) -> Vec<Note> {
        let mut notes = Vec::new();
        let word = self.arch.abi().word_size();
        if self.linkage.r_debug.is_none()
            && let Some(slot) = self.linkage.debug_slot
        {
            self.linkage.r_debug = elf_plt::read_debug_slot(&Target(&self.memory), slot, word)
                .ok()
                .flatten();
        }
        let namespaces = match self.linkage.r_debug {
            Some(at) => match elf_plt::read_namespaces(&Target(&self.memory), at, word) {
                Ok(namespaces) => namespaces,
                Err(error) => {
                    return vec![format!("the list of libraries cannot be read: {}", chain(&error))];
                }
            },
            None => Vec::new(),
        };
        if namespaces
            .iter()
            .any(|space| space.r_debug.state != RState::Consistent)
        {
            return notes;
        }
        self.linkage.seen_consistent = true;
        let current: Vec<_> = namespaces.iter().flat_map(|space| &space.objects).collect();
        self.drop_gone(&current);
        self.add_new(stopped, store, choice, &current, &mut notes);
        notes
    }

    /// Forgets the objects that are no longer in the list: their memory is gone.
    fn drop_gone(&mut self, current: &[&elf_plt::LinkMap]) {
        let is_there = |object: &Loaded| match object.link_map {
            Some(at) => current.iter().any(|map| map.at == at && map.base == object.base),
            None => true,
        };
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.objects)
            .into_iter()
            .partition(|object| is_there(object));
        self.objects = kept;
        for object in gone {
            // The dynamic linker is in the list of each namespace (dlmopen(3)), and lies in memory once.
            if self.objects.iter().any(|kept| kept.base == object.base) {
                continue;
            }
            let (start, end) = object.range();
            self.traps.forget(start..end);
            if let Some(fast) = &mut self.fast {
                fast.sites_gone(start..end);
            }
        }
    }

    fn add_new(
        &mut self,
        stopped: &Stopped,
        store: &mut ObjectStore,
        choice: &mut Choice<'_>,
        current: &[&elf_plt::LinkMap],
        notes: &mut Vec<Note>,
    ) {
        let known = |objects: &[Loaded], map: &elf_plt::LinkMap| {
            objects.iter().any(|object| object.link_map == Some(map.at))
        };
        let new: Vec<_> = current.iter().filter(|map| !known(&self.objects, map)).collect();
        let maps = if new.is_empty() {
            Vec::new()
        } else {
            procfs::maps(stopped.tgid()).unwrap_or_default()
        };
        for map in new {
            let is_main = |object: &Loaded| object.link_map.is_none() && object.base == map.base;
            if let Some(main) = self.objects.iter_mut().find(|object| is_main(object)) {
                main.link_map = Some(map.at);
                continue;
            }
            match load_library(stopped.tgid(), map, &maps, store) {
                Ok(Some(file)) => self.objects.push(Loaded {
                    file,
                    base: map.base,
                    link_map: Some(map.at),
                    planted: false,
                }),
                Ok(None) => {}
                Err(note) => notes.push(note),
            }
        }
        self.plant_objects(stopped, store, choice, notes);
    }

    /// Puts traps on the calls of objects that have none yet.
    fn plant_objects(
        &mut self,
        stopped: &Stopped,
        store: &ObjectStore,
        choice: &mut Choice<'_>,
        notes: &mut Vec<Note>,
    ) {
        if std::mem::replace(&mut self.wanted, store.wanted_count()) != self.wanted {
            // Calls of older objects may lead to the new ones.
            self.objects.iter_mut().for_each(|object| object.planted = false);
        }
        self.arm(|space| space.plan_objects(stopped, store, choice, notes));
    }

    fn plan_objects(
        &mut self,
        stopped: &Stopped,
        store: &ObjectStore,
        choice: &mut Choice<'_>,
        notes: &mut Vec<Note>,
    ) {
        for index in 0..self.objects.len() {
            if !std::mem::replace(&mut self.objects[index].planted, true) {
                let failed = self.plant_object(stopped, store, choice, index);
                if let Some(error) = failed {
                    let path = &self.objects[index].file.names.path;
                    notes.push(format!("{path}: some calls cannot be traced: {error}"));
                }
            }
        }
        self.meet_ifuncs(stopped, store);
        let (traps, mut code) = self.split(stopped);
        // Without room for copies the instructions are emulated.
        let _: Result<(), _> = traps.prepare_copies(&mut code);
        self.guard_all(stopped);
    }

    /// Puts traps on the calls of one object; gives the first failure.
    fn plant_object(
        &mut self,
        stopped: &Stopped,
        store: &ObjectStore,
        choice: &mut Choice<'_>,
        index: usize,
    ) -> Option<String> {
        let object = self.objects[index].clone();
        let mut failed = None;
        let is_wanted = |by_callee: bool, point| !by_callee || store.leads_to_wanted(point);
        let probes: Vec<(Addr, Probe)> = object
            .file
            .probes
            .iter()
            .filter(|probe| is_wanted(probe.by_callee, probe.point))
            .map(|probe| (object.base.resolve(probe.at), *probe))
            .filter(|(at, probe)| !self.has_entry(*at, *probe))
            .collect();
        let probes = self.hook(stopped, store, &object, probes, choice);
        let places: Vec<Addr> = probes.iter().map(|(at, _)| *at).collect();
        tracing::debug!(path = object.file.names.path, base = ?object.base, traps = places.len(), "traps");
        let (traps, mut code) = self.split(stopped);
        let results = traps.insert_all(&places, &mut code);
        for (result, (_, probe)) in results.into_iter().zip(probes) {
            match result {
                Ok(id) => self.give_entry(id, probe),
                Err(error) => failed = failed.or_else(|| Some(chain(&error))),
            }
        }
        for &(at, watched) in &object.file.watched {
            // Where no trap can be, the program's view of SIGTRAP may be ours.
            let _ = self.plant(stopped, object.base.resolve(at), |role| {
                role.watched = Some(watched);
            });
        }
        let slots = object.file.loaded_slots.iter();
        for slot in slots.filter(|slot| is_wanted(slot.by_callee, slot.point)) {
            let Some(at) = self.slot_value(object.base.resolve(slot.slot)) else {
                continue;
            };
            let function = Function {
                point: slot.point,
                caller: object.range(),
            };
            match self.plant(stopped, at, |role| role.function = Some(function)) {
                Ok(_) => {}
                Err(error) => failed = failed.or_else(|| Some(chain(&error))),
            }
        }
        failed
    }

    /// Puts traps on what the resolvers of selected IFUNCs have selected so far.
    fn meet_ifuncs(&mut self, stopped: &Stopped, store: &ObjectStore) {
        let mut found: Vec<(Addr, PointId)> = Vec::new();
        for object in &self.objects {
            let (start, end) = object.range();
            for ifunc in &object.file.ifuncs {
                let name = &*store.points().get(ifunc.function).name;
                let own = ifunc.slots.iter().map(|&slot| object.base.resolve(slot));
                let others = self.objects.iter().flat_map(|other| {
                    let slots = other.file.import_slots.of_function(name).iter();
                    slots.map(|&slot| other.base.resolve(slot))
                });
                let selected = own.chain(others).filter_map(|slot| self.slot_value(slot));
                let resolver = object.base.resolve(ifunc.resolver);
                // A slot that is not bound yet leads elsewhere.
                let bound = selected.filter(|at| (start..end).contains(at) && *at != resolver);
                found.extend(bound.map(|at| (at, ifunc.function)));
            }
        }
        found.sort_unstable();
        found.dedup();
        for (at, function) in found {
            // What cannot be trapped is not met.
            let _: bool = self.meet_function(stopped, at, function);
        }
    }

    /// Sees to it that `function` is met where it begins, unless something else is met there already.
    pub(super) fn meet_function(&mut self, stopped: &Stopped, at: Addr, function: PointId) -> bool {
        let taken = self
            .traps
            .lookup(at)
            .is_some_and(|id| self.role(id).entry.is_some());
        let is_code = |object: &Loaded| object.file.is_code(object.base.unresolve(at));
        !taken
            && self.objects.iter().any(is_code)
            && self
                .plant(stopped, at, |role| role.entry = Some((function, Site::Entry)))
                .is_ok()
    }

    /// Whether a trap for this probe is in already.
    fn has_entry(&mut self, at: Addr, probe: Probe) -> bool {
        let known = self.traps.lookup(at);
        known.is_some_and(|id| self.role(id).entry == Some((probe.point, probe.site)))
    }

    fn give_entry(&mut self, id: breakpoint::TrapId, probe: Probe) {
        if self.traps.users(id) == 1 {
            *self.role(id) = super::space::Role::default();
        }
        self.role(id).entry = Some((probe.point, probe.site));
    }

    /// The function that a bound slot leads to; `None` for an undefined weak one.
    fn slot_value(&self, slot: Addr) -> Option<Addr> {
        let mut word = [0; 8];
        let size = self.arch.abi().word_size();
        self.memory.read_exact(slot, &mut word[..size]).ok()?;
        let value = u64::from_le_bytes(word);
        (value != 0).then(|| Addr::new(value))
    }
}

/// The message of an error with its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn static_note(path: &str) -> Note {
    format!(
        "{path} is statically linked: it has no PLT, so there are no library calls to trace; \
         -x shows its functions, -S its system calls"
    )
}

/// The main program, by what the kernel told it of itself.
fn load_main(pid: Tid, auxv: &Auxv, store: &mut ObjectStore) -> Result<Loaded, Note> {
    let exe = format!("/proc/{pid}/exe");
    let path = std::fs::read_link(&exe).map_err(|error| format!("{exe}: {error}"))?;
    let path = path.to_string_lossy();
    let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
    let file = File::open(&exe).map_err(|error| format!("{path}: {error}"))?;
    let file = store.load(&file, path, true).map_err(|error| chain(&error))?;
    let base = auxv
        .phdr()
        .and_then(|phdr| file.base_from_phdr(phdr))
        .unwrap_or_default();
    Ok(Loaded {
        file,
        base,
        link_map: None,
        planted: false,
    })
}

/// The dynamic linker that the kernel mapped, or the program itself if it is one.
fn load_linker(pid: Tid, auxv: &Auxv, main: &Loaded, store: &mut ObjectStore) -> Option<Loaded> {
    let Some(base) = auxv.base().filter(|base| base.get() != 0) else {
        return main.file.state_function.is_some().then(|| main.clone());
    };
    let maps = procfs::maps(pid).ok()?;
    let map = maps.iter().find(|map| map.start == base)?;
    let file = procfs::open_mapping(pid, map).ok()?;
    let file = store.load(&file, &map.name.to_string_lossy(), false).ok()?;
    let base = file
        .base_from_mapping(map.start, map.offset)
        .unwrap_or(BaseAddress::new(base.get()));
    Some(Loaded {
        file,
        base,
        link_map: None,
        planted: false,
    })
}

/// The file of an object in the dynamic linker's list; `None` for one without a file, as the vDSO.
fn load_library(
    pid: Tid,
    map: &elf_plt::LinkMap,
    maps: &[procfs::Mapping],
    store: &mut ObjectStore,
) -> Result<Option<std::rc::Rc<crate::objects::ObjectFile>>, Note> {
    let Some(mapping) = maps.iter().find(|mapping| mapping.contains(map.dynamic)) else {
        return Ok(None);
    };
    if !mapping.is_file() {
        return Ok(None);
    }
    let path = match map.name.as_slice() {
        [] => mapping.name.to_string_lossy(),
        name => String::from_utf8_lossy(name),
    };
    let file = procfs::open_mapping(pid, mapping).map_err(|error| format!("{path}: {error}"))?;
    store
        .load(&file, &path, map.name.is_empty())
        .map(Some)
        .map_err(|error| chain(&error))
}
