//! Where a call's arguments and its result lie: C types as calling conventions see them, and the
//! places that an ABI gives them.
//!
//! [`Abi::place_arg`] and [`Abi::place_return`] are the only questions; [`layout`] asks them for a
//! whole signature. Nothing here reads a process: a [`Place`] says which registers and which bytes
//! of the stack hold a value, and [`Place::fetch`] takes them out of what was captured.

use crate::abi::Abi;

/// A floating-point format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Float {
    /// `float`: IEEE 754 binary32.
    Single,
    /// `double`: IEEE 754 binary64.
    Double,
    /// `long double`, in whatever format the ABI gives it; on x86 the 80-bit extended format.
    Long,
}

/// A C type, as far as calling conventions tell types apart.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CType {
    /// No value.
    Void,
    /// An integer, `_Bool` or enumeration of 1, 2, 4, 8 or 16 bytes.
    Int(u8),
    /// A pointer of any kind.
    Pointer,
    /// A floating-point number.
    Float(Float),
    /// A `_Complex` number: real part, then imaginary part.
    Complex(Float),
    /// A structure with these members, in order.
    Struct(Vec<CType>),
    /// A union of these members.
    Union(Vec<CType>),
    /// An array within a structure. (As a parameter it is a pointer.)
    Array(Box<CType>, u32),
}

/// Size and alignment in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The size, a multiple of the alignment.
    pub size: u64,
    /// The alignment, a power of two.
    pub align: u64,
}

/// Where one piece of a value lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// At the start of integer argument (or return) register number so and so.
    Int(u8),
    /// At the start of vector argument (or return) register number so and so.
    Vector(u8),
    /// In x87 register st(n).
    X87(u8),
    /// So many bytes above the stack pointer as it is at the function's entry.
    Stack(u32),
}

/// A piece of a value: `len` bytes of it, from byte `at` of the value, and where they lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Where the bytes are.
    pub source: Source,
    /// The offset of these bytes in the value.
    pub at: u32,
    /// How many bytes.
    pub len: u32,
}

/// The most pieces that a value comes in (`AArch64`'s homogeneous aggregates: four).
const MAX_PIECES: usize = 4;

/// Where a value lies, all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pieces: [Piece; MAX_PIECES],
    count: u8,
    /// The size of the value in bytes.
    pub size: u64,
    /// The pieces make up the *address* of the value, which lies in memory.
    pub by_reference: bool,
}

impl Place {
    const NOTHING: Piece = Piece {
        source: Source::Stack(0),
        at: 0,
        len: 0,
    };

    /// The place of a value that takes none, such as an empty structure.
    #[must_use]
    pub const fn nowhere() -> Self {
        Self {
            pieces: [Self::NOTHING; MAX_PIECES],
            count: 0,
            size: 0,
            by_reference: false,
        }
    }

    /// A value of `size` bytes made of `pieces`, at most four.
    ///
    /// # Panics
    /// There are more pieces than any ABI makes.
    #[must_use]
    pub fn of(size: u64, pieces: &[Piece]) -> Self {
        let mut place = Self {
            size,
            ..Self::nowhere()
        };
        place.pieces[..pieces.len()].copy_from_slice(pieces);
        place.count = u8::try_from(pieces.len()).expect("at most four pieces");
        place
    }

    /// A value of `size` bytes in memory, whose address is the `word` bytes at `source`.
    #[must_use]
    pub fn behind(size: u64, source: Source, word: u32) -> Self {
        Self {
            by_reference: true,
            ..Self::of(
                size,
                &[Piece {
                    source,
                    at: 0,
                    len: word,
                }],
            )
        }
    }

