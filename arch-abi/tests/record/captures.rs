//! Memory that is copied into records: to the last byte of a page, and where there is none.

mod results;
mod strings;
mod through;

use crate::world::{Seen, Stub, World, faults, map, one_ring};
use arch_abi::record::{CallFields, Capture, Count, Length, Pointer, Recording};
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
