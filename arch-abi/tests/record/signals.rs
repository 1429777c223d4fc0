//! A timer whose handler calls what is recorded, while it is called.

use crate::world::{Futex, World, handle, one_ring, resume_context};
use arch_abi::record::{CallFields, Capture, Interruption, Length, Pointer, Recording, ReturnFields};
use fast_ring::Record;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[cfg(debug_assertions)]
const CALLS: u64 = 1_000_000;
#[cfg(not(debug_assertions))]
const CALLS: u64 = 20_000_000;

extern "C" fn twice(number: u64, _text: *const libc::c_char) -> u64 {
    2 * number
}
type Twice = extern "C" fn(u64, *const libc::c_char) -> u64;

thread_local! {
    static IN_HANDLER: Cell<Option<Twice>> = const { Cell::new(None) };
}
static HANDLED: AtomicU64 = AtomicU64::new(0);
static MOVED: AtomicU64 = AtomicU64::new(0);

/// What the handler calls with, so that its records are told apart.
const HANDLER: u64 = 1 << 40;

extern "C" fn on_timer(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: this is a signal handler.
    let moved = unsafe { resume_context(context, Interruption::Signal) };
    MOVED.fetch_add(u64::from(moved), Ordering::Relaxed);
    if let Some(function) = IN_HANDLER.get() {
        let number = HANDLER + HANDLED.fetch_add(1, Ordering::Relaxed);
        assert_eq!(function(number, c"the handler's".as_ptr()), 2 * number);
    }
}

/// A timer that signals the calling thread. It stops when this is dropped.
struct Timer(libc::timer_t);

impl Timer {
    fn new(signal: i32, period: Duration) -> Timer {
        // SAFETY: zeros are valid for both; the pointers are good for the calls (timer_create(2)).
        unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer = std::mem::zeroed();
            assert_eq!(
                libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer),
                0
            );
            let time = libc::timespec {
                tv_sec: 0,
                tv_nsec: i64::from(period.subsec_nanos()),
            };
            let times = libc::itimerspec {
                it_interval: time,
                it_value: time,
            };
            assert_eq!(
                libc::timer_settime(timer, 0, &raw const times, std::ptr::null_mut()),
                0
            );
            Timer(timer)
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: it was created.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Checks that the records are those of calls that nest, each with its own number.
#[derive(Default)]
struct Nest {
    open: Vec<u64>,
    next: u64,
    by_handler: u64,
}

impl Nest {
    fn see(&mut self, record: &Record<'_>) {
        match record {
            Record::Call(call) => {
                let number = call.words().get(0).unwrap();
                let text: &[u8] = if number < HANDLER {
                    b"the program's"
                } else {
                    b"the handler's"
                };
                assert!(call.captures().iter().all(|capture| capture.bytes == text));
                if number < HANDLER {
                    assert_eq!(number, self.next);
                    self.next += 1;
                } else {
                    assert_eq!(number, HANDLER + self.by_handler);
                    self.by_handler += 1;
                }
                self.open.push(number);
            }
            Record::Return(ret) => assert_eq!(ret.words().get(0), self.open.pop().map(|number| 2 * number)),
            other => panic!("{other:?}"),
        }
    }
}

fn hammer(recording: &Recording, signal: i32, calls: u64) {
    let mut world = World::new(one_ring());
    let stub = world.stub(recording, twice as *const () as u64);
    let mut consumer = world.consumer(0);
    handle(signal, on_timer);
    let done = AtomicBool::new(false);
    let mut nest = Nest::default();
    let before = HANDLED.load(Ordering::Relaxed);
    nest.by_handler = before;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _inside = world.enter(0);
            // SAFETY: it is before `twice`.
            let through: Twice = unsafe { stub.function() };
            IN_HANDLER.set(Some(through));
            let timer = Timer::new(signal, Duration::from_micros(100));
            for number in 0..calls {
                assert_eq!(through(number, c"the program's".as_ptr()), 2 * number);
            }
            drop(timer);
            IN_HANDLER.set(None);
            done.store(true, Ordering::Release);
        });
        loop {
            let over = done.load(Ordering::Acquire);
            let items = consumer.drain(&world.shapes, &Futex, |record| nest.see(&record.unwrap()));
            if over && items == 0 {
                break;
            }
            world.region.beat();
            world.region.sleep([&consumer], &Futex, Duration::from_millis(1));
        }
    });
    let handled = HANDLED.load(Ordering::Relaxed) - before;
    println!(
        "{handled} signals, {} restarts so far",
        MOVED.load(Ordering::Relaxed)
    );
    assert_eq!(
        (nest.next, nest.by_handler - before, nest.open.len()),
        (calls, handled, 0)
    );
    assert!(handled > 100, "{handled} signals");
    assert_eq!(consumer.lost(), 0);
}

/// One test, because both count in the same places.
#[test]
fn no_call_is_lost_or_torn() {
    let result = ReturnFields {
        ints: 1,
        ..ReturnFields::default()
    };
    let plain = Recording {
        call: CallFields {
            ints: 1,
            ..CallFields::default()
        },
        ret: Some(result.clone()),
    };
    hammer(&plain, libc::SIGUSR1, CALLS);
    let text = |most| Capture::new(Pointer::Int(1), Length::String { most });
    let all = Recording {
        call: CallFields {
            stamp: true,
            caller: true,
            ints: 1,
            stack: 2,
            floats: 2,
            captures: vec![text(32), text(16)],
        },
        ret: Some(ReturnFields {
            stamp: true,
            captures: vec![text(32)],
            ..result
        }),
    };
    hammer(&all, libc::SIGUSR1, CALLS / 4);
    assert!(MOVED.load(Ordering::Relaxed) > 10, "no record was interrupted");
}
