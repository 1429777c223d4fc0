//! The tracer's haste, lent to a thread that makes a system call in its name.
//!
//! A thread that was stopped waits for a CPU like any other at each step of such a call: where the program's own threads are as many as there are
//! CPUs, for a time slice of some milliseconds each time. So while the tracer's thread is a realtime one, the thread
//! is one, too (`SCHED_FIFO` 1), from when its PC is in landing code until it is back: should the tracer die meanwhile, that code takes the policy back
//! (`arch_abi::OwnScheduling`). The thread executes system calls there and nothing of the program.
//!
//! The loan is for threads of the usual policies. It is refused to one whose policy could not be taken back exactly: one with a limit of realtime CPU
//! time (`RLIMIT_RTTIME`), or with `SCHED_RESET_ON_FORK`, or whose timer slack cannot be read; and to one that is about to get a signal.
// QUIRK timer-slack: a thread that becomes a realtime one loses its timer slack, and gets its default one, not what it had set, when it is one no more.
// Seen: Linux 6.18. Source: kernel/sched/syscalls.c, __setscheduler_params (since 6.12). Drop when: never. Test: tests/haste.rs,
// a_call_in_haste_leaves_the_scheduling_alone. Landing code and `Loan` set it again.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use arch_abi::OwnScheduling;

use crate::stopped::Stopped;
use crate::sys::{self, Scheduling};

/// What a thread has and gets back.
#[derive(Debug)]
pub(crate) struct Loan {
    own: Scheduling,
    timer_slack: u32,
    /// `/proc/TID/timerslack_ns` (proc(5)).
    slack_file: File,
}

impl Loan {
    /// What is lent to a stopped thread by the calling one, if that has it and the thread can take it. Nothing is changed yet.
    pub(crate) fn to(stopped: &Stopped) -> Option<Self> {
        let tid = stopped.tid();
        let me = Scheduling::of(sys::gettid()).ok()?;
        if me.is_usual() || sys::limits_realtime(stopped.tgid()) {
            return None;
        }
        let own = Scheduling::of(tid).ok()?;
        if !own.is_usual() || own.resets_on_fork() {
            return None;
        }
        let path = format!("/proc/{tid}/timerslack_ns");
        let slack_file = File::options().read(true).write(true).open(path).ok()?;
        let timer_slack = u32::try_from(read_number(&slack_file).ok()?).ok()?;
        // The kernel knows no usual thread without.
        (timer_slack > 0).then_some(Self {
            own,
            timer_slack,
            slack_file,
        })
    }

    /// What landing code has to put back.
    pub(crate) fn own(&self) -> OwnScheduling {
        OwnScheduling {
            policy: self.own.policy(),
            timer_slack: self.timer_slack,
        }
    }

    /// Makes the thread a realtime one; its PC is in landing code, which knows this loan. A refusal leaves it as it is.
    pub(crate) fn begin(stopped: &Stopped) {
        let _ = Scheduling::LENT.apply(stopped.tid());
    }

    /// What the thread had before, and is to have again.
    pub(crate) const fn scheduling(&self) -> Scheduling {
        self.own
    }

    /// Gives the thread back what it had; its PC is in landing code still.
    pub(crate) fn end(&self, stopped: &Stopped) {
        // Who died needs nothing.
        let _ = self.own.apply(stopped.tid());
        if read_number(&self.slack_file).is_ok_and(|now| now != u64::from(self.timer_slack)) {
            // pwrite(2) is not for this file.
            let _ = (&self.slack_file).write_all(self.timer_slack.to_string().as_bytes());
        }
    }
}

/// The number that a file of `/proc` consists of.
fn read_number(file: &File) -> io::Result<u64> {
    let mut text = [0; 24];
    let len = file.read_at(&mut text, 0)?;
    std::str::from_utf8(&text[..len])
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
