//! From a raw record to ltrace's text.
//!
//! An engine makes a [`RawCall`] at a call's entry and a [`RawReturn`] at its return. What to capture
//! for them is known ahead: the [`Plan`] tells whether floating-point registers
//! and how much stack are wanted, and [`wants_at_entry`] and [`wants_at_return`] tell which memory,
//! so that one vectored read fills a [`Snapshot`](crate::memory::Snapshot). A [`Decoder`] shows the
//! record. It reads no process, only what was captured and, for deep structures, a
//! [`TargetMemory`].

mod bits;
mod capture;
mod decode;
mod emit;
mod errno;
mod escape;
mod flags;
mod float;
mod frame;
mod guess;
mod number;
mod pack;
mod raw;
mod sequence;
mod show;
mod sockaddr;

#[cfg(test)]
mod tests;

use arch_abi::Addr;

use crate::memory::TargetMemory;
use crate::proto::{Plan, TypeId, Types};

pub use capture::{wants_at_entry, wants_at_return};
pub(crate) use decode::MAX_VALUE;
pub use emit::{Base, Emit, Shape, Value};
pub(crate) use errno::{name as errno_name, write as write_errno};
pub(crate) use flags::write as flag_names;
pub(crate) use float::{decimal as write_float, millionths};
pub(crate) use guess::{
    LOOK as GUESS_LOOK, may_be_address as guess_is_address, recorded_is_text as guess_is_text,
};
pub use raw::{RawCall, RawReturn};
pub(crate) use show::first_at_return;
pub use show::{Shown, has_failed, wants_errno};

/// Size and alignment of a type of a plan, where they depend on no value.
pub(crate) fn constant_layout(types: &Types, plan: &Plan, ty: TypeId) -> Option<arch_abi::Layout> {
    let frame = frame::Frame {
        types,
        plan,
        call: &RawCall::default(),
        ret: None,
    };
    frame.with(None, &crate::memory::NoMemory).layout(ty)
}

/// Appends a name that comes from a target, escaped so that it does a terminal no harm.
pub fn escape_name(name: &[u8], out: &mut Vec<u8>) {
    escape::plain(name, out);
}

/// Appends a character of one byte, in quotes.
pub(crate) fn write_byte(byte: u8, out: &mut Vec<u8>) {
    out.push(b'\'');
    escape::byte(byte, b'\'', out);
    out.push(b'\'');
}

/// Appends a wide character, in quotes.
pub(crate) fn write_char(character: u32, out: &mut Vec<u8>) {
    out.push(b'\'');
    escape::character(character, b'\'', out);
    out.push(b'\'');
}

/// Appends a string's bytes, escaped. `cut`: there is more of it.
pub(crate) fn escape_bytes(bytes: &[u8], cut: bool, out: &mut Vec<u8>) {
    escape::bytes(bytes, cut, out);
}

/// Bounds of what is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes (of a wide string, characters) of a string: `-s`.
    pub string: usize,
    /// The most elements of an array: `-A`.
    pub array: usize,
    /// The most structures within one another: `-A` too.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            string: 32,
            array: 4,
            depth: 4,
        }
    }
}

/// What only the tracer knows about values.
pub trait Describe {
    /// Appends the name of the code at `at`, such as `qsort_cmp` or `main+0x12`. `false`, and
    /// nothing appended: it has none.
    fn code(&self, at: Addr, out: &mut Vec<u8>) -> bool {
        let _ = (at, out);
        false
    }

    /// Appends what a file descriptor of the calling thread refers to. `false`, and nothing
    /// appended: that is not known, or not wanted.
    fn fd(&self, tid: i32, fd: i32, out: &mut Vec<u8>) -> bool {
        let _ = (tid, fd, out);
        false
    }
}

/// Nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDescription;

impl Describe for NoDescription {}

/// Buffers that decoding uses again and again, so that it allocates nothing in the long run.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The bytes of the values being shown, one within the other.
    bytes: Vec<u8>,
    /// The structures being shown: where, and of which type.
    open: Vec<(Addr, TypeId)>,
    /// A value's text that is being made.
    text: Vec<u8>,
    /// The format being looked at.
    format: Vec<u8>,
}

/// Shows raw records.
#[derive(Clone, Copy)]
pub struct Decoder<'a> {
    /// The types of the plans: [`Prototypes::types`](crate::proto::Prototypes::types).
    pub types: &'a Types,
    /// Bounds of what is shown.
    pub limits: Limits,
    /// The memory of the moment: a [`Layered`](crate::memory::Layered) snapshot.
    pub memory: &'a dyn TargetMemory,
    /// What only the tracer knows.
    pub describe: &'a dyn Describe,
}
