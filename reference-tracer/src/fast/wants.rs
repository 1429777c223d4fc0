//! What a stub must record so that a call can be shown, or why it can't.
//!
//! A [`Plan`] is looked at once: which registers hold its values, and which memory [`Decoder`](crate::value::Decoder) would read for
//! them. What a pointer leads to is captured by the stub, across two more pointers at most; what lies deeper is not, and the trap engine
//! serves that call point.
//!
//! An argument that goes to the callee only is captured at the call, also where it is shown at the return.

mod captures;
mod counts;
mod formats;
mod memory;
mod reason;
mod way;

#[cfg(test)]
mod tests;

use arch_abi::{Arch, Place, Source};
use fast_ring::{Fields, Shape};

use crate::points::Returns;
use crate::proto::{Direction, Lens, Plan, PlannedParam, Type, Types};
use crate::value::Limits;
use arch_abi::record::{CallFields, Capture, Recording, ReturnFields};
pub use reason::Reason;

/// Which times are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stamps {
    /// None.
    #[default]
    None,
    /// That of the call: lines show when.
    Call,
    /// Those of the call and of the return: how long it took.
    Both,
}

/// What is wanted of the calls of one call point.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The types of the plan.
    pub types: &'a Types,
    /// How its calls are shown.
    pub plan: &'a Plan,
    /// Bounds of what is shown.
    pub limits: Limits,
    /// How the callee returns.
    pub returns: Returns,
    /// Whether calls are shown, and not only counted.
    pub lines: bool,
    /// Which times.
    pub stamps: Stamps,
    /// Whether return addresses are shown.
    pub caller: bool,
    /// Where `errno` lies from the thread pointer on, where that is known.
    pub errno: Option<i32>,
    /// Whether file descriptors are shown with what they refer to.
    pub fd_paths: bool,
    /// The longest record, in bytes.
    pub max_record: usize,
}

/// What is wanted of a call point's records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wants {
    /// What its stub records.
    pub recording: Recording,
}

impl Wants {
    /// What a stub records of the calls that `ask` is about.
    ///
    /// # Errors
    /// Why these calls are for the trap engine.
    pub fn of(ask: &Ask<'_>) -> Result<Self, Reason> {
        if ask.plan.arch != Arch::X86_64 {
            return Err(Reason::Machine);
        }
        if ask.returns == Returns::Twice {
            return Err(Reason::ReturnsTwice);
        }
        let returns = ask.returns == Returns::Once && !ask.plan.noreturn();
        let mut builder = Builder::new(ask, returns);
        if ask.lines {
            builder.params()?;
        }
        builder.failure()?;
        builder.result()?;
        builder.finish()
    }

    /// The records of this call point, as their reader sees them.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let Recording { call, ret } = &self.recording;
        Shape::new(
            Fields {
                stamp: call.stamp,
                caller: call.caller,
                words: call.ints + call.stack,
                floats: call.floats,
                captures: count(&call.captures),
            },
            ret.as_ref().map(|ret| Fields {
                stamp: ret.stamp,
                caller: false,
                words: ret.ints + u8::from(ret.errno.is_some()),
                floats: ret.floats,
                captures: count(&ret.captures),
            }),
        )
    }
}

fn count(captures: &[Capture]) -> u8 {
    u8::try_from(captures.len()).unwrap_or(u8::MAX) // at most sixteen
}

/// When memory is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    Call,
    Return,
}

/// Collects what is wanted.
struct Builder<'a> {
    ask: &'a Ask<'a>,
    /// Whether a return is recorded.
    returns: bool,
    call: CallFields,
    ret: ReturnFields,
}

impl<'a> Builder<'a> {
    fn new(ask: &'a Ask<'a>, returns: bool) -> Self {
        Self {
            ask,
            returns,
            call: CallFields {
                stamp: ask.stamps != Stamps::None,
                caller: ask.caller,
                ..CallFields::default()
            },
            ret: ReturnFields {
                stamp: ask.stamps == Stamps::Both,
                ..ReturnFields::default()
            },
        }
    }

    fn params(&mut self) -> Result<(), Reason> {
        let plan = self.ask.plan;
        for (index, planned) in plan.params.iter().enumerate() {
            if let Some(when) = &planned.param.when {
                self.values_of(when, &[Moment::Call, Moment::Return])?;
            }
            if let Some(place) = &planned.place {
                self.argument(place)?;
            }
            if let Some(pack) = planned.param.pack {
                self.format(index, pack)?;
            }
            let hidden = matches!(self.ask.types.get(planned.param.ty), Type::Lens(Lens::Hide, _));
            if !hidden && planned.place.is_some() {
                self.param_memory(index)?;
            }
        }
        if plan.has_pack() {
            self.format_args()?;
        }
        let lists = |planned: &PlannedParam| planned.param.pack.is_some_and(|pack| pack.va_list);
        match plan.params.iter().position(lists) {
            Some(format) => self.va_list(format + 1),
            None => Ok(()),
        }
    }

