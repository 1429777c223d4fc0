//! Raw traces: what was recorded, in a file, to be made into text later. `RAW.md` tells the bytes.
//!
//! A raw trace is a sequence of **entries**. Some define what others refer to (call points, types, names of code); **blocks** have the
//! packed records of one thread; **events** tell all else that happens, each in its place: what stands in the file before an event happened
//! before it. The order of records between two events is told by their time stamps.

mod event;
mod fields;
mod file;
mod merge;
mod recording;
mod types;

pub(crate) use event::{Entry, Event, Jump};
pub(crate) use fields::{Input, Put};
pub(crate) use file::{ClockPair, RawError, RawFile, Section, Survey};
pub(crate) use merge::{Chains, Item, Limits, Source, Until};
pub(crate) use recording::{put_recording, take_recording};
pub(crate) use types::{Exported, Imported, arch};

use serde::{Deserialize, Serialize};

use crate::fast::wants::Stamps;
use crate::proto::Prototype;
use crate::summary::Correction;

/// The first bytes of a file: a name and the version of the format.
pub(crate) const MAGIC: [u8; 8] = *b"rltrace\x01";

/// Bytes before the payload of an entry: its kind, and the payload's length.
pub(crate) const HEAD: usize = 5;

/// The longest payload that a reader takes.
pub(crate) const LONGEST: usize = 64 << 20;

/// What an entry is.
pub(crate) mod kind {
    /// [`Header`](super::Header): the first entry.
    pub(crate) const HEADER: u8 = 1;
    /// [`TypeBatch`](super::TypeBatch).
    pub(crate) const TYPES: u8 = 2;
    /// [`PointDef`](super::PointDef).
    pub(crate) const POINT: u8 = 3;
    /// What the records under one number have.
    pub(crate) const RECORDS: u8 = 4;
    /// The name of code at an address.
    pub(crate) const NAME: u8 = 5;
    /// Bytes of memory that does not change.
    pub(crate) const CONSTANT: u8 = 6;
    /// What the clocks show.
    pub(crate) const CLOCK: u8 = 7;
    /// Packed records of a thread.
    pub(crate) const BLOCK: u8 = 8;
    /// [`Ending`](super::Ending): the last entry.
    pub(crate) const END: u8 = 9;
    /// Events have this and greater numbers.
    pub(crate) const EVENT: u8 = 16;
}

/// What is to be known of all records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The version of the tracer that wrote it.
    pub(crate) version: String,
    /// Which times were recorded: 0 none, 1 those of calls, 2 those of returns, too.
    pub(crate) times: u8,
    /// Whether arguments and results were: otherwise calls can only be counted.
    pub(crate) lines: bool,
    /// Whether return addresses were.
    pub(crate) addresses: bool,
    /// Whether lines name the calling object.
    pub(crate) callers: bool,
    /// Whether lines name their thread from the start.
    pub(crate) many: bool,
    /// Whether names are shown as they stand in the source.
    pub(crate) demangle: bool,
    /// Bounds of what is shown: bytes of a string, elements of an array, structures within one another.
    pub(crate) limits: [usize; 3],
    /// What is taken off for the tracer's own cost in what is counted.
    pub(crate) correction: Option<Correction>,
}

impl Header {
    /// The number of a choice of time stamps.
    pub(crate) const fn times(stamps: Stamps) -> u8 {
        match stamps {
            Stamps::None => 0,
            Stamps::Call => 1,
            Stamps::Both => 2,
        }
    }

    /// The choice of time stamps.
    pub(crate) const fn stamps(&self) -> Stamps {
        match self.times {
            0 => Stamps::None,
            1 => Stamps::Call,
            _ => Stamps::Both,
        }
    }
}

/// A call point.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PointDef {
    /// Its number.
    pub(crate) id: u32,
    /// What kind it is: 0 a call of another object's function, 1 of a function where it begins, 2 a place in code, 3 a system call.
    pub(crate) kind: u8,
    /// The symbol.
    pub(crate) name: String,
    /// The calling object's path.
    pub(crate) path: String,
    /// Its soname.
    pub(crate) soname: Option<String>,
    /// Whether that is the program.
    pub(crate) is_main: bool,
    /// Whether it is a 32-bit program's.
    pub(crate) i386: bool,
    /// Whether the prototype was found.
    pub(crate) known: bool,
    /// How its calls are shown.
    pub(crate) prototype: Prototype,
}

/// How a recording ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ending {
    /// What was told the user.
    pub(crate) notes: Vec<String>,
}

/// Appends an entry, whose payload `write` appends.
pub(crate) fn put_entry(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[kind, 0, 0, 0, 0]);
    write(out);
    let len = u32::try_from(out.len() - start - HEAD).unwrap_or(u32::MAX);
    if let Some(bytes) = out.get_mut(start + 1..start + HEAD) {
        bytes.copy_from_slice(&len.to_le_bytes());
    }
}

/// Appends an entry whose payload is JSON.
pub(crate) fn put_json(out: &mut Vec<u8>, kind: u8, value: &impl Serialize) {
    put_entry(out, kind, |out| {
        // Writing to a Vec does not fail, and nothing here has keys that are no strings.
        let _: serde_json::Result<()> = serde_json::to_writer(out, value);
    });
}
