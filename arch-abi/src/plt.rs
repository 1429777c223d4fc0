//! Code that linkers write, and how code names the slots that the dynamic linker fills.

use crate::addr::FileAddr;

/// How an instruction names a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SlotOperand {
    /// The slot's address.
    Address(FileAddr),
    /// A distance from `_GLOBAL_OFFSET_TABLE_`, whose address the code expects in a register: i386
    /// psABI, "Position-Independent Function Calls".
    GotOffset(u64),
}

impl SlotOperand {
    /// The slot's address, where `_GLOBAL_OFFSET_TABLE_` lies at `got`; addresses have `word_size` bytes.
    #[must_use]
    pub fn resolve(self, got: Option<FileAddr>, word_size: usize) -> Option<FileAddr> {
        match self {
            Self::Address(slot) => Some(slot),
            Self::GotOffset(offset) => {
                let mask = if word_size == 4 {
                    u64::from(u32::MAX)
                } else {
                    u64::MAX
                };
                got.map(|got| FileAddr::new(got.get().wrapping_add(offset) & mask))
            }
        }
    }
}

/// The numbers (`r_type`) of the relocations that fill slots.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotRelocations {
    /// `JUMP_SLOT`.
    pub jump_slot: u32,
    /// `GLOB_DAT`.
    pub glob_dat: u32,
    /// `IRELATIVE`.
    pub irelative: u32,
    /// A symbol's address in an ordinary pointer.
    pub pointer: u32,
}

/// One piece of a procedure linkage table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PltCode {
    /// An entry that jumps through a slot.
    Stub(Stub),
    /// Code that no caller is sent to through a slot of its own: the first entry, which calls the
    /// dynamic linker, and the lazy halves of entries whose other halves lie in `.plt.sec`.
    Other {
        /// Its length in bytes, padding included.
        len: usize,
    },
}

/// A PLT entry that jumps through a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stub {
    /// Its length in bytes, padding included.
    pub len: usize,
    /// Where the instruction that reads the slot starts, in bytes from the entry's start.
    pub jump: usize,
    /// The slot.
    pub slot: SlotOperand,
}

/// What an instruction does with a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SlotAccess {
    /// Calls the function that the slot points to.
    Call,
    /// Jumps to it.
    Jump,
    /// Anything else: loads the pointer, compares it, takes the slot's address.
    Other,
}

/// An instruction that names a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotReference {
    /// Its first byte, prefixes included.
    pub at: FileAddr,
    /// The slot.
    pub slot: FileAddr,
    /// What it does.
    pub access: SlotAccess,
}
