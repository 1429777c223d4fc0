//! Leaving: every thread stopped, every trap out, every program counter right, and off.

use ptrace_core::{Error, Signal, Stop, Stopped, Tid};

use super::Tracer;
use super::space::Space;
use super::thread::SharedSpace;

impl Tracer {
    /// Leaves all processes as if they had never been traced. What has died meanwhile needs nothing.
    pub(super) fn depart(&mut self) {
        let processes: Vec<Tid> = self.processes.keys().copied().collect();
        let mut held = Vec::new();
        for &tgid in &processes {
            if let Ok(stops) = self.session.stop_all(tgid) {
                held.extend(stops);
            }
        }
        for (stopped, _) in &held {
            self.settle(stopped);
        }
        for (stopped, _) in &held {
            self.clean_space(stopped);
        }
        for (stopped, stop) in held {
            let signal = self.signal_to_keep(&stopped, stop);
            // Who died needs no leave.
            let _: Result<(), _> = stopped.detach(signal);
        }
        let threads: Vec<Tid> = self.threads.keys().copied().collect();
        for tid in threads {
            self.close_calls(tid);
        }
    }

    /// Puts one thread back into its program: out of a copy, or back onto the instruction whose trap
    /// it has hit but not been seen at.
    fn settle(&mut self, stopped: &Stopped) {
        let Ok(mut regs) = stopped.regs() else { return };
        if self
            .threads
            .get(&stopped.tid())
            .is_some_and(|thread| thread.stepping.is_some())
        {
            let _: Result<(), Error> = self.finish_step(stopped, regs);
            return;
        }
        let _: Result<(), Error> = self.put_back(stopped, &mut regs);
    }

    /// Takes the traps out of a process.
    fn clean_space(&mut self, stopped: &Stopped) {
        let Some(thread) = self.threads.get(&stopped.tid()) else {
            return;
        };
        let space = SharedSpace::clone(&thread.space);
        space.borrow_mut().clean(stopped);
    }

    /// The signal that a thread is to get when it is left: the one that it stopped for, unless that is
    /// a trap of ours: then its program counter goes back onto the instruction.
    fn signal_to_keep(&mut self, stopped: &Stopped, stop: Stop) -> Option<Signal> {
        let Stop::SignalDelivery(signal) = stop else {
            return None;
        };
        if signal != Signal::SIGTRAP {
            return Some(signal);
        }
        let thread = self.threads.get(&stopped.tid())?;
        let space = SharedSpace::clone(&thread.space);
        let regs = stopped.regs().ok()?;
        let back = space.borrow().traps.late_hit_at(regs.pc());
        match back {
            Some(at) => {
                let _: Result<(), Error> = stopped.set_pc(at);
                None
            }
            None => Some(signal),
        }
    }
}

impl Space {
    /// Takes all traps out; copies stay, for a thread may be in one.
    pub(super) fn clean(&mut self, stopped: &Stopped) {
        let (traps, mut code) = self.split(stopped);
        // What cannot be written is gone: an unmapped object, an ended process.
        let _ = traps.remove_all(&mut code);
    }
}
