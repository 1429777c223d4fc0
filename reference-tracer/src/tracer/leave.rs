//! Leaving: every thread stopped, every trap out, every program counter right, and off.
//!
//! The order matters. A thread that runs may hit a trap at any instant, so all are stopped before the
//! first trap is taken out. A thread may have hit one without having been seen at it: it stopped for
//! something else first, and has a SIGTRAP to come. Copies and the guard go last, when no thread can
//! need them.

use std::time::Instant;

use arch_abi::{Addr, Arch};
use ptrace_core::{Envoy, Error, Haste, Signal, Stop, Stopped, Tid, Wait, procfs};
use rustc_hash::FxHashSet;

use super::Tracer;
use super::arrive::is_asleep;
use super::code::unmap;
use super::fast::Pass;
use super::filtered::spare;
use super::lifecycle::Birth;
use super::sigtrap::block_sigtrap;
use super::space::Space;
use super::thread::SharedSpace;
use super::trap::SI_KERNEL;

pub(super) type Held = Vec<(Stopped, Stop)>;

impl Tracer {
    /// Leaves all processes as if they had never been traced. What dies meanwhile needs nothing.
    ///
    /// While the threads are stopped only that is done which they would meet. What they have recorded is read when they run again, and
    /// memory that nobody needs any more is unmapped then, by an envoy.
    pub(super) fn depart(&mut self) {
        let haste = self.options.hand_off.then(Haste::begin);
        let since = Instant::now();
        let held = self.stop_everything();
        let held = self.take_stub_faults(held);
        let all = since.elapsed();
        for (stopped, _) in &held {
            self.settle(stopped);
        }
        for (stopped, _) in &held {
            self.with_space(stopped, |space| space.clean(stopped));
        }
        let inside = self.take_out_of_stubs(&held);
        self.leave_rings(&held);
        let held = self.drain_traps(held);
        let is_hasty = haste.as_ref().is_some_and(Haste::is_granted);
        let (stay, most) = self.let_all_go(held, &inside, is_hasty);
        let most = most.duration_since(since);
        let last = since.elapsed();
        for envoy in &stay {
            self.end_guard_by(envoy);
        }
        drop(haste);
        tracing::debug!(to_stop = ?all, ?most, ?last, guarded = ?since.elapsed(), "leave: stopped for");
        self.drain(Pass::All);
        for mut envoy in stay {
            envoy.take_time();
            self.tidy(envoy.stopped(), &inside);
            envoy.recall();
        }
        let threads: Vec<Tid> = self.threads.keys().copied().collect();
        for tid in threads {
            self.forget_recorded(tid);
            self.close_calls(tid);
        }
    }

    /// Lets all threads go. Gives the envoys that stay, and when all threads were gone but for those that were to make one.
    fn let_all_go(&mut self, held: Held, inside: &FxHashSet<Tid>, is_hasty: bool) -> (Vec<Envoy>, Instant) {
        let (last, others) = last_of_each(held);
        // Quirk leader-of-an-exec: a leader is to be done with before the others may execute a program.
        let (leaders, last): (Held, Held) = last
            .into_iter()
            .partition(|(stopped, _)| stopped.tid() == stopped.tgid());
        // A thread whose program counter was put back is let go at once: should the tracer die now, its
        // SIGTRAP would come after all. One thread of each process stays for what is left to do there.
        let (at_traps, others): (Held, Held) = others
            .into_iter()
            .partition(|(_, stop)| *stop == Stop::SignalDelivery(Signal::SIGTRAP));
        // Without haste the others would take the CPU that it needs to make an envoy.
        let (early, last): (Held, Held) = last
            .into_iter()
            .partition(|(stopped, _)| !is_hasty && may_send(stopped));
        let mut stay = Vec::new();
        for (stopped, stop) in leaders {
            stay.extend(self.leave_last(stopped, stop, inside));
        }
        for (stopped, stop) in at_traps {
            self.let_go(stopped, stop);
        }
        for (stopped, stop) in early {
            stay.extend(self.leave_last(stopped, stop, inside));
        }
        for (stopped, stop) in others {
            self.let_go(stopped, stop);
        }
        let most = Instant::now();
        for (stopped, stop) in last {
            stay.extend(self.leave_last(stopped, stop, inside));
        }
        (stay, most)
    }

