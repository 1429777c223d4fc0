//! Coming to a process: a command that is started, or one that runs already.

use std::cell::RefCell;
use std::rc::Rc;

use ptrace_core::{AttachError, Command, Error, SpawnError, Stopped, Tid};

use super::lifecycle::may_call;
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

    /// Attaches to all threads of a running process.
    ///
    /// # Errors
    /// See [`AttachError`]; the process is as it was.
    pub fn attach(&mut self, pid: Tid) -> Result<(), AttachError> {
        self.start_pump();
        self.session.seize_process(pid)?;
        if let Err(error) = self.take_up_process(pid) {
            self.notes
                .push(format!("pid {pid}: {}", super::linkage::chain(&error)));
        }
        tracing::info!(%pid, "attached");
        Ok(())
    }

    /// All threads are stopped before anything is written.
    fn take_up_process(&mut self, pid: Tid) -> Result<(), Error> {
        let stops = self.session.stop_all(pid)?;
        let Some((first, _)) = stops.first() else {
            return Ok(());
        };
        let regs = first.regs()?;
        let mut space = Space::new(regs.arch(), first.memory(), may_call(pid));
        self.guard(first, &mut space);
        let mut notes = space.take_up(first, &mut self.store);
        self.notes.append(&mut notes);
        let space = Rc::new(RefCell::new(space));
        for tid in self
            .session
            .tids()
            .filter(|&tid| self.session.tgid(tid) == Some(pid))
            .collect::<Vec<_>>()
        {
            self.add_thread(tid, pid, &space, false);
        }
        self.processes
            .insert(pid, Process::new(SharedSpace::clone(&space), true));
        let threads: Vec<&Stopped> = stops.iter().map(|(stopped, _)| stopped).collect();
        let notes = self.refresh_all(&threads, &space);
        self.notes.extend(notes);
        for (stopped, stop) in stops {
            match stop {
                ptrace_core::Stop::Interrupt => resume(stopped, None)?,
                other => self.on_stop(stopped, other)?,
            }
        }
        Ok(())
    }
}
