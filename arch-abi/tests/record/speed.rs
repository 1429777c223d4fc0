//! How long a call takes, recorded and not.

use crate::world::{World, one_ring};
use arch_abi::record::{CallFields, Capture, Length, Pointer, Recording, ReturnFields};
use fast_ring::format::block::LIMIT;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

static COUNT: AtomicU64 = AtomicU64::new(0);

extern "C" fn work(_a: u64, _b: u64, _c: u64, _d: u64, _e: u64, _f: u64) -> u64 {
    COUNT.load(Ordering::Relaxed)
}
type Work = extern "C" fn(u64, u64, u64, u64, u64, u64) -> u64;

const CALLS: u32 = 200_000;

fn nanoseconds(function: Work) -> f64 {
    let rounds = (0..200).map(|_| {
        let start = Instant::now();
        for i in 0..u64::from(CALLS) {
            std::hint::black_box(function)(c"a string of 21 bytes.".as_ptr() as u64, i, i, i, i, i);
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

fn recorded(call: CallFields, ret: Option<ReturnFields>) -> f64 {
    let mut world = World::new(one_ring());
    let stub = world.stub(&Recording { call, ret }, work as *const () as u64);
    world.block(0)[LIMIT / 8].store(1 << 62, Ordering::Relaxed);
    let _inside = world.enter(0);
    // SAFETY: it is before `work`.
    nanoseconds(unsafe { stub.function() })
}

#[test]
#[ignore = "a measurement, for a quiet machine and --release"]
fn nanoseconds_of_a_call() {
    let ints = |ints, stamp| CallFields {
        ints,
        stamp,
        ..CallFields::default()
    };
    let result = |stamp| ReturnFields {
        ints: 1,
        stamp,
        ..ReturnFields::default()
    };
    println!("bare {:.2}", nanoseconds(work));
    println!("entry only {:.2}", recorded(ints(6, false), None));
    println!(
        "no arguments {:.2}",
        recorded(ints(0, false), Some(result(false)))
    );
    println!(
        "six arguments {:.2}",
        recorded(ints(6, false), Some(result(false)))
    );
    println!(
        "and the caller {:.2}",
        recorded(
            CallFields {
                caller: true,
                ..ints(6, false)
            },
            Some(result(false))
        )
    );
    println!(
        "one time stamp {:.2}",
        recorded(ints(6, true), Some(result(false)))
    );
    println!(
        "two time stamps {:.2}",
        recorded(ints(6, true), Some(result(true)))
    );
    let string = Capture::new(Pointer::Int(0), Length::String { most: 32 });
    let captures = CallFields {
        captures: vec![string],
        ..ints(6, false)
    };
    println!("a string {:.2}", recorded(captures, Some(result(false))));
    let twice = CallFields {
        captures: vec![string; 2],
        ..ints(6, false)
    };
    println!("two strings {:.2}", recorded(twice, Some(result(false))));
    let back = ReturnFields {
        captures: vec![string],
        ..result(false)
    };
    println!(
        "a string at the return {:.2}",
        recorded(ints(6, false), Some(back))
    );
}
