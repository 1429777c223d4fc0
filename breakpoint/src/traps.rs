//! The traps of one address space.

use std::collections::BTreeMap;
use std::ops::Range;

use arch_abi::{Addr, Arch, StepError, StepPlan};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::arena::{Arena, Slot};
use crate::{CodeMemory, CopySpace, InsertError, RemoveError};

/// The number of a trap: small, and the same as long as the trap is there, so that owners can keep what
/// they know of it in a `Vec`. A number is used again after its trap was taken out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrapId(pub(crate) u32);

impl TrapId {
    /// The number, for indexing.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What became of a trap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removed {
    /// Others who put it in still want it.
    StillUsed,
    /// The original bytes are back.
    Restored,
    /// Somebody else has written there since: those bytes were left as they are.
    Overwritten,
}

/// One trap.
#[derive(Clone, Debug)]
pub(crate) struct Trap {
    pub(crate) plan: StepPlan,
    /// What the program has since written there that cannot be stepped over.
    pub(crate) broken: Option<StepError>,
    pub(crate) users: u32,
    /// Where a thread goes on, whatever its registers are: cached for every stop.
    pub(crate) resume: Option<Addr>,
    pub(crate) slot: Option<Slot>,
    /// There was no room for a copy: it is not asked for again at every stop.
    pub(crate) no_room: bool,
    /// The original bytes in the place of the trap's.
    pub(crate) original: [u8; MAX_TRAP],
}

/// The longest trap instruction of any ABI, in bytes.
pub(crate) const MAX_TRAP: usize = 4;

impl Trap {
    pub(crate) fn new(plan: StepPlan) -> Self {
        let mut original = [0; MAX_TRAP];
        let len = plan.bytes().len().min(MAX_TRAP);
        original[..len].copy_from_slice(&plan.bytes()[..len]);
        let resume = plan.constant_pc();
        Self {
            plan,
            broken: None,
            users: 1,
            resume,
            slot: None,
            no_room: false,
            original,
        }
    }
}

/// All traps of one address space. A process that was forked has a clone, because it has the same bytes
/// and copies at the same addresses; one made by `vfork` shares its parent's.
#[derive(Clone, Debug)]
pub struct Traps {
    pub(crate) arch: Arch,
    pub(crate) slots: Vec<Option<Trap>>,
    free: Vec<TrapId>,
    pub(crate) by_addr: FxHashMap<Addr, TrapId>,
    pub(crate) ordered: BTreeMap<Addr, TrapId>,
    pub(crate) arena: Arena,
    /// Where traps were that have been taken out.
    pub(crate) late: FxHashSet<Addr>,
}

impl Traps {
    /// No traps, for code of this ABI.
    #[must_use]
    pub fn new(arch: Arch) -> Self {
        Self {
            arch,
            slots: Vec::new(),
            free: Vec::new(),
            by_addr: FxHashMap::default(),
            ordered: BTreeMap::new(),
            arena: Arena::default(),
            late: FxHashSet::default(),
        }
    }

