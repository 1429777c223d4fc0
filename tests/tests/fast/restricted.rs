//! Programs that filter their system calls.

use std::process::Stdio;

use super::*;
use nix::sys::signal::Signal;
use rltrace_tests::visits::saw_right_calls;
use rltrace_tests::{NOTHING, Running, wait_for};

fn refuses() -> PathBuf {
    calling("refuses.c")
}

/// A filter comes into force while calls are recorded: also one that kills for what setting up needs.
#[test]
fn programs_that_restrict_themselves() {
    restricted(&["memory", "memfd", "prctl", "files"], &["errno", "kill"]);
    restricted(&["futex", "everything"], &["errno"]);
}

/// A thread whose ring is full waits without a system call.
#[test]
fn programs_that_may_not_wait() {
    restricted(&["futex", "everything", "strict"], &["kill"]);
}

#[track_caller]
fn restricted(what: &[&str], how: &[&str]) {
    for what in what {
        for how in how {
            for ring in ["64K", "1M"] {
                let rltrace = Rltrace::new().filter("callee").arg("--ring").arg(ring);
                let traced = recorded(&rltrace, words(refuses(), &[what, how]));
                let calls = traced.trace.calls_of("callee").count();
                traced.assert(calls == 30_010, &format!("{what} {how}: {calls} calls of 30,010"));
            }
        }
    }
}

/// What runs under such a filter from its start on, or when the tracer comes.
#[test]
fn restricted_programs() {
    let thousand = calling("thousand.c");
    for what in ["memfd", "futex"] {
        for how in ["errno", "kill"] {
            let mut command = words(refuses(), &[what, how]);
            command.push(thousand.clone().into());
            let traced = recorded(&Rltrace::new().filter("callee"), &command);
            let calls = traced.trace.calls_of("callee").count();
            traced.assert(calls == 1010, &format!("{what} {how}: {calls} calls of 1010"));
        }
    }
    for what in ["memory", "memfd", "prctl", "futex", "files", "everything"] {
        for how in ["errno", "kill"] {
            let mut command = Command::new(refuses());
            let mut target = Running::start(command.args([what, how, "wait"]).stdin(Stdio::piped()));
            target.wait_for_out("ready");
            let mut rltrace = fast("callee").ends_of_trace().pid(target.pid()).start(NOTHING);
            rltrace.wait_for("callee(");
            let traced = rltrace.end_by(Signal::SIGINT);
            saw_right_calls(&traced);
            assert!(!target.ended(), "{what} {how}: {}", target.said());
            assert_eq!(target.finish().expect_success().out(), "ready\ndone\n");
        }
    }
}

/// Restricts itself while it is traced, whose rings are full then, and is left.
fn restricts_itself_and_is_left(engine: &str, on_full: &str, what: &str, how: &str) {
    let mut command = Command::new(refuses());
    let mut target = Running::start(command.args([what, how, "later"]).stdin(Stdio::piped()));
    let mut input = target.stdin().expect("a pipe");
    let mut say = |byte: &[u8]| std::io::Write::write_all(&mut input, byte).expect("it reads");
    target.wait_for_out("ready");
    let rltrace = Rltrace::new().engine(engine).filter("callee").ends_of_trace();
    let rltrace = rltrace.args(["--ring", "64K", "--on-full", on_full, "-D", "debug"]);
    let mut rltrace = rltrace.pid(target.pid()).start(NOTHING);
    rltrace.wait_for("callee(");
    say(b"1");
    target.wait_for_out("restricted");
    if how == "quietly" && engine == "fast" {
        wait_for("the filter is seen", || {
            rltrace.running.err_so_far().contains("under a seccomp filter")
        });
    }
    say(b"2");
    target.wait_for_out("called");
    let traced = rltrace.end_by(Signal::SIGTERM);
    saw_right_calls(&traced);
    let who = format!("{engine} {on_full} {what} {how}");
    assert!(!target.ended(), "{who}: {}\n{}", target.said(), traced.tail());
    drop(input);
    let run = target.finish();
    assert_eq!(
        run.expect_success().out(),
        "ready\nrestricted\ncalled\ndone\n",
        "{who}"
    );
}

#[test]
fn programs_that_restrict_themselves_are_left() {
    for what in ["futex", "everything"] {
        for on_full in ["wait", "drop"] {
            restricts_itself_and_is_left("fast", on_full, what, "kill");
        }
        restricts_itself_and_is_left("trap", "wait", what, "kill");
        restricts_itself_and_is_left("fast", "wait", what, "errno");
    }
}

/// A filter that was not seen to come is found.
#[test]
fn programs_that_restrict_themselves_quietly() {
    restricts_itself_and_is_left("fast", "wait", "everything", "quietly");
    restricts_itself_and_is_left("trap", "wait", "everything", "quietly");
}
