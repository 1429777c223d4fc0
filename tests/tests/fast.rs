//! Calls recorded inside the program (`--engine fast`): every call is there, whatever the program does; the tracer comes and goes; and
//! what cannot be recorded is met by traps and said.
//!
//! Bounds are small here; the long run of an interrupted loop is
//! `RLTRACE_CALLS=100000000 cargo test --release -p rltrace-tests --test fast -- interrupted_for_long --ignored`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use rltrace_tests::engines::{as_natively, recorded, same_text};
use rltrace_tests::tools::tool;
use rltrace_tests::visits::{
    Inside, Kill, attach_and_leave, kill_the_target, kill_the_tracer, leave_at_any_moment, saw_right_calls,
};
use rltrace_tests::{
    Build, Hot, Machine, NOTHING, Rltrace, Running, Traced, cycles, process, rltrace_binary, run, runs_on,
    wait_for,
};

fn callee() -> PathBuf {
    Build::library("callee.c").build()
}

fn calling(source: &str) -> PathBuf {
    Build::program(source).flags(["-O1"]).uses(&callee()).build()
}

fn fast(filter: &str) -> Rltrace {
    Rltrace::new().engine("fast").filter(filter)
}

fn words(program: &Path, more: &[&str]) -> Vec<OsString> {
    std::iter::once(program.into())
        .chain(more.iter().map(OsString::from))
        .collect()
}

