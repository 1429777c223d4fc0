//! The floor, and the parts of a stop: what a tracer that does nothing but stop a thread and let it go on pays, and what each
//! thing that a call tracer does at a stop adds.
//!
//! A tracer of a few lines, so that what is measured is the kernel and not this project.

use crate::error::{self, Error};
use crate::fixture::Fixtures;
use crate::process::{Line, pid};
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IoSliceMut, Write};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// What is done at each stop, each on top of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `PTRACE_CONT` and waitpid(2), tracer and thread wherever the kernel puts them.
    Apart,
    /// The same, the tracer on one CPU and the thread handed over there.
    HandedOver,
    /// `sched_getaffinity(2)` of the thread: what is put back is what it has.
    Affinity,
    /// Waiting with waitid(2) and `WNOWAIT`, so that a stop that the tracer dies at is not lost.
    NoWait,
    /// `PTRACE_GETREGSET` of `NT_PRSTATUS`.
    Registers,
    /// `process_vm_readv(2)` of 64 bytes.
    Memory,
    /// `PTRACE_POKEUSER` of the PC.
    ProgramCounter,
    /// A line of text for the event.
    Format,
    /// write(2) of the lines, 64 KiB at a time.
    Write,
}

impl Part {
    /// All of them, in the order in which they are added.
    pub const ALL: [Part; 9] = [
        Part::Apart,
        Part::HandedOver,
        Part::Affinity,
        Part::NoWait,
        Part::Registers,
        Part::Memory,
        Part::ProgramCounter,
        Part::Format,
        Part::Write,
    ];

    /// What the table calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Apart => "PTRACE_CONT, waitpid",
            Part::HandedOver => "handed over on one CPU",
            Part::Affinity => "+ sched_getaffinity",
            Part::NoWait => "+ waitid with WNOWAIT for waitpid",
            Part::Registers => "+ PTRACE_GETREGSET",
            Part::Memory => "+ process_vm_readv, 64 bytes",
            Part::ProgramCounter => "+ PTRACE_POKEUSER, the PC",
            Part::Format => "+ a line of text",
            Part::Write => "+ write, 64 KiB at a time",
        }
    }
}

/// The program counter's place in the user area: `offsetof(struct user, regs.rip)` in <sys/user.h>.
const PC_OFFSET: usize = std::mem::offset_of!(libc::user_regs_struct, rip);

/// A thread that does nothing but stop, and its tracer.
#[derive(Debug)]
pub struct Stopper {
    child: Child,
    tracee: Pid,
    everywhere: CpuSet,
    here: CpuSet,
    sink: File,
    text: String,
}

impl Stopper {
    /// Compiles the program into `dir` and runs it to its first stop.
    ///
    /// The calling thread becomes its tracer, and all calls must come from it.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] where ptrace(2) is refused, and those of compiling and starting.
    pub fn start(dir: &Path) -> Result<Stopper, Error> {
        let child = Line::new([Fixtures::build_stops(dir)?.path("stops")]).start_ready()?;
        let tracee = pid(&child);
        ptrace::seize(tracee, ptrace::Options::PTRACE_O_EXITKILL).map_err(error::request("PTRACE_SEIZE"))?;
        let everywhere = sched_getaffinity(Pid::from_raw(0)).map_err(error::request("sched_getaffinity"))?;
        let sink = tempfile::tempfile_in(dir).map_err(error::file(dir))?;
        let here = one_cpu()?;
        let stopper = Stopper {
            child,
            tracee,
            everywhere,
            here,
            sink,
            text: String::new(),
        };
        stopper.first_stop()
    }

    fn first_stop(mut self) -> Result<Stopper, Error> {
        drop(self.child.stdin.take());
        self.wait_for_trap()?;
        Ok(self)
    }

    /// The mean time of one of `stops` stops, each with the parts up to `part`.
    ///
    /// # Errors
    ///
    /// [`Error::Request`], [`Error::Unexpected`] where the thread stops otherwise or ends.
    pub fn measure(&mut self, part: Part, stops: u32) -> Result<Duration, Error> {
        let handed_over = part >= Part::HandedOver;
        self.place(handed_over)?;
        // The first stops after a change of place are not those that follow.
        for _ in 0..=(stops / 50) {
            self.stop(part)?;
        }
        let start = Instant::now();
        for _ in 0..stops {
            self.stop(part)?;
        }
        let spent = start.elapsed();
        self.place(false)?;
        Ok(spent / stops)
    }

