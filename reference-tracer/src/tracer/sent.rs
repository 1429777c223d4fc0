//! A SIGTRAP that somebody sends while the program blocks SIGTRAP.
//!
//! It is not really blocked (`sigtrap.rs`), so the signal comes to the tracer, which keeps it and queues it again when the
//! program unblocks SIGTRAP or is left: in the thread's own name, because only to itself a process may send any
//! `siginfo_t` (`rt_tgsigqueueinfo(2)`). Until then the program does not find it by sigpending(2), nor does
//! sigwait(3) get it.

use arch_abi::Regs;
use ptrace_core::{SigInfo, Stopped, Tid, procfs};

use super::Tracer;
use super::code::{CodeError, system_call};
use super::sigtrap::sigtrap;
use super::thread::{SharedSpace, Thread};

/// `si_code` of a signal that was sent to one thread (`<asm-generic/siginfo.h>`).
const SI_TKILL: i32 = -6;

/// To whom a signal is sent.
#[derive(Clone, Copy)]
enum Receiver {
    Process,
    Thread(Tid),
}

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
        let takes = |(_, other): &(&Tid, &Thread)| other.tgid == tgid && !other.blocks_sigtrap;
        if let Some((&other, _)) = self.threads.iter().find(takes) {
            return self.queue(stopped, Receiver::Thread(other), &info).is_ok();
        }
        let Some(process) = self.processes.get_mut(&tgid) else {
            return false;
        };
        process.sent_sigtrap.get_or_insert(info);
        true
    }

    /// SIGTRAP is no longer blocked, or is really blocked now because the thread is to be left: what was kept for it comes.
    pub(super) fn release_sigtrap(&mut self, stopped: &Stopped) {
        let tid = stopped.tid();
        let own = self
            .threads
            .get_mut(&tid)
            .and_then(|thread| thread.sent_sigtrap.take());
        let common = self
            .processes
            .get_mut(&stopped.tgid())
            .and_then(|process| process.sent_sigtrap.take());
        // A process that died needs none.
        if let Some(info) = own {
            let _: Result<(), CodeError> = self.queue(stopped, Receiver::Thread(tid), &info);
        }
        if let Some(info) = common {
            let _: Result<(), CodeError> = self.queue(stopped, Receiver::Process, &info);
        }
    }

    /// Sends the process of `stopped`, or a thread of it, a SIGTRAP in its own name.
    fn queue(&self, stopped: &Stopped, to: Receiver, info: &SigInfo) -> Result<(), CodeError> {
        let Some(thread) = self.threads.get(&stopped.tid()) else {
            return Ok(());
        };
        let space = SharedSpace::clone(&thread.space);
        let space = space.borrow();
        let Some(guard) = &space.guard else { return Ok(()) };
        let regs = stopped.regs()?;
        let info = guard.lend_siginfo(&space.memory, &siginfo_of(&regs, info))?;
        let numbers = regs.abi().system_calls();
        let receiver = match to {
            Receiver::Process => stopped.tid(),
            Receiver::Thread(tid) => tid,
        };
        let status = procfs::Status::of(receiver)?;
        let [tgid, tid] = [status.own_tgid, status.own_tid].map(|id| u64::from(id.unsigned_abs()));
        let (number, args) = match to {
            Receiver::Process => (numbers.rt_sigqueueinfo, [tgid, sigtrap(), info.get(), 0, 0, 0]),
            Receiver::Thread(_) => (
                numbers.rt_tgsigqueueinfo,
                [tgid, tid, sigtrap(), info.get(), 0, 0],
            ),
        };
        system_call(stopped, number, args).map(drop)
    }
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
