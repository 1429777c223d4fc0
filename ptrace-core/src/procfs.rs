//! Facts from /proc, parsed with care: names in it are the target's choice.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use arch_abi::Addr;

use crate::error::Error;
use crate::id::Tid;

/// Reads a file of /proc/TID.
fn read(tid: Tid, name: &str) -> Result<Vec<u8>, Error> {
    let path = PathBuf::from(format!("/proc/{tid}/{name}"));
    fs::read(&path).map_err(|source| Error::Proc { path, source })
}

fn malformed(tid: Tid, name: &str) -> Error {
    let path = PathBuf::from(format!("/proc/{tid}/{name}"));
    Error::Proc {
        path,
        source: io::Error::new(io::ErrorKind::InvalidData, "not as proc(5) describes it"),
    }
}

/// What /proc/TID/status tells (`proc_pid_status(5)`). A field that the kernel does not have is `None` or 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The command name, as the target set it.
    pub name: OsString,
    /// `R`, `S`, `D`, `T` (stopped), `t` (by a tracer), `Z`, `X`, `I`.
    pub state: char,
    /// The process.
    pub tgid: i32,
    /// The process, as the target itself numbers it in its pid namespace (Linux 4.1; 0 before).
    pub own_tgid: i32,
    /// The thread, likewise.
    pub own_tid: i32,
    /// The parent process.
    pub ppid: i32,
    /// The tracing thread, 0 if there is none or it is in another pid namespace.
    pub tracer: i32,
    /// User ids: real, effective, saved, file system.
    pub uid: [u32; 4],
    /// Group ids: real, effective, saved, file system.
    pub gid: [u32; 4],
    /// How many threads the process has.
    pub threads: u32,
    /// Whether `execve` can no more give it privileges.
    pub no_new_privs: bool,
    /// 0: none; 1: strict; 2: a filter (seccomp(2)).
    pub seccomp: u32,
    /// Whether it is a thread of the kernel (Linux 6.7; `None` before).
    pub kernel_thread: Option<bool>,
    /// The signals pending for this thread, as the kernel's `sigset_t`.
    pub pending: u64,
    /// The signals pending for the process.
    pub shared_pending: u64,
    /// The signals that this thread blocks.
    pub blocked: u64,
    /// The signals that the process ignores.
    pub ignored: u64,
    /// The signals that the process handles.
    pub caught: u64,
    /// The effective capabilities (capabilities(7)).
    pub capabilities: u64,
}

