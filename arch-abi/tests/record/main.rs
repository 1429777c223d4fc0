//! Stubs that record, run in this process.
#![cfg(target_arch = "x86_64")]

mod calls;
mod captures;
mod machine;
mod registers;

mod rings;
mod signals;
mod speed;
mod steps;
mod unwinding;
mod world;
