//! Types, lenses and prototypes as the language describes them.

use std::fmt;

use arch_abi::{Abi, CType, Float};
use serde::{Deserialize, Serialize};

/// A type in [`Types`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TypeId(u32);

/// A set of names in [`Types`]: an enumeration or a set of flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct NamesId(u32);

/// How wide an integer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Width {
    /// So many bytes everywhere.
    Bytes(u8),
    /// As wide as a general register: `long`, `size_t`.
    Word,
}

/// An integer type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Int {
    /// How wide.
    pub width: Width,
    /// Whether the highest bit is a sign.
    pub signed: bool,
    /// Whether it is shown as a character: C's plain `char`.
    pub character: bool,
}

impl Int {
    /// The size in bytes under `abi`.
    #[must_use]
    pub fn size(self, abi: &dyn Abi) -> usize {
        match self.width {
            Width::Bytes(bytes) => usize::from(bytes),
            Width::Word => abi.word_size(),
        }
    }
}

/// How a value of some type is shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Lens {
    /// Base 2.
    Bin,
    /// Base 8.
    Oct,
    /// Base 16; floating-point numbers as C's `%a`.
    Hex,
    /// Not at all.
    Hide,
    /// `true` or `false`.
    Bool,
    /// The numbers of the bits that are set.
    BitVec,
    /// A string of characters.
    Str,
    /// One of these names.
    Enum(NamesId),
    /// Some of these names, joined by `|`.
    Flags(NamesId),
    /// A file descriptor.
    Fd,
    /// A number of `errno`.
    Errno,
    /// The address of a socket.
    SockAddr,
    /// Decimal near zero, otherwise hex: what stands for a value of unknown type.
    Guess,
    /// As `Guess`; but where it is the address of printable text that ends with a zero, that text.
    GuessText,
}

/// How many elements an array has.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Length {
    /// The array ends with the first element whose bytes are all zero, which does not count.
    pub terminated: bool,
    /// The number of elements, or the most that there are before the terminator.
    pub count: Option<Expr>,
}

impl Length {
    /// Up to the terminator, however far that is.
    pub const ZERO: Self = Self {
        terminated: true,
        count: None,
    };
}

/// A member of a structure or union.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Field {
    /// Its name, where the prototype gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// Its type.
    pub ty: TypeId,
}

/// A type.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Type {
    /// Nothing.
    Void,
    /// An integer.
    Int(Int),
    /// A floating-point number.
    Float(#[serde(with = "FloatDef")] Float),
    /// A complex number.
    Complex(#[serde(with = "FloatDef")] Float),
    /// A pointer to a value.
    Pointer(TypeId),
    /// A pointer to code.
    Code,
    /// C's `va_list`, as a parameter.
    VaList,
    /// An array.
    Array {
        /// The type of its elements.
        of: TypeId,
        /// How many.
        len: Length,
    },
    /// A structure.
    Struct(Vec<Field>),
    /// A union.
    Union(Vec<Field>),
    /// A type seen through a lens.
    Lens(Lens, TypeId),
    /// Declared by `typedef NAME = struct;` and not defined.
    Opaque,
}

/// [`Float`] as files have it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Float")]
enum FloatDef {
    Single,
    Double,
    Long,
}

/// The operators of expressions, in C's meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as its operator is in C")]
pub enum Op {
    Or,
    And,
    BitOr,
    BitAnd,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

/// An expression of the language.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Expr {
    /// A number.
    Num(i64),
    /// The value of parameter so and so, counted from one.
    Arg(u8),
    /// The function's result.
    RetVal,
    /// The value of element so and so of the surrounding structure, counted from one.
    Elt(u8),
    /// A name that is not resolved yet; a parsed prototype has none.
    Name(Box<str>),
    /// What a pointer parameter points at.
    Deref(Box<Expr>),
    /// 1 where it is zero, otherwise 0.
    Not(Box<Expr>),
    /// Two operands.
    Binary(Op, Box<(Expr, Expr)>),
}

/// Which way a parameter's value goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Direction {
    /// To the callee: shown at the entry.
    #[default]
    In,
    /// From the callee: shown at the return.
    Out,
    /// Both: shown at the entry and, where it changed, again at the return.
    InOut,
}

/// A string parameter that tells what the arguments after it are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pack {
    /// scanf's conversions rather than printf's.
    pub scanf: bool,
    /// The string is of `wchar_t`.
    pub wide: bool,
    /// The arguments come by the `va_list` that is the next parameter.
    pub va_list: bool,
}

/// A parameter.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Param {
    /// Its name, where the prototype gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// Its type.
    pub ty: TypeId,
    /// Which way its value goes.
    pub direction: Direction,
    /// Whether it is a format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<Pack>,
    /// It is there only if this is not zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
}

/// When a call has failed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Failure {
    /// When it returns this value, cut to the size of its type.
    Returns(i64),
    /// When this is not zero.
    When(Expr),
}

