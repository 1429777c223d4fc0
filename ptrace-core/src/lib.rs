#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod attach;
mod command;
mod cpus;
mod envoy;
mod error;
mod host;
mod id;
mod instruction;
mod landing;
mod loan;
mod memory;
mod options;
pub mod procfs;
mod reaper;
mod remote;
mod restart;
mod rseq;
mod session;
mod spawn;
mod stop;
mod stopped;
mod sys;
mod tracee;
mod wait;
mod waker;

pub use command::{Command, SignalState, User};
pub use cpus::{CpuSet, Haste};
pub use envoy::{Envoy, NoEnvoy};
pub use error::{AttachError, AttachReason, Error, Refused, SpawnError};
pub use id::{ExitStatus, Signal, Tid};
pub use memory::{Memory, MemoryError};
pub use options::Options;
pub use session::Session;
pub use stop::{Stop, SyscallInfo, SyscallStop};
pub use stopped::{Running, SigInfo, SignalSet, Stopped};
pub use wait::Wait;
pub use waker::{Interruptible, Waker};
