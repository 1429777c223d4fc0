//! What could go wrong where calls are recorded inside the program, each with a program that would be harmed by it.
//!
//! Every program checks itself. It must do the same natively, with calls met by traps, and with calls recorded inside of it, and where it
//! has one thread the text of both traces must be the same.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use rltrace_tests::engines::{recorded, same_run, same_text};
use rltrace_tests::visits::{Inside, leave_inside};
use rltrace_tests::{Build, NOTHING, Rltrace, Running, Traced, tools, wait_for};

/// Every call between all objects.
const ALL: &str = "@*";

/// How a program binds its functions, and how it calls them.
const BINDINGS: [&[&str]; 5] = [
    &["-Wl,-z,lazy"],
    &["-Wl,-z,now"],
    &["-fno-plt"],
    &["-no-pie", "-Wl,-z,lazy"],
    &["-fcf-protection=full", "-Wl,-z,ibtplt"],
];

fn words(program: &Path, more: &[&str]) -> Vec<OsString> {
    std::iter::once(program.into())
        .chain(more.iter().map(OsString::from))
        .collect()
}

fn library(source: &str, flags: &[&str]) -> PathBuf {
    Build::library(source).flags(["-O1"]).flags(flags).build()
}

fn callee() -> PathBuf {
    library("callee.c", &[])
}

fn flow() -> PathBuf {
    Build::library("flow.c").flags(["-O1", "-fexceptions"]).build()
}

fn plain(filter: &str) -> Rltrace {
    Rltrace::new().filter(filter)
}

#[test]
fn arguments_and_results_of_every_sort() {
    let library = library("conventions.c", &[]);
    for flags in BINDINGS {
        let program = Build::program("conventions_main.c").flags(["-O1"]).flags(flags);
        let program = program.uses(&library).build();
        let traced = same_text(&plain("@MAIN"), words(&program, &["20"]));
        traced.fast.expect_call("sum_of_doubles");
        same_run(&plain(ALL), words(&program, &["2"]));
        recorded(&plain(ALL), words(&program, &["2000"]));
    }
}

/// Private conventions, too: everything is in its register at the call, and at the return what may be.
#[test]
fn registers_are_handed_on() {
    let library = library("registers.c", &[]);
    for flags in [&[][..], &["-Wl,-z,now"], &["-DNO_PLT"], &["-no-pie"]] {
        let program = Build::program("registers_main.c").flags(["-O1"]).flags(flags);
        let program = program.uses(&library).build();
        same_text(&plain("observe"), [&program]);
        for options in [&["-c"][..], &["-T"], &["-i", "-ttt"]] {
            let rltrace = plain("observe").args(options);
            recorded(&rltrace, [&program]);
        }
    }
}

fn tails(flags: &[&str]) -> PathBuf {
    let part = |number: u32| {
        let flags = flags.iter().filter(|&&flag| flag != "-no-pie");
        Build::library("tails.c")
            .named(&format!("libtails{number}.so"))
            .flags(["-O2", &format!("-DPART={number}")])
            .flags(flags)
            .build()
    };
    let program = Build::program("tails_main.c").flags(["-O2"]).flags(flags);
    program.uses(&part(1)).uses(&part(2)).build()
}

#[test]
fn functions_that_leave_by_a_jump_to_another() {
    for flags in BINDINGS {
        let program = tails(flags);
        let filter = "hop_*+last_*+inner_*+*eight_*";
        let traced = same_text(&plain(filter), words(&program, &["300"]));
        traced.fast.expect_call("sum_of_eight_two");
        same_run(&plain(ALL), words(&program, &["300"]));
        recorded(&plain(filter).arg("-c"), words(&program, &["300000"]));
    }
}

const UNWINDING: [&str; 12] = [
    "through_qsort",
    "through_libraries",
    "deep",
    "below_others",
    "of_the_library",
    "once",
    "again",
    "to_another_thread",
    "backtraces",
    "thread_exits",
    "cancelled",
    "uncaught",
];

fn relay(number: u32, flags: &[&str]) -> PathBuf {
    let build = Build::library("relay.cc").named(&format!("librelay{number}.so"));
    let build = build.flags(["-O1", &format!("-DNUMBER={number}")]).flags(flags);
    if number == 1 {
        return build.build();
    }
    build.uses(&relay(1, flags)).build()
}

/// Each part of `unwinds.cc` with its calls to the relays, and with every call of every object.
#[track_caller]
fn unwinds(program: &Path, parts: &[&str]) {
    for part in parts {
        let calls = same_run(&plain("relay_*+plain+qsort"), words(program, &[part]));
        let one_thread = !matches!(*part, "to_another_thread" | "thread_exits" | "cancelled");
        if one_thread {
            same_lines_of(&calls.trap, &calls.fast);
        }
        recorded(&plain(ALL), words(program, &[part]));
    }
}

