//! PLT entries: found by what they do, wherever a linker put them.
//!
//! With section headers, a section is a PLT if all of it but a short beginning is made of the shapes that
//! [`arch_abi::Abi::plt_code`] knows; its name is not asked for. Without them, and where a lazily bound
//! slot has no entry yet, executable segments are searched for such shapes at multiples of eight
//! bytes. There a tail call of compiled code through a `GLOB_DAT` slot may look the same; it is told by the
//! unwinding table: that of a function starts with other code, or ends with the jump, while that of a PLT
//! starts with an entry and covers the padding too, or is not there. A lazily bound slot is no operand
//! of compiled code.

use arch_abi::{FileAddr, PltCode, SlotOperand, Stub};
use goblin::elf::section_header::SHT_PROGBITS;

use crate::call_point::{PltEntry, SlotRelocation};
use crate::image::len64;
use crate::object::Object;
use crate::slots::SlotIndex;
use crate::unwind_index::UnwindIndex;

/// The shapes start at multiples of this many bytes.
const ALIGN: usize = 8;
/// The longest piece of a PLT that has a slot of its own: lld's lazy retpoline.
const LONGEST: u64 = 32;
/// The longest beginning of a PLT that serves all its entries: lld's retpoline on i386.
const FIRST: usize = 64;

/// A shape found, its slot not yet resolved.
#[derive(Clone, Copy, Debug)]
struct Found {
    addr: FileAddr,
    stub: Stub,
}

/// The PLT entries of an object. `slots` are those that are known; an entry of a PLT section may jump through
/// another one.
pub(crate) fn find(object: &Object<'_>, slots: &SlotIndex) -> Vec<PltEntry> {
    let sections = in_sections(object, slots);
    let got = got_base(object, slots, &sections);
    let entries: Vec<_> = sections
        .iter()
        .filter_map(|found| entry(object, found, got))
        .collect();
    if !object.sections.is_empty() && is_complete(&entries, slots) {
        return entries;
    }
    with_segments(object, slots, entries)
}

fn entry(object: &Object<'_>, found: &Found, got: Option<FileAddr>) -> Option<PltEntry> {
    Some(PltEntry {
        addr: found.addr,
        len: u8::try_from(found.stub.len).ok()?,
        slot: found.stub.slot.resolve(got, object.image.word_size())?,
        jump: u8::try_from(found.stub.jump).ok()?,
    })
}

/// Whether each lazily bound slot has an entry that jumps through it. (One bound at once may be called
/// without.)
fn is_complete(entries: &[PltEntry], slots: &SlotIndex) -> bool {
    let mut reached: Vec<_> = entries.iter().map(|entry| entry.slot).collect();
    reached.sort_unstable();
    slots
        .iter()
        .filter(|&(_, relocation)| relocation == SlotRelocation::JumpSlot)
        .all(|(slot, _)| reached.binary_search(&slot).is_ok())
}

/// The entries in sections that are PLTs as a whole. A section too large for one is not even read.
fn in_sections(object: &Object<'_>, slots: &SlotIndex) -> Vec<Found> {
    let largest = LONGEST * (len64(slots.len()) + 1) * 2 + len64(FIRST);
    let mut found = Vec::new();
    for section in &object.sections {
        if !section.executable || section.kind != SHT_PROGBITS || section.size > largest {
            continue;
        }
        if let Ok(code) = object.image.slice(section.offset, section.size, "section") {
            found.extend(whole_plt(object, code, section.addr).unwrap_or_default());
        }
    }
    found
}

/// The entries of a PLT that takes up all of `code`, after a beginning that serves them all.
fn whole_plt(object: &Object<'_>, code: &[u8], at: FileAddr) -> Option<Vec<Found>> {
    (0..=FIRST.min(code.len()))
        .step_by(ALIGN)
        .find_map(|start| run(object, &code[start..], at.wrapping_add(len64(start))))
        .filter(|found| !found.is_empty())
}

/// The entries in `code`, if it is made of nothing but pieces of a PLT.
fn run(object: &Object<'_>, code: &[u8], at: FileAddr) -> Option<Vec<Found>> {
    let abi = object.arch().abi();
    let (mut found, mut pos) = (Vec::new(), 0);
    while pos < code.len() {
        let addr = at.wrapping_add(len64(pos));
        pos += match abi.plt_code(&code[pos..], addr)? {
            PltCode::Stub(stub) => {
                found.push(Found { addr, stub });
                stub.len
            }
            PltCode::Other { len } => len,
        };
    }
    Some(found)
}

