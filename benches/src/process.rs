//! Running a program to its end: how long it took, how it ended, what it needed at its peak.

use crate::error::{self, Error};
use nix::sys::ptrace;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A program with its arguments: what is run, and shown in the report.
#[derive(Clone, Debug)]
pub struct Line(pub Vec<OsString>);

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// From the start to the end.
    pub wall: Duration,
    /// Processor time of the program and of what it started and waited for.
    pub cpu: Duration,
}

/// Processor time of all children that were waited for.
fn cpu_of_children() -> Result<Duration, Error> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(error::request("getrusage"))?;
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(microseconds.unsigned_abs()))
}

impl Line {
    /// A line of `words`, the program first.
    pub fn new<I: IntoIterator<Item = S>, S: Into<OsString>>(words: I) -> Line {
        Line(words.into_iter().map(Into::into).collect())
    }

    /// The line with `words` behind it.
    #[must_use]
    pub fn and<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, words: I) -> Line {
        self.0.extend(words.into_iter().map(Into::into));
        self
    }

    /// The file name of the program, for messages.
    #[must_use]
    pub fn program(&self) -> String {
        let first = self.0.first().map(Path::new);
        first
            .and_then(Path::file_name)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The command: in a process group of its own, with no input, its outputs in files of `dir`.
    fn command(&self, dir: &Path) -> Result<Command, Error> {
        let mut words = self.0.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words).stdin(Stdio::null()).process_group(0);
        command
            .stdout(create(&dir.join(STDOUT))?)
            .stderr(create(&dir.join(STDERR))?);
        // Two sorts of output in one run of the comparison would not be a comparison.
        command
            .env("LC_ALL", "C")
            .env_remove("LD_BIND_NOW")
            .env_remove("LD_PRELOAD")
            .env_remove("DEBUGINFOD_URLS");
        Ok(command)
    }

    /// Starts it, with its outputs in [`STDOUT`] and [`STDERR`] of `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Start`], or [`Error::File`] for the outputs.
    pub fn start(&self, dir: &Path) -> Result<Child, Error> {
        self.command(dir)?.spawn().map_err(|source| Error::Start {
            program: self.program(),
            source,
        })
    }

    /// Starts it, with pipes as its input and its output, and waits until it says `ready`.
    ///
    /// # Errors
    ///
    /// [`Error::Start`], or [`Error::File`] for its output.
    pub(crate) fn start_ready(&self) -> Result<Child, Error> {
        let mut words = self.0.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        let spawned = command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(|source| Error::Start {
            program: self.program(),
            source,
        })?;
        let mut ready = [0; "ready\n".len()];
        let out = child
            .stdout
            .as_mut()
            .ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe));
        out.and_then(|out| out.read_exact(&mut ready))
            .map_err(error::file(self.program()))?;
        Ok(child)
    }

    /// Runs it to its end, and returns what that took; no other child of this process may end meanwhile. It is killed with its process group when `limit` is over.
    ///
    /// # Errors
    ///
    /// [`Error::Status`] unless it ended with status 0, [`Error::TimeLimit`], and those of [`Line::start`].
    pub fn run(&self, dir: &Path, limit: Duration) -> Result<Took, Error> {
        let mut command = self.command(dir)?;
        let cpu = cpu_of_children()?;
        let start = Instant::now();
        let mut child = command.spawn().map_err(|source| Error::Start {
            program: self.program(),
            source,
        })?;
        let watchdog = Watchdog::over(pid(&child), limit);
        let status = child.wait().map_err(error::file(STDOUT))?;
        let wall = start.elapsed();
        if watchdog.dismiss() {
            return Err(Error::TimeLimit {
                program: self.program(),
                limit,
            });
        }
        if !status.success() {
            return Err(Error::Status {
                program: self.program(),
                status: status.to_string(),
                said: last_words(dir),
            });
        }
        Ok(Took {
            wall,
            cpu: cpu_of_children()?.saturating_sub(cpu),
        })
    }

    /// Runs it to its end as the tracee of this thread, and returns the peak of its resident memory in bytes (`VmHWM` of
    /// `proc_pid_status(5)`), read at its exit stop. Its children are not looked at: of a tracer this is the tracer alone.
    ///
    /// # Errors
    ///
    /// As [`Line::run`], and [`Error::Request`] where ptrace(2) is refused.
    pub fn peak(&self, dir: &Path, limit: Duration) -> Result<u64, Error> {
        // A program that has ended already cannot be seized: this one waits until it is.
        let gate = Line::new(["/bin/sh", "-c", "read -r line && exec \"$@\"", "gate"]).and(&self.0);
        let mut command = gate.command(dir)?;
        let spawned = command.stdin(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|source| Error::Start {
            program: self.program(),
            source,
        })?;
        let watchdog = Watchdog::over(pid(&child), limit);
        let seized = ptrace::seize(pid(&child), ptrace::Options::PTRACE_O_TRACEEXIT);
        let opened = seized
            .map_err(error::request("PTRACE_SEIZE"))
            .and_then(|()| open_gate(&mut child));
        let peak = opened.and_then(|()| peak_at_exit(pid(&child)));
        if peak.is_err() {
            let _ = child.kill();
        }
        // The stops of it were waited for by number; the end of it is the child's to wait for.
        let status = child.wait().map_err(error::file(STDOUT))?;
        if watchdog.dismiss() {
            return Err(Error::TimeLimit {
                program: self.program(),
                limit,
            });
        }
        let peak = peak?;
        if !status.success() {
            return Err(Error::Status {
                program: self.program(),
                status: status.to_string(),
                said: last_words(dir),
            });
        }
        Ok(peak)
    }
}

