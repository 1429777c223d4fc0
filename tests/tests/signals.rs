//! Signals reach the target unchanged, also those that look like the tracer's own.
//!
//! `fixtures/signals.c` checks itself; here it must say the same under the tracer, with all its calls traced, on
//! x86-64 and on i386.

use std::path::PathBuf;
use std::process::Command;

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, Traced, run};

fn program() -> PathBuf {
    // Without the compiler's own idea of strlen: each call is to be a call.
    Build::program("signals.c").flags(["-O1", "-fno-builtin"]).build()
}

fn program_i386() -> PathBuf {
    tool("/lib/ld-linux.so.2");
    let build = Build::program("signals.c")
        .compiler("i686-linux-gnu-gcc")
        .named("signals32");
    build
        .flags(["-O1", "-fno-builtin", "-Wno-pointer-to-int-cast"])
        .build()
}

/// Runs one part natively and traced, with the same output and end.
#[track_caller]
fn unchanged_in(program: &PathBuf, part: &str) -> Traced {
    let native = run(Command::new(program).arg(part));
    let traced = Rltrace::new().run([program.as_os_str(), part.as_ref()]);
    assert_ne!(native.code(), 99, "{}", native.both());
    traced.assert(
        traced.run.status == native.status,
        &format!("natively {}", native.status),
    );
    traced.assert(traced.run.out() == native.out(), "the output differs");
    traced.assert(traced.run.err() == native.err(), "the standard error differs");
    traced.expect_call("strcmp");
    traced
}

#[track_caller]
fn unchanged(part: &str) -> Traced {
    unchanged_in(&program_i386(), part);
    unchanged_in(&program(), part)
}

#[test]
fn siginfo() {
    let traced = unchanged("siginfo");
    traced.assert(
        traced.trace.signals() == ["SIGUSR1"; 22],
        "each delivery is in the trace",
    );
}

#[test]
fn realtime_queue() {
    let traced = unchanged("queue");
    traced.assert(
        traced.trace.signals().len() == 20,
        "each delivery is in the trace",
    );
}

#[test]
fn blocked_mask() {
    let traced = unchanged("mask");
    traced.assert(traced.trace.signals() == ["SIGUSR2"], "one delivery");
}

#[test]
fn alternate_stack() {
    let traced = unchanged("stack");
    traced.assert(
        traced.trace.signals() == ["SIGUSR1"; 100],
        "each delivery is in the trace",
    );
}

#[test]
fn sigtrap_that_the_program_raises() {
    let traced = unchanged("trap_raised");
    traced.assert(
        traced.trace.signals() == ["SIGTRAP"; 10],
        "each is the program's own",
    );
}

#[test]
fn int3_of_its_own() {
    let traced = unchanged("trap_compiled");
    traced.assert(
        traced.trace.signals() == ["SIGTRAP"; 10],
        "each is the program's own",
    );
}

#[test]
fn int3_without_a_handler() {
    let traced = unchanged("trap_kills");
    assert_eq!(traced.run.signal(), Some(5));
}

#[test]
fn sigtrap_ignored_and_blocked() {
    let traced = unchanged("trap_blocked");
    traced.assert(
        traced.trace.calls_of("getppid").count() == 2000,
        "and no call is lost",
    );
}

#[test]
fn sigsegv_in_a_traced_function() {
    let traced = unchanged("segv");
    traced.assert(
        traced.trace.signals() == ["SIGSEGV"; 20],
        "each fault is in the trace",
    );
    let returned = traced
        .trace
        .calls_of("strlen")
        .filter(|call| call.args.contains("0x10") && call.result().is_some());
    traced.assert(returned.count() == 0, "a call that faulted did not return");
}

#[test]
fn sigsegv_without_a_handler() {
    let traced = unchanged("segv_kills");
    assert_eq!(traced.run.signal(), Some(11));
    traced.assert(
        traced.trace.text.contains("+++ killed by SIGSEGV +++"),
        "the end is in the trace",
    );
}

#[test]
fn a_timer_under_load() {
    let traced = unchanged("timer");
    let fired = traced
        .trace
        .signals()
        .iter()
        .filter(|name| **name == "SIGALRM")
        .count();
    traced.assert(fired >= 50, "the timer's signals are in the trace");
    let measured = traced
        .trace
        .calls_of("strlen")
        .filter(|call| call.result().is_some())
        .count();
    traced.assert(measured >= 20_000, "every call returned");
}

#[test]
fn sigwaitinfo_and_signalfd() {
    unchanged("waited_for");
}

#[test]
fn interrupted_and_restarted_calls() {
    unchanged("interrupted");
}

#[test]
fn a_signal_for_one_thread() {
    unchanged("thread");
}
