//! Traces the calls that a program makes of one function, its own or imported: first arguments and result.
//! `cargo run -p breakpoint --example trace_one_function -- ls malloc -l /usr`
//!
//! `elf-plt` finds where calls are met, `ptrace-core` holds the process, `breakpoint` does the rest. x86-64.

mod process;

use std::collections::{HashMap, HashSet};
use std::error::Error;

use arch_abi::{Addr, Arch, Regs};
use breakpoint::{CallStack, Frame, How, TrapId, Traps};
use process::{Process, entries};
use ptrace_core::{Command, Options, Session, Signal, Stop, Stopped, Tid, Wait};

struct Tracer {
    pid: Tid,
    entries: HashSet<Addr>,
    traps: Traps,
    calls: HashMap<Tid, CallStack<[u64; 3]>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(command), Some(function)) = (args.next(), args.next()) else {
        return Err("usage: trace_one_function COMMAND FUNCTION [ARG]...".into());
    };
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let stopped = session.spawn(&Command::new(command).args(args))?;
    let (pid, traps, calls) = (stopped.tgid(), Traps::new(Arch::X86_64), HashMap::new());
    let entries = entries(pid, &function)?;
    let mut tracer = Tracer {
        pid,
        entries,
        traps,
        calls,
    };
    for at in tracer.entries.clone() {
        tracer
            .trap(at, &stopped)
            .ok_or_else(|| format!("no trap can be put at {at}"))?;
    }
    stopped.cont(None)?;
    loop {
        let done = match session.wait()? {
            Wait::Stopped(stopped, stop) => tracer.on_stop(stopped, stop),
            Wait::Exited(tid, status) => {
                println!("{tid}: {status}");
                Ok(())
            }
            Wait::Woken | Wait::NoTracees => return Ok(()),
        };
        match done {
            Err(error) if !error.is_death() => return Err(error.into()),
            _ => {} // or it was killed while it was stopped, which the next wait tells
        }
    }
}

impl Tracer {
    /// Lets the thread go on after what its stop asks for.
    fn on_stop(&mut self, stopped: Stopped, stop: Stop) -> Result<(), ptrace_core::Error> {
        match stop {
            Stop::SignalDelivery(signal) => {
                let signal = self.on_signal(&stopped, signal)?;
                stopped.cont(signal)?;
            }
            Stop::Group(_) => drop(stopped.listen()?),
            Stop::Exec { .. } => stopped.detach(None)?, // another program: nothing of ours is in it
            _ => drop(stopped.cont(None)?),
        }
        Ok(())
    }

    /// Gets the thread past a trap. Gives the signal that the program is to get.
    fn on_signal(&mut self, stopped: &Stopped, signal: Signal) -> Result<Option<Signal>, ptrace_core::Error> {
        let mut regs = stopped.regs()?;
        if signal == Signal::SIGTRAP
            && let Some(id) = self.traps.hit(&regs)
        {
            // Children have the same traps and copies, and are let through.
            if stopped.tgid() == self.pid {
                self.on_hit(self.traps.addr(id).unwrap_or(regs.pc()), stopped, &regs);
            }
            stopped.set_pc(self.traps.resume_at(id).unwrap_or(regs.pc()))?;
            return Ok(None);
        }
        if self.traps.translate_back(&mut regs).is_some() {
            stopped.set_regs(&regs)?; // a handler must not see that the thread was in a copy
        }
        Ok(Some(signal))
    }

    /// A thread is at a trap: calls that are over are printed, a new one is kept in mind.
    fn on_hit(&mut self, at: Addr, stopped: &Stopped, regs: &Regs) {
        let mut memory = Process(stopped);
        let mut closed = Vec::new();
        let calls = self
            .calls
            .entry(stopped.tid())
            .or_insert_with(|| CallStack::new(Arch::X86_64, 1000));
        calls.returned(at, regs.sp(), &mut memory, &mut closed);
        if self.entries.contains(&at)
            && let Some(return_to) = memory.return_address(regs)
        {
            let frame = Frame {
                return_to,
                sp_after: regs.sp().wrapping_add(8),
                entry: at,
            };
            let args = [0, 1, 2].map(|index| regs.call_arg(index).unwrap_or(0));
            calls.push(frame, args, &mut memory, &mut closed);
            if self.traps.lookup(return_to).is_none() {
                self.trap(return_to, stopped); // or the call is closed when its place on the stack is used again
            }
        }
        for call in closed {
            let result = match call.how {
                How::Returned => format!("{:#x}", regs.return_word()),
                How::Unwound => "left by a jump".into(),
            };
            println!("{} called it with {:x?}: {result}", stopped.tid(), call.token);
        }
    }

    /// Puts a trap in that a thread gets past by a new program counter alone: its copy is made now.
    fn trap(&mut self, at: Addr, stopped: &Stopped) -> Option<TrapId> {
        let id = self.traps.insert(at, &mut Process(stopped)).ok()?;
        let copied = self.traps.prepare_copies(&mut Process(stopped)).is_ok();
        if copied && self.traps.resume_at(id).is_some() {
            return Some(id);
        }
        self.traps.remove(id, &mut Process(stopped)).ok();
        None
    }
}
