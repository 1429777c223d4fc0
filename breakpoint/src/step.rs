//! Getting threads past traps.

use arch_abi::{Access, Addr, Progress, Regs, SteppedCopy};

use crate::arena::{self, Copied, Owner, Slot};
use crate::{CodeMemory, CopySpace, NoRoom, StepOverError, TrapId, Traps};

/// What gets a thread past a trap.
#[derive(Debug, Clone)]
#[must_use = "the thread stands on a trap until this is done"]
pub enum StepOver {
    /// Set the program counter and resume: the thread goes to a copy that goes back by itself, or
    /// straight to the next instruction.
    SetPc(Addr),
    /// Set these registers and resume: the instruction was emulated, memory included.
    SetRegs(Regs),
    /// Single-step a copy; then [`SingleStep::finish`].
    SingleStep(SingleStep),
}

/// A single step that gets a thread past a trap.
#[derive(Debug, Clone)]
#[must_use = "the thread has to be stepped"]
pub struct SingleStep {
    copy: SteppedCopy,
}

impl SingleStep {
    /// Where the thread is sent before the step.
    #[must_use]
    pub fn pc(&self) -> Addr {
        self.copy.start()
    }

    /// Makes `regs`, those after the step (or after whatever else stopped the thread first), and the stack
    /// what they would be had the instruction run in its own place.
    ///
    /// # Errors
    /// The stack cannot be accessed; `regs` are unchanged.
    pub fn finish<M: CodeMemory>(&self, regs: &mut Regs, mem: &mut M) -> Result<Progress, M::Error> {
        let loaded = load(self.copy.load(regs), mem).map_err(|(_, error)| error)?;
        let mut after = *regs;
        let (progress, store) = self.copy.fix(&mut after, loaded);
        if let Some(store) = store {
            mem.write(store.at(), store.bytes())?;
        }
        *regs = after;
        Ok(progress)
    }
}

/// Reads a word, if one is wanted; otherwise it is zero.
fn load<M: CodeMemory>(access: Option<Access>, mem: &M) -> Result<u64, (Addr, M::Error)> {
    let Some(access) = access else { return Ok(0) };
    let mut word = [0; 8];
    let size = access.size.min(word.len());
    mem.read(access.at, &mut word[..size])
        .map_err(|error| (access.at, error))?;
    Ok(u64::from_le_bytes(word))
}

/// A thread that was found in a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InCopy {
    /// Where the copied instruction lies.
    pub at: Addr,
    /// The trap there, if it is still there.
    pub trap: Option<TrapId>,
    /// Whether the instruction has run. If not, the thread stands on it again, and will hit the trap
    /// (if it is still there) once more for the same execution.
    pub progress: Progress,
}

impl Traps {
    /// The trap that a thread with these registers has just hit, as its SIGTRAP stop shows them.
    #[must_use]
    pub fn hit(&self, regs: &Regs) -> Option<TrapId> {
        self.hit_at(regs.pc())
    }

    /// [`Traps::hit`] for owners who have fetched the program counter alone.
    #[must_use]
    pub fn hit_at(&self, pc: Addr) -> Option<TrapId> {
        self.lookup(pc.wrapping_sub(self.arch.abi().pc_past_trap()))
    }

    /// The address to which a thread has to go back whose SIGTRAP stop shows `pc`, when it hit a trap that
    /// was taken out before the stop was looked at. Known until [`Traps::reclaim`].
    #[must_use]
    pub fn late_hit_at(&self, pc: Addr) -> Option<Addr> {
        let at = pc.wrapping_sub(self.arch.abi().pc_past_trap());
        self.late.contains(&at).then_some(at)
    }

    /// Where a thread that hit this trap goes on, where that needs neither its registers nor its memory:
    /// the cheapest way, and the usual one once the copies are made.
    #[must_use]
    pub fn resume_at(&self, id: TrapId) -> Option<Addr> {
        self.get(id)?.resume
    }

