//! Where the trace goes: one buffer, large writes, and no surprise when the reader is gone.

mod color;
mod per_process;

pub use color::ColorChoice;
pub use per_process::PerProcess;

use std::io;
use std::path::PathBuf;

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
    /// The standard input of a shell command.
    Command(String),
}

impl Target {
    /// What `-o TEXT` means: `|COMMAND` or a path.
    #[must_use]
    pub fn parse(_text: &std::ffi::OsStr, _append: bool) -> Self {
        todo!()
    }
}

/// Why an output cannot be opened, or broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A file cannot be opened for writing.
    #[error("cannot write to '{}': {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A write failed: what follows is lost.
    #[error("cannot write the trace to {to}: {source}; the rest of it is lost")]
    Write {
        /// Standard error, the file or the command.
        to: String,
        /// The reason.
        source: io::Error,
    },
}

/// Buffered, and never failing in the middle of a line: text is formatted into it with [`std::fmt::Write`].
///
/// A failed write is reported once on standard error; from then on [`Output::broken`] tells so and text is dropped.
#[derive(Debug)]
pub struct Output {}

impl Output {
    /// Opens `target`, truncated unless it appends, close-on-exec.
    ///
    /// # Errors
    /// [`OutputError::Open`], or a command that cannot be started.
    pub fn open(_target: &Target) -> Result<Self, OutputError> {
        todo!()
    }

    /// The buffer that lines are formatted into; call [`Output::end_line`] after each line.
    pub fn buffer(&mut self) -> &mut String {
        todo!()
    }

    /// A line is complete: a terminal gets it at once, otherwise a large buffer is written.
    pub fn end_line(&mut self) {
        todo!()
    }

    /// Writes all there is, also an unfinished line; call it before waiting for something that may take long.
    pub fn flush_idle(&mut self) {
        todo!()
    }

    /// The error that ended this output, if one did.
    #[must_use]
    pub fn broken(&self) -> Option<&OutputError> {
        todo!()
    }

    /// Whether it is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        todo!()
    }

    /// Writes what is left, closes, and waits for a command to end.
    ///
    /// # Errors
    /// The error that broke it, also when it was reported before.
    pub fn finish(self) -> Result<(), OutputError> {
        todo!()
    }
}
