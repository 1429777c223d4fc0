//! Attaching to a program with many threads, and leaving it again.

use crate::error::{self, Error};
use crate::fixture::Fixtures;
use crate::process::{Line, pid};
use crate::tools::{Setup, Tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

/// How many threads the target has.
pub const THREADS: u32 = 100;

/// How long a tool may take to attach, or to leave.
const LIMIT: Duration = Duration::from_secs(30);

/// What one attach and leave took.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// From the start of the tool until every thread of the target has it as its tracer.
    pub attached: Duration,
    /// From the start of the tool until its output tells of the first call.
    pub first_call: Duration,
    /// From the SIGINT that tells it to go until it has ended.
    pub left: Duration,
}

/// Lets `tool` attach to a program of [`THREADS`] threads and leave again; nothing where it cannot ([`Tool::attaches`]).
///
/// # Errors
///
/// [`Error::TargetDied`] where the program did not live on, and what running the tool can fail with.
#[must_use]
pub fn visit(setup: &Setup, tool: Tool) -> Option<Result<Visit, Error>> {
    let line = line(setup, tool)?;
    Some(Target::start(&setup.fixtures).and_then(|target| target.visited(setup, line)))
}

/// The tool without the process ID of its target, which comes last.
fn line(setup: &Setup, tool: Tool) -> Option<Line> {
    let trace = setup.scratch.join("trace");
    let line = match tool {
        Tool::Rltrace => Line::new([&setup.rltrace]).and(["-e", "work2"]),
        Tool::Ltrace => Line::new(["ltrace", "-e", "work2"]),
        // Its threads make one system call of this sort each.
        Tool::Strace => Line::new(["strace", "-f", "-e", "trace=poll,restart_syscall"]),
        _ => return None,
    };
    Some(line.and(["-o"]).and([trace]).and(["-p"]))
}

struct Target {
    child: Child,
    tasks: Vec<Pid>,
}

impl Target {
    fn start(fixtures: &Fixtures) -> Result<Target, Error> {
        let line = Line::new([fixtures.path("threads")]).and([THREADS.to_string()]);
        let child = line.start_ready()?;
        let tasks = tasks(pid(&child))?;
        Ok(Target { child, tasks })
    }

    fn visited(mut self, setup: &Setup, line: Line) -> Result<Visit, Error> {
        let trace = setup.scratch.join("trace");
        let _ = fs::remove_file(&trace);
        let line = line.and([self.child.id().to_string()]);
        let start = Instant::now();
        let mut tool = line.start(&setup.scratch)?;
        let visit = self.follow(&mut tool, &line, start, &|| {
            fs::metadata(&trace).is_ok_and(|trace| trace.len() > 0)
        });
        if visit.is_err() {
            let _ = tool.kill();
            let _ = tool.wait();
        }
        let visit = visit?;
        self.lives()?;
        Ok(visit)
    }

    fn follow(
        &mut self,
        tool: &mut Child,
        line: &Line,
        start: Instant,
        has_written: &dyn Fn() -> bool,
    ) -> Result<Visit, Error> {
        let tracer = pid(tool);
        let mut free = std::mem::take(&mut self.tasks);
        until(tool, line, &mut || {
            free.retain(|&task| tracer_of(task) != Some(tracer));
            free.is_empty()
        })?;
        let attached = start.elapsed();
        until(tool, line, &mut || has_written())?;
        let first_call = start.elapsed();
        let leave = Instant::now();
        kill(tracer, Signal::SIGINT).map_err(error::request("kill"))?;
        until_ended(tool, line)?;
        Ok(Visit {
            attached,
            first_call,
            left: leave.elapsed(),
        })
    }

    /// Tells the program to end, which it does with status 0 after one more call in each thread.
    fn lives(&mut self) -> Result<(), Error> {
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(error::file("threads"))?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::TargetDied {
                status: status.to_string(),
            })
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tasks(of: Pid) -> Result<Vec<Pid>, Error> {
    let path = format!("/proc/{of}/task");
    let entries = fs::read_dir(&path).map_err(error::file(&path))?;
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw);
    Ok(entries.filter_map(Result::ok).filter_map(number).collect())
}

/// `TracerPid` of `proc_pid_status(5)`.
fn tracer_of(task: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{task}/status")).ok()?;
    let field = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    field.trim().parse().ok().map(Pid::from_raw)
}

/// Looks until `done`, five times a millisecond, so that the looking takes little of the CPU that the tool needs.
fn until(tool: &mut Child, line: &Line, done: &mut dyn FnMut() -> bool) -> Result<(), Error> {
    let start = Instant::now();
    while !done() {
        if let Some(status) = tool.try_wait().map_err(error::file(line.program()))? {
            let said = "; it had not attached, or told of no call".to_owned();
            return Err(Error::Status {
                program: line.program(),
                status: status.to_string(),
                said,
            });
        }
        rest(start, line)?;
    }
    Ok(())
}

fn until_ended(tool: &mut Child, line: &Line) -> Result<(), Error> {
    let start = Instant::now();
    while tool.try_wait().map_err(error::file(line.program()))?.is_none() {
        rest(start, line)?;
    }
    Ok(())
}

/// Lets a moment pass; it is an error if `line` has taken too long since `start`.
fn rest(start: Instant, line: &Line) -> Result<(), Error> {
    if start.elapsed() > LIMIT {
        return Err(Error::TimeLimit {
            program: line.program(),
            limit: LIMIT,
        });
    }
    thread::sleep(Duration::from_micros(200));
    Ok(())
}
