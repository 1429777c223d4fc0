//! Landing code: a system call that finds its own way back.

use crate::regs::Regs;

/// How many bytes one piece of landing code takes, its data included.
pub const LANDING_LEN: usize = 352;

/// Code that makes a system call in the name of an interrupted thread and then puts back, by itself, all that a
/// tracer changed for it: registers, signal mask, scheduling policy, and the signal for which the thread had stopped. A tracer
/// that is alive stops the thread right after the call and never lets it go further; when the
/// tracer is killed, the thread goes on as if nothing had been.
///
/// The bytes are independent of their place, which must be readable and executable; code and data lie
/// together, and the thread writes neither.
#[derive(Clone, Debug)]
pub struct Landing {
    /// What is to be written.
    pub bytes: [u8; LANDING_LEN],
    /// Where in them the system call instruction lies, to which the tracer sends the thread.
    pub call: u64,
    /// Where in them the way back begins that leaves the signal out, for a thread past the call.
    pub without_signal: u64,
}

/// To whom the way back leads.
#[derive(Clone, Copy, Debug)]
pub struct Interrupted<'a> {
    /// The thread, marked as the owner of the code.
    pub tid: i32,
    /// Its registers at the stop, a system call that waits to be restarted included.
    pub regs: &'a Regs,
    /// Its signal mask, as the kernel's `sigset_t`.
    pub mask: u64,
    /// Its own scheduling, if it makes the call under another policy.
    pub scheduling: Option<OwnScheduling>,
    /// The signal that it was about to get, to be queued again.
    pub signal: Option<QueuedSignal<'a>>,
    /// Whether the call is clone(2), and makes another thread: that one has the same registers and goes on at the same place, and the
    /// way back is not its own. It ends.
    pub makes_thread: bool,
}

/// How a thread that is no realtime one is scheduled, as far as another policy has to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnScheduling {
    /// `SCHED_OTHER`, `SCHED_BATCH` or `SCHED_IDLE` (sched(7)). Its nice value it never lost.
    pub policy: u32,
    /// Its timer slack in nanoseconds, which is lost with the policy (`PR_SET_TIMERSLACK(2const)`).
    pub timer_slack: u32,
}

/// A signal that a thread queues to itself.
#[derive(Clone, Copy, Debug)]
pub struct QueuedSignal<'a> {
    /// The thread's process, in that process' own pid namespace.
    pub tgid: i32,
    /// The thread, likewise.
    pub tid: i32,
    /// The number.
    pub number: i32,
    /// The `siginfo_t`.
    pub info: &'a [u8; SIGINFO_LEN],
}

/// How much of a `siginfo_t` the kernel uses (`struct kernel_siginfo`, `include/linux/signal_types.h`);
/// the rest of the 128 bytes is zero.
pub const SIGINFO_LEN: usize = 48;

/// The first bytes of all landing code, by which another tracer knows whose it is.
pub(crate) const MAGIC: u64 = 0x6c61_6e64_696e_6701;
pub(crate) const OWNER: usize = 8;

impl Landing {
    /// The thread whose way back lies in `bytes`, if they are landing code.
    #[must_use]
    pub fn owner(bytes: &[u8; LANDING_LEN]) -> Option<i32> {
        let (magic, rest) = bytes.split_first_chunk::<OWNER>()?;
        let owner = rest.first_chunk::<4>()?;
        (u64::from_le_bytes(*magic) == MAGIC).then(|| i32::from_le_bytes(*owner))
    }
}
