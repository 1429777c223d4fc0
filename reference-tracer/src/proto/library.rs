//! The library of prototypes: embedded files searched in place, and the user's files before them.

use std::fmt;
use std::io;
use std::path::Path;

use arch_abi::Arch;

use super::plan::Plan;
use super::types::Types;

/// An error in a prototype file. Reading went on after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, counted from one.
    pub line: u32,
    /// What was expected, and what was found.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: error: {}", self.file, self.line, self.message)
    }
}

/// All prototypes: the user's files first, then the embedded ones.
#[derive(Debug, Default)]
pub struct Prototypes {
    types: Types,
}

impl Prototypes {
    /// The embedded prototypes. Nothing is parsed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a prototype file of the user's. It goes before all that was loaded before and before
    /// the embedded ones. `soname`: it is only about functions of that library; `None`: of any.
    ///
    /// Problems within the file are appended to `problems`, and its other lines are used.
    ///
    /// # Errors
    /// The file can't be read, or it is larger than any prototype file.
    pub fn load_file(
        &mut self,
        path: &Path,
        soname: Option<&str>,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        let _ = (path, soname, problems);
        todo!()
    }

    /// Reads every `*.conf` file of a folder: `NAME.conf` is about the library whose soname is
    /// `NAME` or begins with `NAME` and a period.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn load_dir(&mut self, path: &Path, problems: &mut Vec<Problem>) -> io::Result<()> {
        let _ = (path, problems);
        todo!()
    }

    /// How to show calls of `name` under `arch`. `sonames` are the libraries that may provide it, in
    /// search order; when none of them has it, all are searched. An unknown function gets a plan
    /// that shows four words and a word.
    pub fn plan(&mut self, arch: Arch, sonames: &[&str], name: &str) -> Plan {
        let _ = (arch, sonames, name);
        todo!()
    }

    /// How system call `name` is shown; the plan's places are those of system calls.
    pub fn syscall_plan(&mut self, arch: Arch, name: &str) -> Plan {
        let _ = (arch, name);
        todo!()
    }

    /// The types of all plans made so far.
    #[must_use]
    pub fn types(&self) -> &Types {
        &self.types
    }
}
