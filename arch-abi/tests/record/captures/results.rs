//! What is there when a function returns.

use super::*;
use arch_abi::record::ReturnFields;

extern "C" fn fill(_fd: u64, buffer: *mut u8, room: u64, value: u64) -> i64 {
    for i in 0..room {
        // SAFETY: callers have so much room.
        unsafe { *buffer.add(usize::try_from(i).unwrap()) = u8::try_from(value & 0xff).unwrap() };
    }
    room.cast_signed() - 2
}

#[test]
fn what_a_function_has_written() {
    let counted = |count| Length::Counted {
        count,
        element: 1,
        most: 64,
    };
    let result = Count::Result {
        bytes: 8,
        signed: true,
    };
    let room = Count::Int {
        index: 2,
        bytes: 4,
        signed: true,
    };
    let ret = ReturnFields {
        ints: 1,
        captures: vec![
            of(1, counted(result)),
            of(1, counted(room)),
            of(1, Length::Fixed(1)),
        ],
        ..ReturnFields::default()
    };
    let call = CallFields {
        ints: 1,
        ..CallFields::default()
    };
    let mut captures = Captures::new(&Recording { call, ret: Some(ret) }, fill as *const () as u64);
    let inside = captures.world.enter(0);
    // SAFETY: it is before `fill`.
    let through: extern "C" fn(u64, *mut u8, u64, u64) -> i64 = unsafe { captures.stub.function() };
    let mut buffer = [0_u8; 128];
    for room in [10, 64, 100, 1, 0] {
        assert_eq!(
            through(3, buffer.as_mut_ptr(), room, room),
            room.cast_signed() - 2
        );
    }
    drop(inside);
    let seen = captures.world.drain(&mut captures.consumer);
    let ends = seen.iter().filter(|seen| !seen.captures.is_empty());
    let ends: Vec<_> = ends.map(|seen| seen.captures.clone()).collect();
    // Each byte has this value; so many as the result tells, as the argument tells, and one.
    let expected = [
        (10, [(8, End::Whole), (10, End::Whole), (1, End::Whole)]),
        (64, [(62, End::Whole), (64, End::Whole), (1, End::Whole)]),
        (100, [(64, End::Cut), (64, End::Cut), (1, End::Whole)]),
        (1, [(0, End::Whole), (1, End::Whole), (1, End::Whole)]),
        // Nothing was written: the byte is the one before.
        (1, [(0, End::Whole), (0, End::Whole), (1, End::Whole)]),
    ];
    let many = |(value, captures): (u8, [(usize, End); 3])| {
        let many = |(count, end)| (vec![value; count], end);
        captures.map(many).to_vec()
    };
    assert_eq!(ends, expected.map(many));
}

extern "C" fn name(
    _a: u64,
    _b: u64,
    _c: u64,
    _d: u64,
    _e: u64,
    _f: u64,
    _g: u64,
    which: u64,
) -> *const libc::c_char {
    if which == 0 {
        std::ptr::null()
    } else {
        c"a name".as_ptr()
    }
}

type Name = extern "C" fn(u64, u64, u64, u64, u64, u64, *const libc::c_char, u64) -> *const libc::c_char;

#[test]
fn strings_that_are_returned_and_arguments_on_the_stack() {
    let string = Length::String { most: 32 };
    let ret = ReturnFields {
        ints: 2,
        captures: vec![
            Capture::new(Pointer::Result, string),
            Capture::new(Pointer::Stack(0), string),
        ],
        ..ReturnFields::default()
    };
    let recording = Recording {
        call: CallFields::default(),
        ret: Some(ret),
    };
    let mut captures = Captures::new(&recording, name as *const () as u64);
    let inside = captures.world.enter(0);
    // SAFETY: it is before `name`.
    let through: Name = unsafe { captures.stub.function() };
    assert_eq!(
        through(0, 0, 0, 0, 0, 0, c"seventh".as_ptr(), 0),
        std::ptr::null()
    );
    assert_ne!(through(0, 0, 0, 0, 0, 0, std::ptr::null(), 1), std::ptr::null());
    drop(inside);
    let seen = captures.world.drain(&mut captures.consumer);
    assert_eq!(
        seen[1].captures,
        [(vec![], End::Null), (b"seventh".to_vec(), End::Whole)]
    );
    assert_eq!(
        seen[3].captures,
        [(b"a name".to_vec(), End::Whole), (vec![], End::Null)]
    );
    assert_eq!(seen.len(), 4);
}
