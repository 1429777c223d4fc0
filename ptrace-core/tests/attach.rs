//! Attaching to programs that run, memory, remote system calls, hand-off, waking.

mod common;

use common::{compile, start};
use ptrace_core::{AttachReason, CpuSet, Options, Session, Signal, Stop, Tid, Wait, procfs};

const SPIN: &str = r#"
    #include <pthread.h>
    #include <stdio.h>
    #include <unistd.h>
    static volatile unsigned long n[4];
    static void *body(void *arg) { for (;;) n[(long)arg]++; }
    int main(void) {
        pthread_t t;
        for (long i = 1; i < 4; i++) pthread_create(&t, 0, body, (void *)i);
        puts("ready"); fflush(stdout);
        body(0);
    }"#;

/// No thread is stopped or traced.
fn runs_free(pid: Tid) {
    for tid in procfs::threads(pid).unwrap() {
        let status = procfs::Status::of(tid).unwrap();
        assert!(
            status.tracer == 0 && !matches!(status.state, 't' | 'T'),
            "{status:?}"
        );
    }
}

#[test]
fn attach_and_leave_again_and_again() {
    let exe = compile("spin", SPIN, &[]);
    let (target, _out) = start(&exe, &[]);
    for _ in 0..25 {
        let mut session = Session::new(Options::new());
        assert_eq!(session.seize_process(target.tid()).unwrap().len(), 4);
        let stopped = session.stop_all(target.tid()).unwrap();
        assert_eq!(stopped.len(), 4);
        for (tracee, stop) in stopped {
            assert_eq!(stop, Stop::Interrupt);
            tracee.regs().unwrap();
            tracee.detach(None).unwrap();
        }
        runs_free(target.tid());
    }
}

#[test]
fn threads_born_while_attaching_are_ours() {
    let exe = compile(
        "births",
        r#"
        #include <pthread.h>
        #include <stdio.h>
        static void *body(void *arg) { return 0; }
        static void *maker(void *arg) {
            for (;;) { pthread_t t; if (!pthread_create(&t, 0, body, 0)) pthread_join(t, 0); }
        }
        int main(void) {
            pthread_t t;
            for (int i = 0; i < 3; i++) pthread_create(&t, 0, maker, 0);
            puts("ready"); fflush(stdout);
            maker(0);
        }"#,
        &[],
    );
    let (target, _out) = start(&exe, &[]);
    for _ in 0..25 {
        let mut session = Session::new(Options::new());
        session.seize_process(target.tid()).unwrap();
        let stopped = session.stop_all(target.tid()).unwrap();
        let me = procfs::threads(target.tid()).unwrap();
        for tid in me {
            let status = procfs::Status::of(tid).unwrap();
            if status.state != 'Z' {
                assert!(
                    stopped.iter().any(|(s, _)| s.tid() == tid),
                    "{tid} is not held: {status:?}"
                );
            }
        }
        for (tracee, _) in stopped {
            tracee.detach(None).unwrap();
        }
        while let Some(Wait::Exited(..)) = session.try_wait().unwrap() {}
    }
}

#[test]
fn what_cannot_be_attached_to_says_why() {
    let mut session = Session::new(Options::new());
    let mut reason = |pid: Tid| session.seize_process(pid).unwrap_err().reason;
    let me = Tid::new(std::process::id().cast_signed());
    assert!(matches!(reason(Tid::new(0)), AttachReason::NoSuchProcess));
    assert!(matches!(reason(Tid::new(i32::MAX)), AttachReason::NoSuchProcess));
    assert!(matches!(reason(me), AttachReason::Myself));
    let parent = Tid::new(procfs::Stat::of(me).unwrap().ppid);
    assert!(matches!(reason(parent), AttachReason::Ancestor));
    let exe = compile("spin", SPIN, &[]);
    let (target, _out) = start(&exe, &[]);
    let mut other = Session::new(Options::new());
    other.seize_process(target.tid()).unwrap();
    let pid = target.tid();
    let answer = std::thread::spawn(move || {
        let mut session = Session::new(Options::new());
        session.seize_process(pid).unwrap_err().to_string()
    });
    let answer = answer.join().unwrap();
    assert!(
        answer.contains("already traced by pid") && answer.lines().count() == 1,
        "{answer}"
    );
    for (tracee, _) in other.stop_all(pid).unwrap() {
        tracee.detach(None).unwrap();
    }
}

