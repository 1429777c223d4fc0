//! Memory of a process.
use arch_abi::Addr;
use std::io;

/// The memory of a process: a handle that can be cloned and kept; it serves as long as one thread of
/// the process lives and executes no new program.
#[derive(Clone)]
pub struct Memory {
    _p: (),
}

/// Memory could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{done} of {len} bytes at {at}")]
pub struct MemoryError {
    /// Where.
    pub at: Addr,
    /// How many bytes were asked for.
    pub len: usize,
    /// How many bytes could be read or written.
    pub done: usize,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl Memory {
    /// Fills `buf` from `at`, or fails: there are no short reads.
    ///
    /// # Errors
    /// A byte is not readable.
    pub fn read_exact(&self, _at: Addr, _buf: &mut [u8]) -> Result<(), MemoryError> {
        todo!()
    }

    /// Reads up to the first unreadable byte, and gives how many bytes those are.
    ///
    /// # Errors
    /// Not one byte is readable.
    pub fn read(&self, _at: Addr, _buf: &mut [u8]) -> Result<usize, MemoryError> {
        todo!()
    }

    /// Reads all of `ranges` by one `process_vm_readv`, and puts into `done` how many bytes of each
    /// were read. An unreadable range spoils no other: only then there are further system calls.
    ///
    /// # Errors
    /// The process is gone.
    pub fn read_vectored(
        &self,
        _ranges: &mut [(Addr, &mut [u8])],
        _done: &mut [usize],
    ) -> Result<(), MemoryError> {
        todo!()
    }

    /// The bytes from `at` up to the first NUL, `max` bytes at most, appended to `into`. Gives
    /// whether the NUL was found; without it, the string is longer than `max` or runs into
    /// unreadable memory.
    ///
    /// # Errors
    /// Not one byte is readable.
    pub fn read_c_string(&self, _at: Addr, _max: usize, _into: &mut Vec<u8>) -> Result<bool, MemoryError> {
        todo!()
    }

    /// Stores `bytes` at `at`, even where the page is mapped read-only (`/proc/TID/mem`).
    ///
    /// # Errors
    /// A byte is not writable.
    pub fn write(&self, _at: Addr, _bytes: &[u8]) -> Result<(), MemoryError> {
        todo!()
    }
}
