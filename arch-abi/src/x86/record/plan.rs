//! What is to be recorded, checked, and what follows from it for the code.

use super::builder::Side;
use super::common::Routine;
use super::{INTS, RETURNS_SHIFT};
use crate::addr::Addr;
use crate::record::{
    Areas, CallFields, Capture, Common, Count, Length, Pointer, Recording, ReturnFields, RingLayout, Target,
    Unsupported,
};

/// Bytes before the content of a capture.
pub(super) const CAPTURE_HEAD: u64 = 2;

/// A recording that can be made.
pub(super) struct Plan<'a> {
    pub(super) common: &'a Common,
    pub(super) ring: &'a RingLayout,
    pub(super) call: &'a CallFields,
    pub(super) ret: Option<&'a ReturnFields>,
    /// The arguments that are remembered for the return, in the order of their places.
    pub(super) remembered: Vec<Pointer>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(recording: &'a Recording, common: &'a Common) -> Result<Plan<'a>, Unsupported> {
        let plan = Plan {
            common,
            ring: &common.ring,
            call: &recording.call,
            ret: recording.ret.as_ref(),
            remembered: recording.ret.as_ref().map_or_else(Vec::new, remembered),
        };
        plan.check_call()?;
        plan.check_return()?;
        Ok(plan)
    }

    /// Bytes of a call's record up to its captures.
    pub(super) fn call_fixed(&self) -> u64 {
        let call = self.call;
        let words = u64::from(call.ints) + u64::from(call.stack) + u64::from(call.floats);
        8 * (1 + u64::from(call.stamp) + u64::from(call.caller) + words)
    }

    /// The first half word of a record, its number aside.
    pub(super) fn first_half(&self, kind: u32, bytes: u64) -> u32 {
        // At most `max_record`, which fits: `check_ring`.
        let words = u32::try_from(bytes / 8).unwrap_or(0);
        words << self.ring.length_shift | kind << self.ring.kind_shift
    }

    /// The bits of a first half word that tell the call point.
    pub(super) fn id_mask(&self) -> u32 {
        (1 << self.ring.id_bits) - 1
    }

    /// Where a routine of the common code lies in an area.
    pub(super) fn routine(&self, side: Side, routine: Routine) -> Target {
        let (area, routines) = match side {
            Side::Entry => (&self.common.areas.entries, &self.common.routines[0]),
            Side::Return => (&self.common.areas.returns, &self.common.routines[1]),
        };
        let offset = routines.get(routine as usize).copied().unwrap_or(0);
        Target::Fixed(area.start.wrapping_add(offset.into()))
    }

    /// The bits that all addresses of return parts share, as an immediate to compare with the 32 bits that begin there.
    pub(super) fn returns_tag(&self) -> u32 {
        tag(self.common.areas.returns.start)
    }

    /// What is added to the thread pointer to make an owner, as an immediate: [`Areas::owner`].
    pub(super) fn owner_number(&self) -> i32 {
        self.common.areas.number().cast_signed() // 31 bits
    }

    fn check_call(&self) -> Result<(), Unsupported> {
        let call = self.call;
        let counts = call.ints <= CallFields::INTS
            && call.stack <= CallFields::STACK
            && call.floats <= CallFields::FLOATS
            && call.captures.len() <= CallFields::CAPTURES;
        let from_result = |capture: &Capture| {
            capture.pointer == Pointer::Result
                || matches!(
                    capture.length,
                    Length::Counted {
                        count: Count::Result { .. },
                        ..
                    }
                )
        };
        if !counts || call.captures.iter().any(from_result) {
            return Err(Unsupported::Fields);
        }
        self.check_captures(self.call_fixed(), &call.captures)
    }

    fn check_return(&self) -> Result<(), Unsupported> {
        let Some(ret) = self.ret else { return Ok(()) };
        let counts = ret.ints <= ReturnFields::INTS
            && ret.floats <= ReturnFields::FLOATS
            && ret.captures.len() <= ReturnFields::CAPTURES;
        if !counts {
            return Err(Unsupported::Fields);
        }
        if self.remembered.len() > ReturnFields::REMEMBERED {
            return Err(Unsupported::Remembered);
        }
        self.check_captures(return_fixed(ret), &ret.captures)
    }

    fn check_captures(&self, fixed: u64, captures: &[Capture]) -> Result<(), Unsupported> {
        if !captures.iter().all(is_possible) {
            return Err(Unsupported::Fields);
        }
        let bytes = captures
            .iter()
            .map(|capture| (CAPTURE_HEAD + u64::from(capture.length.most())).next_multiple_of(8))
            .sum::<u64>()
            + fixed;
        let most = self.ring.max_record;
        if bytes > most {
            return Err(Unsupported::TooLong { bytes, most });
        }
        Ok(())
    }
}

