//! From fork to exec.

use std::ffi::{CStr, CString, c_char, c_long, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::ptr;

use super::{KERNEL_SIGSET, check};
use crate::command::User;
use crate::id::{Signal, Tid};
use crate::stopped::SignalSet;

/// A pipe whose ends are close-on-exec: to read from, to write to.
pub(crate) fn pipe() -> io::Result<(File, File)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: pipe2(2) writes two descriptors to `fds`.
    check(c_long::from(unsafe {
        libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC)
    }))?;
    // SAFETY: the call succeeded: the two are open, and nobody else owns them.
    Ok(unsafe { (File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1])) })
}

/// All that the new process needs, made before the fork: after it, in a process that had other threads,
/// nothing may be allocated (signal-safety(7)).
pub(crate) struct Prepared<'a> {
    /// What to execute: each is tried in turn, as execvp(3) does.
    pub(crate) candidates: &'a [CString],
    pub(crate) args: &'a [CString],
    pub(crate) env: &'a [CString],
    pub(crate) cwd: Option<&'a CStr>,
    pub(crate) user: Option<&'a User>,
    pub(crate) blocked: SignalSet,
    pub(crate) ignored: SignalSet,
    /// The child goes on when a byte can be read from it, and ends at its end.
    pub(crate) go: &'a File,
    /// The other end of `go`, which the child closes, so that the tracer's death ends it, too.
    pub(crate) go_tracer: &'a File,
    /// Where the child writes why it failed: [`Failure`] as bytes.
    pub(crate) failed: &'a File,
}

/// What failed in the child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Step {
    Chdir = 1,
    Setgroups = 2,
    Setgid = 3,
    Setuid = 4,
    Exec = 5,
}

/// The bytes in which a child tells which step failed: the step, then `errno`.
pub(crate) const FAILURE_LEN: usize = 5;

/// Arrays of pointers for `execve`, made before the fork.
struct Vectors {
    args: Vec<*const c_char>,
    /// /bin/sh, the candidate (put in by the child), the arguments after the first.
    shell: Vec<*const c_char>,
    env: Vec<*const c_char>,
}

impl Vectors {
    fn new(prepared: &Prepared<'_>) -> Self {
        let pointers = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
        };
        let mut shell = vec![SHELL.as_ptr(), ptr::null()];
        shell.extend(pointers(prepared.args.get(1..).unwrap_or(&[])));
        Self {
            args: pointers(prepared.args),
            shell,
            env: pointers(prepared.env),
        }
    }
}

/// The shell to which execvp(3) gives what the kernel calls no program (`_PATH_BSHELL`).
const SHELL: &CStr = c"/bin/sh";

/// Forks a child that does what `prepared` says.
pub(crate) fn fork_exec(prepared: &Prepared<'_>) -> io::Result<Tid> {
    let mut vectors = Vectors::new(prepared);
    // SAFETY: the child calls only functions of signal-safety(7), on memory made before the fork, and
    // leaves by `execve` or `_exit`.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => child(prepared, &mut vectors),
        pid => Ok(Tid::new(pid)),
    }
}

/// The child's whole life before the program. Async-signal-safe: no allocation, no lock.
fn child(prepared: &Prepared<'_>, vectors: &mut Vectors) -> ! {
    // SAFETY: close(2) takes a number; this process does nothing more with the descriptor.
    unsafe { libc::close(prepared.go_tracer.as_raw_fd()) };
    let mut byte = 0_u8;
    loop {
        // SAFETY: read(2) writes at most one byte to `byte`.
        let got = unsafe { libc::read(prepared.go.as_raw_fd(), (&raw mut byte).cast::<c_void>(), 1) };
        if got == 1 {
            break;
        }
        if got == -1 && errno() == libc::EINTR {
            continue;
        }
        // SAFETY: _exit(2) takes a number. The tracer is gone.
        unsafe { libc::_exit(127) };
    }
    let step = match become_user(prepared) {
        Ok(()) => exec(prepared, vectors),
        Err(step) => step,
    };
    let errno = errno().to_le_bytes();
    let failure: [u8; FAILURE_LEN] = [step as u8, errno[0], errno[1], errno[2], errno[3]];
    // SAFETY: write(2) reads `FAILURE_LEN` bytes from `failure`, and _exit(2) takes a number. A failed
    // write tells the tracer as much as none: the pipe's end.
    unsafe {
        libc::write(prepared.failed.as_raw_fd(), failure.as_ptr().cast(), FAILURE_LEN);
        libc::_exit(127)
    }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn become_user(prepared: &Prepared<'_>) -> Result<(), Step> {
    if let Some(user) = prepared.user {
        // SAFETY: setgroups(2) reads `len` ids from `groups`; the others take a number. They are made as
        // raw system calls: the C library's would signal "all other threads" of a process that
        // has none after fork, taking locks that another thread may have held.
        unsafe {
            if libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()) == -1 {
                return Err(Step::Setgroups);
            }
            if libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) == -1 {
                return Err(Step::Setgid);
            }
            if libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) == -1 {
                return Err(Step::Setuid);
            }
        }
    }
    if let Some(cwd) = prepared.cwd {
        // SAFETY: `cwd` is NUL-terminated (chdir(2)).
        if unsafe { libc::chdir(cwd.as_ptr()) } == -1 {
            return Err(Step::Chdir);
        }
    }
    Ok(())
}

/// Sets dispositions and mask; the mask last, so that no handler of the tracer's runs here.
fn set_signals(prepared: &Prepared<'_>) {
    for signal in Signal::all() {
        // SAFETY: signal(2) with SIG_DFL or SIG_IGN takes numbers; the C library refuses those that it
        // keeps for itself, whose handlers execve resets anyway.
        unsafe {
            let to = if prepared.ignored.contains(signal) {
                libc::SIG_IGN
            } else {
                libc::SIG_DFL
            };
            libc::signal(signal.raw(), to);
        }
    }
    let mask = prepared.blocked.bits();
    // SAFETY: the kernel reads its 8-byte `sigset_t` from `mask` (rt_sigprocmask(2)).
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            ptr::null_mut::<u64>(),
            KERNEL_SIGSET,
        )
    };
}

/// Executes the first candidate that can be, as execvp(3) does; returns only with a failure.
fn exec(prepared: &Prepared<'_>, vectors: &mut Vectors) -> Step {
    set_signals(prepared);
    let mut denied = false;
    for candidate in prepared.candidates {
        exec_one(candidate, vectors);
        match errno() {
            libc::EACCES => denied = true,
            // execvp(3) of the C library goes on with the next after these.
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return Step::Exec,
        }
    }
    if denied {
        set_errno(libc::EACCES);
    } else if prepared.candidates.is_empty() {
        set_errno(libc::ENOENT);
    }
    Step::Exec
}

fn exec_one(candidate: &CStr, vectors: &mut Vectors) {
    // SAFETY: the path and the strings are NUL-terminated and live, the arrays end with a null pointer
    // (execve(2)).
    unsafe { libc::execve(candidate.as_ptr(), vectors.args.as_ptr(), vectors.env.as_ptr()) };
    if errno() == libc::ENOEXEC {
        vectors.shell[1] = candidate.as_ptr();
        // SAFETY: as above; the array has room for the candidate at index 1.
        unsafe { libc::execve(SHELL.as_ptr(), vectors.shell.as_ptr(), vectors.env.as_ptr()) };
    }
}

fn set_errno(errno: i32) {
    // SAFETY: the C library gives a pointer to this thread's `errno` (errno(3)).
    unsafe { *libc::__errno_location() = errno };
}
