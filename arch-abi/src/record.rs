//! Stubs that record calls inside the traced process.
//!
//! A **stub** stands between a place that calls through a slot and the function: it writes a record of the call into the ring of its
//! thread, calls the function through the same slot, and writes a record of the return. Its code has two parts. The
//! **entry** is what the caller jumps to instead; the **return** part makes the call, so that the function returns to it. The real return
//! address is kept at an address that follows from that of its place on the stack ([`RETURN_ADDRESS`], a parallel shadow stack), so that there is
//! nothing to be undone when a program leaves a function by `longjmp`, an exception, or a switch of stacks.
//!
//! All entries lie in one area, all return parts in another, and each area begins with code that the stubs share
//! ([`Common`]). In an area the stack pointer of an interrupted or calling thread always tells the same way where
//! the caller's frame is, so that one description for unwinders is enough for each.
//!
//! A stub is a [`Template`], made for a [`Recording`] (what is to be recorded), with the call point's number and slot put in
//! ([`Template::place`]).
//!
//! # What the process must have
//!
//! For each thread: a ring's control block, at the thread's base of `gs` on x86-64, with an owner ([`RingLayout::owner`])
//! that follows from the thread pointer, the base of `fs` ([`Areas::owner`]), and the block's own address ([`RingLayout::own`]). For each stack: memory where its
//! [shadows](Shadow) are. Without either, the call goes through unrecorded, by way of a fault that [`Template::resume`] deals
//! with.
//!
//! # Signals and faults
//!
//! The code has no locks: a record that a signal interrupts is begun again. Whoever delivers signals (a tracer) asks
//! [`Template::resume`] or [`Common::resume`] for each thread that stops for a signal in an area, and sets the program counter
//! as they say; no other register is changed (on Linux the number of an interrupted system call is to be set to
//! -1 with it, or the kernel moves the counter back to restart that).

mod code;
mod ring;
mod zones;

pub use code::{Common, Recorder, Template};
pub(crate) use code::{Move, Part, Patch, Target, What, relative};
pub use ring::RingLayout;
pub use zones::Zones;

use crate::addr::Addr;
use std::ops::Range;
use thiserror::Error;

/// Where something is kept for each place on a stack at which a return address can be: at the same address with some
/// bits turned over, so that it lies far from any stack, and a little further on.
///
/// The little is less than a page. It matters: processors first look at the low 12 bits of an address to find out whether a load needs what
/// was stored just before. With the same low bits as the stack a call took several times as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadow {
    /// The bits that are turned over: the address of memory for the shadow of a stack is the stack's with these.
    pub turned: u64,
    /// Bytes further on. The memory must be so much longer than the stack, which is one page.
    pub past: u64,
}

impl Shadow {
    /// The address that belongs to a place on a stack.
    #[must_use]
    pub const fn of(self, place: Addr) -> Addr {
        Addr::new(place.get() ^ self.turned).wrapping_add(self.past)
    }
}

/// Where the return address of a function is that was called by a stub.
pub const RETURN_ADDRESS: Shadow = Shadow {
    turned: 1 << 45,
    past: 0x800,
};

/// Where the arguments of the call are that the return's captures need.
pub const REMEMBERED: [Shadow; ReturnFields::REMEMBERED] = [
    Shadow {
        turned: 1 << 46,
        past: 0xa00,
    },
    Shadow {
        turned: 1 << 45 | 1 << 46,
        past: 0xc00,
    },
];

/// What is recorded of a call point's calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Recording {
    /// At the call.
    pub call: CallFields,
    /// At the return. `None`: the function is jumped to, and its return is not seen. So must be recorded what returns twice or not at
    /// all, or has a calling convention of its own.
    pub ret: Option<ReturnFields>,
}

/// What is recorded at a call, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CallFields {
    /// The time.
    pub stamp: bool,
    /// The return address; of a tail call, that of the function that ends with it.
    pub caller: bool,
    /// Integer argument registers, 0 to [`CallFields::INTS`].
    pub ints: u8,
    /// Words of the stack from the first argument there on, 0 to [`CallFields::STACK`]. What cannot be read is zero.
    pub stack: u8,
    /// Floating-point argument registers, the low 64 bits of each, 0 to [`CallFields::FLOATS`].
    pub floats: u8,
    /// Memory, at most [`CallFields::CAPTURES`] of it.
    pub captures: Vec<Capture>,
}

