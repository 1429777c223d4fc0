//! SIGTRAP stops: traps of ours, the end of a single step, and the program's own.

use arch_abi::{Addr, Regs};
use breakpoint::{StepOver, TrapId};
use ptrace_core::{Error, Signal, Stop, Stopped};

use super::filtered::spare;
use super::hits::Hit;
use super::linkage::chain;
use super::sigtrap::{WATCHED_CALLS, Watched};
use super::space::Role;
use super::thread::SharedSpace;
use super::{Tracer, resume};

/// `si_code` of a SIGTRAP that the kernel raises for `int3` (x86, `do_int3`); what a process sends has
/// another.
pub(super) const SI_KERNEL: i32 = 0x80;

impl Tracer {
    /// A SIGTRAP is about to be delivered.
    pub(super) fn on_trap(&mut self, stopped: Stopped) -> Result<(), Error> {
        let tid = stopped.tid();
        let Some(thread) = self.threads.get_mut(&tid) else {
            return resume(stopped, Some(Signal::SIGTRAP));
        };
        let regs = stopped.regs()?;
        thread.watched_calls = 0;
        if thread.stepping.is_some() {
            return self.on_stepped(stopped, &regs);
        }
        let space = SharedSpace::clone(&thread.space);
        let hit = space.borrow().traps.hit(&regs);
        match hit {
            Some(id) if is_ours(&stopped, &space, id)? => self.on_hit(stopped, &regs, &space, id),
            _ => self.on_foreign_trap(stopped, &regs, &space),
        }
    }

    /// A trap of ours was hit: its roles are played in the order in which they happened, then the
    /// thread goes past it.
    fn on_hit(
        &mut self,
        stopped: Stopped,
        regs: &Regs,
        space: &SharedSpace,
        id: TrapId,
    ) -> Result<(), Error> {
        let mut shared = space.borrow_mut();
        shared.come_back(&stopped);
        let role = *shared.role(id);
        let at = shared.traps.addr(id).unwrap_or_default();
        let Some(thread) = self.threads.get_mut(&stopped.tid()) else {
            return resume(stopped, None);
        };
        if !self
            .processes
            .get(&thread.tgid)
            .is_some_and(|process| process.followed)
        {
            // A child that borrows its parent's memory: it only has to get past.
            drop(shared);
            return self.step_over(stopped, regs, space, id, at);
        }
        let mut hit = Hit {
            stopped: &stopped,
            regs,
            at,
            thread,
            space: &mut shared,
            points: self.store.points(),
            reporter: &mut self.reporter,
            buffers: &mut self.buffers,
        };
        hit.play(role, id)?;
        let blocks = hit.thread.blocks_sigtrap;
        let watched = |watched: Watched| watched.concerns_sigtrap(regs, &hit.space.memory, blocks);
        if role.watched.is_some_and(watched) {
            hit.thread.watched_calls = WATCHED_CALLS;
        }
        if role
            .watched
            .is_some_and(|watched| watched.restricts(regs, &hit.space.memory))
        {
            hit.space.restrict(stopped.tgid());
        }
        drop(shared);
        self.follow_objects(&stopped, space, role);
        self.step_over(stopped, regs, space, id, at)
    }

    /// The dynamic linker or the program's entry point told that objects may have changed.
    fn follow_objects(&mut self, stopped: &Stopped, space: &SharedSpace, role: Role) {
        if role.link_map || role.program_entry {
            let notes = self.refresh(stopped, space);
            self.notes.extend(notes);
        }
    }

