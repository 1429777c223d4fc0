//! Where the events of a trace meet the engine.

use std::rc::Rc;

use arch_abi::record::{Interruption, Resume};
use arch_abi::{Addr, Regs};
use ptrace_core::{Error, Signal, Stop, Stopped, Tid};

use rustc_hash::FxHashSet;

use super::{Choice, FastError, overwritten};
use crate::tracer::Tracer;
use crate::tracer::linkage::{Note, chain};
use crate::tracer::space::Space;
use crate::tracer::thread::{SharedSpace, Thread};

impl Tracer {
    /// What the dynamic linker says now of the objects of a process, one thread of which is stopped.
    pub(in crate::tracer) fn refresh(&mut self, stopped: &Stopped, space: &SharedSpace) -> Vec<Note> {
        self.refresh_all(&[stopped], space)
    }

    /// As [`refresh`](Self::refresh), with all threads that are stopped.
    pub(in crate::tracer) fn refresh_all(&mut self, threads: &[&Stopped], space: &SharedSpace) -> Vec<Note> {
        let Some(first) = threads.first() else {
            return Vec::new();
        };
        let mut choice = Choice {
            recorder: &mut self.recorder,
            reporter: &mut self.reporter,
        };
        let mut space = space.borrow_mut();
        let running = self.session.threads(first.tgid()).count() > threads.len();
        if !running {
            space.make_fast(threads, &mut choice);
        }
        let notes = space.refresh(first, &mut self.store, &mut choice);
        space.look_at_memory(first.tgid());
        drop(space);
        self.reporter.forget_names();
        for stopped in threads {
            self.note_stack(stopped);
            self.look_for_stack(stopped.tid());
        }
        self.notes.append(&mut self.recorder.notes);
        notes
    }

    /// Starts the thread that keeps the rings company. To be called before the tracer's thread is pinned, or it were, too.
    pub(in crate::tracer) fn start_pump(&mut self) {
        if !self.recorder.is_wanted() || self.recorder.pump.is_some() {
            return;
        }
        let waker = self.session.waker();
        self.recorder.pump = waker.and_then(super::pump::Pump::start).ok();
    }

    /// A new program has no thread pointer before its dynamic linker has set one, and does not record before that.
    pub(in crate::tracer) fn await_thread_pointer(&mut self, stopped: &Stopped) -> Result<(), Error> {
        let Some(thread) = self
            .threads
            .get_mut(&stopped.tid())
            .filter(|thread| thread.system_calls_left > 0)
        else {
            return Ok(());
        };
        thread.system_calls_left -= 1;
        let regs = stopped.regs()?;
        let pointer = regs.abi().regs().thread_pointer.map_or(0, |reg| regs.get(reg));
        if pointer != 0 {
            thread.system_calls_left = 0;
            if let Some(fast) = &thread.space.borrow().fast {
                self.recorder
                    .lanes
                    .set_owner(stopped.tid(), fast.areas.owner(pointer));
            }
        } else if thread.system_calls_left == 0 {
            self.notes.push(format!(
                "tid {}: it has no thread pointer, and its calls are not recorded",
                stopped.tid()
            ));
        }
        Ok(())
    }

    /// Keeps the half of the stack pointer that records do not tell.
    pub(in crate::tracer) fn note_stack(&mut self, stopped: &Stopped) {
        if let (Ok(regs), Some(thread)) = (stopped.regs(), self.threads.get_mut(&stopped.tid())) {
            thread.last_sp = regs.sp();
            thread.stack_high = regs.sp().get() & !u64::from(u32::MAX);
            self.reporter.tape_stack(thread);
            let pointer = regs.abi().regs().thread_pointer.map_or(1, |reg| regs.get(reg));
            if pointer == 0 && self.recorder.lanes.of(stopped.tid()).is_some() {
                thread.system_calls_left = UNTIL_POINTER;
            }
        }
    }

