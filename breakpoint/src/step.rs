//! Getting threads past traps.

use arch_abi::{Addr, Progress, Regs, SteppedCopy};

use crate::{CodeMemory, CopySpace, NoRoom, StepOverError, TrapId, Traps};

/// What gets a thread past a trap.
#[derive(Debug, Clone)]
#[must_use = "the thread stands on a trap until this is done"]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one stop, and a box would be an allocation per stop"
)]
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
        todo!()
    }
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
        todo!()
    }

    /// The address to which a thread has to go back whose SIGTRAP stop shows `pc`, when it hit a trap that was
    /// taken out before the stop was looked at. Known until [`Traps::reclaim`].
    #[must_use]
    pub fn late_hit_at(&self, pc: Addr) -> Option<Addr> {
        todo!()
    }

    /// Where a thread that hit this trap goes on, where that needs neither its registers nor its memory:
    /// the cheapest way, and the usual one once the copies are made.
    #[must_use]
    pub fn resume_at(&self, id: TrapId) -> Option<Addr> {
        todo!()
    }

    /// Gets a thread past a trap. `regs` are its registers as the stop shows them (or with the program counter on
    /// the trap). The first time, a copy may be made; from then on, nothing is allocated and,
    /// for [`StepOver::SetPc`], no memory accessed.
    ///
    /// # Errors
    /// See [`StepOverError`]; the thread is as it was.
    pub fn step_over<M: CopySpace>(
        &mut self,
        id: TrapId,
        regs: &Regs,
        mem: &mut M,
    ) -> Result<StepOver, StepOverError<M::Error>> {
        todo!()
    }

    /// Makes the copies of all traps now, in few writes, instead of each at its first hit.
    ///
    /// # Errors
    /// Some traps have no copy. They are emulated.
    pub fn prepare_copies<M: CopySpace>(&mut self, mem: &mut M) -> Result<(), NoRoom<M::Error>> {
        todo!()
    }

    /// For each trap that has one, sorted by address: where it is, and where a thread that hit it
    /// goes on without any tracer: its copy, or the next instruction. For a SIGTRAP handler in the target that outlives the
    /// tracer: call [`Traps::prepare_copies`] first.
    pub fn copies(&self) -> impl Iterator<Item = (Addr, Addr)> + '_ {
        std::iter::empty()
    }

    /// Puts a thread that stands in a copy back into the program: for a signal that is to be delivered
    /// there, and for detaching. `None`, and `regs` are unchanged, where it stands in none.
    ///
    /// The address in the `siginfo_t` of a fault that the copied instruction raised (SIGILL, SIGFPE, SIGTRAP: `si_addr`
    /// is that of the instruction) is the copy's, too: it should be set to the program counter set here.
    pub fn translate_back(&self, regs: &mut Regs) -> Option<InCopy> {
        todo!()
    }

    /// Whether `pc` lies in memory that holds copies.
    #[must_use]
    pub fn is_copy(&self, pc: Addr) -> bool {
        todo!()
    }

    /// Frees the copies of traps that have been taken out, and forgets those traps. To be called when no thread
    /// stands in a copy, nor has a stop to come from a trap taken out: when all are stopped and were asked.
    pub fn reclaim(&mut self) {
        todo!()
    }
}
