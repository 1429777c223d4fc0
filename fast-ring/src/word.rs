//! The memory a region is made of.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// A word of 64 bits that others may change at any time.
///
/// Regions lie in `&[W]`. Outside of model tests `W` is [`AtomicU64`].
pub trait Word {
    /// What the word holds.
    fn load(&self, order: Ordering) -> u64;
    /// Sets the word.
    fn store(&self, value: u64, order: Ordering);
    /// Adds to the word in one step; wraps. What was stored before is seen by who loads the sum with `Acquire`.
    fn add(&self, value: u64);
    /// A fence of sequential consistency, for the processor on which it is called.
    fn fence();
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }

    #[inline]
    fn add(&self, value: u64) {
        self.fetch_add(value, Ordering::Release);
    }

    #[inline]
    fn fence() {
        fence(Ordering::SeqCst);
    }
}
