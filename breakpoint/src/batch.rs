//! Putting traps in and taking them out, many at once.
//!
//! Traps that lie less than a page apart are read and written in one piece, so that no page is written
//! to, and made private to the process, that has no trap in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use arch_abi::Addr;

use crate::traps::Trap;
use crate::{CodeMemory, CopySpace, InsertError, RemoveError, Removed, TrapId, Traps};

/// The smallest page of any ABI here, in bytes.
const PAGE: u64 = 4096;

/// The longest piece that is read at once, in bytes.
const MAX_PIECE: u64 = 1 << 16;

/// Splits sorted addresses into runs of neighbours.
fn runs(at: &[Addr]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = *at.get(start)?;
        let together = |pair: &[Addr]| {
            let gap = pair[1].offset_from(pair[0]);
            let span = pair[1].offset_from(first);
            gap.is_some_and(|gap| gap < PAGE) && span.is_some_and(|span| span < MAX_PIECE)
        };
        let more = at[start..].windows(2).take_while(|pair| together(pair)).count();
        let run = start..start + more + 1;
        start = run.end;
        Some(run)
    })
}

/// How many bytes lie from the first to the last of a run, and `extra` after it.
fn span(run: &[Addr], extra: usize) -> usize {
    let distance = run
        .first()
        .zip(run.last())
        .and_then(|(first, last)| last.offset_from(*first));
    distance
        .and_then(|distance| usize::try_from(distance).ok())
        .unwrap_or(0)
        .saturating_add(extra)
}

fn offset(at: Addr, start: Addr) -> usize {
    at.offset_from(start)
        .and_then(|offset| usize::try_from(offset).ok())
        .unwrap_or(usize::MAX)
}

impl Traps {
    /// [`Traps::insert`] for many addresses, in any order, with few reads and writes. The results are
    /// in the order of the addresses.
    ///
    /// What lies between neighbours is written back as it was read: nobody else should be changing it
    /// meanwhile.
    pub fn insert_all<M: CopySpace>(
        &mut self,
        at: &[Addr],
        mem: &mut M,
    ) -> Vec<Result<TrapId, InsertError<M::Error>>> {
        let mut fresh: Vec<Addr> = at
            .iter()
            .copied()
            .filter(|at| self.lookup(*at).is_none())
            .collect();
        fresh.sort_unstable();
        fresh.dedup();
        let mut failed = BTreeMap::new();
        let mut registered = Vec::with_capacity(fresh.len());
        for run in runs(&fresh) {
            self.plan_run(&fresh[run], mem, &mut registered, &mut failed);
        }
        self.copy_what_must_be(&registered, mem, &mut failed);
        registered.retain(|&id| self.get(id).is_some());
        self.write_traps(&registered, mem, &mut failed);
        let mut claimed = BTreeSet::new();
        at.iter()
            .map(|at| match self.lookup(*at) {
                Some(id) => {
                    let is_new = fresh.binary_search(at).is_ok() && claimed.insert(*at);
                    if let Some(trap) = self.get_mut(id).filter(|_| !is_new) {
                        trap.users = trap.users.saturating_add(1);
                    }
                    Ok(id)
                }
                None => Err(failed.remove(at).unwrap_or(InsertError::Repeated { at: *at })),
            })
            .collect()
    }

    /// Takes out all traps, whoever uses them, in few reads and writes. Those that cannot be taken out
    /// stay, and are in the result.
    pub fn remove_all<M: CodeMemory>(&mut self, mem: &mut M) -> Vec<RemoveError<M::Error>> {
        let all: Vec<TrapId> = self.ordered.values().copied().collect();
        self.restore(&all, mem)
            .into_iter()
            .filter_map(Result::err)
            .collect()
    }

    /// Plans a run of new traps and takes them into the books.
    fn plan_run<M: CodeMemory>(
        &mut self,
        run: &[Addr],
        mem: &M,
        registered: &mut Vec<TrapId>,
        failed: &mut BTreeMap<Addr, InsertError<M::Error>>,
    ) {
        let longest = self.arch.abi().max_instruction();
        let mut piece = vec![0; span(run, longest)];
        let whole = run.len() > 1 && mem.read(run[0], &mut piece).is_ok();
        if whole {
            self.mask(run[0], &mut piece);
        }
        for &at in run {
            let code = if whole {
                let start = offset(at, run[0]);
                Ok(piece[start..start + longest].to_vec())
            } else {
                self.read_code(at, mem)
            };
            match code.and_then(|code| self.plan_one(at, &code)) {
                Ok(id) => registered.push(id),
                Err(error) => drop(failed.insert(at, error)),
            }
        }
    }

    fn plan_one<E: std::error::Error>(&mut self, at: Addr, code: &[u8]) -> Result<TrapId, InsertError<E>> {
        if let Some(other) = self.overlapping(at) {
            return Err(InsertError::Overlap { at, other });
        }
        let plan = self.arch.abi().step(code, at)?;
        self.register(Trap::new(plan)).ok_or(InsertError::TooMany)
    }

