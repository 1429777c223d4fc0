//! System calls in a tracee's name.
//!
//! The thread is sent to a system call instruction, with all signals blocked, so that what is pending stays in the
//! kernel's queues as it is; it stops at the call's entry and exit, and is brought to the kind of
//! stop at which it was before its registers are put back. The kind matters: a thread that a signal or an interrupt took
//! out of a system call carries the request to restart it in its registers (`-ERESTARTSYS` and its kin in
//! the result, the number in `orig_rax`), and the kernel acts on that only on the way out of `get_signal`,
//! where signal-delivery-stops and `PTRACE_EVENT_STOP` are. And only a signal-delivery-stop can deliver
//! the signal for which the thread had stopped.
//!
//! The tracer may be killed between any two requests. The instruction is the first of landing code (see
//! `landing`), which restores mask and registers. So the order is: landing code, registers, mask; and back: mask,
//! registers, landing code. While the mask is not the thread's own, its PC is in the landing code. The same holds for its scheduling (see `loan`).

use arch_abi::{Addr, Interrupted, QueuedSignal, Regs, SIGINFO_LEN};

use crate::cpus;
use crate::error::Error;
use crate::id::{Signal, Tid};
use crate::instruction::instruction;
use crate::landing::Piece;
use crate::loan::Loan;
use crate::procfs;
use crate::rseq;
use crate::stop::{Status, SyscallStop};
use crate::stopped::{SigInfo, SignalSet, Stopped};
use crate::sys::{self, Report, Resume, Scheduling, Take, Whom};
use crate::tracee::Interrupt;

/// Makes one system call in the name of a stopped thread.
pub(crate) fn syscall(stopped: &Stopped, nr: u64, args: [u64; 6]) -> Result<i64, Error> {
    call(stopped, nr, args, None).map(|(value, _)| value)
}

/// A thread that was made in the name of another one.
#[derive(Debug)]
pub(crate) struct NewThread {
    pub(crate) tid: Tid,
    /// What it is to be scheduled by, if its maker was in haste: it is still.
    pub(crate) own: Option<Scheduling>,
}

/// Makes another thread of the process, by clone(2) in the name of a stopped thread whose new threads are traced. It stands before an
/// instruction that ends it, with all signals blocked, and has not been told of. Otherwise gives what the call returned.
pub(crate) fn make_thread(stopped: &Stopped) -> Result<Result<NewThread, i64>, Error> {
    let arch = stopped.regs()?.arch();
    let end = instruction(stopped, arch)?;
    // As pthread_create(3), but for what concerns the C library: no stack, no thread pointer, no word to clear.
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    let args = [flags.cast_unsigned().into(), 0, 0, 0, 0, 0];
    let (value, thread) = call(stopped, arch.abi().system_calls().clone, args, Some(end))?;
    Ok(thread.ok_or(value))
}

fn call(
    stopped: &Stopped,
    nr: u64,
    args: [u64; 6],
    new_thread: Option<Addr>,
) -> Result<(i64, Option<NewThread>), Error> {
    let mask = stopped.sigmask()?;
    let mut call = Call {
        stopped,
        must_stop: false,
        loan: Loan::to(stopped),
        new_thread,
        child: None,
    };
    let result = call.at_a_steady_stop(mask, nr, args);
    if result.is_err() {
        // The thread must not be left deaf.
        call.end_loan();
        let _ = stopped.set_sigmask(mask);
    }
    if call.must_stop {
        let _ = sys::tgkill(stopped.tgid(), stopped.tid(), libc::SIGSTOP);
    }
    result.map(|value| (value, call.child))
}

/// One call under way.
struct Call<'a> {
    stopped: &'a Stopped,
    /// A `SIGSTOP`, which cannot be blocked, came meanwhile.
    must_stop: bool,
    /// The tracer's haste, which the thread has while it is in landing code.
    loan: Option<Loan>,
    /// The call makes a thread, and here is a system call instruction by which that ends.
    new_thread: Option<Addr>,
    /// The thread that it has made.
    child: Option<NewThread>,
}

