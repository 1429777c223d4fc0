#![doc = include_str!("../README.md")]

pub mod diagnose;
pub mod filter;
pub mod leave;
pub mod output;
pub mod signals;
pub mod summary;

pub mod cli;
pub mod memory;
pub mod points;
pub mod proto;
mod sys;
pub mod text;
pub mod value;
