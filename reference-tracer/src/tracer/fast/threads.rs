//! Which ring a thread records in: its spare register leads there.

use arch_abi::record::{Interruption, Resume};
use arch_abi::{Addr, Regs};
use ptrace_core::{Stopped, Tid, procfs};

use super::areas::Fast;
use super::{Choice, FastError, Recorder};

/// Fails unless there is a spare register, and it is free for the engine.
pub(super) fn check_spare_base(stopped: &Stopped, regs: &Regs) -> Result<(), FastError> {
    let layout = regs.abi().regs();
    let (Some(spare), Some(_)) = (layout.spare_base, layout.thread_pointer) else {
        return Err(FastError::Machine(regs.arch()));
    };
    if regs.get(spare) != 0 && !is_left_over(stopped, regs.get(spare)) {
        return Err(FastError::SpareRegister);
    }
    Ok(())
}

/// Whether an address is in rings that an earlier tracer has left behind.
fn is_left_over(stopped: &Stopped, at: u64) -> bool {
    let maps = procfs::maps(stopped.tgid()).unwrap_or_default();
    let map = maps.iter().find(|map| map.contains(Addr::new(at)));
    map.is_some_and(|map| map.name.as_encoded_bytes().starts_with(b"/memfd:rltrace"))
}

impl Fast {
    /// Lets a stopped thread record, into a ring of its own. One that uses the register itself is left alone: stubs
    /// pass its calls through.
    pub(in crate::tracer) fn register(
        &mut self,
        stopped: &Stopped,
        choice: &mut Choice<'_>,
    ) -> Result<(), FastError> {
        let mut regs = stopped.regs()?;
        let layout = regs.abi().regs();
        let (Some(spare), Some(pointer)) = (layout.spare_base, layout.thread_pointer) else {
            return Err(FastError::Machine(regs.arch()));
        };
        let own = regs.get(spare);
        if own != 0 && !self.is_block(own) && !is_left_over(stopped, own) {
            return Err(FastError::SpareRegister);
        }
        let owner = self.areas.owner(regs.get(pointer));
        let tid = stopped.tid();
        if choice.recorder.lanes.of(tid).is_some() {
            return Ok(());
        }
        let mut block = choice.recorder.lanes.give(tid, owner, &self.chunks);
        if block.is_none() {
            self.add_chunk(stopped, choice)?;
            block = choice.recorder.lanes.give(tid, owner, &self.chunks);
        }
        let block = block.ok_or(FastError::Full)?;
        if own != 0 && !self.is_block(own) {
            self.left_over.insert(tid, own);
        }
        regs.set(spare, block.get());
        Ok(stopped.set_regs(&regs)?)
    }

    /// A stopped thread that is not traced records nothing, though it may be in stubs: its register leads to a block that
    /// nobody owns.
    pub(in crate::tracer) fn silence(&self, stopped: &Stopped) -> Result<(), FastError> {
        let mut regs = stopped.regs()?;
        if let (Some(spare), Some(chunk)) = (regs.abi().regs().spare_base, self.chunks.first())
            && self.is_block(regs.get(spare))
        {
            regs.set(spare, chunk.nobodys_block().get());
            stopped.set_regs(&regs)?;
        }
        Ok(())
    }

    /// Takes a stopped thread out of recording code, for good, and gives it back its register. `false`: it is there still.
    pub(in crate::tracer) fn take_out(&self, stopped: &Stopped) -> Result<bool, FastError> {
        let before = stopped.regs()?;
        let mut regs = before;
        let layout = regs.abi().regs();
        if let Some(Resume::At(pc)) = self.resume(regs.pc(), Interruption::Leave) {
            regs.set_pc(pc);
            // A system call that is to be restarted would take the counter back.
            regs.set(layout.syscall_nr, u64::MAX);
        }
        let is_out = !self.is_code(regs.pc());
        if let Some(spare) = layout
            .spare_base
            .filter(|&spare| is_out && self.is_block(regs.get(spare)))
        {
            regs.set(spare, self.own_base(stopped.tid()));
        }
        if regs != before {
            stopped.set_regs(&regs)?;
        }
        Ok(is_out)
    }

    /// A stopped thread has its register back, unless it is in recording code.
    pub(in crate::tracer) fn release(&self, stopped: &Stopped) -> Result<bool, FastError> {
        let mut regs = stopped.regs()?;
        let Some(spare) = regs.abi().regs().spare_base else {
            return Ok(true);
        };
        if self.is_code(regs.pc()) {
            return Ok(false);
        }
        if self.is_block(regs.get(spare)) {
            regs.set(spare, self.own_base(stopped.tid()));
            stopped.set_regs(&regs)?;
        }
        Ok(true)
    }

    /// What a thread's register was before: 0, or the block of a tracer that has died, whose recording code it may be in still, waiting for room.
    ///
    /// A thread that was born since may be sent into the code of that tracer, too: another thread's block, of which it is no owner, lets it pass.
    fn own_base(&self, tid: Tid) -> u64 {
        let own = self.left_over.get(&tid);
        own.or_else(|| self.left_over.values().next())
            .copied()
            .unwrap_or(0)
    }

    /// Whether an address is that of a control block of ours.
    fn is_block(&self, at: u64) -> bool {
        self.chunks.iter().any(|chunk| {
            let (start, len) = chunk.range();
            at.wrapping_sub(start.get()) < len
        })
    }
}

impl Recorder {
    /// A thread has ended, and its ring was drained. What it lost is told, unless something else may have written the count.
    pub(in crate::tracer) fn forget(&mut self, tid: Tid) -> Option<String> {
        let lost = self.lanes.take_back(tid);
        let is_damaged = self.damaged.remove(&tid);
        (lost > 0 && !is_damaged)
            .then(|| format!("tid {tid}: {lost} calls and returns were lost, because its ring was full"))
    }
}
