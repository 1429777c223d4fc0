//! Flushing what is buffered soon after the tracees fall silent.
//!
//! A tracer that flushes before every sleep writes once per stop. One that does not keeps the last
//! lines of a program that waits. So a thread of its own wakes the session a moment after something was
//! buffered, and the session flushes then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use ptrace_core::Waker;

/// How long a line may stay in the buffer.
const DELAY: Duration = Duration::from_millis(100);

/// Wakes a session a moment after it was told that there is something to flush.
#[derive(Debug)]
pub(super) struct Ticker {
    due: Arc<AtomicBool>,
    thread: Thread,
    armed: bool,
}

impl Ticker {
    /// Starts the thread, which lives as long as the process and sleeps while nothing is due.
    pub(super) fn start(waker: Waker) -> io::Result<Self> {
        let due = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&due);
        let tick = move || {
            loop {
                while !shared.swap(false, Ordering::Acquire) {
                    thread::park();
                }
                thread::sleep(DELAY);
                waker.wake();
            }
        };
        let handle = thread::Builder::new().name("flush".into()).spawn(tick)?;
        Ok(Self { due, thread: handle.thread().clone(), armed: false })
    }

    /// Something is buffered: the session is to be woken in a moment.
    pub(super) fn arm(&mut self) {
        if !self.armed {
            self.armed = true;
            self.due.store(true, Ordering::Release);
            self.thread.unpark();
        }
    }

    /// The session was woken.
    pub(super) fn fired(&mut self) {
        self.armed = false;
    }
}
