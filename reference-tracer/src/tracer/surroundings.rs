//! What a process tells about values beside its memory: the objects in it and the threads' `errno`.

use std::cell::RefCell;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use arch_abi::{Addr, Arch, Regs, x86::x86_64};

use super::space::{ErrnoPlace, Loaded, Space};
use crate::derive::{Candidate, Derived, errno};
use crate::value::Describe;

/// What has names of code: an address space, or what was kept of one.
pub(super) trait World {
    /// Appends the name of the code at `at`. `false`, and nothing appended: it has none.
    fn code_name(&self, at: Addr, tid: i32, derived: &RefCell<Derived>, out: &mut Vec<u8>) -> bool;
}

impl World for Space {
    fn code_name(&self, at: Addr, tid: i32, derived: &RefCell<Derived>, out: &mut Vec<u8>) -> bool {
        let holds = |object: &&Loaded| {
            let (start, end) = object.range();
            (start..end).contains(&at)
        };
        let Some(object) = self.objects.iter().find(holds) else {
            return false;
        };
        let within = object.base.unresolve(at);
        let of = || candidate(object, tid);
        derived.borrow_mut().code_name(object.file.key, of, within, out)
    }
}

/// A process, for one who wants to know what its values mean.
pub(super) struct Surroundings<'a> {
    pub(super) space: &'a dyn World,
    pub(super) tid: i32,
    /// Whether descriptors are looked up: two system calls each.
    pub(super) fd_paths: bool,
    pub(super) derived: &'a RefCell<Derived>,
}

impl Describe for Surroundings<'_> {
    fn code(&self, at: Addr, out: &mut Vec<u8>) -> bool {
        self.space.code_name(at, self.tid, self.derived, out)
    }

    /// As proc(5) names it: a path, `pipe:[INODE]`, `socket:[INODE]`, `anon_inode:[KIND]`.
    fn fd(&self, tid: i32, fd: i32, out: &mut Vec<u8>) -> bool {
        if !self.fd_paths {
            return false;
        }
        let Ok(target) = std::fs::read_link(format!("/proc/{tid}/fd/{fd}")) else {
            return false;
        };
        out.extend_from_slice(target.as_os_str().as_bytes());
        true
    }
}

impl Space {
    /// The objects, in the order in which the dynamic linker searches them.
    pub(super) fn candidates(&self, tid: i32) -> Vec<Candidate> {
        self.objects.iter().map(|object| candidate(object, tid)).collect()
    }

    /// The `errno` of the thread with these registers. `None`: it cannot be told where it lies.
    pub(super) fn errno(&mut self, regs: &Regs) -> Option<i32> {
        // The kernel keeps an i386 thread's pointer where no register set shows it.
        let thread = (regs.arch() == Arch::X86_64).then(|| regs.get(x86_64::FS_BASE))?;
        let place = self.errno_place()?;
        let mut value = [0; 4];
        let at = Addr::new(place.resolve(thread));
        self.memory.read_exact(at, &mut value).ok()?;
        Some(i32::from_le_bytes(value))
    }

    /// Where the threads' `errno` lies; looked for once.
    pub(super) fn errno_place(&mut self) -> Option<errno::Place> {
        if matches!(self.errno_place, ErrnoPlace::NotAsked) {
            self.errno_place = self.find_errno().map_or(ErrnoPlace::Unknown, ErrnoPlace::At);
        }
        match self.errno_place {
            ErrnoPlace::At(place) => Some(place),
            _ => None,
        }
    }

    /// Where the C library's `__errno_location` says that `errno` lies.
    fn find_errno(&self) -> Option<errno::Place> {
        self.objects.iter().find_map(|object| {
            let at = object.base.resolve(object.file.errno_function?);
            let mut code = [0; errno::CODE];
            self.memory.read_exact(at, &mut code).ok()?;
            errno::place(&code, at, &|at| {
                let mut word = [0; 8];
                self.memory.read_exact(at, &mut word).ok()?;
                Some(u64::from_le_bytes(word))
            })
        })
    }
}

fn candidate(object: &Loaded, tid: i32) -> Candidate {
    let path = PathBuf::from(&object.file.names.path);
    // A library that was found by a relative path, as `./libfoo.so`, lies in the current folder.
    let root = if path.is_absolute() { "root" } else { "cwd" };
    Candidate {
        key: object.file.key,
        root: format!("/proc/{tid}/{root}").into(),
        path,
    }
}
