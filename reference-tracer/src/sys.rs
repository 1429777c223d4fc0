//! The calls that are unsafe to make: what std and nix do not offer safely.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Notes how `SIGPIPE` stood before Rust's runtime ignores it: the runtime does so before `main`, and the dynamic loader (or
/// the start code of a static program) calls what stands in this section before the runtime (gABI, "Initialization and
/// Termination Functions").
// SAFETY: an entry of `.init_array` is a pointer to a function of the C ABI, and this is one; it may be called with
// arguments that it does not take, which the C ABI allows. It uses no part of the runtime: an atomic and one system call.
#[unsafe(link_section = ".init_array")]
#[used]
static BEFORE_RUNTIME: extern "C" fn() = note_sigpipe;

extern "C" fn note_sigpipe() {
    SIGPIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

/// Whether this process was started with `SIGPIPE` ignored, as by Python's `subprocess` before version 3.2 or by a daemon.
pub(crate) fn sigpipe_was_ignored() -> bool {
    // A use of the pointer: an archive's member that nothing refers to would not be linked.
    std::hint::black_box(&raw const BEFORE_RUNTIME);
    SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed)
}

/// The signals that this process ignores now; bit N-1 is signal N.
pub(crate) fn ignored_signals() -> u64 {
    (1..=64)
        .filter(|signal| is_ignored(*signal))
        .fold(0, |set, signal| set | 1 << (signal - 1))
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with a null new action sigaction(2) changes nothing and, when it returns 0, has stored the current action in
    // `action`, which is of the type it takes.
    let rc = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: it returned 0, so `action` was stored.
    rc == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Sends `signal` to this thread, with its default disposition and unblocked: this does not return where that is to end the
/// process.
pub(crate) fn die_by(signal: i32) {
    let mut only = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: signal(2) takes any number and SIG_DFL is no handler that could run. sigemptyset(3) initialises `only` before
    // sigaddset(3) and pthread_sigmask(3) read it, and a null old set asks for nothing. raise(3) takes any number.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::sigemptyset(only.as_mut_ptr());
        libc::sigaddset(only.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, only.as_ptr(), std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// Maps a whole file for reading.
///
/// # Errors
/// It is empty, too large, or cannot be mapped.
pub(crate) fn map_file(file: &std::fs::File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the mapping is private and read-only, and every reader of it takes bytes as hostile
    // data, so that a change of the file changes at most what is read. A file that is truncated
    // while it is read raises SIGBUS (mmap(2), ERRORS): object files that are mapped are replaced by
    // rename(2), not truncated, because truncation would kill every program that runs them; the
    // mapping is dropped as soon as the object is parsed.
    unsafe { memmap2::Mmap::map(file) }
}

/// Whether two processes share one address space, by kcmp(2). `None` where the kernel cannot tell
/// (`CONFIG_KCMP`) or will not.
pub(crate) fn same_memory(one: i32, other: i32) -> Option<bool> {
    /// `KCMP_VM` of `<linux/kcmp.h>`.
    const KCMP_VM: i32 = 1;
    // SAFETY: kcmp(2) takes five numbers and touches no memory of the caller.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) };
    (order >= 0).then_some(order == 0)
}

/// Whether this process may do what only root may: its effective user id is 0.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Seconds east of Greenwich at `time`, seconds since the epoch, in the local time zone.
pub(crate) fn utc_offset(time: i64) -> i64 {
    let mut local = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: localtime_r(3) reads the time and fills `local`, both of which outlive the call; it
    // returns NULL, with `local` as it was (zeroes are a valid `tm`), when the year does not fit.
    let tm = unsafe {
        libc::localtime_r(&raw const time, local.as_mut_ptr());
        local.assume_init()
    };
    tm.tm_gmtoff
}

/// The width of the terminal that standard error is.
pub(crate) fn terminal_columns() -> Option<usize> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: TIOCGWINSZ (ioctl_tty(2)) fills a `winsize`, which outlives the call.
    let columns = unsafe {
        let done = libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr());
        (done == 0).then(|| size.assume_init().ws_col)
    };
    columns.filter(|&columns| columns > 0).map(usize::from)
}

/// Sorts bytes with qsort(3).
pub(crate) fn sort(
    elements: &mut [u8],
    compare: extern "C" fn(*const libc::c_void, *const libc::c_void) -> libc::c_int,
) {
    // SAFETY: qsort(3): the base and number of elements are those of a slice of bytes, whose size is 1, and `compare` reads
    // neither of its arguments. It may order them in any way: they stay bytes.
    unsafe { libc::qsort(elements.as_mut_ptr().cast(), elements.len(), 1, Some(compare)) }
}

/// toupper(3).
pub(crate) fn to_upper(c: libc::c_int) -> libc::c_int {
    // SAFETY: toupper(3) takes the values of an unsigned char, and EOF; all callers hand in ASCII.
    unsafe { libc::toupper(c) }
}
