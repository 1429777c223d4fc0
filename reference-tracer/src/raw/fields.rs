//! Numbers and texts within the payload of an entry.

/// Appends fields.
pub(crate) trait Put {
    /// A number: seven bits a byte, the lowest first, the highest bit of each but the last set (DWARF, "Variable Length Data": ULEB128).
    fn number(&mut self, number: u64);
    /// Several numbers.
    fn numbers<const N: usize>(&mut self, numbers: [u64; N]) {
        for number in numbers {
            self.number(number);
        }
    }
    /// A thread or process.
    fn id(&mut self, id: i32);
    /// A text, with its length before it.
    fn text(&mut self, text: &[u8]);
}

impl Put for Vec<u8> {
    fn number(&mut self, mut number: u64) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.push(low & 0x7f);
            }
            self.push(low | 0x80);
        }
    }

    fn id(&mut self, id: i32) {
        self.number(id.unsigned_abs().into());
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.extend_from_slice(text);
    }
}

/// Takes fields from the front of a payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    /// The next number; `None` where there is none, or it is too large.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for (index, &byte) in self.0.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            let shifted = bits.checked_shl(u32::try_from(7 * index).ok()?)?;
            if shifted >> (7 * index) != bits {
                return None;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                self.0 = self.0.get(index + 1..)?;
                return Some(number);
            }
        }
        None
    }

    /// A number of a smaller type.
    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.number()?).ok()
    }

    /// A thread or process: a positive number.
    pub(crate) fn id(&mut self) -> Option<i32> {
        self.small().filter(|id| *id > 0)
    }

    /// A flag.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.small()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(text)
    }

    /// The value, if nothing is left over.
    pub(crate) fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back() {
        let mut out = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        out.numbers(numbers);
        out.text(b"text");
        out.id(42);
        let mut input = Input(&out);
        for number in numbers {
            assert_eq!(input.number(), Some(number));
        }
        assert_eq!((input.text(), input.id()), (Some(&b"text"[..]), Some(42)));
        assert_eq!(input.end(()), Some(()));
    }

    #[test]
    fn what_is_no_field_is_none() {
        assert_eq!(Input(&[]).number(), None);
        assert_eq!(Input(&[0x80]).number(), None);
        assert_eq!(Input(&[0xff; 12]).number(), None);
        assert_eq!(
            Input(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).number(),
            None
        );
        assert_eq!(Input(&[5, b'a']).text(), None);
        assert_eq!(Input(&[0]).id(), None);
        assert_eq!(Input(&[2]).flag(), None);
        assert_eq!(Input(&[0, 0]).end(()), None);
        assert_eq!(Input(&[0xff, 0xff, 3]).small::<u8>(), None);
    }
}
