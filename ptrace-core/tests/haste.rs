//! System calls that are made in haste: the thread is a realtime one meanwhile, and nothing of that stays.

mod common;

use std::path::PathBuf;

use common::{Untraced, compile, start};
use ptrace_core::{Envoy, Haste, Options, Session, Stop, Stopped, Tid};

/// Two threads, one of them spinning; argv tells what the scheduling is that both have.
const SCHEDULED: &str = r#"
    #include <pthread.h>
    #include <sched.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/prctl.h>
    #include <sys/resource.h>
    #include <unistd.h>
    static void *spin(void *arg) { for (volatile long i = 0;; i++) {} return arg; }
    int main(int argc, char **argv) {
        struct sched_param none = {0};
        struct rlimit limit = {atol(argv[3]), RLIM_INFINITY};
        pthread_t t;
        if (argc < 4 || setpriority(PRIO_PROCESS, 0, 5)) return 1;
        if (sched_setscheduler(0, atoi(argv[1]), &none) || prctl(PR_SET_TIMERSLACK, atol(argv[2]))) return 1;
        if (atol(argv[3]) && setrlimit(RLIMIT_RTTIME, &limit)) return 1;
        if (pthread_create(&t, 0, spin, 0)) return 1;
        puts("ready"); fflush(stdout);
        pause();
    }"#;

const SCHED_BATCH: i32 = libc::SCHED_BATCH;
const FIFO: i64 = libc::SCHED_FIFO as i64;

fn fixture() -> PathBuf {
    compile("scheduled", SCHEDULED, &["-pthread", "-O1"])
}

/// A process whose threads have this policy, timer slack (ns) and limit of realtime CPU time (µs; 0: none).
fn scheduled(policy: i32, slack: u32, limit: u32) -> Untraced {
    let args = [policy.to_string(), slack.to_string(), limit.to_string()];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    start(&fixture(), &args).0
}

/// Policy, nice value and priority of a thread (proc(5), `/proc/PID/stat`), and its timer slack.
fn scheduling(tid: Tid) -> (String, String, String, String) {
    let stat = std::fs::read_to_string(format!("/proc/{tid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let field = |number: usize| after_name.split(' ').nth(number - 3).unwrap().to_owned();
    let slack = std::fs::read_to_string(format!("/proc/{tid}/timerslack_ns")).unwrap();
    (field(41), field(19), field(18), slack)
}

fn held(session: &mut Session, target: Tid) -> Vec<Stopped> {
    session.seize_process(target).unwrap();
    let held = session.stop_all(target).unwrap();
    let asked = |(stopped, stop)| {
        assert_eq!(stop, Stop::Interrupt);
        stopped
    };
    held.into_iter().map(asked).collect()
}

/// What the thread itself says of its policy when it is asked by a call in its name.
fn policy_in_call(stopped: &Stopped) -> i64 {
    let nr = u64::try_from(libc::SYS_sched_getscheduler).unwrap();
    stopped.remote_syscall(nr, [0; 6]).unwrap()
}

/// The process is scheduled as before after calls in haste, in which its threads have the policy `inside`.
fn is_left_alone(target: &Untraced, own: i32, inside: i64) {
    let mut session = Session::new(Options::new());
    let threads = held(&mut session, target.tid());
    assert_eq!(threads.len(), 2);
    for stopped in threads {
        let before = scheduling(stopped.tid());
        assert_eq!(policy_in_call(&stopped), own.into(), "without haste");
        let haste = Haste::begin();
        assert_eq!(
            policy_in_call(&stopped),
            inside,
            "the test takes the right to be a realtime thread"
        );
        assert_eq!(scheduling(stopped.tid()), before, "it has its own again");
        drop(haste);
        assert_eq!(policy_in_call(&stopped), own.into(), "after haste");
        assert_eq!(scheduling(stopped.tid()), before);
        stopped.detach(None).unwrap();
    }
}

#[test]
fn a_call_in_haste_leaves_the_scheduling_alone() {
    for (policy, slack) in [
        (libc::SCHED_OTHER, 50_000),
        (libc::SCHED_OTHER, 77_777),
        (SCHED_BATCH, 1),
        (libc::SCHED_IDLE, 4_000_000_000),
    ] {
        is_left_alone(&scheduled(policy, slack, 0), policy, FIFO);
    }
}

/// Whose policy could not be taken back exactly, or who would have to pay for it, does not get it.
#[test]
fn haste_is_not_lent_to_everybody() {
    is_left_alone(
        &scheduled(SCHED_BATCH, 77_777, 1_000_000),
        SCHED_BATCH,
        SCHED_BATCH.into(),
    );
    let resets = libc::SCHED_RESET_ON_FORK;
    let target = scheduled(SCHED_BATCH | resets, 77_777, 0);
    // The thread that it made does not have the flag, nor the policy.
    let mut session = Session::new(Options::new());
    let _haste = Haste::begin();
    for stopped in held(&mut session, target.tid()) {
        let before = scheduling(stopped.tid());
        let is_leader = stopped.tid() == target.tid();
        let expected = if is_leader {
            i64::from(SCHED_BATCH | resets)
        } else {
            FIFO
        };
        assert_eq!(policy_in_call(&stopped), expected);
        assert_eq!(scheduling(stopped.tid()), before);
        stopped.detach(None).unwrap();
    }
}

/// It is a realtime thread from its birth, and then scheduled as the one by which it was made.
#[test]
fn an_envoy_in_haste() {
    let target = scheduled(SCHED_BATCH, 77_777, 0);
    let haste = Haste::begin();
    let mut envoy = Envoy::to(target.tid()).unwrap();
    drop(haste);
    for tid in ptrace_core::procfs::threads(target.tid()).unwrap() {
        let policy = scheduling(tid).0;
        let is_envoy = tid == envoy.stopped().tid();
        let expected = if is_envoy { libc::SCHED_FIFO } else { SCHED_BATCH };
        assert_eq!(policy, expected.to_string(), "{tid}");
    }
    assert_eq!(policy_in_call(envoy.stopped()), FIFO);
    envoy.take_time();
    assert_eq!(policy_in_call(envoy.stopped()), SCHED_BATCH.into());
    envoy.recall();
}