#[test]
fn remote_system_calls_leave_sleeping_threads_asleep() {
    let exe = compile(
        "sleepers",
        r#"
        #define _GNU_SOURCE
        #include <errno.h>
        #include <linux/futex.h>
        #include <pthread.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        static int word, fds[2];
        static void check(const char *what, long rc) { if (rc) { printf("%s: %ld %s\n", what, rc, strerror(errno)); exit(1); } }
        static void *sleeper(void *a) { struct timespec t = {1, 500000000}; check("nanosleep", nanosleep(&t, 0)); return 0; }
        static void *reader(void *a) { char c; check("read", read(fds[0], &c, 1) != 1); return 0; }
        static void *waiter(void *a) {
            while (!__atomic_load_n(&word, __ATOMIC_SEQ_CST)) {
                long rc = syscall(SYS_futex, &word, FUTEX_WAIT, 0, 0, 0, 0);
                check("futex", rc && errno != EAGAIN);
            }
            return 0;
        }
        int main(void) {
            pthread_t t[3];
            check("pipe", pipe(fds));
            pthread_create(&t[0], 0, sleeper, 0);
            pthread_create(&t[1], 0, reader, 0);
            pthread_create(&t[2], 0, waiter, 0);
            puts("ready"); fflush(stdout);
            pthread_join(t[0], 0);
            write(fds[1], "x", 1);
            __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
            syscall(SYS_futex, &word, FUTEX_WAKE, 9, 0, 0, 0);
            pthread_join(t[1], 0); pthread_join(t[2], 0);
            puts("unharmed");
            return 0;
        }"#,
        &[],
    );
    let (target, mut out) = start(&exe, &[]);
    let mut session = Session::new(Options::new());
    session.seize_process(target.tid()).unwrap();
    for _ in 0..10 {
        for (tracee, _) in session.stop_all(target.tid()).unwrap() {
            let before = tracee.regs().unwrap();
            let mask = tracee.sigmask().unwrap();
            let nr = u64::try_from(libc::SYS_gettid).unwrap();
            assert_eq!(
                tracee.remote_syscall(nr, [0; 6]).unwrap(),
                i64::from(tracee.tid().raw())
            );
            assert_eq!(
                tracee.remote_syscall(u64::MAX >> 1, [0; 6]).unwrap(),
                -i64::from(libc::ENOSYS)
            );
            assert_eq!(tracee.regs().unwrap().as_regset(), before.as_regset());
            assert_eq!(tracee.sigmask().unwrap(), mask);
            tracee.cont(None).unwrap();
        }
    }
    for (tracee, _) in session.stop_all(target.tid()).unwrap() {
        tracee.detach(None).unwrap();
    }
    assert_eq!(out.next().unwrap().unwrap(), "unharmed");
}

