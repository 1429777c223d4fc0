//! Direct references to slots: how code without PLT calls.

use std::ops::RangeInclusive;

use arch_abi::{Abi, FileAddr, PltCode, SlotAccess, SlotOperand, SlotReference};
use goblin::elf::section_header::SHT_PROGBITS;

use crate::call_point::{CallPoint, PltEntry};
use crate::error::Error;
use crate::image::len64;
use crate::object::Object;
use crate::unwind_index::UnwindIndex;

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
    slots: Vec<(FileAddr, SlotUse)>,
}

impl References {
    /// The use of `slot`; `None` if it was not asked for.
    #[must_use]
    pub fn of(&self, slot: FileAddr) -> Option<&SlotUse> {
        let at = self.slots.binary_search_by_key(&slot, |&(addr, _)| addr).ok()?;
        Some(&self.slots[at].1)
    }

    /// The use of all slots of a call point together.
    #[must_use]
    pub fn of_point(&self, point: &CallPoint<'_>) -> SlotUse {
        let mut all = SlotUse::default();
        for used in point.slots().iter().filter_map(|slot| self.of(slot.addr)) {
            all.calls.extend(&used.calls);
            all.jumps.extend(&used.jumps);
            all.loaded |= used.loaded;
        }
        all
    }

    /// The slots that were asked for and their uses, by address.
    pub fn iter(&self) -> impl Iterator<Item = (FileAddr, &SlotUse)> {
        self.slots.iter().map(|(slot, used)| (*slot, used))
    }

    fn add(&mut self, reference: SlotReference) {
        let found = self
            .slots
            .binary_search_by_key(&reference.slot, |&(addr, _)| addr);
        let Ok(found) = found else { return };
        let used = &mut self.slots[found].1;
        match reference.access {
            SlotAccess::Call => used.calls.push(reference.at),
            SlotAccess::Jump => used.jumps.push(reference.at),
            SlotAccess::Other => used.loaded = true,
        }
    }
}

/// What C start-up code calls through slots in every program, also where all else has a PLT.
const START_UP: [&[u8]; 6] = [
    b"__libc_start_main",
    b"__gmon_start__",
    b"__cxa_finalize",
    b"_ITM_deregisterTMCloneTable",
    b"_ITM_registerTMCloneTable",
    b"_Jv_RegisterClasses",
];

impl CallPoint<'_> {
    /// Whether only the C start-up code is known to call this past the PLT: `__libc_start_main` and the
    /// like. For telling whether an object was compiled without PLT.
    #[must_use]
    pub fn is_start_up(&self) -> bool {
        self.name().is_some_and(|name| START_UP.contains(&name))
    }
}

impl<'data> Object<'data> {
    /// How code uses the slots of `wanted` other than by PLT entries. All executable bytes are read,
    /// about a nanosecond each; `all` are all call points of this object, so that PLT entries are known.
    ///
    /// On x86-64 an instruction names a slot relative to the PC; on i386 by its address, or by its distance
    /// from `_GLOBAL_OFFSET_TABLE_` in any register. Code of the large model, which adds a 64-bit distance
    /// to a register, is not seen.
    ///
    /// # Errors
    /// Executable bytes cannot be read.
    pub fn references<'p>(
        &self,
        all: &'p [CallPoint<'data>],
        wanted: impl IntoIterator<Item = &'p CallPoint<'data>>,
    ) -> Result<References, Error>
    where
        'data: 'p,
    {
        let mut slots: Vec<_> = wanted
            .into_iter()
            .flat_map(CallPoint::slots)
            .map(|slot| slot.addr)
            .collect();
        slots.sort_unstable();
        slots.dedup();
        let (Some(&first), Some(&last)) = (slots.first(), slots.last()) else {
            return Ok(References::default());
        };
        let mut entries: Vec<_> = all.iter().flat_map(CallPoint::plt).copied().collect();
        entries.sort_by_key(|entry| entry.addr);
        let mut references = References {
            slots: slots.into_iter().map(|slot| (slot, SlotUse::default())).collect(),
        };
        let scan = Scan {
            abi: self.arch().abi(),
            got: got_of(self, &entries),
            range: first..=last,
            entries,
            unwind: self.unwind_index(),
            starts: known_starts(self),
        };
        for (code, at) in executable_parts(self)? {
            scan.part(code, at, &mut references);
        }
        for (_, used) in &mut references.slots {
            for sites in [&mut used.calls, &mut used.jumps] {
                sites.sort_unstable();
                sites.dedup();
            }
        }
        Ok(references)
    }
}

