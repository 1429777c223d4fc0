//! Starting a command as a tracee.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::command::{Command, SignalState};
use crate::error::{Error, SpawnError};
use crate::id::{ExitStatus, Tid};
use crate::session::Session;
use crate::stop::Stop;
use crate::stopped::Stopped;
use crate::sys::{self, FAILURE_LEN, Prepared, Take, Whom};
use crate::tracee::{Process, State};
use crate::wait::{Wait, consume};

impl Session {
    /// Starts a command, and returns it stopped (at `PTRACE_EVENT_EXEC`) before its first instruction.
    /// It was seized before it executed the program, so it never runs untraced.
    ///
    /// # Errors
    /// See [`SpawnError`]. Nothing is left running then.
    pub fn spawn(&mut self, command: &Command) -> Result<Stopped, SpawnError> {
        let strings = Strings::of(command)?;
        let signals = command.signals.clone().unwrap_or_else(SignalState::current);
        let (go_read, go) = pipe()?;
        let (failed, failed_write) = pipe()?;
        let tid = sys::fork_exec(&Prepared {
            candidates: &strings.candidates,
            args: &strings.args,
            env: &strings.env,
            cwd: strings.cwd.as_deref(),
            user: command.user.as_ref(),
            blocked: signals.blocked,
            ignored: signals.ignored,
            go: &go_read,
            go_tracer: &go,
            failed: &failed_write,
        })
        .map_err(|source| SpawnError::Tracer { what: "fork", source })?;
        drop((go_read, failed_write));
        let child = Child { tid, go, failed };
        self.lead_to_exec(child, command)
    }

    fn lead_to_exec(&mut self, mut child: Child, command: &Command) -> Result<Stopped, SpawnError> {
        if let Err(error) = self.seize_thread(child.tid) {
            child.give_up();
            return Err(error.into());
        }
        self.add(child.tid, Process::new(child.tid), State::Running);
        if let Some(hand_off) = self.shared.hand_off.borrow().as_ref() {
            hand_off.give_tracers_own(child.tid);
        }
        if let Err(source) = child.go.write_all(&[0]) {
            // The other end is closed: the child was killed. Its end will say by what.
            if source.kind() != io::ErrorKind::BrokenPipe {
                return Err(SpawnError::Tracer {
                    what: "write",
                    source,
                });
            }
        }
        loop {
            let event = match self.wait_for(child.tid)? {
                Wait::Stopped(stopped, Stop::Exec { .. }) => return Ok(stopped),
                event => event,
            };
            match event {
                Wait::Stopped(stopped, stop) => resume_unless_dead(stopped, stop)?,
                Wait::Exited(_, status) => return Err(child.failure(status, command)),
                Wait::Woken | Wait::NoTracees => {}
            }
        }
    }

    /// Waits for the next event of one thread. What others have to tell stays with the kernel.
    pub(crate) fn wait_for(&mut self, tid: Tid) -> Result<Wait, Error> {
        loop {
            match sys::wait(Whom::One(tid), Take::Peek, true) {
                Ok(Some(report)) => {
                    if let Some(event) = self.on_report(report)? {
                        return Ok(event);
                    }
                }
                Ok(None) => {}
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Err(Error::Died { tid }),
                Err(error) => return Err(Error::Wait(error)),
            }
        }
    }
}

