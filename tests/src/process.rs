//! What `/proc` says of a process, for tests that leave one alive.

use std::path::Path;

use nix::unistd::Pid;

/// One thread as its `/proc/PID/task/TID/status` shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Thread {
    /// Its id.
    pub tid: i32,
    /// `R`, `S`, `T` (stopped), `t` (stopped by its tracer), `Z` …
    pub state: char,
    /// Its tracer's pid, 0 for none.
    pub tracer: i32,
}

/// The threads of a process; none when it is gone.
pub fn threads(pid: Pid) -> Vec<Thread> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks.filter_map(|task| thread(&task.ok()?.path())).collect()
}

/// A thread may end between the listing and the reading.
fn thread(directory: &Path) -> Option<Thread> {
    let tid = directory.file_name()?.to_str()?.parse().ok()?;
    let status = std::fs::read_to_string(directory.join("status")).ok()?;
    Some(Thread {
        tid,
        state: field(&status, "State")?.chars().next()?,
        tracer: field(&status, "TracerPid")?.parse().ok()?,
    })
}

/// The value of `NAME:\tVALUE`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// One line of `/proc/PID/status`, without its name; `None` when the process is gone or the line is not there.
pub fn status_field(pid: Pid, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, name).map(str::to_owned)
}

/// Whether the process lives and is no zombie.
pub fn alive(pid: Pid) -> bool {
    status_field(pid, "State").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// Whether any thread is stopped or has a tracer: what a tracer must never leave behind.
pub fn held(pid: Pid) -> Vec<Thread> {
    threads(pid)
        .into_iter()
        .filter(|thread| thread.tracer != 0 || matches!(thread.state, 't' | 'T'))
        .collect()
}

/// Whether an `rltrace` has attached to a process, and is not only preparing that: while it does, single threads are held for moments.
pub fn is_attached(pid: Pid) -> bool {
    // The guard, a handler of SIGTRAP that a tracer puts in before, and all threads held.
    const SIGTRAP: u64 = 1 << (nix::libc::SIGTRAP - 1);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = field(&status, "SigCgt").and_then(|bits| u64::from_str_radix(bits, 16).ok());
    let threads = threads(pid);
    caught.is_some_and(|bits| bits & SIGTRAP != 0)
        && !threads.is_empty()
        && threads.iter().all(|thread| thread.tracer != 0)
}

/// The process' user time in clock ticks (`proc_pid_stat(5)`, field 14, `utime`); 0 when it is gone.
pub fn cpu_time(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = after_name.split(' ').nth(11);
    ticks.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// The children of a process, by their `PPid`.
pub fn children(parent: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(|&pid| status_field(pid, "PPid") == Some(parent.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Running, wait_for};
    use nix::sys::signal::Signal;
    use std::process::{Command, Stdio};

    #[test]
    fn a_stopped_process_is_held_and_a_dead_one_is_gone() {
        let cat = Running::start(Command::new("cat").stdin(Stdio::piped()));
        let pid = cat.pid();
        assert!(alive(pid) && held(pid).is_empty());
        cat.signal(Signal::SIGSTOP);
        wait_for("the stop", || {
            held(pid).first().is_some_and(|thread| thread.state == 'T')
        });
        cat.signal(Signal::SIGCONT);
        wait_for("the continuation", || held(pid).is_empty());
        assert!(children(Pid::this()).contains(&pid));
        cat.finish();
        assert!(!alive(pid) && threads(pid).is_empty());
    }
}