/// The executable bytes: by section, so that constants between the code are not read, or by segment.
fn executable_parts<'data>(object: &Object<'data>) -> Result<Vec<(&'data [u8], FileAddr)>, Error> {
    let image = &object.image;
    let sections = object
        .sections
        .iter()
        .filter(|section| section.executable && section.loaded && section.kind == SHT_PROGBITS)
        .filter_map(|section| {
            Some((
                image.slice(section.offset, section.size, "section").ok()?,
                section.addr,
            ))
        });
    let sections: Vec<_> = sections.collect();
    if !sections.is_empty() {
        return Ok(sections);
    }
    let segments = image.segments.iter().filter(|segment| segment.executable);
    segments
        .map(|segment| {
            Ok((
                image.slice(segment.offset, segment.file_size, "PT_LOAD")?,
                segment.addr,
            ))
        })
        .collect()
}

/// Where code starts that no unwinding table tells, by address.
fn known_starts(object: &Object<'_>) -> Vec<FileAddr> {
    let init_fini = object
        .dynamic
        .iter()
        .flat_map(|dynamic| dynamic.init_fini)
        .flatten();
    let mut starts: Vec<_> = init_fini.chain(object.entry()).collect();
    starts.extend(
        object
            .sections
            .iter()
            .filter(|section| section.executable)
            .map(|section| section.addr),
    );
    starts.sort_unstable();
    starts
}

/// The address of `_GLOBAL_OFFSET_TABLE_`: as an entry of the PLT has it, or `DT_PLTGOT`.
fn got_of(object: &Object<'_>, entries: &[PltEntry]) -> Option<FileAddr> {
    let abi = object.arch().abi();
    let by_entry = entries.first().and_then(|entry| {
        let code = object
            .image
            .loaded_len(entry.addr, u64::from(entry.len), "PLT entry")
            .ok()?;
        match abi.plt_code(code, entry.addr)? {
            PltCode::Stub(stub) => match stub.slot {
                SlotOperand::GotOffset(offset) => Some(FileAddr::new(
                    entry.slot.get().wrapping_sub(offset) & u64::from(u32::MAX),
                )),
                SlotOperand::Address(_) => None,
            },
            PltCode::Other { .. } => None,
        }
    });
    by_entry.or_else(|| object.dynamic.as_ref()?.pltgot)
}

/// One search through the code of an object.
struct Scan<'data> {
    abi: &'static dyn Abi,
    got: Option<FileAddr>,
    /// From the first to the last slot that is wanted.
    range: RangeInclusive<FileAddr>,
    /// By address.
    entries: Vec<PltEntry>,
    unwind: UnwindIndex<'data>,
    /// Other starts of code, by address.
    starts: Vec<FileAddr>,
}

/// How far before an operand decoding starts where no unwinding table tells where a function does.
const BACK: usize = 64;
/// From how many neighbouring bytes decoding is tried there.
const TRIES: usize = 16;

