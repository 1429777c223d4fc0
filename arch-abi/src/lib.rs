#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod abi;
mod addr;
mod call;
pub mod guard;
mod landing;
mod plt;
pub mod record;
mod regs;
mod step;
pub mod x86;

pub use abi::{Abi, Arch, RelativeOperand, SystemCalls};
pub use addr::{Addr, BaseAddress, FileAddr};
pub use call::{
    ArgCursor, CType, CallLayout, Captured, Float, Layout, Piece, Place, Signature, Source, VaCursor, layout,
};
pub use landing::{Interrupted, LANDING_LEN, Landing, OwnScheduling, QueuedSignal, SIGINFO_LEN};
pub use plt::{PltCode, SlotAccess, SlotOperand, SlotReference, SlotRelocations, Stub};
pub use regs::{FpRegs, Reg, RegLayout, Regs, UnknownRegset};
pub use step::{
    Access, CopyError, DisplacedCopy, Emulation, MAX_COPY, Progress, StepError, StepPlan, SteppedCopy, Store,
};
