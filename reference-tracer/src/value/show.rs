//! A call's arguments and result as text: what is shown when.

use std::ops::Range;

use super::decode::{Inherited, Span, Walk};
use super::emit::{Emit, Text, Value};
use super::frame::Frame;
use super::{Decoder, RawCall, RawReturn, Scratch, pack};
use crate::memory::TargetMemory;
use crate::proto::{Direction, Lens, Param, Plan, Type, Types};

/// How far a call was shown at its entry; [`Decoder::exit`] goes on from there.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Whether an argument was shown, so that the next one follows a comma.
    any: bool,
    /// Whether nothing is left for the return.
    complete: bool,
    /// The texts that were made at the entry and are shown at the return.
    held: Vec<u8>,
    /// Which of them is which parameter's.
    parts: Vec<Held>,
}

/// A parameter's text as it was at the entry.
#[derive(Clone, Debug)]
struct Held {
    param: usize,
    text: Range<usize>,
    /// Whether the next parameter is in it, too.
    with_next: bool,
}

impl Shown {
    /// Whether nothing of the arguments is left to show at the return.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// The text of a parameter at the entry, if it was kept, and whether the next one is in it.
    fn at_entry(&self, param: usize) -> Option<(&[u8], bool)> {
        let held = self.parts.iter().find(|held| held.param == param)?;
        Some((self.held.get(held.text.clone())?, held.with_next))
    }
}

/// How many parameters are shown at the entry: all before the first that is known only at the
/// return, and an in-out parameter itself.
pub(super) fn shown_at_entry(types: &Types, plan: &Plan) -> usize {
    let last = plan
        .params
        .iter()
        .position(|param| stops_after(&param.param))
        .map(|index| index + 1);
    let before = plan
        .params
        .iter()
        .position(|param| param.param.direction == Direction::Out || types.mentions_retval(param.param.ty));
    last.unwrap_or(plan.params.len())
        .min(before.unwrap_or(plan.params.len()))
}

fn stops_after(param: &Param) -> bool {
    param.direction == Direction::InOut || param.pack.is_some_and(|pack| pack.scanf)
}

/// Whether what it was is to be kept where it is shown at the return: the callee changes it, or uses up the arguments of its
/// `va_list` (C, "The `va_arg` macro": after the call the list's value is indeterminate).
pub(super) fn is_gone_at_return(param: &Param) -> bool {
    param.direction == Direction::InOut || param.pack.is_some_and(|pack| pack.va_list && !pack.scanf)
}

/// The first parameter of which something is shown at the return.
pub(crate) fn first_at_return(types: &Types, plan: &Plan) -> usize {
    let count = shown_at_entry(types, plan);
    let unfinished = count > 0 && stops_after(&plan.params[count - 1].param);
    count - usize::from(unfinished)
}

/// Whether a call failed, with its reason in `errno`, as its prototype says: then it is worth reading
/// for [`RawReturn::errno`].
#[must_use]
pub fn wants_errno(
    types: &Types,
    plan: &Plan,
    call: &RawCall,
    ret: &RawReturn,
    memory: &dyn TargetMemory,
) -> bool {
    plan.prototype.errno && has_failed(types, plan, call, ret, memory)
}

/// Whether a call failed, as its prototype says.
#[must_use]
pub fn has_failed(
    types: &Types,
    plan: &Plan,
    call: &RawCall,
    ret: &RawReturn,
    memory: &dyn TargetMemory,
) -> bool {
    let frame = Frame {
        types,
        plan,
        call,
        ret: Some(ret),
    };
    frame.failed(memory)
}

