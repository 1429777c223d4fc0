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
    sites: Vec<Site>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Site {
    /// How many calls, of all threads, are to return here.
    pending: u32,
    /// How often it was hit in vain since a call last returned here.
    strays: u32,
}

/// A site that was hit so often in vain, with no call between, is given up. A hit costs about as much as
/// taking a trap out or putting it in, so that waiting this long costs at most a few times what giving up at
/// the ideal moment would have cost.
const MAX_STRAYS: u32 = 16;

impl ReturnSites {
    /// No sites.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A call that returns to this trap has become pending, in whichever thread.
    pub fn pending(&mut self, id: TrapId) {
        let site = self.site(id);
        site.pending = site.pending.saturating_add(1);
    }

    /// A call that was to return to this trap was closed, however it ended.
    pub fn closed(&mut self, id: TrapId) {
        let site = self.site(id);
        site.pending = site.pending.saturating_sub(1);
        site.strays = 0;
    }

    /// A thread hit this trap without a pending call. A trap with calls pending in any thread is kept.
    pub fn stray(&mut self, id: TrapId) -> Verdict {
        let site = self.site(id);
        site.strays = site.strays.saturating_add(1);
        if site.strays >= MAX_STRAYS && site.pending == 0 {
            Verdict::Lift
        } else {
            Verdict::Keep
        }
    }

    /// The trap was taken out: its number may come again for another one.
    pub fn lifted(&mut self, id: TrapId) {
        *self.site(id) = Site::default();
    }

    fn site(&mut self, id: TrapId) -> &mut Site {
        if self.sites.len() <= id.index() {
            self.sites.resize(id.index() + 1, Site::default());
        }
        &mut self.sites[id.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_with_a_pending_call_is_kept_whatever_hits_it() {
        let (mut sites, id) = (ReturnSites::new(), TrapId(7));
        sites.pending(id);
        assert!((0..1000).all(|_| sites.stray(id) == Verdict::Keep));
        sites.closed(id);
        let verdicts: Vec<_> = (0..MAX_STRAYS).map(|_| sites.stray(id)).collect();
        assert_eq!(
            verdicts
                .iter()
                .filter(|&&verdict| verdict == Verdict::Lift)
                .count(),
            1
        );
        sites.lifted(id);
        assert_eq!(sites.stray(id), Verdict::Keep);
    }
}
