//! What stays of a tracer that recorded calls inside a program, when it has left or was killed: nothing that harms.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use rltrace_tests::visits::Inside;
use rltrace_tests::{Build, Rltrace};

/// Every call between all objects.
const ALL: &str = "@*";
/// The line that tells of memory that was written over.
const OVERWRITTEN: &str = "its records were overwritten";

fn fast() -> Rltrace {
    Rltrace::new().engine("fast")
}

fn relay() -> PathBuf {
    let build = Build::library("relay.cc").named("librelay1.so");
    build.flags(["-O1", "-DNUMBER=1"]).build()
}

/// What a process has mapped that is executable and of no file, and what it shares with tracers.
fn left_in(pid: nix::unistd::Pid) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its mappings");
    let is_left = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        line.contains("rltrace") || words.len() == 5 && words[1].contains('x')
    };
    maps.lines().filter(is_left).map(str::to_owned).collect()
}

/// Exceptions go through the frames of calls that were recorded, when the tracer is gone, and nothing of it is left.
#[test]
fn exceptions_through_calls_that_a_tracer_has_left() {
    let program = Build::program("throws_later.cc").flags(["-O1"]);
    let program = program.uses(&relay()).build();
    let raw = std::env::temp_dir().join(format!("leaving-{}.raw", std::process::id()));
    let raw = raw.to_str().expect("a name");
    let ways = [
        fast(),
        fast().arg("-c"),
        fast().own_output().arg("--record").arg(raw),
    ];
    for way in ways {
        for rltrace in [way.clone(), way.filter(ALL)] {
            let mut target = Inside::of(&mut Command::new(&program), "relay_1");
            for _ in 0..3 {
                let tracer = target.attach_by(&rltrace);
                target.go_in();
                let traced = tracer.end_by(Signal::SIGINT);
                traced.expect_code(0);
                assert_eq!(left_in(target.pid()), [""; 0], "{}", traced.run.err());
                target.come_out();
            }
            target.ends_well();
        }
    }
    std::fs::remove_file(raw).expect("it was recorded");
}

/// What a tracer that was killed has left in the program's code does not record for the next one, which asks for less.
#[test]
fn a_later_tracer_that_sees_fewer_functions() {
    let mut target = Inside::start(None);
    for ring in ["64K", "1M"] {
        let first = target.attach_by(&fast().filter(ALL).args(["--ring", "4M"]));
        target.go_in();
        let killed = first.end_by(Signal::SIGKILL);
        assert_eq!(killed.run.signal(), Some(9));
        target.come_out();
        let second = target.attach_by(&fast().args(["--ring", ring]));
        for _ in 0..20 {
            target.go_in();
            target.come_out();
        }
        let traced = second.end_by(Signal::SIGINT);
        traced.expect_code(0);
        let told = traced.own_words().0;
        traced.assert(
            !told.iter().any(|line| line.contains(OVERWRITTEN)),
            "no other code records",
        );
        traced.assert(
            traced.trace.calls_of("through").count() == 100,
            "all calls are there",
        );
    }
    target.ends_well();
}

/// What looks like a pointer and leads nowhere ends nobody, when the tracer was killed that would have dealt with that.
#[test]
fn pointers_to_nowhere_after_the_tracer_was_killed() {
    let library = Build::library("takes_text.c").flags(["-O1"]).build();
    let program = Build::program("points_nowhere.c").flags(["-O1"]);
    let program = program.uses(&library).build();
    let mut target = Inside::of(&mut Command::new(program), "takes_bytes");
    for _ in 0..5 {
        let mut tracer = target.attach_by(&fast());
        target.go_in();
        tracer.wait_for("takes_bytes(");
        tracer.end_by(Signal::SIGKILL);
        target.come_out();
    }
    target.ends_well();
}
