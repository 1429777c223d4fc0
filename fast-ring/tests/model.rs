//! The protocol in every interleaving of its sides with up to two or three preemptions, and with every older value that a load may see,
//! by loom. It does not model a load that sees a *later* store of the other side: that a producer's words are not stored before the
//! consumer has read what lay there is the argument of `LIMIT`'s release and acquire alone.

use fast_ring::{
    Body, Fields, Host, Layout, Note, OnFull, Outcome, Producer, Record, Region, Shape, Word, format,
};
use loom::sync::atomic::{AtomicU64, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A word of loom's.
struct Modelled(AtomicU64);

impl Word for Modelled {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }
    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }
    fn add(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Release);
    }
    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// A futex without a time limit: a wake-up that is missed is a deadlock, which loom finds.
struct Futex {
    lock: Mutex<()>,
    woken: Condvar,
}

impl Host<Modelled> for Futex {
    fn wait(&self, word: &Modelled, seen: u32, _at_most: Duration) {
        let guard = self.lock.lock().unwrap();
        if word.load(Ordering::SeqCst) == u64::from(seen) {
            drop(self.woken.wait(guard).unwrap());
        }
    }
    fn wake(&self, _word: &Modelled) {
        let _guard = self.lock.lock().unwrap();
        self.woken.notify_all();
    }
    fn spin(&self) {
        thread::yield_now();
    }
    fn now(&self) -> u64 {
        0
    }
}

/// A ring of eight words with records of at most three: it is full after two.
struct Shared {
    words: Vec<Modelled>,
    host: Futex,
}

impl Shared {
    fn new(attended: bool) -> Arc<Shared> {
        let layout = Layout::new(1, 64, 24).unwrap();
        let words: Vec<Modelled> = std::iter::repeat_with(|| Modelled(AtomicU64::new(0)))
            .take(layout.words())
            .collect();
        let region = Region::create(&words, layout).unwrap();
        if attended {
            region.attend(1, u64::MAX);
        }
        Arc::new(Shared {
            words,
            host: Futex {
                lock: Mutex::new(()),
                woken: Condvar::new(),
            },
        })
    }

    fn region(&self) -> Region<'_, Modelled> {
        Region::adopt(&self.words).unwrap()
    }
}

/// A thread with the ring's producer.
fn produce<T: 'static>(
    shared: &Arc<Shared>,
    records: impl FnOnce(&mut Producer<'_, '_, Modelled, Futex>) -> T + 'static,
) -> thread::JoinHandle<T> {
    let shared = shared.clone();
    thread::spawn(move || {
        let ring = shared.region().ring(0).unwrap();
        records(&mut ring.producer(&shared.host))
    })
}

/// Two words, of which the second is the first one's complement.
fn shapes() -> [Shape; 1] {
    let fields = Fields {
        words: 2,
        ..Fields::default()
    };
    [Shape::new(fields, None)]
}

fn body(words: &[u64; 2]) -> Body<'_> {
    Body {
        words,
        ..Body::default()
    }
}

/// The number in a record that must be whole.
fn number(record: &Record<'_>) -> u64 {
    let Record::Call(call) = record else {
        panic!("{record:?}")
    };
    let (number, check) = (call.words().get(0).unwrap(), call.words().get(1).unwrap());
    assert_eq!(number, !check, "torn");
    number
}

fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(run);
}

/// Reads `count` records and checks that they are the numbers from 0 on.
fn read(shared: &Shared, count: u64, until: u64, next: &mut u64) {
    let region = shared.region();
    let mut consumers = [region.ring(0).unwrap().consumer()];
    while *next < until {
        consumers[0].drain(&shapes()[..], &shared.host, |record| {
            assert_eq!(number(&record.unwrap()), *next);
            *next += 1;
        });
        if *next < until {
            region.sleep(&consumers, &shared.host, Duration::MAX);
        }
    }
    assert!(*next <= count);
}

