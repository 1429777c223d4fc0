//! Whether a file is a program that can be traced here.

use super::Diagnosis;
use std::path::{Path, PathBuf};

/// Why a file cannot be traced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It is shorter than what its headers tell.
    #[error("{}: truncated ELF file: {what} ends at byte {end}, the file has {length}", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The part that does not fit.
        what: &'static str,
        /// Where that part ends.
        end: u64,
        /// How long the file is.
        length: u64,
    },
}

impl Diagnosis for ProgramError {}

/// What kind of program a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// An ELF file with a dynamic section and an interpreter.
    Dynamic,
    /// An ELF file without imports: there are no library calls, only system calls and its own functions.
    Static,
    /// A script: `#!` and the interpreter that the kernel will run, with its own kind.
    Script {
        /// The interpreter as the script names it.
        interpreter: PathBuf,
    },
}

/// Examines the file that was found for a command.
///
/// # Errors
/// Why it cannot be executed or traced.
pub fn examine(_path: &Path) -> Result<Program, ProgramError> {
    todo!()
}
