//! Attaching to running programs, and leaving them as they were.
//!
//! The number of cycles is small here; the full run is
//! `RLTRACE_CYCLES=1000 cargo test -p rltrace-tests --test attach -- cycles`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rltrace_tests::tools::tool;
use rltrace_tests::{Background, Build, Rltrace, Running, Traced, process, run, wait_for};

const NOTHING: [&OsStr; 0] = [];

fn hot() -> PathBuf {
    let library = Build::library("callee.c").build();
    Build::program("hot.c").flags(["-O1"]).uses(&library).build()
}

/// A program of four threads that call `callee` all the time and check every result.
#[track_caller]
fn target() -> Running {
    let mut running = Running::start(Command::new(hot()).arg("4").stdin(Stdio::piped()));
    running.wait_for_out("ready");
    running
}

/// Ends the target by closing its input; every result it saw was right.
#[track_caller]
fn ends_well(target: Running) {
    let ended = target.finish();
    assert_eq!(ended.expect_success().out(), "ready\ndone\n");
}

#[track_caller]
fn unharmed(target: &mut Running, what: &str) {
    assert!(!target.ended(), "{what}: the target died\n{}", target.said());
    let held = process::held(target.pid());
    assert!(
        held.is_empty(),
        "{what}: threads left stopped or traced: {held:?}"
    );
}

#[track_caller]
fn attach(pid: Pid) -> Background {
    Rltrace::new().filter("callee").pid(pid).start(NOTHING)
}

/// How many cycles: `$RLTRACE_CYCLES` or `usual`.
fn cycles(usual: usize) -> usize {
    std::env::var("RLTRACE_CYCLES").map_or(usual, |count| count.parse().expect("RLTRACE_CYCLES is a number"))
}

#[track_caller]
fn saw_calls(traced: &Traced) {
    let right = traced
        .trace
        .calls_of("callee")
        .filter(|call| call.result().is_some())
        .count();
    traced.assert(right > 0, "calls are seen");
}

#[test]
fn cycles_of_attaching_and_leaving() {
    let mut target = target();
    for cycle in 0..cycles(40) {
        let signal = if cycle % 2 == 0 {
            Signal::SIGINT
        } else {
            Signal::SIGTERM
        };
        let mut rltrace = attach(target.pid());
        rltrace.wait_for("callee(");
        let traced = rltrace.end_by(signal);
        saw_calls(&traced);
        unharmed(&mut target, &format!("cycle {cycle}, {signal}"));
    }
    ends_well(target);
}

/// The signal may come at any moment of attaching.
#[test]
fn leaving_at_any_moment() {
    let mut target = target();
    for cycle in 0..cycles(40) {
        let rltrace = attach(target.pid());
        // Not luck but spread: each cycle leaves a little later than the one before.
        for _ in 0..cycle * 2000 {
            std::hint::black_box(cycle);
            std::thread::yield_now();
        }
        let traced = rltrace.end_by(Signal::SIGINT);
        unharmed(&mut target, &format!("cycle {cycle}: {}", traced.run.err()));
    }
    ends_well(target);
}

#[test]
fn every_signal_that_ends_a_tracer() {
    let mut target = target();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        let mut rltrace = attach(target.pid());
        rltrace.wait_for("callee(");
        saw_calls(&rltrace.end_by(signal));
        unharmed(&mut target, signal.as_str());
    }
    ends_well(target);
}

#[test]
fn a_second_interrupt_makes_nothing_worse() {
    let mut target = target();
    for _ in 0..cycles(10) {
        let mut rltrace = attach(target.pid());
        rltrace.wait_for("callee(");
        for _ in 0..5 {
            if !rltrace.running.ended() {
                rltrace.running.signal(Signal::SIGINT);
            }
        }
        rltrace.finish();
        unharmed(&mut target, "five interrupts");
    }
    ends_well(target);
}

#[test]
fn a_reader_that_goes_away() {
    let mut target = target();
    let binary = rltrace_tests::rltrace_binary().display();
    let script = format!(
        "{binary} -e callee -p {} 2>&1 | head -n 20 >/dev/null",
        target.pid()
    );
    run(Command::new("sh").args(["-c", &script]));
    unharmed(&mut target, "a broken pipe");
    ends_well(target);
}

