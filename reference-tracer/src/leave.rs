//! Leaving as the command left.

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

/// Ends this process in the same way; no core file is written. Flush everything before.
pub fn exit_like(_ending: Ending) -> ! {
    todo!()
}