/// The number of calls that a table (`-c`) has for a function.
#[track_caller]
fn counted(traced: &Traced, function: &str) -> u64 {
    let row = traced
        .trace
        .text
        .lines()
        .find(|line| line.split_whitespace().last() == Some(function));
    let calls = row.and_then(|row| row.split_whitespace().nth(3)?.parse().ok());
    traced.assert(calls.is_some(), &format!("a row for {function}"));
    calls.unwrap_or(0)
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

/// What one thread's calls in `interrupted.c` were, in the order of their lines.
#[derive(Default)]
struct Seen {
    loops: i64,
    firsts: i64,
    seconds: i64,
}

impl Seen {
    /// One line's call: the next of its kind.
    #[track_caller]
    fn next(&mut self, args: &[i64], line: &str) {
        let number = args[0] + 10_000 * args[1];
        let counter = match args[3] {
            1 => &mut self.loops,
            2 => &mut self.firsts,
            _ => &mut self.seconds,
        };
        assert_eq!(number, *counter, "the next call of its kind, whole: {line}");
        *counter += 1;
    }
}

/// The arguments of `callee(…` in a line, if it begins a call.
fn arguments(line: &str) -> Option<Vec<i64>> {
    let (_, rest) = line.split_once("callee(")?;
    let end = rest.find([')', '<']).unwrap_or(rest.len());
    rest[..end]
        .trim()
        .trim_end_matches(',')
        .split(", ")
        .map(|word| word.trim().parse().ok())
        .collect()
}

/// Runs `interrupted.c` recorded as text, and fails unless each call of the loop and of each handler is there once, whole and in order.
#[track_caller]
fn interrupted(calls: u64, interval: &str, threads: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace");
    let program = calling("interrupted.c");
    let traced = fast("callee")
        .own_output()
        .arg("-b")
        .arg("-o")
        .arg(&file)
        .run(words(&program, &[&calls.to_string(), interval, threads]));
    traced.expect_code(0);
    let mut seen: HashMap<i64, Seen> = HashMap::new();
    let mut returns = 0_u64;
    for line in BufReader::new(std::fs::File::open(&file).expect("a trace")).lines() {
        let line = line.expect("text");
        returns += u64::from(line.contains(" = "));
        if let Some(args) = arguments(&line) {
            assert_eq!(args.len(), 4, "{line}");
            seen.entry(args[2]).or_default().next(&args, &line);
        }
    }
    let mut all = 0;
    for said in traced.run.out().lines() {
        let numbers: Vec<i64> = said
            .split(' ')
            .map(|word| word.parse().expect("a number"))
            .collect();
        let seen = seen.remove(&numbers[0]).unwrap_or_default();
        assert_eq!(
            (seen.loops, seen.firsts, seen.seconds),
            (numbers[1], numbers[2], numbers[2]),
            "thread {}",
            numbers[0]
        );
        all += seen.loops + seen.firsts + seen.seconds;
    }
    assert_eq!(i64::try_from(returns), Ok(all), "as many returns as calls");
}

#[test]
fn interrupted_by_a_timer() {
    interrupted(400_000, "100", "1");
    interrupted(200_000, "1000", "4");
}

/// As the `interrupted_by_a_timer`, with as many calls as one likes, counted.
fn interrupted_counts(calls: u64, options: &[&str]) {
    let program = calling("interrupted.c");
    let rltrace = options.iter().fold(fast("callee"), Rltrace::arg);
    let traced = rltrace
        .arg("-c")
        .run(words(&program, &[&calls.to_string(), "100"]));
    traced.expect_code(0);
    let handled: u64 = traced
        .run
        .out()
        .split_whitespace()
        .nth(2)
        .and_then(|word| word.parse().ok())
        .expect("the handler's count");
    traced.assert(handled > 0, "the timer fired");
    let seen = counted(&traced, "callee");
    traced.assert(
        seen == calls + 2 * handled,
        &format!("{seen} counted, {} made", calls + 2 * handled),
    );
}

#[test]
fn millions_of_calls_interrupted_by_a_timer() {
    interrupted_counts(5_000_000, &[]);
    interrupted_counts(2_000_000, &["--ring", "64K"]);
}

#[test]
#[ignore = "100 million calls by default: some minutes"]
fn interrupted_for_long() {
    let calls = std::env::var("RLTRACE_CALLS").map_or(100_000_000, |count| count.parse().expect("a number"));
    interrupted_counts(calls, &[]);
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
    let program = Build::program("forks_and_threads.c")
        .flags(["-O1"])
        .uses(&callee())
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

fn recording() -> Rltrace {
    Rltrace::new().engine("fast")
}

/// By a signal, and by a limit; what an earlier tracer left behind is no hindrance.
#[test]
fn cycles_of_attaching_and_leaving() {
    attach_and_leave(&recording(), Hot::start(), cycles(25));
    let limited = recording().arg("--limit").arg("3000");
    let mut target = Hot::start();
    for cycle in 0..cycles(25) {
        saw_right_calls(&target.attach_by(&limited).finish());
        target.unharmed(&format!("cycle {cycle}"));
    }
    target.ends_well();
}

#[test]
fn leaving_at_any_moment() {
    leave_at_any_moment(&recording(), Hot::start(), cycles(40));
}

/// Every call makes recording code look at memory that is not there: the fault, which may be under way when the tracer goes, is not the program's.
#[test]
fn leaving_while_recording_code_faults() {
    let prototypes = tempfile::tempdir().expect("a folder");
    let file = prototypes.path().join("bad.conf");
    // Its second argument is 5000 to 5999.
    std::fs::write(&file, "long callee(long, string, long, long);\n").expect("a file");
    let mut target = Hot::start();
    for cycle in 0..cycles(25) {
        let mut rltrace = target.attach_by(&recording().arg("-F").arg(&file));
        rltrace.wait_for("callee(");
        let traced = rltrace.end_by(Signal::SIGINT);
        target.unharmed(&format!("cycle {cycle}: {}", traced.run.err()));
    }
    target.ends_well();
}

#[test]
fn engines_take_turns() {
    let mut target = Hot::start();
    for cycle in 0..cycles(12) {
        for engine in ["trap", "fast", "auto"] {
            let mut rltrace = target.attach_by(&Rltrace::new().engine(engine));
            rltrace.wait_for("callee(");
            saw_right_calls(&rltrace.end_by(Signal::SIGINT));
            target.unharmed(&format!("cycle {cycle}, {engine}"));
        }
    }
    target.ends_well();
}

/// The tracer is killed while calls are recorded, and another comes.
#[test]
fn kills_of_the_tracer() {
    kill_the_tracer(&recording(), Hot::start(), Kill::AnyTime, cycles(25));
}

/// A full ring and nobody to empty it: the program waits no longer than it must.
#[test]
fn a_command_survives_the_kill_of_its_tracer() {
    let program = Hot::program(Machine::X86_64);
    for ring in ["64K", "1M"] {
        let mut rltrace = fast("callee")
            .arg("--ring")
            .arg(ring)
            .with_input()
            .start(Hot::command(&program));
        let input = rltrace.running.stdin();
        rltrace.wait_for("callee(");
        let command = process::children(rltrace.running.pid())[0];
        rltrace.running.signal(Signal::SIGKILL);
        wait_for("the tracer's death", || rltrace.running.ended());
        wait_for("the release of the command", || process::held(command).is_empty());
        runs_on(command);
        assert!(process::alive(command), "{}", rltrace.running.said());
        drop(input);
        wait_for("the command's own end", || !process::alive(command));
        assert_eq!(rltrace.running.out_so_far(), "ready\ndone\n");
    }
}

/// The tracer is stopped, not dead: the program waits for it, and goes on when it does.
#[test]
fn a_tracer_that_is_stopped() {
    let program = calling("many_threads.c");
    let mut rltrace = fast("callee").start(words(&program, &["lasting", "4", "100000"]));
    rltrace.wait_for("callee(");
    rltrace.running.signal(Signal::SIGSTOP);
    let pid = rltrace.running.pid();
    wait_for("the stop", || {
        process::status_field(pid, "State").is_some_and(|state| state.starts_with('T'))
    });
    // Not for luck: whatever the threads do by now is to be right in the end.
    std::thread::sleep(std::time::Duration::from_millis(200));
    rltrace.running.signal(Signal::SIGCONT);
    let traced = rltrace.finish();
    traced.expect_code(0);
    traced.assert(traced.run.out() == "done\n", "the program came to its end");
    let calls = traced.trace.calls_of("callee").count();
    let lost = traced.run.err().contains("lost");
    traced.assert(
        calls == 400_000 || lost,
        &format!("{calls} calls of 400,000, and nothing said"),
    );
}

#[test]
fn the_target_is_killed() {
    kill_the_target(&recording(), Hot::start, cycles(15));
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

/// Ctrl-C and its like come while a command is recorded: it goes on without the tracer.
#[test]
fn interrupts() {
    let program = Hot::program(Machine::X86_64);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        let rltrace = fast("callee").ends_of_trace().with_input();
        let mut rltrace = rltrace.start(Hot::command(&program));
        let input = rltrace.running.stdin();
        rltrace.wait_for("callee(");
        let command = process::children(rltrace.running.pid())[0];
        rltrace.running.signal(signal);
        wait_for("the release of the command", || process::held(command).is_empty());
        runs_on(command);
        assert!(process::alive(command), "{signal}: {}", rltrace.running.said());
        drop(input);
        wait_for("the command's own end", || !process::alive(command));
        let traced = rltrace.finish();
        traced.assert(traced.run.out() == "ready\ndone\n", "the command came to its end");
        saw_right_calls(&traced);
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

fn refuses() -> PathBuf {
    calling("refuses.c")
}

/// A filter comes into force while calls are recorded: also one that kills for what setting up needs.
#[test]
fn programs_that_restrict_themselves() {
    restricted(&["memory", "memfd", "prctl", "files"], &["errno", "kill"]);
    restricted(&["futex", "everything"], &["errno"]);
}

/// A thread whose ring is full waits by futex(2).
#[test]
#[ignore = "a limit of the engine: a program that is killed for futex(2) is killed when its ring is full"]
fn programs_that_may_not_wait() {
    restricted(&["futex", "everything", "strict"], &["kill"]);
}

#[track_caller]
fn restricted(what: &[&str], how: &[&str]) {
    for what in what {
        for how in how {
            for ring in ["64K", "1M"] {
                let rltrace = Rltrace::new().filter("callee").arg("--ring").arg(ring);
                let traced = recorded(&rltrace, words(&refuses(), &[what, how]));
                let calls = traced.trace.calls_of("callee").count();
                traced.assert(calls == 30_010, &format!("{what} {how}: {calls} calls of 30,010"));
            }
        }
    }
}

/// What runs under such a filter from its start on, or when the tracer comes.
#[test]
fn restricted_programs() {
    let thousand = calling("thousand.c");
    for what in ["memfd", "futex"] {
        for how in ["errno", "kill"] {
            let mut command = words(&refuses(), &[what, how]);
            command.push(thousand.clone().into());
            let traced = recorded(&Rltrace::new().filter("callee"), &command);
            let calls = traced.trace.calls_of("callee").count();
            traced.assert(calls == 1010, &format!("{what} {how}: {calls} calls of 1010"));
        }
    }
    for what in ["memory", "memfd", "prctl", "futex", "files"] {
        for how in ["errno", "kill"] {
            let mut command = Command::new(refuses());
            let mut target = Running::start(command.args([what, how, "wait"]).stdin(Stdio::piped()));
            target.wait_for_out("ready");
            let mut rltrace = fast("callee").ends_of_trace().pid(target.pid()).start(NOTHING);
            rltrace.wait_for("callee(");
            let traced = rltrace.end_by(Signal::SIGINT);
            saw_right_calls(&traced);
            assert!(!target.ended(), "{what} {how}: {}", target.said());
            assert_eq!(target.finish().expect_success().out(), "ready\ndone\n");
        }
    }
}
