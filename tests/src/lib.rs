#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "this is a test harness: every failure is reported by a panic that says what was seen"
)]

pub mod elf;
pub mod engines;
mod fixture;
mod hot;
pub mod process;
mod rltrace;
mod run;
pub mod tools;
pub mod trace;
pub mod visits;

pub use fixture::Build;
pub use hot::{Hot, Machine, cycles, runs_on};
pub use rltrace::{Background, NOTHING, Rltrace, Traced, rltrace_binary};
pub use run::{HANG, Run, Running, run, wait_for, words};
pub use trace::{Call, End, Event, Trace};
