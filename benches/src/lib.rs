#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod attach;
pub mod comparison;
mod count;
pub mod error;
pub mod fixture;
pub mod floor;
pub mod machine;
pub mod process;
pub mod recording;
pub mod report;
pub mod results;
mod sample;
pub mod standstill;
pub mod tools;
pub mod tracer;

pub use error::Error;
