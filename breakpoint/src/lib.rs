#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod arena;
mod batch;
mod calls;
mod error;
mod memory;
mod sites;
mod step;
mod traps;
mod view;

pub use calls::{CallStack, Closed, Frame, How, Pushed, StackWitness};
pub use error::{InsertError, NoRoom, RemoveError, StepOverError};
pub use memory::{CodeMemory, CopySpace};
pub use sites::{ReturnSites, Verdict};
pub use step::{InCopy, SingleStep, StepOver};
pub use traps::{Removed, TrapId, Traps};
pub use view::OriginalMemory;
