//! A blank program, stopped under ptrace: the tests write an instruction into it and run that.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use arch_abi::{Addr, Arch, Regs};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// `<elf.h>`; the `libc` crate does not have it.
const NT_X86_XSTATE: i32 = 0x202;

/// Where the blank program has its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    /// 8 KiB of traps.
    pub(crate) code: Addr,
    /// 8 KiB of traps; on x86-64 more than 2 GiB away.
    pub(crate) far: Addr,
    /// 16 KiB of data.
    pub(crate) data: Addr,
}

impl Map {
    pub(crate) const CODE_LEN: usize = 8192;
    pub(crate) const DATA_LEN: usize = 16384;

    /// Low addresses, as a program linked without `-pie` has them.
    pub(crate) const LOW: Self = Self {
        code: Addr::new(0x8048000),
        far: Addr::new(0xa0000000),
        data: Addr::new(0x8060000),
    };
    /// High addresses, as a PIE has them.
    pub(crate) const HIGH: Self = Self {
        code: Addr::new(0x7e1234560000),
        far: Addr::new(0x7e1334560000),
        data: Addr::new(0x7e1234580000),
    };
}

/// A stopped process.
pub(crate) struct Tracee {
    pid: Pid,
    memory: File,
}

impl Tracee {
    /// Builds the blank program and starts it; it stops before its first instruction.
    pub(crate) fn start(arch: Arch, map: Map) -> Self {
        let program = build(arch, map);
        let mut command = Command::new(&program);
        // SAFETY: between fork and exec only async-signal-safe functions may be called (fork(2)): ptrace
        // is a bare system call.
        unsafe { command.pre_exec(|| ptrace::traceme().map_err(io::Error::from)) };
        #[expect(clippy::zombie_processes, reason = "`Drop` reaps it, through the pid")]
        let child = command.spawn().expect("the blank program starts");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid is an int"));
        assert_eq!(
            waitpid(pid, None),
            Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP)),
            "the stop after exec"
        );
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL).expect("it is ours");
        let memory = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"));
        let _ = std::fs::remove_file(program);
        Self {
            pid,
            memory: memory.expect("a tracer may open it"),
        }
    }

    pub(crate) fn read(&self, at: Addr, buf: &mut [u8]) -> io::Result<()> {
        self.memory.read_exact_at(buf, at.get())
    }

    pub(crate) fn write(&self, at: Addr, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_all_at(bytes, at.get())
    }

    pub(crate) fn regs(&self) -> Regs {
        Regs::from_regset(&self.regset(libc::NT_PRSTATUS)).expect("x86-64 or i386")
    }

    pub(crate) fn set_regs(&self, regs: &Regs) {
        self.set_regset(libc::NT_PRSTATUS, regs.as_regset());
    }

    /// All register sets but the general one: x87, SSE, AVX and what else the processor has.
    pub(crate) fn xstate(&self) -> Vec<u8> {
        self.regset(NT_X86_XSTATE)
    }

    pub(crate) fn set_xstate(&self, xstate: &[u8]) {
        self.set_regset(NT_X86_XSTATE, xstate);
    }

    fn regset(&self, kind: i32) -> Vec<u8> {
        let mut buf = vec![0_u8; 16384];
        let mut iov = libc::iovec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: buf.len(),
        };
        // SAFETY: `iov` describes `buf`, which outlives the call; the kernel writes at most `iov_len` bytes
        // there and stores how many it wrote (ptrace(2), PTRACE_GETREGSET).
        let rc = unsafe { libc::ptrace(libc::PTRACE_GETREGSET, self.pid.as_raw(), kind, &raw mut iov) };
        assert_eq!(rc, 0, "PTRACE_GETREGSET: {}", io::Error::last_os_error());
        buf.truncate(iov.iov_len);
        buf
    }

    fn set_regset(&self, kind: i32, bytes: &[u8]) {
        let mut iov = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: `iov` describes `bytes`, which the kernel only reads (ptrace(2), PTRACE_SETREGSET).
        let rc = unsafe { libc::ptrace(libc::PTRACE_SETREGSET, self.pid.as_raw(), kind, &raw mut iov) };
        assert_eq!(rc, 0, "PTRACE_SETREGSET: {}", io::Error::last_os_error());
    }

    /// Runs to the next signal, which is not delivered.
    pub(crate) fn run(&self) -> Signal {
        ptrace::cont(self.pid, None).expect("it is stopped");
        self.wait()
    }

    /// Runs one instruction, or to the next signal, which is not delivered.
    pub(crate) fn step(&self) -> Signal {
        ptrace::step(self.pid, None).expect("it is stopped");
        self.wait()
    }

    fn wait(&self) -> Signal {
        match waitpid(self.pid, None) {
            Ok(WaitStatus::Stopped(_, signal)) => signal,
            other => panic!("the blank program ended: {other:?}"),
        }
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to kill or reap.
        let _ = ptrace::kill(self.pid);
        let _ = waitpid(self.pid, None);
    }
}

/// Builds the blank program at the addresses of `map`.
fn build(arch: Arch, map: Map) -> PathBuf {
    let source = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../arch-abi/tests/cpu/blank.S"
    ));
    let out = tempfile::Builder::new()
        .prefix("blank")
        .tempfile()
        .expect("a temporary file")
        .into_temp_path();
    let word = arch.abi().word_size() * 8;
    let status = Command::new("cc")
        .args([
            &format!("-m{word}"),
            "-nostdlib",
            "-static",
            "-Wl,--build-id=none",
        ])
        .arg(format!(
            "-Wl,-Ttext={},-Tdata={},--section-start=.far={}",
            map.code, map.data, map.far
        ))
        .arg("-o")
        .arg(&out)
        .arg(source)
        .status();
    assert!(
        status.expect("cc is installed").success(),
        "cc builds {}",
        source.display()
    );
    out.keep().expect("it stays until it has started")
}