#[test]
fn a_full_ring_loses_nothing_and_nobody_sleeps_for_ever() {
    model(2, || {
        let shared = Shared::new(true);
        let producer = produce(&shared, move |producer| {
            for number in 0..4 {
                let outcome = producer.call(0, &body(&[number, !number])).unwrap();
                assert_eq!(outcome, Outcome::Recorded);
            }
        });
        let mut next = 0;
        // Less than a quarter ring wakes nobody: the last record is read when its producer has gone.
        read(&shared, 4, 3, &mut next);
        producer.join().unwrap();
        read(&shared, 4, 4, &mut next);
    });
}

/// A producer that may make no system call wakes nobody: the consumer looks again and again.
#[test]
fn a_producer_that_spins_loses_nothing() {
    model(2, || {
        let shared = Shared::new(true);
        shared.region().set_on_full(OnFull::Spin);
        let producer = produce(&shared, move |producer| {
            for number in 0..4 {
                let outcome = producer.call(0, &body(&[number, !number])).unwrap();
                assert_eq!(outcome, Outcome::Recorded);
            }
        });
        let region = shared.region();
        let mut consumer = region.ring(0).unwrap().consumer();
        let mut next = 0;
        while next < 4 {
            consumer.drain(&shapes()[..], &shared.host, |record| {
                assert_eq!(number(&record.unwrap()), next);
                next += 1;
            });
            thread::yield_now();
        }
        producer.join().unwrap();
    });
}

/// A record is interrupted after each of its steps by a handler that records.
#[test]
fn a_record_in_a_signal_handler_tears_none() {
    for step in 0..=2 {
        model(3, move || {
            let shared = Shared::new(true);
            let producer = produce(&shared, move |producer| {
                let mut draft = producer.begin().unwrap();
                for word in [u64::MAX, 7].into_iter().take(step) {
                    draft.word(word).unwrap();
                }
                drop(draft); // the signal: its handler records, and the record is begun again
                assert_eq!(producer.call(0, &body(&[0, !0])).unwrap(), Outcome::Recorded);
                assert_eq!(producer.call(0, &body(&[1, !1])).unwrap(), Outcome::Recorded);
                // Killed in the middle of another.
                let mut draft = producer.begin().unwrap();
                let _ = draft.word(9);
            });
            let mut next = 0;
            read(&shared, 2, 1, &mut next);
            producer.join().unwrap();
            read(&shared, 2, 2, &mut next);
            let mut consumer = shared.region().ring(0).unwrap().consumer();
            assert_eq!(consumer.drain(&shapes()[..], &shared.host, |_| ()), 0);
        });
    }
}

#[test]
fn a_consumer_that_leaves_lets_the_producer_go() {
    model(3, || {
        let shared = Shared::new(true);
        let producer = produce(&shared, move |producer| {
            (0..3)
                .filter(|&number| producer.call(0, &body(&[number, !number])).unwrap() == Outcome::Lost)
                .count()
        });
        shared.region().leave(&shared.host);
        let lost = producer.join().unwrap();
        assert_eq!(lost, 1, "two have room");
        let consumer = shared.region().ring(0).unwrap().consumer();
        assert_eq!(consumer.lost(), 1);
    });
}

#[test]
fn what_is_dropped_is_told_where_it_is_missing() {
    model(3, || {
        let shared = Shared::new(false);
        let producer = produce(&shared, move |producer| {
            for number in 0..4 {
                let _ = producer.call(0, &body(&[number, !number])).unwrap();
            }
        });
        let mut consumer = shared.region().ring(0).unwrap().consumer();
        let (mut next, mut told) = (0, 0);
        let mut check = |record: Record<'_>| match record {
            Record::Note(Note::Lost { total }) => {
                next += total - told;
                told = total;
            }
            record => {
                assert_eq!(number(&record), next);
                next += 1;
            }
        };
        consumer.drain(&shapes()[..], &shared.host, |record| check(record.unwrap()));
        producer.join().unwrap();
        consumer.drain(&shapes()[..], &shared.host, |record| check(record.unwrap()));
        assert_eq!(next + consumer.lost() - told, 4);
    });
}

#[test]
fn the_stubs_would_be_told_of_the_same_numbers() {
    // 3 words, call, call point 5: the half word that recording code has as an immediate.
    assert_eq!(format::first_half(format::CALL, 5, 24), 3 << 23 | 1 << 20 | 5);
}
