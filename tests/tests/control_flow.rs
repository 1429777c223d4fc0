//! Frames that are left by other means than a return: the program is unharmed, each call is closed as what happened,
//! and no call is reported as returned that did not return.

use std::path::PathBuf;
use std::process::Command;

use rltrace_tests::{Build, End, Rltrace, Traced, run};

/// The library functions that fixtures call.
const TRACED: &str = "through+by_signal+for_ever";

fn flow() -> PathBuf {
    Build::library("flow.c").flags(["-O1", "-fexceptions"]).build()
}

fn program(source: &str, flags: &[&str]) -> PathBuf {
    Build::program(source)
        .flags(["-O1"])
        .flags(flags)
        .uses(&flow())
        .build()
}

/// Natively, the program succeeds and prints the calls that a trace should have; under `rltrace` it prints the same.
#[track_caller]
fn unharmed(rltrace: &Rltrace, program: &PathBuf) -> (Vec<String>, Traced) {
    let native = run(&mut Command::new(program));
    let expected = native.expect_success().out().lines().map(str::to_owned).collect();
    let traced = rltrace.run([program]);
    traced.expect_code(0);
    traced.assert(traced.run.out() == native.out(), "the program's output changed");
    (expected, traced)
}

fn spelled(traced: &Traced) -> Vec<String> {
    traced
        .trace
        .calls()
        .filter(|call| TRACED.split('+').any(|name| name == call.name))
        .map(rltrace_tests::Call::spelled)
        .collect()
}

#[track_caller]
fn same_lines(traced: &Traced, expected: &[String], seen: &[String]) {
    let differs = expected
        .iter()
        .zip(seen)
        .find(|(expected, seen)| expected != seen);
    traced.assert(differs.is_none(), &format!("expected and seen: {differs:?}"));
    traced.assert(
        expected.len() == seen.len(),
        &format!("{} calls, {} seen", expected.len(), seen.len()),
    );
}

/// The trace has the expected calls in the order of their beginnings.
#[track_caller]
fn in_order(source: &str, flags: &[&str]) {
    let program = program(source, flags);
    let (expected, traced) = unharmed(&Rltrace::new().filter(TRACED), &program);
    same_lines(&traced, &expected, &spelled(&traced));
}

/// With every call of the program traced, nothing is different for it.
#[track_caller]
fn with_every_call_traced(source: &str, flags: &[&str]) {
    let program = program(source, flags);
    let (mut expected, traced) = unharmed(&Rltrace::new(), &program);
    let mut seen = spelled(&traced);
    expected.sort();
    seen.sort();
    same_lines(&traced, &expected, &seen);
}

#[test]
fn exceptions() {
    in_order("exceptions.cc", &[]);
    with_every_call_traced("exceptions.cc", &[]);
}

#[test]
fn exceptions_without_a_plt() {
    in_order("exceptions.cc", &["-fno-plt"]);
}

#[test]
fn longjmp() {
    in_order("jumps.c", &[]);
    with_every_call_traced("jumps.c", &[]);
}

#[test]
fn siglongjmp_out_of_a_handler() {
    in_order("jumps.c", &["-DSIGNAL"]);
    with_every_call_traced("jumps.c", &["-DSIGNAL"]);
}

#[test]
fn longjmp_out_of_three_frames() {
    in_order("nested.c", &[]);
    with_every_call_traced("nested.c", &[]);
}

#[test]
fn setjmp_is_called_once_and_returns_zero_there() {
    let program = program("nested.c", &[]);
    let (_, traced) = unharmed(&Rltrace::new().filter("*setjmp"), &program);
    let calls: Vec<_> = traced.trace.calls_of("_setjmp").collect();
    traced.assert(calls.len() == 1002, &format!("{} calls of 1002", calls.len()));
    traced.assert(
        calls.iter().all(|call| call.result() == Some("0")),
        "the second return is not another call's",
    );
}

#[test]
fn threads_that_end_inside_a_call() {
    let program = program("threads_leave.c", &[]);
    for rltrace in [Rltrace::new().filter(TRACED), Rltrace::new()] {
        let (expected, traced) = unharmed(&rltrace, &program);
        for line in &expected {
            let (call, _) = line.split_once(" left").expect("the fixture's form");
            let seen = traced
                .trace
                .calls()
                .find(|seen| format!("{}({})", seen.name, seen.args) == call);
            let end = seen.map(|seen| &seen.end);
            let left = matches!(end, Some(End::Unwound | End::NoReturn));
            traced.assert(left, &format!("{call} was left, the trace says {end:?}"));
        }
    }
}

/// The text form does not say which of several open calls of one function is resumed, and here it is not the last:
/// so all the beginnings and all the results are compared, not their pairs.
#[test]
fn coroutines() {
    let program = program("coroutines.c", &[]);
    for rltrace in [Rltrace::new().filter(TRACED), Rltrace::new()] {
        let (expected, traced) = unharmed(&rltrace, &program);
        let halves = |lines: &[String]| {
            let pairs = lines
                .iter()
                .map(|line| line.split_once(") ").expect("a call"))
                .map(|(a, b)| (a.to_owned(), b.to_owned()));
            let (mut calls, mut ends): (Vec<String>, Vec<String>) = pairs.unzip();
            calls.sort();
            ends.sort();
            (calls, ends)
        };
        let (expected_calls, expected_ends) = halves(&expected);
        let (calls, ends) = halves(&spelled(&traced));
        same_lines(&traced, &expected_calls, &calls);
        same_lines(&traced, &expected_ends, &ends);
    }
}

#[test]
fn recursion() {
    in_order("recursion.c", &[]);
    with_every_call_traced("recursion.c", &[]);
}

#[test]
fn vfork_followed() {
    let program = program("vforks.c", &[]);
    let (expected, traced) = unharmed(&Rltrace::new().follow().filter(TRACED), &program);
    same_lines(&traced, &expected, &spelled(&traced));
    traced.assert(
        traced.trace.exits().len() == 201,
        "every child's exit is reported",
    );
}

#[test]
fn vfork_not_followed() {
    let program = program("vforks.c", &[]);
    let (expected, traced) = unharmed(&Rltrace::new().filter(TRACED), &program);
    let parents: Vec<String> = expected.into_iter().skip(1).step_by(2).collect();
    same_lines(&traced, &parents, &spelled(&traced));
    unharmed(&Rltrace::new(), &program);
}
