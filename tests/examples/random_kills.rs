//! Kills the tracer at random moments of attaching and of leaving, and counts the targets that die of it.
//!
//! `cargo run -p rltrace-tests --example random_kills -- [KILLS]` prints both counts. Some instants remain at which a
//! target dies; ARCHITECTURE.md names them. So this measures, and the tests hold what never fails.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use rltrace_tests::{Background, Build, Rltrace, Running, process, wait_for};

fn target() -> Running {
    let library = Build::library("callee.c").build();
    let program = Build::program("hot.c").flags(["-O1"]).uses(&library).build();
    let mut running = Running::start(Command::new(program).arg("4").stdin(Stdio::piped()));
    running.wait_for_out("ready");
    running
}

fn attach(target: &Running) -> Background {
    let none: [&OsStr; 0] = [];
    Rltrace::new().filter("callee").pid(target.pid()).start(none)
}

/// Whether the target lives a moment after the kill, with no thread held.
fn lives(target: &mut Running) -> bool {
    let pid = target.pid();
    wait_for("the kernel's release of the tracees", || {
        process::held(pid).is_empty() || !process::alive(pid)
    });
    sleep(Duration::from_millis(20));
    !target.ended()
}

/// How many of `kills` targets die when `kill` ends the tracer.
fn deaths(kills: u32, kill: impl Fn(&Running, u32)) -> u32 {
    let mut dead = 0;
    let mut at = target();
    for round in 0..kills {
        kill(&at, round);
        if !lives(&mut at) {
            dead += 1;
            at = target();
        }
    }
    dead
}

fn main() {
    let kills = std::env::args()
        .nth(1)
        .map_or(100, |count| count.parse().expect("a number of kills"));
    let attaching = deaths(kills, |at, round| {
        let tracer = attach(at);
        sleep(Duration::from_micros(u64::from(round % 50) * 200));
        tracer.end_by(Signal::SIGKILL);
    });
    println!("killed while attaching: {attaching} of {kills} targets died");
    let leaving = deaths(kills, |at, round| {
        let mut tracer = attach(at);
        tracer.wait_for("callee(");
        tracer.running.signal(Signal::SIGTERM);
        sleep(Duration::from_micros(u64::from(round % 50) * 100));
        tracer.end_by(Signal::SIGKILL);
    });
    println!("killed while leaving: {leaving} of {kills} targets died");
}
