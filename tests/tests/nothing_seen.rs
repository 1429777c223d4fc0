//! A trace that saw nothing says why, in one line.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use rltrace_tests::{Build, NOTHING, Rltrace, Running, process, rltrace_binary, run, wait_for};

fn silent(flags: &[&str]) -> Build {
    Build::program("silent.c").flags(["-O2"]).flags(flags)
}

/// The trace is but `+++ exited (status 0) +++`, and the only line on standard error has these words.
#[track_caller]
fn says(options: &[&str], program: &PathBuf, words: &[&str]) {
    let rltrace = Rltrace::new().args(options);
    let traced = rltrace.run([program]);
    traced.expect_refusal(0, words);
    traced.assert(traced.trace.calls().count() == 0, "no call is seen");
    // Under the name ltrace there is no such line.
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("ltrace");
    std::os::unix::fs::symlink(rltrace_binary(), &link).expect("a link");
    let quiet = run(Command::new(link)
        .args(["-o", "/dev/null"])
        .args(options)
        .arg(program));
    assert_eq!((quiet.code(), quiet.err().as_str()), (0, ""), "{}", quiet.both());
}

#[test]
fn a_filter_that_selects_nothing() {
    let program = silent(&[]).build();
    says(&["-e", "gatenv"], &program, &["'gatenv'", "nearest: getenv"]);
    says(
        &["-e", "strlen@MAIN"],
        &program,
        &["'strlen@MAIN' matches no function", "inlined", "-x"],
    );
    says(
        &["-e", "@libnone.so"],
        &program,
        &["'@libnone.so' matches no library"],
    );
    says(
        &["-l", "libnone.so"],
        &program,
        &["'@libnone.so' matches no library"],
    );
    says(
        &["-L", "-x", "holper"],
        &program,
        &["'holper'", "nearest: helper"],
    );
    says(
        &["-L", "-x", "silent+0xffffff"],
        &program,
        &["'silent+0xffffff' is in the code of no object"],
    );
}

#[test]
fn what_is_selected_is_not_called() {
    let program = silent(&[]).build();
    says(
        &["-e", "getenv@MAIN"],
        &program,
        &["selected call was not made before"],
    );
    says(
        &["-c", "-e", "getenv@MAIN"],
        &program,
        &["selected call was not made before"],
    );
    says(
        &["-l", "libm.so*", "-e", "getenv@MAIN"],
        &program,
        &["'@libm.so*' matches no library"],
    );
    says(
        &["-e", "@MAIN-__*"],
        &program,
        &["selected call was not made before"],
    );
}

#[test]
fn a_program_without_calls() {
    let program = silent(&["-DALONE"]).build();
    let traced = Rltrace::new().run([&program]);
    traced.expect_refusal(
        0,
        &["silent calls no function of another object", "inlined", "-x"],
    );
    traced.assert(
        traced.trace.calls().all(|call| call.name.starts_with("__")),
        "all calls are those of the start-up files",
    );
}

#[test]
fn a_program_that_ends_before() {
    let library = Build::library("callee.c").build();
    let program = Build::program("thousand.c")
        .uses(&library)
        .edited("without its library", |image| {
            let name = b"libcallee.so\0";
            let at = image
                .windows(name.len())
                .position(|bytes| bytes == name)
                .expect("its name");
            image[at..at + 6].copy_from_slice(b"absent");
        })
        .build();
    let traced = Rltrace::new().run([&program]);
    traced.expect_code(127);
    let said = traced.run.err();
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("rltrace: "))
        .collect();
    assert_eq!(
        ours,
        ["rltrace: thousand ended before its libraries were loaded, and so before its first call"],
        "{}",
        traced.tail()
    );
}

#[test]
fn a_stripped_program() {
    let program = silent(&[]).then(["strip", "-s"]).build();
    says(
        &["-L", "-x", "helper"],
        &program,
        &[
            "'helper' matches no function",
            "silent is stripped",
            "-x 'silent+0x1234'",
        ],
    );
}

#[test]
fn a_static_program() {
    let program = silent(&["-static"]).build();
    says(&[], &program, &["statically linked", "-x", "-S"]);
    says(&["-e", "getenv"], &program, &["statically linked"]);
    says(
        &["-L", "-x", "holper"],
        &program,
        &["'holper'", "nearest: helper"],
    );
}

/// Nothing was asked for: there is nothing to explain.
#[test]
fn nothing_is_asked_for() {
    let program = silent(&[]).build();
    let traced = Rltrace::new().arg("-L").run([&program]);
    traced.expect_code(0);
    traced.assert(traced.run.err().is_empty(), "nothing on standard error");
}

/// A process that is left again before it has called anything.
#[test]
fn a_process_that_waits() {
    let mut target = Running::start(Command::new(silent(&["-DSLEEPS"]).build()).stdin(Stdio::null()));
    let tracer = Rltrace::new().pid(target.pid()).start(NOTHING);
    wait_for("the target is traced", || process::is_attached(target.pid()));
    tracer
        .end_by(Signal::SIGINT)
        .expect_refusal(0, &["selected calls was made while it was traced"]);
    target.signal(Signal::SIGTERM);
    wait_for("its end", || target.ended());
}
