//! Where the trace goes: one buffer, large writes, and no surprise when the reader is gone.

mod ahead;
mod color;
mod error;
mod per_process;
mod sink;

pub use color::ColorChoice;
pub use error::OutputError;
pub(crate) use error::describe;
pub use per_process::PerProcess;

use crate::text::Page;
use ahead::{Ahead, Pace};
use ptrace_core::Interruptible;
use sink::Sink;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Where a trace is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard error.
    Stderr,
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether lines are added after what it holds.
        append: bool,
    },
    /// The standard input of a command, which `/bin/sh` runs.
    Command(OsString),
}

impl Target {
    /// What `-o TEXT` means: `|COMMAND` or a path.
    #[must_use]
    pub fn parse(text: &OsStr, append: bool) -> Self {
        match text.as_bytes().strip_prefix(b"|") {
            Some(command) => Target::Command(OsString::from_vec(command.to_vec())),
            None => Target::File {
                path: text.into(),
                append,
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Stderr => f.write_str("standard error"),
            Target::File { path, .. } => write!(f, "'{}'", path.display().to_string().escape_debug()),
            Target::Command(command) => write!(f, "'|{}'", command.display().to_string().escape_debug()),
        }
    }
}

/// The buffer is written when it holds this much: a pipe's capacity (pipe(7), "Pipe capacity").
const FULL: usize = 64 * 1024;
/// One line may be longer; then the memory for it is given back.
const KEEP: usize = 4 * FULL;
/// How long what is left is offered to a reader when writing was interrupted.
const PATIENCE: Duration = Duration::from_secs(1);

type Report = Box<dyn FnMut(&OutputError) + Send>;

/// Buffered, and never failing in the middle of a line: text is appended to it.
///
/// A write that fails is reported once; from then on [`Output::broken`] tells so, and text is dropped. What is buffered is
/// written when an `Output` is dropped, too. `SIGPIPE` must be ignored or blocked, which Rust's runtime sees to.
pub struct Output {
    target: Target,
    /// The thread that writes what comes fast.
    ahead: Option<Ahead>,
    /// Whether that pays; until it was tried.
    pace: Option<Pace>,
    sink: Option<Sink>,
    buffer: Vec<u8>,
    /// What follows that.
    page: Page,
    /// It is written when it holds this much.
    full: usize,
    is_terminal: bool,
    broken: Option<OutputError>,
    report: Report,
    calls: Option<Interruptible>,
}

impl Output {
    /// Opens `target`, close-on-exec. A file that is not appended to keeps what it holds until the first write, or until
    /// [`Output::finish`].
    ///
    /// # Errors
    /// [`OutputError::Open`], or [`OutputError::Start`] for a command.
    pub fn open(target: &Target) -> Result<Self, OutputError> {
        let sink = Sink::open(target)?;
        Ok(Self {
            target: target.clone(),
            is_terminal: sink.is_terminal(),
            ahead: None,
            pace: Some(Pace::new()),
            sink: Some(sink),
            buffer: Vec::with_capacity(FULL),
            page: Page::default(),
            full: FULL,
            broken: None,
            report: Box::new(|error| {
                // When standard error is what broke, nobody is left to be told.
                let _ = writeln!(std::io::stderr(), "rltrace: {error}");
            }),
            calls: None,
        })
    }

    /// Lets it be written when it holds so many bytes, instead of 64 KiB: for what is no text, and comes in large pieces.
    #[must_use]
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.full = bytes;
        self
    }

    /// Lets writes end when `calls` are over. From then on nothing is written before [`Output::finish`], which offers what
    /// is left for a second: nobody may be reading.
    pub fn interrupt_by(&mut self, calls: Interruptible) {
        self.calls = Some(calls);
    }

    /// Lets `report` tell the user of an error, instead of a line on standard error.
    #[must_use]
    pub fn on_error(mut self, report: impl FnMut(&OutputError) + Send + 'static) -> Self {
        self.report = Box::new(report);
        self
    }

