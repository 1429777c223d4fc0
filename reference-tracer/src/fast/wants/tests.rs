//! What is recorded of some functions.

use arch_abi::Arch;
use arch_abi::record::{Capture, Count, Length, Pointer, Step, Through};

use super::{Ask, Reason, Stamps, Wants};
use crate::fast::tests::ask;
use crate::points::Returns;
use crate::proto::Prototypes;

/// A capture.
fn capture(pointer: Pointer, length: Length) -> Capture {
    Capture::new(pointer, length)
}

#[test]
fn what_is_recorded_of_well_known_functions() {
    let mut prototypes = Prototypes::new();
    let mut wants = |name: &str, lines: bool| {
        let plan = prototypes.plan(Arch::X86_64, &["libc.so.6"], name);
        let ask = Ask {
            lines,
            stamps: Stamps::Both,
            returns: if name == "_setjmp" {
                Returns::Twice
            } else {
                Returns::Once
            },
            ..ask(prototypes.types(), &plan)
        };
        Wants::of(&ask).map(|wants| wants.recording)
    };
    let of_arg = |index| Count::Int {
        index,
        bytes: 8,
        signed: false,
    };
    let write = wants("write", true).unwrap();
    let bytes = Length::Counted {
        count: of_arg(2),
        element: 1,
        most: 33,
    };
    assert_eq!(
        (write.call.ints, &write.call.captures[..]),
        (3, &[capture(Pointer::Int(1), bytes)][..])
    );
    let ret = write.ret.unwrap();
    assert_eq!((ret.ints, ret.errno, ret.captures.len()), (1, Some(-64), 0));
    let read = wants("read", true).unwrap();
    assert_eq!(read.call.captures, []);
    let filled = Length::Counted {
        count: Count::Result {
            bytes: 8,
            signed: true,
        },
        element: 1,
        most: 33,
    };
    assert_eq!(read.ret.unwrap().captures, [capture(Pointer::Int(1), filled)]);
    let getenv = wants("getenv", true).unwrap();
    let text = Length::String { most: 33 };
    assert_eq!(getenv.call.captures, [capture(Pointer::Int(0), text)]);
    assert_eq!(getenv.ret.unwrap().captures, [capture(Pointer::Result, text)]);
    let printf = wants("printf", true).unwrap().call;
    assert_eq!((printf.ints, printf.floats, printf.captures.len()), (6, 8, 8));
    assert_eq!(wants("exit", true).unwrap().ret, None);
    assert_eq!(wants("_setjmp", true), Err(Reason::ReturnsTwice));
    let vprintf = wants("vprintf", true).unwrap().call;
    let list = |step| Capture {
        through: Through::NOTHING.then(step).unwrap(),
        ..capture(Pointer::Int(1), Length::Guess { most: 33 })
    };
    assert_eq!(vprintf.captures.len(), 4 + 8);
    assert_eq!(vprintf.captures[1], capture(Pointer::Int(1), Length::Fixed(24)));
    assert_eq!(vprintf.captures[4], list(Step::VaArg(0)));
    let text_behind = Capture {
        through: Through::NOTHING.then(Step::Word(0)).unwrap(),
        ..capture(Pointer::Int(1), text)
    };
    // What strtol stores there.
    let strtol = wants("strtol", true).unwrap().ret.unwrap();
    assert_eq!(
        strtol.captures,
        [capture(Pointer::Int(1), Length::Fixed(8)), text_behind]
    );
    let execv = wants("execv", true).unwrap().call;
    assert_eq!(execv.captures.len(), 1 + 1 + 4);
    assert_eq!(wants("vsscanf", true), Err(Reason::Scanf));
    // Of what is only counted the result tells whether it failed, and nothing else matters.
    let counted = wants("write", false).unwrap();
    assert_eq!((counted.call.ints, counted.call.captures.len()), (0, 0));
    assert_eq!(
        counted.ret.map(|ret| (ret.stamp, ret.ints, ret.errno)),
        Some((true, 1, None))
    );
    let counted = wants("malloc", false).unwrap();
    assert!(counted.call.stamp && counted.call.captures.is_empty());
}