impl CallFields {
    /// The most integer argument registers.
    pub const INTS: u8 = 6;
    /// The most words of the stack.
    pub const STACK: u8 = 32;
    /// The most floating-point argument registers.
    pub const FLOATS: u8 = 8;
    /// The most captures.
    pub const CAPTURES: usize = 16;
}

/// What is recorded at a return, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ReturnFields {
    /// The time at which the function returned.
    pub stamp: bool,
    /// Integer result registers, 0 to [`ReturnFields::INTS`].
    pub ints: u8,
    /// `errno`, an `int` so many bytes from the thread pointer, as one more word, sign-extended.
    pub errno: Option<i32>,
    /// Floating-point result registers, the low 64 bits of each, 0 to [`ReturnFields::FLOATS`].
    pub floats: u8,
    /// Memory, at most [`ReturnFields::CAPTURES`] of it.
    pub captures: Vec<Capture>,
}

impl ReturnFields {
    /// The most integer result registers.
    pub const INTS: u8 = 2;
    /// The most floating-point result registers.
    pub const FLOATS: u8 = 2;
    /// The most captures.
    pub const CAPTURES: usize = 8;
    /// How many different arguments the captures of a return may name.
    pub const REMEMBERED: usize = 2;
}

/// Memory that is copied into a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capture {
    /// Where it begins, or where the way to it does.
    pub pointer: Pointer,
    /// The way from there: pointers in memory that are followed. Who reads the record finds them in what was captured before.
    pub through: Through,
    /// Where it ends.
    pub length: Length,
}

impl Capture {
    /// What lies behind a pointer itself.
    #[must_use]
    pub const fn new(pointer: Pointer, length: Length) -> Self {
        Self {
            pointer,
            through: Through::NOTHING,
            length,
        }
    }
}

/// A way through memory from one pointer to another. A null pointer on it makes a capture of nothing, as one at its end does, and
/// what can't be read one that can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Through([Option<Step>; Self::STEPS]);

impl Through {
    /// The most steps.
    pub const STEPS: usize = 2;
    /// No step.
    pub const NOTHING: Self = Self([None; Self::STEPS]);

    /// The way with one step more. `None`: it has as many as there can be.
    #[must_use]
    pub fn then(mut self, step: Step) -> Option<Self> {
        *self.0.iter_mut().find(|place| place.is_none())? = Some(step);
        Some(self)
    }

    /// The steps.
    pub fn steps(self) -> impl Iterator<Item = Step> {
        self.0.into_iter().flatten()
    }
}

/// How the next pointer is found where one points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// It is the word so many bytes on.
    Word(u16),
    /// A `va_list` lies there, and its argument of this number is it, counted from 0: if it and all before it are integers and
    /// pointers.
    VaArg(u8),
}

/// Where a `va_list` of recorded processes keeps arguments (psABI x86-64, "The `va_list` Type").
pub mod va_list {
    /// Bytes of the object.
    pub const BYTES: u16 = 24;
    /// Where in it the pointer is to arguments that came on the stack.
    pub const STACKED: u16 = 8;
    /// Where in it the pointer is to what came in registers.
    pub const SAVED: u16 = 16;
    /// How many bytes those are: integer registers, and behind them the vector registers.
    pub const SAVED_BYTES: u16 = 176;
    /// How many of them are those of the integer registers.
    pub const SAVED_INTS: u16 = 48;
}

/// Where the pointer to captured memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pointer {
    /// This integer argument register, counted from 0; in a return, what it was at the call.
    Int(u8),
    /// This word of the stack, counted from the first argument there; in a return, what it was at the call.
    Stack(u8),
    /// The function's result. Only in a return.
    Result,
}

/// How much memory is captured. No bound is above [`Length::MOST`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Length {
    /// Up to a zero byte.
    String {
        /// Bytes at most.
        most: u16,
    },
    /// As `String`, if the pointer may be one: otherwise nothing, as for a null pointer. See [`Zones`].
    Guess {
        /// Bytes at most.
        most: u16,
    },
    /// So many bytes.
    Fixed(u16),
    /// As many elements as a value tells.
    Counted {
        /// Which value.
        count: Count,
        /// Bytes of an element, not 0.
        element: u16,
        /// Bytes at most.
        most: u16,
    },
}

impl Length {
    /// The most bytes of a capture: what a record can tell.
    pub const MOST: u16 = 4095;