    /// The buffer that lines are formatted into; call [`Output::end_line`] after each line.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.page.pour(&mut self.buffer);
        &mut self.buffer
    }

    /// Where short lines are made; call [`Output::end_line`] after each.
    #[inline]
    pub fn page(&mut self) -> &mut Page {
        &mut self.page
    }

    /// Whether there is nothing that is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.page.is_empty()
    }

    /// A line is complete: a terminal gets it at once, otherwise a large buffer is written.
    #[inline]
    pub fn end_line(&mut self) {
        if !self.page.is_empty() && !self.page.is_full() && !self.is_terminal {
            return;
        }
        self.page.pour(&mut self.buffer);
        if self.is_terminal || self.broken.is_some() {
            self.flush_idle();
        } else if self.buffer.len() >= self.full {
            self.write_much();
        }
    }

    /// Writes a buffer that is full; ahead, if that pays.
    fn write_much(&mut self) {
        if self.pace.as_mut().is_some_and(Pace::is_fast) {
            self.pace = None;
            self.write_ahead();
        }
        let Some(ahead) = &mut self.ahead else {
            return self.flush_idle();
        };
        if self.buffer.len() < self.full.max(ahead::AT_ONCE) {
            return;
        }
        if let Err(reason) = ahead.take(&mut self.buffer) {
            self.lose(reason);
        }
    }

    /// From now on full buffers are written by a thread, if they go to a file.
    fn write_ahead(&mut self) {
        let file = match &mut self.sink {
            Some(sink) => sink.regular_file(),
            None => Ok(None),
        };
        // Where that can't be done, writing tells why.
        self.ahead = file.ok().flatten().and_then(|file| Ahead::start(file).ok());
    }

    /// Writes all there is, also an unfinished line; call it before waiting for something that may take long.
    pub fn flush_idle(&mut self) {
        let calls = self.calls.take();
        self.write(calls.as_ref());
        self.calls = calls;
    }

    /// Writes what is buffered, until `calls` are over.
    fn write(&mut self, calls: Option<&Interruptible>) {
        self.page.pour(&mut self.buffer);
        if let Some(Err(reason)) = self.ahead.as_mut().map(Ahead::settle) {
            return self.lose(reason);
        }
        if self.buffer.is_empty() {
            return;
        }
        let wrote = match (&mut self.sink, &self.broken) {
            (Some(sink), None) => sink.write(&self.buffer, calls),
            _ => Ok(self.buffer.len()),
        };
        match wrote {
            Ok(written) => drop(self.buffer.drain(..written)),
            Err(reason) => self.lose(reason),
        }
        self.buffer.shrink_to(KEEP / FULL * self.full);
    }

    /// Writes what is left after an interrupted write, if there is a reader.
    fn write_patiently(&mut self) {
        let offered = Interruptible::new().and_then(|calls| {
            let waker = calls.waker();
            let over = move || {
                thread::sleep(PATIENCE);
                waker.wake();
            };
            thread::Builder::new().name("patience".to_owned()).spawn(over)?;
            Ok(calls)
        });
        match offered {
            Ok(calls) => self.write(Some(&calls)),
            Err(reason) => self.lose(reason),
        }
        if !self.buffer.is_empty() {
            self.lose(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
        }
    }

    /// The error that ended this output, if one did.
    #[must_use]
    pub fn broken(&self) -> Option<&OutputError> {
        self.broken.as_ref()
    }

    /// Whether it is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes what is left, closes, and waits for a command to end.
    ///
    /// # Errors
    /// The error that broke it; it has been reported.
    pub fn finish(mut self) -> Result<(), OutputError> {
        self.flush_idle();
        if !self.buffer.is_empty() {
            self.write_patiently();
        }
        if let Some(Err(error)) = self.sink.take().map(|sink| sink.close(&self.target))
            && self.broken.is_none()
        {
            self.fail(error);
        }
        self.broken.take().map_or(Ok(()), Err)
    }

    fn lose(&mut self, reason: io::Error) {
        self.buffer.clear();
        self.fail(OutputError::Write {
            target: self.target.clone(),
            reason,
        });
    }

    fn fail(&mut self, error: OutputError) {
        (self.report)(&error);
        self.broken = Some(error);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush_idle();
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("target", &self.target)
            .field("is_empty", &self.is_empty())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