/// `entries`, and those that lie in executable segments anywhere else.
fn with_segments(object: &Object<'_>, slots: &SlotIndex, mut entries: Vec<PltEntry>) -> Vec<PltEntry> {
    let mut found = Vec::new();
    for segment in object.image.segments.iter().filter(|segment| segment.executable) {
        if let Ok(code) = object.image.slice(segment.offset, segment.file_size, "PT_LOAD") {
            anywhere(object, code, segment.addr, &mut found);
        }
    }
    let got = got_base(object, slots, &found);
    let unwind = object.unwind_index();
    let known = entries.len();
    entries.sort_by_key(|entry| entry.addr);
    for found in &found {
        let Some(entry) = entry(object, found, got) else {
            continue;
        };
        let Some(relocation) = slots.get(entry.slot) else {
            continue;
        };
        let is_known = entries[..known]
            .binary_search_by_key(&entry.addr, |entry| entry.addr)
            .is_ok();
        let compiled = || is_compiled(object, &unwind, &entry);
        if !is_known && (relocation == SlotRelocation::JumpSlot || !compiled()) {
            entries.push(entry);
        }
    }
    entries
}

/// Whether a compiler wrote what has the shape of an entry.
fn is_compiled(object: &Object<'_>, unwind: &UnwindIndex<'_>, entry: &PltEntry) -> bool {
    let image = &object.image;
    let Some((start, len)) = unwind.covering(image, entry.addr) else {
        return false;
    };
    let end = start.wrapping_add(len);
    let Ok(code) = image.loaded(start, "code") else {
        return false;
    };
    let is_plt = object.arch().abi().plt_code(code, start).is_some();
    !is_plt || end < entry.addr.wrapping_add(entry.len.into())
}

/// Every shape of an entry in `code`.
fn anywhere(object: &Object<'_>, code: &[u8], at: FileAddr, found: &mut Vec<Found>) {
    let abi = object.arch().abi();
    let misaligned = at.get() % len64(ALIGN);
    let mut pos = if misaligned == 0 {
        0
    } else {
        ALIGN - usize::try_from(misaligned).unwrap_or(0)
    };
    while let Some(rest) = code.get(pos..).filter(|rest| !rest.is_empty()) {
        let addr = at.wrapping_add(len64(pos));
        pos += match abi.plt_code(rest, addr) {
            Some(PltCode::Stub(stub)) => {
                found.push(Found { addr, stub });
                stub.len.next_multiple_of(ALIGN)
            }
            Some(PltCode::Other { len }) => len.next_multiple_of(ALIGN),
            None => ALIGN,
        };
    }
}

/// How many entries are tried to find `_GLOBAL_OFFSET_TABLE_`.
const SAMPLE: usize = 16;

/// The address of `_GLOBAL_OFFSET_TABLE_`, from which entries on i386 count: `DT_PLTGOT` says GNU ld, gold and
/// lld, but mold's is the start of `.got`. So it is the one by which the entries reach known slots.
fn got_base(object: &Object<'_>, slots: &SlotIndex, found: &[Found]) -> Option<FileAddr> {
    let offset = |found: &Found| match found.stub.slot {
        SlotOperand::GotOffset(offset) => Some(offset),
        SlotOperand::Address(_) => None,
    };
    let pltgot = object.dynamic.as_ref().and_then(|dynamic| dynamic.pltgot);
    let all: Vec<_> = found.iter().filter_map(offset).collect();
    let sample: Vec<_> = all.iter().copied().step_by(all.len() / SAMPLE + 1).collect();
    let Some(&first) = sample.first() else {
        return pltgot;
    };
    let word_size = object.image.word_size();
    let reached = |got: FileAddr| {
        let reaches = |&offset: &u64| {
            let slot = SlotOperand::GotOffset(offset).resolve(Some(got), word_size);
            slot.is_some_and(|slot| slots.get(slot).is_some())
        };
        sample.iter().copied().filter(|offset| reaches(offset)).count()
    };
    let starts = object
        .sections
        .iter()
        .filter(|section| section.loaded)
        .map(|section| section.addr);
    let by_slots = slots
        .iter()
        .map(|(slot, _)| FileAddr::new(slot.get().wrapping_sub(first) & 0xffff_ffff));
    let mut best = None;
    for candidate in pltgot.into_iter().chain(starts).chain(by_slots) {
        let count = reached(candidate);
        if best.is_none_or(|(most, _)| count > most) {
            best = Some((count, candidate));
        }
        if count == sample.len() {
            break;
        }
    }
    best.map(|(_, got)| got)
}
