//! The file descriptor that is written to, and the command behind it.

use super::{OutputError, Target};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ptrace_core::Interruptible;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// An open descriptor, close-on-exec as all that Rust opens.
pub(super) struct Sink {
    file: File,
    /// Whether what the file held before is still in it: it goes when the first line comes, or at the end of a
    /// trace without lines, so that a command line that cannot be carried out overwrites nothing.
    holds_old: bool,
    /// The thread that waits for the command.
    command: Option<JoinHandle<io::Result<ExitStatus>>>,
}

impl Sink {
    pub(super) fn open(target: &Target) -> Result<Self, OutputError> {
        let opened = match target {
            Target::Stderr => io::stderr().as_fd().try_clone_to_owned().map(File::from),
            Target::File { path, append } => open_file(path, *append),
            Target::Command(command) => {
                let (file, waiter) = start(command).map_err(|reason| OutputError::Start {
                    target: target.clone(),
                    reason,
                })?;
                return Ok(Self {
                    file,
                    holds_old: false,
                    command: Some(waiter),
                });
            }
        };
        let file = opened.map_err(|reason| OutputError::Open {
            target: target.clone(),
            reason,
        })?;
        let append = !matches!(target, Target::File { append: false, .. });
        let holds_old = !append && file.metadata().is_ok_and(|meta| meta.is_file());
        Ok(Self {
            file,
            holds_old,
            command: None,
        })
    }

    /// The file that is written to, once more, if it is one: not a pipe or a device, where a write may wait for somebody else.
    pub(super) fn regular_file(&mut self) -> io::Result<Option<File>> {
        self.truncate()?;
        if !self.file.metadata()?.is_file() {
            return Ok(None);
        }
        self.file.try_clone().map(Some)
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// Writes all of `bytes`, also where another process has made the descriptor non-blocking, or until `calls`
    /// are over. Gives how many were written.
    pub(super) fn write(&mut self, bytes: &[u8], calls: Option<&Interruptible>) -> io::Result<usize> {
        self.truncate()?;
        let mut done = 0;
        while done < bytes.len() {
            let Some(wrote) = run(calls, || self.file.write(&bytes[done..])) else {
                break;
            };
            match wrote {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A terminal's open file description is shared: any program there may set O_NONBLOCK on it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_until_writable(calls)?,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn truncate(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.holds_old) {
            self.file.set_len(0)?;
        }
        Ok(())
    }

    fn wait_until_writable(&self, calls: Option<&Interruptible>) -> io::Result<()> {
        let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        match run(calls, || poll(&mut asked, PollTimeout::NONE)) {
            None | Some(Ok(_) | Err(Errno::EINTR)) => Ok(()),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Closes, and waits for the command to end.
    pub(super) fn close(mut self, target: &Target) -> Result<(), OutputError> {
        self.truncate().map_err(|reason| OutputError::Write {
            target: target.clone(),
            reason,
        })?;
        drop(self.file);
        let Some(waiter) = self.command else { return Ok(()) };
        let ended = waiter
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("its thread panicked")));
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(OutputError::Command {
                target: target.clone(),
                status,
            }),
            Err(reason) => Err(OutputError::Write {
                target: target.clone(),
                reason,
            }),
        }
    }
}

fn run<T>(calls: Option<&Interruptible>, call: impl FnOnce() -> T) -> Option<T> {
    match calls {
        Some(calls) => calls.run(call),
        None => Some(call()),
    }
}

fn open_file(path: &Path, append: bool) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .append(append)
        // A terminal that is written to does not become ours.
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(path)
}

/// Starts a shell command that reads what is written to the returned file.
///
/// A thread of its own starts it and waits for it: it is that thread's child, so that a tracer that waits with `__WNOTHREAD`
/// does not take its end for a tracee's (wait(2), "Linux notes").
fn start(command: &OsStr) -> io::Result<(File, JoinHandle<io::Result<ExitStatus>>)> {
    let (tell, told) = mpsc::sync_channel(1);
    let mut shell = shell(command);
    let waiter = thread::Builder::new().name("output".to_owned()).spawn(move || {
        let mut child = match shell.spawn() {
            Ok(child) => child,
            Err(error) => {
                let again = io::Error::from_raw_os_error(error.raw_os_error().unwrap_or_default());
                let _ = tell.send(Err(error));
                return Err(again);
            }
        };
        let _ = tell.send(Ok(child.stdin.take()));
        child.wait()
    })?;
    let stdin = told
        .recv()
        .map_err(|_| io::Error::other("its thread panicked"))??;
    let stdin = stdin.ok_or_else(|| io::Error::other("it has no standard input"))?;
    Ok((File::from(OwnedFd::from(stdin)), waiter))
}

/// `sh -c COMMAND`, which a Ctrl-C does not end before it has read all: it ends when its input does. (A program that handles
/// SIGINT by itself, as less does, still may.)
fn shell(command: &OsStr) -> Command {
    let mut script = OsString::from("trap '' INT QUIT\n");
    script.push(command);
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(script).stdin(Stdio::piped());
    shell
}

#[cfg(test)]
impl Sink {
    pub(super) fn set_nonblocking(&self) {
        use nix::fcntl::{FcntlArg, fcntl};
        fcntl(self.file.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    }
}
