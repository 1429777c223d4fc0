//! All that this crate knows of a process: bytes at addresses.

use arch_abi::Addr;

/// The memory of one address space.
///
/// While traps are put in or taken out, threads of the process may run only if the implementation's
/// `write` stores single bytes whole, as `/proc/PID/mem` does: on x86 a trap is one byte.
pub trait CodeMemory {
    /// What can go wrong.
    type Error: std::error::Error + 'static;

    /// Fills `buf` from `at`, or fails: there are no short reads.
    ///
    /// # Errors
    /// Not all of the bytes can be read.
    fn read(&self, at: Addr, buf: &mut [u8]) -> Result<(), Self::Error>;

    /// Stores `bytes` at `at`, even where the page is mapped read-only.
    ///
    /// # Errors
    /// Not all of the bytes can be written.
    fn write(&mut self, at: Addr, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Memory in which room can be made for copies of instructions.
pub trait CopySpace: CodeMemory {
    /// Maps `len` bytes of readable and executable memory, private to the process and kept across
    /// `fork`, all of it within 2 GiB of `near` on either side; the nearer the better, because what an
    /// instruction refers to must be in reach of its copy. Called rarely: once for thousands of traps.
    ///
    /// # Errors
    /// No such memory can be had. That is survived where the instruction can be emulated.
    fn map_copies(&mut self, near: Addr, len: usize) -> Result<Addr, Self::Error>;
}
