//! Making a running process ready to be traced before its threads are stopped.
//!
//! An envoy ([`ptrace_core::Envoy`]) maps what is needed, while the program runs: the guard, copies of instructions, recording code,
//! rings. All that is to be written to the program's own code is kept back. When the threads are stopped, and the program still has the code that was looked
//! at, that is written, and no system call is made in their names: on a busy machine a thread that is to make one waits for a CPU like
//! any other. Where anything is not as it was, all is given up, and done anew while they are stopped.
//!
//! The guard is in force a few milliseconds before they are stopped. A program that sets its disposition of SIGTRAP just then loses nothing: the guard takes over again, by
//! the last thread that is let go.

use ptrace_core::{Envoy, Haste, Memory, Stopped, Tid, procfs};

use super::Tracer;
use super::code::unmap;
use super::deferred::{Deferred, NEAR};
use super::fast::{Choice, FastError};
use super::filtered::may_call;
use super::linkage::{Note, chain};
use super::space::Space;

/// Whether a process executes a program of 64 bits (ELF gABI, "ELF Identification": `EI_CLASS`). In the name of others no thread is made: it could not
/// end by itself when the tracer dies.
fn is_of_64_bits(pid: Tid) -> bool {
    use std::io::Read;

    const EI_CLASS: usize = 4;
    const ELFCLASS64: u8 = 2;
    let mut ident = [0; EI_CLASS + 1];
    let file = std::fs::File::open(format!("/proc/{pid}/exe"));
    file.and_then(|mut file| file.read_exact(&mut ident)).is_ok() && ident[EI_CLASS] == ELFCLASS64
}

/// A process that is ready, but for what has to be written to its code.
pub(super) struct Prepared {
    space: Space,
    /// The program's code when its objects were looked at.
    code: Vec<procfs::Mapping>,
    /// What is to be told of it, should it be used.
    notes: Vec<Note>,
}

impl Tracer {
    /// Makes a process ready. `None`: that cannot be done while it runs.
    pub(super) fn prepare(&mut self, pid: Tid) -> Option<Prepared> {
        let status = procfs::Status::of(pid).ok()?;
        if status.tgid != pid.raw() || !may_call(pid) || !is_of_64_bits(pid) {
            return None;
        }
        // Whatever is known of them already costs no time when the envoy is there.
        Space::new(arch_abi::Arch::X86_64, Memory::of(pid), false).look_ahead(pid, &mut self.store);
        let told = |why: &_| tracing::debug!(%pid, why = chain(why), "attach: nothing can be done before it is stopped");
        let haste = self.options.hand_off.then(Haste::begin);
        let envoy = Envoy::to(pid);
        drop(haste);
        let mut envoy = envoy.inspect_err(|why| told(why)).ok()?;
        envoy.take_time();
        let prepared = self.prepare_by(&envoy, pid, status.threads > 1);
        envoy.recall();
        prepared
    }

    fn prepare_by(&mut self, envoy: &Envoy, pid: Tid, several: bool) -> Option<Prepared> {
        let stopped = envoy.stopped();
        let code = code_of(pid)?;
        let mut space = Space::new(stopped.regs().ok()?.arch(), stopped.memory(), true);
        if let Some(why) = space.guard(stopped) {
            tracing::debug!(%pid, why, "attach: nothing can be done before it is stopped");
            return None;
        }
        let mut notes = Vec::new();
        space.deferred = Some(Deferred::default());
        notes.extend(space.take_up(stopped, &mut self.store));
        let mut choice = Choice {
            recorder: &mut self.recorder,
            reporter: &mut self.reporter,
        };
        space.prepare_fast(stopped, several, &mut choice);
        notes.extend(space.refresh(stopped, &mut self.store, &mut choice));
        notes.append(&mut self.recorder.notes);
        let prepared = Prepared { space, code, notes };
        if prepared.space.linkage.seen_consistent {
            return Some(prepared);
        }
        prepared.take_away(stopped);
        None
    }