    /// Sends the thread past the trap.
    fn step_over(
        &mut self,
        stopped: Stopped,
        regs: &Regs,
        space: &SharedSpace,
        id: TrapId,
        at: Addr,
    ) -> Result<(), Error> {
        let mut shared = space.borrow_mut();
        if shared.traps.addr(id) != Some(at) {
            // It was taken out just now: the instruction is back in its place.
            stopped.set_pc(at)?;
            return resume(stopped, None);
        }
        let over = if let Some(pc) = shared.traps.resume_at(id) {
            StepOver::SetPc(pc)
        } else {
            let (traps, mut code) = shared.split(&stopped);
            match traps.step_over(id, regs, &mut code) {
                Ok(over) => over,
                Err(error) => {
                    let text = chain(&error);
                    drop(shared);
                    return self.cannot_step(stopped, space, id, at, &text);
                }
            }
        };
        drop(shared);
        match over {
            StepOver::SetPc(pc) => stopped.set_pc(pc)?,
            StepOver::SetRegs(regs) => stopped.set_regs(&regs)?,
            StepOver::SingleStep(step) => {
                stopped.set_pc(step.pc())?;
                if let Some(thread) = self.threads.get_mut(&stopped.tid()) {
                    thread.stepping = Some(step);
                }
                stopped.step(None)?;
                return Ok(());
            }
        }
        self.resume_watched(stopped)
    }

    /// There is no way past this trap: the trap goes, the program stays.
    fn cannot_step(
        &mut self,
        stopped: Stopped,
        space: &SharedSpace,
        id: TrapId,
        at: Addr,
        why: &str,
    ) -> Result<(), Error> {
        self.notes
            .push(format!("calls at {at} are no longer traced: {why}"));
        let mut shared = space.borrow_mut();
        let (traps, mut code) = shared.split(&stopped);
        while traps.users(id) > 0 {
            if traps.remove(id, &mut code).is_err() {
                break;
            }
        }
        drop(shared);
        stopped.set_pc(at)?;
        resume(stopped, None)
    }

    /// The single step of a copy is done.
    fn on_stepped(&mut self, stopped: Stopped, regs: &Regs) -> Result<(), Error> {
        self.finish_step(&stopped, *regs)?;
        resume(stopped, None)
    }

    /// Ends a single step, whatever stopped it: the registers become the program's.
    pub(super) fn finish_step(&mut self, stopped: &Stopped, mut regs: Regs) -> Result<(), Error> {
        let Some(thread) = self.threads.get_mut(&stopped.tid()) else {
            return Ok(());
        };
        let Some(step) = thread.stepping.take() else {
            return Ok(());
        };
        let space = SharedSpace::clone(&thread.space);
        let mut shared = space.borrow_mut();
        let (_, mut code) = shared.split(stopped);
        if let Err(error) = step.finish(&mut regs, &mut code) {
            self.notes
                .push(format!("tid {}: {}", stopped.tid(), chain(&error)));
        }
        stopped.set_regs(&regs)
    }

    /// A SIGTRAP at none of our traps: one that was taken out while the thread was on its way here, or
    /// the program's own.
    fn on_foreign_trap(&mut self, stopped: Stopped, regs: &Regs, space: &SharedSpace) -> Result<(), Error> {
        let shared = space.borrow();
        let late = shared
            .traps
            .late_hit_at(regs.pc())
            .or_else(|| shared.inherited_trap(regs.pc()));
        drop(shared);
        if let Some(at) = late
            && stopped.siginfo()?.code() == SI_KERNEL
        {
            stopped.set_pc(at)?;
            return resume(stopped, None);
        }
        spare(&stopped, Stop::SignalDelivery(Signal::SIGTRAP));
        if self.keep_sent_sigtrap(&stopped) {
            return resume(stopped, None);
        }
        self.deliver(stopped, *regs, Signal::SIGTRAP)
    }
}

/// Whether the SIGTRAP at this trap's address was raised by the trap. After a one-byte instruction the
/// program counter can stand there for another reason: a SIGTRAP that was sent.
fn is_ours(stopped: &Stopped, space: &SharedSpace, id: TrapId) -> Result<bool, Error> {
    let shared = space.borrow();
    let one_byte = shared.traps.plan(id).is_some_and(|plan| plan.bytes().len() == 1);
    Ok(!one_byte || stopped.siginfo()?.code() == SI_KERNEL)
}
