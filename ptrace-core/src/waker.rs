//! Calling a session that waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::id::{Signal, Tid};
use crate::sys;

/// Makes the current or the next [`wait`](crate::Session::wait) of a session return
/// [`Wait::Woken`](crate::Wait::Woken), from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    state: Arc<WakeState>,
}

#[derive(Debug)]
pub(crate) struct WakeState {
    woken: AtomicBool,
    /// Whether the session's thread is between its last look at `woken` and its return from waiting.
    waiting: AtomicBool,
    process: Tid,
    thread: Tid,
    signal: Signal,
}

/// A signal that comes just before the session's thread sleeps interrupts nothing, so it is sent again after
/// this time, until the thread has noticed.
const AGAIN: Duration = Duration::from_micros(200);

impl Waker {
    /// Calls. Several calls before the session notices are one. Returns when the session's thread
    /// has left its wait, or is not in one and will see the call before the next.
    pub fn wake(&self) {
        let state = &*self.state;
        state.woken.store(true, SeqCst);
        while state.waiting.load(SeqCst) && state.woken.load(SeqCst) {
            if sys::tgkill(state.process, state.thread, state.signal.raw()).is_err() {
                return; // the session's thread has ended
            }
            std::thread::sleep(AGAIN);
        }
    }
}

impl WakeState {
    /// A state for the calling thread, and a signal that interrupts it.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            woken: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            process: Tid::new(std::process::id().cast_signed()),
            thread: sys::gettid(),
            signal: free_signal()?,
        }))
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker {
            state: Arc::clone(self),
        }
    }

    /// Takes a call, if there was one.
    pub(crate) fn take(&self) -> bool {
        self.woken.swap(false, SeqCst)
    }

    /// Calls `wait` unless there was a call; `None` then. A call while it sleeps interrupts it.
    pub(crate) fn guard<T>(&self, wait: impl FnOnce() -> T) -> Option<T> {
        // The order makes it free of races: either the caller sees `waiting` and sends signals until
        // we are out of the wait, or we see `woken` here.
        self.waiting.store(true, SeqCst);
        let result = (!self.woken.load(SeqCst)).then(wait);
        self.waiting.store(false, SeqCst);
        result
    }
}

/// A realtime signal that the process does not use, made to interrupt the calling thread.
fn free_signal() -> io::Result<Signal> {
    let mut result = Err(io::Error::from_raw_os_error(libc::EBUSY));
    for raw in (sys::sigrtmin().raw()..=sys::sigrtmax().raw()).rev() {
        let signal = Signal::new(raw);
        match sys::handle_wake_signal(signal) {
            Ok(()) => return Ok(signal),
            Err(error) => result = Err(error),
        }
    }
    result
}
