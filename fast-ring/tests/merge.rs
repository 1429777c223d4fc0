//! Several rings as one stream.

use fast_ring::{Body, Consumer, Fields, Layout, Merge, Merged, OneProcess, Outcome, Record, Region, Shape};
use std::sync::atomic::AtomicU64;

/// Call points 0 and 1: with a time stamp, and without.
fn shapes() -> [Shape; 2] {
    let stamped = Fields {
        stamp: true,
        words: 1,
        ..Fields::default()
    };
    let bare = Fields {
        stamp: false,
        ..stamped
    };
    [stamped, bare].map(|call| Shape::new(call, None))
}

struct Rings {
    words: Vec<AtomicU64>,
    host: OneProcess,
}

impl Rings {
    fn new(rings: usize) -> Rings {
        let layout = Layout::new(rings, 1024, 64).unwrap();
        let words: Vec<AtomicU64> = std::iter::repeat_with(AtomicU64::default)
            .take(layout.words())
            .collect();
        Region::create(&words, layout).unwrap();
        Rings {
            words,
            host: OneProcess::new(),
        }
    }

    fn region(&self) -> Region<'_> {
        Region::adopt(&self.words).unwrap()
    }

    fn consumers(&self) -> Vec<Consumer<'_>> {
        self.region().rings().map(|ring| ring.consumer()).collect()
    }

    fn record(&self, ring: usize, stamp: Option<u64>, number: u64) {
        let body = Body {
            stamp,
            words: &[number],
            ..Body::default()
        };
        let mut producer = self.region().ring(ring).unwrap().producer(&self.host);
        assert_eq!(
            producer.call(u32::from(stamp.is_none()), &body),
            Ok(Outcome::Recorded)
        );
    }

    /// A pass: which ring and number come out, and what it says.
    fn pass(
        &self,
        merge: &mut Merge,
        consumers: &mut [Consumer<'_>],
        now: u64,
    ) -> (Vec<(usize, u64)>, Merged) {
        let mut out = Vec::new();
        let merged = merge.drain(now, consumers, &shapes()[..], &self.host, |ring, record| {
            let Ok(Record::Call(call)) = record else {
                panic!("{record:?}")
            };
            out.push((ring, call.words().get(0).unwrap()));
        });
        assert_eq!(merged.items, out.len());
        (out, merged)
    }
}

#[test]
fn stamps_decide_between_rings_and_order_within() {
    let rings = Rings::new(3);
    let mut consumers = rings.consumers();
    for (ring, stamp, number) in [
        (0, Some(10), 0),
        (0, Some(40), 1),
        (1, Some(20), 2),
        (1, None, 3),
        (1, Some(15), 4), // a clock that goes back does not reorder a thread
        (2, Some(30), 5),
    ] {
        rings.record(ring, stamp, number);
    }
    let (out, merged) = rings.pass(&mut Merge::new(0), &mut consumers, u64::MAX);
    assert_eq!(out, [(0, 0), (1, 2), (1, 3), (1, 4), (2, 5), (0, 1)]);
    assert_eq!(merged.late, 0);
}

#[test]
fn what_another_ring_may_still_precede_waits_for_the_window() {
    let rings = Rings::new(2);
    let mut consumers = rings.consumers();
    let mut merge = Merge::new(100);
    rings.record(0, Some(50), 0);
    assert_eq!(rings.pass(&mut merge, &mut consumers, 60).0, []);
    rings.record(1, Some(40), 1);
    assert_eq!(rings.pass(&mut merge, &mut consumers, 139).0, [(1, 1)]);
    assert_eq!(rings.pass(&mut merge, &mut consumers, 149).0, []);
    assert_eq!(rings.pass(&mut merge, &mut consumers, 150).0, [(0, 0)]);
    // It took longer than the window between its clock and its publication.
    rings.record(1, Some(45), 2);
    let (out, merged) = rings.pass(&mut merge, &mut consumers, 200);
    assert_eq!((out, merged.late), (vec![(1, 2)], 1));
}

#[test]
fn a_ring_that_fills_does_not_wait_for_the_window() {
    let rings = Rings::new(2);
    let mut consumers = rings.consumers();
    let mut merge = Merge::new(1_000_000);
    for number in 0..22 {
        rings.record(0, Some(number), number);
    }
    assert!(rings.pass(&mut merge, &mut consumers, 100).0.len() == 22);
}

#[test]
fn a_stamp_from_the_future_is_none() {
    let rings = Rings::new(2);
    let mut consumers = rings.consumers();
    let mut merge = Merge::new(100);
    rings.record(0, Some(u64::MAX), 0);
    rings.record(0, Some(30), 1);
    rings.record(1, Some(20), 2);
    let (out, _) = rings.pass(&mut merge, &mut consumers, 1000);
    assert_eq!(out, [(0, 0), (1, 2), (0, 1)]);
}

/// Two threads that stamp from one counter, merged while they record: each thread's order is exact, and with a window in which
/// nobody can be late none is.
#[test]
fn threads_that_record_are_merged() {
    let rings = Rings::new(2);
    let clock = AtomicU64::new(0);
    let region = rings.region();
    region.attend(1, u64::MAX);
    let count = 5000;
    std::thread::scope(|scope| {
        for ring in 0..2 {
            let (rings, clock) = (&rings, &clock);
            scope.spawn(move || {
                for number in 0..count {
                    let stamp = clock.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    rings.record(ring, Some(stamp), number);
                }
            });
        }
        let mut consumers = rings.consumers();
        let mut merge = Merge::new(1);
        let mut next = [0; 2];
        while next != [count; 2] {
            let now = clock.load(std::sync::atomic::Ordering::SeqCst);
            for (ring, number) in rings.pass(&mut merge, &mut consumers, now).0 {
                assert_eq!(number, next[ring]);
                next[ring] += 1;
            }
            if next.iter().sum::<u64>() > count {
                merge.forget(0);
            }
            region.beat();
            std::thread::yield_now();
        }
    });
}
