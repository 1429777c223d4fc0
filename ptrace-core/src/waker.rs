//! Calling a session that waits.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::id::{Signal, Tid};
use crate::sys;

/// Makes the current or the next [`wait`](crate::Session::wait) of a session return
/// [`Wait::Woken`](crate::Wait::Woken), or ends the current call of an [`Interruptible`], from any thread.
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

/// Blocking system calls of one thread that other threads can put an end to: a write to a pipe that nobody
/// reads, a wait for a process.
///
/// ```
/// use std::io::{Read, Write};
///
/// let calls = ptrace_core::Interruptible::new()?;
/// let waker = calls.waker();
/// let (mut reader, _writer) = std::io::pipe()?;
/// let waking = std::thread::spawn(move || waker.wake());
/// // Nobody writes: without the waker this would never end.
/// let read = calls.run(|| reader.read(&mut [0]));
/// assert!(read.is_none_or(|result| result.is_err_and(|e| e.kind() == std::io::ErrorKind::Interrupted)));
/// assert!(calls.is_over() && calls.run(|| reader.read(&mut [0])).is_none());
/// # waking.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Interruptible {
    state: Arc<WakeState>,
    _one_thread: PhantomData<*const ()>,
}

impl Interruptible {
    /// For system calls of the calling thread, by a realtime signal that the process does not use, whose
    /// handler does nothing.
    ///
    /// # Errors
    /// All realtime signals are in use (`EBUSY`).
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            state: WakeState::new()?,
            _one_thread: PhantomData,
        })
    }

    /// A handle by which any thread ends the calls, the current one and all that follow.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.state.waker()
    }

    /// Makes one system call, unless the calls are over: `None` then. A call that is under way when they end fails
    /// with `EINTR`, or has done a part of its work; so `call` must not retry by itself.
    pub fn run<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        self.state.guard(call)
    }

    /// Whether the calls are over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state.woken.load(SeqCst)
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
