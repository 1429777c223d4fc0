//! The thread that shows the recording threads that their tracer lives, and wakes it when they have something for it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use fast_ring::Region;
use ptrace_core::Waker;

use crate::sys;

/// How often it shows that, and how late what is recorded is read where there is little of it.
const BEAT: Duration = Duration::from_millis(50);

/// How late it is read where a full ring wakes nobody.
const OFTEN: Duration = Duration::from_millis(1);

/// How long a thread whose ring is full waits while nothing shows that its tracer runs. The tracer's death is told by the kernel, at
/// once: this is for one that was stopped, and long enough for one that gets no CPU on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Shared {
    /// Each as long as its owner is there.
    regions: Mutex<Vec<(Region<'static>, Weak<()>)>>,
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

    /// One region more is attended, as long as `owner` is there.
    pub(super) fn attend(&self, region: Region<'static>, owner: Weak<()>) {
        let mut regions = self.shared.regions.lock().unwrap_or_else(PoisonError::into_inner);
        regions.push((region, owner));
    }

    /// The tracer is about to sleep: threads that have something for it are to have it woken. What they had
    /// recorded before this is the caller's to look for.
    pub(super) fn arm(&self) {
        for region in self.shared.regions() {
            region.fall_asleep();
        }
        if !self.shared.armed.swap(true, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

impl Shared {
    /// The regions that are in use still.
    fn regions(&self) -> Vec<Region<'static>> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        regions.retain(|(_, owner)| owner.strong_count() > 0);
        regions.iter().map(|(region, _)| *region).collect()
    }
}

fn run(shared: &Shared, waker: &Waker) {
    loop {
        let regions = shared.regions();
        for region in &regions {
            region.beat();
        }
        if !shared.armed.load(Ordering::SeqCst) {
            thread::park_timeout(BEAT);
            continue;
        }
        // Nobody wakes it for the others.
        let at_most = if regions.iter().any(Region::spins) {
            OFTEN
        } else {
            BEAT
        };
        let words: Vec<_> = regions.iter().map(Region::asleep_word).collect();
        sys::futex_wait_any(&words, 1, at_most);
        if shared.armed.swap(false, Ordering::SeqCst) {
            waker.wake();
        }
    }
}
