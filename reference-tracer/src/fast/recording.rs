//! The types of `arch_abi::record`.

pub use arch_abi::record::{CallFields, Capture, Count, Length, Pointer, Recording, ReturnFields};