impl Decoder<'_> {
    /// Appends the arguments that are known at the entry, without parentheses.
    pub fn entry(
        &self,
        plan: &Plan,
        call: &RawCall,
        shown: &mut Shown,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) {
        let frame = Frame {
            types: self.types,
            plan,
            call,
            ret: None,
        };
        let count = shown_at_entry(self.types, plan);
        shown.held.clear();
        shown.parts.clear();
        shown.any = false;
        shown.complete = count == plan.params.len() && first_at_return(self.types, plan) == count;
        let mut skip = false;
        for index in 0..count {
            if !std::mem::take(&mut skip) && self.is_there(&frame, index) {
                comma(&mut shown.any, out);
                let text = out.len();
                self.param(&frame, index, scratch, out);
                skip = self.pack_args(&frame, index, &mut shown.any, scratch, out);
                if plan.params[index].param.direction == Direction::InOut {
                    hold(shown, index, &out[text..]);
                }
            }
        }
        for index in count..plan.params.len() {
            if is_gone_at_return(&plan.params[index].param) && self.is_there(&frame, index) {
                let mut held = std::mem::take(&mut shown.held);
                let start = held.len();
                self.param(&frame, index, scratch, &mut held);
                let with_next = self.pack_args(&frame, index, &mut true, scratch, &mut held);
                shown.parts.push(Held {
                    param: index,
                    text: start..held.len(),
                    with_next,
                });
                shown.held = held;
            }
        }
    }

    /// Appends the arguments that are known only at the return, with a leading `, ` where it is due,
    /// to `args`, and the result to `result`.
    #[allow(clippy::too_many_arguments, reason = "each is a different thing of one call")]
    pub fn exit(
        &self,
        plan: &Plan,
        call: &RawCall,
        ret: &RawReturn,
        shown: &Shown,
        scratch: &mut Scratch,
        args: &mut Vec<u8>,
        result: &mut Vec<u8>,
    ) {
        let frame = Frame {
            types: self.types,
            plan,
            call,
            ret: Some(ret),
        };
        let failed = frame.failed(self.memory);
        if !shown.complete {
            self.rest(&frame, shown, failed, scratch, args);
        }
        self.result(&frame, scratch, result);
        if let (true, true, Some(errno)) = (failed, plan.prototype.errno, ret.errno) {
            super::errno::write(errno, result);
        }
    }

    fn rest(&self, frame: &Frame<'_>, shown: &Shown, failed: bool, scratch: &mut Scratch, out: &mut Vec<u8>) {
        let count = shown_at_entry(self.types, frame.plan);
        let (mut any, mut skip) = (shown.any, false);
        for index in first_at_return(self.types, frame.plan)..frame.plan.params.len() {
            if std::mem::take(&mut skip) || !self.is_there(frame, index) {
                continue;
            }
            let direction = frame.plan.params[index].param.direction;
            if index >= count {
                comma(&mut any, out);
                match (direction, shown.at_entry(index)) {
                    (Direction::Out, _) if failed => self.as_pointer(frame, index, scratch, out),
                    (Direction::InOut, Some((held, _))) => out.extend_from_slice(held),
                    (Direction::In, Some((held, with_next))) => {
                        out.extend_from_slice(held);
                        skip = with_next;
                        continue;
                    }
                    _ => self.param(frame, index, scratch, out),
                }
            }
            if direction == Direction::InOut && !failed {
                self.change(frame, index, shown, scratch, out);
            }
            skip = self.pack_args(frame, index, &mut any, scratch, out);
        }
    }

    /// ` => NEW`, where an in-out parameter is not what it was.
    fn change(
        &self,
        frame: &Frame<'_>,
        index: usize,
        shown: &Shown,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) {
        const ARROW: &[u8] = b" => ";
        let start = out.len();
        out.extend_from_slice(ARROW);
        self.param(frame, index, scratch, out);
        if shown
            .at_entry(index)
            .is_some_and(|(held, _)| *held == out[start + ARROW.len()..])
        {
            out.truncate(start);
        }
    }

    /// Whether a parameter is there, and shown.
    fn is_there(&self, frame: &Frame<'_>, index: usize) -> bool {
        let param = &frame.plan.params[index].param;
        let hidden = matches!(self.types.get(param.ty), Type::Lens(Lens::Hide, _));
        let there = param
            .when
            .as_ref()
            .is_none_or(|when| when.eval(&frame.with(None, self.memory)) != Some(0));
        there && !hidden
    }

    fn param(&self, frame: &Frame<'_>, index: usize, scratch: &mut Scratch, out: &mut Vec<u8>) {
        let mut text = Text::new(out);
        let mut walk = Walk::new(self, frame, &mut text, scratch);
        let planned = &frame.plan.params[index];
        match &planned.place {
            Some(place) => walk.placed(planned.param.ty, place, false),
            None => walk.emit.value(Value::Unknown),
        }
    }

    /// An argument that the failed callee has not filled, as a number.
    fn as_pointer(&self, frame: &Frame<'_>, index: usize, scratch: &mut Scratch, out: &mut Vec<u8>) {
        let planned = &frame.plan.params[index];
        let is_pointer = matches!(
            self.types.get(self.types.bare(planned.param.ty)),
            Type::Pointer(_) | Type::Array { .. }
        );
        let word = planned
            .place
            .as_ref()
            .and_then(|place| place.fetch_word(&frame.call.captured()));
        match word {
            Some(word) if is_pointer => Text::new(out).value(Value::Pointer(arch_abi::Addr::new(word))),
            _ => self.param(frame, index, scratch, out),
        }
    }

    /// What a format asks for. `true`: the parameter after it is its `va_list`, and was shown so.
    fn pack_args(
        &self,
        frame: &Frame<'_>,
        index: usize,
        any: &mut bool,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(kind) = frame.plan.params[index].param.pack else {
            return false;
        };
        if kind.scanf && frame.ret.is_none() {
            return false; // nothing is there yet; the return shows it
        }
        let mut text = Text::new(out);
        let mut walk = Walk::new(self, frame, &mut text, scratch);
        let mut format = std::mem::take(&mut walk.scratch.format);
        let args = pack::parse(&mut walk, index, kind, &mut format);
        if let Some(args) = &args {
            pack::show(&mut walk, index, kind, args, any);
        }
        scratch.format = format;
        args.is_some() && kind.va_list
    }

    fn result(&self, frame: &Frame<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) {
        let mut text = Text::new(out);
        let mut walk = Walk::new(self, frame, &mut text, scratch);
        let ty = frame.plan.prototype.ret;
        match &frame.plan.ret {
            _ if *self.types.get(ty) == Type::Void => {
                walk.value(ty, Span { start: 0, len: 0 }, Inherited::default());
            }
            Some(place) => walk.placed(ty, place, true),
            None => walk.emit.value(Value::Unknown),
        }
    }
}

fn hold(shown: &mut Shown, param: usize, text: &[u8]) {
    let start = shown.held.len();
    shown.held.extend_from_slice(text);
    shown.parts.push(Held {
        param,
        text: start..shown.held.len(),
        with_next: false,
    });
}

/// A comma before the next argument of a format.
pub(super) fn comma_before(any: &mut bool, walk: &mut Walk<'_, '_>) {
    if std::mem::replace(any, true) {
        walk.emit.separator();
    }
}

fn comma(any: &mut bool, out: &mut Vec<u8>) {
    if std::mem::replace(any, true) {
        out.extend_from_slice(b", ");
    }
}
