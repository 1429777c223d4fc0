//! x86: the facts that x86-64 and i386 share, and each of the two in a file of its own.

pub mod i386;
mod slot_ref;
mod stub;
pub mod x86_64;
