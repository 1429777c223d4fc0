//! Memory that is copied into records: to the last byte of a page, and where there is none.

use crate::world::{Seen, Stub, World, faults, map, one_ring, write};
use arch_abi::Addr;
use arch_abi::record::{
    CallFields, Capture, Count, Length, Pointer, Recording, ReturnFields, Step, Through, Zones,
};
use fast_ring::{Consumer, End};

const PAGE: u64 = 4096;

/// Two pages, of which the second cannot be read.
struct Edge(u64);

impl Edge {
    fn new() -> Edge {
        let at = map(0, 2 * PAGE, libc::PROT_READ | libc::PROT_WRITE, 0);
        // SAFETY: the second of the two pages just mapped.
        let done = unsafe { libc::mprotect((at + PAGE) as *mut _, 4096, libc::PROT_NONE) };
        assert_eq!(done, 0);
        Edge(at)
    }

    /// Puts bytes at the end of what can be read. Where they begin.
    fn put(&self, bytes: &[u8]) -> u64 {
        self.put_before(bytes, 0)
    }

    /// Puts bytes so that they end so much before the end.
    fn put_before(&self, bytes: &[u8], end: u64) -> u64 {
        let at = self.0 + PAGE - end - bytes.len() as u64;
        // SAFETY: they fit into the first page.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
        at
    }
}

extern "C" fn nothing(_a: u64, _b: u64, _c: u64, _d: u64, _e: u64, _f: u64, _g: u64, _h: u64) -> u64 {
    0
}
type Nothing = extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64) -> u64;

/// A stub that captures, and what reads its records.
struct Captures {
    world: World,
    stub: Stub,
    consumer: Consumer<'static>,
}

impl Captures {
    fn new(recording: &Recording, function: u64) -> Captures {
        let mut world = World::new(one_ring());
        Captures {
            stub: world.stub(recording, function),
            consumer: world.consumer(0),
            world,
        }
    }

    /// At the call.
    fn at_call(captures: &[Capture]) -> Captures {
        let call = CallFields {
            ints: 2,
            captures: captures.to_vec(),
            ..CallFields::default()
        };
        Captures::new(&Recording { call, ret: None }, nothing as *const () as u64)
    }

    /// Calls `nothing`. The record, and how many faults there were.
    fn call(&mut self, args: [u64; 8]) -> (Vec<(Vec<u8>, End)>, u64) {
        let inside = self.world.enter(0);
        let before = faults();
        // SAFETY: it is before `nothing`.
        let through: Nothing = unsafe { self.stub.function() };
        through(
            args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7],
        );
        let faults = faults() - before;
        drop(inside);
        let seen: Vec<Seen> = self.world.drain(&mut self.consumer);
        let [record] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!(record.words, args[..2]);
        (record.captures.clone(), faults)
    }

    /// As [`call`](Self::call), with one argument and one capture.
    fn one(&mut self, pointer: u64) -> (Vec<u8>, End) {
        let (captures, _) = self.call([pointer, 1, 2, 3, 4, 5, 6, 7]);
        let [capture] = &captures[..] else {
            panic!("{captures:?}")
        };
        capture.clone()
    }
}

fn of(index: u8, length: Length) -> Capture {
    Capture::new(Pointer::Int(index), length)
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(1 + i % 255).unwrap()).collect()
}

/// What a string is recorded as that has its zero.
fn expected(text: &[u8], most: u16) -> (Vec<u8>, End) {
    let most = usize::from(most);
    if text.len() <= most {
        (text.to_vec(), End::Whole)
    } else {
        (text[..most].to_vec(), End::Cut)
    }
}

