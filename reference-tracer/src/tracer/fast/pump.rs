//! The thread that shows the recording threads that their tracer lives, and wakes it when they have something for it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use fast_ring::Region;
use ptrace_core::Waker;

use crate::sys;

/// How often it shows that, and how late what is recorded is read where there is little of it.
const BEAT: Duration = Duration::from_millis(50);

/// How long a thread whose ring is full waits while nothing shows that its tracer lives. It must be several beats.
pub(super) const PATIENCE: Duration = Duration::from_millis(400);

#[derive(Debug, Default)]
struct Shared {
    regions: Mutex<Vec<Region<'static>>>,
    /// Whether the tracer sleeps, and is to be woken.
    armed: AtomicBool,
}

/// A thread that lives as long as the tracer.
#[derive(Debug)]
pub(in crate::tracer) struct Pump {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Pump {
    /// Starts the thread.
    pub(super) fn start(waker: Waker) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let handle = thread::Builder::new()
            .name("rings".into())
            .spawn(move || run(&own, &waker))?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
        })
    }

    /// One region more is attended.
    pub(super) fn attend(&self, region: Region<'static>) {
        self.regions().push(region);
    }

    fn regions(&self) -> std::sync::MutexGuard<'_, Vec<Region<'static>>> {
        self.shared.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only these regions are in use still.
    pub(super) fn keep(&self, used: impl Fn(&Region<'static>) -> bool) {
        self.regions().retain(used);
    }

    /// The tracer is about to sleep: threads that have something for it are to have it woken. What they had
    /// recorded before this is the caller's to look for.
    pub(super) fn arm(&self) {
        for region in self.regions().iter() {
            region.fall_asleep();
        }
        if !self.shared.armed.swap(true, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

fn run(shared: &Shared, waker: &Waker) {
    loop {
        let regions = shared.regions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for region in &regions {
            region.beat();
        }
        if !shared.armed.load(Ordering::SeqCst) {
            thread::park_timeout(BEAT);
            continue;
        }
        let words: Vec<_> = regions.iter().map(|region| region.asleep_word()).collect();
        sys::futex_wait_any(&words, 1, BEAT);
        if shared.armed.swap(false, Ordering::SeqCst) {
            waker.wake();
        }
    }
}