/// The same calls in the same order, whatever else is in the text.
#[track_caller]
fn same_lines_of(trap: &Traced, fast: &Traced) {
    let (trap, recorded) = (trap.trace.without_addresses(), fast.trace.without_addresses());
    let differs = trap.iter().zip(&recorded).find(|(one, other)| one != other);
    fast.assert(differs.is_none(), &format!("by traps and recorded: {differs:?}"));
    fast.assert(
        trap.len() == recorded.len(),
        &format!("{} lines by traps, {} recorded", trap.len(), recorded.len()),
    );
}

#[test]
fn unwinding_through_recorded_frames() {
    for flags in [&["-Wl,-z,lazy"][..], &["-fno-plt", "-Wl,-z,now"]] {
        let program = Build::program("unwinds.cc").flags(["-O1"]).flags(flags);
        let program = (1..=3).fold(program, |program, number| program.uses(&relay(number, flags)));
        unwinds(&program.build(), &UNWINDING);
    }
}

/// Each object has an unwinder of its own.
#[test]
fn unwinding_with_static_libgcc() {
    let own = ["-static-libgcc"];
    let program = Build::program("unwinds.cc").flags(["-O1"]).flags(own);
    let program = (1..=3).fold(program, |program, number| program.uses(&relay(number, &own)));
    unwinds(&program.build(), &UNWINDING);
}

/// Exceptions of two copies of libstdc++: those parts that work natively.
#[test]
fn unwinding_with_static_libstdcxx() {
    let own = ["-static-libgcc", "-static-libstdc++"];
    let program = Build::program("unwinds.cc").flags(["-O1"]).flags(own);
    let program = (1..=3).fold(program, |program, number| program.uses(&relay(number, &[])));
    let parts: Vec<&str> = UNWINDING
        .into_iter()
        .filter(|part| !["once", "thread_exits", "cancelled"].contains(part))
        .collect();
    unwinds(&program.build(), &parts);
}

#[test]
fn rust_panics() {
    for flags in [["-C", "opt-level=3"], ["-C", "opt-level=0"]] {
        let program = Build::program("panics.rs").flags(flags).build();
        same_run(&plain("qsort+strtol"), [&program]);
        recorded(&plain(ALL), [&program]);
    }
}

fn odd_stacks(flags: &[&str]) -> PathBuf {
    Build::program("odd_stacks.c")
        .flags(["-O1"])
        .flags(flags)
        .uses(&flow())
        .build()
}

#[test]
fn stacks_in_odd_places_and_jumps_between_them() {
    for flags in [&["-Wl,-z,lazy"][..], &["-no-pie", "-fno-plt"]] {
        let program = odd_stacks(flags);
        for part in [
            "coroutines",
            "given",
            "deep",
            "alternate",
            "overflow",
            "long_jumps",
        ] {
            same_run(&plain("through+by_signal"), words(&program, &[part]));
            recorded(&plain(ALL), words(&program, &[part]));
        }
    }
}

/// A shell that sets a limit, and executes the program.
fn limited(limit: &str, program: &Path, more: &[&str]) -> Vec<OsString> {
    let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    let mut command: Vec<OsString> = vec!["sh".into(), "-c".into(), script.into()];
    command.extend(words(program, more));
    command
}

#[test]
fn stacks_without_a_limit() {
    let program = odd_stacks(&[]);
    for part in ["deep", "overflow", "coroutines", "given"] {
        for limit in ["-s unlimited", "-s 256000", "-s 1024"] {
            recorded(&plain(ALL), limited(limit, &program, &[part]));
        }
    }
}

/// Where the process must not reserve what recording needs, its calls are met by traps.
#[test]
fn a_limit_of_address_space() {
    let library = callee();
    let program = Build::program("thousand.c").flags(["-O1"]).uses(&library).build();
    for kib in ["10000", "100000", "4000000"] {
        let traced = recorded(&plain("callee"), limited(&format!("-v {kib}"), &program, &[]));
        let expected: Vec<String> = traced.run.out().lines().map(str::to_owned).collect();
        traced.assert(
            traced.trace.spelled("callee") == expected,
            "each call is in the trace",
        );
    }
}

/// What Python's greenlets do. Where two calls have their return addresses at one place of a stack that is copied, the recording code cannot
/// know: ARCHITECTURE.md lists it as a limit.
#[test]
#[ignore = "a limit of the engine: use --engine trap"]
fn stacks_that_are_copied() {
    let program = Build::program("copied_stacks.c")
        .flags(["-O1"])
        .uses(&flow())
        .build();
    same_run(&plain("through"), [&program]);
}

fn uses_gs() -> PathBuf {
    Build::program("uses_gs.c").flags(["-O1"]).uses(&callee()).build()
}

#[test]
fn a_program_that_uses_gs_itself() {
    for part in ["from_the_start", "later", "by_instruction"] {
        same_run(&plain("callee"), words(&uses_gs(), &[part]));
    }
}

/// Where SIGSEGV is not blocked: the kernel unblocks it and resets its handler when a stub's read faults (README, "Limits").
#[test]
fn pointers_to_nothing() {
    let library = library("takes_text.c", &[]);
    let program = Build::program("bad_pointers.c")
        .flags(["-O1"])
        .uses(&library)
        .build();
    for part in ["", "handled"] {
        let more: &[&str] = if part.is_empty() { &[] } else { &[part] };
        same_text(&plain("takes_*"), words(&program, more));
        same_text(&plain("takes_*").arg("-s").arg("200"), words(&program, more));
    }
    same_run(&plain("takes_*"), words(&program, &["protected"]));
}

