#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod abi;
mod addr;
mod plt;
mod regs;
pub mod x86;

pub use abi::{Abi, Arch};
pub use addr::{Addr, BaseAddress, FileAddr};
pub use plt::{PltCode, SlotAccess, SlotOperand, SlotReference, SlotRelocations, Stub};
pub use regs::{FpRegs, Reg, RegLayout, Regs, UnknownRegset};
