//! A stopped thread as what `breakpoint` knows of a process: bytes at addresses, and room for copies.

use std::io;

use arch_abi::{Addr, Arch};
use breakpoint::{CodeMemory, CopySpace};
use ptrace_core::{Memory, MemoryError, Stopped, procfs};

use super::deferred::Deferred;
use super::filtered::is_filtered;

/// The code of a process, in the name of one of its stopped threads.
pub(super) struct Code<'a> {
    /// Whose system calls map memory.
    pub(super) stopped: &'a Stopped,
    /// The memory of its process.
    pub(super) memory: &'a Memory,
    /// Its ABI.
    pub(super) arch: Arch,
    /// Whether system calls may be made in its name: a seccomp filter may kill it for them.
    pub(super) may_map: bool,
    /// The areas that were mapped for copies: their owner keeps them.
    pub(super) mapped: &'a mut Vec<(Addr, u64)>,
    /// What is written to the program's own code is kept here, if there is such a list, until the guard knows
    /// the traps: see [`Space::arm`](super::space::Space::arm).
    pub(super) deferred: &'a mut Option<Deferred>,
}

/// Why code cannot be read, written or given room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum CodeError {
    /// The memory cannot be accessed.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A system call in the thread's name could not be made.
    #[error(transparent)]
    Trace(#[from] ptrace_core::Error),
    /// The kernel refused a system call that was made in the thread's name.
    #[error("a system call in the traced process")]
    Call(#[source] io::Error),
    /// No free range of addresses is near enough.
    #[error("no free memory within 2 GiB of {0}")]
    NoRoom(Addr),
    /// No handler is known that would outlive the tracer.
    #[error("no handler is known for this machine")]
    NoGuard,
    /// System calls may not be made in its name.
    #[error("a seccomp filter may forbid the process what is needed")]
    Forbidden,
}

impl CodeMemory for Code<'_> {
    type Error = CodeError;

    fn read(&self, at: Addr, buf: &mut [u8]) -> Result<(), CodeError> {
        self.memory.read_exact(at, buf)?;
        if let Some(deferred) = &*self.deferred {
            deferred.show(at, buf);
        }
        Ok(())
    }

    fn write(&mut self, at: Addr, bytes: &[u8]) -> Result<(), CodeError> {
        let in_copies = |&(start, len): &(Addr, u64)| at.offset_from(start).is_some_and(|skip| skip < len);
        if let Some(deferred) = self.deferred
            && !self.mapped.iter().any(in_copies)
        {
            deferred.put(at, bytes);
            return Ok(());
        }
        Ok(self.memory.write(at, bytes)?)
    }
}

/// How far from the code its copies may lie, with room to spare for the objects around it.
const REACH: u64 = (1 << 31) - (1 << 26);
const PAGE: u64 = 4096;

impl CopySpace for Code<'_> {
    fn map_copies(&mut self, near: Addr, len: usize) -> Result<Addr, CodeError> {
        if !self.may_map {
            return Err(CodeError::Forbidden);
        }
        let len = (len as u64).next_multiple_of(PAGE);
        let at = free_range(self.stopped, near, len)?;
        let mapped = map(
            self.stopped,
            self.arch,
            Some(at),
            len,
            libc::PROT_READ | libc::PROT_EXEC,
        )?;
        self.mapped.push((mapped, len));
        Ok(mapped)
    }
}

/// A free range of `len` bytes in reach of `near`, the nearest one first.
fn free_range(stopped: &Stopped, near: Addr, len: u64) -> Result<Addr, CodeError> {
    let maps = procfs::maps(stopped.tgid())?;
    let mut best: Option<Addr> = None;
    let distance = |at: Addr| at.get().abs_diff(near.get());
    let mut consider = |at: u64| {
        let at = Addr::new(at);
        if distance(at) < REACH && best.is_none_or(|best| distance(at) < distance(best)) {
            best = Some(at);
        }
    };
    // mmap_min_addr is at most this; below it nothing is mapped.
    let mut end = 0x1_0000;
    for map in &maps {
        let start = map.start.get();
        // The stack grows down: leave it its room.
        let guard = if map.name == "[stack]" { 1 << 28 } else { 0 };
        if start.saturating_sub(guard) >= end + len {
            consider(end);
            consider(start - guard - len);
        }
        end = map.end.get();
    }
    best.ok_or(CodeError::NoRoom(near))
}

/// Maps anonymous memory in the thread's process, at exactly `at` if that is given.
pub(super) fn map(
    stopped: &Stopped,
    arch: Arch,
    at: Option<Addr>,
    len: u64,
    prot: i32,
) -> Result<Addr, CodeError> {
    // `MAP_FIXED_NOREPLACE` (mmap(2), Linux 4.17): a range that was taken meanwhile is refused.
    let fixed = at.map_or(0, |_| libc::MAP_FIXED_NOREPLACE);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed;
    let args = [
        at.map_or(0, Addr::get),
        len,
        prot.cast_unsigned().into(),
        flags.cast_unsigned().into(),
        u64::MAX,
        0,
    ];
    system_call(stopped, arch.abi().system_calls().mmap, args).map(Addr::new)
}

/// Maps memory that nobody needs to have room for, at exactly `at`.
pub(super) fn map_at(
    stopped: &Stopped,
    arch: Arch,
    at: Addr,
    len: u64,
    prot: i32,
) -> Result<Addr, CodeError> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let args = [
        at.get(),
        len,
        prot.cast_unsigned().into(),
        flags.cast_unsigned().into(),
        u64::MAX,
        0,
    ];
    let mapped = system_call(stopped, arch.abi().system_calls().mmap, args).map(Addr::new)?;
    if mapped != at {
        // A kernel before Linux 4.17 takes the address for a hint.
        unmap(stopped, arch, mapped, len);
        return Err(CodeError::NoRoom(at));
    }
    Ok(mapped)
}

/// Maps a file that is open in the process, to be read and written, and shared.
pub(super) fn map_file(stopped: &Stopped, arch: Arch, fd: u64, len: u64) -> Result<Addr, CodeError> {
    let access = (libc::PROT_READ | libc::PROT_WRITE).unsigned_abs().into();
    let args = [0, len, access, libc::MAP_SHARED.unsigned_abs().into(), fd, 0];
    system_call(stopped, arch.abi().system_calls().mmap, args).map(Addr::new)
}

/// A system call in the thread's name; its failure is an error, and that a filter might kill the process for it.
pub(super) fn system_call(stopped: &Stopped, number: u64, args: [u64; 6]) -> Result<u64, CodeError> {
    if is_filtered(stopped.tid()) {
        return Err(CodeError::Forbidden);
    }
    let value = stopped.remote_syscall(number, args)?;
    if (-4095..0).contains(&value) {
        let errno = i32::try_from(-value).unwrap_or(libc::EINVAL);
        return Err(CodeError::Call(io::Error::from_raw_os_error(errno)));
    }
    Ok(value.cast_unsigned())
}

/// Unmaps memory of the thread's process. What cannot be unmapped stays: it is in nobody's way.
pub(super) fn unmap(stopped: &Stopped, arch: Arch, at: Addr, len: u64) {
    let number = arch.abi().system_calls().munmap;
    let _: Result<u64, CodeError> = system_call(stopped, number, [at.get(), len, 0, 0, 0, 0]);
}
