//! What prototypes are made of that nobody wrote down: those derived from debug information, from names and from code, and that of a
//! function of which nothing is known.

use super::types::{Direction, Int, Length, Lens, Param, Prototype, Type, TypeId, Types, Width};

impl Prototype {
    /// A function that takes these parameters and no more. Nothing is known of its failures, and it returns.
    pub(crate) fn new(name: &str, ret: TypeId, params: Vec<Param>) -> Self {
        Self {
            name: name.into(),
            ret,
            params,
            ellipsis: false,
            noreturn: false,
            failure: None,
            errno: false,
        }
    }
}

impl Param {
    /// A parameter of this type that goes to the callee, without a name.
    pub(crate) fn new(ty: TypeId) -> Self {
        Self {
            name: None,
            ty,
            direction: Direction::In,
            pack: None,
            when: None,
        }
    }
}

impl Type {
    /// A number.
    pub(crate) const fn int(width: Width, signed: bool) -> Self {
        Self::Int(Int {
            width,
            signed,
            character: false,
        })
    }

    /// A character of so many bytes: C's `char` and `wchar_t`.
    pub(crate) const fn character(bytes: u8) -> Self {
        Self::Int(Int {
            width: Width::Bytes(bytes),
            signed: true,
            character: true,
        })
    }
}

impl Types {
    /// A word that may be anything, seen through `lens`, which guesses by its value what it is.
    pub(crate) fn word(&mut self, lens: Lens) -> TypeId {
        let word = self.add(Type::int(Width::Word, true));
        self.add(Type::Lens(lens, word))
    }

    /// A pointer that is shown as an address.
    pub(crate) fn address(&mut self) -> TypeId {
        let void = self.add(Type::Void);
        self.add(Type::Pointer(void))
    }

    /// A pointer to a string of characters of so many bytes.
    pub(crate) fn string(&mut self, width: u8, len: Length) -> TypeId {
        let of = self.add(Type::character(width));
        let array = self.add(Type::Array { of, len });
        let pointer = self.add(Type::Pointer(array));
        self.add(Type::Lens(Lens::Str, pointer))
    }

    /// A pointer to a `std::string` of libstdc++, whose first word, in either of its layouts, points at text that a zero ends.
    pub(crate) fn std_string(&mut self) -> TypeId {
        let text = self.string(1, Length::ZERO);
        self.add(Type::Pointer(text))
    }
}
