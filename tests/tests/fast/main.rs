//! Calls recorded inside the program (`--engine fast`): every call is there, whatever the program does; the tracer comes and goes; and
//! what cannot be recorded is met by traps and said.
//!
//! Bounds are small here; the long run of an interrupted loop is
//! `RLTRACE_CALLS=100000000 cargo test --release -p rltrace-tests --test fast -- interrupted_for_long --ignored`.

mod interrupted;
mod restricted;
mod visits;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use rltrace_tests::engines::{as_natively, recorded, same_text};
use rltrace_tests::tools::tool;
use rltrace_tests::visits::Inside;
use rltrace_tests::{Build, Rltrace, Traced, cycles, rltrace_binary, run, words};

fn calling(source: &str) -> PathBuf {
    Build::caller(source).flags(["-O1"]).build()
}

fn fast(filter: &str) -> Rltrace {
    Rltrace::new().engine("fast").filter(filter)
}

/// That the calls of a run were recorded inside the program, and how many call points: `-D debug` tells of each.
fn recorded_points(traced: &Traced) -> usize {
    traced.run.err().matches("recorded inside the program").count()
}

#[test]
fn each_call_point_is_told_with_its_engine() {
    let traced = fast("callee+setlocale+printf+setjmp@MAIN")
        .arg("-D")
        .arg("debug")
        .run([calling("thousand.c")]);
    traced.expect_code(0);
    assert!(recorded_points(&traced) >= 1, "{}", traced.tail());
    let jumps = Build::program("nested.c").flags(["-O1"]);
    let jumps = jumps.uses(&Build::library("flow.c").build()).build();
    let traced = fast("*setjmp+through").arg("-D").arg("debug").run([jumps]);
    traced.expect_code(0);
    assert_eq!(recorded_points(&traced), 1, "{}", traced.tail());
    let told = traced.run.err();
    let trapped = told.lines().find(|line| line.contains("met by a trap"));
    assert!(
        trapped.is_some_and(|line| line.contains("setjmp") && line.contains("more than once")),
        "{told}"
    );
}

/// What lies two steps away is captured: arguments that come by a `va_list`, texts in structures, in arrays and behind what a
/// function fills. By traps it is the same text.
#[test]
fn what_lies_behind_pointers_is_recorded() {
    let program = Build::program("behind.c").flags(["-O1"]).build();
    let engines = same_text(&Rltrace::new().env("LC_ALL", "C"), [&program]);
    for line in [
        r#"strtol("42 and more", " and more", 10)"#,
        r#"vsnprintf("42 and more\n", 200, "%ld%s\n", 42, " and more") = 12"#,
        r#"vasprintf("a-b-7-c-d\n", "%s-%s-%d-%s-%s\n", "a", "b", 7, "c", "d") = 10"#,
        r#"strsep("split,these,words" => "these,words", ",") = "split""#,
        r#"strftime("2000-01-01", 32, "%Y-%m-%d", { 0, 0, 0, 1, 0, 100, 0, 0, 0, 0, "UTC" }) = 10"#,
        r#"execv("/bin/echo", [ "echo", "the", "end" ] <no return ...>"#,
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let there = engines
            .fast
            .trace
            .text
            .lines()
            .any(|seen| squeezed(seen).starts_with(line));
        engines.fast.assert(there, line);
    }
    let told = Rltrace::new()
        .engine("fast")
        .arg("-D")
        .arg("debug")
        .run([&program]);
    let said = told.run.err();
    let mut trapped = said.lines().filter(|line| line.contains("met by a trap"));
    let left = trapped.find(|line| !line.contains("does not return"));
    told.assert(left.is_none(), &format!("met by a trap: {left:?}"));
}

#[test]
fn auto_is_silent_and_the_same() {
    let program = calling("thousand.c");
    let native = run(&mut Command::new(&program));
    let expected: Vec<String> = native.out().lines().map(str::to_owned).collect();
    for engine in ["auto", "trap", "fast"] {
        let traced = Rltrace::new().engine(engine).filter("callee").run([&program]);
        as_natively(&traced, &native);
        traced.assert(traced.run.err().is_empty(), "nothing is said");
        traced.assert(traced.trace.spelled("callee") == expected, "each call");
    }
}

