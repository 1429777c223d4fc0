//! One line that names the thing, the reason and the remedy, for what can go wrong before a command runs.
//!
//! [`command::resolve`] finds the file of a command and [`program::examine`] looks into it, both before a process is made: `execve`
//! tells an errno only, and the same `ENOENT` stands for a missing file and for a missing interpreter of a file that is there. What
//! the kernel says of processes that run already is explained by `ptrace_core::AttachError`.

pub mod command;
mod elf;
pub mod program;

/// A failure as the user sees it: `Display` is one line, and this is the exit status that goes with it.
pub trait Diagnosis: std::fmt::Display {
    /// 127 where a command was not found, 126 where it cannot be executed (POSIX, "Exit Status for Commands"), otherwise 1.
    fn exit_status(&self) -> u8;
}

/// A name for one line of a terminal.
pub(crate) fn shown(name: &std::ffi::OsStr) -> String {
    let text = name.display().to_string();
    if text.chars().any(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text
    }
}
