//! Any words may lie in a region: passes end, and the rings can be used again.
#![no_main]

use fast_ring::{Body, Fields, Layout, Merge, OneProcess, Outcome, Record, Region, Shape};
use libfuzzer_sys::fuzz_target;
use std::sync::atomic::{AtomicU64, Ordering};

fuzz_target!(|writes: Vec<(u16, u64)>| {
    let Ok(layout) = Layout::new(2, 512, 128) else {
        return;
    };
    let words: Vec<AtomicU64> = std::iter::repeat_with(AtomicU64::default)
        .take(layout.words())
        .collect();
    let host = OneProcess::new();
    let region = Region::create(&words, layout).expect("fresh memory");
    let mut rings: Vec<_> = region.rings().map(|ring| ring.consumer()).collect();
    for (at, word) in writes {
        words[usize::from(at) % words.len()].store(word, Ordering::Relaxed);
    }
    let call = Fields {
        stamp: true,
        words: 2,
        captures: 1,
        ..Fields::default()
    };
    let bare = Fields {
        words: 1,
        ..Fields::default()
    };
    let shapes = [
        Shape::new(call, Some(bare)),
        Shape::new(bare, None),
    ];
    let most = layout.ring_bytes() / 8 + 2;
    let merged = Merge::new(100).drain(1000, &mut rings, &shapes[..], &host, |_, _| ());
    assert!(merged.items <= 2 * most);
    for (index, ring) in rings.iter_mut().enumerate() {
        assert!(ring.drain(&shapes[..], &host, |_| ()) <= most);
        ring.hand_over(Some(1));
        let mut producer = region.ring(index).expect("there are two").producer(&host);
        let body = Body {
            words: &[7],
            ..Body::default()
        };
        assert_eq!(producer.call(1, &body), Ok(Outcome::Recorded));
        let mut read = 0;
        ring.drain(&shapes[..], &host, |item| {
            read += usize::from(matches!(item, Ok(Record::Call(_))))
        });
        assert_eq!(read, 1);
    }
});
