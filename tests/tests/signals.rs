//! Signals reach the target unchanged, also those that look like the tracer's own.
//!
//! `fixtures/signals.c` checks itself; here it must say the same under the tracer, with all its calls traced, on
//! x86-64 and on i386.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use rltrace_tests::tools::tool;
use rltrace_tests::visits::spread;
use rltrace_tests::{Build, Rltrace, Traced, cycles, process, run, wait_for};

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

/// With a fork, an exec or a vfork of a program that is not followed.
#[test]
fn sigtrap_sent_while_it_is_blocked() {
    let traced = unchanged("trap_sent");
    let traps = traced
        .trace
        .signals()
        .iter()
        .filter(|name| **name == "SIGTRAP")
        .count();
    traced.assert(traps == 20, &format!("each delivery, once: {traps} of 20"));
    unchanged("trap_elsewhere");
}

#[test]
fn sigtrap_blocked_by_a_handlers_mask() {
    unchanged("trap_in_handler");
}

#[test]
fn sigtrap_ignored_and_blocked_across_exec() {
    unchanged("trap_inherits");
    unchanged("trap_handed_down");
}

/// What the program has set is in force when the tracer has left.
#[test]
fn sigtrap_ignored_and_blocked_after_leaving() {
    let trap = 1_u64 << (5 - 1);
    for program in [program(), program_i386()] {
        for options in [&[][..], &["--kill-on-exit"]] {
            let mut rltrace = Rltrace::new().with_input();
            for option in options {
                rltrace = rltrace.arg(option);
            }
            let mut rltrace = rltrace.start([program.as_os_str(), "trap_left".as_ref()]);
            let input = rltrace.running.stdin();
            rltrace.running.wait_for_out("ready");
            let pid = process::children(rltrace.running.pid())[0];
            let bits = |name| {
                let set = process::status_field(pid, name).expect("it lives");
                u64::from_str_radix(&set, 16).expect("a mask") & trap
            };
            assert_eq!((bits("SigBlk"), bits("SigIgn")), (0, 0), "not while it is traced");
            rltrace.running.signal(Signal::SIGINT);
            wait_for("the release", || process::held(pid).is_empty());
            assert_eq!((bits("SigBlk"), bits("SigIgn")), (trap, trap), "{options:?}");
            assert_eq!(bits("SigCgt"), 0, "no handler is left");
            drop(input);
            wait_for("the program's own end", || !process::alive(pid));
            assert_eq!(rltrace.finish().run.out(), "ready\ntrap_left: as it should be\n");
        }
    }
}

/// While one program executes the next all the time.
#[test]
fn sigtrap_kept_while_leaving() {
    for program in [program(), program_i386()] {
        for cycle in 0..cycles(20) {
            let mut rltrace = Rltrace::new().filter("getppid").with_input();
            rltrace = rltrace.ends_of_trace();
            let mut rltrace = rltrace.start([program.as_os_str(), "trap_kept".as_ref()]);
            let input = rltrace.running.stdin();
            rltrace.running.wait_for_out("ready");
            let pid = process::children(rltrace.running.pid())[0];
            spread(cycle, 20, 300);
            rltrace.running.signal(Signal::SIGINT);
            wait_for("the release", || process::held(pid).is_empty());
            drop(input);
            wait_for("the program's own end", || !process::alive(pid));
            let said = rltrace.finish().run.out();
            assert_eq!(said, "ready\ntrap_kept: as it should be\n", "cycle {cycle}");
        }
    }
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
