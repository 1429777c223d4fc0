//! With a process: bare stops, a stop with each part added, stops by ptrace-core, a traced call end to end, attaching.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ptrace_core::{Command, Options, Session, Signal, Stop, Stopped, Tid, Wait};
use rltrace_benches::fixture::Fixtures;
use rltrace_benches::floor::{Part, Stopper};
use rltrace_benches::tools::{Setup, Tool, Workload, has_config_option};
use rltrace_benches::tracer;
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

criterion_group!(benches, parts);
criterion_main!(benches);
