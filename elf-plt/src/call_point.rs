//! Call points: what is called, and how code reaches it.

use arch_abi::FileAddr;

use crate::symbol::{Binding, Version};

/// A word of memory that the dynamic linker fills with the address of a function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Slot {
    /// Where it lies: `r_offset` of its relocation.
    pub addr: FileAddr,
    /// How it is filled.
    pub relocation: SlotRelocation,
}

/// The relocations that fill slots; the psABIs' names, without the machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SlotRelocation {
    /// `JUMP_SLOT`: may be bound lazily, at the first call.
    JumpSlot,
    /// `GLOB_DAT`: bound when the object is loaded.
    GlobDat,
    /// `IRELATIVE`: filled with what a resolver of the object itself selects.
    Irelative,
    /// `R_X86_64_64`, `R_386_32`: an ordinary pointer. A slot only where a PLT entry jumps through it.
    Pointer,
}

/// Code made by the linker that jumps through a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PltEntry {
    /// Its first instruction: where callers jump to.
    pub addr: FileAddr,
    /// Its length in bytes.
    pub len: u8,
    /// The slot that it jumps through.
    pub slot: FileAddr,
    /// The instruction that reads the slot, as a distance in bytes from [`PltEntry::addr`].
    pub jump: u8,
}

/// What a call point calls, as far as the object tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CalleeKind {
    /// A function: so says the symbol's type, or a PLT entry jumps there.
    Function,
    /// A symbol without a type and without a PLT entry: only the code that uses the slot tells whether
    /// it is a function. See [`crate::Object::references`].
    Untyped,
    /// A function that a resolver of this object selects (`IRELATIVE`).
    Ifunc {
        /// The resolver, which runs once when the object is loaded: not what is called.
        resolver: FileAddr,
    },
}

/// What is called and how code reaches it: a symbol, its slots, and every PLT entry that jumps
/// through one of them.
#[derive(Clone, Debug)]
pub struct CallPoint<'data> {
    pub(crate) name: Option<&'data [u8]>,
    pub(crate) version: Option<Version<'data>>,
    pub(crate) kind: CalleeKind,
    pub(crate) binding: Binding,
    pub(crate) defined_at: Option<FileAddr>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) plt: Vec<PltEntry>,
}

impl<'data> CallPoint<'data> {
    /// The symbol's name. `None`: an ifunc of a stripped object, which only its resolver's address names.
    #[must_use]
    pub const fn name(&self) -> Option<&'data [u8]> {
        self.name
    }

    /// The symbol's version that this object was linked against.
    #[must_use]
    pub const fn version(&self) -> Option<Version<'data>> {
        self.version
    }

    /// What kind of callee it is.
    #[must_use]
    pub const fn kind(&self) -> CalleeKind {
        self.kind
    }

    /// The symbol's binding. A weak symbol may stay undefined: its slot then holds zero.
    #[must_use]
    pub const fn binding(&self) -> Binding {
        self.binding
    }

    /// Where this object itself defines the symbol, which another object may still pre-empt.
    #[must_use]
    pub const fn defined_at(&self) -> Option<FileAddr> {
        self.defined_at
    }

    /// The slots, by address; never empty.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The PLT entries that jump through the slots, by address. Empty where code calls through the slot
    /// itself, as `-fno-plt` and rustc have it.
    #[must_use]
    pub fn plt(&self) -> &[PltEntry] {
        &self.plt
    }
}
