//! What a record of a call point holds, which the record itself does not say.

/// What a record has after its first word, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields {
    /// A time stamp: one word.
    pub stamp: bool,
    /// The return address: one word.
    pub caller: bool,
    /// Words from integer registers and from the stack.
    pub words: u8,
    /// Words from floating-point registers: the low 64 bits of each.
    pub floats: u8,
    /// How many captures of memory follow.
    pub captures: u8,
}

impl Fields {
    /// Bytes of a record up to its captures: with them, this is what every record of this shape has at least.
    #[must_use]
    pub const fn fixed_bytes(&self) -> usize {
        let before = 1 + self.stamp as usize + self.caller as usize;
        (before + self.words as usize + self.floats as usize) * 8
    }
}

/// [`Fields`], and where each begins: found once, for all records of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    fields: Fields,
    pub(crate) words_at: u16,
    pub(crate) floats_at: u16,
    /// Words before the captures.
    pub(crate) fixed: u16,
}

impl Parts {
    /// Those of records with these fields.
    #[must_use]
    pub const fn new(fields: Fields) -> Parts {
        // At most 3 + 255 + 255 words.
        let words_at = 1 + fields.stamp as u16 + fields.caller as u16;
        let floats_at = words_at + fields.words as u16;
        Parts {
            fields,
            words_at,
            floats_at,
            fixed: floats_at + fields.floats as u16,
        }
    }
}

impl Default for Parts {
    fn default() -> Parts {
        Parts::new(Fields::default())
    }
}

impl std::ops::Deref for Parts {
    type Target = Fields;

    #[inline]
    fn deref(&self) -> &Fields {
        &self.fields
    }
}

/// What the records of a call point hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// At the call.
    pub call: Parts,
    /// At the return. `None`: no return is recorded.
    pub ret: Option<Parts>,
}

impl Shape {
    /// Of calls with these fields; and of returns, if they are recorded.
    #[must_use]
    pub const fn new(call: Fields, ret: Option<Fields>) -> Shape {
        Shape {
            call: Parts::new(call),
            ret: match ret {
                Some(ret) => Some(Parts::new(ret)),
                None => None,
            },
        }
    }
}

/// The shapes of all call points, by id.
///
/// It belongs to the reader: shared memory says which id, never what that means.
pub trait Shapes {
    /// The shape of a call point's records, if there is such a call point.
    fn shape(&self, id: u32) -> Option<&Shape>;
}

impl Shapes for [Shape] {
    #[inline]
    fn shape(&self, id: u32) -> Option<&Shape> {
        self.get(usize::try_from(id).ok()?)
    }
}

impl Shapes for Vec<Shape> {
    #[inline]
    fn shape(&self, id: u32) -> Option<&Shape> {
        self.as_slice().shape(id)
    }
}
