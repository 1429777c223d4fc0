//! Five thousand signatures on each ABI: every argument and result as the callee printed them.
//!
//! The functions are generated, the same ones on every run. Each prints the line that its call should make in
//! the trace; a prototype file describes them to the tracer. Types are integers of every width, floating-point
//! and complex numbers, 128-bit integers, structures by value with arrays and structures in them, pointers,
//! strings, and variadic arguments by a format.

mod generated;

use std::path::{Path, PathBuf};
use std::process::Command;

use generated::{Machine, Program};
use rltrace_tests::tools::tool;
use rltrace_tests::{Rltrace, run};

/// How many functions one program has, and how many programs there are.
const FUNCTIONS: usize = 1000;
const PROGRAMS: u64 = 5;

fn compile(folder: &Path, program: &Program, flags: &[&str]) -> PathBuf {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a source file");
        path
    };
    write("types.h", &program.header);
    let (callee, caller) = (
        write("callee.c", &program.callee),
        write("caller.c", &program.caller),
    );
    let (library, executable) = (folder.join("libcallee.so"), folder.join("caller"));
    let cc = || {
        let mut cc = Command::new(tool("cc"));
        cc.args(["-w", "-O0"]).args(flags);
        cc
    };
    run(cc().args(["-shared", "-fPIC", "-o"]).arg(&library).arg(callee)).expect_success();
    let rpath = format!("-Wl,-rpath,{}", folder.display());
    run(cc()
        .arg("-o")
        .arg(&executable)
        .args([&caller, &library])
        .arg(rpath))
    .expect_success();
    executable
}

/// Traces one program and compares what it and the tracer printed.
fn compare(machine: Machine, seed: u64, flags: &[&str]) {
    let program = Program::new(machine, seed, FUNCTIONS);
    let folder = tempfile::tempdir().expect("a directory");
    let executable = compile(folder.path(), &program, flags);
    let conf = folder.path().join("callee.conf");
    std::fs::write(&conf, &program.prototypes).expect("a prototype file");
    let traced = Rltrace::new()
        .arg("-F")
        .arg(&conf)
        .arg("-a0")
        .arg("-A100")
        .arg("-s100")
        .filter("fun_*")
        .run([&executable]);
    traced.expect_code(0);
    traced.assert(traced.run.err().is_empty(), "nothing on standard error");
    let printed = traced.run.out();
    let said: Vec<&str> = printed.lines().collect();
    let seen: Vec<&str> = traced
        .trace
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("caller->"))
        .collect();
    assert_eq!(said.len(), FUNCTIONS, "every function was called");
    traced.assert(seen.len() == FUNCTIONS, "every call was seen");
    for (index, (said, seen)) in said.iter().zip(&seen).enumerate() {
        assert_eq!(
            said,
            seen,
            "function {index} of seed {seed}: {}",
            program.prototypes.lines().nth(index).unwrap_or_default()
        );
    }
}

#[test]
fn on_x86_64() {
    for seed in 1..=PROGRAMS {
        compare(Machine::X86_64, seed, &[]);
    }
}

#[test]
fn on_i386() {
    for seed in 1..=PROGRAMS {
        compare(Machine::I386, seed, &["-m32"]);
    }
}
