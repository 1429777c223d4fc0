//! Rings that fill up, with consumers of every kind.

use crate::world::{Futex, Seen, Stub, World, now, one_word};
use fast_ring::format::block::{LIMIT, WAITING};
use fast_ring::format::header::CONSUMER;
use fast_ring::format::{CALL, CONSUMER_DIED, RETURN};
use fast_ring::{Consumer, Layout, Note, OnFull, Record};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

extern "C" fn next(number: u64) -> u64 {
    number + 1
}
type Next = extern "C" fn(u64) -> u64;

fn small() -> Layout {
    Layout::new(1, 4096, 128).unwrap()
}

struct Numbers {
    world: World,
    stub: Stub,
}

impl Numbers {
    fn new(layout: Layout) -> Numbers {
        let mut world = World::new(layout);
        Numbers {
            stub: world.stub(&one_word(), next as *const () as u64),
            world,
        }
    }

    /// Calls with the numbers from 0.
    fn call(&self, count: u64) {
        // SAFETY: it is before `next`.
        let through: Next = unsafe { self.stub.function() };
        for number in 0..count {
            assert_eq!(through(number), number + 1);
        }
    }
}

/// That records come in order, none is missing, and each is whole.
#[derive(Default)]
struct Order {
    calls: u64,
    returns: u64,
}

impl Order {
    fn see(&mut self, record: &Seen) {
        match record.kind {
            CALL => {
                assert_eq!(record.words, [self.calls]);
                self.calls += 1;
            }
            RETURN => {
                self.returns += 1;
                assert_eq!(record.words, [self.returns]);
                assert_eq!(self.returns, self.calls);
            }
            kind => panic!("{kind}"),
        }
    }

    fn drain(&mut self, numbers: &Numbers, consumer: &mut Consumer<'_>) {
        consumer.drain(&numbers.world.shapes, &Futex, |record| {
            self.see(&Seen::of(&record.unwrap()).expect("no note"));
        });
    }
}

#[test]
fn nothing_is_lost_with_a_slow_consumer() {
    const CALLS: u64 = 200_000;
    let numbers = Numbers::new(small());
    let mut consumer = numbers.world.consumer(0);
    let done = AtomicBool::new(false);
    let mut order = Order::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _inside = numbers.world.enter(0);
            numbers.call(CALLS);
            done.store(true, Ordering::Release);
        });
        // It sleeps, so that it is to be woken, and reads so seldom that the ring is full.
        loop {
            let over = done.load(Ordering::Acquire);
            numbers.world.region.beat();
            order.drain(&numbers, &mut consumer);
            if over {
                break;
            }
            let block = numbers.world.block(0);
            if block[WAITING / 8].load(Ordering::Relaxed) == 0 {
                numbers
                    .world
                    .region
                    .sleep([&consumer], &Futex, Duration::from_millis(1));
            }
        }
    });
    assert_eq!((order.calls, order.returns, consumer.lost()), (CALLS, CALLS, 0));
}

/// From now on a futex(2) of this thread on a word of `memory` kills the process. Its own go on.
fn forbid_futex(memory: std::ops::Range<u64>) {
    let half = |address: u64, shift| u32::try_from(address >> shift & u64::from(u32::MAX)).unwrap();
    assert_eq!(half(memory.start, 32), half(memory.end, 32));
    let load = |k| (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, k);
    let skip = |test, otherwise, k| (libc::BPF_JMP | test | libc::BPF_K, 0, otherwise, k);
    let end = |k| (libc::BPF_RET | libc::BPF_K, 0, 0, k);
    // `struct seccomp_data`: the number at 0, the first argument's halves at 16 and 20.
    let program = [
        load(0),
        skip(libc::BPF_JEQ, 6, u32::try_from(libc::SYS_futex).unwrap()),
        load(20),
        skip(libc::BPF_JEQ, 4, half(memory.start, 32)),
        load(16),
        skip(libc::BPF_JGE, 2, half(memory.start, 0)),
        (
            libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K,
            1,
            0,
            half(memory.end, 0),
        ),
        end(libc::SECCOMP_RET_KILL_PROCESS),
        end(libc::SECCOMP_RET_ALLOW),
    ];
    let mut filter = program.map(|(code, jt, jf, k)| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k,
    });
    let filter = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program is there for the call, and holds for this thread alone.
    let made = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
    };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
}

/// A filter kills who calls futex(2) for a word of the region.
#[test]
fn a_thread_that_spins_makes_no_system_call() {
    const CALLS: u64 = 20_000;
    let numbers = Numbers::new(small());
    numbers.world.region.set_on_full(OnFull::Spin);
    let mut consumer = numbers.world.consumer(0);
    let done = AtomicBool::new(false);
    let mut order = Order::default();
    let mut waited = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            forbid_futex(numbers.world.memory());
            let _inside = numbers.world.enter(0);
            numbers.call(CALLS);
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            numbers.world.region.beat();
            numbers.world.region.fall_asleep();
            // It reads only when the ring is full.
            if numbers.world.block(0)[WAITING / 8].load(Ordering::Relaxed) != 0 {
                waited += 1;
                order.drain(&numbers, &mut consumer);
            }
            std::thread::yield_now();
        }
    });
    order.drain(&numbers, &mut consumer);
    assert!(waited > 10, "{waited}");
    assert_eq!((order.calls, order.returns, consumer.lost()), (CALLS, CALLS, 0));
}

