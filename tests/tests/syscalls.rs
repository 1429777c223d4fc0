//! System calls in one stream with library calls.

use std::path::PathBuf;
use std::process::Command;

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, run};

fn program() -> PathBuf {
    Build::caller("options.c")
        .flags(["-O0", "-fno-builtin", "-rdynamic"])
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

/// What pointers point at, and numbers of 64 bits, which i386 passes in two registers.
#[test]
fn structures_and_wide_numbers() {
    tool("/lib/ld-linux.so.2");
    for compiler in ["cc", "i686-linux-gnu-gcc"] {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        let program = Build::program("syscalls.c").compiler(compiler).build();
        let traced = Rltrace::new()
            .arg("-L")
            .arg("-S")
            .arg("-s100")
            .run([program.as_os_str(), file.as_os_str()]);
        traced.expect_code(0);
        let wide = compiler == "cc";
        let per_machine = |on_x86_64: &'static str, on_i386| if wide { on_x86_64 } else { on_i386 };
        // In the order in which the program makes them.
        let expected = [
            "writev@SYS(1, [ { \"hello \", 6 }, { \"world\\n\", 6 } ], 2) = 12",
            "pwrite64@SYS(3, \"x\", 1, 4886718345) = 1",
            "pread64@SYS(3, \"x\", 1, 4886718345) = 1",
            "preadv@SYS(3, [ { ADDR, 1 } ], 1, 4886718345) = 1",
            per_machine(
                "ftruncate@SYS(3, 4294967298) = 0",
                "ftruncate64@SYS(3, 4294967298) = 0",
            ),
            "readahead@SYS(3, 0, 0) = 0",
            per_machine(
                "truncate@SYS(FILE, 4294967297) = 0",
                "truncate64@SYS(FILE, 4294967297) = 0",
            ),
            "ftruncate@SYS(3, 100) = 0",
            per_machine(
                "newfstatat@SYS(3, \"\", { 0100600, 100 }, AT_EMPTY_PATH) = 0",
                "statx@SYS(3, \"\", AT_NO_AUTOMOUNT|AT_EMPTY_PATH, ADDR, { ADDR, 0100600, 100 }) = 0",
            ),
            "unlink@SYS(FILE) = 0",
            "bind@SYS(-1, { AF_INET, 127.0.0.1, 1 }, 16) = -1 EBADF (Bad file descriptor)",
            "connect@SYS(-1, { AF_UNIX, \"/no/such/socket\" }, 110) = -1 EBADF (Bad file descriptor)",
            "connect@SYS(-1, { AF_INET6, ::1, 0 }, 28) = -1 EBADF (Bad file descriptor)",
            "sendto@SYS(-1, \"text\", 4, MSG_DONTWAIT, { AF_INET, 127.0.0.1, 1 }, 16) = -1 EBADF (Bad file descriptor)",
            "getsockname@SYS(4, { AF_UNIX }, 2) = 0",
            per_machine(
                "rt_sigaction@SYS(SIGUSR1, { on_signal, SA_RESTORER|SA_RESTART, ADDR, <1> }, nil, 8) = 0",
                "rt_sigaction@SYS(SIGUSR1, { on_signal, SA_RESTART, nil, <1> }, nil, 8) = 0",
            ),
            "nanosleep@SYS({ 0, 1000 }, nil) = 0",
            "timerfd_settime@SYS(8, 0, { { 0, 0 }, { 5, 0 } }, nil) = 0",
            "epoll_ctl@SYS(5, EPOLL_CTL_ADD, 7, { EPOLLOUT, 7 }) = 0",
            "epoll_wait@SYS(5, [ { EPOLLOUT, 7 } ], 1, 0) = 1",
            "pselect6@SYS(8, nil, <7>, nil, { 0, 0 }, nil) = 1",
        ];
        let name = format!("{file:?}");
        let seen: Vec<String> = traced
            .trace
            .text
            .lines()
            .map(|line| masked(&line.replace(&name, "FILE")))
            .collect();
        let mut rest = seen.iter();
        for line in expected {
            assert!(
                rest.any(|seen| seen == line),
                "{compiler}: no {line:?} in its place\n{}",
                seen.join("\n")
            );
        }
    }
}

/// Addresses and masks as such, and one space before the result.
fn masked(line: &str) -> String {
    let mut words = Vec::new();
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        match word.split_once("0x") {
            Some((before, after)) => {
                let after = after.trim_start_matches(|c: char| c.is_ascii_hexdigit());
                words.push(format!("{before}ADDR{after}"));
            }
            None => words.push(word.to_owned()),
        }
    }
    words.join(" ")
}
