//! What can go wrong with an output.

use super::Target;
use nix::errno::Errno;
use std::io;
use std::process::ExitStatus;

/// Why an output cannot be opened, or broke. Each is one line, and complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A file cannot be opened for writing.
    #[error("cannot write to {target}: {}", describe(reason))]
    Open {
        /// The file.
        target: Target,
        /// The reason.
        reason: io::Error,
    },
    /// The command cannot be started.
    #[error("cannot start {target}: {}", describe(reason))]
    Start {
        /// The command.
        target: Target,
        /// The reason.
        reason: io::Error,
    },
    /// A write failed: what follows is lost.
    #[error(
        "cannot write the trace to {target}: {}; the rest of it is lost",
        describe(reason)
    )]
    Write {
        /// Where to.
        target: Target,
        /// The reason.
        reason: io::Error,
    },
    /// The command has ended with an error of its own.
    #[error("{target} ended with {status}")]
    Command {
        /// The command.
        target: Target,
        /// How it ended.
        status: ExitStatus,
    },
}

/// The words of strerror(3), without the number that `io::Error` adds.
pub(crate) fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) if Errno::from_raw(number) != Errno::UnknownErrno => {
            Errno::from_raw(number).desc().to_owned()
        }
        _ => error.to_string(),
    }
}