/// What is put back.
struct Before {
    regs: Regs,
    /// The registers with which the thread goes on if the tracer dies.
    alone: Regs,
    mask: SignalSet,
    /// The signal for which the thread had stopped.
    signal: Option<Held>,
}

/// A signal for which a thread had stopped.
struct Held {
    signal: Signal,
    info: SigInfo,
}

impl Held {
    /// Whether an instruction raised it, so that it comes again when the thread executes that again.
    /// A trap's `SIGTRAP` is the tracer's, who sets the PC right before he does anything else.
    fn is_raised(&self) -> bool {
        const RAISED: [Signal; 6] = [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGILL,
            Signal::SIGFPE,
            Signal::SIGTRAP,
            Signal::SIGSYS,
        ];
        // <asm-generic/siginfo.h>: what the kernel raises has a positive code.
        RAISED.contains(&self.signal) && self.info.code() > 0
    }

    /// Whether it was raised in place of a system call, whose number and arguments are back in the registers
    /// (`SECCOMP_RET_TRAP` of seccomp(2)), but the PC past the instruction.
    fn is_of_a_system_call(&self) -> bool {
        self.signal == Signal::SIGSYS && self.is_raised()
    }

    /// Whether sending it has no other effect than that it is pending: those that stop and continue
    /// cancel each other in the queues (signal(7)).
    fn can_be_sent(&self) -> bool {
        ![
            Signal::SIGSTOP,
            Signal::SIGTSTP,
            Signal::SIGTTIN,
            Signal::SIGTTOU,
            Signal::SIGCONT,
        ]
        .contains(&self.signal)
    }
}

/// Where the thread makes the call.
enum Place {
    /// In code that finds its own way back.
    Landing(Piece),
    /// At an instruction of the program.
    Borrowed(Addr),
}

impl Place {
    fn call(&self) -> Addr {
        match self {
            Self::Landing(piece) => piece.call(),
            Self::Borrowed(at) => *at,
        }
    }
}

