//! What was kept of a process: names of its code, and some of its constants.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use arch_abi::Addr;
use breakpoint::StackWitness;
use rustc_hash::FxHashMap;

use crate::derive::Derived;
use crate::memory::TargetMemory;
use crate::tracer::surroundings::World;

/// What was kept of a process.
#[derive(Debug, Default)]
pub(super) struct Past {
    names: FxHashMap<u64, Box<[u8]>>,
    constants: BTreeMap<u64, Box<[u8]>>,
    /// What was read ahead: it is for what stands behind it.
    to_come: VecDeque<Kept>,
}

/// A name, or bytes, at an address.
#[derive(Debug)]
struct Kept {
    /// Where in the file.
    place: u64,
    at: u64,
    is_name: bool,
    bytes: Box<[u8]>,
}

impl Past {
    /// Something more is known of the process to what stands behind `place` in the file.
    pub(super) fn put(&mut self, place: u64, at: u64, is_name: bool, bytes: &[u8]) {
        self.to_come.push_back(Kept {
            place,
            at,
            is_name,
            bytes: bytes.into(),
        });
    }

    /// What is shown from now on stands at `place` in the file.
    pub(super) fn come_to(&mut self, place: u64) {
        while let Some(kept) = self.to_come.front()
            && kept.place < place
            && let Some(kept) = self.to_come.pop_front()
        {
            if kept.is_name {
                self.names.insert(kept.at, kept.bytes);
            } else {
                self.constants.insert(kept.at, kept.bytes);
            }
        }
    }

    /// What was known so far is not true any more. Gives whether nothing was read ahead.
    pub(super) fn begin_again(&mut self) -> bool {
        self.names.clear();
        self.constants.clear();
        self.to_come.is_empty()
    }
}

impl World for Past {
    fn code_name(&self, at: Addr, _tid: i32, _derived: &RefCell<Derived>, out: &mut Vec<u8>) -> bool {
        let name = self.names.get(&at.get());
        out.extend_from_slice(name.map_or(&[], |name| name));
        name.is_some()
    }
}

impl TargetMemory for Past {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        let Some((&start, bytes)) = self.constants.range(..=at.get()).next_back() else {
            return 0;
        };
        let skip = usize::try_from(at.get() - start).unwrap_or(usize::MAX);
        let bytes = bytes.get(skip..).unwrap_or_default();
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        len
    }
}

/// What is known of a thread's stacks: where the main thread's lies, which holds one stack. Of others it is not known whether
/// they hold several.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KnownStacks {
    pub(super) main: (u64, u64),
}

impl StackWitness for KnownStacks {
    fn same_stack(&mut self, frame: Addr, now: Addr) -> Option<bool> {
        let in_main = |at: Addr| (self.main.0..self.main.1).contains(&at.get());
        match (in_main(frame), in_main(now)) {
            (true, true) => Some(true),
            (false, false) => None,
            _ => Some(false),
        }
    }

    fn word(&mut self, _at: Addr) -> Option<u64> {
        None
    }

    /// The process is gone: there is no evidence that it is not.
    fn holds(&mut self, _at: Addr, _return_to: Addr) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_read_where_they_are() {
        let mut past = Past::default();
        past.put(10, 0x1000, false, b"format");
        past.come_to(10);
        assert_eq!(
            past.read(Addr::new(0x1000), &mut [0]),
            0,
            "what is read ahead is not known yet"
        );
        past.come_to(11);
        let read = |at, len| {
            let mut buf = vec![0; len];
            let got = past.read(Addr::new(at), &mut buf);
            buf.truncate(got);
            buf
        };
        assert_eq!(read(0x1000, 10), b"format");
        assert_eq!(read(0x1003, 2), b"ma");
        assert!(read(0x1006, 1).is_empty() && read(0xfff, 1).is_empty() && read(u64::MAX, 8).is_empty());
    }
}
