//! Leaving as the command left.

use crate::sys;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ptrace_core::ExitStatus;

/// Ends this process as `status` tells that the command ended: with the same exit status, or by the same signal. No core file
/// is written of the tracer. Nothing is flushed and no destructor runs: finish every output before.
///
/// Where the signal does not end this process (its default is not to, or it is blocked by a security module), it exits with
/// 128 plus the signal's number, as a shell would say it.
pub fn exit_like(status: ExitStatus) -> ! {
    match status {
        ExitStatus::Exited(status) => std::process::exit(i32::from(status)),
        ExitStatus::Signaled { signal, .. } => {
            forbid_core();
            sys::die_by(signal.raw());
            std::process::exit(128 + (signal.raw() & 0x7f))
        }
    }
}

/// Whose core it was is the command's matter; ours would only overwrite it.
// QUIRK core-pipe: RLIMIT_CORE 0 does not keep the kernel from starting the program that /proc/sys/kernel/core_pattern pipes to;
// only a process that is not dumpable is left out.
// Seen: Linux 6.18. Source: core(5), "Piping core dumps to a program"; fs/coredump.c. Drop when: never, it is the ABI.
// Test: tests/signals_and_leaving.rs, deaths_are_handed_on.
fn forbid_core() {
    // Both are better than one; where both fail, a core is written, which is no harm.
    let _ = prctl::set_dumpable(false);
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
}
