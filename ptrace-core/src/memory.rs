//! Memory of a process.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use arch_abi::{Addr, Arch};

use crate::id::Tid;
use crate::landing::Search;
use crate::procfs;
use crate::sys;

/// The address space of a process until it executes another program.
pub(crate) struct Space {
    tgid: Tid,
    /// `/proc/TID/mem`. It belongs to the address space, not to the thread by which it was opened.
    file: OnceCell<File>,
    /// Whether `process_vm_readv` was refused: then all goes through the file.
    by_file: Cell<bool>,
    /// Where a system call instruction lies (see `remote`).
    pub(crate) syscall_at: Cell<Option<(Arch, Addr)>>,
    /// Where landing code may lie.
    pub(crate) landing: Cell<Search>,
}

impl Space {
    pub(crate) const fn new(tgid: Tid) -> Self {
        Self {
            tgid,
            file: OnceCell::new(),
            by_file: Cell::new(false),
            syscall_at: Cell::new(None),
            landing: Cell::new(Search::Open),
        }
    }

    fn file(&self, tid: Tid) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{tid}/mem"))?;
        Ok(self.file.get_or_init(|| file))
    }
}

/// The memory of a process: a handle that can be cloned and kept. It serves as long as one thread of
/// the process lives and it executes no other program: take a new one at [`Stop::Exec`](crate::Stop::Exec).
///
/// It reads while threads run, too: what is read is then as old as the reading, and not a snapshot.
#[derive(Clone)]
pub struct Memory {
    tid: Cell<Tid>,
    space: Rc<Space>,
}

/// Memory could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{done} of {len} bytes at {at}")]
pub struct MemoryError {
    /// Where.
    pub at: Addr,
    /// How many bytes were asked for.
    pub len: usize,
    /// How many bytes could be read or written.
    pub done: usize,
    /// Why: `EFAULT` or `EIO`, there is no such memory; `ESRCH`, the process is gone.
    #[source]
    pub source: io::Error,
}

/// Strings are read up to the end of a block of this size, which divides every page size: so a string that ends
/// before an unmapped page is read by one call that succeeds.
const BLOCK: usize = 4096;
/// The first read of a string: most are short.
const FIRST: usize = 256;

impl Memory {
    pub(crate) const fn new(tid: Tid, space: Rc<Space>) -> Self {
        Self {
            tid: Cell::new(tid),
            space,
        }
    }

