#![doc = include_str!("../README.md")]

pub mod diagnose;
pub mod filter;
pub mod leave;
pub mod output;
pub mod signals;
pub mod summary;

mod sys;