    /// The pieces, in the order of their bytes in the value.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces[..usize::from(self.count)]
    }

    /// Whether [`fetch`](Self::fetch) wants the floating-point registers.
    #[must_use]
    pub fn needs_fp(&self) -> bool {
        self.pieces()
            .iter()
            .any(|piece| matches!(piece.source, Source::Vector(_) | Source::X87(_)))
    }

    /// How many bytes from the stack pointer on [`fetch`](Self::fetch) wants; zero for none.
    #[must_use]
    pub fn needs_stack(&self) -> u32 {
        let end = |piece: &Piece| match piece.source {
            Source::Stack(offset) => offset.saturating_add(piece.len),
            _ => 0,
        };
        self.pieces().iter().map(end).max().unwrap_or(0)
    }

    /// How many bytes [`fetch`](Self::fetch) makes: the value, or its address.
    #[must_use]
    pub fn fetched_len(&self) -> usize {
        self.pieces()
            .iter()
            .map(|piece| (piece.at + piece.len) as usize)
            .max()
            .unwrap_or(0)
    }

    /// Appends the value's bytes to `out`: where [`by_reference`](Self::by_reference), its
    /// address. `None`, and `out` unchanged, where `from` does not hold all of them.
    pub fn fetch(&self, from: &Captured<'_>, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        out.resize(start + self.fetched_len(), 0);
        for piece in self.pieces() {
            let at = start + piece.at as usize;
            let target = &mut out[at..at + piece.len as usize];
            if from.read(piece.source, target).is_none() {
                out.truncate(start);
                return None;
            }
        }
        Some(())
    }

    /// The value's first bytes as a little-endian word, zero-extended, or its address where
    /// [`by_reference`](Self::by_reference): what integers and pointers need. `None` where `from`
    /// does not hold them.
    #[must_use]
    pub fn fetch_word(&self, from: &Captured<'_>) -> Option<u64> {
        let piece = self.pieces().first()?;
        let mut word = [0; 8];
        let len = word.len().min(piece.len as usize);
        from.read(piece.source, &mut word[..len])?;
        Some(u64::from_le_bytes(word))
    }
}

/// What was captured of a thread at a call's entry, or at its return.
#[derive(Clone, Copy, Debug, Default)]
pub struct Captured<'a> {
    /// The integer argument registers at an entry, the integer return registers at a return.
    pub ints: &'a [u64],
    /// The floating-point registers.
    pub fp: Option<&'a crate::FpRegs>,
    /// The bytes from the stack pointer on.
    pub stack: &'a [u8],
}

impl Captured<'_> {
    /// Fills `buf` from `source`; `None` where that was not captured or is shorter.
    fn read(&self, source: Source, buf: &mut [u8]) -> Option<()> {
        match source {
            Source::Int(index) => {
                let word = self.ints.get(usize::from(index))?.to_le_bytes();
                buf.copy_from_slice(word.get(..buf.len())?);
            }
            Source::Vector(index) => buf.copy_from_slice(self.fp?.vector(index)?.get(..buf.len())?),
            Source::X87(index) => buf.copy_from_slice(self.fp?.x87(index)?.get(..buf.len())?),
            Source::Stack(offset) => {
                let start = offset as usize;
                buf.copy_from_slice(self.stack.get(start..start.checked_add(buf.len())?)?);
            }
        }
        Some(())
    }
}

/// How far the arguments placed so far reach: the ABI's registers and stack that are taken.
///
/// It is a value: keep a copy to go on with variadic arguments once their types are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ArgCursor {
    /// Integer argument registers taken.
    pub ints: u8,
    /// Vector argument registers taken.
    pub vectors: u8,
    /// The offset from the entry's stack pointer at which the next stack argument may lie.
    pub stack: u32,
}

/// Where a `va_list` stands. [`Abi::va_start`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VaCursor {
    /// The next integer in the register save area, and that area's end for integers.
    pub ints: (u64, u64),
    /// The next floating-point number in the register save area, and its end.
    pub vectors: (u64, u64),
    /// The next argument on the stack.
    pub stack: u64,
}

/// A function's types.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// What it returns.
    pub ret: CType,
    /// What it takes, without its variadic arguments.
    pub params: Vec<CType>,
}

/// Where a call's arguments and its result lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallLayout {
    /// One place for each parameter.
    pub args: Vec<Place>,
    /// The result, in the registers of the moment after the return.
    pub ret: Place,
    /// Where the address of a result in memory is passed, at the entry.
    pub hidden: Option<Place>,
    /// Where the next (variadic) argument goes.
    pub rest: ArgCursor,
}

impl CallLayout {
    /// Whether fetching the arguments wants the floating-point registers.
    #[must_use]
    pub fn args_need_fp(&self) -> bool {
        self.args.iter().any(Place::needs_fp)
    }

    /// How many bytes from the entry's stack pointer on fetching the arguments wants.
    #[must_use]
    pub fn args_need_stack(&self) -> u32 {
        self.args.iter().map(Place::needs_stack).max().unwrap_or(0)
    }
}

/// Where the arguments and the result of a function of this signature lie under `abi`.
#[must_use]
pub fn layout(abi: &dyn Abi, signature: &Signature) -> CallLayout {
    let mut cursor = abi.first_arg();
    let (ret, hidden) = abi.place_return(&signature.ret, &mut cursor);
    let args = signature
        .params
        .iter()
        .map(|param| abi.place_arg(param, &mut cursor))
        .collect();
    CallLayout {
        args,
        ret,
        hidden,
        rest: cursor,
    }
}