/// A function's prototype.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Prototype {
    /// The function's name, as the symbol has it.
    pub name: Box<str>,
    /// What it returns.
    pub ret: TypeId,
    /// What it takes.
    pub params: Vec<Param>,
    /// More arguments follow, of unknown types.
    pub ellipsis: bool,
    /// It does not return.
    pub noreturn: bool,
    /// When it has failed.
    pub failure: Option<Failure>,
    /// A failed call leaves its reason in `errno`.
    pub errno: bool,
}

/// Names of values, one group of bits at a time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NameGroup {
    /// The bits that this group is about; all of them for an enumeration.
    pub mask: u64,
    /// Values and their names, in the order in which they are tried.
    pub names: Vec<(u64, Box<str>)>,
}

/// Names of values: an enumeration has one group, of all bits. A set of flags has one group for
/// each field of bits whose values have names, and one item for each flag in `flags`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Names {
    /// Fields of bits, of which one name holds.
    pub groups: Vec<NameGroup>,
    /// Flags: each is shown where all of its bits are set.
    pub flags: Vec<(u64, Box<str>)>,
}

/// All types of a library of prototypes. Ids belong to the `Types` that gave them.
#[derive(Debug, Default)]
pub struct Types {
    types: Vec<Type>,
    names: Vec<Names>,
}

impl Types {
    /// Adds a type.
    ///
    /// # Panics
    /// After 2³² types.
    pub fn add(&mut self, ty: Type) -> TypeId {
        let id = u32::try_from(self.types.len()).expect("bounded by the size of the prototype files");
        self.types.push(ty);
        TypeId(id)
    }

    /// Adds names.
    ///
    /// # Panics
    /// After 2³² sets of names.
    pub fn add_names(&mut self, names: Names) -> NamesId {
        let id = u32::try_from(self.names.len()).expect("bounded by the size of the prototype files");
        self.names.push(names);
        NamesId(id)
    }

    /// Replaces a type: how a structure that was declared is defined.
    pub fn define(&mut self, id: TypeId, ty: Type) {
        self.types[id.0 as usize] = ty;
    }

    /// The type of an id.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// The names of an id.
    #[must_use]
    pub fn names(&self, id: NamesId) -> &Names {
        &self.names[id.0 as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.types.len()
    }

    pub(super) fn since(&self, first: usize) -> &[Type] {
        &self.types[first..]
    }

    pub(super) fn since_mut(&mut self, first: usize) -> &mut [Type] {
        &mut self.types[first..]
    }

    /// The type without its lenses.
    #[must_use]
    pub fn bare(&self, mut id: TypeId) -> TypeId {
        while let Type::Lens(_, of) = self.get(id) {
            id = *of; // the parser builds lenses inside out: there is no cycle
        }
        id
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "",
            Self::Out => "+",
            Self::InOut => "inout ",
        })
    }
}

/// The deepest nesting of types that is looked into, whatever a file declares.
pub(crate) const MAX_DEPTH: usize = 64;

impl Types {
    /// The type as calling conventions see it. `None`: it is not known how large it is, such as an
    /// array whose length depends on a value, or it nests too deep.
    #[must_use]
    pub fn c_type(&self, id: TypeId, abi: &dyn Abi) -> Option<CType> {
        self.c_type_within(id, abi, &mut Budget { depth: 0, left: 4096 })
    }

    fn c_type_within(&self, id: TypeId, abi: &dyn Abi, budget: &mut Budget) -> Option<CType> {
        budget.left = budget.left.checked_sub(1)?;
        if budget.depth == MAX_DEPTH {
            return None;
        }
        budget.depth += 1;
        let found = self.c_type_inside(id, abi, budget);
        budget.depth -= 1;
        found
    }

    fn c_type_inside(&self, id: TypeId, abi: &dyn Abi, budget: &mut Budget) -> Option<CType> {
        let mut members = |fields: &[Field]| {
            fields
                .iter()
                .map(|field| self.c_type_within(field.ty, abi, budget))
                .collect::<Option<Vec<_>>>()
        };
        Some(match self.get(id) {
            Type::Void => CType::Void,
            Type::Int(int) => CType::Int(u8::try_from(int.size(abi)).ok()?),
            Type::Float(float) => CType::Float(*float),
            Type::Complex(float) => CType::Complex(*float),
            Type::Pointer(_) | Type::Code | Type::VaList => CType::Pointer,
            Type::Struct(fields) => CType::Struct(members(fields)?),
            Type::Union(fields) => CType::Union(members(fields)?),
            Type::Array {
                of,
                len:
                    Length {
                        terminated: _,
                        count: Some(Expr::Num(count)),
                    },
            } => {
                let count = u32::try_from(*count).ok()?;
                CType::Array(Box::new(self.c_type_within(*of, abi, budget)?), count)
            }
            Type::Lens(_, of) => self.c_type_within(*of, abi, budget)?,
            Type::Array { .. } | Type::Opaque => return None,
        })
    }
}

/// How much of a type may still be looked at.
struct Budget {
    depth: usize,
    left: usize,
}
