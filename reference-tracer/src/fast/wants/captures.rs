//! The list of what a stub captures.

use arch_abi::record::{CallFields, Capture, Count, Length, Pointer, ReturnFields};

use super::way::Way;
use super::{Builder, Moment, Reason};

impl Builder<'_> {
    /// Wants a piece of memory, once. What lies on the way to it must be wanted before.
    pub(super) fn capture(&mut self, way: Way, length: Length) -> Result<(), Reason> {
        let Way {
            pointer,
            through,
            moment,
        } = way;
        let capture = Capture {
            pointer,
            through,
            length,
        };
        if length == Length::Fixed(0) || (moment == Moment::Return && !self.returns) {
            return Ok(());
        }
        if moment == Moment::Return && self.remembered(Some(pointer), None) > ReturnFields::REMEMBERED {
            return Err(Reason::TooManyPointers);
        }
        let (captures, most) = match moment {
            Moment::Call => (&mut self.call.captures, CallFields::CAPTURES),
            Moment::Return => (&mut self.ret.captures, ReturnFields::CAPTURES),
        };
        if captures.iter().any(|known| covers(known, &capture)) {
            return Ok(());
        }
        // What takes another's place is found before all that lies behind it, as that was.
        let place = captures.iter().position(|known| covers(&capture, known));
        captures.retain(|known| !covers(&capture, known));
        captures.insert(place.unwrap_or(captures.len()), capture);
        if captures.len() > most {
            return Err(Reason::TooManyPointers);
        }
        Ok(())
    }

    /// How many words of the call the return needs, with one more pointer or count.
    pub(super) fn remembered(&self, pointer: Option<Pointer>, count: Option<Count>) -> usize {
        let counts = self
            .ret
            .captures
            .iter()
            .filter_map(|capture| match capture.length {
                Length::Counted { count, .. } => Some(count),
                _ => None,
            });
        let counts = counts.chain(count).filter_map(|count| match count {
            Count::Int { index, .. } => Some(Pointer::Int(index)),
            Count::Result { .. } => None,
        });
        let pointers = self
            .ret
            .captures
            .iter()
            .map(|capture| capture.pointer)
            .chain(pointer);
        let mut words: Vec<Pointer> = Vec::new();
        for word in pointers
            .filter(|pointer| *pointer != Pointer::Result)
            .chain(counts)
        {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words.len()
    }
}

/// Whether what one captures is there when the other is captured.
fn covers(has: &Capture, wants: &Capture) -> bool {
    let enough = match (has.length, wants.length) {
        (Length::Fixed(has), Length::Fixed(wants))
        | (Length::String { most: has }, Length::String { most: wants }) => has >= wants,
        (has, wants) => has == wants,
    };
    has.pointer == wants.pointer && has.through == wants.through && enough
}
