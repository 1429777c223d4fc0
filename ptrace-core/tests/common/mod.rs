//! Fixtures: C source compiled when a test runs, and helpers to lead a program through a session.
#![allow(dead_code, unreachable_pub, reason = "each test file uses some of these")]

use std::path::{Path, PathBuf};
use std::process::Command as Tool;

use ptrace_core::{Command, ExitStatus, Options, Session, Stop, Stopped, Tid, Wait};

/// Compiles `source` with `cc` and `flags`.
pub fn compile(name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Tests of several processes compile the same fixture: each makes its own and moves it into place.
    let unique = format!("{name}-{}-{:?}", std::process::id(), std::thread::current().id());
    let file = dir.join(format!("{unique}.c"));
    let exe = dir.join(&unique);
    std::fs::write(&file, source).unwrap();
    let out = Tool::new("cc")
        .args(["-g", "-pthread", "-o"])
        .arg(&exe)
        .arg(&file)
        .args(flags)
        .output();
    let out = out.expect("the tests need a C compiler as `cc`");
    assert!(
        out.status.success(),
        "cc {name}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    std::fs::remove_file(&file).unwrap();
    exe
}

/// A program that starts nothing by itself.
pub fn command(exe: &Path) -> Command {
    Command::new(exe)
}

/// Starts a fixture, stopped before its first instruction.
pub fn spawn(session: &mut Session, exe: &Path) -> Stopped {
    session.spawn(&Command::new(exe)).unwrap()
}

/// Resumes a tracee as a tracer does that changes nothing. It may have been killed: then its end
/// will be told.
pub fn pass(stopped: Stopped, stop: Stop) {
    let result = match stop {
        Stop::SignalDelivery(signal) => stopped.cont(Some(signal)),
        Stop::Group(_) => stopped.listen(),
        _ => stopped.cont(None),
    };
    match result {
        Ok(_) => {}
        Err(refused) if refused.error.is_death() => {}
        Err(refused) => panic!("{}", refused.error),
    }
}

/// What happened, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    Stop(Tid, Stop),
    Exit(Tid, ExitStatus),
}

/// Lets everything run to its end and tells what happened.
pub fn run(session: &mut Session) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        match session.wait().unwrap() {
            Wait::Stopped(stopped, stop) => {
                seen.push(Seen::Stop(stopped.tid(), stop));
                pass(stopped, stop);
            }
            Wait::Exited(tid, status) => seen.push(Seen::Exit(tid, status)),
            Wait::Woken => panic!("nobody wakes this session"),
            Wait::NoTracees => return seen,
        }
    }
}

/// Starts a fixture and lets it run to its end.
pub fn run_fixture(exe: &Path) -> (Tid, Vec<Seen>) {
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let stopped = spawn(&mut session, exe);
    let tid = stopped.tid();
    stopped.cont(None).unwrap();
    (tid, run(&mut session))
}

/// How `tid` ended.
pub fn end_of(seen: &[Seen], tid: Tid) -> Option<ExitStatus> {
    seen.iter().find_map(|s| match *s {
        Seen::Exit(who, status) if who == tid => Some(status),
        _ => None,
    })
}

/// A program that this test started without tracing it, killed when the test ends.
pub struct Untraced(pub std::process::Child);

impl Untraced {
    pub fn tid(&self) -> Tid {
        Tid::new(self.0.id().try_into().unwrap())
    }
}

impl Drop for Untraced {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program from another thread (so that it is no child of the session's thread) and waits until it
/// has printed its first line.
pub fn start(
    exe: &Path,
    args: &[&str],
) -> (
    Untraced,
    std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
) {
    use std::io::BufRead;
    let mut tool = Tool::new(exe);
    tool.args(args).stdout(std::process::Stdio::piped());
    let mut child = std::thread::spawn(move || tool.spawn().unwrap()).join().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().expect("the fixture prints a line").unwrap();
    assert_eq!(first, "ready");
    (Untraced(child), lines)
}