impl Scan<'_> {
    /// Adds the references in `code`, which lies at `at`.
    fn part(&self, code: &[u8], at: FileAddr, references: &mut References) {
        let mut operands = Vec::new();
        self.abi
            .slot_operands(code, at, self.got, &self.range, &mut |offset, slot| {
                if references.of(slot).is_some() && !self.in_plt(at.wrapping_add(len64(offset))) {
                    operands.push(offset);
                }
            });
        operands.dedup(); // one place may name several slots, by the length of what follows it
        for operands in operands.chunk_by(|&a, &b| self.start(at, a) == self.start(at, b)) {
            self.function(code, at, operands, references);
        }
    }

    fn in_plt(&self, addr: FileAddr) -> bool {
        let after = self.entries.partition_point(|entry| entry.addr <= addr);
        after.checked_sub(1).is_some_and(|before| {
            let entry = &self.entries[before];
            addr.offset_from(entry.addr)
                .is_some_and(|within| within < u64::from(entry.len))
        })
    }

    /// Where the function that holds the operand at `offset` starts, as an offset.
    fn start(&self, at: FileAddr, offset: usize) -> Option<usize> {
        let addr = at.wrapping_add(len64(offset));
        let other = self.starts[..self.starts.partition_point(|&start| start <= addr)]
            .last()
            .copied();
        let start = self.unwind.start_before(addr).max(other)?;
        usize::try_from(start.offset_from(at)?).ok()
    }

    /// Adds the references of one function, by decoding it from its start. What that does not reach is
    /// decoded from just before: the code may have data in it, or no unwinding table.
    fn function(&self, code: &[u8], at: FileAddr, operands: &[usize], references: &mut References) {
        let start = operands.first().and_then(|&first| self.start(at, first));
        let decoded = start
            .map(|start| self.decode(code, at, start, operands))
            .unwrap_or_default();
        for &operand in operands {
            let addr = at.wrapping_add(len64(operand));
            let longest = len64(self.abi.max_instruction());
            let holds = |found: &SlotReference| {
                found.at < addr && addr.offset_from(found.at).is_some_and(|within| within < longest)
            };
            let after = decoded.partition_point(|found| found.at < addr);
            let found = decoded[..after].last().copied().filter(holds);
            match found.or_else(|| self.by_majority(code, at, operand)) {
                Some(found) => references.add(found),
                None if start.is_some() => {} // decoded, and no operand
                None => self.doubtful(code, at, operand, references),
            }
        }
    }

    /// Bytes that may name a slot, or may not: who relies on knowing all references must not miss one.
    fn doubtful(&self, code: &[u8], at: FileAddr, operand: usize, references: &mut References) {
        let Some(from) = operand.checked_sub(1) else {
            return;
        };
        let end = code.len().min(operand + 4);
        let at = at.wrapping_add(len64(from));
        self.abi
            .slot_operands(&code[from..end], at, self.got, &self.range, &mut |_, slot| {
                references.add(SlotReference {
                    at,
                    slot,
                    access: SlotAccess::Other,
                });
            });
    }

    fn decode(&self, code: &[u8], at: FileAddr, start: usize, operands: &[usize]) -> Vec<SlotReference> {
        let operands: Vec<_> = operands
            .iter()
            .filter_map(|operand| operand.checked_sub(start))
            .collect();
        let mut found = Vec::new();
        let (code, at) = (&code[start..], at.wrapping_add(len64(start)));
        self.abi
            .slot_references(code, at, self.got, &operands, &mut |reference| {
                if self.range.contains(&reference.slot) {
                    found.push(reference);
                }
            });
        found
    }

    /// What most decodings from a little before the operand agree on: wrong starts soon run into the right
    /// boundaries.
    fn by_majority(&self, code: &[u8], at: FileAddr, operand: usize) -> Option<SlotReference> {
        let first = operand.saturating_sub(BACK);
        let last = operand.saturating_sub(BACK - TRIES);
        let mut votes: Vec<(SlotReference, usize)> = Vec::new();
        for start in first..=last {
            let Some(&found) = self.decode(code, at, start, &[operand]).first() else {
                continue;
            };
            match votes.iter_mut().find(|(other, _)| *other == found) {
                Some((_, count)) => *count += 1,
                None => votes.push((found, 1)),
            }
        }
        let (found, count) = votes.into_iter().max_by_key(|&(_, count)| count)?;
        (count * 2 > last - first).then_some(found)
    }
}
