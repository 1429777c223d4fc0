//! Where a tracee has an instruction that makes a system call.

use arch_abi::{Addr, Arch};

use crate::error::Error;
use crate::procfs::{self, Mapping};
use crate::stopped::Stopped;

/// More bytes than the text of any one object that is worth searching.
const MAX_TEXT: u64 = 64 << 20;

/// Where in the thread's memory a system call instruction lies.
pub(crate) fn instruction(stopped: &Stopped, arch: Arch) -> Result<Addr, Error> {
    let memory = stopped.memory();
    let bytes = arch.abi().syscall_instruction();
    if let Some((known, at)) = memory.space().syscall_at.get() {
        // The program may have unmapped its vDSO, or written over a library.
        let mut there = [0; 8];
        let there = &mut there[..bytes.len()];
        if known == arch && memory.read_exact(at, there).is_ok() && there == bytes {
            return Ok(at);
        }
    }
    let mut maps = procfs::maps(stopped.tid())?;
    maps.retain(|m| m.executable && m.readable && m.size() <= MAX_TEXT);
    maps.sort_by_key(|m| m.name != "[vdso]");
    let at = maps.iter().find_map(|mapping| find(stopped, mapping, bytes));
    let at = at.ok_or(Error::NoSyscallInstruction { tid: stopped.tid() })?;
    memory.space().syscall_at.set(Some((arch, at)));
    Ok(at)
}

fn find(stopped: &Stopped, mapping: &Mapping, bytes: &[u8]) -> Option<Addr> {
    let mut text = vec![0; usize::try_from(mapping.size()).ok()?];
    let len = stopped.memory().read(mapping.start, &mut text).ok()?;
    position(mapping.start, &text[..len], bytes)
}

fn position(start: Addr, text: &[u8], bytes: &[u8]) -> Option<Addr> {
    let at = text.windows(bytes.len()).position(|window| window == bytes)?;
    start.checked_add(at as u64)
}

/// Keeps where a system call instruction lies in `text`, which lies at `start` and was read for something else.
pub(crate) fn note_instruction(stopped: &Stopped, arch: Arch, start: Addr, text: &[u8]) {
    if let Some(at) = position(start, text, arch.abi().syscall_instruction()) {
        stopped.memory().space().syscall_at.set(Some((arch, at)));
    }
}