impl Call<'_> {
    fn at_a_steady_stop(&mut self, mask: SignalSet, nr: u64, args: [u64; 6]) -> Result<i64, Error> {
        let signal = self.reach_a_steady_stop()?;
        let mut alone = self.stopped.regs()?;
        if let Some(pc) = rseq::abort_address(self.stopped, alone.pc()) {
            alone.set_pc(pc);
        }
        let mut regs = alone;
        if signal.as_ref().is_some_and(Held::is_of_a_system_call) {
            regs.set_pc(after_syscall(&regs));
        }
        let before = Before {
            regs,
            alone,
            mask,
            signal,
        };
        if before.signal.is_some() {
            // Each step more would be one at which a kill makes a signal come twice.
            self.loan = None;
        }
        let place = self.place(&before)?;
        if let Place::Borrowed(_) = place {
            // Nothing would take it back.
            self.loan = None;
        }
        let result = self.make(&before, place.call(), nr, args);
        self.come_back(&before, &place)?;
        // A thread that was made and could not be sent elsewhere stands there.
        let is_left = result.is_ok() || self.child.is_none();
        if let Place::Landing(piece) = place
            && is_left
        {
            piece.clear(self.stopped);
        }
        result
    }

    /// Brings the thread to a stop from which it can be sent elsewhere and come back; gives
    /// the signal for which it had stopped.
    fn reach_a_steady_stop(&mut self) -> Result<Option<Held>, Error> {
        match Status::of(self.stopped.tracee().status.get()) {
            Status::Signal(signal) => {
                let info = self.stopped.siginfo()?;
                let held = Held { signal, info };
                if held.is_raised() {
                    // The kernel lets go of it while the thread still stands where it was raised.
                    self.interrupt()?;
                }
                if held.is_of_a_system_call() {
                    let regs = self.stopped.regs()?;
                    self.stopped.set_pc(before_syscall(&regs))?;
                }
                return Ok(Some(held));
            }
            Status::EventStop(_) => {}
            Status::Syscall => {
                let SyscallStop::Exit { .. } = self.stopped.syscall_info()?.stop else {
                    return Err(self.in_syscall());
                };
                self.interrupt()?;
            }
            Status::Event(
                libc::PTRACE_EVENT_EXEC
                | libc::PTRACE_EVENT_FORK
                | libc::PTRACE_EVENT_CLONE
                | libc::PTRACE_EVENT_VFORK_DONE,
            ) => self.interrupt()?,
            Status::Event(_) => return Err(self.in_syscall()),
        }
        Ok(None)
    }

    fn in_syscall(&self) -> Error {
        Error::InSyscall {
            tid: self.stopped.tid(),
        }
    }

    fn place(&self, before: &Before) -> Result<Place, Error> {
        let held = before.signal.as_ref().filter(|held| !held.is_raised());
        let status = match held {
            Some(_) => Some(procfs::Status::of(self.stopped.tid())?),
            None => None,
        };
        let info = held.map_or([0; SIGINFO_LEN], |held| held.info.kernel_part());
        // A filter that kills whoever makes this call must not be asked.
        let signal = held.zip(status.filter(|s| s.seccomp == 0 && s.own_tid > 0));
        let thread = Interrupted {
            tid: self.stopped.tid().raw(),
            regs: &before.alone,
            mask: before.mask.bits(),
            scheduling: self.loan.as_ref().map(Loan::own),
            signal: signal.map(|(held, status)| QueuedSignal {
                tgid: status.own_tgid,
                tid: status.own_tid,
                number: held.signal.raw(),
                info: &info,
            }),
            makes_thread: self.new_thread.is_some(),
        };
        match Piece::write(self.stopped, &thread) {
            Some(piece) => Ok(Place::Landing(piece)),
            // A new thread without a tracer would go on in the program.
            None if self.new_thread.is_some() => Err(Error::NoSyscallInstruction {
                tid: self.stopped.tid(),
            }),
            None => instruction(self.stopped, before.regs.arch()).map(Place::Borrowed),
        }
    }

    fn make(&mut self, before: &Before, at: Addr, nr: u64, args: [u64; 6]) -> Result<i64, Error> {
        let mut regs = before.regs;
        aim(&mut regs, at, nr, args);
        self.stopped.set_regs(&regs)?;
        self.stopped.set_sigmask(SignalSet::ALL)?;
        if self.loan.is_some() {
            Loan::begin(self.stopped);
        }
        self.run_until(Resume::Syscall, |status| status == Status::Syscall)?;
        if let Some(end) = self.new_thread {
            // The end of the call need not be seen where the way back begins with an interrupt.
            let is_enough =
                |status| before.signal.is_none() && status == Status::Event(libc::PTRACE_EVENT_CLONE);
            self.run_until(Resume::Syscall, |status| {
                status == Status::Syscall || is_enough(status)
            })?;
            if let Some(child) = &self.child {
                // Before the landing code, where it stands, is taken away.
                let_end(child.tid, end)?;
                return Ok(child.tid.raw().into());
            }
        } else {
            self.run_until(Resume::Syscall, |status| status == Status::Syscall)?;
        }
        let regs = self.stopped.regs()?;
        let raw = regs.get(regs.abi().regs().syscall_ret);
        Ok(signed(raw, regs.abi().word_size()))
    }

    /// Brings the thread to the kind of stop where it was, and puts back what it had.
    fn come_back(&mut self, before: &Before, place: &Place) -> Result<(), Error> {
        match &before.signal {
            Some(held) => {
                self.come_back_to(held, place)?;
                self.stopped.set_siginfo(&held.info)?;
            }
            None => self.interrupt()?,
        }
        self.end_loan();
        self.stopped.set_sigmask(before.mask)?;
        self.stopped.set_regs(&before.regs)
    }

    fn end_loan(&mut self) {
        if let Some(loan) = self.loan.take() {
            loan.end(self.stopped);
        }
    }

    /// Stops the thread by a signal that it does not have pending, so that no signal of its own is merged
    /// with it or taken in its place. Wherever that can be, it is the one for which the thread had stopped: if the
    /// tracer is killed at this stop, the kernel delivers it. The others are never delivered.
    fn come_back_to(&mut self, held: &Held, place: &Place) -> Result<(), Error> {
        let status = procfs::Status::of(self.stopped.tid())?;
        let pending = SignalSet::from_bits(status.pending);
        if !held.is_raised() && held.can_be_sent() && !pending.contains(held.signal) {
            self.send(held.signal)?;
            if let Place::Landing(piece) = place {
                self.stopped.set_pc(piece.without_signal())?;
            }
            return self.stop_by(held.signal);
        }
        let caught = SignalSet::from_bits(status.caught);
        let free = |signal: &Signal| !pending.contains(*signal);
        let carrier = CARRIERS
            .into_iter()
            .find(|signal| free(signal) && !caught.contains(*signal))
            .or_else(|| CARRIERS.into_iter().find(free));
        let carrier = carrier.unwrap_or(Signal::SIGURG);
        self.send(carrier)?;
        self.stop_by(carrier)
    }

    fn send(&self, signal: Signal) -> Result<(), Error> {
        let tid = self.stopped.tid();
        sys::tgkill(self.stopped.tgid(), tid, signal.raw()).map_err(|e| Error::request("tgkill", tid, e))
    }

    /// Lets the thread run into a signal that is pending, and no other.
    fn stop_by(&mut self, signal: Signal) -> Result<(), Error> {
        let mut mask = SignalSet::ALL;
        mask.remove(signal);
        self.stopped.set_sigmask(mask)?;
        self.run_until(Resume::Cont, |status| status == Status::Signal(signal))
    }

    /// Brings the thread to `PTRACE_EVENT_STOP`, out of the system call in which it may be. The kernel looks for the
    /// interrupt before it takes a signal (`kernel/signal.c`, `get_signal`), so none has to be blocked.
    fn interrupt(&mut self) -> Result<(), Error> {
        self.stopped.request("PTRACE_INTERRUPT", sys::interrupt)?;
        self.stopped.tracee().interrupt.set(Interrupt::None);
        self.run_until(Resume::Cont, |status| matches!(status, Status::EventStop(_)))
    }

    /// Resumes the thread until it stops as wanted.
    fn run_until(&mut self, how: Resume, wanted: impl Fn(Status) -> bool) -> Result<(), Error> {
        loop {
            self.stopped.request(how.name(), |tid| {
                cpus::hand_over(self.stopped.tracee(), || sys::resume(tid, how, None))
            })?;
            let report = next_stop(self.stopped.tid())?;
            self.stopped.tracee().status.set(report.status);
            self.stopped.tracee().consumed.set(false);
            let status = Status::of(report.status);
            if status == Status::Event(libc::PTRACE_EVENT_CLONE) && self.new_thread.is_some() {
                self.child = Some(self.new_thread_of_event()?);
            }
            if wanted(status) {
                return Ok(());
            }
            match status {
                Status::Signal(Signal::SIGSTOP) => self.must_stop = true,
                // The instruction faulted: the program unmapped it.
                Status::Signal(_) => {
                    return Err(Error::NoSyscallInstruction {
                        tid: self.stopped.tid(),
                    });
                }
                // A group-stop in force, or a child that the call made: neither is the end of it.
                Status::EventStop(_) | Status::Event(_) | Status::Syscall => {}
            }
        }
    }
}

