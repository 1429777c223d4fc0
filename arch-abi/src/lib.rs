#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod abi;
mod addr;
mod call;
mod regs;
pub mod x86;

pub use abi::{Abi, Arch};
pub use addr::{Addr, BaseAddress, FileAddr};
pub use call::{
    ArgCursor, CType, CallLayout, Captured, Float, Layout, Piece, Place, Signature, Source, VaCursor, layout,
};
pub use regs::{FpRegs, Reg, RegLayout, Regs, UnknownRegset};
