//! With a process: bare stops, a stop with each part added, stops by ptrace-core, a traced call end to end, attaching.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ptrace_core::{Command, Options, Session, Signal, Stop, Stopped, Tid, Wait};
use rltrace_benches::fixture::Fixtures;
use rltrace_benches::floor::{Part, Stopper};
use rltrace_benches::tools::{Setup, Tool, Workload, has_config_option};
use rltrace_benches::tracer::{self, Profile};
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

fn parts(c: &mut Criterion) {
    let mut group = c.benchmark_group("stop");
    let dir = tempfile::tempdir().expect("a folder");
    let mut stopper = Stopper::start(dir.path()).expect("ptrace is allowed");
    for part in Part::ALL {
        group.bench_function(part.name(), |b| {
            b.iter_custom(|stops| {
                let stops = u32::try_from(stops).expect("criterion makes fewer");
                stopper.measure(part, stops).expect("the thread stops") * stops
            });
        });
    }
    group.finish();
}

/// The same by ptrace-core: its session waits and hands over, nothing else is done.
fn session(c: &mut Criterion) {
    let mut group = c.benchmark_group("ptrace-core");
    for hand_off in [false, true] {
        let place = if hand_off {
            "handed over"
        } else {
            "not handed over"
        };
        group.bench_function(BenchmarkId::new("stop", place), |b| {
            b.iter_custom(|stops| bare(stops, hand_off, false));
        });
    }
    group.bench_function("stop, with registers and PC", |b| {
        b.iter_custom(|stops| bare(stops, true, true));
    });
    group.finish();
}

/// The time of `stops` stops of a program of traps.
fn bare(stops: u64, hand_off: bool, registers: bool) -> Duration {
    let dir = tempfile::tempdir().expect("a folder");
    let program = Fixtures::build_stops(dir.path())
        .expect("a C compiler")
        .path("stops");
    let mut session = Session::new(Options::new().kill_on_exit(true));
    session.set_hand_off(hand_off).expect("a CPU");
    let mut stopped = session
        .spawn(&Command::new(program).arg("now"))
        .expect("it starts");
    let wait_for_trap = |stopped: Stopped, session: &mut Session| {
        stopped.cont(None).expect("it lives");
        next_trap(session)
    };
    for _ in 0..100 {
        stopped = wait_for_trap(stopped, &mut session);
    }
    let start = Instant::now();
    for _ in 0..stops {
        if registers {
            let regs = stopped.regs().expect("it lives");
            stopped.set_pc(regs.pc()).expect("it lives");
        }
        stopped = wait_for_trap(stopped, &mut session);
    }
    let spent = start.elapsed();
    stopped.cont(Some(Signal::SIGKILL)).expect("it lives");
    while !matches!(session.wait().expect("a session"), Wait::NoTracees) {}
    spent
}

/// Passes what comes before the first trap.
fn next_trap(session: &mut Session) -> Stopped {
    loop {
        match session.wait().expect("a session") {
            Wait::Stopped(stopped, Stop::SignalDelivery(Signal::SIGTRAP)) => return stopped,
            Wait::Stopped(stopped, _) => drop(stopped.cont(None).expect("it lives")),
            other => panic!("no stop but {other:?}"),
        }
    }
}

/// A program with many threads, which runs until this is dropped.
struct Target(Child);

impl Target {
    fn start(fixtures: &Fixtures, threads: u32) -> Target {
        let mut command = std::process::Command::new(fixtures.path("threads"));
        command
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .expect("a pipe")
            .read_exact(&mut ready)
            .expect("it says that it is ready");
        Target(child)
    }

    fn pid(&self) -> Tid {
        Tid::new(self.0.id().cast_signed())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().expect("it is a child");
        assert!(status.success(), "the target did not live on: {status}");
    }
}

/// Seizing and stopping all threads of a process, and letting them go.
fn attach(c: &mut Criterion) {
    let mut group = c.benchmark_group("attach");
    let dir = tempfile::tempdir().expect("a folder");
    let fixtures = Fixtures::build(dir.path()).expect("a C compiler");
    for threads in [1, 10, 100] {
        let target = Target::start(&fixtures, threads);
        group.bench_function(BenchmarkId::new("attach and stop", threads), |b| {
            b.iter_custom(|visits| (0..visits).map(|_| visit(target.pid(), threads).0).sum());
        });
        group.bench_function(BenchmarkId::new("detach", threads), |b| {
            b.iter_custom(|visits| (0..visits).map(|_| visit(target.pid(), threads).1).sum());
        });
    }
    group.finish();
}

/// How long it took to have all threads stopped, and how long to have all running without a tracer.
fn visit(pid: Tid, threads: u32) -> (Duration, Duration) {
    let mut session = Session::new(Options::new());
    let start = Instant::now();
    session.seize_process(pid).expect("it can be traced");
    let stopped = session.stop_all(pid).expect("a session");
    let attached = start.elapsed();
    assert_eq!(u32::try_from(stopped.len()), Ok(threads));
    let start = Instant::now();
    for (thread, _) in stopped {
        thread.detach(None).expect("it lives");
    }
    (attached, start.elapsed())
}

/// Calls traced by the tool as it is run when nothing is said, the tool's start not counted.
fn traced_call(c: &mut Criterion) {
    let mut group = c.benchmark_group("rltrace");
    let dir = tempfile::tempdir().expect("a folder");
    let (programs, scratch) = (dir.path().join("programs"), dir.path().join("scratch"));
    std::fs::create_dir(&programs).expect("a folder");
    std::fs::create_dir(&scratch).expect("a folder");
    let rltrace = tracer::built(Profile::Ours).expect("cargo");
    let setup = Setup {
        fixtures: Fixtures::build(&programs).expect("a C compiler"),
        rltrace_config: has_config_option(&rltrace, &scratch),
        rltrace,
        scratch,
        probes: String::new(),
    };
    for workload in [
        Workload::Ints,
        Workload::Text,
        Workload::Threads,
        Workload::Summary,
    ] {
        group.bench_function(workload.name(), |b| {
            b.iter_custom(|calls| setup.time(Tool::Rltrace, workload, calls).expect("it traces"));
        });
    }
    group.finish();
}

/// Calls at the end of a stack of some thirty frames, from the thousandth on, without and with that stack shown (`-w 0`): the
/// difference is what a stack costs.
fn stacks(c: &mut Criterion) {
    let mut group = c.benchmark_group("rltrace, thirty frames deep");
    let dir = tempfile::tempdir().expect("a folder");
    let fixtures = Fixtures::build(dir.path()).expect("a C compiler");
    let rltrace = tracer::built(Profile::Ours).expect("cargo");
    let report = fixtures.path("report");
    for (name, options) in [
        ("a call", &["-e", "work2"][..]),
        ("a call and its stack", &["-w0", "-e", "work2"]),
    ] {
        group.bench_function(name, |b| {
            b.iter_custom(|calls| {
                let mut command = std::process::Command::new(&rltrace);
                command.args(options).args(["-o", "/dev/null"]);
                command
                    .arg(fixtures.path("deep"))
                    .arg(&report)
                    .arg(calls.to_string());
                assert!(command.status().expect("it starts").success());
                let text = std::fs::read_to_string(&report).expect("a report");
                Duration::from_nanos(text.trim().parse().expect("nanoseconds"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parts, session, attach, traced_call, stacks);
criterion_main!(benches);
