//! The engine's memory in one address space: areas for stubs, the parallel stacks, and the rings.

use std::ops::Range;
use std::rc::Rc;

use arch_abi::record::{
    Areas, Common, Hook, Interruption, Places, REMEMBERED, RETURN_ADDRESS, Recording, Resume, RingLayout,
    Shadow, Template, Unsupported,
};
use arch_abi::{Addr, Arch};
use ptrace_core::{Memory, Stopped, Tid, procfs};
use rustc_hash::FxHashMap;

use super::FastError;
use super::batch::Batch;
use super::known::Known;
use super::lanes::Chunk;
use super::place;
use super::sites::Sites;
use super::threads::check_spare_base;
use crate::tracer::code::{CodeError, map_at, system_call, unmap};
use crate::tracer::deferred::Deferred;
use crate::tracer::fast::Choice;

/// Room for entries, as much as return parts have in proportion; only what is used takes memory.
const ENTRIES: u64 = 2 * Areas::RETURNS;
/// What is reserved: the addresses stay aligned to the areas' sizes.
const RESERVED: u64 = ENTRIES + Areas::RETURNS;
/// What `/proc/PID/maps` calls the rings: `/memfd:rltrace`.
const NAME: &[u8] = b"rltrace\0";
/// Stubs begin at multiples of this.
const ALIGN: u64 = 64;

/// Where stacks lie: the main thread's and those that mmap(2) gave, those in the heap and the data of a program at its usual
/// place, and in those of one that is linked for a fixed place.
const STACKS: [Range<u64>; 3] = [
    0x7c00_0000_0000..0x7fff_ffff_f000,
    0x5500_0000_0000..0x5700_0000_0000,
    0x1_0000..1 << 32,
];

/// Above all ids: under what hooks are known.
pub(super) const HOOKS: u32 = fast_ring::format::MAX_IDS;

/// How much longer a shadow is than its stack.
const PAGE: u64 = 4096;

/// Around a stack that lies elsewhere so much is mapped.
const PIECE: u64 = 1 << 30;

/// All that is kept beside the stacks.
fn shadows() -> impl Iterator<Item = Shadow> {
    REMEMBERED.into_iter().chain([RETURN_ADDRESS])
}

/// Whether just this range is mapped, as a parallel stack is.
fn is_left_over(stopped: &Stopped, at: Addr, len: u64) -> bool {
    let maps = procfs::maps(stopped.tgid()).unwrap_or_default();
    let is_it = |map: &procfs::Mapping| {
        let private = map.readable && map.writable && !map.executable && !map.shared && !map.is_file();
        private && map.start == at && map.end == at.wrapping_add(len)
    };
    maps.iter().any(is_it)
}

/// Whether recording code of a thread whose stack pointer is `sp` keeps something at `at`: for the place on the stack where that points, or
/// one next to it. Any other address is the program's, and nothing is to be mapped there.
pub(super) fn is_parallel(at: Addr, sp: Addr) -> bool {
    const NEAR: u64 = 64;
    shadows().any(|shadow| {
        let place = at.wrapping_sub(shadow.past).get() ^ shadow.turned;
        place.abs_diff(sp.get()) <= NEAR
    })
}

/// A stub as it lies in the process.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) places: Places,
    pub(super) template: Rc<Template>,
}

/// What is known of the stubs; forked processes share it until one of them gets another.
#[derive(Debug, Clone, Default)]
pub(super) struct Stubs {
    pub(super) placed: Vec<Placed>,
    pub(super) by_slot: FxHashMap<(u32, Addr), Addr>,
    templates: FxHashMap<Recording, Rc<Template>>,
    next_entry: Addr,
    next_return: Addr,
    /// What is placed and not yet in the process: entries, and return parts.
    unwritten: [Batch; 2],
}

/// So much code is kept before it is written.
const MOST_UNWRITTEN: usize = 1 << 20;

