//! The calls that are unsafe to make: what std and nix do not offer safely.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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

/// Memory that is shared with a process under trace, which may write to it at any time: words that are only read and written
/// as atomics. It stays mapped for good, so that no reference to it can dangle: what is given back is used again.
pub(crate) type SharedWords = &'static [AtomicU64];

/// Ranges of addresses that were given back.
static FREE: std::sync::Mutex<Vec<SharedWords>> = std::sync::Mutex::new(Vec::new());

/// Maps the first `bytes` of a file that cannot shrink (`F_SEAL_SHRINK`, fcntl(2)) for reading and writing.
///
/// # Errors
/// It cannot be mapped, or can shrink.
pub(crate) fn map_shared(file: &std::fs::File, bytes: usize) -> std::io::Result<SharedWords> {
    use std::os::fd::AsRawFd;
    let fd = file.as_raw_fd();
    // SAFETY: fcntl(2) with F_GET_SEALS takes a descriptor, which is open, and no memory.
    let seals = unsafe { libc::fcntl(fd, libc::F_GET_SEALS) };
    let long_enough = file.metadata()?.len() >= bytes as u64;
    if seals == -1 || seals & libc::F_SEAL_SHRINK == 0 || !long_enough || !bytes.is_multiple_of(8) {
        return Err(std::io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut free = FREE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let used_before = free.iter().position(|words| words.len() * 8 == bytes);
    let place = used_before.map(|index| free.swap_remove(index));
    map_words(place, bytes, libc::MAP_SHARED, fd).inspect_err(|_| free.extend(place))
}

/// The caller has no use for these words any more. Whoever reads them still finds zeroes, or what they are used for next.
pub(crate) fn give_back_shared(words: SharedWords) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    if map_words(Some(words), words.len() * 8, flags, -1).is_ok() {
        FREE.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(words);
    }
}

fn map_words(place: Option<SharedWords>, bytes: usize, flags: i32, fd: i32) -> std::io::Result<SharedWords> {
    let (at, fixed) = place.map_or((std::ptr::null_mut(), 0), |words| {
        (words.as_ptr().cast_mut().cast(), libc::MAP_FIXED)
    });
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: mmap(2) without MAP_FIXED takes no memory that is in use. With it, it replaces a mapping that an earlier call of
    // this function made and that is never unmapped; its length is the same, and it holds nothing but atomic words of
    // which any value is valid, so that the references to it that may still be around stay valid.
    let start = unsafe { libc::mmap(at, bytes, access, flags | fixed, fd, 0) };
    if start == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the mapping has `bytes` bytes from `start` on, which is page-aligned; it is readable and writable, is never
    // unmapped, and is accessed as atomics only (the other process has its own mapping of the same pages, where the same
    // holds by hardware). The file behind it cannot shrink, so that no access faults.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), bytes / 8) })
}

/// Sees to it that the kernel sets `FUTEX_OWNER_DIED` in each region's word that holds this thread's id, when the thread ends in
/// whatever way (`set_robust_list(2)`). Each of `regions` has that word and room for its entry of the list at the places that
/// `fast_ring::format::header` tells. It must be called by the thread that attends, again whenever there are other regions; the C
/// library's own list of this thread, for mutexes that this program does not use, gives way.
pub(crate) fn tell_of_death(regions: &[SharedWords]) {
    use fast_ring::format::header::{CONSUMER, ROBUST as ENTRY};
    /// `struct robust_list_head` of `<linux/futex.h>`.
    #[repr(C)]
    struct Head {
        next: AtomicU64,
        offset: i64,
        pending: u64,
    }
    static HEAD: Head = Head {
        next: AtomicU64::new(0),
        offset: (CONSUMER as u64).wrapping_sub(ENTRY as u64).cast_signed(),
        pending: 0,
    };
    let end = &raw const HEAD as u64; // the list is a ring
    let entries = regions.iter().filter_map(|words| words.get(ENTRY / 8));
    let first = entries.fold(end, |next, entry| {
        entry.store(next, Ordering::Relaxed);
        entry.as_ptr() as u64
    });
    HEAD.next.store(first, Ordering::Release);
    // SAFETY: set_robust_list(2) keeps the address of a head that lives as long as the process. When this thread ends, the kernel follows
    // the list through entries that stay mapped (see `SharedWords`), which the traced process can overwrite: it reads
    // addresses there with checks, at most 2,048 of them, and writes only to a word that holds the id of this thread.
    unsafe {
        libc::syscall(libc::SYS_set_robust_list, &raw const HEAD, size_of::<Head>());
    }
}

/// Sleeps while the low half of `word` is `seen`, at most as long as `at_most` (futex(2), not private).
pub(crate) fn futex_wait(word: &AtomicU64, seen: u32, at_most: std::time::Duration) {
    let time = libc::timespec {
        tv_sec: at_most.as_secs().cast_signed(),
        tv_nsec: i64::from(at_most.subsec_nanos()),
    };
    let half = word.as_ptr().cast::<u32>(); // little-endian: the low half comes first
    // SAFETY: futex(2) reads the half word, which outlives the call, and the time.
    unsafe {
        libc::syscall(libc::SYS_futex, half, libc::FUTEX_WAIT, seen, &raw const time);
    }
}

/// Wakes all who sleep on the low half of `word`.
pub(crate) fn futex_wake(word: &AtomicU64) {
    let half = word.as_ptr().cast::<u32>();
    // SAFETY: futex(2) takes the address of the half word, and reads nothing there.
    unsafe {
        libc::syscall(libc::SYS_futex, half, libc::FUTEX_WAKE, i32::MAX);
    }
}

/// The ticks of the processor's clock (Intel SDM volume 3, "Time-Stamp Counter").
pub(crate) fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: RDTSC is an instruction of every x86-64 processor; where the kernel forbids it (PR_SET_TSC, prctl(2)) that was this
    // process' own wish.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    0
}

