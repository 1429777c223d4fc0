//! The program that attaching, leaving and dying are tried on: four threads that call all the time and check
//! every result.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Pid;

use crate::fixture::Build;
use crate::process;
use crate::rltrace::{Background, NOTHING, Rltrace};
use crate::run::{Running, wait_for};
use crate::tools::tool;

/// How many threads of it call.
const THREADS: &str = "4";

/// `fixtures/hot.c` while it runs. It ends when its input closes.
#[derive(Debug)]
pub struct Hot(Running);

/// A machine whose programs run here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Machine {
    /// x86-64.
    X86_64,
    /// i386.
    I386,
}

impl Machine {
    fn build(self, build: Build) -> Build {
        match self {
            Self::X86_64 => build,
            Self::I386 => {
                tool("/lib/ld-linux.so.2");
                build.compiler("i686-linux-gnu-gcc")
            }
        }
    }
}

impl Hot {
    /// The program.
    pub fn program(machine: Machine) -> PathBuf {
        let library = machine.build(Build::library("callee.c")).build();
        let program = machine.build(Build::program("hot.c").flags(["-O1"]));
        program.uses(&library).build()
    }

    /// Starts it, and waits until all its threads call.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_on(Machine::X86_64)
    }

    /// The same for another machine.
    #[track_caller]
    pub fn start_on(machine: Machine) -> Self {
        Self::start_file(&Self::program(machine))
    }

    /// The same from another file.
    #[track_caller]
    pub fn start_file(program: &Path) -> Self {
        let mut running = Running::start(Command::new(program).arg(THREADS).stdin(Stdio::piped()));
        running.wait_for_out("ready");
        Self(running)
    }

    /// The words of the command that runs it.
    pub fn command(program: &Path) -> [&std::ffi::OsStr; 2] {
        [program.as_os_str(), THREADS.as_ref()]
    }

    /// `rltrace -e callee -p` of it.
    #[track_caller]
    pub fn attach(&self) -> Background {
        self.attach_by(&Rltrace::new())
    }

    /// The same with more options.
    #[track_caller]
    pub fn attach_by(&self, rltrace: &Rltrace) -> Background {
        let rltrace = rltrace.clone().filter("callee").ends_of_trace();
        rltrace.pid(self.pid()).start(NOTHING)
    }

    /// Has all its threads traced by strace.
    #[track_caller]
    pub fn under_strace(&self) -> Running {
        let pid = self.pid();
        let mut command = Command::new(tool("strace"));
        let strace = Running::start(command.args(["-f", "-o", "/dev/null", "-p", &pid.to_string()]));
        wait_for("strace", || {
            process::threads(pid).iter().all(|thread| thread.tracer != 0)
        });
        strace
    }

    /// Fails unless it lives, with no thread stopped or traced.
    #[track_caller]
    pub fn unharmed(&mut self, what: &str) {
        assert!(!self.ended(), "{what}: the target died\n{}", self.said());
        let held = process::held(self.pid());
        assert!(
            held.is_empty(),
            "{what}: threads left stopped or traced: {held:?}"
        );
    }

    /// Fails unless after the death of a tracer nobody holds a thread, and each of them still calls and
    /// checks.
    #[track_caller]
    pub fn lives_on(&mut self, what: &str) {
        let pid = self.pid();
        wait_for("the kernel's release of the tracees", || {
            process::held(pid).is_empty() || !process::alive(pid)
        });
        runs_on(pid);
        assert!(!self.ended(), "{what}: the target died\n{}", self.said());
    }

    /// Ends it by closing its input; every result it saw was right.
    #[track_caller]
    pub fn ends_well(self) {
        assert_eq!(self.finish().expect_success().out(), "ready\ndone\n");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(self) -> crate::Run {
        self.0.finish()
    }
}

impl Deref for Hot {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

impl DerefMut for Hot {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.0
    }
}

/// Waits until the process has used more CPU time, or has ended.
#[track_caller]
pub fn runs_on(pid: Pid) {
    let before = process::cpu_time(pid);
    wait_for("the target's next steps", || {
        process::cpu_time(pid) > before || !process::alive(pid)
    });
}

/// How many cycles of a test that may have any number: `$RLTRACE_CYCLES` or `usual`.
pub fn cycles(usual: usize) -> usize {
    std::env::var("RLTRACE_CYCLES").map_or(usual, |count| count.parse().expect("RLTRACE_CYCLES is a number"))
}
