#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod consumer;
mod damage;
pub mod format;
mod host;
mod layout;
mod merge;
mod pack;
mod parse;
mod producer;
mod record;
mod region;
mod shape;
mod word;

pub use consumer::Consumer;
pub use damage::Damage;
pub use host::{Host, OneProcess};
pub use layout::{Layout, LayoutError};
pub use merge::{Merge, Merged};
pub use pack::{Packer, Unpacker};
pub use parse::{parse, split};
pub use producer::{Body, Captured, Draft, Outcome, Producer, TooLong};
pub use record::{Call, Capture, Captures, End, Item, Note, Record, Words};
pub use region::{OnFull, Region, RegionError, Ring};
pub use shape::{Fields, Parts, Shape, Shapes};
pub use word::Word;
