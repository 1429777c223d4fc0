//! What formats want: nobody knows what they will ask for, so that all is recorded that it may be.

use arch_abi::record::{CallFields, Length, Pointer, Step, va_list};

use super::way::{Way, pointer_of};
use super::{Builder, Moment, Reason};
use crate::proto::Pack;

/// How much is captured of a format. What is longer is read later if it lies in read-only memory, as nearly all do.
const FORMAT: u16 = 256;
/// Words of the stack that are recorded for the arguments of a format.
const FORMAT_STACK: u8 = 12;
/// How many captures there are at most where some are for the arguments of a format.
const FORMAT_CAPTURES: usize = 8;
/// Of how many arguments of a `va_list` the text is captured that they may point at.
const VA_TEXTS: u8 = 6;

impl Builder<'_> {
    /// The text of a format.
    pub(super) fn format(&mut self, index: usize, pack: Pack) -> Result<(), Reason> {
        match pack {
            Pack { scanf: true, .. } => return Err(Reason::Scanf),
            Pack { wide: true, .. } => return Err(Reason::WideFormat),
            Pack { .. } => {}
        }
        let plan = self.ask.plan;
        let place = plan.params[index].place.as_ref();
        let pointer = place.and_then(pointer_of).ok_or(Reason::TooManyArguments)?;
        let way = Way::to(pointer, Moment::Call);
        self.capture(way, Length::String { most: FORMAT })
    }

    /// What a format may ask for: all registers, some of the stack, and the text behind each that may be a string. It comes after all
    /// else that is captured, and takes what room there is.
    pub(super) fn format_args(&mut self) -> Result<(), Reason> {
        let rest = self.ask.plan.rest;
        let first = u8::try_from(rest.stack.saturating_sub(8) / 8).map_err(|_| Reason::TooManyArguments)?;
        self.stack_up_to(rest.stack.saturating_add(8 * u32::from(FORMAT_STACK)))?;
        self.call.ints = CallFields::INTS;
        self.call.floats = CallFields::FLOATS;
        let guess = Length::Guess {
            most: self.string_bytes(1)?,
        };
        let registers = (rest.ints..CallFields::INTS).map(Pointer::Int);
        let stacked = (first..first.saturating_add(FORMAT_STACK)).map(Pointer::Stack);
        let room = FORMAT_CAPTURES.saturating_sub(self.call.captures.len());
        for pointer in registers.chain(stacked).take(room) {
            self.capture(Way::to(pointer, Moment::Call), guess)?;
        }
        Ok(())
    }

    /// The same for a format whose arguments come by the `va_list` that parameter `index` is: what it holds, and the text behind
    /// each of the next arguments that may be a string.
    pub(super) fn va_list(&mut self, index: usize) -> Result<(), Reason> {
        let list = self.ask.plan.params.get(index);
        let place = list.and_then(|list| list.place.as_ref());
        let pointer = place.and_then(pointer_of).ok_or(Reason::VaList)?;
        let list = Way::to(pointer, Moment::Call);
        let stacked = list.then(Step::Word(va_list::STACKED))?;
        let saved = list.then(Step::Word(va_list::SAVED))?;
        self.capture(list, Length::Fixed(va_list::BYTES))?;
        self.capture(saved, Length::Fixed(va_list::SAVED_BYTES))?;
        self.capture(stacked, Length::Fixed(8 * u16::from(FORMAT_STACK)))?;
        let guess = Length::Guess {
            most: self.string_bytes(1)?,
        };
        let room = CallFields::CAPTURES.saturating_sub(self.call.captures.len());
        for number in (0..VA_TEXTS).take(room) {
            self.capture(list.then(Step::VaArg(number))?, guess)?;
        }
        Ok(())
    }
}
