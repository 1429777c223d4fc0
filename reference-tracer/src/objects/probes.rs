//! Where the calls of an object are met.

use arch_abi::FileAddr;
use elf_plt::{CallPoint, CalleeKind, Object, References, SlotRelocation};

use crate::points::PointId;

/// How a probe sees the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// At code that is jumped to with the return address in its place, as the callee would find it:
    /// a PLT entry, or a `jmp *slot` in the text (a tail call).
    Entry,
    /// At a `call *slot` in the text, which has yet to push the return address: the next instruction's.
    Call,
}

/// Where calls of a call point are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The call point.
    pub point: PointId,
    /// Where the instruction lies.
    pub at: FileAddr,
    /// What the call looks like there.
    pub site: Site,
    /// The slot through which the instruction calls, if it does.
    pub slot: Option<FileAddr>,
    /// Whether it is traced only if it leads to a library that was asked for ([`ObjectStore::leads_to_wanted`](super::ObjectStore::leads_to_wanted)).
    pub by_callee: bool,
}

/// A call point whose slot is loaded into a register and called from there: its calls are met only in
/// the function itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadedSlot {
    /// The call point.
    pub point: PointId,
    /// The slot that holds the function's address.
    pub slot: FileAddr,
    /// As [`Probe::by_callee`].
    pub by_callee: bool,
}

/// What uses the slots of these call points, and whether the object calls through slots: whether a loaded slot is a call
/// or an address taken is told by how the whole object calls. `is_whole`: they are all that it has.
pub(super) fn how_it_calls(
    object: &Object<'_>,
    points: &[CallPoint<'_>],
    is_whole: bool,
) -> Result<(References, bool), elf_plt::Error> {
    if !points
        .iter()
        .any(|point| point.name().is_some() && used_directly(point))
    {
        return Ok((References::default(), false));
    }
    let others;
    let all = if is_whole {
        points
    } else {
        others = object.call_points()?;
        &others
    };
    let references = object.references(all, all.iter().filter(|point| used_directly(point)))?;
    let no_plt_style = calls_through_slots(&references, all);
    Ok((references, no_plt_style))
}

/// Whether code may use a slot of this call point without a PLT entry.
fn used_directly(point: &CallPoint<'_>) -> bool {
    point.plt().is_empty()
        || point
            .slots()
            .iter()
            .any(|slot| slot.relocation != SlotRelocation::JumpSlot)
}

/// Whether the object was compiled to call through slots (`-fno-plt`, rustc): where it was, a slot that
/// is loaded into a register may be a call, otherwise it is an address taken. An object that calls
/// through a slot somewhere, or has no PLT at all, was.
fn calls_through_slots(references: &References, all: &[CallPoint<'_>]) -> bool {
    let mut own = all.iter().filter(|point| !point.is_start_up());
    let calls = |point: &CallPoint<'_>| {
        let mut uses = point.slots().iter().filter_map(|slot| references.of(slot.addr));
        uses.any(|used| !used.calls.is_empty())
    };
    own.clone().any(calls) || own.all(|point| point.plt().is_empty())
}

/// The probes of an object, as they are collected.
pub(super) struct Collected {
    pub(super) probes: Vec<Probe>,
    pub(super) loaded: Vec<LoadedSlot>,
    pub(super) no_plt_style: bool,
}

impl Collected {
    /// Whether there is a place where calls of `point` can be met.
    pub(super) fn is_met(&self, point: &CallPoint<'_>, references: &References) -> bool {
        let uses = || point.slots().iter().filter_map(|slot| references.of(slot.addr));
        !point.plt().is_empty()
            || uses().any(|used| !used.calls.is_empty() || !used.jumps.is_empty())
            || self.is_loaded(point, references)
    }

    /// Whether calls of `point` are met only in the function itself.
    fn is_loaded(&self, point: &CallPoint<'_>, references: &References) -> bool {
        let mut uses = point.slots().iter().filter_map(|slot| references.of(slot.addr));
        self.no_plt_style
            && point.plt().is_empty()
            && !matches!(point.kind(), CalleeKind::Ifunc { .. })
            && uses.any(|used| used.loaded)
    }

    pub(super) fn add(
        &mut self,
        point: &CallPoint<'_>,
        id: PointId,
        by_callee: bool,
        references: &References,
    ) {
        let probe = |at, site, slot| Probe {
            point: id,
            at,
            site,
            slot: Some(slot),
            by_callee,
        };
        let entries = point.plt().iter();
        self.probes
            .extend(entries.map(|entry| probe(entry.addr, Site::Entry, entry.slot)));
        for slot in point.slots().iter().map(|slot| slot.addr) {
            let Some(used) = references.of(slot) else { continue };
            let (calls, jumps) = (used.calls.iter(), used.jumps.iter());
            self.probes.extend(calls.map(|&at| probe(at, Site::Call, slot)));
            self.probes.extend(jumps.map(|&at| probe(at, Site::Entry, slot)));
        }
        // A loaded slot is met in the function, where the direct calls come by once more: they are
        // told by their call site, which knows the name that was called.
        let loaded = self.is_loaded(point, references);
        if loaded {
            let slots = point
                .slots()
                .iter()
                .filter(|s| references.of(s.addr).is_some_and(|u| u.loaded));
            self.loaded.extend(slots.map(|slot| LoadedSlot {
                point: id,
                slot: slot.addr,
                by_callee,
            }));
        }
    }
}