#[test]
fn memory_is_read_and_written() {
    let exe = compile(
        "memory",
        r#"
        #include <stdio.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <unistd.h>
        int main(void) {
            char *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            munmap(p + 4096, 4096);
            strcpy(p + 4090, "hello");
            memset(p, 'x', 4090);
            mprotect(p, 4096, PROT_READ);
            puts("ready"); printf("%p\n", (void *)p); fflush(stdout);
            while (*(volatile char *)p == 'x') usleep(1000);
            puts("written"); fflush(stdout);
            pause();
        }"#,
        &[],
    );
    let (target, mut out) = start(&exe, &[]);
    let line = out.next().unwrap().unwrap();
    let page = u64::from_str_radix(line.trim_start_matches("0x"), 16).unwrap();
    let at = |offset| arch_abi::Addr::new(page + offset);
    let mut session = Session::new(Options::new());
    session.seize_process(target.tid()).unwrap();
    let mut stopped = session.stop_all(target.tid()).unwrap();
    let (tracee, _) = stopped.pop().unwrap();
    let memory = tracee.memory();

    let mut text = Vec::new();
    assert!(memory.read_c_string(at(4090), 100, &mut text).unwrap());
    assert_eq!(text, b"hello");
    text.clear();
    assert!(!memory.read_c_string(at(4090), 4, &mut text).unwrap());
    assert_eq!(text, b"hell");
    text.clear();
    assert!(memory.read_c_string(at(4090), 5, &mut text).unwrap());
    text.clear();
    assert!(memory.read_c_string(at(0), 100_000, &mut text).unwrap());
    assert_eq!(text.len(), 4095);
    assert!(memory.read_c_string(at(4096), 9, &mut text).is_err());

    let mut buf = [0; 16];
    assert_eq!(memory.read(at(4090), &mut buf).unwrap(), 6);
    assert_eq!(memory.read_exact(at(4090), &mut buf).unwrap_err().done, 6);
    assert!(memory.read(arch_abi::Addr::new(u64::MAX - 3), &mut buf).is_err());
    assert!(memory.read(arch_abi::Addr::new(0), &mut buf).is_err());

    let (mut a, mut b, mut c) = ([0; 4], [0; 16], [0; 4]);
    let mut done = [9; 3];
    memory.read_vectored(
        &mut [
            (at(0), &mut a[..]),
            (at(4090), &mut b[..]),
            (at(4091), &mut c[..]),
        ],
        &mut done,
    );
    assert_eq!(done, [4, 6, 4]);
    assert_eq!((&a, &b[..6], &c), (b"xxxx", &b"hello\0"[..], b"ello"));

    memory.write(at(0), b"y").unwrap();
    assert!(memory.write(at(4094), b"abcd").is_err());
    tracee.cont(None).unwrap();
    assert_eq!(out.next().unwrap().unwrap(), "written");
}

#[test]
fn a_waker_wakes_whenever_it_calls() {
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let waker = session.waker().unwrap();
    let exe = compile("spin", SPIN, &[]);
    let stopped = common::spawn(&mut session, &exe);
    stopped.cont(None).unwrap();
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let mut calls = 0;
        while asked.recv().is_ok() {
            waker.wake();
            calls += 1;
        }
        calls
    });
    for _ in 0..200 {
        ask.send(()).unwrap();
        loop {
            match session.wait().unwrap() {
                Wait::Woken => break,
                Wait::Stopped(stopped, stop) => common::pass(stopped, stop),
                other => panic!("{other:?}"),
            }
        }
    }
    drop(ask);
    assert_eq!(thread.join().unwrap(), 200);
}

