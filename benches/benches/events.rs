//! From registers to a line of the output: filters, prototypes, where arguments lie, record to text, summaries.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use arch_abi::{Addr, Arch, CType, Float, Signature, layout};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use reference_tracer::filter::{Filter, FilterSet, LibraryNames};
use reference_tracer::memory::{Layered, NoMemory, Snapshot};
use reference_tracer::proto::{Plan, Prototypes};
use reference_tracer::text::{CallName, Moment, TextOptions, TextSink};
use reference_tracer::value::{
    Decoder, Limits, NoDescription, RawCall, RawReturn, Scratch, Shown, wants_at_entry,
};
use std::hint::black_box;
use std::path::Path;

fn filters(c: &mut Criterion) {
    let mut group = c.benchmark_group("filter");
    let symbols: Vec<String> = (0..20_000).map(|i| format!("f{i:05}")).collect();
    for text in ["f10000", "f1000*", "@libmany.so*", "*-f1*+f19999", "/^f.*0$/"] {
        let filters = FilterSet::new(vec![Filter::parse(text).expect("a filter")]);
        let library = LibraryNames::library(Some("libmany.so.1"), "/usr/lib/libmany.so.1");
        group.bench_function(BenchmarkId::new("20,000 symbols of a library", text), |b| {
            b.iter(|| {
                let here = filters.in_library(black_box(library));
                here.map_or(0, |here| {
                    symbols.iter().filter(|symbol| here.selects(symbol, &[])).count()
                })
            });
        });
    }
    group.finish();
}

fn signatures() -> [(&'static str, Signature); 3] {
    let int = CType::Int(4);
    let double = CType::Float(Float::Double);
    let pair = CType::Struct(vec![double.clone(), int.clone()]);
    [
        (
            "two integers",
            Signature {
                ret: int.clone(),
                params: vec![int.clone(), int.clone()],
            },
        ),
        (
            "six of three kinds",
            Signature {
                ret: double.clone(),
                params: vec![
                    int.clone(),
                    double,
                    CType::Pointer,
                    int.clone(),
                    int.clone(),
                    CType::Pointer,
                ],
            },
        ),
        (
            "a structure by value",
            Signature {
                ret: pair.clone(),
                params: vec![pair, int],
            },
        ),
    ]
}

fn classification(c: &mut Criterion) {
    let mut group = c.benchmark_group("classification");
    for arch in [Arch::X86_64, Arch::I386] {
        for (name, signature) in signatures() {
            group.bench_function(BenchmarkId::new(format!("{arch:?}"), name), |b| {
                b.iter(|| layout(arch.abi(), black_box(&signature)));
            });
        }
    }
    group.finish();
}

fn prototypes(c: &mut Criterion) {
    let mut group = c.benchmark_group("prototypes");
    // The search alone, as it is done for a call point at its first call: the bar is a microsecond.
    for (soname, name) in [
        ("libc.so.6", "strlen"),
        ("libc.so.6", "_IO_fclose"),
        ("libcrypto.so.3", "EVP_DigestUpdate"),
        ("libpthread.so.0", "pthread_mutex_lock"),
        ("libc.so.6", "no_such_function"),
        ("libnone.so.1", "no_such_function"),
    ] {
        group.bench_function(BenchmarkId::new("search", format!("{soname} {name}")), |b| {
            b.iter(|| Prototypes::embedded_line(black_box(soname), black_box(name)));
        });
    }
    group.bench_function("none", |b| b.iter(Prototypes::new));
    group.bench_function("the first of libc", |b| {
        b.iter(|| {
            Prototypes::new()
                .plan(Arch::X86_64, &["libc.so.6"], black_box("strlen"))
                .known
        });
    });
    let mut prototypes = Prototypes::new();
    for name in ["strlen", "snprintf", "no_such_function"] {
        group.bench_function(BenchmarkId::new("another", name), |b| {
            b.iter(|| {
                prototypes
                    .plan(Arch::X86_64, &["libc.so.6"], black_box(name))
                    .known
            });
        });
    }
    group.finish();
}

const TEXT: Addr = Addr::new(0x1000);

/// The prototypes of the benchmark's own functions.
const CONF: &str = "int work2(int,int);\nint work_text(string);\ndouble work_double(double,float);\n";

/// Everything that makes a line, as a tracer keeps it.
struct Line {
    prototypes: Prototypes,
    plan: Plan,
    call: RawCall,
    ret: RawReturn,
    snapshot: Snapshot,
    scratch: Scratch,
    sink: TextSink,
    args: Vec<u8>,
    result: Vec<u8>,
    out: Vec<u8>,
}

impl Line {
    fn of(name: &str) -> Line {
        let mut prototypes = Prototypes::new();
        let mut problems = Vec::new();
        prototypes.load(Path::new("work.conf"), CONF, None, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let plan = prototypes.plan(Arch::X86_64, &["libwork.so"], name);
        let call = RawCall {
            tid: 4242,
            words: [TEXT.get(), 7, 0, 0, 0, 0, 0, 0],
            word_count: 6,
            ..RawCall::default()
        };
        let ret = RawReturn {
            words: [42, 0],
            ..RawReturn::default()
        };
        Line {
            prototypes,
            plan,
            call,
            ret,
            snapshot: Snapshot::default(),
            scratch: Scratch::default(),
            sink: TextSink::new(TextOptions::default()),
            args: Vec::new(),
            result: Vec::new(),
            out: Vec::new(),
        }
    }

    /// What is done for one call, from what was captured to its line.
    fn write(&mut self) -> usize {
        let types = self.prototypes.types();
        wants_at_entry(
            types,
            &self.plan,
            &self.call,
            Limits::default(),
            &mut self.snapshot,
        );
        self.snapshot.buffer().fill(b'x');
        let filled = self.snapshot.buffer().len();
        self.snapshot.filled(filled);
        let memory = Layered {
            snapshot: &self.snapshot,
            memory: &NoMemory,
        };
        let decoder = Decoder {
            types,
            limits: Limits::default(),
            memory: &memory,
            describe: &NoDescription,
        };
        let at = Moment {
            tid: self.call.tid,
            time: 0,
            address: Addr::new(0x401136),
        };
        let name = CallName {
            caller: Some("loop"),
            function: "work2",
            library: None,
        };
        for buffer in [&mut self.args, &mut self.result, &mut self.out] {
            buffer.clear();
        }
        let mut shown = Shown::default();
        decoder.entry(
            &self.plan,
            &self.call,
            &mut shown,
            &mut self.scratch,
            &mut self.args,
        );
        self.sink.entry(&mut self.out, at, name, &self.args);
        self.args.clear();
        let (args, result) = (&mut self.args, &mut self.result);
        decoder.exit(
            &self.plan,
            &self.call,
            &self.ret,
            &shown,
            &mut self.scratch,
            args,
            result,
        );
        self.sink.exit(&mut self.out, at, name, args, result, 1_000);
        self.out.len()
    }
}

fn lines(c: &mut Criterion) {
    let mut group = c.benchmark_group("record to text");
    for name in ["work2", "work_text", "unknown"] {
        let mut line = Line::of(name);
        assert!(line.write() > 0, "a line was written");
        group.bench_function(name, |b| b.iter(|| line.write()));
    }
    group.finish();
}

criterion_group!(benches, filters, classification, prototypes, lines);
criterion_main!(benches);
