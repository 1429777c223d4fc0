//! Coming to a process: a command that is started, or one that runs already.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use arch_abi::Arch;
use ptrace_core::{AttachError, Command, Error, Haste, SpawnError, Stop, Stopped, Tid};

use super::filtered::{may_call, spare};
use super::leave::{Held, fitness};
use super::prepare::Prepared;
use super::space::Space;
use super::thread::SharedSpace;
use super::{Process, Tracer, resume};

impl Tracer {
    /// Starts a command and traces it from its first instruction.
    ///
    /// # Errors
    /// See [`SpawnError`]; nothing is left running.
    pub fn spawn(&mut self, command: &Command) -> Result<Tid, SpawnError> {
        let stopped = self.session.spawn(command)?;
        let tid = stopped.tid();
        self.command = Some(tid);
        tracing::info!(%tid, "command started");
        self.begin_program(&stopped)?;
        resume(stopped, None)?;
        Ok(tid)
    }

    /// Attaches to all threads of a running process. What can be done while they run is done before they are stopped.
    ///
    /// # Errors
    /// See [`AttachError`]; the process is as it was.
    pub fn attach(&mut self, pid: Tid) -> Result<(), AttachError> {
        self.start_pump();
        let prepared = self.prepare(pid);
        if let Err(error) = self.session.seize_process(pid) {
            if let Some(prepared) = prepared {
                prepared.give_up(pid);
            }
            return Err(error);
        }
        if let Err(error) = self.take_up_process(pid, prepared) {
            self.notes
                .push(format!("pid {pid}: {}", super::linkage::chain(&error)));
        }
        tracing::info!(%pid, "attached");
        Ok(())
    }

    /// All threads are stopped before anything is written to the program's code.
    fn take_up_process(&mut self, pid: Tid, prepared: Option<Prepared>) -> Result<(), Error> {
        let haste = self.options.hand_off.then(Haste::begin);
        let since = Instant::now();
        let stops = self.session.stop_all(pid)?;
        let all = since.elapsed();
        let Some(stops) = self.take_up_program(stops)? else {
            return Ok(());
        };
        let threads: Vec<&Stopped> = stops.iter().map(|(stopped, _)| stopped).collect();
        let Some(first) = threads.first() else {
            return Ok(());
        };
        let is_prepared = match prepared {
            Some(prepared) => self.commit(prepared, &threads),
            None => false,
        };
        if !is_prepared {
            self.take_up_stopped(first.tgid(), &threads)?;
        }
        let rest = self.resume_most(stops, is_prepared)?;
        let most = since.elapsed();
        self.resume_rest(rest, is_prepared)?;
        drop(haste);
        tracing::debug!(%pid, is_prepared, to_stop = ?all, most = ?most, last = ?since.elapsed(), "attach: stopped for");
        for tid in self.threads_of(pid) {
            self.look_for_stack(tid);
        }
        Ok(())
    }

    /// A process that executes another program just then is at the start of that, and has no other thread. Gives the stops back if it is not.
    fn take_up_program(&mut self, stops: Held) -> Result<Option<Held>, Error> {
        let executes = |(_, stop): &(Stopped, Stop)| matches!(stop, Stop::Exec { .. });
        if !stops.iter().any(executes) {
            return Ok(Some(stops));
        }
        for (stopped, _) in stops.into_iter().filter(executes) {
            self.begin_program(&stopped)?;
            resume(stopped, None)?;
        }
        Ok(None)
    }

    /// Everything is done while the threads are stopped.
    fn take_up_stopped(&mut self, pid: Tid, threads: &[&Stopped]) -> Result<(), Error> {
        let Some(first) = threads.first() else {
            return Ok(());
        };
        let regs = first.regs()?;
        let mut space = Space::new(regs.arch(), first.memory(), may_call(pid));
        self.guard(first, &mut space);
        let mut notes = space.take_up(first, &mut self.store);
        self.notes.append(&mut notes);
        let space = self.take_up_threads(pid, space);
        let notes = self.refresh_all(threads, &space);
        self.notes.extend(notes);
        Ok(())
    }

    /// The threads of a process that was attached to become known, with its memory.
    pub(super) fn take_up_threads(&mut self, pid: Tid, space: Space) -> SharedSpace {
        let space = Rc::new(RefCell::new(space));
        for tid in self.threads_of(pid) {
            self.add_thread(tid, pid, &space, false);
        }
        self.processes
            .insert(pid, Process::new(SharedSpace::clone(&space), true));
        space
    }

    fn threads_of(&self, pid: Tid) -> Vec<Tid> {
        self.session.threads(pid).collect()
    }

    /// Lets the threads run on that have stopped because they were asked to, but for one that is to `confirm` the
    /// guard. Gives that one first, and those that have stopped for something else.
    fn resume_most(&mut self, stops: Held, confirm: bool) -> Result<Held, Error> {
        let (mut asked, others): (Held, Held) =
            stops.into_iter().partition(|(_, stop)| *stop == Stop::Interrupt);
        let mut rest = Held::new();
        if confirm {
            let best = (0..asked.len()).max_by_key(|&index| fitness(&asked[index].0, asked[index].1));
            rest.extend(best.map(|index| asked.swap_remove(index)));
        }
        for (stopped, stop) in asked {
            spare(&stopped, stop);
            self.resume_watched(stopped)?;
        }
        rest.extend(others);
        Ok(rest)
    }

    /// Lets the rest run on: what a thread has stopped for takes its time.
    fn resume_rest(&mut self, rest: Held, confirm: bool) -> Result<(), Error> {
        if let Some((stopped, _)) = rest.first().filter(|_| confirm) {
            self.with_space(stopped, |space| space.confirm_guard(stopped));
        }
        for (stopped, stop) in rest {
            match stop {
                Stop::Interrupt => {
                    spare(&stopped, stop);
                    self.resume_watched(stopped)?;
                }
                other => self.on_stop(stopped, other)?,
            }
        }
        Ok(())
    }
}

/// Whether a stop has taken a thread out of a system call, to which it goes back.
pub(super) fn is_asleep(stopped: &Stopped) -> bool {
    stopped.regs().is_ok_and(|regs| {
        let call = regs.get(regs.abi().regs().syscall_nr);
        call.cast_signed() >= 0 && regs.arch() == Arch::X86_64
    })
}