#[test]
fn strings_of_all_lengths_at_all_distances_from_the_end_of_a_page() {
    let edge = Edge::new();
    for most in [0, 1, 7, 8, 9, 32] {
        let mut captures = Captures::at_call(&[of(0, Length::String { most })]);
        for len in 0..40 {
            let text = text(len);
            let with_zero = [&text[..], &[0]].concat();
            for end in 0..17 {
                let at = edge.put_before(&with_zero, end);
                assert_eq!(
                    captures.one(at),
                    expected(&text, most),
                    "{len} bytes, {most} at most, {end} before"
                );
            }
        }
    }
}

#[test]
fn strings_across_a_page_and_strings_without_an_end() {
    let pages = map(0, 2 * PAGE, libc::PROT_READ | libc::PROT_WRITE, 0);
    let edge = Edge::new();
    let mut captures = Captures::at_call(&[of(0, Length::String { most: 32 })]);
    let whole = text(20);
    for start in 1..24 {
        let at = pages + PAGE - start;
        // SAFETY: it fits into the second page.
        unsafe { std::ptr::copy_nonoverlapping([&whole[..], &[0]].concat().as_ptr(), at as *mut u8, 21) };
        assert_eq!(captures.one(at), (whole.clone(), End::Whole), "{start}");
    }
    for len in 1..40 {
        let text = text(len);
        let end = if len > 32 { End::Cut } else { End::Fault };
        let got = captures.one(edge.put(&text));
        assert_eq!(got, (text[..len.min(32)].to_vec(), end), "{len}");
    }
}

#[test]
fn long_strings() {
    let text = text(900);
    let with_zero = [&text[..], &[0]].concat();
    for most in [899, 900, 901, 960] {
        let mut captures = Captures::at_call(&[of(0, Length::String { most })]);
        assert_eq!(captures.one(with_zero.as_ptr() as u64), expected(&text, most));
    }
}

#[test]
fn no_pointers() {
    let bad = [
        1,
        8,
        0xffff,
        0x8000_0000_0000,
        0x1234_5678_9abc_def0,
        u64::MAX,
        1 << 47,
        0xffff_ffff_8000_0000,
    ];
    let lengths = [
        Length::String { most: 32 },
        Length::Fixed(9),
        Length::Counted {
            count: Count::Int {
                index: 1,
                bytes: 8,
                signed: false,
            },
            element: 1,
            most: 10,
        },
    ];
    for length in lengths {
        let mut captures = Captures::at_call(&[of(0, length)]);
        assert_eq!(captures.one(0), (vec![], End::Null), "{length:?}");
        for pointer in bad {
            let (seen, faults) = captures.call([pointer, 1, 0, 0, 0, 0, 0, 0]);
            assert_eq!(seen, [(vec![], End::Fault)], "{length:?} {pointer:#x}");
            assert!(faults > 0);
        }
    }
}

#[test]
fn guesses() {
    let mut captures = Captures::at_call(&[of(0, Length::Guess { most: 5 })]);
    for pointer in [0, 1, 0xffff, 1 << 47, 1 << 63, u64::MAX] {
        assert_eq!(captures.one(pointer), (vec![], End::Null), "{pointer:#x}");
    }
    assert_eq!(
        captures.one(c"four".as_ptr() as u64),
        (b"four".to_vec(), End::Whole)
    );
    assert_eq!(
        captures.one(c"four and more".as_ptr() as u64),
        (b"four ".to_vec(), End::Cut)
    );
}