    /// Finds out where the stack of a thread ends that was stopped: what it has recorded may be read when its process is gone.
    pub(in crate::tracer) fn look_for_stack(&mut self, tid: Tid) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.stacks.look_for(thread.last_sp, thread.tgid);
            self.reporter.tape_stack(thread);
        }
    }

    /// A thread is about to make another process that is traced: which of their calls came first is told by the time.
    pub(in crate::tracer) fn stamp(&mut self, tid: Tid) {
        if let Some(thread) = self.threads.get(&tid) {
            thread.space.borrow_mut().stamp(&mut self.recorder);
        }
    }

    /// A thread is born, or a process with a copy of its parent's memory or the use of it: it has a ring of its own.
    pub(in crate::tracer) fn register(&mut self, stopped: &Stopped, space: &SharedSpace) {
        let mut space = space.borrow_mut();
        if space.fast.is_none() {
            return;
        }
        space.stamp(&mut self.recorder);
        let mut choice = Choice {
            recorder: &mut self.recorder,
            reporter: &mut self.reporter,
        };
        let registered = space
            .fast
            .as_mut()
            .map_or(Ok(()), |fast| fast.register(stopped, &mut choice));
        if let Err(error) = registered {
            if let Some(fast) = &space.fast {
                let _: Result<(), FastError> = fast.silence(stopped);
            }
            self.notes.push(format!(
                "tid {}: its calls are not recorded: {}",
                stopped.tid(),
                chain(&error)
            ));
        }
        drop(space);
        self.note_stack(stopped);
        self.look_for_stack(stopped.tid());
    }

    /// A signal, or a fault of recording code itself, stops a thread. `true`: it was the latter, and is dealt with.
    pub(in crate::tracer) fn leave_stub(
        &mut self,
        stopped: &Stopped,
        regs: &mut Regs,
        signal: Signal,
    ) -> Result<bool, Error> {
        let Some(thread) = self.threads.get(&stopped.tid()) else {
            return Ok(false);
        };
        let space = SharedSpace::clone(&thread.space);
        let mut space = space.borrow_mut();
        let Space {
            fast: Some(fast),
            arch,
            memory,
            ..
        } = &mut *space
        else {
            return Ok(false);
        };
        let pc = regs.pc();
        if !fast.is_code(pc) {
            return Ok(false);
        }
        let is_fault = matches!(signal, Signal::SIGSEGV | Signal::SIGBUS) && {
            let info = stopped.siginfo()?;
            // <asm-generic/siginfo.h>: what the kernel raises has a positive code.
            info.code() > 0
        };
        if !is_fault {
            return go_on(stopped, regs, fast.resume(pc, Interruption::Signal)).map(|_| false);
        }
        let at = fault_address(stopped)?;
        if let Some(at) = at
            && super::areas::is_parallel(at, regs.sp())
            && fast.map_around(stopped, *arch, at.get())
        {
            return Ok(true);
        }
        tracing::debug!(%pc, ?at, "memory that a stub looks at cannot be read");
        if let Some(at) = at {
            fast.looked_in_vain(memory, at);
        }
        let resume = fast.resume(pc, Interruption::Fault);
        drop(space);
        go_on(stopped, regs, resume)
    }

    /// The tracer leaves: all threads are stopped, and no place leads to a stub any more. None will record any more: calls that are under
    /// way return through their stubs without that. Gives the threads that could not be taken out of recording code.
    pub(in crate::tracer) fn take_out_of_stubs(&self, held: &[(Stopped, Stop)]) -> FxHashSet<Tid> {
        let mut inside = FxHashSet::default();
        let mut retired = FxHashSet::default();
        for (stopped, _) in held {
            let Some(thread) = self.threads.get(&stopped.tid()) else {
                continue;
            };
            let space = thread.space.borrow();
            let Some(fast) = &space.fast else { continue };
            if retired.insert(thread.tgid) {
                fast.retire(&space.memory);
            }
            if !matches!(fast.take_out(stopped), Ok(true)) {
                inside.insert(stopped.tid());
            }
        }
        inside
    }

    /// All threads are stopped, and were taken out of stubs as far as they can be: the calls that they are in return without recording code, as far as they can be found.
    pub(in crate::tracer) fn leave_rings(&mut self, held: &[(Stopped, Stop)]) {
        for (stopped, _) in held {
            self.inspect_lane(stopped.tid());
            self.give_back_frames(stopped);
        }
    }

    /// The calls that a thread is in return without recording code, as far as they can be found.
    fn give_back_frames(&mut self, stopped: &Stopped) {
        let Some(thread) = self.threads.get_mut(&stopped.tid()) else {
            return;
        };
        let space = thread.space.borrow();
        let Some(fast) = &space.fast else { return };
        let frames = fast.give_back_calls(&space.memory, stopped, &mut thread.stacks);
        tracing::debug!(tid = %thread.tid, ?frames, "leave: calls under way");
        drop(space);
        thread.frames = Some(frames);
    }

    /// The tracer has left a process, and what was recorded there is read: what no call returns through is unmapped.
    pub(in crate::tracer) fn unmap_recording(
        &mut self,
        stopped: &Stopped,
        space: &SharedSpace,
        inside: &FxHashSet<Tid>,
    ) {
        let arch = space.borrow().arch;
        let Some(mut fast) = space.borrow_mut().fast.take() else {
            return;
        };
        let threads = || {
            self.threads
                .values()
                .filter(|thread| Rc::ptr_eq(&thread.space, space))
        };
        let is_inside = threads().any(|thread| inside.contains(&thread.tid));
        let is_busy = threads().any(may_return);
        if threads().any(|thread| thread.returns.are_lost()) {
            self.notes.push(format!(
                "pid {}: recording code stays in it, because it is not known which of its calls return there",
                stopped.tgid()
            ));
        }
        if !is_inside && !is_busy {
            fast.remove(stopped, arch);
        } else if !is_inside {
            fast.unmap_rings(stopped, arch);
        }
    }

    /// What is written over a ring leaves no trace among the records where that makes it look empty: its control block is looked at before
    /// the ring is given up.
    fn inspect_lane(&mut self, tid: Tid) {
        let Some(damage) = self.recorder.lanes.damage(tid) else {
            return;
        };
        if self.recorder.damaged.insert(tid) {
            self.recorder.notes.push(overwritten(tid, damage));
        }
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.returns.lose();
        }
    }

    /// The thread executes another program, or is gone.
    pub(in crate::tracer) fn forget_recorded(&mut self, tid: Tid) {
        self.inspect_lane(tid);
        self.close_lane(tid);
        self.notes.append(&mut self.recorder.notes);
        self.notes.extend(self.recorder.forget(tid));
    }
}

