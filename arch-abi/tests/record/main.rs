//! Stubs that record, run in this process.
#![cfg(target_arch = "x86_64")]

mod calls;
mod world;
