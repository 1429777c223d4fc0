//! Why a measurement is missing from the table.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What went wrong; the report prints it in place of the number.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of ours could not be written or read.
    #[error("{path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("{program} did not start")]
    Start {
        /// Which program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A request to the kernel failed.
    #[error("{request}")]
    Request {
        /// The name of its manual page, or of the request of ptrace(2).
        request: &'static str,
        /// Why.
        source: nix::Error,
    },
    /// A program took longer than any run of it should, and was killed.
    #[error("{program} was still running after {limit:?}")]
    TimeLimit {
        /// Which program.
        program: String,
        /// How long it had.
        limit: Duration,
    },
    /// A program ended otherwise than it should.
    #[error("{program}: {status}{said}")]
    Status {
        /// Which program.
        program: String,
        /// How it ended.
        status: String,
        /// The last line it wrote to its standard error, after a colon; empty where it wrote none.
        said: String,
    },
    /// A tracer left calls out: its time is no time of tracing them.
    #[error("recorded {seen} of {made} calls")]
    Lost {
        /// How many its output tells of.
        seen: u64,
        /// How many the program made.
        made: u64,
    },
    /// A program's output is not what it should be.
    #[error("{what} is not as expected: {text:?}")]
    Unexpected {
        /// What was read.
        what: &'static str,
        /// What it said.
        text: String,
    },
    /// The target did not survive that the tracer left it.
    #[error("the target died: {status}")]
    TargetDied {
        /// How it ended.
        status: String,
    },
}

impl Error {
    /// The error and its causes in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

/// Names the file in an error of reading or writing it.
pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { path, source }
}

/// Names the request in an error of the kernel.
pub(crate) fn request(request: &'static str) -> impl FnOnce(nix::Error) -> Error {
    move |source| Error::Request { request, source }
}
