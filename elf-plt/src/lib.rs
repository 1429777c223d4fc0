#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod auxv;
mod call_point;
mod dynamic;
mod error;
mod function_index;
mod functions;
mod hash;
mod headers;
mod image;
mod link_map;
mod object;
mod references;
mod slots;
mod stubs;
mod symbol;
mod symbol_table;
mod unwind_index;
mod version;

pub use auxv::Auxv;
pub use call_point::{CallPoint, CalleeKind, PltEntry, Slot, SlotRelocation};
pub use error::Error;
pub use function_index::FunctionIndex;
pub use functions::{Function, Functions};
pub use link_map::{
    LinkMap, LinkMapError, Memory, Namespace, RDebug, RState, read_debug_slot, read_link_map,
    read_namespaces, read_r_debug,
};
pub use object::{Object, ObjectKind, Segment};
pub use references::{References, SlotUse};
pub use symbol::{Binding, Symbol, SymbolType, Version};
