//! Why a call point's calls are not recorded inside the process.

use std::fmt;

/// Why the trap engine serves a call point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Stubs are made for x86-64 only.
    Machine,
    /// `setjmp` and its like.
    ReturnsTwice,
    /// A pointer behind a pointer.
    Nested,
    /// What the pointer's target is as long as is told by the target itself.
    Length,
    /// What a pointer points at has more bytes than a record takes.
    TooLarge,
    /// A `va_list`.
    VaList,
    /// What scanf fills.
    Scanf,
    /// A format of wide characters.
    WideFormat,
    /// A value in an x87 register.
    X87,
    /// A value that is passed by its address.
    ByReference,
    /// More arguments than a stub records.
    TooManyArguments,
    /// More pointers than a stub follows.
    TooManyPointers,
    /// The record could be longer than the longest.
    TooLong,
    /// What descriptors refer to must be looked up at the call.
    Descriptors,
    /// A raw trace has no names of code that lies behind a pointer.
    CodeNames,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "calls are recorded on x86-64 only",
            Self::ReturnsTwice => "it can return more than once",
            Self::Nested => "an argument or the result holds pointers whose targets are shown",
            Self::Length => "the length of an argument's target is told by the target",
            Self::TooLarge => "the target of a pointer is too large to be recorded",
            Self::VaList => "its arguments come by a va_list",
            Self::Scanf => "the format says what it fills",
            Self::WideFormat => "its format is of wide characters",
            Self::X87 => "a value is passed in an x87 register",
            Self::ByReference => "a value is passed by its address",
            Self::TooManyArguments => "it has too many arguments",
            Self::TooManyPointers => "too many pointers are to be followed",
            Self::TooLong => "a record could become too long (see -s and -A)",
            Self::Descriptors => "what descriptors refer to is looked up at the call",
            Self::CodeNames => "names of code are looked up at the call, for the raw trace",
        })
    }
}
