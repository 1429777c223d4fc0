//! Signals, group-stops, system call stops, SIGKILL at any stop.

mod common;

use common::{Seen, compile, end_of, run, spawn, start};
use ptrace_core::{Command, Error, ExitStatus, Options, Session, Signal, Stop, SyscallStop, Wait, procfs};

fn kill(tid: ptrace_core::Tid, signal: &str) {
    let status = std::process::Command::new("kill")
        .args([signal, &tid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn queued_realtime_signals_keep_their_values_across_remote_calls() {
    let exe = compile(
        "queue",
        r"
        #include <signal.h>
        #include <stdlib.h>
        #include <unistd.h>
        static volatile int next;
        static void on(int s, siginfo_t *i, void *u) { if (i->si_value.sival_int != next++) _exit(1); if (i->si_code != SI_QUEUE) _exit(2); }
        int main(void) {
            struct sigaction a = {.sa_sigaction = on, .sa_flags = SA_SIGINFO};
            sigaction(SIGRTMIN, &a, 0);
            sigset_t s; sigemptyset(&s); sigaddset(&s, SIGRTMIN); sigprocmask(SIG_BLOCK, &s, 0);
            for (int i = 0; i < 20; i++) sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
            sigprocmask(SIG_UNBLOCK, &s, 0);
            return next == 20 ? 0 : 3;
        }",
        &[],
    );
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let stopped = spawn(&mut session, &exe);
    let tid = stopped.tid();
    stopped.cont(None).unwrap();
    let mut delivered = 0;
    loop {
        match session.wait().unwrap() {
            Wait::Stopped(stopped, stop) => {
                if let Stop::SignalDelivery(_) = stop {
                    delivered += 1;
                    let nr = u64::try_from(libc::SYS_getpid).unwrap();
                    assert_eq!(stopped.remote_syscall(nr, [0; 6]).unwrap(), i64::from(tid.raw()));
                }
                common::pass(stopped, stop);
            }
            Wait::Exited(_, status) => break assert_eq!(status, ExitStatus::Exited(0)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(delivered, 20);
}

#[test]
fn a_stopped_process_stays_stopped_until_it_is_continued() {
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let stopped = session
        .spawn(&Command::new("sh").args(["-c", "kill -STOP $$; exit 4"]))
        .unwrap();
    let tid = stopped.tid();
    stopped.cont(None).unwrap();
    let mut stops = Vec::new();
    let status = loop {
        match session.wait().unwrap() {
            Wait::Stopped(stopped, stop) => {
                stops.push(stop);
                common::pass(stopped, stop);
                if stop == Stop::Group(Signal::SIGSTOP) {
                    assert!(matches!(procfs::Stat::of(tid).unwrap().state, 't' | 'T'));
                    kill(tid, "-CONT");
                }
            }
            Wait::Exited(_, status) => break status,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(status, ExitStatus::Exited(4));
    assert_eq!(
        stops,
        [
            Stop::SignalDelivery(Signal::SIGSTOP),
            Stop::Group(Signal::SIGSTOP),
            Stop::Interrupt,
            Stop::SignalDelivery(Signal::SIGCONT),
        ]
    );
}

#[test]
fn a_remote_call_in_a_group_stop_leaves_it_stopped() {
    let exe = compile(
        "pauses",
        "#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts(\"ready\"); fflush(stdout); for (;;) pause(); }",
        &[],
    );
    let (target, _out) = start(&exe, &[]);
    kill(target.tid(), "-STOP");
    let mut session = Session::new(Options::new());
    session.seize_process(target.tid()).unwrap();
    let (stopped, stop) = loop {
        if let Wait::Stopped(stopped, stop @ Stop::Group(_)) = session.wait().unwrap() {
            break (stopped, stop);
        }
    };
    assert_eq!(stop, Stop::Group(Signal::SIGSTOP));
    let nr = u64::try_from(libc::SYS_getpid).unwrap();
    assert_eq!(
        stopped.remote_syscall(nr, [0; 6]).unwrap(),
        i64::from(target.tid().raw())
    );
    stopped.detach(None).unwrap();
    // The kernel traps it into the stop again; it was told so before it was let go.
    while procfs::Stat::of(target.tid()).unwrap().state != 'T' {
        std::thread::yield_now();
    }
}

#[test]
fn a_tracee_killed_at_a_stop_is_dead_and_nothing_hangs() {
    for kind in 0..5 {
        let mut session = Session::new(Options::new());
        let stopped = session
            .spawn(&Command::new("sh").args(["-c", "(exit 1); kill -USR1 $$"]))
            .unwrap();
        let tid = stopped.tid();
        let stopped = if kind == 0 {
            stopped
        } else {
            stopped.cont(None).unwrap();
            loop {
                match session.wait().unwrap() {
                    Wait::Stopped(s, Stop::Fork { .. }) if kind == 1 => break s,
                    Wait::Stopped(s, Stop::Born { .. }) if kind == 2 => break s,
                    Wait::Stopped(s, Stop::SignalDelivery(Signal::SIGUSR1)) if kind >= 3 => break s,
                    Wait::Stopped(s, stop) => common::pass(s, stop),
                    Wait::Exited(..) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        let victim = stopped.tid();
        kill(victim, "-KILL");
        // Its end is told although it is held, and every request fails with the right error.
        if kind == 3 {
            let error = stopped.remote_syscall(39, [0; 6]).unwrap_err();
            assert!(matches!(error, Error::Died { .. }), "{error}");
        }
        let refused = stopped.cont(None).unwrap_err();
        assert!(refused.error.is_death());
        let seen = run(&mut session);
        let killed = ExitStatus::Signaled {
            signal: Signal::SIGKILL,
            core_dumped: false,
        };
        assert_eq!(end_of(&seen, victim), Some(killed), "{kind}: {seen:?}");
        assert!(kind == 2 || victim == tid);
    }
}

#[test]
fn system_calls_are_stopped_at() {
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let stopped = session.spawn(&Command::new("true")).unwrap();
    stopped.cont_to_syscall(None).unwrap();
    let (mut enters, mut exits) = (0, 0);
    loop {
        match session.wait().unwrap() {
            Wait::Stopped(stopped, Stop::SyscallEnter) => {
                enters += 1;
                let info = stopped.syscall_info().unwrap();
                assert!(matches!(info.stop, SyscallStop::Enter { .. }), "{info:?}");
                assert_eq!(info.pc, stopped.regs().unwrap().pc());
                assert!(matches!(
                    stopped.remote_syscall(39, [0; 6]),
                    Err(Error::InSyscall { .. })
                ));
                stopped.cont_to_syscall(None).unwrap();
            }
            Wait::Stopped(stopped, Stop::SyscallExit) => {
                exits += 1;
                let own = i64::from(stopped.tid().raw());
                assert_eq!(stopped.remote_syscall(39, [0; 6]).unwrap(), own);
                stopped.cont_to_syscall(None).unwrap();
            }
            Wait::Exited(_, status) => break assert!(status.success()),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        exits > 5 && (enters == exits || enters == exits + 1),
        "{enters} {exits}"
    );
}

#[test]
fn a_stop_that_is_held_does_not_keep_others_from_being_told() {
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let held = session.spawn(&Command::new("true")).unwrap();
    let other = session.spawn(&Command::new("sh").args(["-c", "exit 5"])).unwrap();
    let tid = other.tid();
    other.cont(None).unwrap();
    match session.wait().unwrap() {
        Wait::Exited(who, status) => assert_eq!((who, status), (tid, ExitStatus::Exited(5))),
        event => panic!("{event:?}"),
    }
    assert!(session.try_wait().unwrap().is_none());
    held.cont(None).unwrap();
    assert!(matches!(
        run(&mut session)[..],
        [Seen::Exit(_, ExitStatus::Exited(0))]
    ));
}

#[test]
fn a_command_finds_the_signals_as_they_were() {
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let signals = ptrace_core::SignalState::current()
        .ignore(Signal::SIGUSR2, true)
        .block(Signal::SIGUSR1, true);
    let stopped = session.spawn(&Command::new("true").signals(signals)).unwrap();
    let status = procfs::Status::of(stopped.tid()).unwrap();
    let bit = |signal: Signal| 1_u64 << (signal.raw() - 1);
    assert_eq!(status.blocked & bit(Signal::SIGUSR1), bit(Signal::SIGUSR1));
    assert_eq!(status.ignored & bit(Signal::SIGUSR2), bit(Signal::SIGUSR2));
    assert_eq!(status.ignored & bit(Signal::SIGPIPE), 0);
    stopped.cont(None).unwrap();
    run(&mut session);
}

#[test]
fn a_command_can_run_as_another_user() {
    let user = ptrace_core::User::lookup("nobody").expect("the user nobody");
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let stopped = session
        .spawn(&Command::new("true").user(user.clone()))
        .expect("the tests run as root");
    let status = procfs::Status::of(stopped.tid()).unwrap();
    assert_eq!((status.uid, status.gid), ([user.uid; 4], [user.gid; 4]));
    stopped.cont(None).unwrap();
    run(&mut session);
    assert!(ptrace_core::User::lookup("no-such-user").is_err());
}
