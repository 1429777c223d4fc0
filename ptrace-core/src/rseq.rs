//! Restartable sequences (rseq(2)): a thread that was stopped inside one must not go on in it.
//!
//! The kernel sends a thread that was descheduled inside a critical section to the section's abort handler when it
//! returns to user mode. If the thread returns somewhere else first, to make a system call for us, the
//! kernel forgets the section, and the thread would go on inside it later, on a CPU that may be another one.

use arch_abi::Addr;

use crate::stopped::Stopped;
use crate::sys;

/// `struct rseq`, offset of `rseq_cs` (<linux/rseq.h>).
const RSEQ_CS: u64 = 8;

/// `struct rseq_cs` (<linux/rseq.h>).
struct CriticalSection {
    start: u64,
    len: u64,
    abort: u64,
}

impl CriticalSection {
    /// Its size: version and flags (4 bytes each), `start_ip`, `post_commit_offset`, `abort_ip`.
    const SIZE: usize = 32;

    fn parse(bytes: [u8; Self::SIZE]) -> Self {
        let word = |i: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * i..8 * i + 8]);
            u64::from_le_bytes(word)
        };
        Self {
            start: word(1),
            len: word(2),
            abort: word(3),
        }
    }

    fn contains(&self, pc: Addr) -> bool {
        pc.get().wrapping_sub(self.start) < self.len
    }
}

/// Where a thread stopped at `pc` has to go on, if that is inside a critical section.
pub(crate) fn abort_address(stopped: &Stopped, pc: Addr) -> Option<Addr> {
    // A kernel before 5.13 does not tell where the thread's area is (EIO).
    let area = sys::rseq_address(stopped.tid()).ok().filter(|&area| area != 0)?;
    let memory = stopped.memory();
    let mut pointer = [0; 8];
    memory
        .read_exact(Addr::new(area).checked_add(RSEQ_CS)?, &mut pointer)
        .ok()?;
    let at = u64::from_le_bytes(pointer);
    if at == 0 {
        return None;
    }
    let mut section = [0; CriticalSection::SIZE];
    memory.read_exact(Addr::new(at), &mut section).ok()?;
    let section = CriticalSection::parse(section);
    section.contains(pc).then_some(Addr::new(section.abort))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_half_open() {
        let mut bytes = [0; CriticalSection::SIZE];
        bytes[8..16].copy_from_slice(&0x1000_u64.to_le_bytes());
        bytes[16..24].copy_from_slice(&0x10_u64.to_le_bytes());
        bytes[24..].copy_from_slice(&0x2000_u64.to_le_bytes());
        let section = CriticalSection::parse(bytes);
        assert!(section.contains(Addr::new(0x1000)) && section.contains(Addr::new(0x100f)));
        assert!(!section.contains(Addr::new(0x1010)) && !section.contains(Addr::new(0xfff)));
        assert_eq!(section.abort, 0x2000);
    }
}
