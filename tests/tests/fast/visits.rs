//! The tracer comes, goes, stops or dies.

use super::*;
use nix::sys::signal::Signal;
use rltrace_tests::visits::{
    Kill, attach_and_leave, kill_the_target, kill_the_tracer, kill_the_tracer_of_a_command,
    leave_at_any_moment, saw_right_calls,
};
use rltrace_tests::{Hot, Machine, process, runs_on, wait_for};

fn recording() -> Rltrace {
    Rltrace::new().engine("fast")
}

/// By a signal, and by a limit; what an earlier tracer left behind is no hindrance.
#[test]
fn cycles_of_attaching_and_leaving() {
    attach_and_leave(&recording(), Hot::start(), cycles(25));
    let limited = recording().arg("--limit").arg("3000");
    let mut target = Hot::start();
    for cycle in 0..cycles(25) {
        saw_right_calls(&target.attach_by(&limited).finish());
        target.unharmed(&format!("cycle {cycle}"));
    }
    target.ends_well();
}

#[test]
fn leaving_at_any_moment() {
    leave_at_any_moment(&recording(), Hot::start(), cycles(40));
}

/// Every call makes recording code look at memory that is not there: the fault, which may be under way when the tracer goes, is not the program's.
#[test]
fn leaving_while_recording_code_faults() {
    let prototypes = tempfile::tempdir().expect("a folder");
    let file = prototypes.path().join("bad.conf");
    // Its second argument is 5000 to 5999.
    std::fs::write(&file, "long callee(long, string, long, long);\n").expect("a file");
    let mut target = Hot::start();
    for cycle in 0..cycles(25) {
        let mut rltrace = target.attach_by(&recording().arg("-F").arg(&file));
        rltrace.wait_for("callee(");
        let traced = rltrace.end_by(Signal::SIGINT);
        target.unharmed(&format!("cycle {cycle}: {}", traced.run.err()));
    }
    target.ends_well();
}

#[test]
fn engines_take_turns() {
    let mut target = Hot::start();
    for cycle in 0..cycles(12) {
        for engine in ["trap", "fast", "auto"] {
            let mut rltrace = target.attach_by(&Rltrace::new().engine(engine));
            rltrace.wait_for("callee(");
            saw_right_calls(&rltrace.end_by(Signal::SIGINT));
            target.unharmed(&format!("cycle {cycle}, {engine}"));
        }
    }
    target.ends_well();
}

/// The tracer is killed while calls are recorded, and another comes.
#[test]
fn kills_of_the_tracer() {
    kill_the_tracer(&recording(), Hot::start(), Kill::AnyTime, cycles(25));
}

/// A full ring and nobody to empty it: the program waits no longer than it must.
#[test]
fn a_command_survives_the_kill_of_its_tracer() {
    for ring in ["64K", "1M"] {
        kill_the_tracer_of_a_command(&fast("callee").arg("--ring").arg(ring));
    }
}

/// The tracer is stopped, not dead: the program waits for it, and goes on when it does.
#[test]
fn a_tracer_that_is_stopped() {
    let program = calling("many_threads.c");
    let mut rltrace = fast("callee").start(words(&program, &["lasting", "4", "100000"]));
    rltrace.wait_for("callee(");
    rltrace.running.signal(Signal::SIGSTOP);
    let pid = rltrace.running.pid();
    wait_for("the stop", || {
        process::status_field(pid, "State").is_some_and(|state| state.starts_with('T'))
    });
    // Not for luck: whatever the threads do by now is to be right in the end.
    std::thread::sleep(std::time::Duration::from_millis(200));
    rltrace.running.signal(Signal::SIGCONT);
    let traced = rltrace.finish();
    traced.expect_code(0);
    traced.assert(traced.run.out() == "done\n", "the program came to its end");
    let calls = traced.trace.calls_of("callee").count();
    let lost = traced.run.err().contains("lost");
    traced.assert(
        calls == 400_000 || lost,
        &format!("{calls} calls of 400,000, and nothing said"),
    );
}

#[test]
fn the_target_is_killed() {
    kill_the_target(&recording(), Hot::start, cycles(15));
}

/// Ctrl-C and its like come while a command is recorded: it goes on without the tracer.
#[test]
fn interrupts() {
    let program = Hot::program(Machine::X86_64);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        let rltrace = fast("callee").ends_of_trace().with_input();
        let mut rltrace = rltrace.start(Hot::command(&program));
        let input = rltrace.running.stdin();
        rltrace.wait_for("callee(");
        let command = process::children(rltrace.running.pid())[0];
        rltrace.running.signal(signal);
        wait_for("the release of the command", || process::held(command).is_empty());
        runs_on(command);
        assert!(process::alive(command), "{signal}: {}", rltrace.running.said());
        drop(input);
        wait_for("the command's own end", || !process::alive(command));
        let traced = rltrace.finish();
        traced.assert(traced.run.out() == "ready\ndone\n", "the command came to its end");
        saw_right_calls(&traced);
    }
}