/// Lets a child that is not yet the command get its signals.
fn resume_unless_dead(stopped: Stopped, stop: Stop) -> Result<(), Error> {
    let result = match stop {
        Stop::SignalDelivery(signal) => stopped.cont(Some(signal)),
        Stop::Group(_) => stopped.listen(),
        _ => stopped.cont(None),
    };
    match result.map_err(Error::from) {
        Ok(_) | Err(Error::Died { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The new process before it is the command.
struct Child {
    tid: Tid,
    /// A byte here lets it go on; the end lets it end.
    go: File,
    failed: File,
}

impl Child {
    /// Ends a child that could not be seized.
    fn give_up(self) {
        drop(self.go);
        // It reads the pipe's end and exits, and is cleared away.
        while matches!(sys::wait(Whom::One(self.tid), Take::Exit, true), Ok(None)) {}
        let _ = consume(self.tid, Take::Exit);
    }

    fn failure(mut self, status: ExitStatus, command: &Command) -> SpawnError {
        let mut bytes = [0; FAILURE_LEN];
        let command = command.program.clone();
        match (self.failed.read_exact(&mut bytes), status) {
            (Ok(()), _) => told(bytes, command),
            (Err(_), ExitStatus::Signaled { signal, .. }) => SpawnError::Killed { signal, command },
            (Err(source), ExitStatus::Exited(_)) => SpawnError::Tracer { what: "read", source },
        }
    }
}

/// What the child wrote about its failure.
fn told(bytes: [u8; FAILURE_LEN], command: OsString) -> SpawnError {
    let [step, errno @ ..] = bytes;
    let source = io::Error::from_raw_os_error(i32::from_le_bytes(errno));
    let what = match step {
        s if s == sys::Step::Chdir as u8 => "chdir",
        s if s == sys::Step::Setgroups as u8 => "setgroups",
        s if s == sys::Step::Setgid as u8 => "setresgid",
        s if s == sys::Step::Setuid as u8 => "setresuid",
        _ => return SpawnError::Exec { command, source },
    };
    SpawnError::Prepare {
        what,
        command,
        source,
    }
}

fn pipe() -> Result<(File, File), SpawnError> {
    sys::pipe().map_err(|source| SpawnError::Tracer {
        what: "pipe2",
        source,
    })
}

/// Everything that `execve` gets, as the C library wants it.
struct Strings {
    candidates: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: Option<CString>,
}

impl Strings {
    fn of(command: &Command) -> Result<Self, SpawnError> {
        let env = environment(command);
        let path = env.get(OsStr::new("PATH")).map(OsString::as_os_str);
        let argv0 = command.argv0.as_ref().unwrap_or(&command.program);
        let entry = |(name, value): (&OsString, &OsString)| {
            let mut entry = name.clone();
            entry.push("=");
            entry.push(value);
            c_string(&entry)
        };
        Ok(Self {
            candidates: candidates(&command.program, path)?,
            args: std::iter::once(argv0)
                .chain(&command.args)
                .map(|arg| c_string(arg))
                .collect::<Result<_, _>>()?,
            env: env.iter().map(entry).collect::<Result<_, _>>()?,
            cwd: command
                .cwd
                .as_ref()
                .map(|dir| c_string(dir.as_os_str()))
                .transpose()?,
        })
    }
}

fn environment(command: &Command) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<_, _> = if command.env_clear {
        BTreeMap::new()
    } else {
        std::env::vars_os().collect()
    };
    for (name, value) in &command.env {
        match value {
            Some(value) => env.insert(name.clone(), value.clone()),
            None => env.remove(name),
        };
    }
    env
}

/// Where execvp(3) searches if there is no `PATH` (`_CS_PATH` of confstr(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// What to try to execute, in order (execvp(3), "DESCRIPTION").
fn candidates(program: &OsStr, path: Option<&OsStr>) -> Result<Vec<CString>, SpawnError> {
    if program.is_empty() {
        return Ok(Vec::new());
    }
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(program)?]);
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let in_dir = |dir: &[u8]| {
        let mut full = dir.to_vec();
        if !dir.is_empty() {
            full.push(b'/'); // an empty element is the current directory
        }
        full.extend(program.as_bytes());
        c_string(&OsString::from_vec(full))
    };
    path.as_bytes().split(|&b| b == b':').map(in_dir).collect()
}

fn c_string(text: &OsStr) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes()).map_err(|_| SpawnError::Nul(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(program: &str, path: Option<&str>) -> Vec<String> {
        let found = candidates(OsStr::new(program), path.map(OsStr::new)).unwrap();
        found.into_iter().map(|c| c.into_string().unwrap()).collect()
    }

    #[test]
    fn the_path_is_searched_as_execvp_does() {
        assert_eq!(names("a/b", Some("/x")), ["a/b"]);
        assert_eq!(names("ls", Some("/x::/y/")), ["/x/ls", "ls", "/y//ls"]);
        assert_eq!(names("ls", None), ["/bin/ls", "/usr/bin/ls"]);
        assert!(names("", Some("/x")).is_empty());
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert!(matches!(
            Strings::of(&Command::new("a\0b")),
            Err(SpawnError::Nul(_))
        ));
        assert!(matches!(
            Strings::of(&Command::new("a").arg("\0")),
            Err(SpawnError::Nul(_))
        ));
    }

    #[test]
    fn the_environment_is_changed_as_asked() {
        let command = Command::new("x")
            .env_clear()
            .env("A", "1")
            .env("B", "2")
            .env_remove("B");
        let env = environment(&command);
        assert_eq!(env.into_iter().collect::<Vec<_>>(), [("A".into(), "1".into())]);
    }
}
