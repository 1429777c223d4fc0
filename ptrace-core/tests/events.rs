//! Threads, forks and execs, told in one clean order.

mod common;

use common::{Seen, compile, end_of, run, run_fixture, spawn};
use ptrace_core::{Command, ExitStatus, Options, Session, Signal, SpawnError, Stop, Wait};

/// Each birth comes after its parent's event.
fn births_follow_their_announcements(seen: &[Seen]) -> usize {
    let mut births = 0;
    for (i, event) in seen.iter().enumerate() {
        let Seen::Stop(child, Stop::Born { parent }) = *event else {
            continue;
        };
        births += 1;
        let parent = parent.expect("no parent died here");
        let announced = seen[..i].iter().any(|s| {
            matches!(*s, Seen::Stop(p, Stop::Fork { child: c } | Stop::Vfork { child: c } | Stop::Clone { child: c })
                if p == parent && c == child)
        });
        assert!(announced, "{child} was born before {parent} told of it: {seen:?}");
    }
    births
}

#[test]
fn a_command_is_stopped_before_its_first_instruction() {
    let mut session = Session::new(Options::new());
    let stopped = session.spawn(&Command::new("true")).unwrap();
    let tid = stopped.tid();
    let pc = stopped.regs().unwrap().pc();
    let maps = ptrace_core::procfs::maps(tid).unwrap();
    let here = maps.iter().find(|m| m.contains(pc)).unwrap();
    assert!(here.name.to_string_lossy().contains("ld-linux"), "{here:?}");
    stopped.cont(None).unwrap();
    assert_eq!(run(&mut session), [Seen::Exit(tid, ExitStatus::Exited(0))]);
    assert!(matches!(session.wait().unwrap(), Wait::NoTracees));
}

#[test]
fn exit_status_and_signal_are_told() {
    for (script, status) in [
        ("exit 7", ExitStatus::Exited(7)),
        (
            "kill -9 $$",
            ExitStatus::Signaled {
                signal: Signal::SIGKILL,
                core_dumped: false,
            },
        ),
        (
            "kill -TERM $$",
            ExitStatus::Signaled {
                signal: Signal::SIGTERM,
                core_dumped: false,
            },
        ),
    ] {
        let mut session = Session::new(Options::new());
        let stopped = session.spawn(&Command::new("sh").args(["-c", script])).unwrap();
        let tid = stopped.tid();
        stopped.cont(None).unwrap();
        assert_eq!(end_of(&run(&mut session), tid), Some(status), "{script}");
    }
}

#[test]
fn a_failed_exec_tells_its_errno_and_leaves_nothing() {
    let mut session = Session::new(Options::new());
    for (program, errno) in [
        ("no-such-command-anywhere", libc::ENOENT),
        ("/no/such/file", libc::ENOENT),
        ("/tmp", libc::EACCES),
        ("/etc/passwd", libc::EACCES),
        ("", libc::ENOENT),
    ] {
        let error = session.spawn(&Command::new(program)).unwrap_err();
        assert_eq!(error.exec_errno(), Some(errno), "{program}: {error}");
    }
    let error = session
        .spawn(&Command::new("true").current_dir("/no/such/dir"))
        .unwrap_err();
    assert!(
        matches!(error, SpawnError::Prepare { what: "chdir", .. }),
        "{error}"
    );
    assert!(matches!(session.wait().unwrap(), Wait::NoTracees));
}

