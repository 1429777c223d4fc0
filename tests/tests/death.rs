//! Death at any moment, of the tracer or of the target.
//!
//! The number of kills is small here; the full run is
//! `RLTRACE_CYCLES=200 cargo test -p rltrace-tests --test death -- kills`.

use nix::sys::signal::{Signal, kill};
use rltrace_tests::visits::{Kill, kill_the_target, kill_the_tracer, kill_the_tracer_of_a_command};
use rltrace_tests::{Hot, Machine, Rltrace, cycles, process, wait_for};

#[test]
fn kills_of_the_tracer_under_load() {
    kill_the_tracer(&Rltrace::new(), Hot::start(), Kill::AnyTime, cycles(25));
}

#[test]
fn kills_of_the_tracer_under_load_i386() {
    kill_the_tracer(
        &Rltrace::new(),
        Hot::start_on(Machine::I386),
        Kill::Attached,
        cycles(25),
    );
}

/// The command that `rltrace` started outlives it.
#[test]
fn a_command_survives_the_kill_of_its_tracer() {
    for _ in 0..cycles(5) {
        kill_the_tracer_of_a_command(&Rltrace::new().filter("callee"));
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
    kill_the_target(&Rltrace::new(), Hot::start, cycles(20));
}

#[test]
fn a_command_is_killed_from_outside() {
    let mut rltrace = Rltrace::new()
        .filter("callee")
        .with_input()
        .start(Hot::command(&Hot::program(Machine::X86_64)));
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
    let mut target = Hot::start();
    let strace = target.under_strace();
    strace.signal(Signal::SIGKILL);
    strace.finish();
    target.lives_on("strace's death");
    target.ends_well();
}
