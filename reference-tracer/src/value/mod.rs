//! From a raw record to ltrace's text.
//!
//! An engine makes a [`RawCall`] at a call's entry and a [`RawReturn`] at its return. What to capture
//! for them is known ahead: the [`Plan`](crate::proto::Plan) tells whether floating-point registers
//! and how much stack are wanted, and [`wants_at_entry`] and [`wants_at_return`] tell which memory,
//! so that one vectored read fills a [`Snapshot`](crate::memory::Snapshot). A [`Decoder`] shows the
//! record. It reads no process, only what was captured and, for deep structures, a
//! [`TargetMemory`].

mod raw;

use arch_abi::Addr;

use crate::memory::{Snapshot, TargetMemory};
use crate::proto::{Plan, Types};

pub use raw::{RawCall, RawReturn};

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
    _private: (),
}

/// How far a call was shown at its entry; [`Decoder::exit`] goes on from there.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    params: usize,
}

impl Shown {
    /// Whether nothing of the arguments is left to show at the return.
    #[must_use]
    pub fn complete(&self, plan: &Plan) -> bool {
        self.params >= plan.params.len()
    }
}

/// Asks `snapshot` for the memory that showing `call` at its entry wants. The snapshot is cleared.
pub fn wants_at_entry(types: &Types, plan: &Plan, call: &RawCall, limits: Limits, snapshot: &mut Snapshot) {
    let _ = (types, plan, call, limits, snapshot);
    todo!()
}

/// Asks `snapshot` for the memory that showing the return of `call` wants. The snapshot is cleared.
pub fn wants_at_return(
    types: &Types,
    plan: &Plan,
    call: &RawCall,
    ret: &RawReturn,
    limits: Limits,
    snapshot: &mut Snapshot,
) {
    let _ = (types, plan, call, ret, limits, snapshot);
    todo!()
}

/// Whether the call failed as its prototype says, with its reason in `errno`: then it is worth
/// reading for [`RawReturn::errno`].
#[must_use]
pub fn wants_errno(types: &Types, plan: &Plan, call: &RawCall, ret: &RawReturn) -> bool {
    let _ = (types, plan, call, ret);
    todo!()
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

impl Decoder<'_> {
    /// Appends the arguments that are known at the entry, without parentheses.
    pub fn entry(
        &self,
        plan: &Plan,
        call: &RawCall,
        shown: &mut Shown,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) {
        let _ = (plan, call, shown, scratch, out);
        todo!()
    }

    /// Appends the arguments that are known only at the return, with a leading `, ` where it is due,
    /// to `args`, and the result to `result`.
    #[allow(clippy::too_many_arguments, reason = "each is a different thing of one call")]
    pub fn exit(
        &self,
        plan: &Plan,
        call: &RawCall,
        ret: &RawReturn,
        shown: &Shown,
        scratch: &mut Scratch,
        args: &mut Vec<u8>,
        result: &mut Vec<u8>,
    ) {
        let _ = (plan, call, ret, shown, scratch, args, result);
        todo!()
    }
}
