//! Programs that filter their system calls.

use std::process::Stdio;

use super::*;
use nix::sys::signal::Signal;
use rltrace_tests::visits::saw_right_calls;
use rltrace_tests::{NOTHING, Running};

fn refuses() -> PathBuf {
    calling("refuses.c")
}

/// A filter comes into force while calls are recorded: also one that kills for what setting up needs.
#[test]
fn programs_that_restrict_themselves() {
    restricted(&["memory", "memfd", "prctl", "files"], &["errno", "kill"]);
    restricted(&["futex", "everything"], &["errno"]);
}

/// A thread whose ring is full waits by futex(2).
#[test]
#[ignore = "a limit of the engine: a program that is killed for futex(2) is killed when its ring is full"]
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
    for what in ["memory", "memfd", "prctl", "futex", "files"] {
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
