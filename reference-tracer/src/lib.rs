#![doc = include_str!("../README.md")]

pub mod app;
pub mod cli;
pub mod debugdata;
pub mod derive;
pub mod diagnose;
pub mod fast;
pub mod filter;
pub mod ifuncs;
pub mod leave;
pub mod memory;
pub mod objects;
pub mod output;
pub mod points;
pub mod proto;
mod raw;
pub mod selection;
pub mod signals;
pub mod stack;
pub mod summary;
mod sys;
pub mod syscalls;
pub mod text;
pub mod tracer;
pub mod value;
