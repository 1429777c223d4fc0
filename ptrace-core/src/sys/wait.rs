//! waitid(2): what happened to tracees.

use std::io;
use std::mem::MaybeUninit;

use crate::id::Tid;

/// Whom to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whom {
    Anyone,
    One(Tid),
    /// One whom any thread of this process traces.
    OneOfAll(Tid),
}

/// What waitid(2) told of one thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    pub(crate) tid: Tid,
    /// `CLD_*`.
    pub(crate) code: i32,
    /// The exit status, the signal that killed, or the stop's signal and event.
    pub(crate) status: i32,
}

/// What to do with the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Take {
    /// Any report; it stays to be told again (`WNOWAIT`).
    Peek,
    /// Consumes the report of a stop.
    Stop,
    /// Consumes the report of an end.
    Exit,
}

/// Waits for whom this thread (or, if so asked, any of this process) traces or has as a child; `block`: sleeps until there is a report.
/// `None`: there is none, or (`EINTR`) a signal came.
pub(crate) fn wait(whom: Whom, take: Take, block: bool) -> io::Result<Option<Report>> {
    let (kind, id) = match whom {
        Whom::Anyone => (libc::P_ALL, 0),
        Whom::One(tid) | Whom::OneOfAll(tid) => (libc::P_PID, tid.raw().cast_unsigned()),
    };
    let mut flags = libc::__WALL;
    if !matches!(whom, Whom::OneOfAll(_)) {
        flags |= libc::__WNOTHREAD;
    }
    flags |= match take {
        Take::Peek => libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT,
        Take::Stop => libc::WSTOPPED,
        Take::Exit => libc::WEXITED,
    };
    if !block {
        flags |= libc::WNOHANG;
    }
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the kernel writes one `siginfo_t` to `info` (waitid(2)).
    let rc = unsafe { libc::waitid(kind, id, info.as_mut_ptr(), flags) };
    if rc == -1 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted {
            Ok(None)
        } else {
            Err(error)
        };
    }
    // SAFETY: all-zero bytes are a valid `siginfo_t`, and so is what waitid filled in.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid(2) fills si_pid and si_status, or leaves them zero as they were.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok((pid != 0).then_some(Report {
        tid: Tid::new(pid),
        code: info.si_code,
        status,
    }))
}