    /// Leaves the last thread of a process, and an envoy to take the guard out of force, and to tidy up.
    ///
    /// What may not wait for that is a SIGTRAP that the program ignores: the next program would inherit that, but not a guard.
    fn leave_last(&mut self, stopped: Stopped, stop: Stop, inside: &FxHashSet<Tid>) -> Option<Envoy> {
        let (stopped, signal) = self.give_back(stopped, stop);
        let envoy = may_send(&stopped).then(|| Envoy::from(&stopped).ok()).flatten();
        self.with_space(&stopped, |space| {
            let ignores = space.programs_action().is_some_and(|action| action.ignores());
            if ignores || envoy.is_none() {
                space.end_guard(&stopped);
            }
        });
        if envoy.is_none() {
            // Where there may be no thread more, the program waits.
            self.drain(Pass::All);
            self.tidy(&stopped, inside);
        }
        // Who died needs no leave.
        let _: Result<(), _> = stopped.detach(signal);
        envoy
    }

    /// Takes the guard of a process out of force, whose threads were all let go.
    fn end_guard_by(&self, envoy: &Envoy) {
        let stopped = envoy.stopped();
        if let Some(process) = self.processes.get(&stopped.tgid()) {
            process.space.borrow_mut().end_guard(stopped);
        }
    }

    /// Unmaps what a process has of the tracer's, in the name of a thread of it: one of its own, which is stopped, or an envoy, while
    /// they run and nothing of it can be met. All that was recorded is read.
    fn tidy(&mut self, stopped: &Stopped, inside: &FxHashSet<Tid>) {
        let Some(process) = self.processes.get(&stopped.tgid()) else {
            return;
        };
        let space = SharedSpace::clone(&process.space);
        self.unmap_recording(stopped, &space, inside);
        space.borrow_mut().clear_away(stopped);
    }

    fn let_go(&mut self, stopped: Stopped, stop: Stop) {
        let (stopped, signal) = self.give_back(stopped, stop);
        // Who died needs no leave.
        let _: Result<(), _> = stopped.detach(signal);
    }

    /// Gives a thread the signals and the mask that it would have without us. The mask comes last: while SIGTRAP is
    /// really blocked, it cannot be found at a trap.
    fn give_back(&mut self, stopped: Stopped, stop: Stop) -> (Stopped, Option<Signal>) {
        spare(&stopped, stop);
        let (stopped, mut signal) = self.signal_to_keep(stopped, stop);
        let thread = self.threads.get(&stopped.tid());
        if thread.is_some_and(|thread| thread.blocks_sigtrap) {
            if signal == Some(Signal::SIGTRAP) && self.keep_sent_sigtrap(&stopped) {
                signal = None;
            }
            block_sigtrap(&stopped);
            self.release_sigtrap(&stopped);
        }
        (stopped, signal)
    }

    /// Stops all threads of all processes, those that are born meanwhile included.
    fn stop_everything(&mut self) -> Held {
        let mut held = Held::new();
        let mut stopped_once = FxHashSet::default();
        loop {
            let tgids: FxHashSet<Tid> = self
                .session
                .tids()
                .filter_map(|tid| self.session.tgid(tid))
                .collect();
            let before = held.len();
            for &tgid in &tgids {
                // A failure to wait leaves what is not stopped to the guard.
                held.extend(self.session.stop_all(tgid).unwrap_or_default());
            }
            self.take_births(&mut held, before);
            let all_known = tgids.iter().all(|tgid| !stopped_once.insert(*tgid));
            if (all_known && held.len() == before) || self.is_all(&held) {
                return held;
            }
        }
    }

    /// Whether these are all threads of the one process there is, so that nobody is left who could make another one.
    fn is_all(&self, held: &Held) -> bool {
        let Some((first, _)) = held.first() else {
            return false;
        };
        let tells_of_another =
            |stop: &Stop| matches!(stop, Stop::Fork { .. } | Stop::Vfork { .. } | Stop::Clone { .. });
        self.session.tids().count() == held.len()
            && held
                .iter()
                .all(|(stopped, stop)| stopped.tgid() == first.tgid() && !tells_of_another(stop))
    }

