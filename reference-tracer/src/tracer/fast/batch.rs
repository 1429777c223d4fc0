//! Memory of a process that is written, or read, in few pieces: a system call costs more than what most stubs and cells take.

use arch_abi::Addr;
use ptrace_core::{Memory, MemoryError};

/// Bytes that are not written yet, from one address on.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    at: Addr,
    bytes: Vec<u8>,
}

/// What lies between two pieces of code: `int3`.
const BETWEEN: u8 = 0xcc;

impl Batch {
    /// Keeps `bytes` for `at`. They must not lie before what was kept.
    pub(super) fn put(&mut self, at: Addr, bytes: &[u8]) {
        if self.bytes.is_empty() {
            self.at = at;
        }
        let skip = at
            .offset_from(self.at)
            .and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = skip.filter(|&skip| skip >= self.bytes.len()) {
            self.bytes.resize(skip, BETWEEN);
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Whether what lies at `at` comes next, or there is nothing.
    pub(super) fn ends_at(&self, at: Addr) -> bool {
        self.bytes.is_empty() || self.at.wrapping_add(self.bytes.len() as u64) == at
    }

    /// How much there is to be written.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes it. What could not be written is kept.
    pub(super) fn write(&mut self, memory: &Memory) -> Result<(), MemoryError> {
        if !self.bytes.is_empty() {
            memory.write(self.at, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

/// A piece of a process' code that was read, as long as nothing is written there.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    at: Addr,
    bytes: Vec<u8>,
}

impl Window {
    /// How much is read at once.
    const LEN: usize = 4096;

    /// The bytes at `at`: `len` of them, or fewer where memory ends.
    pub(super) fn show(&mut self, memory: &Memory, at: Addr, len: usize) -> &[u8] {
        let found = |window: &Self| {
            let skip = usize::try_from(at.offset_from(window.at)?).ok()?;
            Some((skip, skip.checked_add(len)?)).filter(|&(_, end)| end <= window.bytes.len())
        };
        if let Some((skip, end)) = found(self) {
            return &self.bytes[skip..end];
        }
        self.bytes.resize(Self::LEN, 0);
        let got = memory.read(at, &mut self.bytes).unwrap_or(0);
        self.bytes.truncate(got);
        self.at = at;
        self.bytes.get(..len).unwrap_or(&self.bytes)
    }

    /// What was read may not be true any more.
    pub(super) fn close(&mut self) {
        self.bytes.clear();
    }
}