    /// The original bytes of the instruction at `at`, and what follows it up to the longest instruction's
    /// length or, where nothing can be read there, the end of the page.
    pub(crate) fn read_code<M: CodeMemory>(
        &self,
        at: Addr,
        mem: &M,
    ) -> Result<Vec<u8>, InsertError<M::Error>> {
        let mut code = vec![0; self.arch.abi().max_instruction()];
        let in_page = usize::try_from(PAGE - at.get() % PAGE).unwrap_or(usize::MAX);
        if let Err(source) = mem.read(at, &mut code) {
            if in_page >= code.len() {
                return Err(InsertError::Unreadable { at, source });
            }
            code.truncate(in_page);
            mem.read(at, &mut code)
                .map_err(|source| InsertError::Unreadable { at, source })?;
        }
        self.mask(at, &mut code);
        Ok(code)
    }

    /// Makes the copies of those traps that cannot be emulated; without one they are refused.
    fn copy_what_must_be<M: CopySpace>(
        &mut self,
        registered: &[TrapId],
        mem: &mut M,
        failed: &mut BTreeMap<Addr, InsertError<M::Error>>,
    ) {
        let needy = |id: &TrapId| self.get(*id).is_some_and(|trap| trap.plan.emulation().is_none());
        let needy: Vec<TrapId> = registered.iter().copied().filter(needy).collect();
        let Err(mut no_room) = self.copy_all(&needy, mem) else {
            return;
        };
        for id in no_room.without {
            if let Some(at) = self.addr(id) {
                self.cancel(id);
                failed.insert(
                    at,
                    InsertError::NoRoom {
                        at,
                        source: no_room.source.take(),
                    },
                );
            }
        }
    }

    /// Writes the trap instructions of traps that are in the books, sorted by address. Those that cannot be
    /// written are taken off the books.
    fn write_traps<M: CodeMemory>(
        &mut self,
        ids: &[TrapId],
        mem: &mut M,
        failed: &mut BTreeMap<Addr, InsertError<M::Error>>,
    ) {
        let trap = self.arch.abi().trap();
        let at: Vec<Addr> = ids.iter().filter_map(|&id| self.addr(id)).collect();
        for run in runs(&at) {
            if run.len() > 1 && write_run(&at[run.clone()], trap, mem).is_ok() {
                continue;
            }
            for (&id, &at) in ids[run.clone()].iter().zip(&at[run]) {
                if let Err(source) = mem.write(at, trap) {
                    self.cancel(id);
                    failed.insert(at, InsertError::Unwritable { at, source });
                }
            }
        }
    }

    /// Puts the original bytes back, for traps sorted by address.
    pub(crate) fn restore<M: CodeMemory>(
        &mut self,
        ids: &[TrapId],
        mem: &mut M,
    ) -> Vec<Result<Removed, RemoveError<M::Error>>> {
        let at: Vec<Addr> = ids.iter().filter_map(|&id| self.addr(id)).collect();
        let mut results = Vec::with_capacity(ids.len());
        for run in runs(&at) {
            match self.restore_run(&ids[run.clone()], &at[run.clone()], mem) {
                Ok(removed) => results.extend(removed.into_iter().map(Ok)),
                Err(_) if run.len() > 1 => {
                    results.extend(run.map(|index| self.restore_one(ids[index], at[index], mem)));
                }
                Err(source) => results.push(Err(RemoveError::Memory {
                    at: at[run.start],
                    source,
                })),
            }
        }
        results
    }

    fn restore_one<M: CodeMemory>(
        &mut self,
        id: TrapId,
        at: Addr,
        mem: &mut M,
    ) -> Result<Removed, RemoveError<M::Error>> {
        let mut removed = self
            .restore_run(&[id], &[at], mem)
            .map_err(|source| RemoveError::Memory { at, source })?;
        removed.pop().ok_or(RemoveError::NoSuchTrap { id })
    }

    /// Puts the original bytes of a run back in one piece.
    fn restore_run<M: CodeMemory>(
        &mut self,
        ids: &[TrapId],
        at: &[Addr],
        mem: &mut M,
    ) -> Result<Vec<Removed>, M::Error> {
        let trap = self.arch.abi().trap();
        let mut piece = vec![0; span(at, trap.len())];
        mem.read(at[0], &mut piece)?;
        let mut removed = Vec::with_capacity(ids.len());
        for (&id, &at_trap) in ids.iter().zip(at) {
            let start = offset(at_trap, at[0]);
            let there = &mut piece[start..start + trap.len()];
            let original = self.get(id).filter(|_| there == trap).map(|entry| entry.original);
            if let Some(original) = original {
                there.copy_from_slice(&original[..trap.len()]);
            }
            removed.push(if original.is_some() {
                Removed::Restored
            } else {
                Removed::Overwritten
            });
        }
        if removed.contains(&Removed::Restored) {
            mem.write(at[0], &piece)?;
        }
        for &id in ids {
            self.unregister(id);
        }
        Ok(removed)
    }
}

/// Writes the traps of a run in one piece.
fn write_run<M: CodeMemory>(run: &[Addr], trap: &[u8], mem: &mut M) -> Result<(), M::Error> {
    let mut piece = vec![0; span(run, trap.len())];
    mem.read(run[0], &mut piece)?;
    for &at in run {
        let start = offset(at, run[0]);
        piece[start..start + trap.len()].copy_from_slice(trap);
    }
    mem.write(run[0], &piece)
}