#[test]
fn wrong_values() {
    for (option, value) in [
        ("--engine", "quick"),
        ("--on-full", "burst"),
        ("--ring", "0"),
        ("--ring", "3000"),
        ("--ring", "1T"),
        ("--ring", "-1"),
    ] {
        let traced = Rltrace::new().arg(format!("{option}={value}")).run(["true"]);
        traced.expect_code(1);
        traced.assert(traced.run.err().contains(value), "the value is named");
        traced.assert(
            traced.run.err().starts_with("rltrace: "),
            "the line says who speaks",
        );
    }
}

/// Where nothing can be recorded one line says why, and the trace is as ever.
#[test]
fn programs_that_are_not_recorded() {
    tool("/lib/ld-linux.so.2");
    let library = Build::library("callee.c").compiler("i686-linux-gnu-gcc").build();
    let other_machine = Build::program("thousand.c")
        .compiler("i686-linux-gnu-gcc")
        .uses(&library)
        .build();
    let traced = recorded(&Rltrace::new().filter("callee"), [&other_machine]);
    let (own, _) = traced.own_words();
    traced.assert(own.len() == 1 && own[0].contains("recorded"), "one line says why");
    let calls = traced.trace.calls_of("callee").count();
    traced.assert(calls == 1000, &format!("{calls} calls of 1000"));

    let no_loader = Build::program("static.c").flags(["-static"]).build();
    let native = run(&mut Command::new(&no_loader));
    let traced = Rltrace::new().engine("fast").run([&no_loader]);
    traced.assert(traced.run.status == native.status, "it ends as natively");
    let (own, _) = traced.own_words();
    traced.assert(own.len() == 1 && own[0].contains("static"), "one line says why");
}

/// A C library of another make, with a thread block of another make: recorded or not, each call is there.
#[test]
fn programs_of_musl() {
    tool("musl-gcc");
    let library = Build::library("callee.c").compiler("musl-gcc").build();
    for flags in [&["-Wl,-z,lazy"][..], &["-Wl,-z,now"], &["-fno-plt"]] {
        let program = Build::program("crowd.c").compiler("musl-gcc").flags(flags);
        let program = program.uses(&library).build();
        let traced = recorded(&Rltrace::new().filter("callee"), words(&program, &["20", "50"]));
        let calls = traced.trace.calls_of("callee").count();
        traced.assert(calls == 1000, &format!("{calls} calls of 1000"));
    }
}

#[test]
fn two_hundred_threads_at_once() {
    let program = calling("crowd.c");
    let traced = recorded(
        &Rltrace::new().follow().filter("callee"),
        words(&program, &["200", "500"]),
    );
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for call in traced.trace.calls_of("callee") {
        traced.assert(call.result().is_some(), &format!("a result of {call:?}"));
        *seen.entry(&call.args).or_default() += 1;
    }
    traced.assert(
        seen.len() == 100_000 && seen.values().all(|&times| times == 1),
        &format!("{} different calls of 100,000, each once", seen.len()),
    );
}

#[test]
fn threads_and_forks() {
    let flow = Build::library("flow.c").flags(["-O1", "-fexceptions"]).build();
    let program = Build::caller("forks_and_threads.c")
        .flags(["-O1"])
        .uses(&flow)
        .build();
    let (rounds, calls) = (12, 300);
    for follow in [true, false] {
        let rltrace = Rltrace::new().filter("callee+through");
        let rltrace = if follow { rltrace.follow() } else { rltrace };
        let traced = recorded(
            &rltrace,
            words(&program, &[&rounds.to_string(), &calls.to_string()]),
        );
        let mut seen: HashMap<String, u32> = HashMap::new();
        for call in traced.trace.calls() {
            *seen.entry(format!("{}({})", call.name, call.args)).or_default() += 1;
        }
        let processes = if follow { 2 } else { 1 };
        let expected = rounds * calls * 4 * processes;
        let mut missing = 0;
        for round in 0..rounds {
            for process in 0..processes {
                for thread in 0..4 {
                    for i in 0..calls {
                        for text in [
                            format!("callee({round}, {thread}, {i}, {process})"),
                            format!("callee({round}, {thread}, {i}, {})", process + 10),
                            format!("through({i}, {round}, {thread}, {process})"),
                        ] {
                            missing += u32::from(seen.get(&text) != Some(&1));
                        }
                    }
                }
            }
        }
        traced.assert(missing == 0, &format!("{missing} calls are not there once"));
        let all: u32 = seen.values().sum();
        traced.assert(all == 3 * expected, &format!("{all} calls of {}", 3 * expected));
    }
}

