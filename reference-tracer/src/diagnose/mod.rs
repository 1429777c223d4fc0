//! One line that names the thing, the reason and the remedy.
//!
//! Everything here decides on facts that were handed in (bytes of a file, an errno), so that all of it is tested without a process.

pub mod command;
pub mod program;

/// A failure as the user sees it: one line, and the exit status that goes with it.
pub trait Diagnosis: std::fmt::Display {
    /// 127 where a command was not found, 126 where it cannot be executed, otherwise 1 (POSIX, "Exit Status for Commands").
    fn exit_status(&self) -> u8 {
        1
    }
}
