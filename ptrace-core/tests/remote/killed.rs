//! Tracers that are killed in the middle of their calls: each is a process of its own, this program once more.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::common::pass;
use super::{CHECKS_ITSELF, COUNTS_SIGNALS, Target, call, leave, send, wait_for_threads};
use ptrace_core::{
    Command, Envoy, ExitStatus, Haste, Options, Session, Signal, Stop, SyscallStop, Tid, Wait, procfs,
};

/// The name of [`tracer_role`], as the test harness knows it.
const TRACER_ROLE: &str = "killed::tracer_role";
/// What it is to do.
const ROLE: &str = "PTRACE_CORE_TEST_REMOTE";

/// The tracer's part, in a process of its own: it gets the target and what to do with it.
/// Does nothing unless another test starts it so.
#[test]
fn tracer_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let numbers: Vec<i32> = role.split(' ').filter_map(|word| word.parse().ok()).collect();
    let target = Tid::new(numbers[0]);
    let _haste = role.ends_with(" in haste").then(Haste::begin);
    match role.split(' ').nth(1) {
        Some("all") => call_in_all_threads(target),
        Some("thread") => call_in_thread(target, usize::try_from(numbers[1]).unwrap()),
        Some("envoy") => call_by_envoy(target),
        Some("leave") => leave_an_envoy(target),
        Some("signal") => call_at_signal(target, Signal::new(numbers[1])),
        other => panic!("{other:?}"),
    }
}

