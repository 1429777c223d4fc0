//! The traps of one address space.

use std::ops::Range;

use arch_abi::{Addr, Arch, StepPlan};

use crate::{CodeMemory, CopySpace, InsertError, RemoveError};

/// The number of a trap: small, and the same as long as the trap is there, so that owners can keep what
/// they know of it in a `Vec`. A number is used again after its trap was taken out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrapId(u32);

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

/// All traps of one address space. A process that was forked has a clone, because it has the same bytes
/// and copies at the same addresses; one made by `vfork` shares its parent's.
#[derive(Clone, Debug)]
pub struct Traps {
    arch: Arch,
}

impl Traps {
    /// No traps, for code of this ABI.
    #[must_use]
    pub fn new(arch: Arch) -> Self {
        Self { arch }
    }

    /// The ABI of the code.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// How many traps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the largest index of a trap: the length of a side table.
    #[must_use]
    pub fn index_bound(&self) -> usize {
        todo!()
    }

    /// Puts a trap at `at`, or counts one more user of the one that is there.
    ///
    /// An instruction that cannot be emulated gets its copy now; if there is no room for it, the trap is refused, so that every
    /// trap that is in can be stepped over.
    ///
    /// # Errors
    /// See [`InsertError`]; nothing was written.
    pub fn insert<M: CopySpace>(&mut self, at: Addr, mem: &mut M) -> Result<TrapId, InsertError<M::Error>> {
        todo!()
    }

    /// [`Traps::insert`] for many addresses, in any order, with few reads and writes. The results are
    /// in the order of the addresses.
    pub fn insert_all<M: CopySpace>(
        &mut self,
        at: &[Addr],
        mem: &mut M,
    ) -> Vec<Result<TrapId, InsertError<M::Error>>> {
        todo!()
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
        todo!()
    }

    /// Takes out all traps, whoever uses them, in few reads and writes. Those that cannot be taken out
    /// stay, and are in the result.
    pub fn remove_all<M: CodeMemory>(&mut self, mem: &mut M) -> Vec<RemoveError<M::Error>> {
        todo!()
    }

    /// Forgets the traps in `range` without touching memory: what was mapped there is gone.
    pub fn forget(&mut self, range: Range<Addr>) {
        todo!()
    }

    /// The trap at exactly `at`.
    #[must_use]
    pub fn lookup(&self, at: Addr) -> Option<TrapId> {
        todo!()
    }

    /// Where a trap is; `None` after it was taken out.
    #[must_use]
    pub fn addr(&self, id: TrapId) -> Option<Addr> {
        todo!()
    }

    /// How many users a trap has; zero after it was taken out.
    #[must_use]
    pub fn users(&self, id: TrapId) -> u32 {
        todo!()
    }

    /// What is known of the instruction under a trap. [`StepPlan::is_program_trap`] tells that the program has a
    /// trap of its own there: after stepping over, its SIGTRAP is the program's.
    #[must_use]
    pub fn plan(&self, id: TrapId) -> Option<&StepPlan> {
        todo!()
    }

    /// All traps, by address.
    pub fn iter(&self) -> impl Iterator<Item = (Addr, TrapId)> + '_ {
        std::iter::empty()
    }
}
