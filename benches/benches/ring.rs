//! Recording in shared memory, and reading it, in one thread: what the copying and the checks cost.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fast_ring::{Body, Consumer, Fields, Layout, Merge, OneProcess, Outcome, Packer, Region, Shape};
use std::cell::RefCell;
use std::hint::black_box;
use std::sync::atomic::AtomicU64;

const RING_BYTES: usize = 1 << 20;
/// Fewer than fit into a ring.
const BATCH: u64 = 10_000;

/// Zeroed memory for so many rings.
fn memory(rings: usize) -> (Vec<AtomicU64>, Layout) {
    let layout = Layout::new(rings, RING_BYTES, 512).expect("a layout");
    let words = std::iter::repeat_with(AtomicU64::default);
    (words.take(layout.words()).collect(), layout)
}

/// A call of six words, with a time stamp.
fn shapes() -> [Shape; 1] {
    let call = Fields {
        stamp: true,
        words: 6,
        ..Fields::default()
    };
    [Shape::new(call, None)]
}

fn record(region: &Region<'_>, host: &OneProcess, ring: usize, from: u64) {
    let mut producer = region.ring(ring).expect("it is there").producer(host);
    for number in from..from + BATCH {
        let words = black_box([number, 1, 2, 3, 4, 5]);
        let body = Body {
            stamp: Some(number),
            words: &words,
            ..Body::default()
        };
        assert_eq!(producer.call(0, &body), Ok(Outcome::Recorded));
    }
}

/// Reads everything.
fn drain(consumer: &mut Consumer<'_>, host: &OneProcess) -> u64 {
    let mut sum = 0_u64;
    consumer.drain(&shapes()[..], host, |item| {
        sum = sum.wrapping_add(item.ok().and_then(|record| record.stamp()).unwrap_or(0));
    });
    sum
}

fn ring(c: &mut Criterion) {
    let host = OneProcess::new();
    let (words, layout) = memory(4);
    let region = Region::create(&words, layout).expect("fresh memory");
    let consumers: RefCell<Vec<Consumer<'_>>> =
        RefCell::new(region.rings().map(|ring| ring.consumer()).collect());
    let drain_all = || {
        let mut consumers = consumers.borrow_mut();
        consumers.iter_mut().map(|ring| drain(ring, &host)).sum::<u64>()
    };
    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("record six words", |b| {
        b.iter_batched(
            drain_all,
            |_| record(&region, &host, 0, 0),
            criterion::BatchSize::PerIteration,
        );
    });
    group.bench_function("drain six words", |b| {
        b.iter_batched(
            || record(&region, &host, 1, 0),
            |()| drain(&mut consumers.borrow_mut()[1], &host),
            criterion::BatchSize::PerIteration,
        );
    });
    let (mut packer, mut packed) = (Packer::new(), Vec::new());
    group.bench_function("pack six words for a file", |b| {
        b.iter_batched(
            || record(&region, &host, 2, 0),
            |()| {
                packed.clear();
                consumers.borrow_mut()[2].drain_whole(&host, |records| {
                    let records = records.expect("whole records");
                    packer.pack_all(records, &mut packed).expect("whole records");
                });
            },
            criterion::BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(4 * BATCH));
    group.bench_function("merge four rings", |b| {
        b.iter_batched(
            || {
                drain_all();
                (0..4).for_each(|ring| record(&region, &host, ring, 0));
            },
            |()| {
                let mut merge = Merge::new(0);
                merge.drain(
                    u64::MAX,
                    &mut consumers.borrow_mut(),
                    &shapes()[..],
                    &host,
                    |_, item| {
                        black_box(item.is_ok());
                    },
                )
            },
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, ring);
criterion_main!(benches);