    /// The memory of a process that this thread need not trace, but may (ptrace(2), "Ptrace access mode checking"): a failure to
    /// read is the first that tells otherwise.
    #[must_use]
    pub fn of(pid: Tid) -> Self {
        Self::new(pid, Rc::new(Space::new(pid)))
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Fills `buf` from `at`, or fails: there are no short reads.
    ///
    /// # Errors
    /// A byte is not readable.
    pub fn read_exact(&self, at: Addr, buf: &mut [u8]) -> Result<(), MemoryError> {
        let len = buf.len();
        let done = self.read(at, buf)?;
        if done == len {
            return Ok(());
        }
        Err(MemoryError {
            at,
            len,
            done,
            source: io::Error::from_raw_os_error(libc::EFAULT),
        })
    }

    /// Reads up to the first unreadable byte, and gives how many bytes those are.
    ///
    /// # Errors
    /// Not one byte is readable.
    pub fn read(&self, at: Addr, buf: &mut [u8]) -> Result<usize, MemoryError> {
        let len = buf.len();
        let mut done = 0;
        while done < len {
            // The range may not wrap: the kernel would be asked for addresses that were not meant.
            let next = at.checked_add(done as u64);
            let result = match next {
                Some(next) => self.read_some(next, &mut buf[done..]),
                None => Err(io::Error::from_raw_os_error(libc::EFAULT)),
            };
            match result {
                Ok(0) if done == 0 => {
                    return Err(MemoryError {
                        at,
                        len,
                        done,
                        source: io::Error::from_raw_os_error(libc::EIO),
                    });
                }
                Err(source) if done == 0 => {
                    return Err(MemoryError {
                        at,
                        len,
                        done,
                        source,
                    });
                }
                Ok(0) | Err(_) => break,
                Ok(more) => done += more,
            }
        }
        Ok(done)
    }

    /// One system call's worth.
    fn read_some(&self, at: Addr, buf: &mut [u8]) -> io::Result<usize> {
        if !self.space.by_file.get() {
            match self.by_some_thread(|tid| sys::read_memory(tid, &mut [(at, &mut *buf)])) {
                Err(error) if refused(&error) => self.space.by_file.set(true),
                Err(error) if error.raw_os_error() == Some(libc::EFAULT) => {
                    // QUIRK execute-only: process_vm_readv honours page protections, /proc/TID/mem does not,
                    // and neither tells a page that is not there from one that is not readable. Seen:
                    // Linux 6.18. Source: mm/process_vm_access.c (no FOLL_FORCE). Drop when: never.
                    // Test: tests/attach.rs, protected_pages_are_read.
                    return self.read_file(at, buf).map_err(|_| error);
                }
                other => return other,
            }
        }
        self.read_file(at, buf)
    }

    fn read_file(&self, at: Addr, buf: &mut [u8]) -> io::Result<usize> {
        self.space.file(self.tid.get())?.read_at(buf, at.get())
    }

    /// Calls `call` with a thread of the process, another one if that has ended.
    fn by_some_thread<T>(&self, mut call: impl FnMut(Tid) -> io::Result<T>) -> io::Result<T> {
        let result = call(self.tid.get());
        let Err(error) = &result else { return result };
        if error.raw_os_error() != Some(libc::ESRCH) {
            return result;
        }
        for tid in procfs::threads(self.space.tgid).unwrap_or_default() {
            let again = call(tid);
            if again.as_ref().err().and_then(io::Error::raw_os_error) != Some(libc::ESRCH) {
                self.tid.set(tid);
                return again;
            }
        }
        result
    }

    /// Reads all of `ranges` by one `process_vm_readv` (for each 16 of them), and puts into `done` how
    /// many bytes of each were read. An unreadable range spoils no other: only then there are
    /// further system calls.
    ///
    /// # Panics
    /// `ranges` and `done` have different lengths.
    pub fn read_vectored(&self, ranges: &mut [(Addr, &mut [u8])], done: &mut [usize]) {
        assert_eq!(ranges.len(), done.len(), "one count for each range");
        for (ranges, done) in ranges
            .chunks_mut(sys::READ_BATCH)
            .zip(done.chunks_mut(sys::READ_BATCH))
        {
            self.read_batch(ranges, done);
        }
    }

    fn read_batch(&self, ranges: &mut [(Addr, &mut [u8])], done: &mut [usize]) {
        let mut read = 0;
        if !self.space.by_file.get() {
            read = self
                .by_some_thread(|tid| sys::read_memory(tid, ranges))
                .unwrap_or(0);
        }
        for ((at, buf), done) in ranges.iter_mut().zip(done) {
            *done = read.min(buf.len());
            read -= *done;
            if *done < buf.len() {
                // The kernel stops at the first byte that it cannot read: this one, and the ranges after
                // it, are read one by one.
                let rest = at
                    .checked_add(*done as u64)
                    .map(|at| self.read(at, &mut buf[*done..]));
                *done += rest.and_then(Result::ok).unwrap_or(0);
            }
        }
    }

    /// The bytes from `at` up to the first NUL, `max` bytes at most, appended to `into`. Gives
    /// whether the NUL was found; without it, the string is longer than `max` or runs into
    /// unreadable memory.
    ///
    /// # Errors
    /// Not one byte is readable.
    pub fn read_c_string(&self, at: Addr, max: usize, into: &mut Vec<u8>) -> Result<bool, MemoryError> {
        let start = into.len();
        let mut next = at;
        let mut room = FIRST;
        // `max` counts the string's bytes, so the NUL may lie one further.
        let limit = max.saturating_add(1);
        loop {
            let have = into.len() - start;
            let in_block = BLOCK - usize::try_from(next.get() % BLOCK as u64).unwrap_or(0);
            let want = in_block.min(room).min(limit - have);
            into.resize(start + have + want, 0);
            let got = match self.read(next, &mut into[start + have..]) {
                Ok(got) => got,
                Err(error) => {
                    into.truncate(start + have);
                    return if have == 0 { Err(error) } else { Ok(false) };
                }
            };
            if let Some(nul) = into[start + have..start + have + got]
                .iter()
                .position(|&b| b == 0)
            {
                into.truncate(start + have + nul);
                return Ok(true);
            }
            into.truncate((start + have + got).min(start + max));
            let Some(after) = next.checked_add(got as u64) else {
                return Ok(false);
            };
            if got < want || have + got >= limit {
                return Ok(false);
            }
            next = after;
            room = BLOCK;
        }
    }

    /// Stores `bytes` at `at`, even where the page is mapped read-only (`/proc/TID/mem`): such a page
    /// becomes the process' own copy.
    ///
    /// # Errors
    /// A byte is not writable.
    pub fn write(&self, at: Addr, bytes: &[u8]) -> Result<(), MemoryError> {
        let mut done = 0;
        let fail = |done, source| {
            Err(MemoryError {
                at,
                len: bytes.len(),
                done,
                source,
            })
        };
        let file = match self.space.file(self.tid.get()) {
            Ok(file) => file,
            Err(source) => return fail(0, source),
        };
        while done < bytes.len() {
            let Some(next) = at.checked_add(done as u64) else {
                return fail(done, io::Error::from_raw_os_error(libc::EFAULT));
            };
            match file.write_at(&bytes[done..], next.get()) {
                Ok(0) => return fail(done, io::Error::from_raw_os_error(libc::EIO)),
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return fail(done, source),
            }
        }
        Ok(())
    }
}

/// Whether the kernel does not allow the call, by a security module or a seccomp filter, or does not have it.
fn refused(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS)
    )
}
