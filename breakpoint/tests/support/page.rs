//! A page of bytes that stands for a process.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use arch_abi::Addr;
use breakpoint::{CodeMemory, CopySpace};

/// Some mapped ranges, and counts of what was asked.
#[derive(Clone, Default)]
pub(crate) struct Pages {
    maps: BTreeMap<Addr, Vec<u8>>,
    pub(crate) reads: Cell<u32>,
    pub(crate) writes: u32,
    pub(crate) no_copies: bool,
    pub(crate) read_only: bool,
}

/// Nothing is mapped there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unmapped(pub(crate) Addr);

impl fmt::Display for Unmapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing is mapped at {}", self.0)
    }
}

impl std::error::Error for Unmapped {}

impl Pages {
    pub(crate) fn map(&mut self, at: u64, bytes: &[u8]) {
        self.maps.insert(Addr::new(at), bytes.to_vec());
    }

    pub(crate) fn unmap(&mut self, at: u64) {
        self.maps.remove(&Addr::new(at));
    }

    pub(crate) fn raw(&self, at: u64, len: usize) -> Vec<u8> {
        let (start, bytes) = self
            .maps
            .range(..=Addr::new(at))
            .next_back()
            .expect("it is mapped");
        let offset = usize::try_from(at - start.get()).expect("small");
        bytes[offset..offset + len].to_vec()
    }

    fn find(&self, at: Addr, len: usize) -> Option<(Addr, usize)> {
        let (start, bytes) = self.maps.range(..=at).next_back()?;
        let offset = usize::try_from(at.offset_from(*start)?).ok()?;
        (offset.checked_add(len)? <= bytes.len()).then_some((*start, offset))
    }
}

impl CodeMemory for Pages {
    type Error = Unmapped;

    fn read(&self, at: Addr, buf: &mut [u8]) -> Result<(), Unmapped> {
        self.reads.set(self.reads.get() + 1);
        let (start, offset) = self.find(at, buf.len()).ok_or(Unmapped(at))?;
        buf.copy_from_slice(&self.maps[&start][offset..offset + buf.len()]);
        Ok(())
    }

    fn write(&mut self, at: Addr, bytes: &[u8]) -> Result<(), Unmapped> {
        self.writes += 1;
        let (start, offset) = self
            .find(at, bytes.len())
            .filter(|_| !self.read_only)
            .ok_or(Unmapped(at))?;
        self.maps.get_mut(&start).expect("found")[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl CopySpace for Pages {
    fn map_copies(&mut self, near: Addr, len: usize) -> Result<Addr, Unmapped> {
        if self.no_copies {
            return Err(Unmapped(near));
        }
        let mut at = near.get() + 0x1000_0000;
        while self.maps.contains_key(&Addr::new(at)) {
            at += 0x100_0000;
        }
        self.map(at, &vec![0; len]);
        Ok(Addr::new(at))
    }
}
