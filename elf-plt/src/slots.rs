//! The slots of an object: which words the dynamic linker fills with a function's address.

use arch_abi::{FileAddr, SlotRelocations};
use goblin::elf::reloc::Reloc;
use goblin::elf::section_header::{SHT_REL, SHT_RELA};
use goblin::elf::sym::Sym;

use crate::call_point::{Slot, SlotRelocation};
use crate::dynamic::relocation_table;
use crate::image::{Image, Table};
use crate::object::Object;
use crate::symbol::SymbolType;
use crate::symbol_table::SymbolTable;

/// Whose address a slot gets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Target {
    /// The dynamic symbol with this index.
    Symbol(usize),
    /// What the resolver at this address selects.
    Resolver(FileAddr),
}

/// A slot and whose address it gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) target: Target,
    pub(crate) slot: Slot,
}

/// The slots that belong to functions, or that may: where the symbol has no type.
pub(crate) fn function_slots(object: &Object<'_>, symbols: &SymbolTable<'_>) -> Vec<Fill> {
    let types = object.arch().abi().slot_relocations();
    let mut found = Vec::new();
    for_each_relocation(object, |reloc, has_addend| {
        let Some(relocation) = slot_relocation(types, reloc.r_type) else {
            return;
        };
        let slot = Slot {
            addr: FileAddr::new(reloc.r_offset),
            relocation,
        };
        let target = match relocation {
            SlotRelocation::Irelative => resolver(&object.image, &reloc, has_addend).map(Target::Resolver),
            SlotRelocation::JumpSlot => named(&reloc),
            SlotRelocation::GlobDat => named(&reloc).filter(|_| {
                symbols
                    .raw(reloc.r_sym)
                    .is_some_and(|sym| may_be_function(&object.image, &sym))
            }),
            SlotRelocation::Pointer => None,
        };
        found.extend(target.map(|target| Fill { target, slot }));
    });
    found
}

/// The slots at `addrs`, which are sorted and which PLT entries jump through: whatever the symbols' types
/// and whatever relocation fills them.
pub(crate) fn slots_at(object: &Object<'_>, addrs: &[FileAddr]) -> Vec<Fill> {
    let types = object.arch().abi().slot_relocations();
    let mut found = Vec::new();
    for_each_relocation(object, |reloc, _| {
        let addr = FileAddr::new(reloc.r_offset);
        let relocation = match reloc.r_type {
            kind if kind == types.pointer => SlotRelocation::Pointer,
            kind if kind == types.glob_dat => SlotRelocation::GlobDat,
            _ => return,
        };
        if let (Ok(_), Some(target)) = (addrs.binary_search(&addr), named(&reloc)) {
            found.push(Fill {
                target,
                slot: Slot { addr, relocation },
            });
        }
    });
    found
}

fn slot_relocation(types: SlotRelocations, kind: u32) -> Option<SlotRelocation> {
    match kind {
        kind if kind == types.jump_slot => Some(SlotRelocation::JumpSlot),
        kind if kind == types.glob_dat => Some(SlotRelocation::GlobDat),
        kind if kind == types.irelative => Some(SlotRelocation::Irelative),
        _ => None,
    }
}

/// The symbol that a relocation names; index 0 is none.
fn named(reloc: &Reloc) -> Option<Target> {
    (reloc.r_sym != 0).then_some(Target::Symbol(reloc.r_sym))
}

/// The resolver of an `IRELATIVE` relocation: its addend, which without `RELA` lies in the slot itself.
fn resolver(image: &Image<'_>, reloc: &Reloc, has_addend: bool) -> Option<FileAddr> {
    let addend = if has_addend {
        reloc.r_addend?.cast_unsigned()
    } else {
        image
            .word(FileAddr::new(reloc.r_offset), "IRELATIVE addend")
            .ok()?
    };
    Some(FileAddr::new(addend))
}

/// Whether a `GLOB_DAT` relocation of this symbol may fill a slot that is called through.
fn may_be_function(image: &Image<'_>, sym: &Sym) -> bool {
    match SymbolType(sym.st_type()) {
        SymbolType::FUNC | SymbolType::GNU_IFUNC => true,
        // Defined here, it is what lies there; otherwise nobody knows yet.
        SymbolType::NOTYPE => sym.st_shndx == 0 || image.is_code(FileAddr::new(sym.st_value)),
        _ => false,
    }
}

/// Calls `each` with every relocation that is applied when the object is loaded, and whether it has an
/// addend of its own: those that the dynamic section names, or, in a static program, those in loaded sections,
/// which its start-up code applies.
fn for_each_relocation(object: &Object<'_>, mut each: impl FnMut(Reloc, bool)) {
    let ctx = object.image.ctx();
    let mut each_of = |table: Table<'_>, has_addends: bool| {
        for reloc in table.iter::<Reloc, _>((has_addends, ctx)) {
            each(reloc, has_addends);
        }
    };
    if let Some(dynamic) = &object.dynamic {
        for &(table, has_addends) in &dynamic.relocations {
            each_of(table, has_addends);
        }
        return;
    }
    for section in object.sections.iter().filter(|section| section.loaded) {
        let has_addends = section.kind == SHT_RELA;
        if !has_addends && section.kind != SHT_REL {
            continue;
        }
        if let Ok(bytes) = object.image.slice(section.offset, section.size, "relocations") {
            each_of(relocation_table(&object.image, bytes, has_addends), has_addends);
        }
    }
}

/// Where slots lie, to be asked for by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotIndex {
    /// By address.
    slots: Vec<Slot>,
}

impl SlotIndex {
    pub(crate) fn new(fills: &[Fill]) -> Self {
        let mut slots: Vec<_> = fills.iter().map(|fill| fill.slot).collect();
        slots.sort_by_key(|slot| slot.addr);
        slots.dedup_by_key(|slot| slot.addr);
        Self { slots }
    }

    /// How the slot at `addr` is filled.
    pub(crate) fn get(&self, addr: FileAddr) -> Option<SlotRelocation> {
        let at = self.slots.binary_search_by_key(&addr, |slot| slot.addr).ok()?;
        Some(self.slots[at].relocation)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (FileAddr, SlotRelocation)> {
        self.slots.iter().map(|slot| (slot.addr, slot.relocation))
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
