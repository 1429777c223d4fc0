//! Room for copies of instructions.

use std::ops::Range;

use arch_abi::{Addr, CopyError, DisplacedCopy, MAX_COPY, StepPlan, SteppedCopy};
use rustc_hash::FxHashMap;

use crate::{CodeMemory, CopySpace, TrapId};

/// Room for this many copies is asked for at least.
const MIN_SLOTS: usize = 512;

/// A copy of either kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Copied {
    Displaced(DisplacedCopy),
    Stepped(SteppedCopy),
}

impl Copied {
    /// The best copy of the instruction for `to`.
    pub(crate) fn of(plan: &StepPlan, to: Addr) -> Result<Self, CopyError> {
        match plan.displaced_copy(to) {
            Err(CopyError::NoCopy { .. }) => plan.stepped_copy(to).map(Self::Stepped),
            other => other.map(Self::Displaced),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Displaced(copy) => copy.bytes(),
            Self::Stepped(copy) => copy.bytes(),
        }
    }
}

/// The place of one copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Slot {
    chunk: u32,
    index: u32,
}

/// Whose copy is in a place.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    Nobody,
    Trap(TrapId),
    /// The trap was taken out, but a thread may be in the copy.
    Retired(Box<StepPlan>),
}

/// One mapping.
#[derive(Clone, Debug)]
struct Chunk {
    range: Range<Addr>,
    slots: Vec<Owner>,
    free: Vec<u32>,
    capacity: u32,
}

/// All mappings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arena {
    chunks: Vec<Chunk>,
    /// Retired copies by the address of their instruction: a trap put in again finds its copy again.
    retired: FxHashMap<Addr, Slot>,
}

impl Chunk {
    fn new(start: Addr, len: usize) -> Option<Self> {
        let end = start.checked_add(u64::try_from(len).ok()?)?;
        let capacity = u32::try_from(len / MAX_COPY).ok()?;
        Some(Self {
            range: start..end,
            slots: Vec::new(),
            free: Vec::new(),
            capacity,
        })
    }

    fn addr(&self, index: u32) -> Addr {
        self.range.start.wrapping_add(u64::from(index) * MAX_COPY as u64)
    }

    fn next_free(&self) -> Option<u32> {
        let unused = u32::try_from(self.slots.len())
            .ok()
            .filter(|&index| index < self.capacity);
        self.free.last().copied().or(unused)
    }

    fn take(&mut self, owner: Owner) {
        match self.free.pop() {
            Some(index) => self.slots[index as usize] = owner,
            None => self.slots.push(owner),
        }
    }
}

impl Arena {
    pub(crate) fn addr(&self, slot: Slot) -> Addr {
        self.chunks[slot.chunk as usize].addr(slot.index)
    }

    /// A place in reach for a trap's copy, if there is one in what is mapped.
    pub(crate) fn place(&mut self, id: TrapId, plan: &StepPlan) -> Option<(Slot, Copied)> {
        if let Some(found) = self.adopt(id, plan) {
            return Some(found);
        }
        // The newest mapping is the likeliest to have room and to be near.
        for (number, chunk) in self.chunks.iter_mut().enumerate().rev() {
            let Some(index) = chunk.next_free() else { continue };
            let Ok(copy) = Copied::of(plan, chunk.addr(index)) else {
                continue;
            };
            chunk.take(Owner::Trap(id));
            return Some((
                Slot {
                    chunk: u32::try_from(number).ok()?,
                    index,
                },
                copy,
            ));
        }
        None
    }

    /// The copy that the trap had before it was taken out.
    fn adopt(&mut self, id: TrapId, plan: &StepPlan) -> Option<(Slot, Copied)> {
        let slot = *self.retired.get(&plan.at())?;
        let copy = Copied::of(plan, self.addr(slot)).ok()?;
        let owner = self.owner_mut(slot)?;
        match owner {
            Owner::Retired(old) if old.bytes() == plan.bytes() => *owner = Owner::Trap(id),
            _ => return None,
        }
        self.retired.remove(&plan.at());
        Some((slot, copy))
    }

    /// Asks for room for `count` copies near `near`. `Ok(false)`: what was given is of no use.
    pub(crate) fn map<M: CopySpace>(
        &mut self,
        near: Addr,
        count: usize,
        mem: &mut M,
    ) -> Result<bool, M::Error> {
        let len = count
            .max(MIN_SLOTS)
            .saturating_mul(MAX_COPY)
            .next_multiple_of(4096);
        let start = mem.map_copies(near, len)?;
        let chunk = Chunk::new(start, len).filter(|chunk| !self.overlaps(&chunk.range));
        let useful = chunk.is_some();
        self.chunks.extend(chunk);
        Ok(useful)
    }

    fn overlaps(&self, range: &Range<Addr>) -> bool {
        self.chunks
            .iter()
            .any(|chunk| chunk.range.start < range.end && range.start < chunk.range.end)
    }

    /// The copy is no longer a trap's, but a thread may be in it.
    pub(crate) fn retire(&mut self, slot: Slot, plan: &StepPlan) {
        if let Some(owner) = self.owner_mut(slot) {
            *owner = Owner::Retired(Box::new(*plan));
            self.retired.insert(plan.at(), slot);
        }
    }

    /// Nobody has been or will be in the copy.
    pub(crate) fn free(&mut self, slot: Slot) {
        if let Some(chunk) = self.chunks.get_mut(slot.chunk as usize) {
            chunk.slots[slot.index as usize] = Owner::Nobody;
            chunk.free.push(slot.index);
        }
    }

    /// Frees all retired copies.
    pub(crate) fn reclaim(&mut self) {
        self.retired.clear();
        for chunk in &mut self.chunks {
            for (index, owner) in (0..).zip(&mut chunk.slots) {
                if matches!(owner, Owner::Retired(_)) {
                    *owner = Owner::Nobody;
                    chunk.free.push(index);
                }
            }
        }
    }

    /// Whose copy `pc` lies in, and where that copy starts; `None` outside of all mappings.
    pub(crate) fn find(&self, pc: Addr) -> Option<(&Owner, Addr)> {
        let chunk = self.chunks.iter().find(|chunk| chunk.range.contains(&pc))?;
        let index = u32::try_from(pc.offset_from(chunk.range.start)? / MAX_COPY as u64).ok()?;
        Some((
            chunk.slots.get(index as usize).unwrap_or(&Owner::Nobody),
            chunk.addr(index),
        ))
    }

    fn owner_mut(&mut self, slot: Slot) -> Option<&mut Owner> {
        self.chunks
            .get_mut(slot.chunk as usize)?
            .slots
            .get_mut(slot.index as usize)
    }
}

/// Writes copies, neighbours in one piece; the rest of each place is filled with traps. The places must be
/// sorted.
pub(crate) fn write<M: CodeMemory>(
    copies: &[(Addr, Copied)],
    trap: &[u8],
    mem: &mut M,
) -> Result<(), M::Error> {
    let mut piece = Vec::new();
    let mut start = None;
    for (at, copy) in copies {
        let (from, end) = *start.get_or_insert((*at, *at));
        if end != *at {
            mem.write(from, &piece)?;
            piece.clear();
            start = Some((*at, *at));
        }
        let first = piece.len();
        piece.extend_from_slice(copy.bytes());
        piece.extend(trap.iter().cycle().take(first + MAX_COPY - piece.len()));
        start = start.map(|(from, _)| (from, at.wrapping_add(MAX_COPY as u64)));
    }
    start.map_or(Ok(()), |(from, _)| mem.write(from, &piece))
}