    /// Keeps the tracer to one CPU, or lets it go.
    fn place(&self, one: bool) -> Result<(), Error> {
        let set = if one { &self.here } else { &self.everywhere };
        affinity(Pid::from_raw(0), set)
    }

    /// One stop: lets the thread go on, waits for its next trap, and does what `part` says there.
    pub(crate) fn stop(&mut self, part: Part) -> Result<(), Error> {
        if part >= Part::Affinity {
            sched_getaffinity(self.tracee).map_err(error::request("sched_getaffinity"))?;
        }
        if part >= Part::HandedOver {
            // Narrowed while it is stopped, it wakes up here; widened before this thread sleeps, it has not yet run with less.
            affinity(self.tracee, &self.here)?;
            ptrace::cont(self.tracee, None).map_err(error::request("PTRACE_CONT"))?;
            affinity(self.tracee, &self.everywhere)?;
        } else {
            ptrace::cont(self.tracee, None).map_err(error::request("PTRACE_CONT"))?;
        }
        if part >= Part::NoWait {
            self.look_for_trap()?;
        } else {
            self.wait_for_trap()?;
        }
        self.work(part)
    }

    fn work(&mut self, part: Part) -> Result<(), Error> {
        if part < Part::Registers {
            return Ok(());
        }
        let regs = ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(self.tracee)
            .map_err(error::request("PTRACE_GETREGSET"))?;
        let mut bytes = [0; 64];
        if part >= Part::Memory {
            self.read(regs.rsp, &mut bytes)?;
        }
        if part >= Part::ProgramCounter {
            let pc = regs.rip.cast_signed();
            let at = std::ptr::without_provenance_mut(PC_OFFSET);
            ptrace::write_user(self.tracee, at, pc).map_err(error::request("PTRACE_POKEUSER"))?;
        }
        if part >= Part::Format {
            let _ = writeln!(
                self.text,
                "stops->work2({}, {}){:>30} {}",
                regs.rdi, regs.rsi, "=", bytes[0]
            );
        }
        if part >= Part::Write && self.text.len() >= 64 * 1024 {
            self.sink
                .write_all(self.text.as_bytes())
                .map_err(error::file("output"))?;
        }
        if self.text.len() >= 64 * 1024 {
            self.text.clear();
        }
        Ok(())
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let base = usize::try_from(at).map_err(|_| Error::Unexpected {
            what: "a stack pointer",
            text: format!("{at:#x}"),
        })?;
        let remote = [RemoteIoVec {
            base,
            len: bytes.len(),
        }];
        process_vm_readv(self.tracee, &mut [IoSliceMut::new(bytes)], &remote)
            .map_err(error::request("process_vm_readv"))?;
        Ok(())
    }

    fn wait_for_trap(&self) -> Result<(), Error> {
        expect_trap(waitpid(self.tracee, Some(WaitPidFlag::__WALL)).map_err(error::request("waitpid"))?)
    }

    fn look_for_trap(&self) -> Result<(), Error> {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        expect_trap(waitid(Id::Pid(self.tracee), flags).map_err(error::request("waitid"))?)
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        let _ = self.place(false);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A trap as waitpid(2) tells of it, or as waitid(2) does (`CLD_TRAPPED`), which nix takes for the event with number 0.
fn expect_trap(status: WaitStatus) -> Result<(), Error> {
    match status {
        WaitStatus::Stopped(_, Signal::SIGTRAP) | WaitStatus::PtraceEvent(_, Signal::SIGTRAP, 0) => Ok(()),
        other => Err(Error::Unexpected {
            what: "a bare stop",
            text: format!("{other:?}"),
        }),
    }
}

/// The CPU that this thread is on.
fn one_cpu() -> Result<CpuSet, Error> {
    let cpu = sched_getcpu().map_err(error::request("getcpu"))?;
    let mut set = CpuSet::new();
    set.set(cpu).map_err(error::request("CPU_SET"))?;
    Ok(set)
}

fn affinity(of: Pid, set: &CpuSet) -> Result<(), Error> {
    sched_setaffinity(of, set).map_err(error::request("sched_setaffinity"))
}
