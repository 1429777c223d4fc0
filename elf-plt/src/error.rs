//! What can be wrong with an object file.

use arch_abi::FileAddr;

/// Why the bytes of an object file could not be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes are not those of an ELF file.
    #[error("not an ELF file: the first four bytes are not 7f 45 4c 46")]
    NotElf,
    /// The object is for a machine that is not known here.
    #[error("ELF machine {machine} of class {class} is not supported")]
    Machine {
        /// `e_machine` (gABI, "ELF Header").
        machine: u16,
        /// `EI_CLASS`: 1 is 32 bits, 2 is 64 (gABI, "ELF Identification").
        class: u8,
    },
    /// A structure reaches past the end of the file.
    #[error("{what} at offset {offset:#x} wants {len} bytes, but the file ends at {file_len:#x}")]
    Truncated {
        /// The structure, by the gABI's name.
        what: &'static str,
        /// Where it starts in the file.
        offset: u64,
        /// How many bytes it should have.
        len: u64,
        /// The length of the file.
        file_len: u64,
    },
    /// A structure holds something that it must not.
    #[error("{what} at offset {offset:#x}: expected {expected}")]
    Malformed {
        /// The structure, by the gABI's name.
        what: &'static str,
        /// Where it starts in the file.
        offset: u64,
        /// What should have been there.
        expected: &'static str,
    },
    /// An address lies in no part of the file that is loaded.
    #[error("{what} at address {at}, which no PT_LOAD segment takes from the file")]
    Unmapped {
        /// What should lie there, by the gABI's name.
        what: &'static str,
        /// The address, as the file states it.
        at: FileAddr,
    },
}