/// The engine in one address space.
#[derive(Debug, Clone)]
pub(in crate::tracer) struct Fast {
    pub(super) areas: Areas,
    pub(super) common: Rc<Common>,
    pub(super) stubs: Rc<Stubs>,
    pub(in crate::tracer) sites: Sites,
    pub(super) chunks: Vec<Rc<Chunk>>,
    /// All that was mapped, but for the chunks.
    mapped: Vec<(Addr, u64)>,
    /// Whether calls are stamped with the time.
    pub(super) stamped: bool,
    /// The registers of threads that a tracer which died has left behind.
    pub(super) left_over: FxHashMap<Tid, u64>,
    /// A string of the process: what its shared memory is called.
    name: Addr,
    /// Where the process has memory, as its stubs know it.
    pub(super) known: Known,
    /// Whether stubs are to make no system call.
    is_restricted: bool,
}

impl Fast {
    /// Puts the engine into the process of `stopped`, where no stub is yet. Nothing of it runs before a place is patched.
    pub(in crate::tracer) fn set_up(
        stopped: &Stopped,
        memory: &Memory,
        choice: &mut Choice<'_>,
    ) -> Result<Self, FastError> {
        let regs = stopped.regs()?;
        let arch = regs.arch();
        let code = arch.abi().recorder().ok_or(FastError::Machine(arch))?;
        check_spare_base(stopped, &regs)?;
        let layout = Chunk::layout(choice.recorder.options.ring)?;
        let mut fast = Self::reserve(stopped, arch, |areas| {
            code.common(areas, &RingLayout::from(&layout))
        })?;
        let made = fast.fill(stopped, memory, arch, choice);
        if made.is_err() {
            fast.remove(stopped, arch);
        }
        made.map(|()| fast)
    }

    fn reserve(
        stopped: &Stopped,
        arch: Arch,
        common: impl FnOnce(&Areas) -> Result<Common, Unsupported>,
    ) -> Result<Self, FastError> {
        let access = libc::PROT_READ | libc::PROT_EXEC;
        let maps = procfs::maps(stopped.tgid()).unwrap_or_default();
        let mut at = Err(CodeError::NoRoom(Addr::new(place::ELSEWHERE)));
        for wanted in place::candidates(&maps, RESERVED, ENTRIES) {
            at = map_at(stopped, arch, wanted, RESERVED, access);
            if at.is_ok() {
                break;
            }
        }
        let at = at?;
        let areas = Areas {
            entries: at..at.wrapping_add(ENTRIES),
            returns: at.wrapping_add(ENTRIES)..at.wrapping_add(RESERVED),
        };
        let common = common(&areas)?;
        let name = at.wrapping_add(common.entries().len() as u64);
        let after = |at: Addr, len: usize| Addr::new((at.get() + len as u64).next_multiple_of(ALIGN));
        Ok(Self {
            stubs: Rc::new(Stubs {
                next_entry: after(name, NAME.len()),
                next_return: after(areas.returns.start, common.returns().len()),
                ..Stubs::default()
            }),
            common: Rc::new(common),
            areas,
            sites: Sites::default(),
            chunks: Vec::new(),
            mapped: vec![(at, RESERVED)],
            stamped: false,
            left_over: FxHashMap::default(),
            name,
            known: Known::default(),
            is_restricted: false,
        })
    }

    fn fill(
        &mut self,
        stopped: &Stopped,
        memory: &Memory,
        arch: Arch,
        choice: &mut Choice<'_>,
    ) -> Result<(), FastError> {
        memory.write(self.areas.entries.start, self.common.entries())?;
        memory.write(self.areas.returns.start, self.common.returns())?;
        memory.write(self.name, NAME)?;
        if !choice.recorder.may_ask {
            self.known = Known::everything();
        }
        self.look_at_memory(memory, stopped.tgid());
        for shadow in shadows() {
            for stacks in STACKS {
                let len = stacks.end - stacks.start + PAGE;
                self.map_parallel(stopped, arch, stacks.start ^ shadow.turned, len)?;
            }
        }
        self.add_chunk(stopped, choice)
    }

