//! What a reader finds where no record should be.

use thiserror::Error;

/// A ring, or a record, that no producer that keeps the rules has written.
///
/// What was published until then is skipped: the record's length is the only way to the next. The ring stays in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// The head is not where a head can be.
    #[error("the head {head:#x} cannot follow {read:#x}")]
    Head {
        /// As it was found.
        head: u64,
        /// How far the ring was read.
        read: u64,
    },
    /// The record is shorter than its shape, or longer than what was published.
    #[error("a record of {bytes} bytes (its first word is {first:#x})")]
    Length {
        /// The record's first word.
        first: u64,
        /// The length that it tells.
        bytes: usize,
    },
    /// There is no such kind of record.
    #[error("a record of kind {kind}")]
    Kind {
        /// As it was found.
        kind: u32,
    },
    /// There is no such call point, or its returns are not recorded.
    #[error("a record of kind {kind} of call point {id}")]
    Id {
        /// The record's kind.
        kind: u32,
        /// As it was found.
        id: u32,
    },
    /// A capture ends outside of its record, or what follows the last one is not the record's end.
    #[error("a capture of call point {id}")]
    Capture {
        /// The record's call point.
        id: u32,
    },
    /// A word of the control block that the recording code never writes is not what it was set to.
    #[error("the control block's word at {at:#x} is {found:#x}")]
    Block {
        /// Its offset.
        at: usize,
        /// As it was found.
        found: u64,
    },
    /// Packed records that no packer makes, or that were cut off.
    #[error("packed records")]
    Packed,
}