/// The file of a run's standard output.
pub const STDOUT: &str = "stdout";
/// The file of a run's standard error.
pub const STDERR: &str = "stderr";

/// The process ID of a child.
#[must_use]
pub fn pid(child: &Child) -> Pid {
    // std keeps the pid_t as an unsigned number.
    Pid::from_raw(child.id().cast_signed())
}

fn create(path: &Path) -> Result<File, Error> {
    File::create(path).map_err(error::file(path))
}

fn last_words(dir: &Path) -> String {
    let said = fs::read(dir.join(STDERR)).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    said.lines()
        .rfind(|line| !line.trim().is_empty())
        .map_or_else(String::new, |line| format!(": {line}"))
}

/// Kills a process group that takes too long.
struct Watchdog {
    done: mpsc::Sender<()>,
    thread: thread::JoinHandle<bool>,
}

impl Watchdog {
    fn over(group: Pid, limit: Duration) -> Watchdog {
        let (done, over) = mpsc::channel();
        let thread = thread::spawn(move || {
            let late = over.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            late && killpg(group, Signal::SIGKILL).is_ok()
        });
        Watchdog { done, thread }
    }

    /// Whether it had to kill.
    fn dismiss(self) -> bool {
        // It has ended by itself where it had to kill, and hears nothing then.
        let _ = self.done.send(());
        self.thread.join().unwrap_or(false)
    }
}

/// Lets the shell behind the gate run the program.
fn open_gate(child: &mut Child) -> Result<(), Error> {
    match child.stdin.take() {
        Some(mut gate) => gate.write_all(b"\n").map_err(error::file("the gate of a run")),
        None => Ok(()),
    }
}

/// Follows `process`, a tracee of this thread, to its exit stop, passing on its signals.
fn peak_at_exit(process: Pid) -> Result<u64, Error> {
    loop {
        match waitpid(process, Some(WaitPidFlag::__WALL)).map_err(error::request("waitpid"))? {
            WaitStatus::PtraceEvent(_, _, event) if event == ptrace::Event::PTRACE_EVENT_EXIT as i32 => {
                let peak = high_water_mark(process);
                ptrace::cont(process, None).map_err(error::request("PTRACE_CONT"))?;
                return peak;
            }
            // Group stops and the like: nothing is to be passed on.
            WaitStatus::PtraceEvent(..) => {
                ptrace::cont(process, None).map_err(error::request("PTRACE_CONT"))?;
            }
            WaitStatus::Stopped(_, signal) => {
                ptrace::cont(process, signal).map_err(error::request("PTRACE_CONT"))?;
            }
            end => {
                return Err(Error::Unexpected {
                    what: "the stop of a tracer",
                    text: format!("{end:?}"),
                });
            }
        }
    }
}

/// `VmHWM` of `proc_pid_status(5)`, in bytes.
fn high_water_mark(process: Pid) -> Result<u64, Error> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).map_err(error::file(path))?;
    let field = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = field
        .and_then(|value| value.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or(Error::Unexpected {
        what: "/proc/PID/status",
        text: status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(600);

    fn sh(script: &str) -> Line {
        Line::new(["/bin/sh", "-c", script])
    }

    #[test]
    fn a_run_that_fails_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let error = sh("echo one >&2; echo two >&2; echo >&2; exit 3")
            .run(dir.path(), LIMIT)
            .unwrap_err();
        assert_eq!(error.chain(), "sh: exit status: 3: two");
        let error = Line::new(["/nonexistent/tool"])
            .run(dir.path(), LIMIT)
            .unwrap_err();
        assert_eq!(
            error.chain(),
            "tool did not start: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_run_that_hangs_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        // The child holds the output open; it would be there for a day if only the shell were killed.
        let line = sh("sleep 86400 & echo $!; wait");
        let error = line.run(dir.path(), Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, Error::TimeLimit { .. }), "{error:?}");
    }

    #[test]
    fn the_peak_is_that_of_the_program_and_counts_memory_that_it_gave_back() {
        let dir = tempfile::tempdir().unwrap();
        let small = sh("exit 0").peak(dir.path(), LIMIT).unwrap();
        let large = sh("x=$(head -c 20000000 /dev/zero | tr '\\0' x); x=; exit 0")
            .peak(dir.path(), LIMIT)
            .unwrap();
        assert!(
            small < 10_000_000 && large > small + 20_000_000,
            "{small} {large}"
        );
    }

    #[test]
    fn processor_time_is_that_of_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let busy = sh("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
            .run(dir.path(), LIMIT)
            .unwrap();
        assert!(busy.cpu > Duration::from_millis(1), "{busy:?}");
    }
}