#[test]
fn functions_of_the_linker_that_look_at_their_caller() {
    let library = callee();
    let plugin = Build::library("plugin.c").named("libbesideplugin.so");
    let plugin = plugin.flags(["-DPLUGIN=1"]).uses(&library).build();
    let folder = plugin.parent().expect("a folder").display();
    let beside = Build::library("beside.c")
        .flags([&format!("-Wl,-rpath,{folder}")])
        .uses(&library)
        .build();
    let program = Build::program("asks_who_calls.c").flags(["-Wl,--no-as-needed"]);
    let program = program.uses(&beside).uses(&library).build();
    let mut command = words(&program, &["libbesideplugin.so"]);
    command.push(beside.into());
    same_run(&plain(ALL), &command);
    same_run(&plain("dl*"), &command);
}

#[test]
fn profiled_functions() {
    let directory = tempfile::tempdir().expect("a directory");
    let prefix = directory.path().join("gmon");
    for flags in [&["-pg"][..], &["-pg", "-no-pie"], &["-pg", "-mfentry"]] {
        let program = Build::program("profiled.c").flags(["-O1"]).flags(flags).build();
        let rltrace = plain(ALL).env("GMON_OUT_PREFIX", &prefix);
        recorded(&rltrace, [&program]);
        same_run(&rltrace.filter("*mcount+__fentry__"), [&program]);
    }
}

/// They map memory at places of their own, and look at who maps what. `LeakSanitizer`, which is part of the first, works under no tracer.
#[test]
fn sanitizers() {
    tools::tool("g++");
    for flags in [
        &["-fsanitize=address"][..],
        &["-fsanitize=undefined"],
        &["-fsanitize=thread"],
    ] {
        let library = Build::library("callee.c").flags(flags).build();
        let program = Build::program("crowd.c").flags(["-O1"]).flags(flags);
        let program = program.uses(&library).build();
        for filter in ["callee", ALL] {
            let rltrace = plain(filter).env("ASAN_OPTIONS", "detect_leaks=0");
            recorded(&rltrace, words(&program, &["8", "50"]));
        }
    }
}

/// An unwinder's question for all objects goes on while its callback does: it returns to recording code, also when the tracer has left.
#[test]
fn a_question_that_outlives_the_tracer() {
    let program = Build::program("asks_for_objects.c").flags(["-O1"]);
    let program = program.uses(&callee()).build();
    let mut target = Running::start(Command::new(program).stdin(Stdio::piped()));
    let mut input = target.stdin().expect("a pipe");
    target.wait_for_out("ready");
    let said = |target: &mut Running, word: &str, times: usize| {
        wait_for(word, || {
            target.out_so_far().matches(word).count() == times || target.ended()
        });
        assert!(!target.ended(), "{}", target.said());
    };
    for round in 1..=5 {
        let rltrace = Rltrace::new()
            .engine("fast")
            .filter("callee")
            .arg("-D")
            .arg("debug");
        let mut rltrace = rltrace.pid(target.pid()).start(NOTHING);
        wait_for("the attachment", || {
            rltrace.running.err_so_far().contains("attached")
        });
        input.write_all(b"\n").expect("a line");
        said(&mut target, "inside", round);
        rltrace.wait_for("callee(");
        let traced = rltrace.end_by(Signal::SIGINT);
        traced.assert(
            traced.run.err().contains("recorded inside the program"),
            "it was recorded",
        );
        input.write_all(b"\n").expect("a line");
        said(&mut target, "back", round);
    }
    drop(input);
    assert!(target.finish().expect_success().out().ends_with("done\n"));
}

/// The line that tells of memory that was written over.
const OVERWRITTEN: &str = "its records were overwritten";
/// The line that tells of code that stays.
const STAYS: &str = "recording code stays in it";

/// Calls that return when the tracer is gone find the code that they return through.
#[test]
fn leaving_inside_recorded_calls() {
    for traced in leave_inside(&Rltrace::new().engine("fast"), None, 5) {
        let told = traced.own_words().0;
        traced.assert(
            !told.iter().any(|line| line.contains(STAYS)),
            "it is known which calls return",
        );
    }
}

/// The same where nobody can tell which they are, because the program has written over the records. Each is told once.
#[test]
fn leaving_inside_calls_whose_records_are_lost() {
    for how in Inside::WAYS {
        for traced in leave_inside(&Rltrace::new().engine("fast"), Some(how), 3) {
            let told = traced.own_words().0;
            // Records that were read before they were written over are not lost.
            let least = usize::from(how != "records");
            let times = |line| told.iter().filter(|told| told.contains(line)).count();
            let (overwritten, stays) = (times(OVERWRITTEN), times(STAYS));
            traced.assert(
                (least..=1).contains(&overwritten) && stays == overwritten,
                &format!("{how}: told {overwritten} and {stays} times"),
            );
        }
    }
}
