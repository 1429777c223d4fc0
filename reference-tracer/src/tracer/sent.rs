//! A SIGTRAP that somebody sends while the program blocks SIGTRAP.
//!
//! It is not really blocked (`sigtrap.rs`), so the signal comes to the tracer, which keeps it and queues it again when the
//! program unblocks SIGTRAP or is left: in the thread's own name, because only to itself a thread may send any
//! `siginfo_t` (`rt_tgsigqueueinfo(2)`). Until then the program does not find it by sigpending(2), nor does
//! sigwait(3) get it.

use arch_abi::{Addr, Regs};
use ptrace_core::{SigInfo, Stopped, procfs};

use super::Tracer;
use super::code::{CodeError, system_call};
use super::sigtrap::{below_stack, sigtrap};
use super::thread::{SharedSpace, Thread};

/// `si_code` of a signal that was sent to one thread (`<asm-generic/siginfo.h>`).
const SI_TKILL: i32 = -6;

impl Tracer {
    /// Whether this SIGTRAP, at which the thread stands, was sent and is kept for later: then it is not delivered.
    pub(super) fn keep_sent_sigtrap(&mut self, stopped: &Stopped) -> bool {
        let Ok(info) = stopped.siginfo() else { return false };
        let Some(thread) = self.threads.get_mut(&stopped.tid()) else {
            return false;
        };
        // What the kernel raises has a positive code.
        if !thread.blocks_sigtrap || info.code() > 0 || thread.space.borrow().guard.is_none() {
            return false;
        }
        // Of a signal that is no realtime signal, each thread has one pending, and each process.
        if info.code() == SI_TKILL {
            thread.sent_sigtrap.get_or_insert(info);
            return true;
        }
        let tgid = thread.tgid;
        let takes = |other: &&mut Thread| other.tgid == tgid && !other.blocks_sigtrap;
        if let Some(other) = self.threads.values_mut().find(takes)
            && self.session.interrupt(other.tid).is_ok()
        {
            // It gets the signal at its next stop.
            other.sent_sigtrap.get_or_insert(info);
            self.due_sigtraps += 1;
        } else if let Some(process) = self.processes.get_mut(&tgid) {
            process.sent_sigtrap.get_or_insert(info);
        }
        true
    }

    /// The thread at hand has stopped: if another one kept a signal for it, it gets that.
    pub(super) fn release_due_sigtrap(&mut self, stopped: &Stopped) {
        let is_due = |thread: &Thread| !thread.blocks_sigtrap && thread.sent_sigtrap.is_some();
        if self.threads.get(&stopped.tid()).is_some_and(is_due) {
            self.release_sigtrap(stopped);
        }
        self.due_sigtraps = self.threads.values().filter(|thread| is_due(thread)).count();
    }

    /// SIGTRAP is not blocked in this thread, or is really blocked now because the thread is to be left: what was kept for
    /// it comes.
    pub(super) fn release_sigtrap(&mut self, stopped: &Stopped) {
        let (tid, tgid) = (stopped.tid(), stopped.tgid());
        let thread = self.threads.get_mut(&tid);
        let own = thread.and_then(|thread| thread.sent_sigtrap.take());
        if let Some(info) = own
            && self.queue(stopped, true, &info).is_err()
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            // In the middle of a system call: at its next stop. A thread that died needs none.
            thread.sent_sigtrap = Some(info);
        }
        // In the name of its leader only, a process can send any siginfo to all of it.
        let for_process = tid == tgid;
        let Some(process) = self.processes.get_mut(&tgid) else {
            return;
        };
        if (for_process || own.is_none())
            && let Some(info) = process.sent_sigtrap.take()
        {
            let _: Result<(), CodeError> = self.queue(stopped, !for_process, &info);
        }
    }

    /// Sends a SIGTRAP in the thread's own name, to itself or to its process.
    fn queue(&self, stopped: &Stopped, to_thread: bool, info: &SigInfo) -> Result<(), CodeError> {
        let Some(thread) = self.threads.get(&stopped.tid()) else {
            return Ok(());
        };
        let space = SharedSpace::clone(&thread.space);
        let space = space.borrow();
        let Some(guard) = &space.guard else { return Ok(()) };
        let info = siginfo_of(&stopped.regs()?, info);
        let at = guard.lend_siginfo(&space.memory, &info)?;
        send_to_itself(stopped, to_thread, at)
    }
}

/// Sends what was kept in a process that stands at the start of a program, where nothing of the tracer's is.
pub(super) fn send_at_start(stopped: &Stopped, to_thread: bool, info: &SigInfo) -> Result<(), CodeError> {
    let regs = stopped.regs()?;
    let at = below_stack(&regs);
    stopped.memory().write(at, &siginfo_of(&regs, info))?;
    send_to_itself(stopped, to_thread, at)
}

/// Sends a SIGTRAP in the thread's own name, to itself or to its process; its `siginfo_t` lies at `info`.
fn send_to_itself(stopped: &Stopped, to_thread: bool, info: Addr) -> Result<(), CodeError> {
    let status = procfs::Status::of(stopped.tid())?;
    let [tgid, tid] = [status.own_tgid, status.own_tid].map(|id| u64::from(id.unsigned_abs()));
    let numbers = stopped.regs()?.abi().system_calls();
    let (number, args) = if to_thread {
        (
            numbers.rt_tgsigqueueinfo,
            [tgid, tid, sigtrap(), info.get(), 0, 0],
        )
    } else {
        (numbers.rt_sigqueueinfo, [tgid, sigtrap(), info.get(), 0, 0, 0])
    };
    system_call(stopped, number, args).map(drop)
}

/// The `siginfo_t` as the process takes it. What tells of the sender follows the first three ints at the next
/// word (`<asm-generic/siginfo.h>`, `struct compat_siginfo`).
fn siginfo_of(regs: &Regs, info: &SigInfo) -> [u8; 128] {
    let mut bytes = info.bytes();
    if regs.abi().word_size() == 4 {
        bytes.copy_within(16..28, 12);
        bytes[24..].fill(0);
    }
    bytes
}