    /// Threads and processes whose first stop is among the new ones become known; a child that is not
    /// to be traced is cleaned and left at once.
    fn take_births(&mut self, held: &mut Held, from: usize) {
        for (stopped, stop) in &held[from..] {
            if let Stop::Fork { child } | Stop::Clone { child } = *stop {
                self.note_fork(stopped, child);
            }
        }
        for (stopped, stop) in held.split_off(from) {
            if let Stop::Exec { former } = stop {
                // Nothing of the old program is there any more, and nothing of the tracer's.
                self.drain(Pass::All);
                self.close_program(stopped.tgid(), former);
                let _: Result<(), Error> = self.leave_program(stopped);
                continue;
            }
            let birth = match stop {
                Stop::Born { parent } => self.register_birth(&stopped, parent),
                _ => Ok(Birth::Stay),
            };
            match birth {
                Ok(Birth::Leave) => {
                    let _: Result<(), _> = stopped.detach(None);
                }
                Ok(Birth::Stay) | Err(_) => held.push((stopped, stop)),
            }
        }
    }

    pub(super) fn with_space(&mut self, stopped: &Stopped, act: impl FnOnce(&mut Space)) {
        if let Some(thread) = self.threads.get(&stopped.tid()) {
            let space = SharedSpace::clone(&thread.space);
            act(&mut space.borrow_mut());
        }
    }

    /// Puts one thread back into its program, if it stands in a copy.
    fn settle(&mut self, stopped: &Stopped) {
        let Ok(mut regs) = stopped.regs() else { return };
        let stepping = self
            .threads
            .get(&stopped.tid())
            .is_some_and(|thread| thread.stepping.is_some());
        let _: Result<(), Error> = if stepping {
            self.finish_step(stopped, regs)
        } else {
            self.put_back(stopped, &mut regs)
        };
    }

    /// Deals with faults of recording code, which looks at memory that may not be there: no thread is left with the signal of one, not with
    /// one that is still to come either.
    fn take_stub_faults(&mut self, held: Held) -> Held {
        let mut taken = Held::new();
        for (stopped, stop) in held {
            if !self.has_stub_fault_to_come(&stopped, stop) {
                taken.push((stopped, stop));
                continue;
            }
            let tid = stopped.tid();
            // It executes nothing: the signal is there.
            if stopped.cont(None).is_ok() {
                self.await_stop(tid, &mut taken);
            }
        }
        for (stopped, stop) in &mut taken {
            if let Stop::SignalDelivery(signal @ (Signal::SIGSEGV | Signal::SIGBUS)) = *stop
                && let Ok(mut regs) = stopped.regs()
                && let Ok(true) = self.leave_stub(stopped, &mut regs, signal)
            {
                *stop = Stop::Interrupt;
            }
        }
        taken
    }

    /// Whether the thread was interrupted in recording code that had just faulted: the kernel tells of an interruption first
    /// (`kernel/signal.c`, `get_signal`).
    fn has_stub_fault_to_come(&self, stopped: &Stopped, stop: Stop) -> bool {
        let faults = [Signal::SIGSEGV, Signal::SIGBUS].map(|signal| 1_u64 << (signal.raw() - 1));
        let is_in_stub = || {
            let pc = stopped.regs().ok()?.pc();
            let thread = self.threads.get(&stopped.tid())?;
            let space = thread.space.borrow();
            Some(space.fast.as_ref()?.is_code(pc))
        };
        stop.signal().is_none()
            && is_in_stub() == Some(true)
            && procfs::Status::of(stopped.tid())
                .is_ok_and(|status| faults.into_iter().any(|bit| status.pending & bit != 0))
    }

    /// Lets each thread that has a SIGTRAP of ours to come run into it: it gets no further.
    fn drain_traps(&mut self, held: Held) -> Held {
        let mut drained = Held::new();
        for (stopped, stop) in held {
            if !self.has_trap_to_come(&stopped, stop) {
                drained.push((stopped, stop));
                continue;
            }
            let (tid, signal) = (stopped.tid(), stop.signal());
            if stopped.cont(signal).is_ok() {
                self.await_stop(tid, &mut drained);
            }
        }
        drained
    }

    /// Waits until a thread stops by itself: one that were asked to stop would do that first, and keep its
    /// SIGTRAP. All others are held.
    fn await_stop(&mut self, tid: Tid, held: &mut Held) {
        loop {
            match self.session.wait() {
                Ok(Wait::Stopped(stopped, stop)) => {
                    let found = stopped.tid() == tid;
                    held.push((stopped, stop));
                    if found {
                        return;
                    }
                }
                Ok(Wait::Exited(gone, status)) => {
                    self.on_exit(gone, status);
                    if gone == tid {
                        return;
                    }
                }
                Ok(Wait::Woken) => {}
                Ok(Wait::NoTracees) | Err(_) => return,
            }
        }
    }

