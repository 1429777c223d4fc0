//! Calls of C functions through stubs: what is recorded, and that nothing else is different.

use crate::world::{Seen, Stub, World, one_ring};
use arch_abi::record::{CallFields, Recording, ReturnFields, RingLayout, Unsupported};
use arch_abi::record::{Capture, Count, Length, Pointer};
use arch_abi::{Arch, record::Areas};
use fast_ring::format::{CALL, RETURN};
use std::ffi::{CStr, c_char, c_int, c_void};

fn plain() -> Recording {
    Recording {
        call: CallFields {
            ints: 6,
            floats: 8,
            stack: 4,
            ..CallFields::default()
        },
        ret: Some(ReturnFields {
            ints: 2,
            floats: 2,
            ..ReturnFields::default()
        }),
    }
}

/// Runs `with` while a function is behind a stub. What was recorded.
fn through(function: *const (), with: impl FnOnce(&Stub)) -> Vec<Seen> {
    let mut world = World::new(one_ring());
    let stub = world.stub(&plain(), function as u64);
    let mut consumer = world.consumer(0);
    let inside = world.enter(0);
    with(&stub);
    drop(inside);
    world.drain(&mut consumer)
}

#[test]
fn variable_arguments() {
    type Print = unsafe extern "C" fn(*mut c_char, usize, *const c_char, ...) -> c_int;
    let mut text = [0; 64];
    let seen = through(libc::snprintf as *const (), |stub| {
        // SAFETY: it is before `snprintf`, and the format fits the arguments.
        let printed = unsafe {
            let print: Print = stub.function();
            print(
                text.as_mut_ptr(),
                64,
                c"%d %.1f %s %d %d %.2f".as_ptr(),
                1,
                2.5,
                c"three".as_ptr(),
                4,
                5,
                6.25,
            )
        };
        assert_eq!(printed, 20);
    });
    // SAFETY: `snprintf` ends it with a zero.
    assert_eq!(unsafe { CStr::from_ptr(text.as_ptr()) }, c"1 2.5 three 4 5 6.25");
    assert_eq!(seen[0].floats[..2], [2.5_f64.to_bits(), 6.25_f64.to_bits()]);
    assert_eq!(
        (seen[0].words[3] & 0xffff_ffff, seen[0].words[6] & 0xffff_ffff),
        (1, 5)
    ); // rcx, and the stack's first
    assert_eq!(seen[1].words[0] & 0xffff_ffff, 20);
}

#[repr(C)]
#[derive(Debug, PartialEq, Clone, Copy)]
struct Large([u64; 5]);

extern "C" fn reverse(large: Large, by_value: u64) -> Large {
    let [first, second, third, fourth, fifth] = large.0;
    Large([fifth, fourth, third, second, first + by_value])
}

#[test]
fn structures_in_memory() {
    let seen = through(reverse as *const (), |stub| {
        // SAFETY: it is before `reverse`.
        let function: extern "C" fn(Large, u64) -> Large = unsafe { stub.function() };
        assert_eq!(function(Large([1, 2, 3, 4, 5]), 10), Large([5, 4, 3, 2, 11]));
    });
    assert_eq!((seen[0].words[1], &seen[0].words[6..]), (10, &[1, 2, 3, 4][..]));
    // psABI, "Returning of Values": the address that the caller gave comes back.
    assert_eq!(seen[0].words[0], seen[1].words[0]);
}

extern "C" fn add(left: i128, right: i128) -> i128 {
    left + right
}

#[repr(C)]
#[derive(Debug, PartialEq)]
struct Pair(f64, f64);

extern "C" fn turn(pair: Pair, by: f64) -> Pair {
    Pair(pair.1 * by, pair.0 * by)
}

#[test]
fn results_in_two_registers() {
    let minus = -(1_i128 << 70);
    let seen = through(add as *const (), |stub| {
        // SAFETY: it is before `add`.
        let function: extern "C" fn(i128, i128) -> i128 = unsafe { stub.function() };
        assert_eq!(function(minus, 5), minus + 5);
    });
    assert_eq!(seen[1].words, [5, (-64_i64).cast_unsigned()]);
    let seen = through(turn as *const (), |stub| {
        // SAFETY: it is before `turn`.
        let function: extern "C" fn(Pair, f64) -> Pair = unsafe { stub.function() };
        assert_eq!(function(Pair(1.0, 2.0), 4.0), Pair(8.0, 4.0));
    });
    assert_eq!(seen[1].floats, [8.0_f64.to_bits(), 4.0_f64.to_bits()]);
}

extern "C" fn compare(left: *const c_void, right: *const c_void) -> c_int {
    // SAFETY: `qsort` hands out elements of the array below.
    unsafe { (*left.cast::<u32>()).cmp(&*right.cast::<u32>()) as c_int }
}

type Sort =
    unsafe extern "C" fn(*mut c_void, usize, usize, extern "C" fn(*const c_void, *const c_void) -> c_int);

