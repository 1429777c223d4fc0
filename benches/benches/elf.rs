//! From the bytes of an object to its call points.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use elf_plt::Object;
use rltrace_benches::fixture::Fixtures;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;

/// The C library that this program runs on.
fn libc_path() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").expect("proc(5) is mounted");
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]));
    let libc = paths
        .into_iter()
        .find(|path| path.contains("/libc.so") || path.contains("/ld-musl"));
    libc.expect("this program is linked dynamically").into()
}

/// A small program, libc, and a program of 20,000 imports.
fn objects() -> Vec<(&'static str, Vec<u8>)> {
    let dir = tempfile::tempdir().expect("a folder");
    let fixtures = Fixtures::build(dir.path()).expect("a C compiler");
    fixtures.build_imports().expect("a C compiler");
    let read = |path: PathBuf| fs::read(path).expect("it is there");
    vec![
        ("small program", read(fixtures.path("loop"))),
        ("libc", read(libc_path())),
        ("20,000 imports", read(fixtures.path("many"))),
    ]
}

fn resolution(c: &mut Criterion) {
    let mut group = c.benchmark_group("elf");
    for (name, bytes) in objects() {
        group.bench_with_input(BenchmarkId::new("parse", name), &bytes, |b, bytes| {
            b.iter(|| {
                Object::parse(black_box(bytes))
                    .expect("an ELF object")
                    .needed()
                    .len()
            });
        });
        group.bench_with_input(BenchmarkId::new("call points", name), &bytes, |b, bytes| {
            let object = Object::parse(bytes).expect("an ELF object");
            b.iter(|| object.call_points().expect("sound tables").len());
        });
        group.bench_with_input(BenchmarkId::new("functions", name), &bytes, |b, bytes| {
            let object = Object::parse(bytes).expect("an ELF object");
            b.iter(|| object.functions().expect("sound tables").len());
        });
    }
    group.finish();
}

criterion_group!(benches, resolution);
criterion_main!(benches);
