//! Which return traps are worth their place.

use crate::TrapId;

/// What to do with a return trap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Leave it in.
    Keep,
    /// It costs more than it gives: take it out, and put it in again at the next call from there.
    Lift,
}

/// How often return traps are hit with and without a pending call.
///
/// A return trap stays in after its call has returned, because a call site mostly calls again. Where the
/// code is reached far more often without a traced call, it should be taken out in between.
#[derive(Clone, Debug, Default)]
pub struct ReturnSites {
    sites: Vec<(u32, u32)>,
}

impl ReturnSites {
    /// No sites.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A call that returns to this trap has become pending, in whichever thread.
    pub fn pending(&mut self, id: TrapId) {
        todo!()
    }

    /// A call that was to return to this trap was closed.
    pub fn closed(&mut self, id: TrapId) {
        todo!()
    }

    /// A thread hit this trap without a pending call.
    pub fn stray(&mut self, id: TrapId) -> Verdict {
        todo!()
    }

    /// The trap was taken out.
    pub fn lifted(&mut self, id: TrapId) {
        todo!()
    }
}
