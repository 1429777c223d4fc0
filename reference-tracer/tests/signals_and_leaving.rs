//! The signal thread and [`exit_like`], each in a process of its own: this program starts itself again in the role of the tracer.
//! It has no harness, since libtest's own threads would take the signals.

use nix::sys::signal::{Signal as Name, kill};
use nix::unistd::Pid;
use ptrace_core::{ExitStatus, Signal, SignalState};
use reference_tracer::leave::exit_like;
use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

const ROLE: &str = "RLTRACE_TEST_ROLE";

type Test = (&'static str, fn());

const TESTS: [Test; 6] = [
    ("exit statuses are handed on", exit_statuses_are_handed_on),
    (
        "deaths by signal are handed on, without a core",
        deaths_are_handed_on,
    ),
    (
        "a signal that does not end a process becomes a status",
        a_harmless_signal_becomes_a_status,
    ),
    (
        "every signal is one call, the second as the first",
        every_signal_is_one_call,
    ),
    ("what was ignored stays ignored", what_was_ignored_stays_ignored),
    (
        "what the command is to start with is what was inherited",
        the_inherited_state_is_told,
    ),
];

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        return play(&role);
    }
    for (name, test) in TESTS {
        println!("test {name} ...");
        test();
    }
    println!("test result: ok. {} passed; 0 failed", TESTS.len());
}

/// What the child does: `exit N`, `die N`, `wait` or `inherited`.
fn play(role: &str) {
    let (verb, number) = role.split_once(' ').unwrap_or((role, "0"));
    match verb {
        "exit" => exit_like(ExitStatus::Exited(number.parse().unwrap())),
        "die" => exit_like(ExitStatus::Signaled {
            signal: Signal::new(number.parse().unwrap()),
            core_dumped: true,
        }),
        "wait" => {
            reference_tracer::signals::start(|signal| println!("{signal}")).unwrap();
            println!("ready");
            // Until the parent closes it: a read that a signal would interrupt, were it not blocked.
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        }
        "inherited" => {
            let before = SignalState::current();
            let told = reference_tracer::signals::start(|_| {}).unwrap();
            println!("{}", told == before.clone().ignore(Signal::SIGPIPE, false));
            println!("{}", told == before.ignore(Signal::SIGPIPE, true));
        }
        other => panic!("no role {other}"),
    }
}

/// This program in a role, started by a shell that runs `before` first.
fn child(role: &str, before: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(format!("{before}\nexec \"$0\""))
        .arg(std::env::current_exe().unwrap());
    shell.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
    shell
}

fn exit_statuses_are_handed_on() {
    for status in [0, 1, 7, 127, 255] {
        assert_eq!(
            child(&format!("exit {status}"), "").status().unwrap().code(),
            Some(status)
        );
    }
}

fn deaths_are_handed_on() {
    let dir = tempfile::tempdir().unwrap();
    // SIGRTMIN as the kernel counts is 32; the C library keeps 32 and 33 for itself.
    for signal in [1, 2, 3, 4, 6, 9, 11, 13, 15, 34, 64] {
        // Also where it was ignored and a core is asked for.
        for before in [
            "ulimit -c unlimited",
            "trap '' HUP INT QUIT PIPE TERM; ulimit -c unlimited",
        ] {
            let status = child(&format!("die {signal}"), before)
                .current_dir(dir.path())
                .status()
                .unwrap();
            assert_eq!(status.signal(), Some(signal), "{status}");
            assert!(!status.core_dumped(), "{status}");
        }
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "a core file was left"
    );
}

fn a_harmless_signal_becomes_a_status() {
    for signal in [17, 18, 28] {
        assert_eq!(
            child(&format!("die {signal}"), "").status().unwrap().code(),
            Some(128 + signal)
        );
    }
}

fn waiting(before: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = child("wait", before).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    (child, lines)
}

fn send(child: &Child, signal: Name) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

fn every_signal_is_one_call() {
    let (mut child, mut lines) = waiting("");
    for signal in [
        Name::SIGINT,
        Name::SIGINT,
        Name::SIGTERM,
        Name::SIGHUP,
        Name::SIGQUIT,
        Name::SIGINT,
    ] {
        send(&child, signal);
        assert_eq!(lines.next().unwrap().unwrap(), signal.as_str());
    }
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(lines.next().is_none());
}

fn what_was_ignored_stays_ignored() {
    let (mut child, mut lines) = waiting("trap '' HUP INT");
    // In this order: were SIGHUP or SIGINT waited for, theirs would be the first line, lower numbers being taken first.
    for signal in [Name::SIGHUP, Name::SIGINT, Name::SIGTERM] {
        send(&child, signal);
    }
    assert_eq!(lines.next().unwrap().unwrap(), "SIGTERM");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(lines.next().is_none());
}

fn the_inherited_state_is_told() {
    for (before, expected) in [
        ("", "true\nfalse\n"),
        ("trap '' PIPE", "false\ntrue\n"),
        ("trap '' HUP", "true\nfalse\n"),
    ] {
        let output = child("inherited", before).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{before}");
    }
}
