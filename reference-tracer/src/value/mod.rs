//! From a raw record to typed values, and from those to text.
//!
//! An engine makes a [`RawCall`] at a call's entry and a [`RawReturn`] at its return; a
//! [`Plan`](crate::proto::Plan) says what to capture for them. [`Decoder`] turns them into
//! [`Values`]; [`write_values`] turns those into ltrace's text. Decoding reads no process, only what
//! was captured and, for deep structures, a [`TargetMemory`](crate::memory::TargetMemory).

mod raw;

pub use raw::{RawCall, RawReturn};