    fn param_memory(&mut self, index: usize) -> Result<(), Reason> {
        let param = &self.ask.plan.params[index].param;
        let at_return = param.direction == Direction::Out || self.ask.types.mentions_retval(param.ty);
        if !at_return {
            self.param_at(index, Moment::Call)?;
        }
        if at_return || param.direction == Direction::InOut {
            self.param_at(index, Moment::Return)?;
        }
        Ok(())
    }

    /// An argument's registers and stack.
    fn argument(&mut self, place: &Place) -> Result<(), Reason> {
        if place.by_reference {
            return Err(Reason::ByReference);
        }
        for piece in place.pieces() {
            match piece.source {
                Source::Int(index) if index < CallFields::INTS => {
                    self.call.ints = self.call.ints.max(index + 1);
                }
                Source::Vector(index) if index < CallFields::FLOATS && piece.len <= 8 => {
                    self.call.floats = self.call.floats.max(index + 1);
                }
                Source::Stack(offset) => self.stack_up_to(offset.saturating_add(piece.len))?,
                Source::X87(_) => return Err(Reason::X87),
                Source::Int(_) | Source::Vector(_) => return Err(Reason::TooManyArguments),
            }
        }
        Ok(())
    }

    /// The stack up to `end` bytes above the stack pointer, where the return address lies.
    fn stack_up_to(&mut self, end: u32) -> Result<(), Reason> {
        let words = end.saturating_sub(8).div_ceil(8);
        let words = u8::try_from(words)
            .ok()
            .filter(|&words| words <= CallFields::STACK);
        self.call.stack = self.call.stack.max(words.ok_or(Reason::TooManyArguments)?);
        Ok(())
    }

    /// What decides whether a call has failed, and why it has.
    fn failure(&mut self) -> Result<(), Reason> {
        let prototype = &self.ask.plan.prototype;
        let Some(failure) = prototype.failure.as_ref().filter(|_| self.returns) else {
            return Ok(());
        };
        if let crate::proto::Failure::When(expr) = failure {
            self.values_of(expr, &[Moment::Return])?;
        }
        if self.ask.lines && prototype.errno {
            self.ret.errno = self.ask.errno;
        }
        Ok(())
    }

    fn result(&mut self) -> Result<(), Reason> {
        let plan = self.ask.plan;
        let wanted = self.ask.lines || plan.prototype.failure.is_some();
        let Some(place) = plan.ret.as_ref().filter(|_| self.returns && wanted) else {
            return Ok(());
        };
        for piece in place.pieces() {
            match piece.source {
                Source::Int(index) if index < ReturnFields::INTS => {
                    self.ret.ints = self.ret.ints.max(index + 1);
                }
                // What is only counted needs its result for no more than whether it failed: as a word.
                _ if !self.ask.lines => {}
                Source::Vector(index) if index < ReturnFields::FLOATS && piece.len <= 8 => {
                    self.ret.floats = self.ret.floats.max(index + 1);
                }
                _ => return Err(Reason::X87),
            }
        }
        if self.ask.lines {
            self.result_memory(place)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Wants, Reason> {
        let Self {
            ask,
            returns,
            call,
            ret,
        } = self;
        let wants = Wants {
            recording: Recording {
                call,
                ret: returns.then_some(ret),
            },
        };
        let shape = wants.shape();
        let call = most_bytes(*shape.call, &wants.recording.call.captures);
        let ret = wants.recording.ret.as_ref().zip(shape.ret);
        let ret = ret.map_or(0, |(ret, fields)| most_bytes(*fields, &ret.captures));
        if call.max(ret) > ask.max_record {
            return Err(Reason::TooLong);
        }
        Ok(wants)
    }
}

/// The bytes of the longest record of these fields.
fn most_bytes(fields: Fields, captures: &[Capture]) -> usize {
    let capture = |capture: &Capture| {
        (fast_ring::format::CAPTURE_HEAD_BYTES + usize::from(capture.length.most())).next_multiple_of(8)
    };
    fields.fixed_bytes() + captures.iter().map(capture).sum::<usize>()
}