#[test]
fn the_hand_off_is_never_seen() {
    let exe = compile(
        "affinity",
        r#"
        #define _GNU_SOURCE
        #include <pthread.h>
        #include <sched.h>
        #include <stdlib.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static cpu_set_t own;
        static void look(int code) {
            cpu_set_t now;
            if (sched_getaffinity(0, sizeof now, &now) || !CPU_EQUAL(&own, &now)) _exit(code);
        }
        static void *body(void *arg) { look(2); return 0; }
        int main(void) {
            sched_getaffinity(0, sizeof own, &own);
            for (int i = 0; i < 3000; i++) {
                __asm__ volatile("int3");
                look(1);
                if (i % 100 == 0) {
                    pthread_t t;
                    __asm__ volatile("int3");
                    pthread_create(&t, 0, body, 0);
                    pthread_join(t, 0);
                    __asm__ volatile("int3");
                    pid_t pid = fork();
                    if (!pid) { look(3); _exit(0); }
                    int s; waitpid(pid, &s, 0);
                    if (s) _exit(3);
                }
            }
            return 0;
        }"#,
        &[],
    );
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let before = CpuSet::of(Tid::new(0)).unwrap();
    session.set_hand_off(true).unwrap();
    assert_eq!(CpuSet::of(Tid::new(0)).unwrap().len(), 1);
    // The command is born of a pinned thread, and has to get what the tracer had.
    let stopped = common::spawn(&mut session, &exe);
    let tid = stopped.tid();
    assert_eq!(CpuSet::of(tid).unwrap(), before);
    stopped.cont(None).unwrap();
    let status = loop {
        match session.wait().unwrap() {
            Wait::Stopped(stopped, Stop::SignalDelivery(Signal::SIGTRAP)) => drop(stopped.cont(None)),
            Wait::Stopped(stopped, stop) => common::pass(stopped, stop),
            Wait::Exited(who, status) if who == tid => break status,
            Wait::Exited(..) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(status.success(), "{status}");
    session.set_hand_off(false).unwrap();
    assert_eq!(CpuSet::of(Tid::new(0)).unwrap(), before);
}

#[test]
fn protected_pages_are_read() {
    let exe = compile(
        "protected",
        r#"
        #include <stdio.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <unistd.h>
        int main(void) {
            char *p = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            strcpy(p, "hidden");
            mprotect(p, 4096, PROT_NONE);
            puts("ready"); printf("%p\n", (void *)p); fflush(stdout);
            pause();
        }"#,
        &[],
    );
    let (target, mut out) = start(&exe, &[]);
    let line = out.next().unwrap().unwrap();
    let page = u64::from_str_radix(line.trim_start_matches("0x"), 16).unwrap();
    let mut session = Session::new(Options::new());
    session.seize_process(target.tid()).unwrap();
    let (tracee, _) = session.stop_all(target.tid()).unwrap().pop().unwrap();
    let mut text = Vec::new();
    assert!(
        tracee
            .memory()
            .read_c_string(arch_abi::Addr::new(page), 64, &mut text)
            .unwrap()
    );
    assert_eq!(text, b"hidden");
    tracee.detach(None).unwrap();
}

/// The pid for [`tracer_role`], in a process of its own.
const ROLE: &str = "PTRACE_CORE_TEST_TARGET";

/// Attaches and leaves until it is killed; does nothing unless another test starts it with a target.
#[test]
fn tracer_role() {
    let Ok(target) = std::env::var(ROLE) else { return };
    let target = Tid::new(target.parse().unwrap());
    loop {
        let mut session = Session::new(Options::new());
        session.seize_process(target).unwrap();
        for (tracee, _) in session.stop_all(target).unwrap() {
            tracee.detach(None).unwrap();
        }
        println!("cycle");
    }
}

#[test]
fn a_tracer_killed_while_attaching_or_leaving_harms_nobody() {
    use std::io::BufRead;
    let exe = compile("spin", SPIN, &[]);
    let (target, _out) = start(&exe, &[]);
    for round in 0..40_u32 {
        let mut tracer = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tracer_role", "--nocapture"])
            .env(ROLE, target.tid().to_string())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Open to the end: the tracer would die of a broken pipe.
        let mut lines = std::io::BufReader::new(tracer.stdout.take().unwrap()).lines();
        let cycle = lines
            .by_ref()
            .map(|line| line.unwrap())
            .position(|line| line.contains("cycle"));
        assert!(cycle.is_some(), "the tracer works");
        // Another moment of the next cycle each time.
        for _ in 0..round * 2000 {
            std::hint::spin_loop();
        }
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        runs_free(target.tid());
        assert_eq!(procfs::threads(target.tid()).unwrap().len(), 4);
    }
}
