//! What joins the crates: a function's addresses in a process, by `elf-plt`, and a stopped thread of `ptrace-core`
//! as what `breakpoint` knows of a process.

use std::collections::HashSet;
use std::error::Error;
use std::io;

use arch_abi::{Addr, Regs};
use breakpoint::{CodeMemory, CopySpace, StackWitness};
use elf_plt::{Auxv, Object};
use ptrace_core::{Stopped, Tid, procfs};

/// Where calls of the function are met: at its first instruction, and at the PLT entries that lead to it.
pub(crate) fn entries(pid: Tid, function: &str) -> Result<HashSet<Addr>, Box<dyn Error>> {
    let image = std::fs::read(format!("/proc/{pid}/exe"))?;
    let object = Object::parse(&image)?;
    let phdr = Auxv::parse(&procfs::auxv(pid)?, 8).phdr();
    let base = phdr
        .and_then(|phdr| object.base_from_phdr(phdr))
        .ok_or("where is the program?")?;
    let (points, functions) = (object.call_points()?, object.functions()?);
    let imported = points
        .iter()
        .filter(|point| point.name() == Some(function.as_bytes()));
    let own = functions.iter().filter(|own| {
        own.aliases()
            .iter()
            .any(|alias| alias.name == function.as_bytes())
    });
    let entries = imported
        .flat_map(|point| point.plt().iter().map(|entry| entry.addr))
        .chain(own.map(|own| own.addr()));
    let entries: HashSet<Addr> = entries.map(|at| base.resolve(at)).collect();
    if entries.is_empty() {
        Err(format!("no function and no PLT entry of the name '{function}'").into())
    } else {
        Ok(entries)
    }
}

/// The process of a stopped thread.
pub(crate) struct Process<'a>(pub(crate) &'a Stopped);

impl Process<'_> {
    /// Where a function returns to whose first instruction the thread is at.
    pub(crate) fn return_address(&mut self, regs: &Regs) -> Option<Addr> {
        self.word(regs.sp()).map(Addr::new)
    }
}

impl CodeMemory for Process<'_> {
    type Error = io::Error;

    fn read(&self, at: Addr, buf: &mut [u8]) -> io::Result<()> {
        self.0.memory().read_exact(at, buf).map_err(io::Error::other)
    }

    fn write(&mut self, at: Addr, bytes: &[u8]) -> io::Result<()> {
        self.0.memory().write(at, bytes).map_err(io::Error::other)
    }
}

impl CopySpace for Process<'_> {
    /// Maps the end of the nearest free range below `near`, by a system call in the thread's name.
    fn map_copies(&mut self, near: Addr, len: usize) -> io::Result<Addr> {
        let len = (len as u64).next_multiple_of(4096);
        let maps = procfs::maps(self.0.tgid()).map_err(io::Error::other)?;
        let ends = std::iter::once(0x1_0000).chain(maps.iter().map(|map| map.end.get()));
        let at = (maps.iter().map(|map| map.start.get()).zip(ends))
            .filter(|&(start, end)| start <= near.get() && start.saturating_sub(end) >= len)
            .map(|(start, _)| start - len)
            .last()
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let [protection, flags] = [protection, flags].map(|bits| u64::from(bits.cast_unsigned()));
        let mmap = libc::SYS_mmap.cast_unsigned();
        let mapped = self
            .0
            .remote_syscall(mmap, [at, len, protection, flags, u64::MAX, 0]);
        match mapped.map_err(io::Error::other)?.cast_unsigned() {
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
        self.read(at, &mut word).ok()?;
        Some(u64::from_le_bytes(word))
    }
}
