//! System calls in one stream with library calls.

use std::path::PathBuf;
use std::process::Command;

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, run};

fn program() -> PathBuf {
    let library = Build::library("callee.c").build();
    Build::program("options.c")
        .flags(["-O0", "-fno-builtin", "-rdynamic"])
        .uses(&library)
        .build()
}

/// The names of system calls in the order in which they begin.
fn names(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.split_once("@SYS(").map(|(name, _)| name.trim().to_owned()))
        .collect()
}

/// strace is the other witness: the same calls in the same order.
#[test]
fn strace_agrees() {
    for command in [
        vec![program().into_os_string()],
        ["ls", "/usr"].map(Into::into).to_vec(),
        ["cat", "/no/such/file"].map(Into::into).to_vec(),
        ["env", "-i"].map(Into::into).to_vec(),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("strace");
        let mut strace = Command::new(tool("strace"));
        run(strace
            .arg("-o")
            .arg(&file)
            .args(["-e", "signal=none"])
            .args(&command));
        let strace = std::fs::read_to_string(&file).expect("strace's output");
        let expected: Vec<&str> = strace
            .lines()
            .filter_map(|line| line.split_once('(').map(|(name, _)| name))
            // rltrace begins when the program is there.
            .filter(|name| *name != "execve")
            .collect();
        let traced = Rltrace::new().arg("-L").arg("-S").run(&command);
        assert_eq!(names(&traced.trace.text), expected, "{}", traced.tail());
        traced.assert(!traced.trace.text.contains("syscall_"), "each has a name");
    }
}

#[test]
fn they_stand_within_the_calls_that_make_them() {
    let traced = Rltrace::new().arg("-S").run([program()]);
    let lines: Vec<&str> = traced.trace.text.lines().collect();
    let at = |start: &str| {
        lines
            .iter()
            .position(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no line {start:?}\n{}", traced.tail()))
    };
    let (before, call, after) = (
        at("signal(SIGUSR1, "),
        at("rt_sigaction@SYS(SIGUSR1, "),
        at("<... signal resumed> )"),
    );
    assert_eq!((before + 1, call + 1), (call, after), "{}", traced.tail());
    assert!(lines[before].ends_with(" <unfinished ...>"), "{}", lines[before]);
    // A failed one has the error's name, as the C library has it.
    let access = lines[at("access@SYS(\"/etc/ld.so.preload\", R_OK)")];
    assert!(
        access.ends_with("= -1 ENOENT (No such file or directory)"),
        "{access}"
    );
    let open = lines[at("openat@SYS(AT_FDCWD, \"/etc/ld.so.cache\", O_RDONLY|O_CLOEXEC)")];
    assert!(open.contains("= 3"), "{open}");
    assert_eq!(lines[lines.len() - 2], "exit_group@SYS(3 <no return ...>");
}

/// A filter can name them as functions of a library `SYS`.
#[test]
fn some_of_them() {
    let traced = Rltrace::new().filter("write@SYS+exit*@SYS").run([program()]);
    assert_eq!(
        names(&traced.trace.text),
        ["write", "exit_group"],
        "{}",
        traced.tail()
    );
    traced.assert(
        traced.trace.text.contains("write@SYS(1, \"out\\n\", 4)"),
        "what is written",
    );
    let wrong = Rltrace::new().filter("wriet@SYS").run([program()]);
    assert_eq!(wrong.run.err().lines().count(), 1, "{}", wrong.run.both());
}

/// The calls of all processes and threads, and those of 32-bit programs, which have other numbers.
#[test]
fn children_threads_and_other_tables() {
    let traced = Rltrace::new()
        .arg("-fS")
        .run([program().as_os_str(), "fork".as_ref()]);
    traced.expect_code(3);
    let exits = names(&traced.trace.text.replace(|c: char| c.is_ascii_digit(), ""));
    let count = exits.iter().filter(|name| *name == "exit_group").count();
    traced.assert(count == 2, "two processes exit");
    let program = Build::program("static.c").flags(["-m32", "-static"]).build();
    let traced = Rltrace::new().arg("-S").run([program]);
    traced.expect_code(3);
    let names = names(&traced.trace.text);
    traced.assert(
        names.iter().any(|name| name == "set_thread_area") && names.iter().any(|name| name == "write"),
        "calls by i386's table",
    );
}
