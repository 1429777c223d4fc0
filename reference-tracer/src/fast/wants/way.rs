//! Where memory lies that a value wants, and how a stub gets there.

use arch_abi::record::{Pointer, Step, Through};
use arch_abi::{Place, Source};

use super::{Moment, Reason};

/// Where captured memory lies.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) pointer: Pointer,
    pub(super) through: Through,
    /// When it is followed.
    pub(super) moment: Moment,
}

impl Way {
    pub(super) fn to(pointer: Pointer, moment: Moment) -> Self {
        Self {
            pointer,
            through: Through::NOTHING,
            moment,
        }
    }

    pub(super) fn then(self, step: Step) -> Result<Self, Reason> {
        let through = self.through.then(step).ok_or(Reason::Nested)?;
        Ok(Self { through, ..self })
    }
}

/// Where the value lies that is looked at.
#[derive(Clone, Copy)]
pub(super) enum At {
    /// In a register or on the stack: it may be followed if it is a pointer, at this moment.
    Word(Pointer, Moment),
    /// In what is captured, so many bytes from where that begins, within so many structures that pointers led to.
    Behind { way: Way, offset: u64, open: usize },
    /// In no single word, or nobody knows where.
    Inside,
}

impl At {
    /// The way to what it points at.
    pub(super) fn followed(self) -> Result<Way, Reason> {
        match self {
            Self::Word(pointer, moment) => Ok(Way::to(pointer, moment)),
            Self::Behind { way, offset, .. } => {
                way.then(Step::Word(u16::try_from(offset).map_err(|_| Reason::Nested)?))
            }
            Self::Inside => Err(Reason::Nested),
        }
    }

    /// A part of it, so many bytes from its start.
    pub(super) fn part(self, start: Option<u64>) -> Self {
        match (self, start) {
            (Self::Behind { way, offset, open }, Some(start)) => Self::Behind {
                way,
                offset: offset.saturating_add(start),
                open,
            },
            _ => Self::Inside,
        }
    }

    /// Within how many structures it lies that pointers led to.
    pub(super) fn open(self) -> usize {
        match self {
            Self::Behind { open, .. } => open,
            Self::Word(..) | Self::Inside => 0,
        }
    }

    /// When memory is looked at for it.
    pub(super) fn moments(self) -> &'static [Moment] {
        match self {
            Self::Word(_, moment) => moment.alone(),
            Self::Behind { way, .. } => way.moment.alone(),
            Self::Inside => &[Moment::Call, Moment::Return],
        }
    }
}

impl Moment {
    fn alone(self) -> &'static [Self] {
        match self {
            Self::Call => &[Self::Call],
            Self::Return => &[Self::Return],
        }
    }
}

/// The word that a pointer argument is.
pub(super) fn pointer_of(place: &Place) -> Option<Pointer> {
    let [piece] = place.pieces() else { return None };
    if piece.len != 8 || place.by_reference {
        return None;
    }
    match piece.source {
        Source::Int(index) => Some(Pointer::Int(index)),
        Source::Stack(offset) if offset >= 8 && offset % 8 == 0 => {
            u8::try_from((offset - 8) / 8).ok().map(Pointer::Stack)
        }
        _ => None,
    }
}
