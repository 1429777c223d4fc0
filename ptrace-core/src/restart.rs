//! Threads that a stop took out of a system call with a time limit.

use arch_abi::Regs;

use crate::error::Error;
use crate::procfs;
use crate::remote::signed;
use crate::stopped::Stopped;

/// What a system call leaves as its result that is to be made again, if no handler runs (`include/linux/errno.h`): by `restart_syscall(2)`,
/// or as it was.
const ERESTART_RESTARTBLOCK: i64 = -516;
const ERESTARTNOHAND: i64 = -514;

impl Stopped {
    /// Keeps a seccomp filter from killing the thread when it goes on. Gives whether there was anything to do.
    ///
    /// To be called before a thread is resumed or detached that was stopped while it may have been in a system call: when it was asked to stop, and at
    /// signals and group-stops. A call with a time limit then begins anew, with all of its time; so only threads under a filter are changed.
    ///
    /// # Errors
    /// As [`regs`](Self::regs).
    // QUIRK restart-syscall: a poll, nanosleep or futex wait that any stop interrupts is made again by restart_syscall(2), another system call, which
    // filters seldom allow: where they kill, an interruption that the program would not notice otherwise kills it. Seen: Linux 6.18. Source:
    // arch/x86/kernel/signal.c, arch_do_signal_or_restart; fs/select.c, do_restart_poll. Drop when: unknown. Test: ptrace-core/tests/filtered.rs, a_poll_is_made_again.
    pub fn restart_whole(&self) -> Result<bool, Error> {
        let mut regs = self.regs()?;
        if !is_restarted(&regs) || procfs::Status::of(self.tid())?.seccomp == 0 {
            return Ok(false);
        }
        let result = regs.abi().regs().syscall_ret;
        regs.set(result, ERESTARTNOHAND.cast_unsigned());
        self.set_regs(&regs)?;
        Ok(true)
    }
}

/// Whether a system call brought the thread here, that the kernel is to restart so.
fn is_restarted(regs: &Regs) -> bool {
    let (layout, word) = (regs.abi().regs(), regs.abi().word_size());
    let value = |reg| signed(regs.get(reg), word);
    value(layout.syscall_ret) == ERESTART_RESTARTBLOCK && value(layout.syscall_nr) >= 0
}
