#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod arena;
mod batch;
mod calls;
mod error;
mod memory;
#[cfg(feature = "ptrace-core")]
mod process;
mod sites;
mod step;
mod traps;
mod view;

pub use calls::{CallStack, Closed, Frame, How, Pushed, StackWitness};
pub use error::{InsertError, NoRoom, RemoveError, StepOverError};
pub use memory::{CodeMemory, CopySpace};
#[cfg(feature = "ptrace-core")]
pub use process::Process;
pub use sites::{ReturnSites, Verdict};
pub use step::{InCopy, SingleStep, StepOver};
pub use traps::{Removed, TrapId, Traps};
pub use view::OriginalMemory;
