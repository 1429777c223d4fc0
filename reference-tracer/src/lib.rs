#![doc = include_str!("../README.md")]

pub mod memory;
pub mod proto;
pub mod text;
pub mod value;
