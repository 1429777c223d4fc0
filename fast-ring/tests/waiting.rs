//! Who waits for whom, and for how long, by a clock that the test moves.

use fast_ring::{
    Body, Fields, Host, Layout, Note, OnFull, Outcome, Record, Region, RegionError, Shape, format, parse,
    split,
};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock in nanoseconds that moves only while somebody sleeps, and calls the test then.
struct Clock<'t> {
    now: Cell<u64>,
    waits: Cell<u64>,
    spins: Cell<u64>,
    woken: Cell<u64>,
    meanwhile: RefCell<Box<dyn FnMut(u64) + 't>>,
}

impl<'t> Clock<'t> {
    /// `meanwhile` is told how many waits there have been.
    fn new(meanwhile: impl FnMut(u64) + 't) -> Clock<'t> {
        Clock {
            now: Cell::new(0),
            waits: Cell::new(0),
            spins: Cell::new(0),
            woken: Cell::new(0),
            meanwhile: RefCell::new(Box::new(meanwhile)),
        }
    }
}

impl Host<AtomicU64> for Clock<'_> {
    fn wait(&self, _word: &AtomicU64, _seen: u32, at_most: Duration) {
        let ticks = u64::try_from(at_most.as_nanos()).unwrap();
        self.now.set(self.now.get() + ticks);
        self.waits.set(self.waits.get() + 1);
        self.meanwhile.borrow_mut()(self.waits.get());
    }
    fn wake(&self, _word: &AtomicU64) {
        self.woken.set(self.woken.get() + 1);
    }
    fn spin(&self) {
        self.now.set(self.now.get() + 1_000_000);
        self.spins.set(self.spins.get() + 1);
        self.meanwhile.borrow_mut()(self.spins.get());
    }
    fn now(&self) -> u64 {
        self.now.get()
    }
}

const RECORD: Body<'_> = Body {
    stack_pointer: 0,
    stamp: None,
    caller: None,
    words: &[1, 2, 3],
    floats: &[],
    captures: &[],
};

fn shapes() -> [Shape; 1] {
    let call = Fields {
        words: 3,
        ..Fields::default()
    };
    [Shape::new(call, None)]
}

/// A ring of 128 bytes: three records of 32 bytes have room.
fn memory() -> (Vec<AtomicU64>, Layout) {
    let layout = Layout::new(1, 128, 32).unwrap();
    let words = std::iter::repeat_with(AtomicU64::default)
        .take(layout.words())
        .collect();
    (words, layout)
}

/// Records until the ring is full.
fn fill(region: &Region<'_>, clock: &Clock<'_>) {
    let mut producer = region.ring(0).unwrap().producer(clock);
    for _ in 0..3 {
        assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Recorded));
    }
    assert_eq!(clock.waits.get(), 0);
}

const PATIENCE: u64 = 1_000_000_000;

#[test]
fn a_consumer_that_stands_still_is_waited_for_once() {
    let (words, layout) = memory();
    let region = Region::create(&words, layout).unwrap();
    region.attend(1, PATIENCE);
    let clock = Clock::new(|_| ());
    fill(&region, &clock);
    let mut producer = region.ring(0).unwrap().producer(&clock);
    assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Lost));
    let wait = u64::try_from(format::WAIT_AT_MOST.as_nanos()).unwrap();
    assert_eq!(clock.waits.get(), PATIENCE / wait + 1);
    // It is known to stand still now.
    for _ in 0..100 {
        assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Lost));
    }
    assert_eq!(clock.waits.get(), PATIENCE / wait + 1);
    // When it moves again, so does the program's patience.
    region.beat();
    assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Lost));
    assert_eq!(clock.waits.get(), 2 * (PATIENCE / wait + 1));
    assert_eq!(region.ring(0).unwrap().consumer().lost(), 102);
}

#[test]
fn a_consumer_that_beats_is_waited_for_as_long_as_it_takes() {
    let (words, layout) = memory();
    let region = Region::create(&words, layout).unwrap();
    region.attend(1, PATIENCE);
    let mut consumer = region.ring(0).unwrap().consumer();
    let quiet = Clock::new(|_| ());
    let clock = Clock::new(|waits| {
        if waits % 40 == 0 {
            region.beat();
        }
        if waits == 1000 {
            assert_eq!(
                consumer.drain(&shapes()[..], &quiet, |record| assert!(record.is_ok())),
                3
            );
        }
    });
    fill(&region, &clock);
    let mut producer = region.ring(0).unwrap().producer(&clock);
    assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Recorded));
    assert_eq!(clock.waits.get(), 1000);
    assert_eq!(quiet.woken.get(), 1, "a producer that waits is woken");
}

/// It waits as long as another would, but sleeps and wakes nobody.
#[test]
fn a_producer_that_spins_makes_no_system_call() {
    let (words, layout) = memory();
    let region = Region::create(&words, layout).unwrap();
    region.attend(1, PATIENCE);
    region.set_on_full(OnFull::Spin);
    let mut consumer = region.ring(0).unwrap().consumer();
    let quiet = Clock::new(|_| ());
    let clock = Clock::new(|spins| {
        if spins == 900 {
            assert_eq!(
                consumer.drain(&shapes()[..], &quiet, |record| assert!(record.is_ok())),
                3
            );
        }
    });
    fill(&region, &clock);
    region.fall_asleep();
    let mut producer = region.ring(0).unwrap().producer(&clock);
    for _ in 0..3 {
        assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Recorded));
    }
    assert_eq!(clock.spins.get(), 900);
    // Now nobody drains, and the beat stands still.
    assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Lost));
    assert_eq!(clock.now.get(), 900_000_000 + PATIENCE + 1_000_000);
    assert_eq!((clock.waits.get(), clock.woken.get()), (0, 0));
    assert_eq!(
        words[format::header::ASLEEP / 8].load(Ordering::Relaxed),
        1,
        "it would have been woken"
    );
}

