//! Running a command to its end, or beside the test.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long a command or a condition may take before it counts as hung.
///
/// A failure detector and no measure of speed: some hundred times what the slowest test needs.
pub const HANG: Duration = Duration::from_secs(900);

/// What a command left behind.
#[derive(Debug)]
pub struct Run {
    /// The command as a person would type it, for messages.
    pub command: String,
    /// All that it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All that it wrote to standard error.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub status: ExitStatus,
}

impl Run {
    /// Standard output as text; what is no UTF-8 is replaced.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text; what is no UTF-8 is replaced.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The exit status, or 128 + the signal that killed it, as a shell says it.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// The signal that killed the command.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Fails unless the command exited with status 0.
    #[track_caller]
    pub fn expect_success(&self) -> &Self {
        assert!(
            self.status.success(),
            "{} ended with {}\n{}",
            self.command,
            self.status,
            self.both()
        );
        self
    }

    /// Standard output and standard error under headings, for messages.
    pub fn both(&self) -> String {
        format!(
            "--- stdout\n{}--- stderr\n{}",
            tail(&self.out(), 40),
            tail(&self.err(), 40)
        )
    }
}

/// The last `count` lines of `text`.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    let mut kept = lines[from..].join("\n");
    kept.push('\n');
    kept
}

/// A command line: a program and its arguments.
pub fn words(program: impl Into<OsString>, more: &[&str]) -> Vec<OsString> {
    let more = more.iter().map(OsString::from);
    std::iter::once(program.into()).chain(more).collect()
}

/// Runs a command to its end with standard input closed, and keeps what it wrote.
///
/// A command that outlives [`HANG`] is killed with its process group and fails the test.
#[track_caller]
pub fn run(command: &mut Command) -> Run {
    command.stdin(Stdio::null());
    Running::start(command).finish()
}

/// A command that runs beside the test, in a process group of its own.
///
/// Output goes to files, not to pipes: a daemon that keeps them open does not hold up the test.
/// Dropping it kills the group.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    text: String,
    out: File,
    err: File,
}

impl Running {
    /// Starts `command`; its standard input is left as the caller set it.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let text = spell(command);
        let out = tempfile::tempfile().expect("a file for standard output");
        let err = tempfile::tempfile().expect("a file for standard error");
        command
            .stdout(out.try_clone().expect("dup"))
            .stderr(err.try_clone().expect("dup"));
        let child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        Self {
            child: Some(child),
            text,
            out,
            err,
        }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        let id = self.child.as_ref().expect("not waited for yet").id();
        Pid::from_raw(id.try_into().expect("a pid"))
    }

    /// Its standard input, when the caller asked for a pipe. Dropping what this gives closes it.
    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.as_mut().and_then(|child| child.stdin.take())
    }

    /// What it wrote to standard output so far.
    pub fn out_so_far(&self) -> String {
        String::from_utf8_lossy(&content(&self.out)).into_owned()
    }

    /// What it wrote to standard error so far.
    pub fn err_so_far(&self) -> String {
        String::from_utf8_lossy(&content(&self.err)).into_owned()
    }

    /// Sends a signal to this one process.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap_or_else(|error| panic!("{}: {error}", self.text));
    }

    /// Whether it has ended (it stays a zombie until [`Running::finish`]).
    pub fn ended(&mut self) -> bool {
        let child = self.child.as_mut().expect("not waited for yet");
        child.try_wait().expect("waitpid").is_some()
    }

    /// Waits until standard output holds `needle`.
    #[track_caller]
    pub fn wait_for_out(&mut self, needle: &str) {
        let start = Instant::now();
        while !self.out_so_far().contains(needle) {
            let over = self.ended() && !self.out_so_far().contains(needle);
            assert!(
                !over && start.elapsed() < HANG,
                "{} never wrote {needle:?}\n{}",
                self.text,
                self.said()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Closes its standard input and waits for its end; a hang is killed and fails the test.
    #[track_caller]
    pub fn finish(mut self) -> Run {
        drop(self.stdin());
        let mut child = self.child.take().expect("finished once");
        let group = Pid::from_raw(child.id().try_into().expect("a pid"));
        let (done, watch) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            let hung = watch.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout);
            if hung {
                let _ = killpg(group, Signal::SIGKILL);
            }
            hung
        });
        let status = child.wait().expect("waitpid");
        drop(done);
        let hung = watchdog.join().expect("the watchdog");
        assert!(
            !hung,
            "{} hung for {HANG:?} and was killed\n{}",
            self.text,
            self.said()
        );
        Run {
            command: self.text.clone(),
            stdout: content(&self.out),
            stderr: content(&self.err),
            status,
        }
    }

    /// Both outputs so far, for messages.
    pub fn said(&self) -> String {
        format!(
            "--- stdout\n{}--- stderr\n{}",
            tail(&self.out_so_far(), 40),
            tail(&self.err_so_far(), 40)
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let group = Pid::from_raw(child.id().try_into().expect("a pid"));
            let _ = killpg(group, Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

/// Waits until `condition` holds; `what` names it when it never does.
#[track_caller]
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < HANG, "waited {HANG:?} for: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All of a file that another process may be writing to. The position is shared with that process
/// (one open file description), so the file is opened anew.
fn content(file: &File) -> Vec<u8> {
    use std::os::fd::AsRawFd;
    let mut own = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("an open file");
    let mut bytes = Vec::new();
    own.seek(SeekFrom::Start(0))
        .and_then(|_| own.read_to_end(&mut bytes))
        .expect("read back");
    bytes
}

fn spell(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn keeps_both_outputs_and_the_status() {
        let run = run(&mut sh("echo a; echo b >&2; exit 7"));
        assert_eq!(
            (run.out().as_str(), run.err().as_str(), run.code()),
            ("a\n", "b\n", 7)
        );
    }

    #[test]
    fn a_signal_is_a_status_too() {
        let run = run(&mut sh("kill -9 $$"));
        assert_eq!((run.signal(), run.code()), (Some(9), 137));
    }

    #[test]
    fn a_running_command_is_heard_and_ends_when_its_input_closes() {
        let mut cat = Running::start(sh("echo ready; cat >/dev/null; echo bye").stdin(Stdio::piped()));
        cat.wait_for_out("ready");
        assert!(!cat.ended());
        assert_eq!(cat.finish().out(), "ready\nbye\n");
    }

    #[test]
    fn output_is_read_whole_while_the_writer_goes_on() {
        let mut command = sh("echo one; read x; echo two");
        let mut running = Running::start(command.stdin(Stdio::piped()));
        running.wait_for_out("one");
        assert_eq!(running.out_so_far(), "one\n");
        assert_eq!(
            running.finish().out(),
            "one\ntwo\n",
            "reading must not move the writer"
        );
    }

    #[test]
    #[should_panic(expected = "never wrote \"never\"")]
    fn a_word_that_never_comes_fails() {
        Running::start(&mut sh("echo something else")).wait_for_out("never");
    }
}