    /// The ABI of the code.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// How many traps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_addr.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_addr.is_empty()
    }

    /// One more than the largest index of a trap so far: the length of a side table.
    #[must_use]
    pub fn index_bound(&self) -> usize {
        self.slots.len()
    }

    /// Puts a trap at `at`, or counts one more user of the one that is there.
    ///
    /// An instruction that cannot be emulated gets its copy now; if there is no room for it, the trap is
    /// refused, so that every trap that is in can be stepped over.
    ///
    /// # Errors
    /// See [`InsertError`]; no trap was written.
    pub fn insert<M: CopySpace>(&mut self, at: Addr, mem: &mut M) -> Result<TrapId, InsertError<M::Error>> {
        self.insert_all(&[at], mem)
            .pop()
            .unwrap_or(Err(InsertError::TooMany))
    }

    /// Takes one user's claim off a trap, and the trap out when it was the last.
    ///
    /// The copy stays until [`Traps::reclaim`]: a thread may be in it.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub fn remove<M: CodeMemory>(
        &mut self,
        id: TrapId,
        mem: &mut M,
    ) -> Result<Removed, RemoveError<M::Error>> {
        let trap = self.get_mut(id).ok_or(RemoveError::NoSuchTrap { id })?;
        if trap.users > 1 {
            trap.users -= 1;
            return Ok(Removed::StillUsed);
        }
        self.restore(&[id], mem)
            .pop()
            .unwrap_or(Err(RemoveError::NoSuchTrap { id }))
    }

    /// Forgets the traps in `range` without touching memory: what was mapped there is gone.
    pub fn forget(&mut self, range: Range<Addr>) {
        if range.is_empty() {
            return;
        }
        let gone: Vec<TrapId> = self.ordered.range(range).map(|(_, &id)| id).collect();
        for id in gone {
            self.unregister(id);
        }
    }

    /// The trap at exactly `at`.
    #[must_use]
    pub fn lookup(&self, at: Addr) -> Option<TrapId> {
        self.by_addr.get(&at).copied()
    }

    /// Where a trap is; `None` after it was taken out.
    #[must_use]
    pub fn addr(&self, id: TrapId) -> Option<Addr> {
        self.get(id).map(|trap| trap.plan.at())
    }

    /// How many users a trap has; zero after it was taken out.
    #[must_use]
    pub fn users(&self, id: TrapId) -> u32 {
        self.get(id).map_or(0, |trap| trap.users)
    }

    /// What is known of the instruction under a trap. [`StepPlan::is_program_trap`] tells that the program
    /// has a trap of its own there: after stepping over, its SIGTRAP is the program's.
    #[must_use]
    pub fn plan(&self, id: TrapId) -> Option<&StepPlan> {
        self.get(id).map(|trap| &trap.plan)
    }

    /// All traps, by address.
    pub fn iter(&self) -> impl Iterator<Item = (Addr, TrapId)> + '_ {
        self.ordered.iter().map(|(&at, &id)| (at, id))
    }

    pub(crate) fn get(&self, id: TrapId) -> Option<&Trap> {
        self.slots.get(id.index())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: TrapId) -> Option<&mut Trap> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    /// Takes a trap into the books. `None`: there are too many.
    pub(crate) fn register(&mut self, trap: Trap) -> Option<TrapId> {
        let at = trap.plan.at();
        let id = if let Some(id) = self.free.pop() {
            id
        } else {
            let id = TrapId(u32::try_from(self.slots.len()).ok()?);
            self.slots.push(None);
            id
        };
        self.slots[id.index()] = Some(trap);
        self.by_addr.insert(at, id);
        self.ordered.insert(at, id);
        self.late.remove(&at);
        Some(id)
    }

    /// Takes a trap that is no longer in memory off the books; its copy stays.
    pub(crate) fn unregister(&mut self, id: TrapId) {
        if let Some(trap) = self.strike(id) {
            self.late.insert(trap.plan.at());
            if let Some(slot) = trap.slot {
                self.arena.retire(slot, &trap.plan);
            }
        }
    }

    /// Takes a trap that never was in memory off the books, and its copy with it.
    pub(crate) fn cancel(&mut self, id: TrapId) {
        if let Some(slot) = self.strike(id).and_then(|trap| trap.slot) {
            self.arena.free(slot);
        }
    }

    fn strike(&mut self, id: TrapId) -> Option<Trap> {
        let trap = self.slots.get_mut(id.index())?.take()?;
        self.by_addr.remove(&trap.plan.at());
        self.ordered.remove(&trap.plan.at());
        self.free.push(id);
        Some(trap)
    }

    /// Another trap whose bytes one at `at` would overlap.
    pub(crate) fn overlapping(&self, at: Addr) -> Option<Addr> {
        let len = self.arch.abi().trap().len() as u64;
        (1..len).find_map(|distance| {
            [at.wrapping_sub(distance), at.wrapping_add(distance)]
                .into_iter()
                .find(|other| self.by_addr.contains_key(other))
        })
    }
}