    /// Whether the thread stands behind a trap that it hit, stopped for something else, and has its SIGTRAP
    /// pending.
    fn has_trap_to_come(&self, stopped: &Stopped, stop: Stop) -> bool {
        let at_trap = stop == Stop::SignalDelivery(Signal::SIGTRAP);
        let bit = 1 << (Signal::SIGTRAP.raw() - 1);
        !at_trap
            && self.behind_trap(stopped).is_some()
            && procfs::Status::of(stopped.tid())
                .is_ok_and(|status| status.pending & bit != 0 && status.blocked & bit == 0)
    }

    /// The trap, taken out by now, right behind which the thread stands.
    fn behind_trap(&self, stopped: &Stopped) -> Option<Addr> {
        let thread = self.threads.get(&stopped.tid())?;
        let pc = stopped.regs().ok()?.pc();
        let space = thread.space.borrow();
        space.traps.late_hit_at(pc).or_else(|| space.inherited_trap(pc))
    }

    /// The signal that a thread is to get when it is left: the one that it stopped for, unless that is
    /// of a trap of ours: then its program counter goes back onto the instruction.
    fn signal_to_keep(&self, stopped: Stopped, stop: Stop) -> (Stopped, Option<Signal>) {
        let signal = stop.signal();
        if signal != Some(Signal::SIGTRAP) || stopped.siginfo().is_ok_and(|info| info.code() != SI_KERNEL) {
            return (stopped, signal);
        }
        match self.behind_trap(&stopped) {
            Some(at) => {
                let _: Result<(), Error> = stopped.set_pc(at);
                (stopped, None)
            }
            None => (stopped, signal),
        }
    }
}

/// One thread of each process, and the others: the one that serves best while the others run.
fn last_of_each(held: Held) -> (Held, Held) {
    let mut last: Vec<((Stopped, Stop), u8)> = Vec::new();
    let mut others = Held::new();
    for (stopped, stop) in held {
        let fits = fitness(&stopped, stop);
        match last
            .iter_mut()
            .find(|((known, _), _)| known.tgid() == stopped.tgid())
        {
            None => last.push(((stopped, stop), fits)),
            Some((known, known_fits)) if *known_fits < fits => {
                *known_fits = fits;
                others.push(std::mem::replace(known, (stopped, stop)));
            }
            Some(_) => others.push((stopped, stop)),
        }
    }
    (last.into_iter().map(|(last, _)| last).collect(), others)
}

/// Whether an envoy may come from a thread: of others than 64 bits it would not end with the tracer.
fn may_send(stopped: &Stopped) -> bool {
    stopped.regs().is_ok_and(|regs| regs.arch() == Arch::X86_64)
}

/// How well a thread serves for what is done while the others of its process run already: it is at no signal, for which haste is not, and sleeps if that can be. The
/// leader would not be seen to end if another thread executed a program (quirk leader-of-an-exec).
pub(super) fn fitness(stopped: &Stopped, stop: Stop) -> u8 {
    match stop {
        Stop::SignalDelivery(_) => 0,
        _ if stopped.tid() == stopped.tgid() => 1,
        _ if !is_asleep(stopped) => 2,
        _ => 3,
    }
}

impl Space {
    /// Takes all traps out; copies stay, for a thread may be in one.
    pub(super) fn clean(&mut self, stopped: &Stopped) {
        if let Some(fast) = &mut self.fast {
            fast.sites.restore(&self.memory);
        }
        let (traps, mut code) = self.split(stopped);
        // What cannot be written is gone: an unmapped object, an ended process.
        let _ = traps.remove_all(&mut code);
    }

    /// Takes the guard out of force. All threads are stopped, and none is behind a trap that it was not seen at; or all were let go after that.
    pub(super) fn end_guard(&mut self, stopped: &Stopped) {
        if let Some(guard) = &mut self.guard {
            guard.end(stopped, &self.memory);
        }
    }

    /// Takes out the guard, if it is not yet, and unmaps it and the copies. All threads are stopped, and none is in a copy or
    /// behind a trap that it was not seen at; or all were let go after that.
    pub(super) fn clear_away(&mut self, stopped: &Stopped) {
        if let Some(mut guard) = self.guard.take() {
            guard.end(stopped, &self.memory);
            guard.remove(stopped);
        }
        for (at, len) in std::mem::take(&mut self.copies) {
            unmap(stopped, self.arch, at, len);
        }
    }
}
