//! Every kind of stub, with every register looked at on both sides.

use crate::machine::{ARGS, Call, RAX, RDX, inspect, invoked, jump_on};
use crate::world::{Seen, Stub, World, now, one_ring, thread_pointer};
use arch_abi::record::{
    Areas, CallFields, Capture, Count, Length, Pointer, Recording, ReturnFields, Step, Through,
};
use std::sync::OnceLock;

use fast_ring::End;
use fast_ring::format::{CALL, RETURN, TAIL_CALL};

/// Recordings of every kind.
pub(crate) fn recordings() -> Vec<Recording> {
    let text = Length::String { most: 24 };
    let string = |pointer| Capture::new(pointer, text);
    let behind = |pointer, step| Capture {
        through: Through::NOTHING.then(step).expect("one step"),
        ..string(pointer)
    };
    let count = Count::Int {
        index: 3,
        bytes: 4,
        signed: true,
    };
    let counted = Length::Counted {
        count,
        element: 4,
        most: 32,
    };
    let calls = [
        CallFields::default(),
        CallFields {
            ints: 6,
            ..CallFields::default()
        },
        CallFields {
            stamp: true,
            ints: 3,
            floats: 8,
            ..CallFields::default()
        },
        CallFields {
            stamp: true,
            caller: true,
            ints: 6,
            stack: 4,
            floats: 2,
            captures: Vec::new(),
        },
        CallFields {
            stamp: true,
            caller: true,
            ints: 1,
            captures: vec![
                string(Pointer::Int(1)),
                Capture::new(Pointer::Int(1), counted),
                behind(Pointer::Stack(1), Step::Word(8)),
                behind(Pointer::Int(4), Step::VaArg(0)),
                Capture::new(Pointer::Int(1), Length::Guess { most: 24 }),
            ],
            ..CallFields::default()
        },
    ];
    let results = [
        None,
        Some(ReturnFields::default()),
        Some(ReturnFields {
            ints: 2,
            floats: 2,
            errno: Some(errno()),
            ..ReturnFields::default()
        }),
        Some(ReturnFields {
            stamp: true,
            ints: 1,
            ..ReturnFields::default()
        }),
        Some(ReturnFields {
            stamp: true,
            ints: 2,
            captures: vec![
                string(Pointer::Int(1)),
                behind(Pointer::Stack(1), Step::Word(8)),
                string(Pointer::Result),
            ],
            ..ReturnFields::default()
        }),
    ];
    let pairs = calls.iter().flat_map(|call| {
        results.iter().map(|ret| Recording {
            call: call.clone(),
            ret: ret.clone(),
        })
    });
    pairs.collect()
}

/// Where this thread has `errno`, from its thread pointer; the same in all threads.
fn errno() -> i32 {
    // SAFETY: it has no conditions.
    let at = unsafe { libc::__errno_location() } as u64;
    i32::try_from(at.wrapping_sub(crate::world::thread_pointer()).cast_signed()).unwrap()
}

/// The text that the captures find.
pub(crate) const TEXT: &[u8] = b"a text of twenty.";

/// The address of a `va_list` whose first argument is that text, kept in its own second word.
fn list() -> u64 {
    static WORDS: OnceLock<Vec<u64>> = OnceLock::new();
    let words = WORDS.get_or_init(|| {
        let mut words = vec![40, c"a text of twenty.".as_ptr() as u64, 0];
        words[2] = words[1..].as_ptr() as u64 - 40;
        words
    });
    words.as_ptr() as u64
}

/// A call whose arguments fit the [`recordings`].
pub(crate) fn call() -> Box<Call> {
    let mut call = Call::new();
    let text = c"a text of twenty.".as_ptr() as u64;
    call.before.registers[ARGS[1]] = text;
    call.before.registers[ARGS[3]] = 0x1_0000_0002;
    call.before.registers[ARGS[4]] = list();
    call.before.stack[1] = list();
    call.left.registers[RAX] = text;
    call
}

/// That `record` is the one of a call that was made.
pub(crate) fn check_call(record: &Seen, recording: &Recording, made: &Call, span: (u64, u64)) {
    let fields = &recording.call;
    assert_eq!(record.stamp.is_some(), fields.stamp);
    assert!(
        record
            .stamp
            .is_none_or(|stamp| (span.0..=span.1).contains(&stamp))
    );
    assert_eq!(record.caller, fields.caller.then(invoked));
    assert_eq!(
        u64::from(record.stack_pointer),
        (made.before.stack_pointer - 8) & 0xffff_ffff
    );
    let mut words: Vec<u64> = ARGS[..fields.ints.into()]
        .iter()
        .map(|&at| made.before.registers[at])
        .collect();
    words.extend(&made.before.stack[..fields.stack.into()]);
    assert_eq!(record.words, words);
    let floats: Vec<u64> = made.before.vectors[..fields.floats.into()]
        .iter()
        .map(|vector| vector[0])
        .collect();
    assert_eq!(record.floats, floats);
    let texts = [
        (TEXT.to_vec(), End::Whole),
        (TEXT[..8].to_vec(), End::Whole),
        (TEXT.to_vec(), End::Whole),
        (TEXT.to_vec(), End::Whole),
        (TEXT.to_vec(), End::Whole),
    ];
    assert_eq!(record.captures, texts[..fields.captures.len()]);
}

