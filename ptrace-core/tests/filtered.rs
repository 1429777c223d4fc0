//! Threads under a seccomp filter that kills for all but what the program itself needs.

mod common;

use std::io::{BufRead, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command as Tool, Stdio};

use common::{Untraced, compile};
use ptrace_core::{Envoy, NoEnvoy, Options, Session, Stop, Stopped, Tid};

/// Waits for a byte by poll(2) with a time limit, and says so.
const POLLS: &str = r#"
    #define _GNU_SOURCE
    #include <linux/filter.h>
    #include <linux/seccomp.h>
    #include <poll.h>
    #include <stddef.h>
    #include <sys/prctl.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_poll), ALLOW(SYS_write), ALLOW(SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    int main(void) {
        struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
        struct pollfd input = {0, POLLIN, 0};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 1;
        if (write(1, "ready\n", 6) != 6) return 2;
        if (poll(&input, 1, 1000000) != 1) return 3;
        if (write(1, "polled\n", 7) != 7) return 4;
        syscall(SYS_exit_group, 0);
    }"#;

/// The program, in its poll.
fn polling(flags: &[&str]) -> Untraced {
    let mut tool = Tool::new(compile("polls", POLLS, flags));
    tool.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = std::thread::spawn(move || tool.spawn().unwrap()).join().unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::with_capacity(6, child.stdout.as_mut().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let target = Untraced(child);
    in_a_system_call(&target);
    target
}

/// Waits until it is.
fn in_a_system_call(target: &Untraced) {
    let sleeps = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", target.tid())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('S')
    };
    while !sleeps() {
        std::thread::yield_now();
    }
}

/// Stops it.
fn held(session: &mut Session, target: Tid) -> Stopped {
    session.seize_process(target).unwrap();
    let mut held = session.stop_all(target).unwrap();
    let (stopped, stop) = held.pop().unwrap();
    assert_eq!((stop, held.len()), (Stop::Interrupt, 0));
    stopped
}

/// What it says and how it ends when there is a byte for it.
fn end(mut target: Untraced) -> (String, Option<i32>) {
    // It may be dead.
    let _ = target.0.stdin.take().unwrap().write_all(b"x");
    let said = std::io::read_to_string(target.0.stdout.take().unwrap()).unwrap();
    (said, target.0.wait().unwrap().signal())
}

fn a_poll_is_made_again_as(flags: &[&str]) {
    let target = polling(flags);
    for _ in 0..3 {
        in_a_system_call(&target);
        let mut session = Session::new(Options::new());
        let stopped = held(&mut session, target.tid());
        assert!(stopped.restart_whole().unwrap());
        assert!(!stopped.restart_whole().unwrap(), "that was done");
        stopped.detach(None).unwrap();
    }
    assert_eq!(end(target), ("polled\n".to_owned(), None));
}

#[test]
fn a_poll_is_made_again() {
    a_poll_is_made_again_as(&[]);
}

#[test]
fn a_poll_is_made_again_i386() {
    a_poll_is_made_again_as(&["-m32", "-I/usr/include/x86_64-linux-gnu"]);
}

/// What happens without: the quirk.
#[test]
fn a_poll_that_is_restarted_kills() {
    let target = polling(&[]);
    let mut session = Session::new(Options::new());
    held(&mut session, target.tid()).detach(None).unwrap();
    assert_eq!(end(target), (String::new(), Some(libc::SIGSYS)));
}

/// An envoy's first system call would be its process' last.
#[test]
fn no_envoy_comes_from_it() {
    let target = polling(&[]);
    assert!(matches!(
        Envoy::to(target.tid()),
        Err(NoEnvoy::NobodyRuns { pid }) if pid == target.tid()
    ));
    let mut session = Session::new(Options::new());
    let stopped = held(&mut session, target.tid());
    assert!(matches!(
        Envoy::from(&stopped),
        Err(NoEnvoy::Filtered { tid }) if tid == target.tid()
    ));
    stopped.restart_whole().unwrap();
    stopped.detach(None).unwrap();
    assert_eq!(end(target), ("polled\n".to_owned(), None));
}

/// Who is under no filter goes on as the kernel has it.
#[test]
fn others_are_left_alone() {
    let mut child = Tool::new("sleep").arg("1000").spawn().unwrap();
    let pid = Tid::new(child.id().try_into().unwrap());
    let asleep = || std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    while !asleep().starts_with(&format!("{} ", libc::SYS_clock_nanosleep)) {
        std::thread::yield_now();
    }
    let mut session = Session::new(Options::new());
    let stopped = held(&mut session, pid);
    assert!(!stopped.restart_whole().unwrap());
    stopped.detach(None).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}
