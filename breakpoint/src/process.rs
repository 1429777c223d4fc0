//! A stopped thread of `ptrace-core` as what this crate knows of a process: the feature `ptrace-core`.

use std::io;

use arch_abi::{Addr, Arch};
use ptrace_core::{Stopped, procfs};

use crate::{CodeMemory, CopySpace, StackWitness};

/// The process of a stopped thread: its memory, and room for copies that is mapped in the thread's name.
///
/// Other threads of the process may run on, if whoever inserts or removes traps can live with a trap that is met while it
/// is being written.
#[derive(Debug)]
pub struct Process<'a> {
    thread: &'a Stopped,
    arch: Arch,
}

impl<'a> Process<'a> {
    /// The process of `thread`, which runs code of `arch`.
    #[must_use]
    pub const fn new(thread: &'a Stopped, arch: Arch) -> Self {
        Self { thread, arch }
    }
}

impl CodeMemory for Process<'_> {
    type Error = io::Error;

    fn read(&self, at: Addr, buf: &mut [u8]) -> io::Result<()> {
        self.thread.memory().read_exact(at, buf).map_err(io::Error::other)
    }

    fn write(&mut self, at: Addr, bytes: &[u8]) -> io::Result<()> {
        self.thread.memory().write(at, bytes).map_err(io::Error::other)
    }
}

impl CopySpace for Process<'_> {
    /// Maps the end of the nearest free range below `near`, by mmap(2) in the thread's name.
    fn map_copies(&mut self, near: Addr, len: usize) -> io::Result<Addr> {
        const PAGE: u64 = 4096;
        const PROT_READ_EXEC: u64 = 0x1 | 0x4;
        // asm-generic/mman-common.h; where the kernel does not know the last, it takes the address as a hint.
        const MAP_PRIVATE_ANONYMOUS_FIXED_NOREPLACE: u64 = 0x2 | 0x20 | 0x10_0000;
        let len = (len as u64).next_multiple_of(PAGE);
        let maps = procfs::maps(self.thread.tgid()).map_err(io::Error::other)?;
        // Below the first there may be what no process may map (vm.mmap_min_addr).
        let ends = std::iter::once(0x1_0000).chain(maps.iter().map(|map| map.end.get()));
        let at = (maps.iter().map(|map| map.start.get()).zip(ends))
            .filter(|&(start, end)| start <= near.get() && start.saturating_sub(end) >= len)
            .map(|(start, _)| start - len)
            .last()
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let no_file = u64::MAX;
        let args = [
            at,
            len,
            PROT_READ_EXEC,
            MAP_PRIVATE_ANONYMOUS_FIXED_NOREPLACE,
            no_file,
            0,
        ];
        let mmap = self.arch.abi().system_calls().mmap;
        match self
            .thread
            .remote_syscall(mmap, args)
            .map_err(io::Error::other)?
            .cast_unsigned()
        {
            mapped if mapped == at => Ok(Addr::new(at)),
            _ => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }
}

impl StackWitness for Process<'_> {
    /// Not told: the word that was the return address is looked at instead.
    fn same_stack(&mut self, _: Addr, _: Addr) -> Option<bool> {
        None
    }

    fn word(&mut self, at: Addr) -> Option<u64> {
        let mut word = [0; 8];
        self.read(at, &mut word[..self.arch.abi().word_size()]).ok()?;
        Some(u64::from_le_bytes(word))
    }
}