/// That `record` is the one of its return.
pub(crate) fn check_return(record: &Seen, fields: &ReturnFields, made: &Call, span: (u64, u64)) {
    assert_eq!(record.stamp.is_some(), fields.stamp);
    assert!(
        record
            .stamp
            .is_none_or(|stamp| (span.0..=span.1).contains(&stamp))
    );
    assert_eq!(
        u64::from(record.stack_pointer),
        (made.before.stack_pointer - 8) & 0xffff_ffff
    );
    let mut words: Vec<u64> = [RAX, RDX][..fields.ints.into()]
        .iter()
        .map(|&at| made.left.registers[at])
        .collect();
    if fields.errno.is_some() {
        // SAFETY: it has no conditions.
        words.push(i64::from(unsafe { *libc::__errno_location() }).cast_unsigned());
    }
    assert_eq!(record.words, words);
    let floats: Vec<u64> = made.left.vectors[..fields.floats.into()]
        .iter()
        .map(|vector| vector[0])
        .collect();
    assert_eq!(record.floats, floats);
    assert_eq!(
        record.captures,
        vec![(TEXT.to_vec(), End::Whole); fields.captures.len()]
    );
}

/// That `records` are those of a call that was made.
pub(crate) fn check_records(
    records: &[Seen],
    stub: &Stub,
    recording: &Recording,
    made: &Call,
    span: (u64, u64),
) {
    let kinds: Vec<(u32, u32)> = records.iter().map(|record| (record.kind, record.id)).collect();
    let mut expected = vec![(CALL, stub.id)];
    expected.extend(recording.ret.as_ref().map(|_| (RETURN, stub.id)));
    assert_eq!(kinds, expected);
    check_call(&records[0], recording, made, span);
    if let Some(fields) = &recording.ret {
        check_return(&records[1], fields, made, span);
    }
}

fn set_errno(value: i32) {
    // SAFETY: it has no conditions.
    unsafe { *libc::__errno_location() = value };
}

#[test]
fn nothing_is_changed_and_all_is_recorded() {
    for recording in recordings() {
        let mut world = World::new(one_ring());
        let stub = world.stub(&recording, inspect());
        let mut consumer = world.consumer(0);
        let mut made = call();
        let inside = world.enter(0);
        set_errno(-7);
        let start = now();
        made.invoke(stub.entry());
        let span = (start, now());
        drop(inside);
        made.check();
        let seen = world.drain(&mut consumer);
        set_errno(-7);
        check_records(&seen, &stub, &recording, &made, span);
    }
}

#[test]
fn tail_calls_go_through_and_tell_the_first_caller() {
    for recording in recordings() {
        let mut world = World::new(one_ring());
        let plain = Recording {
            call: CallFields::default(),
            ret: Some(ReturnFields::default()),
        };
        let first = world.stub(&plain, jump_on());
        let second = world.stub(&recording, inspect());
        let mut consumer = world.consumer(0);
        let mut made = call();
        made.before.registers[crate::machine::R13] = second.entry();
        let inside = world.enter(0);
        let start = now();
        made.invoke(first.entry());
        let span = (start, now());
        drop(inside);
        made.check();
        let seen = world.drain(&mut consumer);
        let kinds: Vec<(u32, u32)> = seen.iter().map(|record| (record.kind, record.id)).collect();
        assert_eq!(
            kinds,
            [(CALL, first.id), (TAIL_CALL, second.id), (RETURN, first.id)]
        );
        check_call(&seen[1], &recording, &made, span);
    }
}

#[test]
fn without_a_ring_calls_go_through() {
    for recording in recordings() {
        let mut world = World::new(one_ring());
        let stub = world.stub(&recording, inspect());
        let mut consumer = world.consumer(0);
        let mut made = call();
        // No base at all: a fault.
        made.invoke(stub.entry());
        made.check();
        // Another's.
        let inside = world.enter(0);
        world.block(0)[fast_ring::format::block::OWNER / 8].store(1, std::sync::atomic::Ordering::Relaxed);
        made.invoke(stub.entry());
        // Its own thread's, given by a later tracer, whose recording code lies elsewhere.
        let bytes = world.areas.entries.end.get() - world.areas.entries.start.get();
        let start = world.areas.entries.start.wrapping_add(bytes);
        let later = Areas {
            entries: start..start.wrapping_add(bytes),
            returns: world.areas.returns.clone(),
        };
        let owner = |areas: &Areas| areas.owner(thread_pointer());
        assert_ne!(owner(&later), owner(&world.areas));
        world.block(0)[fast_ring::format::block::OWNER / 8]
            .store(owner(&later), std::sync::atomic::Ordering::Relaxed);
        made.invoke(stub.entry());
        drop(inside);
        made.check();
        assert_eq!(world.drain(&mut consumer), []);
    }
}
