//! Threads that end while their tracer is kept from seeing it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::id::Tid;
use crate::procfs::{self, Status};
use crate::sys::{self, Report, Take, Whom};

/// How long a seizure takes at most, unless it waits for somebody.
const REST: Duration = Duration::from_millis(10);

/// Seizes threads of process `tgid`, some of which may be ours already. Gives, with the result, the ends of threads of ours that had to be
/// taken meanwhile.
// QUIRK seize-waits-for-exec: PTRACE_SEIZE waits for a thread of the process that is in execve(2), that waits for the others to be gone, and
// one of those that is traced is gone only when its tracer has taken its end: nobody goes on, for ever. Seen: Linux 6.18. Source:
// kernel/ptrace.c, ptrace_attach (cred_guard_mutex); fs/exec.c, de_thread. Drop when: unknown. Test: tests/tests/attach.rs,
// a_target_that_executes_itself.
pub(crate) fn while_reaping<T>(tgid: Tid, seize: impl FnOnce() -> T) -> (T, Vec<Report>) {
    let tracer = sys::gettid();
    let (done, wait) = mpsc::channel::<()>();
    let reaper = thread::Builder::new().name("reaper".into()).spawn(move || {
        let mut reaped = Vec::new();
        while wait.recv_timeout(REST) == Err(RecvTimeoutError::Timeout) {
            reaped.extend(reap(tgid, tracer));
        }
        reaped
    });
    let result = seize();
    drop(done);
    // Where there may be no thread more, nobody reaps: that is needed only if the process executes a program just then.
    let reaped = reaper.ok().and_then(|reaper| reaper.join().ok());
    (result, reaped.unwrap_or_default())
}

/// Takes the ends of the threads that `tracer`, a thread of this process, traces.
fn reap(tgid: Tid, tracer: Tid) -> Vec<Report> {
    let is_over = |tid: &Tid| {
        let status = Status::of(*tid);
        status.is_ok_and(|status| status.state == 'Z' && status.tracer == tracer.raw())
    };
    let threads = procfs::threads(tgid).unwrap_or_default();
    threads
        .into_iter()
        .filter(is_over)
        .filter_map(|tid| sys::wait(Whom::OneOfAll(tid), Take::Exit, false).ok()?)
        .collect()
}
