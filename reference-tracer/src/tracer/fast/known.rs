//! Where a process has memory, as its stubs know it: what may be a pointer is followed there, and elsewhere the kernel is asked first.

use std::rc::Rc;

use arch_abi::Addr;
use arch_abi::record::Zones;
use ptrace_core::{Memory, Tid, procfs};
use rustc_hash::FxHashMap;

use super::areas::Fast;

/// After so many faults the kernel is asked in a part of memory, too: a fault costs as much as a hundred questions.
const FAULTS: u32 = 16;

/// The mappings of libraries and threads begin somewhere above this, and grow down (`arch/x86/mm/mmap.c`, `mmap_base`).
const MAPPED: Addr = Addr::new(0x7000_0000_0000);
/// So much further down is the next part of memory.
const PART: u64 = 1 << 32;

/// What stubs know of a process' memory, and why.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    zones: Rc<Zones>,
    /// How often something was looked for in vain in a part of memory.
    faults: Rc<FxHashMap<usize, u32>>,
    /// Whether nothing is to be asked.
    is_everything: bool,
}

impl Known {
    /// Nothing is asked.
    pub(super) fn everything() -> Self {
        Self {
            zones: Rc::new(Zones::all()),
            is_everything: true,
            ..Self::default()
        }
    }

    /// Adds what is mapped. Gives whether anything is new.
    fn add(&mut self, maps: &[procfs::Mapping]) -> bool {
        let mut zones = Zones::clone(&self.zones);
        for map in maps.iter().filter(|map| map.readable) {
            let below = if map.start > MAPPED { PART } else { 0 };
            zones.add(map.start.wrapping_sub(below)..map.end);
        }
        for (&part, _) in self.faults.iter().filter(|(_, faults)| **faults >= FAULTS) {
            zones.remove(part);
        }
        let is_new = zones != *self.zones;
        self.zones = Rc::new(zones);
        is_new
    }

    /// There was nothing where something was looked for. Gives whether that part is not to be followed blindly any more.
    fn miss(&mut self, at: Addr) -> bool {
        let Some(part) = Zones::number(at).filter(|_| !self.is_everything) else {
            return false;
        };
        let faults = Rc::make_mut(&mut self.faults).entry(part).or_default();
        *faults = faults.saturating_add(1);
        let is_enough = *faults >= FAULTS && self.zones.has(part);
        if is_enough {
            Rc::make_mut(&mut self.zones).remove(part);
        }
        is_enough
    }
}

impl Fast {
    /// Tells the stubs of a process where it has memory now.
    pub(super) fn look_at_memory(&mut self, memory: &Memory, process: Tid) {
        let maps = || procfs::maps(process).unwrap_or_default();
        if self.known.is_everything || self.known.add(&maps()) {
            self.tell_memory(memory);
        }
    }

    /// Stubs ask the kernel for nothing any more.
    pub(super) fn ask_nothing(&mut self, memory: &Memory) {
        self.known = Known::everything();
        self.tell_memory(memory);
    }

    /// A stub has looked at `at` in vain.
    pub(super) fn looked_in_vain(&mut self, memory: &Memory, at: Addr) {
        if self.known.miss(at) {
            self.tell_memory(memory);
        }
    }

    fn tell_memory(&self, memory: &Memory) {
        // Without it, stubs ask more often than they need.
        let _ = memory.write(self.areas.zones(), self.known.zones.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(start: u64, end: u64) -> procfs::Mapping {
        let maps = procfs::maps(ptrace_core::Tid::new(std::process::id().cast_signed()));
        let mut map = maps.expect("own mappings").remove(0);
        (map.start, map.end, map.readable) = (Addr::new(start), Addr::new(end), true);
        map
    }

    fn parts(known: &Known) -> Vec<usize> {
        (0..8 * Zones::BYTES)
            .filter(|&part| known.zones.has(part))
            .collect()
    }

    #[test]
    fn parts_with_many_faults_are_left_out_for_good() {
        let mut known = Known::default();
        let maps = [
            map(0x5500_0000_0000, 0x5501_0000_1000),
            map(0x7f00_0000_0000, 0x7f00_0000_1000),
        ];
        assert!(known.add(&maps));
        assert!(!known.add(&maps), "nothing is new");
        assert_eq!(parts(&known), [0x5500, 0x5501, 0x7eff, 0x7f00]);
        let elsewhere = known.clone();
        for fault in 1..=FAULTS {
            assert_eq!(known.miss(Addr::new(0x5501_0000_0000)), fault == FAULTS);
        }
        assert!(!known.miss(Addr::new(0x5501_0000_0000)), "it is told once");
        assert!(!known.miss(Addr::new(u64::MAX)));
        assert!(!known.add(&maps));
        assert_eq!(parts(&known), [0x5500, 0x7eff, 0x7f00]);
        assert_eq!(
            parts(&elsewhere),
            [0x5500, 0x5501, 0x7eff, 0x7f00],
            "a copy is one's own"
        );
    }

    #[test]
    fn where_nothing_is_asked_faults_change_nothing() {
        let mut known = Known::everything();
        assert!((0..2 * FAULTS).all(|_| !known.miss(Addr::new(0x10000))));
        assert_eq!(parts(&known).len(), 8 * Zones::BYTES);
    }
}
