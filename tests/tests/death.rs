//! Death at any moment, of the tracer or of the target.
//!
//! The number of kills is small here; the full run is
//! `RLTRACE_CYCLES=200 cargo test -p rltrace-tests --test death -- kills`.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rltrace_tests::{Background, Build, Rltrace, Running, process, wait_for};

const NOTHING: [&OsStr; 0] = [];

fn hot() -> PathBuf {
    let library = Build::library("callee.c").build();
    Build::program("hot.c").flags(["-O1"]).uses(&library).build()
}

#[track_caller]
fn target() -> Running {
    let mut running = Running::start(Command::new(hot()).arg("4").stdin(Stdio::piped()));
    running.wait_for_out("ready");
    running
}

fn attach(pid: Pid) -> Background {
    Rltrace::new().filter("callee").pid(pid).start(NOTHING)
}

fn cycles(usual: usize) -> usize {
    std::env::var("RLTRACE_CYCLES").map_or(usual, |count| count.parse().expect("RLTRACE_CYCLES is a number"))
}

/// After the tracer's death nobody holds a thread, and each of them still calls and checks.
#[track_caller]
fn lives_on(target: &mut Running, what: &str) {
    let pid = target.pid();
    wait_for("the kernel's release of the tracees", || {
        process::held(pid).is_empty() || !process::alive(pid)
    });
    let before = cpu_time(pid);
    wait_for("the target's next steps", || {
        cpu_time(pid) > before || target.ended()
    });
    assert!(!target.ended(), "{what}: the target died\n{}", target.said());
}

/// The process's user time in clock ticks: `proc_pid_stat(5)`, field 14, `utime`.
fn cpu_time(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name
        .split(' ')
        .nth(11)
        .and_then(|ticks| ticks.parse().ok())
        .unwrap_or(0)
}

#[track_caller]
fn ends_well(target: Running) {
    assert_eq!(target.finish().expect_success().out(), "ready\ndone\n");
}

#[test]
fn kills_of_the_tracer_under_load() {
    let mut target = target();
    for cycle in 0..cycles(20) {
        let mut rltrace = attach(target.pid());
        rltrace.wait_for("callee(");
        for _ in 0..cycle % 20 * 500 {
            std::thread::yield_now();
        }
        let dead = rltrace.end_by(Signal::SIGKILL);
        assert_eq!(dead.run.signal(), Some(9));
        lives_on(&mut target, &format!("kill {cycle}"));
    }
    ends_well(target);
}

/// A later tracer finds the target as if none had been there.
#[test]
fn a_target_whose_tracer_died_can_be_traced_again() {
    let mut target = target();
    for cycle in 0..cycles(5) {
        let mut rltrace = attach(target.pid());
        rltrace.wait_for("callee(");
        rltrace.end_by(Signal::SIGKILL);
        lives_on(&mut target, &format!("kill {cycle}"));
        let mut second = attach(target.pid());
        second.wait_for("callee(");
        let traced = second.end_by(Signal::SIGINT);
        traced.assert(
            traced
                .trace
                .calls_of("callee")
                .any(|call| call.result().is_some()),
            "calls are seen",
        );
        lives_on(&mut target, &format!("second tracer {cycle}"));
    }
    ends_well(target);
}

/// The command that `rltrace` started outlives it.
#[test]
fn a_command_survives_the_kill_of_its_tracer() {
    let hot = hot();
    for _ in 0..cycles(5) {
        let mut rltrace = Rltrace::new()
            .filter("callee")
            .with_input()
            .start([hot.as_os_str(), "4".as_ref()]);
        let input = rltrace.running.stdin();
        rltrace.wait_for("callee(");
        let command = process::children(rltrace.running.pid())[0];
        rltrace.running.signal(Signal::SIGKILL);
        wait_for("the tracer's death", || rltrace.running.ended());
        wait_for("the release of the command", || process::held(command).is_empty());
        let before = cpu_time(command);
        wait_for("the command's next steps", || {
            cpu_time(command) > before || !process::alive(command)
        });
        assert!(
            process::alive(command),
            "the command died\n{}",
            rltrace.running.said()
        );
        drop(input);
        wait_for("the command's own end", || !process::alive(command));
        assert_eq!(rltrace.running.out_so_far(), "ready\ndone\n");
    }
}

/// Unless it is asked to take it along.
#[test]
fn kill_on_exit() {
    let mut rltrace =
        Rltrace::new()
            .arg("--kill-on-exit")
            .filter("read")
            .start(["sh", "-c", "echo up; exec sleep 1000"]);
    rltrace.running.wait_for_out("up");
    let commands = process::children(rltrace.running.pid());
    assert!(!commands.is_empty());
    rltrace.end_by(Signal::SIGKILL);
    wait_for("the command's death", || {
        commands.iter().all(|&pid| !process::alive(pid))
    });
}

#[test]
fn the_target_is_killed_at_any_stop() {
    for cycle in 0..cycles(20) {
        let target = target();
        let mut rltrace = attach(target.pid());
        rltrace.wait_for("callee(");
        for _ in 0..cycle * 200 {
            std::thread::yield_now();
        }
        target.signal(Signal::SIGKILL);
        let traced = rltrace.finish();
        traced.assert(
            traced.trace.text.contains("+++ killed by SIGKILL +++"),
            "the end is in the trace",
        );
        traced.assert(
            !traced.run.err().contains("panicked"),
            "the tracer takes it as it is",
        );
        assert_eq!(target.finish().signal(), Some(9));
    }
}

#[test]
fn a_command_is_killed_from_outside() {
    let mut rltrace = Rltrace::new()
        .filter("callee")
        .with_input()
        .start([hot().as_os_str(), "4".as_ref()]);
    let input = rltrace.running.stdin();
    rltrace.wait_for("callee(");
    kill(process::children(rltrace.running.pid())[0], Signal::SIGKILL).expect("kill");
    let traced = rltrace.finish();
    drop(input);
    assert_eq!(traced.run.signal(), Some(9), "{}", traced.tail());
    traced.assert(
        traced.trace.text.contains("+++ killed by SIGKILL +++"),
        "the end is in the trace",
    );
}

/// strace writes nothing into its target: the same load and the same kill, so that a death here is the harness's.
#[test]
fn strace_as_the_other_witness() {
    let mut target = target();
    let strace = Running::start(Command::new(rltrace_tests::tools::tool("strace")).args([
        "-f",
        "-o",
        "/dev/null",
        "-p",
        &target.pid().to_string(),
    ]));
    wait_for("strace", || {
        process::held(target.pid())
            .iter()
            .all(|thread| thread.tracer != 0)
    });
    strace.signal(Signal::SIGKILL);
    strace.finish();
    lives_on(&mut target, "strace's death");
    ends_well(target);
}
