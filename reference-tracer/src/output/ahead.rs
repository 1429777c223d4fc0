//! Writing to a file while the next lines are made.
//!
//! What a line costs is for a third the kernel's: memory for the file's pages, and the copy. Another CPU does that meanwhile, if one is
//! free: the program's own often is, as it waits for its full ring.

use std::fs::File;
use std::io::{self, Write as _};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// So much is handed over at a time: to wake the thread takes as long as to make a hundred lines.
pub(super) const AT_ONCE: usize = 256 * 1024;

/// Tells whether text comes so fast that a thread pays.
#[derive(Debug)]
pub(super) struct Pace {
    last: Instant,
    fast: u32,
}

impl Pace {
    /// It is slower than that with a stop for each call.
    const FAST: Duration = Duration::from_millis(2);
    /// So many times in a row.
    const ENOUGH: u32 = 4;

    pub(super) fn new() -> Self {
        Self {
            last: Instant::now(),
            fast: 0,
        }
    }

    /// A buffer is full again.
    pub(super) fn is_fast(&mut self) -> bool {
        let now = Instant::now();
        let since = now.saturating_duration_since(mem::replace(&mut self.last, now));
        self.fast = if since < Self::FAST { self.fast + 1 } else { 0 };
        self.fast >= Self::ENOUGH
    }
}

/// A thread that writes one buffer, while another is filled.
#[derive(Debug)]
pub(super) struct Ahead {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    work: Mutex<Work>,
    /// Something was handed over, or the thread is to end.
    given: Condvar,
    /// A buffer was written, or could not be.
    done: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    /// What is to be written, and is being written.
    buffer: Option<Vec<u8>>,
    /// A buffer that was written, for the next lines.
    spare: Vec<u8>,
    failed: Option<io::Error>,
    is_over: bool,
}

impl Ahead {
    /// Starts the thread, which writes to `file`.
    pub(super) fn start(file: File) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let run = move || own.run(&file);
        let thread = thread::Builder::new().name("output".to_owned()).spawn(run)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Takes what is in `buffer`, and leaves an empty one there, when what was taken before is written.
    ///
    /// # Errors
    /// That could not be written; nothing was taken.
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut work = self.shared.settled()?;
        let spare = mem::take(&mut work.spare);
        work.buffer = Some(mem::replace(buffer, spare));
        drop(work);
        self.shared.given.notify_one();
        Ok(())
    }

    /// Waits until all that was taken is written.
    ///
    /// # Errors
    /// It could not be.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.shared.settled().map(drop)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.work().is_over = true;
        self.shared.given.notify_one();
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, what it had was lost with it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self) -> io::Result<MutexGuard<'_, Work>> {
        let is_busy = |work: &mut Work| work.buffer.is_some();
        let work = self.done.wait_while(self.work(), is_busy);
        let mut work = work.unwrap_or_else(PoisonError::into_inner);
        work.failed.take().map_or(Ok(work), Err)
    }

    fn run(&self, mut file: &File) {
        let is_idle = |work: &mut Work| work.buffer.is_none() && !work.is_over;
        loop {
            let work = self.given.wait_while(self.work(), is_idle);
            let mut work = work.unwrap_or_else(PoisonError::into_inner);
            // It stays marked as being written.
            let Some(mut buffer) = work.buffer.replace(Vec::new()) else {
                return;
            };
            drop(work);
            let wrote = file.write_all(&buffer);
            buffer.clear();
            buffer.shrink_to(2 * AT_ONCE); // there may have been a long line
            let mut work = self.work();
            work.failed = wrote.err();
            work.spare = buffer;
            work.buffer = None;
            drop(work);
            self.done.notify_one();
        }
    }
}