    /// Gets a thread past a trap. `regs` are its registers, as the stop shows them or with the program
    /// counter on the trap. The first time, a copy may be made; from then on, nothing is allocated and, for
    /// [`StepOver::SetPc`], no memory is accessed.
    ///
    /// # Errors
    /// See [`StepOverError`]; the thread is as it was.
    pub fn step_over<M: CopySpace>(
        &mut self,
        id: TrapId,
        regs: &Regs,
        mem: &mut M,
    ) -> Result<StepOver, StepOverError<M::Error>> {
        let trap = self.get(id).ok_or(StepOverError::NoSuchTrap { id })?;
        if let Some(pc) = trap.resume {
            return Ok(StepOver::SetPc(pc));
        }
        if let Some(error) = trap.broken {
            return Err(error.into());
        }
        let at = trap.plan.at();
        if regs.arch() != self.arch {
            return Err(StepOverError::OtherAbi { at });
        }
        if let Some(pc) = trap
            .plan
            .emulation()
            .and_then(|emulation| emulation.pc_only(regs))
        {
            return Ok(StepOver::SetPc(pc));
        }
        if trap.slot.is_none() && !trap.no_room && self.copy_all(&[id], mem).is_err() {
            // No room: what can be emulated is, from now on.
        }
        self.step_by_copy(id)
            .map_or_else(|| self.emulate(id, regs, mem), Ok)
    }

    fn step_by_copy(&self, id: TrapId) -> Option<StepOver> {
        let trap = self.get(id)?;
        if let Some(pc) = trap.resume {
            return Some(StepOver::SetPc(pc));
        }
        let copy = trap.plan.stepped_copy(self.arena.addr(trap.slot?)).ok()?;
        Some(StepOver::SingleStep(SingleStep { copy }))
    }

    fn emulate<M: CodeMemory>(
        &self,
        id: TrapId,
        regs: &Regs,
        mem: &mut M,
    ) -> Result<StepOver, StepOverError<M::Error>> {
        let trap = self.get(id).ok_or(StepOverError::NoSuchTrap { id })?;
        let at = trap.plan.at();
        let emulation = trap.plan.emulation().ok_or(StepOverError::NoRoom { at })?;
        let failed = |access| move |source| StepOverError::Memory { at, access, source };
        let mut regs = *regs;
        regs.set_pc(at);
        let loaded = load(emulation.load(&regs), mem).map_err(|(access, source)| failed(access)(source))?;
        if let Some(store) = emulation.run(&mut regs, loaded) {
            mem.write(store.at(), store.bytes()).map_err(failed(store.at()))?;
        }
        Ok(StepOver::SetRegs(regs))
    }

    /// Makes the copies of all traps now, in few writes, instead of each at its first hit.
    ///
    /// # Errors
    /// Some traps have no copy. They are emulated.
    pub fn prepare_copies<M: CopySpace>(&mut self, mem: &mut M) -> Result<(), NoRoom<M::Error>> {
        let without: Vec<TrapId> = self.ordered.values().copied().collect();
        self.copy_all(&without, mem)
    }