    fn map_parallel(&mut self, stopped: &Stopped, arch: Arch, at: u64, len: u64) -> Result<(), FastError> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let wanted = Addr::new(at);
        let at = match map_at(stopped, arch, wanted, len, access) {
            Ok(at) => at,
            // What an earlier tracer has left behind, for frames that are still to return, serves as well.
            Err(_) if is_left_over(stopped, wanted, len) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.mapped.push((at, len));
        // A core dump through a pipe would write it all.
        let advice = libc::MADV_DONTDUMP.unsigned_abs().into();
        system_call(
            stopped,
            arch.abi().system_calls().madvise,
            [at.get(), len, advice, 0, 0, 0],
        )?;
        Ok(())
    }

    /// A stub has touched `at`, where a parallel stack should be: a stack lies where none was expected. Gives
    /// whether there is one now.
    pub(super) fn map_around(&mut self, stopped: &Stopped, arch: Arch, at: u64) -> bool {
        let start = at & !(PIECE - 1);
        self.map_parallel(stopped, arch, start, PIECE).is_ok()
    }

    /// More rings.
    pub(super) fn add_chunk(&mut self, stopped: &Stopped, choice: &mut Choice<'_>) -> Result<(), FastError> {
        let recorder = &mut *choice.recorder;
        let layout = Chunk::layout(recorder.options.ring)?;
        let patience = recorder.patience(&choice.reporter.clock);
        let chunk = Chunk::make(stopped, self.name, layout, recorder.options.on_full, patience)?;
        if self.is_restricted {
            chunk.restrict();
        }
        recorder.attend(&chunk);
        self.chunks.push(chunk);
        Ok(())
    }

    /// Stubs make no system call any more. Gives whether that is new.
    pub(in crate::tracer) fn restrict(&mut self, memory: &Memory) -> bool {
        if std::mem::replace(&mut self.is_restricted, true) {
            return false;
        }
        for chunk in &self.chunks {
            chunk.restrict();
        }
        self.ask_nothing(memory);
        true
    }

    /// Whether that was said.
    pub(in crate::tracer) fn is_restricted(&self) -> bool {
        self.is_restricted
    }

    /// The stub of a call point whose slot is at `slot`, which is made if there is none. See [`write_stubs`](Self::write_stubs).
    pub(super) fn stub(
        &mut self,
        memory: &Memory,
        id: u32,
        slot: Addr,
        recording: &Recording,
        arch: Arch,
    ) -> Result<Addr, FastError> {
        if let Some(&entry) = self.stubs.by_slot.get(&(id, slot)) {
            return Ok(entry);
        }
        let template = self.template(recording, arch)?;
        let entry = self.place(memory, &template, id, slot)?;
        Rc::make_mut(&mut self.stubs).by_slot.insert((id, slot), entry);
        Ok(entry)
    }

    /// The stub of a hook that calls on through the slot at `slot`.
    pub(super) fn hook(&mut self, memory: &Memory, hook: Hook, slot: Addr) -> Result<Addr, FastError> {
        let key = (HOOKS + hook as u32, slot);
        if let Some(&entry) = self.stubs.by_slot.get(&key) {
            return Ok(entry);
        }
        let template = Rc::new(self.common.hook(hook).clone());
        let entry = self.place(memory, &template, 0, slot)?;
        Rc::make_mut(&mut self.stubs).by_slot.insert(key, entry);
        Ok(entry)
    }

    fn template(&mut self, recording: &Recording, arch: Arch) -> Result<Rc<Template>, FastError> {
        if let Some(template) = self.stubs.templates.get(recording) {
            return Ok(Rc::clone(template));
        }
        let code = arch.abi().recorder().ok_or(FastError::Machine(arch))?;
        let template = Rc::new(code.template(recording, &self.common)?);
        let templates = &mut Rc::make_mut(&mut self.stubs).templates;
        templates.insert(recording.clone(), Rc::clone(&template));
        Ok(template)
    }

