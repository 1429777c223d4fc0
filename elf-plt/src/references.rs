//! Direct references to slots: how code without PLT calls.

use arch_abi::FileAddr;

/// How the code of an object uses one slot, other than by PLT entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotUse {
    /// Every `call *slot`, by address; an address is that of the instruction, prefixes included.
    pub calls: Vec<FileAddr>,
    /// Every `jmp *slot` outside PLT entries: tail calls.
    pub jumps: Vec<FileAddr>,
    /// Whether any other instruction uses the slot: a call hoisted into a register, an address taken, a
    /// comparison with zero. Where this is set, `calls` and `jumps` may not be all ways to the function.
    pub loaded: bool,
}

/// How the code of an object uses the slots that were asked for.
#[derive(Clone, Debug, Default)]
pub struct References {
    /// By slot, sorted.
    pub(crate) slots: Vec<(FileAddr, SlotUse)>,
}

impl References {
    /// The use of `slot`; `None` if it was not asked for.
    #[must_use]
    pub fn of(&self, slot: FileAddr) -> Option<&SlotUse> {
        let at = self.slots.binary_search_by_key(&slot, |&(addr, _)| addr).ok()?;
        Some(&self.slots[at].1)
    }

    /// The slots that were asked for and their uses, by address.
    pub fn iter(&self) -> impl Iterator<Item = (FileAddr, &SlotUse)> {
        self.slots.iter().map(|(slot, used)| (*slot, used))
    }
}
