//! What a call costs the tracer, counted and not timed, and what the hand-off lets the program see of itself.

use std::path::PathBuf;
use std::process::Command;

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, rltrace_binary, run};

/// Calls of the shorter and of the longer run: what a run costs by itself is in both.
const FEW: u32 = 2_000;
const MANY: u32 = 12_000;

fn program(source: &str) -> PathBuf {
    Build::caller(source).flags(["-O1"]).build()
}

/// What `measure` says of many calls more than of few, for each call.
fn for_each_call(measure: impl Fn(u32) -> f64) -> f64 {
    (measure(MANY) - measure(FEW)) / f64::from(MANY - FEW)
}

/// How many system calls `rltrace` makes in a trace of so many calls.
fn system_calls(options: &[&str], calls: u32) -> f64 {
    system_calls_of("loop.c", options, calls)
}

fn system_calls_of(source: &str, options: &[&str], calls: u32) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let table = directory.path().join("table");
    let strace = run(Command::new(tool("strace"))
        .args(["-c", "-U", "calls,name", "-o"])
        .arg(&table)
        .arg(rltrace_binary())
        .args(options)
        .args(["-e", "callee", "-o", "/dev/null"])
        .arg(program(source))
        .arg(calls.to_string()));
    strace.expect_success();
    let table = std::fs::read_to_string(table).expect("strace's table");
    let total = table
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_suffix("total"));
    let total = total.and_then(|count| count.trim().parse().ok());
    total.unwrap_or_else(|| panic!("no total in {table}"))
}

/// Waiting, registers, the return address, the PC, and resuming; no return address at the return: nine for the two
/// stops. What is done now and then by the clock (flushing, a look at the guard) adds a little to each.
#[test]
fn nine_system_calls() {
    let each = for_each_call(|calls| system_calls(&["--no-handoff"], calls));
    assert!((8.5..12.0).contains(&each), "{each} system calls for each call");
}

/// And three for the hand-off of each of the two stops: the affinity is read, narrowed and put back.
#[test]
fn three_more_to_hand_over() {
    let each = for_each_call(|calls| system_calls(&[], calls));
    assert!((8.5..18.0).contains(&each), "{each} system calls for each call");
}

/// One more for a stack of 32 frames, and two lines more for each frame: the stack is read at once, and what its addresses
/// are called is known from the first one. (The output is a megabyte for each few hundred stacks.)
#[test]
fn a_stack_is_one_read() {
    let stack = |options: &[&str]| {
        let few = system_calls_of("deep.c", options, 1_000);
        (system_calls_of("deep.c", options, 3_000) - few) / 2_000.0
    };
    let (plain, with_stacks) = (stack(&["--no-handoff"]), stack(&["--no-handoff", "-w0"]));
    let more = with_stacks - plain;
    // What is done by the clock differs from run to run.
    assert!((0.5..2.0).contains(&more), "{more} system calls for a stack");
}

#[test]
fn no_allocations() {
    let counter = Build::library("counts_allocations.c").build();
    let directory = tempfile::tempdir().expect("a directory");
    let told = directory.path().join("allocations");
    let name = rltrace_binary().file_name().expect("a file's name");
    let each = for_each_call(|calls| {
        run(Command::new(rltrace_binary())
            .env("LD_PRELOAD", &counter)
            .env("COUNTED", name)
            .env("ALLOCATIONS", &told)
            .args(["-e", "callee", "-o", "/dev/null"])
            .arg(program("loop.c"))
            .arg(calls.to_string()))
        .expect_success();
        let count = std::fs::read_to_string(&told).expect("the count");
        count.trim().parse().expect("a number")
    });
    // What is done now and then by the clock allocates: a few in a hundred calls on a slow machine.
    assert!(each < 0.1, "{each} allocations for each call");
}

/// The tracer narrows the affinity of each thread that it hands over, and puts it back before the thread runs.
#[test]
fn the_program_keeps_its_cpus() {
    let program = program("cpus.c");
    let native = run(Command::new(&program).arg("1"));
    native.expect_success();
    let traced = Rltrace::new()
        .filter("callee")
        .run([program.as_os_str(), "20000".as_ref()]);
    traced.expect_code(0);
    traced.assert(traced.run.stdout == native.stdout, &native.both());
}