    /// Puts in force what was prepared; all threads but those that cannot be are stopped. `false`: it could not be, and is given up.
    pub(super) fn commit(&mut self, mut prepared: Prepared, threads: &[&Stopped]) -> bool {
        let Some(first) = threads.first() else {
            return false;
        };
        let pid = first.tgid();
        prepared.space.memory = first.memory();
        if let Some(why) = self.why_not(&prepared, threads) {
            tracing::debug!(%pid, why, "attach: what was prepared is given up");
            prepared.take_away(first);
            return false;
        }
        if let Err(error) = self.let_record(&mut prepared.space, threads) {
            tracing::debug!(%pid, why = chain(&error), "attach: what was prepared is given up");
            for stopped in threads {
                // Nobody has recorded anything yet.
                let _: Option<Note> = self.recorder.forget(stopped.tid());
                if let Some(fast) = &prepared.space.fast {
                    let _ = fast.release(stopped);
                }
            }
            prepared.take_away(first);
            return false;
        }
        let Prepared { mut space, notes, .. } = prepared;
        self.notes.extend(notes);
        let code = space.deferred.take().unwrap_or_default();
        let pieces = code.write(&space.memory, NEAR);
        tracing::debug!(%pid, pieces, "attach: written to its code");
        let _shared = self.take_up_threads(pid, space);
        for stopped in threads {
            self.note_stack(stopped);
        }
        true
    }

    /// Why what was prepared does not fit the process as it is now.
    fn why_not(&self, prepared: &Prepared, threads: &[&Stopped]) -> Option<&'static str> {
        let pid = threads.first()?.tgid();
        if self.session.threads(pid).count() > threads.len() {
            return Some("a thread cannot be stopped");
        }
        if !prepared.is_there() {
            return Some("it has executed another program");
        }
        if code_of(pid).as_ref() != Some(&prepared.code) {
            return Some("it has other code");
        }
        None
    }

    /// Gives each thread a ring, where calls are recorded.
    fn let_record(&mut self, space: &mut Space, threads: &[&Stopped]) -> Result<(), FastError> {
        if space.fast.is_none() {
            return Ok(());
        }
        if threads.len() > 1 {
            space.stamp(&mut self.recorder);
        }
        let mut choice = Choice {
            recorder: &mut self.recorder,
            reporter: &mut self.reporter,
        };
        let Some(fast) = &mut space.fast else {
            return Ok(());
        };
        threads
            .iter()
            .try_for_each(|stopped| fast.register(stopped, &mut choice))
    }
}

impl Prepared {
    /// Whether the process has what was put into it.
    fn is_there(&self) -> bool {
        self.space
            .guard
            .as_ref()
            .is_some_and(|guard| guard.is_there(&self.space.memory))
    }

    /// Takes everything out again, in the name of a thread of the process: nothing of it was ever used.
    fn take_away(mut self, stopped: &Stopped) {
        if !self.is_there() {
            // Whatever lies there now is another program's.
            return;
        }
        self.space.end_guard(stopped);
        if let Some(mut fast) = self.space.fast.take() {
            fast.remove(stopped, self.space.arch);
        }
        if let Some(mut guard) = self.space.guard.take() {
            guard.remove(stopped);
        }
        for (at, len) in std::mem::take(&mut self.space.copies) {
            unmap(stopped, self.space.arch, at, len);
        }
    }

    /// Takes everything out of a process that could not be attached to.
    pub(super) fn give_up(mut self, pid: Tid) {
        // Where none can be sent, some unused memory is left.
        if let Ok(envoy) = Envoy::to(pid) {
            self.space.memory = envoy.stopped().memory();
            self.take_away(envoy.stopped());
        }
    }
}

/// The code that a process has mapped from files.
fn code_of(pid: Tid) -> Option<Vec<procfs::Mapping>> {
    let mut maps = procfs::maps(pid).ok()?;
    maps.retain(|map| map.executable && map.is_file());
    Some(maps)
}
