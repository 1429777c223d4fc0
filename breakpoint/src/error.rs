//! What can go wrong.

use arch_abi::{Addr, StepError};

use crate::TrapId;

/// Why a trap was not put in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError<E: std::error::Error + 'static> {
    /// The instruction's bytes cannot be read.
    #[error("no code can be read at {at}")]
    Unreadable {
        /// Where the trap was to be.
        at: Addr,
        /// What the memory said.
        source: E,
    },
    /// The trap cannot be written.
    #[error("no trap can be written at {at}")]
    Unwritable {
        /// Where the trap was to be.
        at: Addr,
        /// What the memory said.
        source: E,
    },
    /// The bytes are no instruction, or one that cannot be stepped over.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The trap's bytes would lie in those of another one.
    #[error("a trap at {at} would overlap the one at {other}")]
    Overlap {
        /// Where the trap was to be.
        at: Addr,
        /// Where the other trap is.
        other: Addr,
    },
    /// The instruction cannot be emulated, and there is no room for a copy of it.
    #[error("the instruction at {at} needs a copy, for which there is no room")]
    NoRoom {
        /// Where the trap was to be.
        at: Addr,
        /// What the memory said; `None` where it gave room that is out of reach.
        source: Option<E>,
    },
    /// The address was given twice, and the first time says why the trap was refused.
    #[error("the trap at {at} was refused before")]
    Repeated {
        /// Where the trap was to be.
        at: Addr,
    },
    /// There are 2³² traps already.
    #[error("too many traps")]
    TooMany,
}

/// Why a trap was not taken out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError<E: std::error::Error + 'static> {
    /// There is no such trap (any more).
    #[error("there is no trap {id:?}")]
    NoSuchTrap {
        /// The trap's number.
        id: TrapId,
    },
    /// The original bytes cannot be written back. The trap is still known: if its memory is gone,
    /// [`Traps::forget`](crate::Traps::forget) it.
    #[error("the trap at {at} cannot be taken out")]
    Memory {
        /// Where the trap is.
        at: Addr,
        /// What the memory said.
        source: E,
    },
}

/// Why a thread was not got past a trap. Its registers and memory are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepOverError<E: std::error::Error + 'static> {
    /// There is no such trap (any more).
    #[error("there is no trap {id:?}")]
    NoSuchTrap {
        /// The trap's number.
        id: TrapId,
    },
    /// The instruction was emulated for want of a copy, and the memory that it uses cannot be
    /// accessed: the thread would have had a SIGSEGV here.
    #[error("the instruction at {at} cannot access {access}")]
    Memory {
        /// Where the instruction lies.
        at: Addr,
        /// The memory that it uses.
        access: Addr,
        /// What the memory said.
        source: E,
    },
    /// The program has changed its code at a trap to what cannot be stepped over.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The registers are not those of the traps' ABI: a thread of a 64-bit program that runs 32-bit code,
    /// or the reverse.
    #[error("the registers at the trap at {at} belong to another ABI")]
    OtherAbi {
        /// Where the trap is.
        at: Addr,
    },
    /// The program has changed its code at a trap to what needs a copy, for which there is no room.
    #[error("the instruction at {at} needs a copy, for which there is no room")]
    NoRoom {
        /// Where the instruction lies.
        at: Addr,
    },
}

/// Some traps have no copy, because there is no room.
#[derive(Debug, thiserror::Error)]
#[error("there is no room for the copies of {} instructions", without.len())]
pub struct NoRoom<E: std::error::Error + 'static> {
    /// The traps without a copy: they are emulated.
    pub without: Vec<TrapId>,
    /// What the memory said; `None` where it gave room that is out of reach.
    pub source: Option<E>,
}
