//! Sleeping, waking and the time, which the crate leaves to its caller: it makes no system call.

use crate::format::WAIT_AT_MOST;
use crate::word::Word;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How a side of a ring sleeps, wakes the other, and tells the time.
///
/// Between processes this is futex(2) on the low half of a word, without `FUTEX_PRIVATE_FLAG`. A wait may end at any time
/// without reason; it must compare and fall asleep in one step against a [`wake`](Host::wake) of the same word.
pub trait Host<W> {
    /// Sleeps while the low half of `word` is `seen`, at most as long as `at_most`.
    fn wait(&self, word: &W, seen: u32, at_most: Duration);
    /// Wakes all who sleep on `word`.
    fn wake(&self, word: &W);
    /// Lets a little time pass without a system call, for a producer that is to [spin](crate::OnFull::Spin).
    fn spin(&self) {
        std::hint::spin_loop();
    }
    /// The time, in ticks of the clock that stamps records. It does not go back.
    fn now(&self) -> u64;
}

/// The low half of a word: what futex(2) looks at.
pub(crate) fn low(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// A [`Host`] for producers and consumers that are threads of one process and share this value. Its ticks are nanoseconds.
#[derive(Debug)]
pub struct OneProcess {
    lock: Mutex<()>,
    woken: Condvar,
    start: Instant,
}

impl Default for OneProcess {
    fn default() -> OneProcess {
        OneProcess::new()
    }
}

impl OneProcess {
    /// Its time begins at 0.
    #[must_use]
    pub fn new() -> OneProcess {
        OneProcess {
            lock: Mutex::new(()),
            woken: Condvar::new(),
            start: Instant::now(),
        }
    }
}

impl Host<AtomicU64> for OneProcess {
    fn wait(&self, word: &AtomicU64, seen: u32, at_most: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if low(word.load(Ordering::SeqCst)) == seen {
            drop(self.woken.wait_timeout(guard, at_most));
        }
    }

    fn wake(&self, _word: &AtomicU64) {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.woken.notify_all();
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A producer's wait for room.
pub(crate) fn wait_a_while<W: Word>(host: &impl Host<W>, word: &W, seen: u64) {
    host.wait(word, low(seen), WAIT_AT_MOST);
}