/// What is captured is the same whether a part of memory is known or not: only what nothing is behind costs a fault in the one.
#[test]
fn guesses_in_known_and_unknown_parts() {
    let edge = Edge::new();
    let mut zones = Zones::default();
    zones.add(Addr::new(edge.0)..Addr::new(edge.0 + 2 * PAGE));
    for (zones, costs_faults) in [(Zones::default(), false), (zones, true), (Zones::all(), true)] {
        let mut captures = Captures::at_call(&[of(0, Length::Guess { most: 24 }), of(1, Length::Fixed(1))]);
        write(captures.world.areas.zones(), zones.bytes());
        let mut call = |pointer: u64, seen: (Vec<u8>, End), costs_faults: bool| {
            let (both, faults) = captures.call([pointer, zones.bytes().as_ptr() as u64, 2, 3, 4, 5, 6, 7]);
            assert_eq!(both[0], seen, "{pointer:#x}");
            assert_eq!(
                both[1],
                (vec![zones.bytes()[0]], End::Whole),
                "what comes after it"
            );
            assert_eq!(faults > 0, costs_faults, "{pointer:#x}: {faults} faults");
        };
        for len in 0..20 {
            let with_zero = [&text(len)[..], &[0]].concat();
            for end in 0..10 {
                call(edge.put_before(&with_zero, end), (text(len), End::Whole), false);
            }
            // What begins in memory, and does not end there.
            if len > 0 {
                call(edge.put(&text(len)), (text(len), End::Fault), true);
            }
        }
        for pointer in [edge.0 + PAGE, edge.0 + 2 * PAGE - 1] {
            call(pointer, (vec![], End::Fault), costs_faults);
        }
        let is_all = zones == Zones::all();
        for pointer in [0x10000, (1 << 47) - 1, (1 << 47) - 8] {
            call(pointer, (vec![], End::Fault), is_all);
        }
    }
}

#[test]
fn fixed_lengths_at_the_end_of_a_page() {
    let edge = Edge::new();
    for len in [0, 1, 7, 8, 9, 64, 100] {
        let mut captures = Captures::at_call(&[of(0, Length::Fixed(len))]);
        let text = text(len.into());
        for end in 0..10 {
            assert_eq!(
                captures.one(edge.put_before(&text, end)),
                (text.clone(), End::Whole),
                "{len} {end}"
            );
        }
        if len > 3 {
            let at = edge.put(&text) + 3;
            assert_eq!(captures.one(at), (text[3..].to_vec(), End::Fault), "{len}");
        }
    }
}

#[test]
fn counts() {
    let edge = Edge::new();
    let text = text(64);
    let at = edge.put(&text);
    let check = |bytes, signed, element: u16, cases: &[(u64, usize, End)]| {
        let count = Count::Int {
            index: 1,
            bytes,
            signed,
        };
        let length = Length::Counted {
            count,
            element,
            most: 40,
        };
        let mut captures = Captures::at_call(&[of(0, length)]);
        for &(count, len, end) in cases {
            let (seen, _) = captures.call([at, count, 0, 0, 0, 0, 0, 0]);
            assert_eq!(
                seen,
                [(text[..len].to_vec(), end)],
                "{count:#x} of {element}, {bytes} {signed}"
            );
        }
    };
    let minus = u64::MAX;
    check(
        8,
        false,
        1,
        &[
            (0, 0, End::Whole),
            (1, 1, End::Whole),
            (40, 40, End::Whole),
            (41, 40, End::Cut),
            (minus, 40, End::Cut),
        ],
    );
    check(
        8,
        true,
        1,
        &[
            (7, 7, End::Whole),
            (minus, 0, End::Whole),
            (1 << 63, 0, End::Whole),
            (i64::MAX as u64, 40, End::Cut),
        ],
    );
    check(
        4,
        false,
        1,
        &[
            (9, 9, End::Whole),
            (0xffff_ffff, 40, End::Cut),
            (1 << 32 | 3, 3, End::Whole),
        ],
    );
    check(
        4,
        true,
        1,
        &[
            (0xffff_ffff, 0, End::Whole),
            (0x7fff_ffff, 40, End::Cut),
            (1 << 32 | 3, 3, End::Whole),
        ],
    );
    check(
        8,
        false,
        8,
        &[
            (0, 0, End::Whole),
            (5, 40, End::Whole),
            (6, 40, End::Cut),
            (1 << 61, 40, End::Cut),
            (minus, 40, End::Cut),
        ],
    );
    check(8, false, 65535, &[(0, 0, End::Whole), (1, 40, End::Cut)]);
}