/// What was dropped is told, and what was not is right.
#[test]
fn calls_that_find_a_full_ring_are_dropped_and_counted() {
    let program = calling("many_threads.c");
    let calls = 300_000_u64;
    let traced = fast("callee")
        .follow()
        .arg("--on-full=drop")
        .arg("--ring=64K")
        .run(words(&program, &["lasting", "2", &calls.to_string()]));
    traced.expect_code(0);
    traced.assert(traced.run.out() == "done\n", "the program is unharmed");
    let (own, _) = traced.own_words();
    let lost: u64 = own
        .iter()
        .filter(|line| line.contains("lost"))
        .flat_map(|line| line.split_whitespace())
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    let seen = traced.trace.calls_of("callee").count() as u64;
    let returned = traced
        .trace
        .calls_of("callee")
        .filter(|call| call.result().is_some())
        .count() as u64;
    traced.assert(lost > 0, "some were lost, and it is said");
    // Each call without its return in the trace was lost, or its return was.
    traced.assert(
        returned + lost == 2 * calls && seen >= returned,
        &format!(
            "{seen} calls, {returned} returned, {lost} lost, {} made",
            2 * calls
        ),
    );
}

/// Nothing is lost to a reader that is slower than the program.
#[test]
fn a_slow_reader() {
    let program = calling("many_threads.c");
    let binary = rltrace_binary().display();
    for ring in ["64K", "1M"] {
        let script = format!(
            "{binary} --engine fast --ring {ring} -f -e callee -o '|while read -r line; do echo \"$line\"; done' \
             {} lasting 2 15000",
            program.display()
        );
        let ran = run(Command::new("bash").args(["-c", &script]));
        assert_eq!(ran.code(), 0, "{}", ran.both());
        let text = ran.out();
        let results = text.lines().filter(|line| line.contains(" = ")).count();
        assert_eq!(results, 30_000, "every return");
    }
}

/// Calls after a limit are not in the trace; the command runs on.
#[test]
fn limits() {
    let program = calling("thousand.c");
    let native = run(&mut Command::new(&program));
    let traced = fast("callee").arg("--limit").arg("10").run([&program]);
    as_natively(&traced, &native);
    let calls = traced.trace.calls_of("callee").count();
    traced.assert(calls == 10, &format!("{calls} calls of 10"));
}

/// A program that finds the rings and writes into them loses its own trace. It goes on itself, unless single bits are turned: then its
/// recording code may write anywhere, and only the tracer is sure to be well.
#[test]
fn rings_that_are_written_over() {
    let program = calling("scribbles.c");
    for how in ["some"].into_iter().chain(Inside::WAYS) {
        for seed in 0..u32::try_from(cycles(6)).expect("few") {
            for ring in ["64K", "1M"] {
                let traced = fast("callee")
                    .arg("--ring")
                    .arg(ring)
                    .run(words(&program, &[&seed.to_string(), how]));
                let said = traced.run.err();
                let whole = !said.contains("panicked") && !said.contains("overflow");
                traced.assert(whole, &format!("{how} {seed}: the tracer is well"));
                let ended = traced.trace.exits().len() == 1 || traced.trace.text.contains("+++ killed by");
                traced.assert(ended, &format!("{how} {seed}: the program's end is told"));
                traced.assert(traced.run.out().starts_with("1 found"), "its memory was found");
                if how != "some" {
                    traced.expect_code(0);
                    traced.assert(
                        traced.run.out().ends_with("done\n"),
                        &format!("{how} {seed}: it goes on"),
                    );
                    let told = said.matches("records were overwritten").count();
                    traced.assert(
                        told == 1,
                        &format!("{how} {seed}: it is told once, not {told} times"),
                    );
                }
            }
        }
    }
}