    fn place(
        &mut self,
        memory: &Memory,
        template: &Rc<Template>,
        id: u32,
        slot: Addr,
    ) -> Result<Addr, FastError> {
        let stubs = Rc::make_mut(&mut self.stubs);
        let places = Places {
            entry: stubs.next_entry,
            ret: stubs.next_return,
        };
        let (first, second) = template.place(&places, id, slot);
        let next_entry = places
            .entry
            .wrapping_add((first.len() as u64).next_multiple_of(ALIGN));
        let next_return = places
            .ret
            .wrapping_add((second.len() as u64).next_multiple_of(ALIGN));
        if next_entry > self.areas.zones() || next_return > self.areas.returns.end {
            return Err(FastError::Full);
        }
        let [entries, returns] = &mut stubs.unwritten;
        entries.put(places.entry, &first);
        returns.put(places.ret, &second);
        let is_much = entries.len().max(returns.len()) > MOST_UNWRITTEN;
        (stubs.next_entry, stubs.next_return) = (next_entry, next_return);
        stubs.placed.push(Placed {
            places,
            template: Rc::clone(template),
        });
        if is_much {
            self.write_stubs(memory)?;
        }
        Ok(places.entry)
    }

    /// Writes the stubs that were placed: nothing leads to one before this.
    pub(super) fn write_stubs(&mut self, memory: &Memory) -> Result<(), FastError> {
        if self.stubs.unwritten.iter().any(|batch| batch.len() > 0) {
            for batch in &mut Rc::make_mut(&mut self.stubs).unwritten {
                batch.write(memory)?;
            }
        }
        Ok(())
    }

    /// The memory of these addresses is gone.
    pub(in crate::tracer) fn sites_gone(&mut self, range: Range<Addr>) {
        self.sites.forget(range);
    }

    /// Whether calls return here.
    pub(in crate::tracer) fn is_return(&self, at: Addr) -> bool {
        self.areas.returns.contains(&at)
    }

    /// Whether this is recording code.
    pub(in crate::tracer) fn is_code(&self, at: Addr) -> bool {
        self.areas.entries.contains(&at) || self.areas.returns.contains(&at)
    }

    /// What becomes of a thread that a signal or a fault finds at `pc`.
    pub(in crate::tracer) fn resume(&self, pc: Addr, why: Interruption) -> Option<Resume> {
        if !self.is_code(pc) {
            return None;
        }
        if let Some(resume) = self.common.resume(pc, why) {
            return Some(resume);
        }
        let placed = &self.stubs.placed;
        let in_returns = self.areas.returns.contains(&pc);
        let start = |stub: &Placed| {
            if in_returns {
                stub.places.ret
            } else {
                stub.places.entry
            }
        };
        let after = placed.partition_point(|stub| start(stub) <= pc);
        let stub = placed.get(after.checked_sub(1)?)?;
        stub.template.resume(&stub.places, pc, why)
    }

    /// From now on calls that return into stubs are not recorded: nobody reads any more.
    pub(super) fn retire(&self, memory: &Memory) {
        let mut code = Deferred::default();
        for stub in &self.stubs.placed {
            for over in stub.template.retire(&stub.places).into_iter().flatten() {
                code.put(over.at, &over.bytes);
            }
        }
        // Half a page: to write what lies between two stubs costs less than another system call.
        code.write(memory, PAGE / 2);
    }

    /// Unmaps the rings. No thread is in a stub, and the stubs are retired.
    pub(super) fn unmap_rings(&mut self, stopped: &Stopped, arch: Arch) {
        for chunk in std::mem::take(&mut self.chunks) {
            let (at, len) = chunk.range();
            unmap(stopped, arch, at, len);
        }
    }

    /// Unmaps everything. No thread is in a stub or will return into one.
    pub(in crate::tracer) fn remove(&mut self, stopped: &Stopped, arch: Arch) {
        self.unmap_rings(stopped, arch);
        for (at, len) in std::mem::take(&mut self.mapped) {
            unmap(stopped, arch, at, len);
        }
    }
}