#[test]
fn eight_captures_in_their_order() {
    let strings: Vec<Vec<u8>> = (0..8).map(|i| [text(3 * i), vec![0]].concat()).collect();
    let pointer = |index: u8| {
        if index < 6 {
            Pointer::Int(index)
        } else {
            Pointer::Stack(index - 6)
        }
    };
    let wanted: Vec<Capture> = (0..8)
        .map(|index| Capture::new(pointer(index), Length::String { most: 100 }))
        .collect();
    let mut captures = Captures::at_call(&wanted);
    let args = std::array::from_fn(|i| strings[i].as_ptr() as u64);
    let (seen, faults) = captures.call(args);
    let expected: Vec<_> = (0..8).map(|i| (text(3 * i), End::Whole)).collect();
    assert_eq!((seen, faults), (expected, 0));
}

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
    let ends: Vec<_> = seen
        .iter()
        .filter(|seen| !seen.captures.is_empty())
        .map(|seen| &seen.captures)
        .collect();
    let many = |value: u8, count: usize, end| (vec![value; count], end);
    assert_eq!(
        *ends[0],
        [
            many(10, 8, End::Whole),
            many(10, 10, End::Whole),
            many(10, 1, End::Whole)
        ]
    );
    assert_eq!(
        *ends[1],
        [
            many(64, 62, End::Whole),
            many(64, 64, End::Whole),
            many(64, 1, End::Whole)
        ]
    );
    assert_eq!(
        *ends[2],
        [
            many(100, 64, End::Cut),
            many(100, 64, End::Cut),
            many(100, 1, End::Whole)
        ]
    );
    assert_eq!(
        *ends[3],
        [
            many(0, 0, End::Whole),
            many(1, 1, End::Whole),
            many(1, 1, End::Whole)
        ]
    );
    assert_eq!(
        *ends[4],
        [
            many(0, 0, End::Whole),
            many(0, 0, End::Whole),
            many(1, 1, End::Whole)
        ]
    );
    assert_eq!(ends.len(), 5);
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

fn through(index: u8, steps: &[Step], length: Length) -> Capture {
    let then = |way: Through, step| way.then(step).expect("not too long");
    Capture {
        through: steps.iter().copied().fold(Through::NOTHING, then),
        ..of(index, length)
    }
}

#[test]
fn pointers_behind_pointers() {
    let string = Length::String { most: 32 };
    let mut captures = Captures::at_call(&[
        through(0, &[Step::Word(0)], string),
        through(0, &[Step::Word(8)], string),
        through(0, &[Step::Word(16), Step::Word(8)], string),
        through(0, &[Step::Word(16)], Length::Fixed(3)),
        of(1, string),
    ]);
    let last = [0_u64, c"the last".as_ptr() as u64];
    let first = [c"the first".as_ptr() as u64, 0, last.as_ptr() as u64];
    let args = |pointer| [pointer, c"aside".as_ptr() as u64, 0, 0, 0, 0, 0, 0];
    let aside = (b"aside".to_vec(), End::Whole);
    let (seen, faults) = captures.call(args(first.as_ptr() as u64));
    let expected = [
        (b"the first".to_vec(), End::Whole),
        (vec![], End::Null),
        (b"the last".to_vec(), End::Whole),
        (vec![0; 3], End::Whole),
        aside.clone(),
    ];
    assert_eq!((&seen[..], faults), (&expected[..], 0));
    // A null pointer at the beginning or on the way stops no thread.
    let nothing = |end| [vec![(vec![], end); 4], vec![aside.clone()]].concat();
    for pointer in [0, [0_u64; 3].as_ptr() as u64] {
        assert_eq!(
            captures.call(args(pointer)),
            (nothing(End::Null), 0),
            "{pointer:#x}"
        );
    }
    for pointer in [1, 1 << 47, u64::MAX] {
        let (seen, faults) = captures.call(args(pointer));
        assert_eq!((seen, faults > 0), (nothing(End::Fault), true), "{pointer:#x}");
    }
    let bad = [1_u64, u64::MAX, 8];
    let (seen, _) = captures.call(args(bad.as_ptr() as u64));
    assert_eq!(seen, nothing(End::Fault));
    let edge = Edge::new();
    let (seen, _) = captures.call(args(edge.put(&first[0].to_le_bytes())));
    assert_eq!(seen[0], expected[0]);
    assert_eq!(seen[1..4], nothing(End::Fault)[..3]);
}

