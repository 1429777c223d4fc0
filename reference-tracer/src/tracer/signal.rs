//! Signals on their way to a tracee.

use arch_abi::Progress;
use arch_abi::Regs;
use breakpoint::InCopy;
use ptrace_core::{Error, Signal, Stopped};

use super::thread::SharedSpace;
use super::{Tracer, resume};

impl Tracer {
    /// A signal other than SIGTRAP is about to be delivered.
    pub(super) fn on_signal(&mut self, stopped: Stopped, signal: Signal) -> Result<(), Error> {
        let regs = stopped.regs()?;
        if self
            .threads
            .get(&stopped.tid())
            .is_some_and(|thread| thread.stepping.is_some())
        {
            self.finish_step(&stopped, regs)?;
            let regs = stopped.regs()?;
            return self.deliver(stopped, regs, signal);
        }
        self.deliver(stopped, regs, signal)
    }

    /// Shows a signal and delivers it, after putting a thread that stands in a copy back into the
    /// program: handlers and unwinders never see our memory.
    pub(super) fn deliver(&mut self, stopped: Stopped, mut regs: Regs, signal: Signal) -> Result<(), Error> {
        if self.leave_stub(&stopped, &mut regs, signal)? {
            return resume(stopped, None);
        }
        self.put_back(&stopped, &mut regs)?;
        if signal == Signal::SIGTRAP
            && let Some(thread) = self.threads.get(&stopped.tid())
        {
            let mut space = thread.space.borrow_mut();
            space.stand_aside(&stopped);
            if space.guard.is_none() && space.own_sigtrap.is_some_and(|action| action.ignores()) {
                drop(space);
                return resume(stopped, None);
            }
        }
        if self.is_followed(stopped.tgid()) {
            self.reporter.signal(stopped.tid(), regs.pc(), signal);
        }
        resume(stopped, Some(signal))
    }

    /// Puts a thread that stands in a copy back into the program.
    pub(super) fn put_back(&mut self, stopped: &Stopped, regs: &mut Regs) -> Result<(), Error> {
        let Some(thread) = self.threads.get_mut(&stopped.tid()) else {
            return Ok(());
        };
        let space = SharedSpace::clone(&thread.space);
        let Some(InCopy { at, trap, progress }) = space.borrow().traps.translate_back(regs) else {
            return Ok(());
        };
        if progress == Progress::NotRun && trap.is_some() {
            // It will meet the trap again, for the same call.
            thread.again = Some((at, regs.sp()));
        }
        stopped.set_regs(regs)
    }
}