/// Sleeps while the low halves of all `words` are `seen`, at most as long as `at_most` (`futex_waitv`, Linux 5.16; before
/// that the first one alone counts). Of more than 128 words the rest do not count.
pub(crate) fn futex_wait_any(words: &[&AtomicU64], seen: u32, at_most: std::time::Duration) {
    /// `FUTEX2_SIZE_U32` of `<linux/futex.h>`, and no `FUTEX2_PRIVATE`.
    const SIZE_U32: u32 = 2;
    const MOST: usize = 128;
    /// `struct futex_waitv`.
    #[repr(C)]
    struct Waiter {
        value: u64,
        word: u64,
        flags: u32,
        reserved: u32,
    }
    let waiters: Vec<Waiter> = words
        .iter()
        .take(MOST)
        .map(|word| Waiter {
            value: seen.into(),
            word: word.as_ptr() as u64,
            flags: SIZE_U32,
            reserved: 0,
        })
        .collect();
    let Some(first) = words.first() else {
        return std::thread::sleep(at_most);
    };
    let now = nix::time::ClockId::CLOCK_MONOTONIC
        .now()
        .map(std::time::Duration::from);
    let until = now.unwrap_or_default() + at_most;
    let time = libc::timespec {
        tv_sec: until.as_secs().cast_signed(),
        tv_nsec: i64::from(until.subsec_nanos()),
    };
    let count = waiters.len();
    // SAFETY: futex_waitv(2) reads `count` structures of this form and the time, which outlive the call, and half words at
    // the addresses in them, which are those of living atomics.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            waiters.as_ptr(),
            count,
            0,
            &raw const time,
            libc::CLOCK_MONOTONIC,
        )
    };
    if result == -1 && nix::errno::Errno::last() == nix::errno::Errno::ENOSYS {
        futex_wait(first, seen, at_most);
    }
}
