//! A region of which anything may have been written: the reader comes to its end, tells of it, and reads on.

use fast_ring::{
    Body, Captured, End, Fields, Layout, Merge, OneProcess, Outcome, Record, Region, Shape, format, parse,
};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

const RINGS: usize = 3;

fn layout() -> Layout {
    Layout::new(RINGS, 512, 128).unwrap()
}

fn memory() -> Vec<AtomicU64> {
    std::iter::repeat_with(AtomicU64::default)
        .take(layout().words())
        .collect()
}

fn fields() -> impl Strategy<Value = Fields> {
    (any::<bool>(), any::<bool>(), 0..4_u8, 0..3_u8, 0..3_u8).prop_map(
        |(stamp, caller, words, floats, captures)| Fields {
            stamp,
            caller,
            words,
            floats,
            captures,
        },
    )
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let shape = (fields(), proptest::option::of(fields())).prop_map(|(call, ret)| Shape::new(call, ret));
    proptest::collection::vec(shape, 1..5)
}

/// Any word, or one that could begin a record, or a position.
fn word() -> impl Strategy<Value = u64> {
    let first = (0..6_u32, 0..6_u32, 0..20_u32, any::<u32>()).prop_map(|(kind, id, words, sp)| {
        u64::from(sp) << 32 | u64::from(format::first_half(kind, id, words * 8))
    });
    let position = (0..2048_u64).prop_map(|word| word * 8);
    prop_oneof![any::<u64>(), first.clone(), first, position, 0..9_u64]
}

/// Looks at all that a record has.
fn look_at(record: &Record<'_>) {
    if let Record::Call(call) | Record::TailCall(call) | Record::Return(call) = record {
        let bytes: usize = call.captures().iter().map(|capture| capture.bytes.len()).sum();
        let words = call.words().iter().count() + call.floats().iter().count();
        assert_eq!(words, call.words().len() + call.floats().len());
        assert!(bytes + words * 8 <= 128);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_record_or_damage(bytes in proptest::collection::vec(any::<u8>(), 0..200), shapes in shapes()) {
        if let Ok(record) = parse(&bytes, &shapes) {
            look_at(&record);
        }
    }

    #[test]
    fn any_words_are_read_to_an_end(
        writes in proptest::collection::vec((any::<proptest::sample::Index>(), word()), 0..300),
        heads in proptest::collection::vec(word(), RINGS),
        shapes in shapes(),
        now in prop_oneof![any::<u64>(), Just(u64::MAX)],
    ) {
        let (words, host) = (memory(), OneProcess::new());
        let region = Region::create(&words, layout()).unwrap();
        let mut rings: Vec<_> = region.rings().map(|ring| ring.consumer()).collect();
        for (at, word) in &writes {
            at.get(&words).store(*word, Ordering::Relaxed);
        }
        for (ring, head) in heads.iter().enumerate() {
            let at = layout().block_at(ring).unwrap() + format::block::HEAD;
            words[at / 8].store(*head, Ordering::Relaxed);
        }
        // No pass reads more than the ring has words, and one that finds nothing new says so.
        let most = layout().ring_bytes() / 8 + 2;
        let mut merge = Merge::new(10);
        let merged = merge.drain(now, &mut rings, &shapes, &host, |_, item| { item.iter().for_each(look_at); });
        prop_assert!(merged.items <= most * RINGS);
        for ring in &mut rings {
            let items = ring.drain(&shapes, &host, |item| { item.iter().for_each(look_at); });
            prop_assert!(items <= most);
            // A head that is no multiple of 8 is told of again, in each pass once.
            prop_assert!(ring.drain(&shapes, &host, |item| assert!(item.is_err())) <= 1);
        }
        // The rings are of use to the next thread.
        for (index, ring) in rings.iter_mut().enumerate() {
            ring.hand_over(Some(7));
            let words = vec![index as u64; usize::from(shapes[0].call.words)];
            let floats = vec![3; usize::from(shapes[0].call.floats)];
            let captures = vec![Captured { bytes: b"abc", end: End::Cut }; usize::from(shapes[0].call.captures)];
            let stamp = shapes[0].call.stamp.then_some(5);
            let caller = shapes[0].call.caller.then_some(6);
            let body = Body { stack_pointer: 8, stamp, caller, words: &words, floats: &floats, captures: &captures };
            prop_assert_eq!(region.ring(index).unwrap().producer(&host).call(0, &body), Ok(Outcome::Recorded));
            let mut read = 0;
            ring.drain(&shapes, &host, |item| {
                let Ok(Record::Call(call)) = item else { panic!("{item:?}") };
                assert_eq!((call.stack_pointer(), call.stamp(), call.caller()), (8, stamp, caller));
                assert!(call.words().iter().eq(words.iter().copied()));
                assert!(call.floats().iter().eq(floats.iter().copied()));
                assert_eq!(call.captures().iter().count(), captures.len());
                assert!(call.captures().iter().all(|capture| capture.bytes == b"abc" && capture.end == End::Cut));
                read += 1;
            });
            prop_assert_eq!(read, 1);
        }
    }

    /// What is recorded is what is read, wherever in the ring it lies.
    #[test]
    fn records_come_back(
        lengths in proptest::collection::vec((0..8_usize, 0..40_usize, any::<bool>()), 1..100),
        batch in 1..5_usize,
    ) {
        let (words, host) = (memory(), OneProcess::new());
        let region = Region::create(&words, layout()).unwrap();
        let ring = region.ring(1).unwrap();
        let (mut producer, mut consumer) = (ring.producer(&host), ring.consumer());
        let shapes: Vec<Shape> = (0..8)
            .map(|words| {
                let fields = Fields { words, captures: 1, ..Fields::default() };
                Shape::new(fields, Some(fields))
            })
            .collect();
        let text = [b'x'; 40];
        let mut number = 0_u64;
        for batch in lengths.chunks(batch) {
            for &(len, bytes, call) in batch {
                let words: Vec<u64> = (0..len as u64).map(|index| number << 8 | index).collect();
                let captures = [Captured { bytes: &text[..bytes], end: End::Whole }];
                let body = Body { words: &words, captures: &captures, ..Body::default() };
                let id = u32::try_from(len).unwrap();
                let outcome = if call { producer.call(id, &body) } else { producer.ret(id, &body) };
                prop_assert_eq!(outcome, Ok(Outcome::Recorded));
                number += 1;
            }
            let mut next = number - batch.len() as u64;
            let mut expected = batch.iter();
            consumer.drain(&shapes, &host, |item| {
                let &(len, bytes, is_call) = expected.next().unwrap();
                let (call, was_call) = match item.unwrap() {
                    Record::Call(call) => (call, true),
                    Record::Return(call) => (call, false),
                    other => panic!("{other:?}"),
                };
                assert_eq!((call.words().len(), was_call), (len, is_call));
                assert!(call.words().iter().zip(0..).all(|(word, index)| word == next << 8 | index));
                assert_eq!(call.captures().iter().next().unwrap().bytes, &text[..bytes]);
                next += 1;
            });
            prop_assert!(expected.next().is_none());
        }
    }
}
