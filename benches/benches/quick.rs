//! From records in a ring to lines in a buffer, and to a summary, in one thread: what a recorded call costs when it is shown.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use arch_abi::{Addr, Arch};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fast_ring::{
    Body, Captured, Consumer, End, Fields, Host, Item, Layout, OneProcess, Producer, Region, Shape,
};
use reference_tracer::fast::quick::{Quick, Verdict};
use reference_tracer::fast::wants::{Ask, Stamps, Wants};
use reference_tracer::points::Returns;
use reference_tracer::proto::{Plan, Prototypes};
use reference_tracer::summary::{Correction, OpenCall, Summary};
use reference_tracer::text::{CallName, Moment, Page, TextOptions, TextSink, TimePrefix};
use reference_tracer::value::Limits;
use std::cell::RefCell;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// Fewer than fit into the ring.
const BATCH: u64 = 5_000;

/// The function's name, its words, and the text behind those that are strings.
type Example = (&'static str, [u64; 6], &'static [&'static [u8]]);

const EXAMPLES: [Example; 5] = [
    ("six", [3_000_000, 2, 3, 4, 5, 6], &[]),
    ("malloc", [24, 0, 0, 0, 0, 0], &[]),
    (
        "strcmp",
        [0x5555_5555_aabb, 0x5555_5555_aacc, 0, 0, 0, 0],
        &[b"hello, world", b"hello there"],
    ),
    (
        "memcpy",
        [0x5555_5555_aabb, 0x5555_5555_aacc, 12, 0, 0, 0],
        &[b"hello, world"],
    ),
    // No prototype says what these are: four words, of which two are text.
    (
        "a_function",
        [0x5555_5555_aabb, 12, 0x5555_5555_aacc, u64::MAX, 0, 0],
        &[b"hello, world", b"", b"hello there", b""],
    ),
];

/// What is asked of calls: shown or only counted, timed or not.
fn ask<'a>(prototypes: &'a Prototypes, plan: &'a Plan, lines: bool, timed: bool) -> Ask<'a> {
    Ask {
        types: prototypes.types(),
        plan,
        limits: Limits::default(),
        returns: Returns::Once,
        lines,
        stamps: if timed { Stamps::Both } else { Stamps::None },
        caller: false,
        errno: None,
        fd_paths: false,
        max_record: fast_ring::format::LONGEST_RECORD,
    }
}

/// As many words, or captures, as the fields want.
fn body<'a>(fields: Fields, words: &'a [u64], captures: &'a [Captured<'a>], stamp: u64) -> Body<'a> {
    Body {
        stamp: fields.stamp.then_some(stamp),
        words: &words[..fields.words.into()],
        floats: &[0; 8][..fields.floats.into()],
        captures: &captures[..fields.captures.into()],
        ..Body::default()
    }
}

/// Records calls, each with its return.
fn record<H: Host<AtomicU64>>(producer: &mut Producer<'_, '_, AtomicU64, H>, shape: Shape, example: Example) {
    let (_, words, texts) = example;
    let captures: Vec<_> = texts
        .iter()
        .map(|bytes| Captured {
            bytes,
            end: End::Whole,
        })
        .collect();
    let result = [Captured {
        bytes: b"hello, world",
        end: End::Whole,
    }; 4];
    for number in 0..BATCH {
        let outcome = producer.call(0, &body(*shape.call, &words, &captures, number * 100));
        assert_eq!(outcome, Ok(fast_ring::Outcome::Recorded));
        let ret = shape.ret.expect("these return");
        let outcome = producer.ret(0, &body(*ret, &[0x5555_5555_aabb, 0], &result, number * 100 + 50));
        assert_eq!(outcome, Ok(fast_ring::Outcome::Recorded));
    }
}

