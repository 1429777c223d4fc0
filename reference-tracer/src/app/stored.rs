//! Summaries in files: written at the end of a trace, and compared.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{End, Refusal, print};
use crate::cli::Cli;
use crate::output::describe;
use crate::summary::{Comparison, Report};

/// The file of `--summary-json`. It keeps what it holds until there is a summary.
pub(super) struct JsonFile {
    path: PathBuf,
    file: File,
}

impl JsonFile {
    pub(super) fn open(path: &Path) -> Result<Self, Refusal> {
        let opened = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        match opened {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file,
            }),
            Err(error) => Err(Self::refusal(path, &error)),
        }
    }

    pub(super) fn write(mut self, summary: &Report) -> Result<(), Refusal> {
        let is_file = self.file.metadata().is_ok_and(|meta| meta.is_file());
        let truncated = if is_file { self.file.set_len(0) } else { Ok(()) };
        truncated
            .and_then(|()| self.file.write_all(summary.to_json().as_bytes()))
            .map_err(|error| Self::refusal(&self.path, &error))
    }

    fn refusal(path: &Path, error: &std::io::Error) -> Refusal {
        Refusal::new(format!(
            "cannot write to '{}': {}",
            path.display(),
            describe(error)
        ))
    }
}

/// Compares two stored summaries: 3 where a limit is passed.
pub(super) fn compare(cli: &Cli, base: &Path, new: &Path) -> Result<End, Refusal> {
    let read = |path: &Path| {
        let named = |error: &dyn std::fmt::Display| Refusal::new(format!("'{}': {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| named(&describe(&error)))?;
        Report::from_json(&text).map_err(|error| named(&error))
    };
    let (base, new) = (read(base)?, read(new)?);
    let comparison = Comparison::new(&base, &new, &cli.fail_over);
    print(|out| out.write_all(comparison.table().as_bytes()))?;
    Ok(End::With(if comparison.failed() { 3 } else { 0 }))
}