#[test]
fn positions_wrap() {
    for before in (8..400).step_by(24) {
        let numbers = Numbers::new(small());
        // A ring that was used before, so that the head is short of 2^64.
        let reach = numbers.world.block(0)[LIMIT / 8].load(Ordering::Relaxed);
        let head = 0_u64.wrapping_sub(before);
        numbers.world.block(0)[LIMIT / 8].store(head.wrapping_add(reach), Ordering::Relaxed);
        let mut consumer = numbers.world.consumer(0);
        consumer.hand_over(Some(1));
        let inside = numbers.world.enter(0);
        numbers.call(20);
        drop(inside);
        let mut order = Order::default();
        order.drain(&numbers, &mut consumer);
        assert_eq!((order.calls, order.returns), (20, 20), "{before}");
    }
}

/// How many records there are room for before one does not fit.
fn filled(numbers: &Numbers) -> u64 {
    let inside = numbers.world.enter(0);
    numbers.call(1000);
    drop(inside);
    let lost = numbers.world.consumer(0).lost();
    assert!(lost > 800, "{lost}");
    lost
}

#[test]
fn what_does_not_fit_is_counted_and_told() {
    let numbers = Numbers::new(small());
    numbers.world.region.set_on_full(OnFull::Drop);
    let mut consumer = numbers.world.consumer(0);
    let lost = filled(&numbers);
    let mut order = Order::default();
    order.drain(&numbers, &mut consumer);
    // A call that was dropped has no return; one that was not may have lost its own.
    let whole = order.returns;
    assert!(order.calls - whole <= 1);
    assert_eq!(whole + lost + (order.calls - whole), 1000 + (order.calls - whole));
    let inside = numbers.world.enter(0);
    // SAFETY: it is before `next`.
    let through: Next = unsafe { numbers.stub.function() };
    through(7);
    drop(inside);
    let mut seen = Vec::new();
    consumer.drain(&numbers.world.shapes, &Futex, |record| {
        seen.push(match record.unwrap() {
            Record::Note(Note::Lost { total }) => (0, total),
            record => Seen::of(&record).map(|seen| (seen.kind, seen.words[0])).unwrap(),
        });
    });
    assert_eq!(seen, [(0, lost), (CALL, 7), (RETURN, 8)]);
}

#[test]
fn nobody_waits_for_nobody() {
    for gone in [0, u64::from(std::process::id()) | CONSUMER_DIED] {
        let numbers = Numbers::new(small());
        numbers.world.header(CONSUMER).store(gone, Ordering::Relaxed);
        filled(&numbers);
        assert_eq!(numbers.world.block(0)[WAITING / 8].load(Ordering::Relaxed), 0);
    }
}

#[test]
fn patience_ends_once_and_comes_back_with_the_beat() {
    let mut numbers = Numbers::new(small());
    let second = ticks(Duration::from_millis(100));
    numbers.world.attend(second);
    let start = Instant::now();
    let lost = filled(&numbers);
    let waited = start.elapsed();
    // Once, not for each of the calls.
    assert!(
        waited >= Duration::from_millis(90) && waited < Duration::from_millis(100) * 50,
        "{waited:?}"
    );
    let start = Instant::now();
    numbers.world.region.beat();
    let inside = numbers.world.enter(0);
    numbers.call(10);
    drop(inside);
    assert!(start.elapsed() >= Duration::from_millis(90));
    assert_eq!(numbers.world.consumer(0).lost(), lost + 10);
}

/// So much time in ticks.
fn ticks(time: Duration) -> u64 {
    let (start, ticks) = (Instant::now(), now());
    while start.elapsed() < time {
        std::thread::yield_now();
    }
    now() - ticks
}

#[test]
fn a_consumer_that_goes_lets_a_waiting_thread_go_on() {
    let numbers = Numbers::new(small());
    let block = numbers.world.block(0);
    std::thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let _inside = numbers.world.enter(0);
            numbers.call(1000);
        });
        while block[WAITING / 8].load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        numbers.world.region.leave(&Futex);
        calls.join().unwrap();
    });
    assert!(numbers.world.consumer(0).lost() > 800);
}

#[test]
fn rings_of_several_threads_do_not_meet() {
    const CALLS: u64 = 20_000;
    const THREADS: usize = 6;
    let numbers = Numbers::new(Layout::new(THREADS, 4096, 128).unwrap());
    let mut consumers: Vec<_> = (0..THREADS).map(|ring| numbers.world.consumer(ring)).collect();
    let mut orders: Vec<_> = (0..THREADS).map(|_| Order::default()).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|ring| {
                let numbers = &numbers;
                scope.spawn(move || {
                    let _inside = numbers.world.enter(ring);
                    numbers.call(CALLS);
                })
            })
            .collect();
        let mut over = false;
        while !over {
            over = threads.iter().all(std::thread::ScopedJoinHandle::is_finished);
            for (consumer, order) in consumers.iter_mut().zip(&mut orders) {
                order.drain(&numbers, consumer);
            }
            numbers.world.region.beat();
            numbers
                .world
                .region
                .sleep(&consumers, &Futex, Duration::from_millis(1));
        }
    });
    for (order, consumer) in orders.iter().zip(&consumers) {
        assert_eq!((order.calls, order.returns, consumer.lost()), (CALLS, CALLS, 0));
    }
}
