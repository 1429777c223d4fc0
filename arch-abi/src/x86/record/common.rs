//! The code that stubs share, at the start of each area.

use super::builder::{Builder, Made, Side};
use super::{routines, slow, unwind};
use crate::record::{Areas, Common, Part, RingLayout, Target, Unsupported};

/// What a stub jumps to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Routine {
    Slow,
    String,
    Guess,
    Fixed,
    Counted,
    Unreadable,
    Null,
    /// A `ret`.
    Ret,
}

/// Makes it.
pub(super) fn common(areas: &Areas, ring: &RingLayout) -> Result<Common, Unsupported> {
    let (mut entries, of_entries) = code(Side::Entry, areas, ring)?;
    let (returns, of_returns) = code(Side::Return, areas, ring)?;
    let tables = unwind::tables(areas, entries.bytes.len());
    entries.bytes.extend(&tables.bytes);
    let ret = of_entries.get(Routine::Ret as usize).copied().unwrap_or(0);
    let ret = Target::Fixed(areas.entries.start.wrapping_add(ret.into()));
    Ok(Common {
        hooks: unwind::hooks(areas, &tables, ret)?,
        areas: areas.clone(),
        ring: ring.clone(),
        entries,
        returns,
        routines: [of_entries, of_returns],
    })
}

/// The code for one area, and where in it the routines are, in their order.
fn code(side: Side, areas: &Areas, ring: &RingLayout) -> Made<(Part, Vec<u32>)> {
    let mut b = Builder::new(side)?;
    let slow = slow::write(&mut b, ring)?;
    let routines = routines::write(&mut b, areas.zones(), ring)?;
    let ret = b.here()?;
    b.asm.ret()?;
    let labels = [
        slow,
        routines.string,
        routines.guess,
        routines.fixed,
        routines.counted,
        routines.unreadable,
        routines.null,
        ret,
    ];
    let built = b.finish()?;
    let offsets = labels.map(|label| built.offset(label)).to_vec();
    Ok((built.part, offsets))
}