/// Bytes of a return's record up to its captures.
pub(super) fn return_fixed(ret: &ReturnFields) -> u64 {
    let words = u64::from(ret.ints) + u64::from(ret.errno.is_some()) + u64::from(ret.floats);
    8 * (1 + u64::from(ret.stamp) + words)
}

/// The arguments that the captures of a return name.
fn remembered(ret: &ReturnFields) -> Vec<Pointer> {
    let mut found: Vec<Pointer> = Vec::new();
    for capture in &ret.captures {
        let count = match capture.length {
            Length::Counted {
                count: Count::Int { index, .. },
                ..
            } => Pointer::Int(index),
            _ => Pointer::Result,
        };
        for value in [capture.pointer, count] {
            if value != Pointer::Result && !found.contains(&value) {
                found.push(value);
            }
        }
    }
    found
}

fn is_possible(capture: &Capture) -> bool {
    let is_int = |index: u8| usize::from(index) < INTS.len();
    let pointer = match capture.pointer {
        Pointer::Int(index) => is_int(index),
        Pointer::Stack(index) => index < CallFields::STACK,
        Pointer::Result => true,
    };
    let size = |bytes: u8| matches!(bytes, 4 | 8);
    let length = match capture.length {
        Length::Counted { count, element, .. } => {
            let count = match count {
                Count::Int { index, bytes, .. } => is_int(index) && size(bytes),
                Count::Result { bytes, .. } => size(bytes),
            };
            count && element != 0
        }
        Length::String { .. } | Length::Guess { .. } | Length::Fixed(_) => true,
    };
    pointer && length && capture.length.most() <= Length::MOST
}

/// The 32 bits of an address from where those begin that all return parts share.
pub(super) fn tag(at: Addr) -> u32 {
    let [a, b, c, d, ..] = (at.get() >> RETURNS_SHIFT).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Whether the areas are as [`Areas`] says.
pub(super) fn check_areas(areas: &Areas) -> Result<(), Unsupported> {
    let size = |range: &std::ops::Range<Addr>| {
        let bytes = range
            .end
            .offset_from(range.start)
            .filter(|bytes| bytes.is_power_of_two())?;
        range.start.get().is_multiple_of(bytes).then_some(bytes)
    };
    let entries = size(&areas.entries).filter(|bytes| (1 << 16..=1 << 30).contains(bytes));
    let returns = size(&areas.returns).filter(|&bytes| bytes == Areas::RETURNS);
    let low = areas.entries.start.min(areas.returns.start);
    let high = areas.entries.end.max(areas.returns.end);
    let near = high.offset_from(low).is_some_and(|bytes| bytes < 1 << 31);
    let apart = areas.entries.end <= areas.returns.start || areas.returns.end <= areas.entries.start;
    // Return addresses of programs have 47 bits, so that those which the tag leaves out are zero.
    let user = high.get() < 1 << 47;
    (entries.is_some() && returns.is_some() && near && apart && user)
        .then_some(())
        .ok_or(Unsupported::Areas)
}

/// Whether the layout's numbers fit into the code.
pub(super) fn check_ring(ring: &RingLayout) -> Result<(), Unsupported> {
    let offsets = [
        ring.head,
        ring.cached_limit,
        ring.data,
        ring.header,
        ring.owner,
        ring.own,
        ring.lost,
        ring.lost_told,
        ring.gave_up,
        ring.limit,
        ring.wake,
        ring.waiting,
        ring.on_full,
        ring.patience,
        ring.consumer,
        ring.beat,
        ring.asleep,
    ];
    let bits = ring.id_bits <= ring.kind_shift
        && ring.kind_shift < ring.length_shift
        && ring.length_shift < 32
        && (3..16).contains(&ring.capture_bits)
        && 1 << ring.capture_bits > Length::MOST;
    let kinds = [ring.call, ring.tail_call, ring.ret, ring.note];
    let fits = bits
        && kinds
            .iter()
            .all(|kind| *kind != 0 && kind >> (ring.length_shift - ring.kind_shift) == 0)
        && (16..=(1 << 16)).contains(&ring.max_record)
        && (ring.max_record / 8) << ring.length_shift < 1 << 32
        && ring.max_record.is_multiple_of(8);
    let mask = ring.ring_mask < 1 << 31 && (ring.ring_mask + 1).is_power_of_two();
    let ends = [
        ring.capture_whole,
        ring.capture_cut,
        ring.capture_fault,
        ring.capture_null,
    ];
    let ends = ends
        .iter()
        .all(|end| end >> (16 - ring.capture_bits.min(16)) == 0);
    let small = offsets.iter().all(|offset| offset % 8 == 0 && *offset < 4096);
    (fits && mask && ends && small && ring.wait_at_most < 1_000_000_000 && ring.drop.max(ring.spin) < 1 << 31)
        .then_some(())
        .ok_or(Unsupported::Ring)
}
