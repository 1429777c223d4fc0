//! Forks, execs, daemons, stops: what a process sees of its children and of itself is as without the tracer.
//!
//! `fixtures/processes.c` checks itself; here it must say the same under the tracer, with `-f` and without.

use std::path::PathBuf;
use std::process::Command;

use rltrace_tests::trace::Event;
use rltrace_tests::{Build, Rltrace, Traced, run};

fn program() -> PathBuf {
    Build::caller("processes.c").flags(["-O1"]).build()
}

/// Runs one part natively and under `rltrace`, with the same output and end.
#[track_caller]
fn unchanged(rltrace: &Rltrace, part: &str) -> Traced {
    let program = program();
    let native = run(Command::new(&program).arg(part));
    assert_ne!(native.code(), 99, "{}", native.both());
    let traced = rltrace.run([program.as_os_str(), part.as_ref()]);
    traced.assert(
        traced.run.status == native.status,
        &format!("natively {}", native.status),
    );
    traced.assert(traced.run.out() == native.out(), "the output differs");
    traced.assert(traced.run.err() == native.err(), "the standard error differs");
    traced
}

/// Without `-f`, with every call traced; and with it.
#[track_caller]
fn unchanged_both_ways(part: &str) -> Traced {
    unchanged(&Rltrace::new(), part).expect_call("strcmp");
    unchanged(&Rltrace::new().follow(), part)
}

fn callee(traced: &Traced, i: i64) -> usize {
    let args = format!("{i}, {}, {}, 7", i + 5000, 3 * i);
    let result = (9999 - i).to_string();
    traced
        .trace
        .calls_of("callee")
        .filter(|call| call.args == args && call.result() == Some(&result))
        .count()
}

#[test]
fn a_storm_of_forks_followed() {
    let traced = unchanged(&Rltrace::new().follow().filter("callee"), "storm");
    traced.assert(
        traced.trace.exits().len() == 501,
        &format!("{} exits of 501", traced.trace.exits().len()),
    );
    for i in 0..500 {
        traced.assert(
            callee(&traced, i) == 1,
            &format!("child {i} makes its one call once"),
        );
    }
}

#[test]
fn a_storm_of_forks_not_followed() {
    for rltrace in [Rltrace::new().filter("callee+fork"), Rltrace::new()] {
        let traced = unchanged(&rltrace, "storm");
        traced.assert(
            traced.trace.calls_of("callee").next().is_none(),
            "the children are not traced",
        );
        traced.assert(traced.trace.exits() == [0], "nor are their ends");
    }
}

#[test]
fn generations() {
    let traced = unchanged_both_ways("generations");
    traced.assert(
        traced.trace.exits().len() == 21,
        "each generation's exit is reported",
    );
    for i in 0..20 {
        traced.assert(
            callee(&traced, i) == 2,
            &format!("generation {i}: the parent's call and the child's"),
        );
    }
}

#[test]
fn posix_spawn_system_and_popen() {
    let traced = unchanged_both_ways("spawned");
    traced.assert(callee(&traced, 7) == 11, "ten spawned leaves and one of system");
}

#[test]
fn exec_from_a_thread() {
    for rltrace in [
        Rltrace::new(),
        Rltrace::new().follow(),
        Rltrace::new().filter("callee"),
    ] {
        let traced = unchanged(&rltrace, "exec_from_a_thread");
        traced.assert(callee(&traced, 2) >= 1, "the new program is traced");
        let execs = traced
            .trace
            .events
            .iter()
            .filter(|event| matches!(event, Event::Exec(_)))
            .count();
        traced.assert(execs == 1, "the exec is in the trace, once");
    }
}

#[test]
fn a_daemon_that_forks_twice() {
    let traced = unchanged_both_ways("daemonised");
    traced.assert(callee(&traced, 3) == 1, "the daemon is followed");
    traced.assert(
        traced.trace.exits().len() == 3,
        "and waited for, when its parents have long gone",
    );
}

#[test]
fn a_child_that_is_stopped_and_continued() {
    let traced = unchanged(&Rltrace::new().follow().filter("callee"), "stopped");
    traced.assert(callee(&traced, 4) > 0, "the child is followed");
    traced.assert(
        traced.trace.text.contains("+++ killed by SIGKILL +++"),
        "to its end",
    );
    unchanged(&Rltrace::new(), "stopped");
}

#[test]
fn sigchld_for_each_child() {
    let traced = unchanged_both_ways("sigchld");
    let heard = traced
        .trace
        .signals()
        .iter()
        .filter(|name| **name == "SIGCHLD")
        .count();
    traced.assert(heard == 20, &format!("{heard} SIGCHLD of 20"));
}

#[test]
fn a_program_that_wants_to_be_traced() {
    let traced = unchanged_both_ways("traces_itself");
    traced.assert(callee(&traced, 5) == 1, "it goes on");
    let refused = traced
        .trace
        .calls_of("ptrace")
        .any(|call| call.result() == Some("-1 EPERM (Operation not permitted)"));
    traced.assert(refused, "ptrace says no, as with any other tracer");
}

#[test]
fn a_child_that_its_parent_traces() {
    unchanged(&Rltrace::new(), "traces_its_child");
}

#[test]
fn an_orphaned_process_group() {
    unchanged_both_ways("orphaned");
}

#[test]
fn children_by_clone_that_share_the_memory() {
    let traced = unchanged_both_ways("by_clone");
    for i in 0..20 {
        traced.assert(callee(&traced, i) == 1, &format!("child {i} makes its call once"));
    }
}

#[test]
fn a_leader_that_exits_first() {
    let traced = unchanged_both_ways("leader_exits_first");
    traced.assert(callee(&traced, 99) == 1, "the last thread is traced to the end");
    traced.assert(
        traced.trace.exits() == [4],
        "and the exit is the process's, said once",
    );
}
