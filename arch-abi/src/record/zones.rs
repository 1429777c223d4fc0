//! Which parts of an address space hold memory.

use std::ops::Range;

use crate::addr::Addr;

/// Parts of an address space that are known to hold memory, each of 4 GiB, as recording code has them: a bit for each.
///
/// [`Length::Guess`](super::Length::Guess) follows what may be a pointer to text, and may be a number. In a part that is in this table
/// it is followed, and where nothing is there, that costs a fault; in any other part the kernel is asked first whether it can be read, which
/// takes longer than to read it and much less than a fault. What is captured is the same: the table may be out of date, or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zones(Box<[u8]>);

impl Default for Zones {
    fn default() -> Self {
        Self(vec![0; Self::BYTES].into())
    }
}

impl Zones {
    /// Bytes of the table: for all addresses that programs have.
    pub const BYTES: usize = 1 << (47 - Self::SHIFT - 3);
    /// How far the number of an address's part is up in it.
    pub(crate) const SHIFT: u32 = 32;

    /// All parts: nothing is asked.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![0xff; Self::BYTES].into())
    }

    /// The bytes of the table, for [`Areas::zones`](super::Areas::zones).
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number of the part in which an address lies. `None`: it is none of a program.
    #[must_use]
    pub fn number(at: Addr) -> Option<usize> {
        usize::try_from(at.get() >> Self::SHIFT)
            .ok()
            .filter(|&number| number < 8 * Self::BYTES)
    }

    /// Whether a part is in the table.
    #[must_use]
    pub fn has(&self, number: usize) -> bool {
        self.0
            .get(number / 8)
            .is_some_and(|byte| byte >> (number % 8) & 1 == 1)
    }

    /// Adds all parts in which some of this memory lies.
    pub fn add(&mut self, memory: Range<Addr>) {
        let last = memory.end.wrapping_sub(1).max(memory.start);
        let (Some(first), Some(last)) = (Self::number(memory.start), Self::number(last)) else {
            return;
        };
        for number in first..=last {
            if let Some(byte) = self.0.get_mut(number / 8) {
                *byte |= 1 << (number % 8);
            }
        }
    }

    /// Takes a part out.
    pub fn remove(&mut self, number: usize) {
        if let Some(byte) = self.0.get_mut(number / 8) {
            *byte &= !(1 << (number % 8));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_added_and_taken_out() {
        let mut zones = Zones::default();
        let range = |start, end| Addr::new(start)..Addr::new(end);
        zones.add(range(0x1_0000_0000, 0x3_0000_0001));
        zones.add(range(0x7fff_ffff_f000, 0x8000_0000_0000));
        zones.add(range(0xffff_ffff_ff60_0000, 0xffff_ffff_ff60_1000));
        zones.add(range(5, 5));
        let known: Vec<usize> = (0..8 * Zones::BYTES + 9)
            .filter(|&number| zones.has(number))
            .collect();
        assert_eq!(known, [0, 1, 2, 3, 0x7fff]);
        zones.remove(2);
        zones.remove(8 * Zones::BYTES);
        assert!(zones.has(1) && !zones.has(2) && zones.has(3));
        assert_eq!(Zones::number(Addr::new(0x2_ffff_ffff)), Some(2));
        assert_eq!(Zones::number(Addr::new(0x8000_0000_0000)), None);
        assert!((0..8 * Zones::BYTES).all(|number| Zones::all().has(number)));
    }
}
