//! What stubs record, in a file.

use arch_abi::record::{CallFields, Capture, Count, Length, Pointer, Recording, ReturnFields, Step, Through};

use super::{Input, Put};

/// Appends what a stub records.
pub(crate) fn put_recording(out: &mut Vec<u8>, recording: &Recording) {
    let call = &recording.call;
    out.number(call.stamp.into());
    out.number(call.caller.into());
    for count in [call.ints, call.stack, call.floats] {
        out.number(count.into());
    }
    put_captures(out, &call.captures);
    out.number(recording.ret.is_some().into());
    let Some(ret) = &recording.ret else { return };
    out.number(ret.stamp.into());
    out.number(ret.ints.into());
    out.number(ret.errno.is_some().into());
    out.number(ret.floats.into());
    put_captures(out, &ret.captures);
}

fn put_captures(out: &mut Vec<u8>, captures: &[Capture]) {
    out.number(captures.len() as u64);
    for capture in captures {
        let (kind, index) = match capture.pointer {
            Pointer::Int(index) => (0, index),
            Pointer::Stack(index) => (1, index),
            Pointer::Result => (2, 0),
        };
        out.number(kind);
        out.number(index.into());
        out.number(capture.through.steps().count() as u64);
        for step in capture.through.steps() {
            let (kind, number) = match step {
                Step::Word(offset) => (0, offset),
                Step::VaArg(index) => (1, index.into()),
            };
            out.number(kind);
            out.number(number.into());
        }
        put_length(out, capture.length);
    }
}

fn put_length(out: &mut Vec<u8>, length: Length) {
    let kind = match length {
        Length::String { .. } => 0,
        Length::Guess { .. } => 1,
        Length::Fixed(_) => 2,
        Length::Counted { .. } => 3,
    };
    out.number(kind);
    out.number(length.most().into());
    let Length::Counted { count, element, .. } = length else {
        return;
    };
    out.number(element.into());
    let (is_result, index, bytes, signed) = match count {
        Count::Int { index, bytes, signed } => (false, index, bytes, signed),
        Count::Result { bytes, signed } => (true, 0, bytes, signed),
    };
    for number in [is_result.into(), index, bytes, signed.into()] {
        out.number(number.into());
    }
}

/// Takes what a stub records. `None`: it is nothing that one can record.
pub(crate) fn take_recording(input: &mut Input<'_>) -> Option<Recording> {
    let call = CallFields {
        stamp: input.flag()?,
        caller: input.flag()?,
        ints: count(input, CallFields::INTS)?,
        stack: count(input, CallFields::STACK)?,
        floats: count(input, CallFields::FLOATS)?,
        captures: captures(input, CallFields::CAPTURES, false)?,
    };
    let ret = if input.flag()? {
        Some(ReturnFields {
            stamp: input.flag()?,
            ints: count(input, ReturnFields::INTS)?,
            // Where it lies was for the stub alone.
            errno: input.flag()?.then_some(0),
            floats: count(input, ReturnFields::FLOATS)?,
            captures: captures(input, ReturnFields::CAPTURES, true)?,
        })
    } else {
        None
    };
    Some(Recording { call, ret })
}

fn count(input: &mut Input<'_>, most: u8) -> Option<u8> {
    input.small().filter(|count| *count <= most)
}

fn captures(input: &mut Input<'_>, most: usize, at_return: bool) -> Option<Vec<Capture>> {
    let count: usize = input.small()?;
    if count > most {
        return None;
    }
    (0..count).map(|_| capture(input, at_return)).collect()
}

fn capture(input: &mut Input<'_>, at_return: bool) -> Option<Capture> {
    let (kind, index) = (input.number()?, input.small()?);
    let pointer = match kind {
        0 if index < CallFields::INTS => Pointer::Int(index),
        1 if index < CallFields::STACK => Pointer::Stack(index),
        2 if at_return => Pointer::Result,
        _ => return None,
    };
    let steps: usize = input.small()?;
    let mut through = Through::NOTHING;
    for _ in 0..steps {
        through = through.then(step(input)?)?;
    }
    Some(Capture {
        pointer,
        through,
        length: length(input, at_return)?,
    })
}

fn step(input: &mut Input<'_>) -> Option<Step> {
    Some(match input.number()? {
        0 => Step::Word(input.small()?),
        1 => Step::VaArg(input.small()?),
        _ => return None,
    })
}

fn length(input: &mut Input<'_>, at_return: bool) -> Option<Length> {
    let kind = input.number()?;
    let most = input.small().filter(|most| *most <= Length::MOST)?;
    Some(match kind {
        0 => Length::String { most },
        1 => Length::Guess { most },
        2 => Length::Fixed(most),
        3 => {
            let element = input.small().filter(|element| *element != 0)?;
            let is_result = input.flag()?;
            let (index, bytes, signed) = (input.small()?, input.small()?, input.flag()?);
            let count = match is_result {
                true if at_return => Count::Result { bytes, signed },
                false if index < CallFields::INTS => Count::Int { index, bytes, signed },
                _ => return None,
            };
            Length::Counted { count, element, most }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_come_back() {
        let counted = |count| Length::Counted {
            count,
            element: 4,
            most: 132,
        };
        let (bytes, signed) = (8, true);
        let capture = Capture::new;
        let behind = |steps: &[Step]| {
            let mut capture = capture(Pointer::Int(4), Length::Fixed(8));
            for &step in steps {
                capture.through = capture.through.then(step).unwrap();
            }
            capture
        };
        let recording = Recording {
            call: CallFields {
                stamp: true,
                caller: true,
                ints: 6,
                stack: 12,
                floats: 8,
                captures: vec![
                    capture(Pointer::Int(1), Length::String { most: 33 }),
                    capture(Pointer::Stack(3), Length::Guess { most: 64 }),
                    behind(&[Step::Word(8)]),
                    behind(&[Step::VaArg(3), Step::Word(24)]),
                    capture(
                        Pointer::Int(0),
                        counted(Count::Int {
                            index: 2,
                            bytes,
                            signed,
                        }),
                    ),
                ],
            },
            ret: Some(ReturnFields {
                stamp: true,
                ints: 2,
                errno: Some(0),
                floats: 1,
                captures: vec![
                    capture(Pointer::Result, Length::Fixed(16)),
                    capture(Pointer::Int(0), counted(Count::Result { bytes, signed })),
                ],
            }),
        };
        for recording in [recording, Recording::default()] {
            let mut out = Vec::new();
            put_recording(&mut out, &recording);
            assert_eq!(take_recording(&mut Input(&out)), Some(recording));
            for len in 0..out.len() {
                assert_eq!(take_recording(&mut Input(&out[..len])), None, "{len}");
            }
        }
    }
}
