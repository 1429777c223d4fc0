//! Functions that a resolver selects when they are bound (`STT_GNU_IFUNC`), where they are to be met where they begin (`-x`): their
//! symbol has the resolver's address, and it may have run before anyone looked. What it has selected stands in the slots.

use arch_abi::FileAddr;
use elf_plt::{CalleeKind, Object, SlotRelocation};
use rustc_hash::FxHashMap;

use crate::points::PointId;

/// An IFUNC of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ifunc {
    /// Its resolver.
    pub resolver: FileAddr,
    /// What it selects.
    pub function: PointId,
    /// The slots of its own object that hold what was selected.
    pub slots: Vec<FileAddr>,
}

impl Ifunc {
    /// The one with this resolver, whose slots are not known yet.
    #[must_use]
    pub fn new(resolver: FileAddr, function: PointId) -> Self {
        Self {
            resolver,
            function,
            slots: Vec::new(),
        }
    }
}

/// The slots by which an object calls functions of others, by name.
#[derive(Debug, Default)]
pub struct ImportSlots(FxHashMap<Box<str>, Vec<FileAddr>>);

impl ImportSlots {
    /// Those of `object`; its slots for its own `ifuncs` are given to these.
    ///
    /// # Errors
    /// Its relocations cannot be read.
    pub fn of(object: &Object<'_>, ifuncs: &mut [Ifunc]) -> Result<Self, elf_plt::Error> {
        let mut imports: FxHashMap<Box<str>, Vec<FileAddr>> = FxHashMap::default();
        for point in object.call_points()? {
            let slots = point.slots().iter();
            if let CalleeKind::Ifunc { resolver } = point.kind() {
                let own = ifuncs.iter_mut().filter(|ifunc| ifunc.resolver == resolver);
                own.for_each(|ifunc| ifunc.slots.extend(slots.clone().map(|slot| slot.addr)));
                continue;
            }
            // What is bound lazily may hold an address of this object, which only for another object's function is known to be
            // none of that function.
            let is_known =
                |relocation| point.defined_at().is_none() || relocation != SlotRelocation::JumpSlot;
            let addrs = slots
                .filter(|slot| is_known(slot.relocation))
                .map(|slot| slot.addr);
            if let Some(name) = point.name() {
                let name = String::from_utf8_lossy(name).into();
                imports.entry(name).or_default().extend(addrs);
            }
        }
        Ok(Self(imports))
    }

    /// Those for the function of this name.
    #[must_use]
    pub fn of_function(&self, name: &str) -> &[FileAddr] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}