#[test]
fn a_script_without_an_interpreter_is_given_to_the_shell() {
    let script = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("script-without-interpreter");
    std::fs::write(&script, "test \"$1\" = one && exit 5\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut session = Session::new(Options::new());
    let stopped = session.spawn(&Command::new(&script).arg("one")).unwrap();
    let tid = stopped.tid();
    stopped.cont(None).unwrap();
    assert_eq!(end_of(&run(&mut session), tid), Some(ExitStatus::Exited(5)));
}

#[test]
fn threads_are_followed_from_birth_to_end() {
    let exe = compile(
        "threads",
        r"
        #include <pthread.h>
        #include <unistd.h>
        static void *body(void *arg) { return arg; }
        int main(void) {
            for (int round = 0; round < 10; round++) {
                pthread_t t[8];
                for (int i = 0; i < 8; i++) pthread_create(&t[i], 0, body, 0);
                for (int i = 0; i < 8; i++) pthread_join(t[i], 0);
            }
            return 3;
        }",
        &[],
    );
    let (tid, seen) = run_fixture(&exe);
    assert_eq!(births_follow_their_announcements(&seen), 80);
    assert_eq!(seen.iter().filter(|s| matches!(s, Seen::Exit(..))).count(), 81);
    assert_eq!(seen.last(), Some(&Seen::Exit(tid, ExitStatus::Exited(3))));
}

#[test]
fn forks_of_every_kind_are_followed() {
    let exe = compile(
        "forks",
        r#"
        #define _GNU_SOURCE
        #include <sched.h>
        #include <signal.h>
        #include <spawn.h>
        #include <stdlib.h>
        #include <sys/wait.h>
        #include <unistd.h>
        extern char **environ;
        static char stack[65536];
        static int body(void *arg) { return 14; }
        static int status(pid_t pid) { int s; waitpid(pid, &s, __WALL); return WEXITSTATUS(s); }
        int main(void) {
            pid_t pid = fork();
            if (!pid) _exit(11);
            if (status(pid) != 11) return 1;
            pid = vfork();
            if (!pid) _exit(12);
            if (status(pid) != 12) return 2;
            char *argv[] = {"sh", "-c", "exit 13", 0};
            if (posix_spawnp(&pid, "sh", 0, 0, argv, environ)) return 3;
            if (status(pid) != 13) return 4;
            pid = clone(body, stack + sizeof stack, SIGUSR1 & 0, 0);
            if (status(pid) != 14) return 5;
            if (WEXITSTATUS(system("exit 15")) != 15) return 6;
            return 42;
        }"#,
        &[],
    );
    let (tid, seen) = run_fixture(&exe);
    assert_eq!(end_of(&seen, tid), Some(ExitStatus::Exited(42)), "{seen:?}");
    assert_eq!(births_follow_their_announcements(&seen), 5);
    let count = |wanted: fn(&Stop) -> bool| {
        seen.iter()
            .filter(|s| matches!(s, Seen::Stop(_, stop) if wanted(stop)))
            .count()
    };
    assert_eq!(count(|s| matches!(s, Stop::Fork { .. })), 1);
    assert_eq!(count(|s| matches!(s, Stop::Exec { .. })), 2);
    let done = count(|s| matches!(s, Stop::VforkDone { .. }));
    assert_eq!(count(|s| matches!(s, Stop::Vfork { .. })), done);
}

#[test]
fn without_follow_forks_children_run_untraced() {
    let mut session = Session::new(Options::new().follow_forks(false));
    let stopped = session
        .spawn(&Command::new("sh").args(["-c", "(exit 3); (exit 4); exit $?"]))
        .unwrap();
    let tid = stopped.tid();
    stopped.cont(None).unwrap();
    let seen = run(&mut session);
    assert_eq!(end_of(&seen, tid), Some(ExitStatus::Exited(4)));
    assert!(
        seen.iter()
            .all(|s| matches!(s, Seen::Stop(t, _) | Seen::Exit(t, _) if *t == tid)),
        "{seen:?}"
    );
}

#[test]
fn exec_from_a_thread_takes_over_the_leader() {
    let exe = compile(
        "exec_from_thread",
        r#"
        #include <pthread.h>
        #include <unistd.h>
        static void *idle(void *arg) { for (;;) pause(); }
        static void *body(void *arg) { execlp("sh", "sh", "-c", "exit 9", (char *)0); return 0; }
        int main(void) {
            pthread_t t;
            for (int i = 0; i < 3; i++) pthread_create(&t, 0, idle, 0);
            pthread_create(&t, 0, body, 0);
            pthread_exit(0);
        }"#,
        &[],
    );
    let (tid, seen) = run_fixture(&exe);
    let former = seen.iter().find_map(|s| match *s {
        Seen::Stop(who, Stop::Exec { former }) if who == tid => Some(former),
        _ => None,
    });
    let former = former.expect("an exec");
    assert_ne!(former, tid);
    assert_eq!(end_of(&seen, former), None, "it lives on as the leader");
    assert_eq!(end_of(&seen, tid), Some(ExitStatus::Exited(9)), "{seen:?}");
    let idle_ends = seen
        .iter()
        .filter(|s| matches!(s, Seen::Exit(who, _) if *who != tid))
        .count();
    assert_eq!(idle_ends, 3);
}

#[test]
fn a_stopped_leader_is_dead_after_another_threads_exec() {
    let exe = compile(
        "exec_under_leader",
        r#"
        #include <pthread.h>
        #include <signal.h>
        #include <unistd.h>
        static void *body(void *arg) { execlp("true", "true", (char *)0); return 0; }
        int main(void) {
            pthread_t t;
            pthread_create(&t, 0, body, 0);
            for (;;) pause();
        }"#,
        &[],
    );
    let mut session = Session::new(Options::new());
    let leader = spawn(&mut session, &exe);
    let tid = leader.tid();
    leader.cont(None).unwrap();
    let mut held = None;
    loop {
        match session.wait().unwrap() {
            Wait::Stopped(stopped, Stop::Clone { .. }) => held = Some(stopped),
            Wait::Stopped(stopped, Stop::Exec { .. }) => {
                assert_eq!(stopped.tid(), tid);
                let held = held.take().unwrap();
                assert!(
                    held.regs().unwrap_err().is_death(),
                    "the leader that was held is gone"
                );
                assert!(held.cont(None).unwrap_err().error.is_death());
                stopped.cont(None).unwrap();
                break;
            }
            Wait::Stopped(stopped, stop) => common::pass(stopped, stop),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(end_of(&run(&mut session), tid), Some(ExitStatus::Exited(0)));
}

#[test]
fn a_leader_may_end_before_its_threads() {
    let exe = compile(
        "leader_first",
        r"
        #include <pthread.h>
        #include <stdlib.h>
        #include <unistd.h>
        static pthread_t leader;
        static void *body(void *arg) { pthread_join(leader, 0); exit(6); }
        int main(void) {
            pthread_t t;
            leader = pthread_self();
            pthread_create(&t, 0, body, 0);
            pthread_exit(0);
        }",
        &[],
    );
    let (tid, seen) = run_fixture(&exe);
    assert_eq!(
        seen.last(),
        Some(&Seen::Exit(tid, ExitStatus::Exited(6))),
        "{seen:?}"
    );
}

#[test]
fn two_sessions_in_two_threads_do_not_meet() {
    let run_one = |status: u8| {
        move || {
            let mut session = Session::new(Options::new());
            for _ in 0..10 {
                let script = format!("(exit 1); (exit 2); exit {status}");
                let stopped = session.spawn(&Command::new("sh").args(["-c", &script])).unwrap();
                let tid = stopped.tid();
                stopped.cont(None).unwrap();
                let seen = run(&mut session);
                assert_eq!(end_of(&seen, tid), Some(ExitStatus::Exited(status)));
                assert_eq!(births_follow_their_announcements(&seen), 2);
            }
        }
    };
    let threads = [std::thread::spawn(run_one(3)), std::thread::spawn(run_one(4))];
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_fork_storm_is_told_whole() {
    let exe = compile(
        "storm",
        r"
        #include <sys/wait.h>
        #include <unistd.h>
        int main(void) {
            for (int i = 0; i < 100; i++)
                if (!fork()) { if (!fork()) _exit(2); _exit(1); }
            while (wait(0) > 0) ;
            return 0;
        }",
        &[],
    );
    let (_, seen) = run_fixture(&exe);
    assert_eq!(seen.iter().filter(|s| matches!(s, Seen::Exit(..))).count(), 201);
    assert_eq!(births_follow_their_announcements(&seen), 200);
}