/// Whether calls of a thread may still return through recording code.
fn may_return(thread: &Thread) -> bool {
    let pending = thread.calls.iter().filter(|(_, call)| call.is_recorded);
    let pending = pending.map(|(frame, _)| frame.sp_after);
    let open = thread.returns.open();
    thread.returns.are_lost()
        || thread
            .frames
            .as_ref()
            .is_none_or(|frames| frames.may_return(pending, open))
}

/// A dynamic linker sets the thread pointer within so many system calls after it has loaded the libraries: glibc 2.36 makes two.
const UNTIL_POINTER: u32 = 20_000;

/// Sends a thread where recording code says.
fn go_on(stopped: &Stopped, regs: &mut Regs, resume: Option<Resume>) -> Result<bool, Error> {
    let Some(Resume::At(pc)) = resume else {
        return Ok(false);
    };
    regs.set_pc(pc);
    // A system call that is to be restarted would take the counter back.
    regs.set(regs.abi().regs().syscall_nr, u64::MAX);
    stopped.set_regs(regs)?;
    Ok(true)
}

/// The address that could not be accessed: `si_addr`.
fn fault_address(stopped: &Stopped) -> Result<Option<Addr>, Error> {
    let bytes = stopped.siginfo()?.bytes();
    let word = bytes
        .get(16..24)
        .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    Ok(word.map(|word| Addr::new(u64::from_le_bytes(word))))
}