impl Call<'_> {
    /// The thread that is made, at the event that tells of it.
    fn new_thread_of_event(&self) -> Result<NewThread, Error> {
        let [a, b, c, d, ..] = self.stopped.event_msg()?.to_le_bytes();
        Ok(NewThread {
            tid: Tid::new(i32::from_le_bytes([a, b, c, d])),
            own: self.loan.as_ref().map(Loan::scheduling),
        })
    }
}

/// Lets a new thread, at its first stop, go on by ending, by a system call instruction at `end`.
fn let_end(child: Tid, end: Addr) -> Result<(), Error> {
    next_stop(child)?;
    let mut buf = [0; Regs::MAX_LEN];
    let len = sys::get_regset(child, libc::NT_PRSTATUS, &mut buf)
        .map_err(|error| Error::request("PTRACE_GETREGSET(NT_PRSTATUS)", child, error))?;
    let mut regs =
        Regs::from_regset(&buf[..len]).map_err(|source| Error::Registers { tid: child, source })?;
    let exit = regs.abi().system_calls().exit;
    aim(&mut regs, end, exit, [0; 6]);
    sys::set_regset(child, libc::NT_PRSTATUS, regs.as_regset())
        .map_err(|error| Error::request("PTRACE_SETREGSET(NT_PRSTATUS)", child, error))
}

