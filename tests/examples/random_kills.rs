//! Kills the tracer at random moments of attaching and of leaving, and counts the targets that die of it.
//!
//! `cargo run -p rltrace-tests --example random_kills -- [KILLS]` prints both counts, and how each target ended; with
//! `RLTRACE_ENGINE=fast` of the engine inside the program.
//! ARCHITECTURE.md says which instants remain.

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use rltrace_tests::{Hot, process, wait_for};

/// Whether the target lives a moment after the kill, with no thread held.
fn lives(target: &mut Hot) -> bool {
    let pid = target.pid();
    wait_for("the kernel's release of the tracees", || {
        process::held(pid).is_empty() || !process::alive(pid)
    });
    sleep(Duration::from_millis(20));
    !target.ended()
}

/// How many of `kills` targets die when `kill` ends the tracer.
fn deaths(kills: u32, kill: impl Fn(&Hot, u32)) -> u32 {
    let mut dead = 0;
    let mut at = Hot::start();
    for round in 0..kills {
        kill(&at, round);
        if !lives(&mut at) {
            dead += 1;
            let died = std::mem::replace(&mut at, Hot::start()).finish();
            println!("kill {round}: the target ended by {}", died.status);
        }
    }
    dead
}

fn main() {
    let kills = std::env::args()
        .nth(1)
        .map_or(100, |count| count.parse().expect("a number of kills"));
    let attaching = deaths(kills, |at, round| {
        let tracer = at.attach();
        sleep(Duration::from_micros(u64::from(round % 50) * 200));
        tracer.end_by(Signal::SIGKILL);
    });
    println!("killed while attaching: {attaching} of {kills} targets died");
    let leaving = deaths(kills, |at, round| {
        let mut tracer = at.attach();
        tracer.wait_for("callee(");
        tracer.running.signal(Signal::SIGTERM);
        sleep(Duration::from_micros(u64::from(round % 50) * 100));
        tracer.end_by(Signal::SIGKILL);
    });
    println!("killed while leaving: {leaving} of {kills} targets died");
}