#[test]
fn calls_nest() {
    let mut world = World::new(one_ring());
    let sort = world.stub(&plain(), libc::qsort as *const () as u64);
    let callback = world.stub(&plain(), compare as *const () as u64);
    let mut consumer = world.consumer(0);
    let mut numbers: Vec<u32> = (0..50).map(|i| i * 7919 % 101).collect();
    let inside = world.enter(0);
    // SAFETY: it is before `qsort`, and the other before a function that compares such elements.
    unsafe {
        let function: Sort = sort.function();
        function(numbers.as_mut_ptr().cast(), numbers.len(), 4, callback.function());
    }
    drop(inside);
    assert!(numbers.is_sorted());
    let seen = world.drain(&mut consumer);
    let inner = &seen[1..seen.len() - 1];
    assert!(inner.len() > 100 && inner.iter().all(|record| record.id == callback.id));
    let ends = [&seen[0], &seen[seen.len() - 1]].map(|record| (record.kind, record.id));
    assert_eq!(ends, [(CALL, sort.id), (RETURN, sort.id)]);
    assert!(
        inner
            .chunks(2)
            .all(|pair| (pair[0].kind, pair[1].kind) == (CALL, RETURN))
    );
}

#[test]
fn what_cannot_be_recorded_is_refused() {
    let world = World::new(one_ring());
    let recorder = Arch::X86_64.abi().recorder().unwrap();
    let refused = |call: CallFields, ret: Option<ReturnFields>| {
        recorder
            .template(&Recording { call, ret }, world.common)
            .unwrap_err()
    };
    let calls = |captures: Vec<Capture>| CallFields {
        captures,
        ..CallFields::default()
    };
    let returns = |captures: Vec<Capture>| {
        Some(ReturnFields {
            captures,
            ..ReturnFields::default()
        })
    };
    let of = |pointer, length| Capture::new(pointer, length);
    let string = Length::String { most: 8 };
    let fields = [
        CallFields {
            ints: 7,
            ..CallFields::default()
        },
        CallFields {
            stack: 33,
            ..CallFields::default()
        },
        CallFields {
            floats: 9,
            ..CallFields::default()
        },
        calls(vec![of(Pointer::Result, string)]),
        calls(vec![of(Pointer::Int(6), string)]),
        calls(vec![of(Pointer::Stack(32), string)]),
        calls(vec![of(Pointer::Int(0), Length::Fixed(4096))]),
        calls(vec![of(Pointer::Int(0), string); CallFields::CAPTURES + 1]),
    ];
    for call in fields {
        assert_eq!(refused(call.clone(), None), Unsupported::Fields, "{call:?}");
    }
    let counted = |count, element| {
        of(
            Pointer::Int(0),
            Length::Counted {
                count,
                element,
                most: 8,
            },
        )
    };
    let count = |bytes| Count::Int {
        index: 0,
        bytes,
        signed: false,
    };
    for capture in [
        counted(count(4), 0),
        counted(count(2), 1),
        counted(
            Count::Result {
                bytes: 8,
                signed: true,
            },
            1,
        ),
    ] {
        assert_eq!(
            refused(calls(vec![capture]), None),
            Unsupported::Fields,
            "{capture:?}"
        );
    }
    let three = (0..3).map(|index| of(Pointer::Int(index), string)).collect();
    assert_eq!(
        refused(CallFields::default(), returns(three)),
        Unsupported::Remembered
    );
    let long = vec![of(Pointer::Int(0), Length::String { most: 1000 }); 2];
    let bytes = 8 + 2 * 1008;
    assert_eq!(
        refused(calls(long), None),
        Unsupported::TooLong { bytes, most: 1024 }
    );
}

#[test]
fn areas_must_fit() {
    let world = World::new(one_ring());
    let recorder = Arch::X86_64.abi().recorder().unwrap();
    let ring = RingLayout::from(&one_ring());
    let moved = |entries: u64, returns: u64, larger: u64| {
        let Areas {
            entries: e,
            returns: r,
        } = world.areas.clone();
        Areas {
            entries: e.start.wrapping_add(entries)..e.end.wrapping_add(entries),
            returns: r.start.wrapping_add(returns)..r.end.wrapping_add(returns + larger),
        }
    };
    assert!(recorder.common(&moved(0, 0, 0), &ring).is_ok());
    for (entries, returns, larger) in [
        (8, 0, 0),
        (0, 4096, 0),
        (1 << 32, 0, 0),
        (0, 0, 1 << 24),
        (1 << 47, 1 << 47, 0),
    ] {
        let areas = moved(entries, returns, larger);
        assert_eq!(
            recorder.common(&areas, &ring).unwrap_err(),
            Unsupported::Areas,
            "{areas:?}"
        );
    }
    let mut odd = ring.clone();
    odd.ring_mask = 1000;
    assert_eq!(
        recorder.common(&world.areas, &odd).unwrap_err(),
        Unsupported::Ring
    );
    let mut odd = ring;
    odd.length_shift = 31;
    assert_eq!(
        recorder.common(&world.areas, &odd).unwrap_err(),
        Unsupported::Ring
    );
    assert!(Arch::I386.abi().recorder().is_none());
}
