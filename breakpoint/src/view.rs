//! Memory as the program would see it without traps.

use std::ops::Range;

use arch_abi::{Addr, StepError, StepPlan};

use crate::{CodeMemory, TrapId, Traps};

impl Traps {
    /// Puts the original bytes into `buf`, which was read from `at`.
    pub fn mask(&self, at: Addr, buf: &mut [u8]) {
        let trap_len = self.arch.abi().trap().len();
        for id in self.touching(at, buf.len(), trap_len) {
            let Some(trap) = self.get(id) else { continue };
            if let Some((in_trap, in_buf)) = shared(trap.plan.at(), trap_len, at, buf.len()) {
                buf[in_buf].copy_from_slice(&trap.original[in_trap]);
            }
        }
    }

    /// The traps that have any of the `reach` bytes from their address in the `len` bytes at `at`.
    fn touching(&self, at: Addr, len: usize, reach: usize) -> impl Iterator<Item = TrapId> + '_ {
        let from = at.get().saturating_sub(reach as u64 - 1);
        let to = at.get().saturating_add(len as u64);
        self.ordered
            .range(Addr::new(from)..Addr::new(to))
            .map(|(_, &id)| id)
    }

    /// Puts the trap instructions into `buf`, which is to be written at `at`.
    fn put_traps(&self, at: Addr, buf: &mut [u8]) {
        let instruction = self.arch.abi().trap();
        for id in self.touching(at, buf.len(), instruction.len()) {
            let Some(trap_at) = self.addr(id) else { continue };
            if let Some((in_trap, in_buf)) = shared(trap_at, instruction.len(), at, buf.len()) {
                buf[in_buf].copy_from_slice(&instruction[in_trap]);
            }
        }
    }

    /// Takes `bytes` at `at` for the new original bytes of the traps there.
    fn take_over(&mut self, at: Addr, bytes: &[u8]) {
        let trap_len = self.arch.abi().trap().len();
        let ids: Vec<TrapId> = self.touching(at, bytes.len(), trap_len).collect();
        for id in ids {
            let Some(trap) = self.get_mut(id) else { continue };
            if let Some((in_trap, in_buf)) = shared(trap.plan.at(), trap_len, at, bytes.len()) {
                trap.original[in_trap].copy_from_slice(&bytes[in_buf]);
            }
        }
    }

    /// Plans the traps anew whose instructions may have bytes in the `len` bytes at `at`.
    fn plan_again<M: CodeMemory>(&mut self, at: Addr, len: usize, mem: &M) {
        let abi = self.arch.abi();
        let ids: Vec<TrapId> = self.touching(at, len, abi.max_instruction()).collect();
        for id in ids {
            let Some(trap_at) = self.addr(id) else { continue };
            let code = self.read_code(trap_at, mem).unwrap_or_default();
            let plan = abi.step(&code, trap_at);
            self.change_plan(id, plan);
        }
    }

    fn change_plan(&mut self, id: TrapId, plan: Result<StepPlan, StepError>) {
        let Some(trap) = self.get_mut(id) else { return };
        if plan.as_ref().is_ok_and(|plan| plan.bytes() == trap.plan.bytes()) && trap.broken.is_none() {
            return;
        }
        let (old, slot) = (trap.plan, trap.slot.take());
        trap.no_room = false;
        match plan {
            Ok(plan) => {
                trap.resume = plan.constant_pc();
                trap.broken = None;
                trap.plan = plan;
            }
            Err(error) => {
                trap.resume = None;
                trap.broken = Some(error);
            }
        }
        if let Some(slot) = slot {
            self.arena.retire(slot, &old);
        }
    }
}

/// Which part of a trap's bytes, and which part of `len` bytes at `at`, are the same memory.
fn shared(trap_at: Addr, trap_len: usize, at: Addr, len: usize) -> Option<(Range<usize>, Range<usize>)> {
    let number = |bytes: Option<u64>| bytes.and_then(|bytes| usize::try_from(bytes).ok());
    let (in_trap, in_buf) = match number(trap_at.offset_from(at)) {
        Some(in_buf) => (0, in_buf),
        None => (number(at.offset_from(trap_at))?, 0),
    };
    let count = trap_len.checked_sub(in_trap)?.min(len.checked_sub(in_buf)?);
    (count > 0).then_some((in_trap..in_trap + count, in_buf..in_buf + count))
}

/// Memory with the original bytes in the place of traps: reads show them, and writes change them and leave
/// the traps in.
#[derive(Debug)]
pub struct OriginalMemory<'a, M> {
    traps: &'a mut Traps,
    mem: &'a mut M,
}

impl<'a, M: CodeMemory> OriginalMemory<'a, M> {
    /// `mem` without `traps`.
    pub fn new(traps: &'a mut Traps, mem: &'a mut M) -> Self {
        Self { traps, mem }
    }
}

impl<M: CodeMemory> CodeMemory for OriginalMemory<'_, M> {
    type Error = M::Error;

    fn read(&self, at: Addr, buf: &mut [u8]) -> Result<(), M::Error> {
        self.mem.read(at, buf)?;
        self.traps.mask(at, buf);
        Ok(())
    }

    /// A trap whose instruction is changed is planned anew, and gets a new copy when it needs one.
    fn write(&mut self, at: Addr, bytes: &[u8]) -> Result<(), M::Error> {
        let mut with_traps = bytes.to_vec();
        self.traps.put_traps(at, &mut with_traps);
        self.mem.write(at, &with_traps)?;
        self.traps.take_over(at, bytes);
        self.traps.plan_again(at, bytes.len(), self.mem);
        Ok(())
    }
}
