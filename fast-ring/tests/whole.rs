//! Draining whole calls gives what draining records gives.

use fast_ring::{
    Body, Captured, Damage, End, Fields, Item, Layout, Note, OneProcess, Outcome, Record, Region, Ring, Shape,
};
use std::sync::atomic::{AtomicU64, Ordering};

fn memory(layout: Layout) -> Vec<AtomicU64> {
    std::iter::repeat_with(AtomicU64::default)
        .take(layout.words())
        .collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
}

const SHAPES: [Shape; 3] = {
    let few = Fields {
        stamp: false,
        caller: false,
        words: 1,
        floats: 0,
        captures: 0,
    };
    let many = Fields {
        stamp: true,
        words: 5,
        captures: 1,
        ..few
    };
    [
        Shape::new(few, Some(few)),
        Shape::new(many, Some(few)),
        Shape::new(few, None),
    ]
};

/// Records something: what, is told by the numbers.
fn record(ring: Ring<'_>, host: &OneProcess, kind: u64, id: u32, number: u64) {
    let shape = SHAPES[id as usize];
    let (fields, is_return) = match shape.ret {
        Some(ret) if kind == 1 => (ret, true),
        _ => (shape.call, false),
    };
    let bytes = vec![b'x'; usize::try_from(number % 40).unwrap()];
    let captures = [Captured {
        bytes: &bytes,
        end: End::Whole,
    }];
    let words = [number; 5];
    let body = Body {
        stack_pointer: u32::try_from(number % 3).unwrap(),
        stamp: fields.stamp.then_some(number),
        words: &words[..fields.words.into()],
        captures: &captures[..fields.captures.into()],
        ..Body::default()
    };
    let mut producer = ring.producer(host);
    let outcome = match (kind, is_return) {
        (1, true) => producer.ret(id, &body),
        (2, _) => producer.tail_call(id, &body),
        (3, _) => producer.note(Note::Lost { total: number }),
        _ => producer.call(id, &body),
    };
    assert_eq!(outcome, Ok(Outcome::Recorded));
}

/// All that can be told of what was drained, as text.
fn drained(ring: Ring<'_>, host: &OneProcess, consumer: &mut fast_ring::Consumer<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let _ = ring;
    consumer.drain(&SHAPES[..], host, |item| found.push(format!("{item:?}")));
    found
}

fn drained_whole(host: &OneProcess, consumer: &mut fast_ring::Consumer<'_>) -> (Vec<String>, usize) {
    let (mut found, mut pairs) = (Vec::new(), 0);
    let told = |item: Result<Record<'_>, Damage>| format!("{item:?}");
    consumer.drain_calls(&SHAPES[..], host, |item| match item {
        Ok(Item::Whole(call, ret)) => {
            pairs += 1;
            found.push(told(Ok(Record::Call(call))));
            found.push(told(Ok(Record::Return(ret))));
        }
        Ok(Item::Record(record)) => found.push(told(Ok(record))),
        Ok(other) => panic!("{other:?}"),
        Err(damage) => found.push(told(Err(damage))),
    });
    (found, pairs)
}

#[test]
fn whole_calls_are_the_same_records() {
    let mut random = Random(7);
    for ring_bytes in [256, 1024, 1 << 15] {
        let layout = Layout::new(2, ring_bytes, 104).unwrap();
        let words = memory(layout);
        let region = Region::create(&words, layout).unwrap();
        let host = OneProcess::new();
        let [one, other] = [0, 1].map(|index| region.ring(index).unwrap());
        let (mut plain, mut whole) = (one.consumer(), other.consumer());
        let mut pairs = 0;
        for _ in 0..2000 {
            for _ in 0..=random.below(ring_bytes as u64 / 208) {
                let (kind, id, number) = (
                    random.below(4),
                    u32::try_from(random.below(3)).unwrap(),
                    random.below(1000),
                );
                record(one, &host, kind, id, number);
                record(other, &host, kind, id, number);
                if kind == 0 && random.below(2) == 0 {
                    record(one, &host, 1, id, number);
                    record(other, &host, 1, id, number);
                }
                if whole.unread() > ring_bytes as u64 / 4 {
                    break;
                }
            }
            let (found, some) = drained_whole(&host, &mut whole);
            pairs += some;
            assert_eq!(found, drained(one, &host, &mut plain));
        }
        // In a small ring little is copied at a time, and seldom two records.
        assert!(pairs > ring_bytes / 8, "{pairs}");
    }
}

/// Calls that return at once are one item each, but for those that lie on the ring's end.
#[test]
fn all_calls_that_return_at_once_are_one_item() {
    const CALLS: u64 = 20_000;
    let layout = Layout::new(1, 1 << 16, 104).unwrap();
    let words = memory(layout);
    let region = Region::create(&words, layout).unwrap();
    let host = OneProcess::new();
    let ring = region.ring(0).unwrap();
    let mut consumer = ring.consumer();
    let (mut pairs, mut items) = (0, 0);
    for number in 0..CALLS {
        record(ring, &host, 0, 0, number);
        record(ring, &host, 1, 0, number);
        if number % 500 == 499 {
            let (found, some) = drained_whole(&host, &mut consumer);
            (pairs, items) = (pairs + some, items + found.len());
        }
    }
    assert_eq!(items as u64, CALLS * 2);
    let rounds = CALLS * 32 / (1 << 16) + 1;
    assert!(pairs as u64 >= CALLS - rounds, "{pairs}");
}

/// Whatever is in the memory, both ways end, and tell the same.
#[test]
fn damage_is_the_same_both_ways() {
    let mut random = Random(99);
    let layout = Layout::new(1, 512, 104).unwrap();
    for _ in 0..3000 {
        let words = memory(layout);
        let region = Region::create(&words, layout).unwrap();
        let host = OneProcess::new();
        let ring = region.ring(0).unwrap();
        let (mut plain, mut whole) = (ring.consumer(), ring.consumer());
        for number in 0..random.below(10) {
            record(
                ring,
                &host,
                random.below(4),
                u32::try_from(random.below(3)).unwrap(),
                number,
            );
        }
        for _ in 0..random.below(4) {
            let data = layout.data_at(0).unwrap() / 8;
            let at = data + usize::try_from(random.below(64)).unwrap();
            let value = random.below(u64::MAX) & (u64::MAX >> random.below(64));
            words[at].store(value, Ordering::Relaxed);
        }
        if random.below(8) == 0 {
            let head = layout.block_at(0).unwrap() / 8;
            words[head].store(random.below(700), Ordering::Relaxed);
        }
        let found = drained(ring, &host, &mut plain);
        assert_eq!(drained_whole(&host, &mut whole).0, found);
    }
}