impl Status {
    /// Of thread `tid`.
    ///
    /// # Errors
    /// There is no such thread, or its file is not as described.
    pub fn of(tid: Tid) -> Result<Self, Error> {
        Self::parse(&read(tid, "status")?).ok_or_else(|| malformed(tid, "status"))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut status = Self::default();
        for line in text.split(|&b| b == b'\n') {
            let Some(colon) = line.iter().position(|&b| b == b':') else {
                continue;
            };
            status.take(&line[..colon], line[colon + 1..].trim_ascii())?;
        }
        (status.tgid > 0).then_some(status)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"Name" => self.name = OsString::from_vec(value.to_vec()),
            b"State" => self.state = char::from(*value.first()?),
            b"Tgid" => self.tgid = number(value)?,
            b"NStgid" => self.own_tgid = innermost(value)?,
            b"NSpid" => self.own_tid = innermost(value)?,
            b"PPid" => self.ppid = number(value)?,
            b"TracerPid" => self.tracer = number(value)?,
            b"Uid" => self.uid = four(value)?,
            b"Gid" => self.gid = four(value)?,
            b"Threads" => self.threads = number(value)?,
            b"NoNewPrivs" => self.no_new_privs = value == b"1",
            b"Seccomp" => self.seccomp = number(value)?,
            b"Kthread" => self.kernel_thread = Some(value == b"1"),
            b"SigPnd" => self.pending = hex(value)?,
            b"ShdPnd" => self.shared_pending = hex(value)?,
            b"SigBlk" => self.blocked = hex(value)?,
            b"SigIgn" => self.ignored = hex(value)?,
            b"SigCgt" => self.caught = hex(value)?,
            b"CapEff" => self.capabilities = hex(value)?,
            _ => {}
        }
        Some(())
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The last of the ids that a thread has in nested pid namespaces (`proc_pid_status(5)`, `NSpid`).
fn innermost(text: &[u8]) -> Option<i32> {
    number(text.rsplit(u8::is_ascii_whitespace).next()?)
}

fn hex(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

fn four(text: &[u8]) -> Option<[u32; 4]> {
    let mut words = text
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let mut next = || number(words.next()?);
    Some([next()?, next()?, next()?, next()?])
}

/// What /proc/TID/stat tells (`proc_pid_stat(5)`), as far as it is used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// As [`Status::state`].
    pub state: char,
    /// The parent process.
    pub ppid: i32,
    /// The kernel's `PF_*` flags.
    pub flags: u32,
    /// When the thread started, in clock ticks since boot: with its id, it names it for ever.
    pub start_time: u64,
}

/// `PF_KTHREAD` (<linux/sched.h>).
const PF_KTHREAD: u32 = 0x0020_0000;

impl Stat {
    /// Of thread `tid`.
    ///
    /// # Errors
    /// There is no such thread, or its file is not as described.
    pub fn of(tid: Tid) -> Result<Self, Error> {
        Self::parse(&read(tid, "stat")?).ok_or_else(|| malformed(tid, "stat"))
    }

    /// Whether this is a thread of the kernel.
    #[must_use]
    pub const fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The command name, in parentheses, may hold parentheses and spaces itself.
        let after = text.iter().rposition(|&b| b == b')')? + 1;
        let words: Vec<&[u8]> = text[after..]
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .collect();
        Some(Self {
            state: char::from(*words.first()?.first()?),
            ppid: number(words.get(1)?)?,
            flags: number(words.get(6)?)?,
            start_time: number(words.get(19)?)?,
        })
    }
}

/// One line of /proc/PID/maps (`proc_pid_maps(5)`).
#[allow(clippy::struct_excessive_bools, reason = "the file has these four flags")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Its first byte.
    pub start: Addr,
    /// The byte past its last.
    pub end: Addr,
    /// Whether it can be read.
    pub readable: bool,
    /// Whether it can be written.
    pub writable: bool,
    /// Whether it can be executed.
    pub executable: bool,
    /// Whether writes are shared.
    pub shared: bool,
    /// Where in the file it starts.
    pub offset: u64,
    /// The file's device: major, minor.
    pub device: (u32, u32),
    /// The file's inode, 0 if there is no file.
    pub inode: u64,
    /// The file's path in the target's mount namespace, with ` (deleted)` after it if it is;
    /// `[vdso]`, `[stack]` and the like; or empty. A newline in a path stands as `\012`, and nothing else
    /// is escaped, so a path cannot be told from a name that merely looks like this: to open the
    /// file, use [`open_mapping`].
    pub name: OsString,
}

impl Mapping {
    /// Whether `at` lies in it.
    #[must_use]
    pub fn contains(&self, at: Addr) -> bool {
        self.start <= at && at < self.end
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.end.offset_from(self.start).unwrap_or(0)
    }

