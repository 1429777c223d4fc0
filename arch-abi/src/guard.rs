//! The signal handler that keeps a process alive when its tracer has died.
//!
//! A tracer that is killed leaves its trap instructions behind, and each is a death for the thread that meets
//! it. This handler for SIGTRAP sends such a thread to the displaced copy of the instruction instead. While
//! a tracer is there it never runs: the tracer sees SIGTRAP first and suppresses it.
//!
//! [`Abi::guard`](crate::Abi::guard) assembles it. Its data and its table are the same for every ABI: words of 64 bits, of
//! which a 32-bit process uses the low half.
//!
//! The handler only reads its data, so code and data may lie in one mapping that the process itself
//! cannot write. Whoever writes them from outside stores the copy of a table entry before its trap,
//! and a whole new table before the pointer to it, so that the handler is right at any instant.

use crate::addr::Addr;

/// Byte offset in the data of the address of the table; zero while there is none.
pub const DATA_TABLE: u64 = 0;
/// Byte offset in the data of the program's own handler of SIGTRAP: `SIG_DFL` (0), `SIG_IGN` (1)
/// or an address.
pub const DATA_CHAIN: u64 = 8;
/// Byte offset in the data of [`RANGES`] pairs of addresses (start, end), the areas of displaced
/// copies; unused ones are zero.
pub const DATA_RANGES: u64 = 16;
/// How many areas of displaced copies the handler knows.
pub const RANGES: usize = 8;
/// Byte offset in the data of a `struct sigaction` of zeros: the default disposition.
pub(crate) const DATA_DEFAULT: u64 = DATA_RANGES + RANGES as u64 * 16;
/// Size of the data in bytes.
pub const DATA_LEN: u64 = DATA_DEFAULT + 32;

/// Byte offset of a table's first entry: before it stands the number of entries minus one, a
/// 64-bit word. An entry is the trap's address and the copy's, both 64 bits; a free entry is zero.
pub const TABLE_ENTRIES: u64 = 16;

/// Multiplier of the hash (2⁶⁴ divided by the golden ratio).
pub(crate) const HASH: u64 = 0x9e37_79b9_7f4a_7c15;

/// The entry of a table of `mask + 1` entries at which the search for `trap` begins; it goes on
/// from one entry to the next, round the end, up to a free one.
#[must_use]
pub const fn first_entry(trap: Addr, mask: u64) -> u64 {
    (trap.get().wrapping_mul(HASH) >> 32) & mask
}

/// The code of the guard.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The bytes, to be placed at the address that was given.
    pub code: Vec<u8>,
    /// The kernel's `struct sigaction`, as `rt_sigaction` takes it, that makes it the handler of SIGTRAP. The first
    /// word is the handler's address.
    pub action: Vec<u8>,
}
