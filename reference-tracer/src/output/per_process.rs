//! One file per process (`-ff`).

use super::{Output, OutputError, Target};
use nix::errno::Errno;
use ptrace_core::Interruptible;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The outputs of many processes: `PATH.PID` each.
#[derive(Debug)]
pub struct PerProcess {
    path: PathBuf,
    append: bool,
    open: FxHashMap<i32, Output>,
    /// Whose file exists already: a process id that comes again adds to it.
    seen: FxHashSet<i32>,
    broken: Option<OutputError>,
    calls: Option<Interruptible>,
}

impl PerProcess {
    /// Files beside `path`, named by process id.
    #[must_use]
    pub fn new(path: PathBuf, append: bool) -> Self {
        Self {
            path,
            append,
            open: FxHashMap::default(),
            seen: FxHashSet::default(),
            broken: None,
            calls: None,
        }
    }

    /// Lets writes end when `calls` are over, as [`Output::interrupt_by`].
    pub fn interrupt_by(&mut self, calls: &Interruptible) {
        for output in self.open.values_mut() {
            output.interrupt_by(calls.clone());
        }
        self.calls = Some(calls.clone());
    }

    /// The output of `pid`, opened when first asked for. Where no more files can be open at once, the others are closed and
    /// opened again when they are needed.
    ///
    /// # Errors
    /// [`OutputError::Open`].
    pub fn of(&mut self, pid: i32) -> Result<&mut Output, OutputError> {
        let output = match self.open.remove(&pid) {
            Some(output) => output,
            None => self.open_for(pid)?,
        };
        Ok(self.open.entry(pid).or_insert(output))
    }

    fn open_for(&mut self, pid: i32) -> Result<Output, OutputError> {
        let append = self.append || self.seen.contains(&pid);
        let target = Target::File {
            path: file_of(&self.path, pid),
            append,
        };
        let mut output = match Output::open(&target) {
            Err(OutputError::Open { reason, .. }) if too_many(&reason) && !self.open.is_empty() => {
                self.close_all();
                Output::open(&target)?
            }
            other => other?,
        };
        if let Some(calls) = &self.calls {
            output.interrupt_by(calls.clone());
        }
        self.seen.insert(pid);
        Ok(output)
    }

    /// `pid` is gone: its file is written and closed.
    pub fn close(&mut self, pid: i32) {
        if let Some(output) = self.open.remove(&pid)
            && let Err(error) = output.finish()
        {
            self.broken.get_or_insert(error);
        }
    }

    /// Flushes every open output.
    pub fn flush_idle(&mut self) {
        self.open.values_mut().for_each(Output::flush_idle);
    }

    /// The error that broke one of them, if one is broken.
    #[must_use]
    pub fn broken(&self) -> Option<&OutputError> {
        self.broken
            .as_ref()
            .or_else(|| self.open.values().find_map(Output::broken))
    }

    /// Writes and closes all.
    ///
    /// # Errors
    /// An error that broke one of them; it has been reported.
    pub fn finish(mut self) -> Result<(), OutputError> {
        self.close_all();
        self.broken.map_or(Ok(()), Err)
    }

    fn close_all(&mut self) {
        for pid in self.open.keys().copied().collect::<Vec<_>>() {
            self.close(pid);
        }
    }
}

fn file_of(path: &Path, pid: i32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{pid}"));
    name.into()
}

fn too_many(error: &std::io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EMFILE | Errno::ENFILE)
    )
}
