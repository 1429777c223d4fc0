//! Calls of C functions through stubs: what is recorded, and that nothing else is different.

use crate::world::{Seen, World, one_ring};
use arch_abi::record::{CallFields, Recording, ReturnFields};
use fast_ring::format::{CALL, RETURN};

fn fields(ints: u8) -> CallFields {
    CallFields {
        ints,
        ..CallFields::default()
    }
}

fn result() -> Option<ReturnFields> {
    Some(ReturnFields {
        ints: 1,
        ..ReturnFields::default()
    })
}

extern "C" fn sum(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64) -> u64 {
    a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h
}
type Sum = extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64) -> u64;

#[test]
fn six_registers_and_a_result() {
    let mut world = World::new(one_ring());
    let recording = Recording {
        call: fields(6),
        ret: result(),
    };
    let stub = world.stub(&recording, sum as *const () as u64);
    let mut consumer = world.consumer(0);
    let inside = world.enter(0);
    // SAFETY: it is before `sum`.
    let through: Sum = unsafe { stub.function() };
    let got = through(1, 2, 3, 4, 5, 6, 7, 8);
    drop(inside);
    assert_eq!(got, sum(1, 2, 3, 4, 5, 6, 7, 8));
    let seen = world.drain(&mut consumer);
    let [call, ret] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(
        (call.kind, call.id, &call.words[..]),
        (CALL, stub.id, &[1, 2, 3, 4, 5, 6][..])
    );
    assert_eq!((ret.kind, ret.id, &ret.words[..]), (RETURN, stub.id, &[got][..]));
    assert_eq!(call.stack_pointer, ret.stack_pointer);
}