/// What the kernel writes when a thread dies that has the word on its robust list.
#[test]
fn a_consumer_whose_death_is_told_is_not_waited_for() {
    let (words, layout) = memory();
    let region = Region::create(&words, layout).unwrap();
    region.attend(1, u64::MAX);
    let clock = Clock::new(|waits| {
        assert_eq!(waits, 1);
        words[format::header::CONSUMER / 8].store(format::CONSUMER_DIED, Ordering::Relaxed);
    });
    fill(&region, &clock);
    let mut producer = region.ring(0).unwrap().producer(&clock);
    for _ in 0..5 {
        assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Lost));
    }
    assert_eq!(clock.waits.get(), 1);
}

#[test]
fn nobody_waits_where_nobody_attends_or_where_records_are_to_be_dropped() {
    for attended in [false, true] {
        let (words, layout) = memory();
        let region = Region::create(&words, layout).unwrap();
        if attended {
            region.attend(1, u64::MAX);
            region.set_on_full(OnFull::Drop);
        }
        let clock = Clock::new(|_| panic!("it waits"));
        fill(&region, &clock);
        let mut producer = region.ring(0).unwrap().producer(&clock);
        assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Lost));
        assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Lost));
        let mut consumer = region.ring(0).unwrap().consumer();
        assert_eq!(
            consumer.drain(&shapes()[..], &clock, |record| assert!(record.is_ok())),
            3
        );
        assert_eq!(producer.call(0, &RECORD), Ok(Outcome::Recorded));
        let mut read = Vec::new();
        consumer.drain(&shapes()[..], &clock, |record| {
            read.push(matches!(record, Ok(Record::Note(Note::Lost { total: 2 }))));
        });
        assert_eq!(read, [true, false], "told where they are missing");
    }
}

/// A tracer that comes after one that died goes on where that one stood.
#[test]
fn a_region_that_was_left_is_taken_over() {
    let (words, layout) = memory();
    let clock = Clock::new(|_| panic!("it waits"));
    let first = Region::create(&words, layout).unwrap();
    fill(&first, &clock);
    let mut consumer = first.ring(0).unwrap().consumer();
    assert_eq!(
        consumer.drain(&shapes()[..], &clock, |record| assert!(record.is_ok())),
        3
    );
    fill(&first, &clock);
    drop(consumer);
    let second = Region::adopt(&words).unwrap();
    let mut consumer = second.ring(0).unwrap().consumer();
    assert_eq!(
        consumer.drain(&shapes()[..], &clock, |record| assert!(record.is_ok())),
        3
    );
    assert_eq!(
        Region::adopt(&words[1..]).unwrap_err(),
        RegionError::Magic(1),
        "which is the number of rings"
    );
}

/// Damage is told, and what is published afterwards is read.
#[test]
fn a_head_gone_wild_stops_nobody() {
    for head in [u64::MAX - 7, 1 << 63, 4096, 8] {
        let (words, layout) = memory();
        let region = Region::create(&words, layout).unwrap();
        region.attend(1, u64::MAX);
        let clock = Clock::new(|_| panic!("it waits"));
        fill(&region, &clock);
        let mut consumer = region.ring(0).unwrap().consumer();
        consumer.drain(&shapes()[..], &clock, |_| ());
        let at = layout.block_at(0).unwrap() + format::block::HEAD;
        words[at / 8].store(head, Ordering::Relaxed);
        let mut damage = 0;
        consumer.drain(&shapes()[..], &clock, |record| {
            damage += usize::from(record.is_err());
        });
        assert_eq!(damage, 1, "{head:#x}");
        fill(&region, &clock);
        assert_eq!(
            consumer.drain(&shapes()[..], &clock, |record| assert!(record.is_ok())),
            3,
            "{head:#x}"
        );
    }
}

/// What is written to a file is what was recorded, and no byte more than the format says.
#[test]
fn the_bytes_of_records_are_read_again() {
    let (words, layout) = memory();
    let region = Region::create(&words, layout).unwrap();
    let clock = Clock::new(|_| ());
    fill(&region, &clock);
    let mut consumer = region.ring(0).unwrap().consumer();
    let mut file = Vec::new();
    let items = consumer.drain_bytes(&clock, |record| file.extend_from_slice(record.unwrap()));
    assert_eq!((items, file.len()), (3, 3 * (8 + 3 * 8)));
    let mut rest = &file[..];
    for _ in 0..3 {
        let (record, after) = split(rest).unwrap();
        let shapes = shapes();
        let Ok(Record::Call(call)) = parse(record, &shapes[..]) else {
            panic!("{record:?}")
        };
        assert!(call.words().iter().eq([1, 2, 3]));
        rest = after;
    }
    assert!(rest.is_empty() && split(rest).is_err());
    assert!(split(&file[..31]).is_err(), "cut off");
    assert!(split(&[0; 16]).is_err(), "a record of no length");
}

#[test]
fn a_record_that_is_too_long_leaves_nothing_behind() {
    let (words, layout) = memory();
    let region = Region::create(&words, layout).unwrap();
    let clock = Clock::new(|_| ());
    let mut producer = region.ring(0).unwrap().producer(&clock);
    let long = Body {
        words: &[1, 2, 3, 4],
        ..Body::default()
    };
    assert_eq!(producer.call(0, &long).unwrap_err().max, 32);
    let mut consumer = region.ring(0).unwrap().consumer();
    assert_eq!(consumer.drain(&shapes()[..], &clock, |_| ()), 0);
    fill(&region, &clock);
}
