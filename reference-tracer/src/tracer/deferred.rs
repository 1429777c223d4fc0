//! What is to be written to a program's code, kept until all of it is known: then it is written in few pieces.

use std::collections::BTreeMap;

use arch_abi::Addr;
use ptrace_core::Memory;

/// Bytes that are to be written. What is written later to the same place counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Deferred {
    /// Pieces that do not overlap, by their first addresses.
    pieces: BTreeMap<Addr, Vec<u8>>,
}

/// Pieces that are not farther from each other than this are written at once, with what lies between them.
pub(super) const NEAR: u64 = 128;

impl Deferred {
    /// Keeps `bytes` for `at`.
    pub(super) fn put(&mut self, at: Addr, bytes: &[u8]) {
        let overlapping = self.overlapping(at, bytes.len());
        if overlapping.is_empty() {
            self.pieces.insert(at, bytes.to_vec());
            return;
        }
        let end = end(at, bytes);
        let first = overlapping[0].min(at);
        let last = overlapping
            .iter()
            .filter_map(|at| self.pieces.get(at).map(|piece| self::end(*at, piece)));
        let last = last.fold(end, Addr::max);
        let mut whole = vec![0; len(first, last)];
        for old in overlapping {
            if let Some(piece) = self.pieces.remove(&old) {
                overlay(&mut whole, first, old, &piece);
            }
        }
        overlay(&mut whole, first, at, bytes);
        self.pieces.insert(first, whole);
    }

    /// Makes what was read at `at` what will be there.
    pub(super) fn show(&self, at: Addr, buf: &mut [u8]) {
        for start in self.overlapping(at, buf.len()) {
            overlay(buf, at, start, &self.pieces[&start]);
        }
    }

    /// Writes everything, neighbours (at most `near` bytes apart) in one piece with what lies between them: nobody else changes that
    /// meanwhile. What cannot be written is gone, or is never met. Gives how many pieces were written.
    pub(super) fn write(self, memory: &Memory, near: u64) -> usize {
        let pieces: Vec<(Addr, Vec<u8>)> = self.pieces.into_iter().collect();
        let mut count = 0;
        for run in pieces.chunk_by(|one, next| len(end(one.0, &one.1), next.0) as u64 <= near) {
            count += 1;
            if write_run(memory, run).is_none() {
                count += run.len();
                for (at, bytes) in run {
                    let _ = memory.write(*at, bytes);
                }
            }
        }
        count
    }

    /// Where the pieces begin that have bytes of a range, in order.
    fn overlapping(&self, at: Addr, len: usize) -> Vec<Addr> {
        let past = at.wrapping_add(len as u64);
        let before = self.pieces.range(..at).next_back();
        let before = before.filter(|(start, piece)| end(**start, piece) > at);
        let within = self.pieces.range(at..past.max(at));
        before
            .into_iter()
            .chain(within)
            .map(|(start, _)| *start)
            .collect()
    }
}

fn write_run(memory: &Memory, run: &[(Addr, Vec<u8>)]) -> Option<()> {
    let ((first, _), (last, tail)) = (run.first()?, run.last()?);
    let mut whole = vec![0; len(*first, end(*last, tail))];
    if run.len() > 1 {
        memory.read_exact(*first, &mut whole).ok()?;
    }
    for (at, bytes) in run {
        overlay(&mut whole, *first, *at, bytes);
    }
    memory.write(*first, &whole).ok()
}

fn end(at: Addr, bytes: &[u8]) -> Addr {
    at.wrapping_add(bytes.len() as u64)
}

/// The bytes from one address to another that is not lower.
fn len(from: Addr, to: Addr) -> usize {
    to.offset_from(from)
        .and_then(|len| usize::try_from(len).ok())
        .unwrap_or(0)
}

/// Puts what is at `at` into a buffer for what is at `base`, as far as they overlap.
fn overlay(buf: &mut [u8], base: Addr, at: Addr, bytes: &[u8]) {
    let (skip, start) = (len(at, base), len(base, at));
    let (Some(from), Some(to)) = (bytes.get(skip..), buf.get_mut(start..)) else {
        return;
    };
    let count = from.len().min(to.len());
    to[..count].copy_from_slice(&from[..count]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Addr = Addr::new(0x1000);

    fn at(offset: u64) -> Addr {
        AT.wrapping_add(offset)
    }

    #[test]
    fn what_will_be_there_is_shown() {
        let mut deferred = Deferred::default();
        deferred.put(at(4), &[1, 2, 3, 4]);
        deferred.put(at(20), &[9]);
        for from in 0..12 {
            for len in 0..12 {
                let mut buf = vec![0xff; len];
                deferred.show(at(from), &mut buf);
                for (i, byte) in buf.iter().enumerate() {
                    let place = from + i as u64;
                    let expected = match place {
                        4..8 => u8::try_from(place - 3).unwrap(),
                        20 => 9,
                        _ => 0xff,
                    };
                    assert_eq!(*byte, expected, "{from} {len} {i}");
                }
            }
        }
    }

    /// Against a plain array of bytes, for many small writes.
    #[test]
    fn later_writes_count() {
        let mut deferred = Deferred::default();
        let mut plain = vec![0_u8; 300];
        let mut state = 7_u64;
        let mut next = |below: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for round in 0..2000 {
            let (start, len) = (next(280), 1 + next(16));
            let bytes: Vec<u8> = (0..len)
                .map(|i| u8::try_from((round + i) % 251).unwrap() + 1)
                .collect();
            deferred.put(at(start), &bytes);
            let start = usize::try_from(start).unwrap();
            plain[start..start + bytes.len()].copy_from_slice(&bytes);
            let mut shown = vec![0; 300];
            deferred.show(AT, &mut shown);
            assert_eq!(shown, plain, "{round}");
            let ends: Vec<(Addr, Addr)> = deferred
                .pieces
                .iter()
                .map(|(at, piece)| (*at, end(*at, piece)))
                .collect();
            assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ends:?}");
        }
    }
}