/// Hands calls with their returns to `sink`.
fn pairs<H: Host<AtomicU64>>(
    consumer: &mut Consumer<'_>,
    shape: Shape,
    host: &H,
    mut sink: impl FnMut(&fast_ring::Call<'_>, &fast_ring::Call<'_>),
) {
    consumer.drain_calls(&[shape][..], host, |item| match item.expect("no damage") {
        Item::Whole(call, ret) => sink(&call, &ret),
        // Those that lie on the ring's end.
        item => drop(black_box(item)),
    });
}

/// Runs a measurement over full rings.
fn measure(
    c: &mut Criterion,
    name: &str,
    shape: Shape,
    example: Example,
    mut take: impl FnMut(&fast_ring::Call<'_>, &fast_ring::Call<'_>),
) {
    let host = OneProcess::new();
    let layout = Layout::new(1, 1 << 21, 512).expect("a layout");
    let words: Vec<_> = std::iter::repeat_with(AtomicU64::default)
        .take(layout.words())
        .collect();
    let region = Region::create(&words, layout).expect("fresh memory");
    let ring = region.ring(0).expect("it is there");
    let (mut consumer, producer) = (ring.consumer(), RefCell::new(ring.producer(&host)));
    let mut group = c.benchmark_group("quick");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function(name, |b| {
        b.iter_batched(
            || record(&mut producer.borrow_mut(), shape, example),
            |()| pairs(&mut consumer, shape, &host, &mut take),
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn lines(c: &mut Criterion) {
    let mut prototypes = Prototypes::new();
    let six = "long six(long, long, long, long, long, long);";
    prototypes.load(Path::new("six.conf"), six, None, &mut Vec::new());
    for (example, timed) in EXAMPLES
        .into_iter()
        .flat_map(|example| [(example, false), (example, true)])
    {
        let plan = prototypes.plan(Arch::X86_64, &["libc.so.6"], example.0);
        let ask = ask(&prototypes, &plan, true, timed);
        let wants = Wants::of(&ask).expect("it can be recorded");
        let options = TextOptions {
            time: if timed {
                TimePrefix::Epoch
            } else {
                TimePrefix::None
            },
            duration: timed,
            ..TextOptions::default()
        };
        let name = CallName {
            caller: None,
            function: example.0,
            library: None,
        };
        let quick = Quick::of(&ask, &wants, name, &options).expect("it is simple");
        let (mut sink, mut page, mut out) = (TextSink::new(options), Page::default(), Vec::new());
        let how = if timed { "both times" } else { "no times" };
        measure(
            c,
            &format!("line of {}, {how}", example.0),
            wants.shape(),
            example,
            |call, ret| {
                if page.is_full() {
                    page.pour(&mut out);
                }
                if out.len() > 256 << 10 {
                    out.clear();
                }
                let (start, end) = (call.stamp().unwrap_or(0), ret.stamp().unwrap_or(0));
                let at = Moment {
                    tid: 1,
                    time: 1_700_000_000_000_000_000 + start,
                    address: Addr::new(0),
                };
                assert!(quick.whole_line(&mut sink, &mut page, (call, ret), at, end - start));
            },
        );
    }
}

fn counts(c: &mut Criterion) {
    let mut prototypes = Prototypes::new();
    let plan = prototypes.plan(Arch::X86_64, &["libc.so.6"], "write");
    let ask = ask(&prototypes, &plan, false, true);
    let wants = Wants::of(&ask).expect("it can be recorded");
    let verdict = Verdict::of(&ask, &wants).expect("it is simple");
    let mut summary = Summary::new();
    measure(c, "count of a call", wants.shape(), EXAMPLES[1], |call, ret| {
        let took = ret.stamp().unwrap_or(0).saturating_sub(call.stamp().unwrap_or(0));
        let failed = verdict.has_failed(call, ret);
        summary.record(
            call.id(),
            &OpenCall::default().close(took, failed, &Correction::default()),
        );
    });
    black_box(&summary);
}

criterion_group!(benches, lines, counts);
criterion_main!(benches);