fn role(target: Tid, what: &str) -> [(&'static str, String); 1] {
    [(ROLE, format!("{target} {what}"))]
}

/// Makes calls in all threads in turn, at interrupts and at signals, until it is killed.
fn call_in_all_threads(target: Tid) {
    let mut session = Session::new(Options::new());
    session.seize_process(target).unwrap();
    for (stopped, stop) in session.stop_all(target).unwrap() {
        call(&stopped);
        pass(stopped, stop);
    }
    println!("begun");
    loop {
        for tid in procfs::threads(target).unwrap() {
            session.interrupt(tid).unwrap();
            loop {
                let Wait::Stopped(stopped, stop) = session.wait().unwrap() else {
                    panic!("the target lives");
                };
                call(&stopped);
                let done = stopped.tid() == tid && stop == Stop::Interrupt;
                pass(stopped, stop);
                if done {
                    break;
                }
            }
        }
    }
}

/// As a tracer that leaves: what is marked is what the last thread is held for.
fn leave_an_envoy(target: Tid) {
    let mut session = Session::new(Options::new());
    session.seize_process(target).unwrap();
    let mut held = session.stop_all(target).unwrap();
    let usual = held.iter().position(|(_, stop)| *stop == Stop::Interrupt);
    let (last, stop) = held.remove(usual.unwrap());
    for (other, stop) in held {
        leave(other, stop);
    }
    // It looks where landing code may lie.
    call(&last);
    mark();
    let envoy = Envoy::from(&last).unwrap();
    leave(last, stop);
    mark();
    envoy.recall();
}

fn call_by_envoy(target: Tid) {
    mark();
    let envoy = Envoy::to(target).unwrap();
    call(envoy.stopped());
    envoy.recall();
    mark();
}

/// Marks the begin and the end of what is looked at: a system call that is made nowhere else.
fn mark() {
    let _parent = std::os::unix::process::parent_id();
}

fn call_in_thread(target: Tid, index: usize) {
    let mut session = Session::new(Options::new());
    session.seize_process(target).unwrap();
    let wanted = procfs::threads(target).unwrap()[index];
    let mut stops = session.stop_all(target).unwrap();
    // A thread that sleeps for a moment where nothing interrupts it stops later.
    while !stops.iter().any(|(stopped, _)| stopped.tid() == wanted) {
        let Wait::Stopped(stopped, stop) = session.wait().unwrap() else {
            panic!("the target lives");
        };
        stops.push((stopped, stop));
    }
    let at = stops.iter().position(|(stopped, _)| stopped.tid() == wanted);
    let (stopped, stop) = stops.remove(at.unwrap());
    for (other, stop) in stops {
        leave(other, stop);
    }
    mark();
    call(&stopped);
    mark();
    leave(stopped, stop);
}

fn call_at_signal(target: Tid, signal: Signal) {
    let mut session = Session::new(Options::new());
    session.seize_process(target).unwrap();
    let (mut stopped, mut stop) = session.stop_all(target).unwrap().remove(0);
    while stop != Stop::SignalDelivery(signal) {
        pass(stopped, stop);
        (stopped, stop) = match session.wait().unwrap() {
            Wait::Stopped(stopped, stop) => (stopped, stop),
            other => panic!("{other:?}"),
        };
    }
    mark();
    call(&stopped);
    mark();
    leave(stopped, stop);
}

/// Runs a tracer that does `what` and kills it at the entry of its system call number `at` after the first mark.
/// Gives the name of what it was about to do; `None` if it came to the second mark. `lent`: it has lent its haste.
fn killed_at(target: Tid, what: &str, at: usize, lent: &mut bool) -> Option<u64> {
    let lends = libc::SYS_sched_setscheduler.unsigned_abs();
    let mut steps = 0;
    let mut killed = None;
    watch(target, what, |tracer, nr, _| {
        *lent |= nr == lends;
        if killed.is_none() && !only_looks(nr) {
            if steps == at {
                killed = Some(nr);
                send(tracer, "-KILL");
            }
            steps += 1;
        }
        killed.is_some()
    });
    killed
}

/// Runs a tracer that does `what`, and shows its system calls between the marks as it enters them: whose, number, arguments. The answer is whether it
/// was killed.
fn watch(target: Tid, what: &str, mut see: impl FnMut(Tid, u64, [u64; 6]) -> bool) {
    let exe = std::env::current_exe().unwrap();
    let [(name, value)] = role(target, what);
    let command = Command::new(exe)
        .args(["--exact", TRACER_ROLE, "--nocapture"])
        .env(name, value);
    let mut session = Session::new(Options::new().kill_on_exit(true));
    session.spawn(&command).unwrap().cont_to_syscall(None).unwrap();
    let getppid = u64::try_from(libc::SYS_getppid).unwrap();
    let mut marked: Option<Tid> = None;
    let mut killed = false;
    loop {
        let (stopped, stop) = match session.wait().unwrap() {
            Wait::Stopped(stopped, stop) => (stopped, stop),
            Wait::Exited(_, status) => {
                // A step that was not come to is the end of the call: then the tracer did well.
                assert!(killed || status == ExitStatus::Exited(0), "{what}: {status}");
                continue;
            }
            _ => return,
        };
        if stop == Stop::SyscallEnter && !killed {
            let SyscallStop::Enter { nr, args, .. } = stopped.syscall_info().unwrap().stop else {
                panic!("it enters a system call");
            };
            if nr == getppid {
                // The second ends what is looked at.
                marked = marked.xor(Some(stopped.tid()));
            } else if marked == Some(stopped.tid()) {
                killed = see(stopped.tid(), nr, args);
            }
        }
        match stopped.cont_to_syscall(stop.signal()) {
            Err(refused) if !refused.error.is_death() => panic!("{}", refused.error),
            _ => {}
        }
    }
}

/// Whether a system call changes nothing in a tracee: to be killed before it is to be killed before the next.
fn only_looks(nr: u64) -> bool {
    [
        libc::SYS_openat,
        libc::SYS_statx,
        libc::SYS_read,
        libc::SYS_close,
        libc::SYS_process_vm_readv,
        libc::SYS_pread64,
        libc::SYS_fcntl,
        libc::SYS_gettid,
        libc::SYS_prlimit64,
        libc::SYS_sched_getparam,
        libc::SYS_sched_getscheduler,
    ]
    .map(|nr| u64::try_from(nr).unwrap())
    .contains(&nr)
}

/// Kills a tracer at each step of a call in turn. Gives how many there were, and whether it has lent its haste in one of the runs.
fn kill_at_each_step(
    target: &mut Target,
    what: &str,
    mut check: impl FnMut(&mut Target, &str),
) -> (usize, bool) {
    let mut lent = false;
    for step in 0.. {
        let killed = killed_at(target.tid(), what, step, &mut lent);
        let about = format!("{what}: killed at step {step}, before system call {killed:?}");
        check(target, &about);
        if killed.is_none() {
            assert!(!lent || what.ends_with(" in haste"), "{what}");
            return (step, lent);
        }
    }
    unreachable!("a call has an end");
}

#[test]
fn a_tracer_killed_at_each_step_of_a_call_harms_no_thread() {
    let mut target = Target::start("steps", CHECKS_ITSELF, &[]);
    let clean = target.vdso();
    // Spinning; nanosleep, a futex, ppoll or poll or read, usleep.
    let mut left_behind = 0;
    for thread in 0..4 {
        let (steps, _) = kill_at_each_step(&mut target, &format!("thread {thread}"), |target, about| {
            target.goes_on(4, about);
            left_behind += usize::from(target.vdso() != clean);
        });
        assert!(steps > 12, "{steps} steps are no call");
    }
    // In haste a thread has another policy meanwhile, unless it has stopped at a signal: on a busy machine the first one always has.
    let mut lent = false;
    for thread in 0..4 {
        let what = format!("thread {thread} in haste");
        let (steps, was_lent) = kill_at_each_step(&mut target, &what, |target, about| {
            target.goes_on(4, about);
        });
        assert!(steps > 12, "{steps} steps are no call in haste");
        lent |= was_lent;
    }
    assert!(lent, "the test takes the right to be a realtime thread");
    // The code that the dead left shows that they died in the middle.
    assert!(left_behind > 12, "{left_behind}");
}

/// The new thread ends, wherever its tracer was, and no other one is harmed.
#[test]
fn a_tracer_killed_at_each_step_leaves_no_envoy() {
    let mut target = Target::start("envoy_steps", CHECKS_ITSELF, &[]);
    target.goes_on(4, "it has begun");
    let threads = procfs::threads(target.tid()).unwrap();
    for what in ["envoy", "envoy in haste"] {
        let (steps, _) = kill_at_each_step(&mut target, what, |target, about| {
            wait_for_threads(target, &threads, about);
            target.goes_on(4, about);
        });
        assert!(steps > 40, "{steps} steps are no envoy's");
    }
}

/// Each time that a held thread is let run it waits for a CPU, and the tracer for the thread: that is what counts where threads are to stand still for
/// less than a millisecond.
#[test]
fn a_thread_that_makes_an_envoy_is_let_run_three_times() {
    let mut target = Target::start("envoy_trips", CHECKS_ITSELF, &[]);
    target.goes_on(4, "it has begun");
    let number = |nr: libc::c_long| u64::try_from(nr).unwrap();
    let resumes = [libc::PTRACE_SYSCALL, libc::PTRACE_CONT, libc::PTRACE_SINGLESTEP].map(u64::from);
    let [mut trips, mut files, mut lent] = [0; 3];
    watch(target.tid(), "leave in haste", |_, nr, args| {
        trips += u32::from(nr == number(libc::SYS_ptrace) && resumes.contains(&args[0]));
        files += u32::from(nr == number(libc::SYS_openat));
        lent += u32::from(
            nr == number(libc::SYS_sched_setscheduler) && args[1] == number(libc::SCHED_FIFO.into()),
        );
        false
    });
    assert_eq!(trips, 3, "entry, event, and the stop that it came from");
    assert_eq!(files, 2, "whether it is under a filter, and its timer slack");
    assert_eq!(lent, 1, "the test takes the right to be a realtime thread");
    target.goes_on(4, "after all");
}

#[test]
fn a_signal_survives_a_tracer_killed_at_each_step() {
    // A standard signal, a realtime signal.
    for signal in [libc::SIGUSR1, 40] {
        let number = signal.to_string();
        let mut target = Target::start("signals", COUNTS_SIGNALS, &[&number]);
        let (steps, _) = kill_at_each_step(&mut target, &format!("signal {number}"), |target, about| {
            target.goes_on(1, about);
        });
        assert!(steps > 18, "{steps} steps are no call");
        let [_, twice, foreign, _] = target.counts();
        println!("signal {signal}: {steps} steps, {twice} twice, {foreign} of another origin");
        // README, the table of what remains. On a busy machine the window in which it is of another origin has one more step now and then: the
        // stop that the signal was sent anew for comes later, and is waited for.
        let realtime = u64::from(signal == 40);
        assert!(twice <= 2 + realtime && foreign <= 6, "{twice} {foreign}");
    }
}

#[test]
fn a_fault_is_where_it_was_after_a_tracer_killed_at_each_step() {
    let mut target = Target::start("faults", COUNTS_SIGNALS, &["11"]);
    let (steps, _) = kill_at_each_step(&mut target, "signal 11", |target, about| {
        target.goes_on(1, about);
    });
    assert!(steps > 18, "{steps} steps are no call");
    assert_eq!(target.counts()[1], 0, "a fault came twice");
}

#[test]
fn a_system_call_that_a_filter_traps_is_trapped_after_a_tracer_killed_at_each_step() {
    let mut target = Target::start("filtered", COUNTS_SIGNALS, &["31"]);
    let (steps, _) = kill_at_each_step(&mut target, "signal 31", |target, about| {
        target.goes_on(1, about);
    });
    assert!(steps > 18, "{steps} steps are no call");
    let [_, twice, _, lost] = target.counts();
    // README: while it is let go.
    println!("signal 31: {steps} steps, {lost} lost");
    assert!(twice == 0 && lost <= 4, "{twice} {lost}");
}

#[test]
fn tracers_killed_at_any_moment_of_their_calls_harm_nobody() {
    let mut target = Target::start("any", CHECKS_ITSELF, &[]);
    for round in 0..300_u32 {
        let mut tracer = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TRACER_ROLE, "--nocapture"])
            .envs(role(target.tid(), "all"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Open to the end: the tracer would die of a broken pipe.
        let mut lines = BufReader::new(tracer.stdout.take().unwrap()).lines();
        let begun = lines.by_ref().any(|line| line.unwrap().contains("begun"));
        assert!(begun, "the tracer works");
        for _ in 0..round * 701 % 60_000 {
            std::hint::spin_loop();
        }
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        let ended = target.process.0.try_wait().unwrap();
        assert_eq!(ended, None, "round {round}");
    }
    target.goes_on(4, "all rounds");
}
