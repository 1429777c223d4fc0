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
    #[inline]
    #[must_use]
    pub const fn fixed_bytes(&self) -> usize {
        (self.floats_at() + self.floats as usize) * 8
    }

    /// Where the words of integer registers and of the stack begin: after so many words of the record.
    #[inline]
    #[must_use]
    pub const fn words_at(&self) -> usize {
        1 + self.stamp as usize + self.caller as usize
    }

    /// Where those of floating-point registers begin.
    #[inline]
    #[must_use]
    pub const fn floats_at(&self) -> usize {
        self.words_at() + self.words as usize
    }
}

/// What the records of a call point hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// At the call.
    pub call: Fields,
    /// At the return. `None`: no return is recorded.
    pub ret: Option<Fields>,
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
