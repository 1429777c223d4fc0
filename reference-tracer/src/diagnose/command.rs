//! Which file a command names.

use super::Diagnosis;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Why a command cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No directory of the search path holds it.
    #[error("{}: command not found", .0.display())]
    NotFound(OsString),
}

impl Diagnosis for CommandError {}

/// The file that `execvp(3)` would execute for `command` with the search path `path` (the value of `PATH`, if it is set).
///
/// # Errors
/// What stands in the way, with the exit status a shell would give.
pub fn resolve(_command: &OsStr, _path: Option<&OsStr>) -> Result<PathBuf, CommandError> {
    todo!()
}