    /// Whether a file is mapped here, rather than anonymous memory or the kernel's own.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.inode != 0 && self.name.as_bytes().first() == Some(&b'/')
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut rest = line;
        let range = word(&mut rest)?;
        let flags = word(&mut rest)?;
        let offset = hex(word(&mut rest)?)?;
        let device = word(&mut rest)?;
        let inode = number(word(&mut rest)?)?;
        let dash = range.iter().position(|&b| b == b'-')?;
        let colon = device.iter().position(|&b| b == b':')?;
        let flag = |i: usize, b: u8| flags.get(i) == Some(&b);
        let half = |text: &[u8]| u32::try_from(hex(text)?).ok();
        Some(Self {
            start: Addr::new(hex(&range[..dash])?),
            end: Addr::new(hex(&range[dash + 1..])?),
            readable: flag(0, b'r'),
            writable: flag(1, b'w'),
            executable: flag(2, b'x'),
            shared: flag(3, b's'),
            offset,
            device: (half(&device[..colon])?, half(&device[colon + 1..])?),
            inode,
            name: OsStr::from_bytes(rest.trim_ascii_start()).to_owned(),
        })
    }
}

/// Takes a word and the space after it.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
    let (word, tail) = rest.split_at(end);
    *rest = tail.get(1..).unwrap_or(&[]);
    (!word.is_empty()).then_some(word)
}

/// The mappings of a process, in the order of their addresses.
///
/// # Errors
/// There is no such process, or its file is not as described.
pub fn maps(pid: Tid) -> Result<Vec<Mapping>, Error> {
    let text = read(pid, "maps")?;
    parse_maps(&text).ok_or_else(|| malformed(pid, "maps"))
}

fn parse_maps(text: &[u8]) -> Option<Vec<Mapping>> {
    text.split(|&b| b == b'\n')
        .filter(|line| !line.is_empty())
        .map(Mapping::parse)
        .collect()
}

/// The auxiliary vector that the kernel gave the program (getauxval(3)), raw: pairs of words of
/// the program's word size.
///
/// # Errors
/// There is no such process.
pub fn auxv(pid: Tid) -> Result<Vec<u8>, Error> {
    read(pid, "auxv")
}

/// Opens the file that is mapped there: the very file, though its path be deleted, replaced, or in another
/// mount namespace (`/proc/PID/map_files`). Where that takes a capability (`CAP_SYS_ADMIN` or
/// `CAP_CHECKPOINT_RESTORE`) that is lacking, the file at its path in the target's world, if it is
/// the same by device and inode.
///
/// # Errors
/// The file cannot be opened, or another one is at its path (`ErrorKind::NotFound`).
pub fn open_mapping(pid: Tid, mapping: &Mapping) -> Result<File, Error> {
    let path = PathBuf::from(format!(
        "/proc/{pid}/map_files/{:x}-{:x}",
        mapping.start.get(),
        mapping.end.get()
    ));
    File::open(&path).or_else(|source| same_file(pid, mapping).ok_or(Error::Proc { path, source }))
}

fn same_file(pid: Tid, mapping: &Mapping) -> Option<File> {
    use std::os::unix::fs::MetadataExt;
    let file = File::open(in_root(pid, &mapping.name)).ok()?;
    let meta = file.metadata().ok()?;
    let (major, minor) = mapping.device;
    let same_device = libc::major(meta.dev()) == major && libc::minor(meta.dev()) == minor;
    (meta.ino() == mapping.inode && same_device).then_some(file)
}

/// The path by which this process opens what `pid` calls `path`: `/proc/PID/root` is the target's root and mount
/// namespace. An absolute symbolic link on the way leads back into the opener's own world.
#[must_use]
pub fn in_root(pid: Tid, path: &OsStr) -> PathBuf {
    let mut full = OsString::from(format!("/proc/{pid}/root/"));
    let bytes = path.as_bytes();
    full.push(OsStr::from_bytes(
        &bytes[bytes.iter().take_while(|&&b| b == b'/').count()..],
    ));
    PathBuf::from(full)
}

/// Opens the program that a process executes: the very file, though it be deleted or replaced.
///
/// # Errors
/// There is no such process, it is a kernel thread, or it may not be looked at.
pub fn open_exe(pid: Tid) -> Result<File, Error> {
    let path = PathBuf::from(format!("/proc/{pid}/exe"));
    File::open(&path).map_err(|source| Error::Proc { path, source })
}