#[test]
fn threads_born_while_attaching() {
    let library = Build::library("callee.c").build();
    let program = Build::program("many_threads.c")
        .flags(["-O1"])
        .uses(&library)
        .build();
    for _ in 0..cycles(10) {
        let mut target = Running::start(Command::new(&program).args(["short", "20000"]));
        wait_for("its threads", || {
            process::threads(target.pid()).len() > 1 || target.ended()
        });
        let mut rltrace = attach(target.pid());
        rltrace.wait_for("callee(");
        rltrace.end_by(Signal::SIGINT);
        assert_eq!(target.finish().expect_success().out(), "done\n");
    }
}

#[test]
fn two_targets_and_a_command() {
    let mut targets = [target(), target()];
    let library = Build::library("callee.c").build();
    let program = Build::program("thousand.c").flags(["-O1"]).uses(&library).build();
    let pids = targets.each_ref().map(Running::pid);
    let rltrace = Rltrace::new().filter("callee").pid(pids[0]).pid(pids[1]);
    let mut rltrace = rltrace.start([&program]);
    rltrace.wait_for("callee(999, 5999, 2997, 7)");
    for pid in pids {
        wait_for("lines of each target", || {
            let text = rltrace.text_so_far();
            let tids: Vec<String> = process::threads(pid)
                .iter()
                .map(|thread| thread.tid.to_string())
                .collect();
            tids.iter().any(|tid| text.contains(&format!("{tid} ")))
        });
    }
    rltrace.running.wait_for_out("callee(999, 5999, 2997, 7)");
    let traced = rltrace.end_by(Signal::SIGINT);
    assert_eq!(
        traced.run.out().lines().count(),
        1000,
        "the command did all it had to do"
    );
    for target in &mut targets {
        unharmed(target, "one of two");
    }
    targets.into_iter().for_each(ends_well);
}

#[test]
fn a_target_that_sleeps_in_a_system_call() {
    let mut cat = Running::start(Command::new("cat").stdin(Stdio::piped()));
    let pid = cat.pid();
    wait_for("cat in read", || {
        process::status_field(pid, "State").is_some_and(|state| state.starts_with('S'))
    });
    let rltrace = Rltrace::new().pid(pid).start(NOTHING);
    wait_for("the attachment", || {
        process::held(pid)
            .first()
            .is_some_and(|thread| thread.tracer != 0)
    });
    rltrace.end_by(Signal::SIGINT);
    unharmed(&mut cat, "asleep");
    cat.finish().expect_success();
}

#[test]
fn a_target_that_is_stopped() {
    let mut target = target();
    target.signal(Signal::SIGSTOP);
    wait_for("the stop", || process::held(target.pid()).len() == 5);
    let rltrace = attach(target.pid());
    wait_for("the attachment", || {
        process::held(target.pid())
            .iter()
            .all(|thread| thread.tracer != 0)
    });
    rltrace.end_by(Signal::SIGINT);
    let held = process::held(target.pid());
    assert!(
        held.len() == 5
            && held
                .iter()
                .all(|thread| thread.state == 'T' && thread.tracer == 0),
        "{held:?}"
    );
    target.signal(Signal::SIGCONT);
    wait_for("the continuation", || process::held(target.pid()).is_empty());
    unharmed(&mut target, "stopped and continued");
    ends_well(target);
}

#[test]
fn a_target_that_ends_while_attached() {
    let target = target();
    let pid = target.pid();
    let mut rltrace = attach(pid);
    rltrace.wait_for("callee(");
    ends_well(target);
    let traced = rltrace.finish();
    saw_calls(&traced);
    traced.assert(
        traced.trace.text.contains("+++ exited (status 0) +++"),
        "the end is in the trace",
    );
}

/// One line on standard error, `rltrace: …`, with these words; exit status 1.
#[track_caller]
fn refuses(traced: &Traced, words: &[&str]) {
    traced.expect_code(1);
    let line = traced.run.err();
    traced.assert(
        line.starts_with("rltrace: ") && line.lines().count() == 1,
        "one line on standard error",
    );
    for word in words {
        traced.assert(line.contains(word), &format!("the line names {word:?}"));
    }
}

