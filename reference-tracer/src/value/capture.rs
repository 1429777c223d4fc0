//! Which memory a call's values want, so that one vectored read gets it all.

use arch_abi::Addr;

use super::decode::MAX_VALUE;
use super::frame::Frame;
use super::{Limits, RawCall, RawReturn, guess, sockaddr};
use crate::memory::{NoMemory, Snapshot};
use crate::proto::{Direction, Length, Lens, Plan, Type, TypeId, Types};

/// How far a format is read ahead.
const FORMAT: usize = 256;

/// Asks `snapshot` for the memory that showing `call` at its entry wants. The snapshot is cleared.
pub fn wants_at_entry(types: &Types, plan: &Plan, call: &RawCall, limits: Limits, snapshot: &mut Snapshot) {
    snapshot.clear();
    let frame = Frame {
        types,
        plan,
        call,
        ret: None,
    };
    for index in 0..super::show::shown_at_entry(types, plan) {
        want_param(&frame, index, limits, snapshot);
    }
    let later = super::show::shown_at_entry(types, plan)..plan.params.len();
    for index in later.filter(|&index| super::show::is_gone_at_return(&plan.params[index].param)) {
        want_param(&frame, index, limits, snapshot);
    }
}

/// Asks `snapshot` for the memory that showing the return of `call` wants. The snapshot is cleared.
pub fn wants_at_return(
    types: &Types,
    plan: &Plan,
    call: &RawCall,
    ret: &RawReturn,
    limits: Limits,
    snapshot: &mut Snapshot,
) {
    snapshot.clear();
    let frame = Frame {
        types,
        plan,
        call,
        ret: Some(ret),
    };
    let failed = frame.failed(&NoMemory);
    for index in super::show::first_at_return(types, plan)..plan.params.len() {
        if !(failed && plan.params[index].param.direction == Direction::Out) {
            want_param(&frame, index, limits, snapshot);
        }
    }
    let Some(place) = &plan.ret else { return };
    let Some(word) = place.fetch_word(&frame.returned()) else {
        return;
    };
    if place.by_reference {
        snapshot.want(
            Addr::new(word),
            usize::try_from(place.size.min(MAX_VALUE)).unwrap_or(0),
        );
    } else {
        want(&frame, plan.prototype.ret, word, limits, snapshot);
    }
}

fn want_param(frame: &Frame<'_>, index: usize, limits: Limits, snapshot: &mut Snapshot) {
    let planned = &frame.plan.params[index];
    let Some(place) = planned
        .place
        .as_ref()
        .filter(|place| !place.by_reference && !place.needs_fp())
    else {
        return;
    };
    let Some(word) = place.fetch_word(&frame.call.captured()) else {
        return;
    };
    if planned.param.pack.is_some() {
        let at = Addr::new(word);
        if word != 0 {
            snapshot.want(at, FORMAT.min(to_page_end(at)));
        }
        return;
    }
    want(frame, planned.param.ty, word, limits, snapshot);
}

/// Asks for what a pointer of type `ty` and value `word` points at.
fn want(frame: &Frame<'_>, ty: TypeId, word: u64, limits: Limits, snapshot: &mut Snapshot) {
    let types = frame.types;
    if matches!(types.get(ty), Type::Lens(Lens::GuessText, _)) && guess::may_be_address(word) {
        let at = Addr::new(word);
        return snapshot.want(at, guess::LOOK.min(to_page_end(at)));
    }
    let is_string = matches!(types.get(ty), Type::Lens(Lens::Str, _));
    let pointee = match types.get(types.bare(ty)) {
        Type::Pointer(of) => *of,
        Type::Array { .. } => types.bare(ty),
        _ => return,
    };
    let around = frame.with(None, &NoMemory);
    if word == 0 || matches!(types.get(ty), Type::Lens(Lens::Hide, _)) {
        return;
    }
    let at = Addr::new(word);
    let (element, len) = match types.get(types.bare(pointee)) {
        Type::Array { of, len } => (*of, len),
        Type::Void | Type::Opaque => return,
        _ if is_string => (pointee, &Length::ZERO),
        _ => {
            let size = around
                .layout(pointee)
                .map_or(0, |layout| layout.size.min(MAX_VALUE));
            return snapshot.want(at, usize::try_from(size).unwrap_or(0));
        }
    };
    let Some(count) = around.count(len) else { return };
    let Some(size) = around
        .layout(element)
        .and_then(|layout| usize::try_from(layout.size).ok())
    else {
        return;
    };
    let limit = match types.get(ty) {
        Type::Lens(Lens::SockAddr, _) => sockaddr::MAX_LEN,
        _ if is_string => limits.string,
        _ => limits.array,
    };
    let bytes = count.min(limit.saturating_add(1)).saturating_mul(size);
    // What has an end may end before the page does, and then the next one is not needed.
    let bytes = if len.terminated {
        bytes.min(to_page_end(at))
    } else {
        bytes
    };
    snapshot.want(at, bytes.min(Snapshot::MAX_LEN / 4));
}

/// How many bytes there are from `at` to the end of its page; pages are at least 4 KiB.
pub(super) fn to_page_end(at: Addr) -> usize {
    4096 - usize::try_from(at.get() % 4096).unwrap_or(0)
}