    /// For each trap that has one, sorted by address: where it is, and where a thread that hit it goes on
    /// without any tracer: its copy, or the next instruction. For a SIGTRAP handler in the target that
    /// outlives the tracer: call [`Traps::prepare_copies`] first.
    pub fn copies(&self) -> impl Iterator<Item = (Addr, Addr)> + '_ {
        self.iter().filter_map(|(at, id)| Some((at, self.resume_at(id)?)))
    }

    /// Puts a thread that stands in a copy back into the program: for a signal that is to be delivered
    /// there, and for detaching. `None`, and `regs` are unchanged, where it stands in none.
    ///
    /// The address in the `siginfo_t` of a fault that the copied instruction raised (SIGILL, SIGFPE,
    /// SIGTRAP: `si_addr` is that of the instruction) is the copy's, too: it should be set to the program
    /// counter set here.
    pub fn translate_back(&self, regs: &mut Regs) -> Option<InCopy> {
        let (owner, start) = self.arena.find(regs.pc())?;
        let (plan, trap) = match owner {
            Owner::Nobody => return None,
            Owner::Trap(id) => (&self.get(*id)?.plan, Some(*id)),
            Owner::Retired(plan) => (&**plan, None),
        };
        let at = plan.at();
        let progress = match Copied::of(plan, start).ok()? {
            Copied::Displaced(copy) => copy.put_back(regs)?,
            Copied::Stepped(_) if regs.pc() == start => {
                regs.set_pc(at);
                Progress::NotRun
            }
            Copied::Stepped(_) => return None,
        };
        Some(InCopy {
            at,
            trap: trap.or_else(|| self.lookup(at)),
            progress,
        })
    }

    /// Whether `pc` lies in memory that holds copies.
    #[must_use]
    pub fn is_copy(&self, pc: Addr) -> bool {
        self.arena.find(pc).is_some()
    }

    /// Frees the copies of traps that have been taken out, and forgets those traps. To be called when no
    /// thread stands in a copy, nor has a stop to come from a trap taken out: when all are stopped and were
    /// asked.
    pub fn reclaim(&mut self) {
        self.late.clear();
        self.arena.reclaim();
    }

    /// Makes the copies of those of `ids`, sorted by address, that have none.
    pub(crate) fn copy_all<M: CopySpace>(
        &mut self,
        ids: &[TrapId],
        mem: &mut M,
    ) -> Result<(), NoRoom<M::Error>> {
        let mut source = None;
        let mut made = Vec::new();
        let mut without = Vec::new();
        for (number, &id) in ids.iter().enumerate() {
            match self.copy_one(id, &ids[number..], mem, &mut source) {
                Some(Made::New(slot, copy)) => made.push((self.arena.addr(slot), copy, id, slot)),
                Some(Made::Before) => {}
                None => without.push(id),
            }
        }
        made.sort_unstable_by_key(|&(at, ..)| at);
        let copies: Vec<(Addr, Copied)> = made.iter().map(|&(at, copy, ..)| (at, copy)).collect();
        if let Err(error) = arena::write(&copies, self.arch.abi().trap(), mem) {
            source = Some(error);
            for (_, _, id, slot) in made.drain(..) {
                self.arena.free(slot);
                without.push(id);
            }
        }
        for (at, copy, id, slot) in made {
            self.has_copy(id, slot, at, &copy);
        }
        for &id in &without {
            self.get_mut(id).into_iter().for_each(|trap| trap.no_room = true);
        }
        if without.is_empty() {
            Ok(())
        } else {
            Err(NoRoom { without, source })
        }
    }

    fn has_copy(&mut self, id: TrapId, slot: Slot, at: Addr, copy: &Copied) {
        let Some(trap) = self.get_mut(id) else { return };
        trap.slot = Some(slot);
        trap.no_room = false;
        if trap.resume.is_none() && matches!(copy, Copied::Displaced(_)) {
            trap.resume = Some(at);
        }
    }

    /// Finds a place for one copy. `following` are the traps from this one on, for which room will be wanted.
    fn copy_one<M: CopySpace>(
        &mut self,
        id: TrapId,
        following: &[TrapId],
        mem: &mut M,
        source: &mut Option<M::Error>,
    ) -> Option<Made> {
        let trap = self.get(id)?;
        let plan = trap.plan;
        if trap.slot.is_some() || trap.resume.is_some() {
            return Some(Made::Before);
        }
        if let Some((slot, copy)) = self.arena.place(id, &plan) {
            return Some(Made::New(slot, copy));
        }
        if source.is_some() {
            return None; // it was refused a moment ago
        }
        let count = self.near(plan.at(), following);
        match self.arena.map(plan.at(), count, mem) {
            Ok(true) => self
                .arena
                .place(id, &plan)
                .map(|(slot, copy)| Made::New(slot, copy)),
            Ok(false) => None,
            Err(error) => {
                *source = Some(error);
                None
            }
        }
    }

    /// How many of `ids`, sorted by address, may have their copies in one place.
    fn near(&self, at: Addr, ids: &[TrapId]) -> usize {
        let in_reach = |id: &&TrapId| {
            self.addr(**id)
                .and_then(|other| other.offset_from(at))
                .is_some_and(|offset| offset < NEAR)
        };
        ids.iter().take_while(in_reach).count()
    }
}

/// What became of the wish for a copy.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for a moment, in no collection"
)]
enum Made {
    /// There was one, or none is needed.
    Before,
    New(Slot, Copied),
}

/// Traps so far apart share a mapping of copies, in bytes.
const NEAR: u64 = 1 << 30;
