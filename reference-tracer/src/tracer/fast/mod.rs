//! The engine that records calls inside the program: code and shared memory are put into it by ptrace, and after that calls
//! make no stops.
//!
//! A call point has a **stub** (`arch_abi::record`), and each place of the program's code that calls through the call point's slot
//! is made to name a **cell** that holds the stub's address in place of the slot. The stub calls through the slot itself, so that
//! binding, lazy or not, is as it was.

mod areas;
mod batch;
mod choose;
mod drain;
mod frames;
mod glue;
mod kinds;
mod known;
mod lanes;
mod place;
mod pump;
mod raw;
mod recorder;
mod sites;
mod threads;
mod ticks;

use arch_abi::Addr;
use fast_ring::{LayoutError, RegionError};

use super::code::CodeError;

pub(super) use areas::Fast;
pub(super) use choose::Choice;
pub(super) use drain::Pass;
pub(super) use frames::Frames;
pub(super) use raw::Look;
pub(super) use recorder::{Recorder, is_overwritten, overwritten};

/// How calls are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Engine {
    /// Inside the program where that is safe, otherwise by traps.
    Auto,
    /// By traps.
    #[default]
    Trap,
    /// As `Auto`, and what must be met by traps is told.
    Fast,
}

/// How calls are recorded inside the program.
#[derive(Debug, Clone, Copy)]
pub struct RecordOptions {
    /// Whether they are.
    pub engine: Engine,
    /// Bytes of a thread's ring: a power of two.
    pub ring: usize,
    /// What a thread does whose ring is full.
    pub on_full: fast_ring::OnFull,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self {
            engine: Engine::default(),
            ring: 1 << 20,
            on_full: fast_ring::OnFull::Wait,
        }
    }
}

/// Why calls of a process are not recorded inside it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum FastError {
    /// Not for this machine.
    #[error("there is no recording code for {0:?} programs")]
    Machine(arch_abi::Arch),
    /// A system call would be made past a seccomp filter.
    #[error("a seccomp filter may forbid what is needed")]
    Seccomp,
    /// The register is the program's.
    #[error("the program uses the gs register itself")]
    SpareRegister,
    /// A library that has ideas of its own of where memory is.
    #[error("it has the sanitizer {0}")]
    Sanitizer(String),
    /// A request or a system call failed.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// A request failed.
    #[error(transparent)]
    Trace(#[from] ptrace_core::Error),
    /// Memory could not be read or written.
    #[error(transparent)]
    Memory(#[from] ptrace_core::MemoryError),
    /// Memory could not be shared.
    #[error("no memory can be shared with it")]
    Share(#[source] std::io::Error),
    /// Sizes of rings.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Shared memory of another form.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The code that was asked for cannot be.
    #[error(transparent)]
    Unsupported(#[from] arch_abi::record::Unsupported),
    /// No room for more.
    #[error("its room for recording code is full")]
    Full,
}

/// What stands in place of the return address of calls that return into recording code, so that the stack of calls knows
/// them: an address that no program has.
pub(super) const fn marker(id: u32) -> Addr {
    Addr::new(1 << 63 | id as u64)
}
