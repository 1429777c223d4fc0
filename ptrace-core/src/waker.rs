//! Calling a session that waits.

/// Makes the current or the next [`wait`](crate::Session::wait) of a session return
/// [`Wait::Woken`](crate::Wait::Woken), from any thread.
#[derive(Clone)]
pub struct Waker {
    _p: (),
}

impl Waker {
    /// Calls. Several calls before the session notices are one.
    pub fn wake(&self) {
        todo!()
    }
}
