//! What goes wrong is said in one clear line on standard error, with the exit status that shells give it.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::unistd::Pid;
use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, Running, Traced, elf, process, wait_for};

/// One line on standard error, which begins `rltrace: ` and holds every one of `words`, nothing on standard output,
/// and the exit status.
#[track_caller]
fn refuses(traced: &Traced, code: i32, words: &[&str]) {
    traced.expect_refusal(code, words);
    traced.assert(traced.run.stdout.is_empty(), "nothing on standard output");
    let children = process::children(Pid::this());
    // Tests run in threads of one process: only what `rltrace` started would be a child of init or of us by its name.
    let left: Vec<_> = children
        .into_iter()
        .filter(|&pid| command_line(pid).contains(&traced.run.command))
        .collect();
    assert!(left.is_empty(), "left running: {left:?}");
}

fn command_line(pid: Pid) -> String {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

/// A file with these bytes and this mode, in a directory that lasts as long as the test.
fn file(name: &str, bytes: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    (directory, path)
}

fn refused_file(name: &str, bytes: &[u8], mode: u32, code: i32, words: &[&str]) {
    let (_directory, path) = file(name, bytes, mode);
    refuses(&Rltrace::new().run([&path]), code, &[&[name], words].concat());
}

#[test]
fn a_missing_command() {
    refuses(
        &Rltrace::new().run(["no-such-command-here"]),
        127,
        &["no-such-command-here", "not found"],
    );
}

#[test]
fn a_missing_file() {
    refuses(
        &Rltrace::new().run(["/no/such/file"]),
        127,
        &["/no/such/file", "No such file or directory"],
    );
}

#[test]
fn a_directory() {
    refuses(&Rltrace::new().run(["/usr"]), 126, &["/usr", "irectory"]);
}

#[test]
fn a_file_without_permission() {
    refused_file("closed", b"#!/bin/sh\n", 0o644, 126, &["ermission denied"]);
}

#[test]
fn a_file_that_is_no_program() {
    refused_file(
        "noise",
        b"\x00\x01\x02 no program\n",
        0o755,
        126,
        &["xec format error"],
    );
}

#[test]
fn an_empty_file() {
    refused_file("empty", b"", 0o755, 126, &[]);
}

#[test]
fn a_foreign_machine() {
    refused_file("foreign", &elf::foreign_machine(), 0o755, 126, &[]);
}

#[test]
fn a_truncated_program() {
    let whole = std::fs::read("/bin/true").expect("/bin/true");
    for keep in [16, 63, 64, 200] {
        refused_file("cut", &whole[..keep], 0o755, 126, &[]);
    }
}

/// The kernel would start this one, and it would die at once by a signal that says nothing of the reason.
#[test]
fn a_program_of_which_half_is_missing() {
    let whole = std::fs::read("/bin/true").expect("/bin/true");
    let half = &whole[..whole.len() / 2];
    refused_file("half", half, 0o755, 1, &["truncated"]);
}

#[test]
fn a_script_whose_interpreter_is_missing() {
    let (_directory, path) = file("script", b"#!/no/such/interpreter\n", 0o755);
    let traced = Rltrace::new().run([&path]);
    refuses(&traced, 127, &["script"]);
}

#[test]
fn no_command_at_all() {
    let traced = Rltrace::new().own_output().run(Vec::<&OsStr>::new());
    traced.expect_code(1);
    traced.assert(traced.run.err().starts_with("rltrace: "), "it says who speaks");
    traced.assert(
        !traced.run.err().contains("panicked"),
        "a usage error is no panic",
    );
}

#[test]
fn an_unknown_option() {
    let traced = Rltrace::new().arg("--no-such-option").run(["true"]);
    traced.expect_code(1);
    traced.assert(
        traced.run.err().contains("--no-such-option"),
        "the option is named",
    );
}

#[test]
fn a_bad_filter() {
    for filter in ["/unclosed", "/[/", "[a", "malloc@libc.so.6@again", ""] {
        let traced = Rltrace::new().filter(filter).run(["true"]);
        refuses(&traced, 1, &["filter"]);
        traced.assert(traced.run.err().contains(filter), "the filter is quoted");
    }
}

#[test]
fn a_filter_that_matches_nothing() {
    let traced = Rltrace::new().filter("no_such_function").run(["true"]);
    traced.expect_code(0);
    let line = traced.run.err();
    traced.assert(
        line.starts_with("rltrace: ") && line.contains("no_such_function"),
        "it says that nothing matched",
    );
    traced.assert(line.lines().count() == 1, "in one line");
    traced.assert(traced.trace.calls().next().is_none(), "and nothing was traced");
}

#[test]
fn an_output_that_cannot_be_written() {
    for path in ["/no/such/directory/trace", "/usr"] {
        let traced = Rltrace::new().own_output().arg("-o").arg(path).run(["true"]);
        refuses(&traced, 1, &[path]);
    }
}

/// The disk fills while the program runs: the program goes on unharmed, and the loss is said.
#[test]
fn an_output_that_fills_up() {
    let program = Build::caller("thousand.c").flags(["-O1"]).build();
    let traced = Rltrace::new()
        .own_output()
        .arg("-o")
        .arg("/dev/full")
        .run([&program]);
    traced.assert(
        traced.run.out().lines().count() == 1000,
        "the program did all it had to do",
    );
    traced.expect_refusal(1, &["No space left on device", "/dev/full", "lost"]);
}

/// The command outlives its output: `rltrace` ends when it does, and says once that its trace was not all read.
#[test]
fn an_output_that_goes_away() {
    let traced = Rltrace::new().own_output().arg("-o").arg("|exec <&-").run([
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; echo all; exit 3",
    ]);
    traced.assert(traced.run.out() == "all\n", "the command came to its end");
    traced.expect_code(1);
    let lines = traced.run.err();
    let told = lines.lines().filter(|line| line.starts_with("rltrace: ")).count();
    traced.assert(
        told == 1 && lines.contains("Broken pipe"),
        "the loss is said once",
    );
}

#[test]
fn a_number_that_is_none() {
    let traced = Rltrace::new().arg("-s").arg("many").run(["true"]);
    traced.expect_code(1);
    traced.assert(traced.run.err().contains("many"), "the value is named");
    let traced = Rltrace::new().pid("1x").run(Vec::<&OsStr>::new());
    traced.expect_code(1);
    traced.assert(traced.run.err().contains("1x"), "the value is named");
}

#[test]
fn a_static_program() {
    for flags in [["-static"].as_slice(), &["-static-pie", "-fPIE"]] {
        let program = Build::program("static.c").flags(flags).build();
        let traced = Rltrace::new().run([&program]);
        traced.expect_code(3);
        traced.assert(traced.run.out() == "static\n", "the program runs all the same");
        let line = traced.run.err();
        traced.assert(
            line.starts_with("rltrace: ") && line.lines().count() == 1,
            "one line says why nothing is traced",
        );
        traced.assert(line.contains("static") && line.contains("PLT"), "it has no PLT");
    }
}

/// Only the kernel's own answer to a second tracer is the same on every machine.
#[test]
fn a_process_that_is_already_traced() {
    let mut cat = Running::start(Command::new("cat").stdin(Stdio::piped()));
    let strace = Running::start(Command::new(tool("strace")).args(["-p", &cat.pid().to_string()]));
    wait_for("strace", || {
        process::held(cat.pid())
            .first()
            .is_some_and(|thread| thread.tracer != 0)
    });
    let traced = Rltrace::new().pid(cat.pid()).run(Vec::<&OsStr>::new());
    let pids = [cat.pid().to_string(), strace.pid().to_string()];
    refuses(&traced, 1, &[&pids[0], "traced", &pids[1], "strace"]);
    assert!(!cat.ended(), "it lives on");
    drop(cat.stdin());
    cat.finish().expect_success();
}
