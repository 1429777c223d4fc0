//! x86: the facts that x86-64 and i386 share, and each of the two in a file of its own.

pub mod guard;
pub mod i386;
pub(crate) mod step;
pub mod x86_64;
