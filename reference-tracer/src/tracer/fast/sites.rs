//! Places of the program's code that call through a slot, and how they are made to name a cell in place of it.

use std::collections::{BTreeMap, BTreeSet};

use arch_abi::{Addr, Arch};
use ptrace_core::Memory;

use super::batch::{Batch, Window};
use crate::tracer::deferred::{Deferred, NEAR};

/// A place that was patched.
#[derive(Debug, Clone, Copy)]
struct Site {
    /// The cell that its operand names now.
    cell: Addr,
    /// What the operand was.
    original: [u8; 4],
}

/// Memory for cells, near an object.
#[derive(Debug, Clone)]
struct Page {
    next: Addr,
    end: Addr,
}

/// The places that were patched in one address space.
#[derive(Debug, Clone, Default)]
pub(in crate::tracer) struct Sites {
    /// By the address of the operand.
    patched: BTreeMap<Addr, Site>,
    /// Memory for cells.
    pages: Vec<Page>,
    /// Cells that are not in the process yet, which lie one after the other.
    unwritten: Batch,
    /// The code that is looked at.
    pub(super) window: Window,
}

/// An operand that is to be written: where, what, and what is to be known of it.
type Write = (Addr, [u8; 4], Site);

/// How cells are mapped near an address: as the copies of instructions are.
pub(super) type MapCells<'a> = &'a mut dyn FnMut(Addr, usize) -> Option<Addr>;

/// Bytes of cells that are mapped at once.
const PAGE: usize = 4096;

/// A place that is to be patched: where, and the stub that its calls are to go to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) operand: arch_abi::RelativeOperand,
    /// What its bytes are to be when it is put back.
    pub(super) original: [u8; 4],
    pub(super) stub: Addr,
}

impl Sites {
    /// What the code at `at` loads the address from that it goes to.
    pub(super) fn operand(
        &mut self,
        memory: &Memory,
        arch: Arch,
        at: Addr,
    ) -> Option<arch_abi::RelativeOperand> {
        /// Longer than two instructions.
        const SOME: usize = 32;
        let code = self.window.show(memory, at, SOME);
        arch.abi().loaded_operand(code, at)
    }

    /// Patches places: what is to be written there is put into `code`. Gives those that are.
    pub(super) fn patch(
        &mut self,
        memory: &Memory,
        wanted: &[Wanted],
        code: &mut Deferred,
        map: MapCells<'_>,
    ) -> Vec<Addr> {
        let mut writes: Vec<Write> = Vec::new();
        let mut by_stub = rustc_hash::FxHashMap::<Addr, Addr>::default();
        for place in wanted {
            let known = by_stub.get(&place.stub).copied();
            let cell = known.filter(|&cell| place.operand.naming(cell).is_some());
            let Some(cell) = cell.or_else(|| self.cell(memory, place, map)) else {
                continue;
            };
            by_stub.insert(place.stub, cell);
            if let Some(bytes) = place.operand.naming(cell) {
                writes.push((
                    place.operand.at,
                    bytes,
                    Site {
                        cell,
                        original: place.original,
                    },
                ));
            }
        }
        if self.unwritten.write(memory).is_err() {
            return Vec::new();
        }
        // The sort keeps the order of those at one place: the first counts.
        writes.sort_by_key(|&(at, ..)| at);
        writes.dedup_by_key(|&mut (at, ..)| at);
        for (at, bytes, site) in &writes {
            code.put(*at, bytes);
            self.patched.insert(*at, *site);
        }
        writes.iter().map(|&(at, ..)| at).collect()
    }

    /// A cell that holds the stub's address, in reach of the place.
    fn cell(&mut self, memory: &Memory, place: &Wanted, map: MapCells<'_>) -> Option<Addr> {
        let in_reach = |page: &&Page| page.next < page.end && place.operand.naming(page.next).is_some();
        let known = self.pages.iter().position(|page| in_reach(&page));
        let index = if let Some(index) = known {
            index
        } else {
            let start = map(place.operand.at, PAGE)?;
            self.pages.push(Page {
                next: start,
                end: start.wrapping_add(PAGE as u64),
            });
            self.pages.len() - 1
        };
        let page = self.pages.get_mut(index)?;
        let cell = page.next;
        place.operand.naming(cell)?;
        if !self.unwritten.ends_at(cell) {
            self.unwritten.write(memory).ok()?;
        }
        self.unwritten.put(cell, &place.stub.get().to_le_bytes());
        page.next = cell.wrapping_add(8);
        Some(cell)
    }

    /// Makes all cells that lead to one stub lead to another: calls that begin from now on go there. No thread runs.
    pub(super) fn redirect(&self, memory: &Memory, to: impl Fn(Addr) -> Option<Addr>) {
        let cells: BTreeSet<Addr> = self.patched.values().map(|site| site.cell).collect();
        let cells: Vec<Addr> = cells.into_iter().collect();
        for run in cells.chunk_by(|one, next| one.wrapping_add(8) == *next) {
            let Some(&first) = run.first() else { continue };
            let mut words = vec![0; run.len() * 8];
            if memory.read_exact(first, &mut words).is_err() {
                continue;
            }
            let (each, _) = words.as_chunks_mut::<8>();
            for word in each {
                if let Some(stub) = to(Addr::new(u64::from_le_bytes(*word))) {
                    *word = stub.get().to_le_bytes();
                }
            }
            // What cannot be written is gone: an unmapped object, an ended process.
            let _ = memory.write(first, &words);
        }
    }

    /// The memory of these addresses is gone.
    pub(super) fn forget(&mut self, range: std::ops::Range<Addr>) {
        self.patched.retain(|at, _| !range.contains(at));
    }

    /// Puts back what was there, where it is still what was put there. Neighbours are read and written in one piece.
    pub(in crate::tracer) fn restore(&mut self, memory: &Memory) {
        let sites: Vec<(Addr, Site)> = std::mem::take(&mut self.patched).into_iter().collect();
        let mut code = Deferred::default();
        for run in sites.chunk_by(|one, next| next.0.get() - one.0.get() <= NEAR) {
            if restore_run(memory, run, &mut code).is_none() {
                // A part of it is gone.
                for site in run.chunks(1) {
                    let _ = restore_run(memory, site, &mut code);
                }
            }
        }
        code.write(memory, NEAR);
    }
}

fn restore_run(memory: &Memory, run: &[(Addr, Site)], code: &mut Deferred) -> Option<()> {
    let (start, end) = (run.first()?.0, run.last()?.0.wrapping_add(4));
    let mut bytes = vec![0; usize::try_from(end.offset_from(start)?).ok()?];
    memory.read_exact(start, &mut bytes).ok()?;
    for &(at, site) in run {
        let skip = usize::try_from(at.offset_from(start)?).ok()?;
        let now = *bytes.get(skip..)?.first_chunk::<4>()?;
        let distance = i64::from(i32::from_le_bytes(now)).cast_unsigned();
        // An operand counts from its instruction's end, which is its own unless an immediate follows.
        if at.wrapping_add(4).wrapping_add(distance) == site.cell {
            code.put(at, &site.original);
        }
    }
    Some(())
}
