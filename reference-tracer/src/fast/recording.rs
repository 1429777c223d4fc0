//! What a stub records: the types of `arch_abi::record`, until that is there.

/// What is recorded of the calls of one call point.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Recording {
    /// At the call.
    pub call: CallFields,
    /// At the return. `None`: it is not recorded.
    pub ret: Option<ReturnFields>,
}

/// What is recorded at a call.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct CallFields {
    /// A time stamp.
    pub stamp: bool,
    /// The return address.
    pub caller: bool,
    /// Integer argument registers, 0 to 6.
    pub ints: u8,
    /// Words of the stack from the one above the return address on, 0 to 32.
    pub stack: u8,
    /// The low halves of the vector argument registers, 0 to 8.
    pub floats: u8,
    /// Memory, 0 to 8 pieces.
    pub captures: Vec<Capture>,
}

/// What is recorded at a return.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ReturnFields {
    /// A time stamp.
    pub stamp: bool,
    /// Integer return registers, 0 to 2.
    pub ints: u8,
    /// `errno`: where it lies from the thread pointer on.
    pub errno: Option<i32>,
    /// The low halves of the vector return registers, 0 to 2.
    pub floats: u8,
    /// Memory, 0 to 4 pieces.
    pub captures: Vec<Capture>,
}

/// A piece of memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Capture {
    /// Where it begins.
    pub pointer: Pointer,
    /// How long it is.
    pub length: Length,
}

/// A pointer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pointer {
    /// In an integer argument register; at a return, as it was at the call.
    Int(u8),
    /// In a word of the stack, counted from the one above the return address; at a return, as it was at the call.
    Stack(u8),
    /// The first integer return register.
    Result,
}

/// The length of a piece of memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Length {
    /// Up to a zero byte, which is not recorded.
    String {
        /// The most bytes.
        most: u16,
    },
    /// As `String`, if the pointer looks like one.
    Guess {
        /// The most bytes.
        most: u16,
    },
    /// So many bytes.
    Fixed(u16),
    /// So many elements.
    Counted {
        /// How many.
        count: Count,
        /// The bytes of each.
        element: u16,
        /// The most bytes.
        most: u16,
    },
}

/// A number of elements. A negative one is zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Count {
    /// In an integer argument register; at a return, as it was at the call.
    Int {
        /// Which.
        index: u8,
        /// How many bytes of it count: 4 or 8.
        bytes: u8,
        /// Whether the highest bit is a sign.
        signed: bool,
    },
    /// The first integer return register.
    Result {
        /// How many bytes of it count: 4 or 8.
        bytes: u8,
        /// Whether the highest bit is a sign.
        signed: bool,
    },
}