#[test]
fn what_a_function_has_put_behind_a_pointer() {
    extern "C" fn allocate(_a: u64, place: *mut *const libc::c_char) -> u64 {
        // SAFETY: the caller's place, or none.
        if let Some(place) = unsafe { place.as_mut() } {
            *place = c"allocated".as_ptr();
        }
        0
    }
    let ret = ReturnFields {
        captures: vec![
            of(1, Length::Fixed(8)),
            through(1, &[Step::Word(0)], Length::String { most: 32 }),
        ],
        ..ReturnFields::default()
    };
    let recording = Recording {
        call: CallFields::default(),
        ret: Some(ret),
    };
    let mut captures = Captures::new(&recording, allocate as *const () as u64);
    let inside = captures.world.enter(0);
    // SAFETY: it is before `allocate`.
    let before: extern "C" fn(u64, *mut *const libc::c_char) -> u64 = unsafe { captures.stub.function() };
    let mut place = c"not yet".as_ptr();
    before(0, &raw mut place);
    before(0, std::ptr::null_mut());
    drop(inside);
    let seen = captures.world.drain(&mut captures.consumer);
    let word = c"allocated".as_ptr();
    assert_eq!(place, word);
    assert_eq!(
        seen[1].captures,
        [
            ((word as u64).to_le_bytes().to_vec(), End::Whole),
            (b"allocated".to_vec(), End::Whole)
        ]
    );
    assert_eq!(seen[3].captures, [(vec![], End::Null), (vec![], End::Null)]);
}

/// What a `va_list` points at (psABI, "The `va_list` Type").
#[repr(C)]
struct List {
    ints: u32,
    vectors: u32,
    stacked: *const u64,
    saved: *const u64,
}

#[test]
fn arguments_of_a_va_list() {
    let texts = [c"0", c"1", c"2", c"3", c"4", c"5", c"6", c"7", c"8"].map(|text| text.as_ptr() as u64);
    let numbers = [0_u8, 1, 2, 4, 7];
    let wanted = numbers.map(|number| through(0, &[Step::VaArg(number)], Length::Guess { most: 8 }));
    let mut captures = Captures::at_call(&wanted);
    for named in 0..=6_usize {
        let mut saved = [u64::MAX; 6];
        saved[named..].copy_from_slice(&texts[..6 - named]);
        let list = List {
            ints: u32::try_from(8 * named).unwrap(),
            vectors: 176,
            stacked: texts[6 - named..].as_ptr(),
            saved: saved.as_ptr(),
        };
        let (seen, faults) = captures.call([&raw const list as u64, 1, 0, 0, 0, 0, 0, 0]);
        let expected = numbers.map(|number| (number.to_string().into_bytes(), End::Whole));
        assert_eq!((&seen[..], faults), (&expected[..], 0), "{named} named");
    }
    let hostile = List {
        ints: u32::MAX,
        vectors: u32::MAX,
        stacked: std::ptr::null(),
        saved: std::ptr::without_provenance(1 << 63),
    };
    let (seen, _) = captures.call([&raw const hostile as u64, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(seen, vec![(vec![], End::Fault); numbers.len()]);
    let (seen, faults) = captures.call([0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!((seen, faults), (vec![(vec![], End::Null); numbers.len()], 0));
}