#[test]
fn no_such_process() {
    let max: String = std::fs::read_to_string("/proc/sys/kernel/pid_max")
        .expect("pid_max")
        .trim()
        .to_owned();
    refuses(&Rltrace::new().pid(&max).run(NOTHING), &[&max, "o such process"]);
}

#[test]
fn pids_that_are_none() {
    for pid in ["0", "-1", "99999999999999"] {
        let traced = Rltrace::new().arg(format!("-p{pid}")).run(NOTHING);
        refuses(&traced, &[pid]);
    }
}

#[test]
fn a_zombie() {
    let mut sleeper = Running::start(Command::new("cat").stdin(Stdio::piped()));
    drop(sleeper.stdin());
    let pid = sleeper.pid();
    wait_for("the end", || {
        process::status_field(pid, "State").is_some_and(|state| state.starts_with('Z'))
    });
    refuses(
        &Rltrace::new().pid(pid).run(NOTHING),
        &[&pid.to_string(), "zombie"],
    );
    sleeper.finish();
}

#[test]
fn a_kernel_thread() {
    let kthreadd = Pid::from_raw(2);
    let name = process::status_field(kthreadd, "Name");
    assert_eq!(
        name.as_deref(),
        Some("kthreadd"),
        "this test needs to see the kernel's threads"
    );
    refuses(&Rltrace::new().pid(kthreadd).run(NOTHING), &["2", "kernel"]);
}

#[test]
fn itself_and_its_ancestors() {
    let binary = rltrace_tests::rltrace_binary();
    let script = format!("exec {} -p $$", binary.display());
    let refused = run(Command::new("sh").args(["-c", &script]));
    assert_eq!(refused.code(), 1, "{}", refused.both());
    assert!(
        refused.err().starts_with("rltrace: ") && refused.err().contains("itself"),
        "{}",
        refused.both()
    );
    let traced = Rltrace::new().pid(Pid::this()).run(NOTHING);
    refuses(&traced, &[&Pid::this().to_string(), "ancestor"]);
}

#[test]
fn a_bad_pid_does_not_keep_the_others() {
    let mut target = target();
    let strace = Running::start(Command::new(tool("strace")).args([
        "-f",
        "-o",
        "/dev/null",
        "-p",
        &target.pid().to_string(),
    ]));
    wait_for("strace", || {
        process::held(target.pid())
            .iter()
            .filter(|thread| thread.tracer != 0)
            .count()
            == 5
    });
    let mut other = self::target();
    let mut rltrace = Rltrace::new()
        .filter("callee")
        .pid(target.pid())
        .pid(other.pid())
        .start(NOTHING);
    rltrace.wait_for("callee(");
    let traced = rltrace.end_by(Signal::SIGINT);
    let pids = [target.pid().to_string(), strace.pid().to_string()];
    traced.assert(
        pids.iter().all(|pid| traced.run.err().contains(pid)),
        "who traces it is named",
    );
    saw_calls(&traced);
    unharmed(&mut other, "beside a bad pid");
    strace.signal(Signal::SIGINT);
    strace.finish();
    unharmed(&mut target, "after strace");
    ends_well(target);
    ends_well(other);
}

/// A file that was deleted or replaced while the program runs: its calls are those of what is mapped.
#[test]
fn a_program_whose_file_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("hot");
    for replacement in [None, Some(Path::new("/bin/true"))] {
        std::fs::copy(hot(), &copy).expect("copied");
        let mut target = Running::start(Command::new(&copy).arg("4").stdin(Stdio::piped()));
        target.wait_for_out("ready");
        std::fs::remove_file(&copy).expect("removed");
        if let Some(other) = replacement {
            std::fs::copy(other, &copy).expect("replaced");
        }
        let mut rltrace = attach(target.pid());
        rltrace.wait_for("callee(");
        saw_calls(&rltrace.end_by(Signal::SIGINT));
        unharmed(&mut target, "file gone");
        ends_well(target);
    }
}