/// The threads of a process, as the kernel lists them now.
///
/// # Errors
/// There is no such process.
pub fn threads(pid: Tid) -> Result<Vec<Tid>, Error> {
    let path = PathBuf::from(format!("/proc/{pid}/task"));
    let list = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let list = list.map_err(|source| Error::Proc { path, source })?;
    Ok(list
        .iter()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .map(Tid::new)
        .collect())
}

/// The process of a thread, if it lives.
pub(crate) fn process_of(tid: Tid) -> Option<Tid> {
    Status::of(tid).ok().map(|status| Tid::new(status.tgid))
}

/// The parent of a process, if it lives.
pub(crate) fn parent(tid: Tid) -> Option<Tid> {
    Stat::of(tid).ok().map(|stat| Tid::new(stat.ppid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_parsed_whatever_its_name() {
        let line = b"7f00-7f10 r-xp 00001000 fe:01 42                     /lib/a b (deleted)";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!(
            (mapping.start, mapping.end, mapping.size()),
            (Addr::new(0x7f00), Addr::new(0x7f10), 16)
        );
        assert!(mapping.executable && !mapping.writable && mapping.is_file());
        assert_eq!((mapping.device, mapping.inode), ((0xfe, 1), 42));
        assert_eq!(mapping.name, "/lib/a b (deleted)");
        assert!(mapping.contains(Addr::new(0x7f0f)) && !mapping.contains(Addr::new(0x7f10)));
        let anonymous = Mapping::parse(b"0-1 ---s 0 0:0 0 ").unwrap();
        assert!(anonymous.name.is_empty() && anonymous.shared && !anonymous.is_file());
    }

    #[test]
    fn malformed_mappings_are_refused() {
        for line in [
            "",
            "1",
            "1-2",
            "1-2 r",
            "1-2 r 0 0:0",
            "1-2 r 0 00 1",
            "x-2 r 0 0:0 1",
            "12 r 0 0:0 1",
        ] {
            assert_eq!(Mapping::parse(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn a_name_with_parentheses_does_not_fool_stat() {
        let tail = " Z 7 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let stat = Stat::parse(format!("5 (a) R 1 (b){tail}").as_bytes()).unwrap();
        assert_eq!((stat.state, stat.ppid, stat.start_time), ('Z', 7, 12345));
        assert!(!stat.is_kernel_thread());
        assert_eq!(Stat::parse(b"5 (a)"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn our_own_files_are_understood() {
        use std::os::unix::fs::MetadataExt;
        let me = Tid::new(std::process::id().cast_signed());
        let status = Status::of(me).unwrap();
        assert_eq!((status.tgid, status.threads > 0), (me.raw(), true));
        assert_eq!(Stat::of(me).unwrap().ppid, status.ppid);
        assert!(threads(me).unwrap().contains(&me));
        let here = Addr::new(our_own_files_are_understood as fn() as usize as u64);
        let maps = maps(me).unwrap();
        let text = maps.iter().find(|m| m.contains(here)).unwrap();
        assert!(text.executable && text.is_file());
        assert_eq!(
            open_mapping(me, text).unwrap().metadata().unwrap().ino(),
            text.inode
        );
        assert_eq!(open_exe(me).unwrap().metadata().unwrap().ino(), text.inode);
        assert!(same_file(me, text).is_some());
        assert_eq!(auxv(me).unwrap().len() % 16, 0);
    }

    #[test]
    fn status_without_its_fields_is_refused() {
        assert_eq!(Status::parse(b"Name:\tx\n"), None);
        assert_eq!(Status::parse(b"Tgid:\tx\n"), None);
        assert_eq!(Status::parse(b"Tgid:\t7\nUid:\t1\t2\n"), None);
        assert_eq!(Status::parse(b"Name:\ta:b\nTgid:\t7\n").unwrap().name, "a:b");
    }
}