/// Signals that interrupt nothing by default, should the tracer be killed in the instant in which one is used.
const CARRIERS: [Signal; 4] = [Signal::SIGURG, Signal::SIGWINCH, Signal::SIGCHLD, Signal::SIGCONT];

/// Waits for a thread's next stop, which stays to be told again.
fn next_stop(tid: Tid) -> Result<Report, Error> {
    loop {
        match sys::wait(Whom::One(tid), Take::Peek, true) {
            Ok(Some(report)) if matches!(report.code, libc::CLD_TRAPPED | libc::CLD_STOPPED) => {
                return Ok(report);
            }
            Ok(Some(_)) => return Err(Error::Died { tid }),
            Ok(None) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Err(Error::Died { tid }),
            Err(error) => return Err(Error::Wait(error)),
        }
    }
}

fn before_syscall(regs: &Regs) -> Addr {
    let len = regs.abi().syscall_instruction().len() as u64;
    Addr::new(regs.pc().get().wrapping_sub(len))
}

fn after_syscall(regs: &Regs) -> Addr {
    let len = regs.abi().syscall_instruction().len() as u64;
    Addr::new(regs.pc().get().wrapping_add(len))
}

/// Makes `regs` those of a thread that is about to make the call.
fn aim(regs: &mut Regs, at: Addr, nr: u64, args: [u64; 6]) {
    let layout = regs.abi().regs();
    regs.set_pc(at);
    for (reg, arg) in layout.syscall_args.into_iter().zip(args) {
        regs.set(reg, arg);
    }
    // x86 takes the number where it leaves the result; -1 in `orig_rax` tells that the thread is
    // in no system call that would have to be restarted.
    regs.set(layout.syscall_ret, nr);
    regs.set(layout.syscall_nr, u64::MAX);
}

/// A result as wide as the tracee's registers.
pub(crate) fn signed(raw: u64, word_size: usize) -> i64 {
    if word_size == 8 {
        return raw.cast_signed();
    }
    let [a, b, c, d, ..] = raw.to_le_bytes();
    let narrow = u32::from_le_bytes([a, b, c, d]);
    // Only errors are negative: an address past 2 GiB is none.
    match narrow.cast_signed() {
        error @ -4095..=-1 => i64::from(error),
        _ => i64::from(narrow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_a_32_bit_call_are_negative() {
        assert_eq!(signed(0xffff_fff2, 4), -14);
        assert_eq!(signed(0xf7f0_0000, 4), 0xf7f0_0000);
        assert_eq!(signed(u64::MAX, 8), -1);
    }
}