    /// The most bytes that are captured.
    #[must_use]
    pub const fn most(self) -> u16 {
        match self {
            Self::String { most } | Self::Guess { most } | Self::Fixed(most) | Self::Counted { most, .. } => {
                most
            }
        }
    }
}

/// A number of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Count {
    /// An integer argument; in a return, what it was at the call.
    Int {
        /// Which, counted from 0.
        index: u8,
        /// Its size, 4 or 8.
        bytes: u8,
        /// Whether it may be negative, which counts as zero.
        signed: bool,
    },
    /// The function's result. Only in a return.
    Result {
        /// Its size, 4 or 8.
        bytes: u8,
        /// Whether it may be negative, which counts as zero.
        signed: bool,
    },
}

/// Where the stubs of a process lie.
///
/// Each area is aligned to its size, a power of two; no byte of one is 2 GiB or more from one of the other. The area of return parts has
/// exactly [`Areas::RETURNS`] bytes, and the other at least 64 KiB and at most 1 GiB. That one ends with a table, [`Zones`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Areas {
    /// The entries: addresses that calls are sent to.
    pub entries: Range<Addr>,
    /// The return parts: addresses that functions return to.
    pub returns: Range<Addr>,
}

impl Areas {
    /// Bytes of the area of return parts.
    pub const RETURNS: u64 = 1 << 24;

    /// What a control block must have as owner ([`RingLayout::owner`]) for stubs of these areas to record: the thread pointer, plus a number
    /// that differs for any two areas which a process has at one time.
    ///
    /// So the stubs that a tracer has left behind when it was killed pass their calls through where a later one has given the thread a
    /// block: their call points are numbered otherwise, and the sizes of that ring are not those that they know.
    #[must_use]
    pub const fn owner(&self, thread_pointer: u64) -> u64 {
        if thread_pointer == 0 {
            return 0; // there is none yet, and nobody records
        }
        thread_pointer.wrapping_add(self.number() as u64)
    }

    /// An area of entries has at least 64 KiB and is aligned to its size, below 2^47 ([`Areas`]): 31 bits.
    pub(crate) const fn number(&self) -> u32 {
        let [a, b, c, d, ..] = (self.entries.start.get() >> 16).to_le_bytes();
        u32::from_le_bytes([a, b, c, d]) & (u32::MAX >> 1)
    }

    /// Where the table of [`Zones`] is, which may be changed at any time: at the end of the area of entries. Stubs lie before it.
    #[must_use]
    pub const fn zones(&self) -> Addr {
        self.entries.end.wrapping_sub(Zones::BYTES as u64)
    }
}

/// Why there is no code for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// The areas are not as [`Areas`] says.
    #[error("the areas of recording code do not lie as it needs them")]
    Areas,
    /// The layout has numbers that the code cannot hold.
    #[error("no recording code for a ring of this layout")]
    Ring,
    /// There are more registers, words or captures than there can be, or a pointer or count that is not there.
    #[error("no recording code for such fields")]
    Fields,
    /// The captures of the return need more arguments of the call than are remembered.
    #[error("at most {max} arguments can be remembered for a return", max = ReturnFields::REMEMBERED)]
    Remembered,
    /// A record could be longer than the longest.
    #[error("a record could take {bytes} bytes, more than the {most} of the longest")]
    TooLong {
        /// What it could take.
        bytes: u64,
        /// The longest.
        most: u64,
    },
    /// The code was not accepted by the assembler.
    #[error("the recording code cannot be assembled")]
    Assembler,
}

/// Where one stub's parts lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// The entry, in the area of entries.
    pub entry: Addr,
    /// The return part, in the area of return parts. Not used where the return is not recorded.
    pub ret: Addr,
}

/// Why a thread that is in recording code is to go on elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// A handler will run, and may record.
    Signal,
    /// The instruction has failed (`SIGSEGV`, `SIGBUS`).
    Fault,
    /// The thread's ring will not be there any more: it must come out without recording.
    Leave,
}

/// Where an interrupted thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Where it is. A fault here is none that recording has caused.
    AsIs,
    /// At another address. A fault has been dealt with by that.
    At(Addr),
}

/// Bytes to be written over code that is already in use, while all threads stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overwrite {
    /// Where.
    pub at: Addr,
    /// What: one instruction, in the place of one or more.
    pub bytes: [u8; 5],
}

/// A function that unwinders ask which object has the code at an address. A hook adds the areas to its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `_dl_find_object`.
    FindObject,
    /// `dl_iterate_phdr`.
    IteratePhdr,
}
