//! One file per process (`-ff`).

use super::{Output, OutputError};
use std::path::PathBuf;

/// The outputs of many processes: `PATH.PID` each.
#[derive(Debug)]
pub struct PerProcess {}

impl PerProcess {
    /// Files beside `path`, named by process id.
    #[must_use]
    pub fn new(_path: PathBuf, _append: bool) -> Self {
        todo!()
    }

    /// The output of `pid`, opened when first asked for.
    ///
    /// # Errors
    /// [`OutputError::Open`].
    pub fn of(&mut self, _pid: i32) -> Result<&mut Output, OutputError> {
        todo!()
    }

    /// `pid` is gone: its file is written and closed.
    pub fn close(&mut self, _pid: i32) {
        todo!()
    }

    /// Flushes every open output.
    pub fn flush_idle(&mut self) {
        todo!()
    }

    /// Writes and closes all.
    ///
    /// # Errors
    /// The first error that broke one of them.
    pub fn finish(self) -> Result<(), OutputError> {
        todo!()
    }
}
