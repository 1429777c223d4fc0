//! Each crate's example does what its first lines say, on programs that tell what it should print.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rltrace_tests::{Build, Run, Running, process, run, tools};

/// `cargo run --example NAME`, which builds it first where need be.
fn example(package: &str, name: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| tools::tool("cargo").into());
    let mut command = Command::new(cargo);
    command
        .args([
            "run",
            "--quiet",
            "--all-features",
            "--package",
            package,
            "--example",
            name,
            "--",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells a test about that test's own package is not for the package built here.
    for (variable, _) in std::env::vars_os().filter(|(name, _)| is_cargos_word(name)) {
        command.env_remove(variable);
    }
    command
}

fn is_cargos_word(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST") || name == "LD_LIBRARY_PATH"
}

#[track_caller]
fn trace_one_function(program: &Path, function: &str) -> Run {
    let mut command = example("breakpoint", "trace_one_function");
    run(command.arg(program).arg(function))
}

fn callee() -> PathBuf {
    Build::library("callee.c").build()
}

#[test]
fn call_points_lists_slots_and_plt_entries() {
    let program = Build::program("thousand.c")
        .flags(["-Wl,-z,lazy"])
        .uses(&callee())
        .build();
    let run = run(example("elf-plt", "call_points").arg(&program));
    let out = run.expect_success().out();
    let line = out
        .lines()
        .find(|line| line.trim_start().starts_with("callee "))
        .unwrap_or_else(|| panic!("no line for callee\n{out}"));
    assert!(
        line.contains(" slot ") && line.contains(" JumpSlot plt "),
        "{line}"
    );
}

/// Every call of 1,000 with its arguments and its result, and the program's own output as it was.
#[test]
fn trace_one_function_sees_every_call_of_an_import() {
    for flags in [["-Wl,-z,lazy"], ["-Wl,-z,now"], ["-Wl,-z,ibtplt"]] {
        let program = Build::program("thousand.c").flags(flags).uses(&callee()).build();
        let native = run(&mut Command::new(&program));
        let traced = trace_one_function(&program, "callee");
        let out = traced.expect_success().out();
        let (calls, rest) = apart(&out);
        let expected: Vec<String> = (0..1000)
            .map(|i| format!("[{i:x}, {:x}, {:x}]: {:#x}", i + 5000, 3 * i, 9999 - i))
            .collect();
        assert_eq!(calls, expected, "{flags:?}");
        assert_eq!(rest, native.out().lines().collect::<Vec<_>>(), "{flags:?}");
    }
}

/// What is told of each call, and the lines that are not the tracer's.
fn apart(out: &str) -> (Vec<&str>, Vec<&str>) {
    let mut calls = Vec::new();
    let mut rest = Vec::new();
    for line in out.lines() {
        match line.split_once(" called it with ") {
            Some((_, call)) => calls.push(call),
            None if line.ends_with(": exited with status 0") => {}
            None => rest.push(line),
        }
    }
    (calls, rest)
}

/// A function of the program's own, which calls itself.
#[test]
fn trace_one_function_sees_its_own_recursion() {
    let program = Build::program("own_function.c").flags(["-O1"]).build();
    let out = trace_one_function(&program, "down").expect_success().out();
    let (calls, rest) = apart(&out);
    // The innermost call returns first.
    let expected: Vec<String> = (0..50)
        .map(|n| format!("[{n:x}, {:x}, 7]: {n:#x}", 50 - n))
        .collect();
    assert_eq!(calls, expected);
    assert_eq!(rest, ["50"]);
}

/// Calls that a `longjmp` left are told as such; the children of vfork run on the parent's memory, unharmed.
#[test]
fn trace_one_function_survives_jumps_and_children() {
    let library = Build::library("flow.c").build();
    let jumps = Build::program("jumps.c").uses(&library).build();
    let out = trace_one_function(&jumps, "through").expect_success().out();
    let (calls, _) = apart(&out);
    assert_eq!(calls.len(), 1000);
    for (i, call) in calls.iter().enumerate() {
        assert_eq!(
            call.ends_with("]: left by a jump"),
            !i.is_multiple_of(3),
            "call {i}: {call}"
        );
    }
    let vforks = Build::program("vforks.c").uses(&library).build();
    let out = trace_one_function(&vforks, "through").expect_success().out();
    assert_eq!(apart(&out).0.len(), 200);
}

#[test]
fn trace_one_function_names_what_it_does_not_find() {
    let program = Build::program("thousand.c").uses(&callee()).build();
    let run = trace_one_function(&program, "no_such_function");
    assert_ne!(run.code(), 0);
    assert!(run.err().contains("no_such_function"), "{}", run.both());
}

/// Arguments of each class, and where the ABI puts them.
#[test]
fn call_arguments_finds_each_class() {
    for (flags, word, places) in [
        (
            ["-m64"],
            8,
            "Int(0) Int(1) Vector(0) Vector(1),Vector(2) Stack(8) Int(2) Int(3) Int(4) Int(5) Stack(24)",
        ),
        (
            ["-m32"],
            4,
            "Stack(4) Stack(8) Stack(12) Stack(20) Stack(36) Stack(48) Stack(52) Stack(56) Stack(60) Stack(64)",
        ),
    ] {
        let program = Build::program("stops_inside.c").flags(flags).build();
        let mut command = example("ptrace-core", "call_arguments");
        let out = run(command.arg("ildpxlllll").arg(&program))
            .expect_success()
            .out();
        let mut values: Vec<Vec<u8>> = vec![
            (-2i32).to_le_bytes().to_vec(),
            0x1122_3344u64.to_le_bytes()[..word].to_vec(),
            1.5f64.to_le_bytes().to_vec(),
            [2.0f64, 3.0].map(f64::to_le_bytes).concat(),
            // 1.0 in the extended format; what pads it says nothing.
            vec![0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f],
        ];
        values.extend([3u64, 4, 5, 6, 0x77].map(|n| n.to_le_bytes()[..word].to_vec()));
        assert_eq!(out.lines().count(), values.len(), "{out}");
        for ((number, line), (value, place)) in
            out.lines().enumerate().zip(values.iter().zip(places.split(' ')))
        {
            let head = format!("argument {number}, from [{}]: ", place.replace(',', ", "));
            let bytes = format!("{value:02x?}");
            let bytes = bytes.trim_end_matches(']');
            assert!(line.starts_with(&(head + bytes)), "{line}: {bytes} at {place}");
        }
    }
}

/// A process that is looked at is left as it was.
#[test]
fn call_args_looks_and_leaves() {
    let mut cat = Running::start(Command::new(tools::tool("cat")).stdin(Stdio::piped()));
    let pid = cat.pid();
    let mut input = cat.stdin().expect("a pipe");
    std::io::Write::write_all(&mut input, b"before\n").expect("cat reads");
    cat.wait_for_out("before\n");
    let out = run(example("ptrace-core", "call_args").arg(pid.to_string()))
        .expect_success()
        .out();
    assert!(out.starts_with(&format!("{pid} at 0x")), "{out}");
    assert!(process::held(pid).is_empty());
    std::io::Write::write_all(&mut input, b"after\n").expect("cat reads on");
    drop(input);
    assert_eq!(cat.finish().expect_success().out(), "before\nafter\n");
}

#[test]
fn events_tells_of_a_child_and_its_end() {
    let out = run(example("ptrace-core", "events").args(["sh", "-c", "(exit 3); exit 0"]))
        .expect_success()
        .out();
    for word in ["Fork", "Born", "exited with status 3", "exited with status 0"] {
        assert!(out.contains(word), "no {word:?}\n{out}");
    }
}
