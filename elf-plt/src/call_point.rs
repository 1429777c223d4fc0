//! Call points: what is called, and how code reaches it.

use arch_abi::FileAddr;
use smallvec::SmallVec;

use crate::error::Error;
use crate::functions::rank;
use crate::object::Object;
use crate::slots::{self, Fill, SlotIndex, Target};
use crate::stubs;
use crate::symbol::{Binding, Symbol, SymbolType, Version};
use crate::symbol_table::{SymbolTable, is_defined_function};

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
    // Nearly all have one of each.
    pub(crate) slots: SmallVec<[Slot; 1]>,
    pub(crate) plt: SmallVec<[PltEntry; 1]>,
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

impl<'data> Object<'data> {
    /// The call points, by the address of their first slot. Imported data is none.
    ///
    /// The relocations and the PLT are read, not the compiled code: the time grows with the number of
    /// imports. See [`Object::references`] for calls past the PLT.
    ///
    /// # Errors
    /// The dynamic symbol table cannot be read.
    pub fn call_points(&self) -> Result<Vec<CallPoint<'data>>, Error> {
        self.call_points_where(|_| true)
    }

    /// The call points whose symbol's name `wanted` selects, and those without a name, as
    /// [`Object::call_points`] gives them. It is asked once for each name, and only for those of call points. Of
    /// 20,000 imports, one of them selected, this takes half of the memory.
    ///
    /// # Errors
    /// The dynamic symbol table cannot be read.
    pub fn call_points_where(
        &self,
        mut wanted: impl FnMut(&'data [u8]) -> bool,
    ) -> Result<Vec<CallPoint<'data>>, Error> {
        let symbols = SymbolTable::dynamic(self)?;
        let mut fills = slots::function_slots(self, &symbols);
        let known = SlotIndex::new(&fills);
        let mut entries = stubs::find(self, &known);
        let slots = entries.iter().map(|entry| entry.slot);
        let mut unknown: Vec<_> = slots.filter(|&slot| known.get(slot).is_none()).collect();
        unknown.sort_unstable();
        if !unknown.is_empty() {
            fills.extend(slots::slots_at(self, &unknown));
        }
        let mut points = group(&symbols, fills, &mut wanted);
        entries.sort_by_key(|entry| entry.addr);
        distribute(&entries, &mut points);
        name_ifuncs(self, &mut points, wanted);
        Ok(points)
    }
}

/// Gives each call point the PLT entries that jump through its slots.
fn distribute(entries: &[PltEntry], points: &mut [CallPoint<'_>]) {
    let slots = points
        .iter()
        .enumerate()
        .flat_map(|(number, point)| point.slots.iter().map(move |slot| (slot.addr, number)));
    let mut owners: Vec<_> = slots.collect();
    owners.sort_by_key(|&(addr, _)| addr);
    for entry in entries {
        if let Ok(at) = owners.binary_search_by_key(&entry.slot, |&(addr, _)| addr) {
            points[owners[at].1].add_plt(*entry);
        }
    }
}

impl CallPoint<'_> {
    fn add_plt(&mut self, entry: PltEntry) {
        self.plt.push(entry);
        if self.kind == CalleeKind::Untyped {
            self.kind = CalleeKind::Function; // nothing but a function is jumped to
        }
    }
}

/// The wanted call points of these slots, by the address of the first slot.
fn group<'data>(
    symbols: &SymbolTable<'data>,
    mut fills: Vec<Fill>,
    wanted: &mut impl FnMut(&'data [u8]) -> bool,
) -> Vec<CallPoint<'data>> {
    fills.sort_by_key(|fill| (fill.target, fill.slot.addr));
    let mut points: Vec<_> = fills
        .chunk_by(|a, b| a.target == b.target)
        .filter_map(|fills| {
            let mut slots: SmallVec<[Slot; 1]> = fills.iter().map(|fill| fill.slot).collect();
            slots.dedup_by_key(|slot| slot.addr);
            call_point(symbols, fills[0].target, slots)
        })
        .filter(|point| point.name.is_none_or(&mut *wanted))
        .collect();
    points.sort_by_key(|point| point.slots[0].addr);
    points
}

/// `None` where the symbol lies past the end of the file.
fn call_point<'data>(
    symbols: &SymbolTable<'data>,
    target: Target,
    slots: SmallVec<[Slot; 1]>,
) -> Option<CallPoint<'data>> {
    let symbol = match target {
        Target::Symbol(index) => symbols.get(index)?,
        Target::Resolver(resolver) => {
            return Some(CallPoint {
                name: None,
                version: None,
                kind: CalleeKind::Ifunc { resolver },
                binding: Binding::LOCAL,
                defined_at: None,
                slots,
                plt: SmallVec::new(),
            });
        }
    };
    let typed = symbol.kind == SymbolType::FUNC || symbol.kind == SymbolType::GNU_IFUNC;
    let lazy = slots
        .iter()
        .any(|slot| slot.relocation == SlotRelocation::JumpSlot);
    Some(CallPoint {
        name: Some(symbol.name),
        version: symbol.version,
        kind: if typed || lazy {
            CalleeKind::Function
        } else {
            CalleeKind::Untyped
        },
        binding: symbol.binding,
        defined_at: symbol.defined.then_some(symbol.addr),
        slots,
        plt: SmallVec::new(),
    })
}

/// Names the ifuncs by the symbols at their resolvers: of type `GNU_IFUNC`, since the resolver as such may
/// have another name.
fn name_ifuncs<'data>(
    object: &Object<'data>,
    points: &mut Vec<CallPoint<'data>>,
    mut wanted: impl FnMut(&'data [u8]) -> bool,
) {
    let resolver = |point: &CallPoint<'_>| match point.kind {
        CalleeKind::Ifunc { resolver } => Some(resolver),
        _ => None,
    };
    let mut unnamed: Vec<_> = points
        .iter()
        .enumerate()
        .filter_map(|(number, point)| Some((resolver(point)?, number)))
        .collect();
    if unnamed.is_empty() {
        return;
    }
    unnamed.sort_unstable();
    let resolver_at = |addr: FileAddr| unnamed.binary_search_by_key(&addr, |&(addr, _)| addr);
    let mut best: Vec<Option<Symbol<'data>>> = vec![None; unnamed.len()];
    let tables = [
        object.dynamic_symbols().unwrap_or_default(),
        SymbolTable::full(object),
    ];
    for symbol in tables.into_iter().flat_map(|table| {
        table.filtered(|sym| is_defined_function(sym) && resolver_at(FileAddr::new(sym.st_value)).is_ok())
    }) {
        let Ok(found) = resolver_at(symbol.addr) else {
            continue;
        };
        let rank = |symbol: &Symbol<'data>| (symbol.kind != SymbolType::GNU_IFUNC, rank(symbol));
        if best[found].is_none_or(|best| rank(&symbol) < rank(&best)) {
            best[found] = Some(symbol);
        }
    }
    for ((_, number), symbol) in unnamed.into_iter().zip(best) {
        let Some(symbol) = symbol.filter(|symbol| !symbol.name.is_empty()) else {
            continue;
        };
        let point = &mut points[number];
        (point.name, point.version, point.binding) = (Some(symbol.name), symbol.version, symbol.binding);
    }
    let is_ifunc = |point: &CallPoint<'_>| matches!(point.kind, CalleeKind::Ifunc { .. });
    points.retain(|point| !is_ifunc(point) || point.name.is_none_or(&mut wanted));
}
