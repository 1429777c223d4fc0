//! Values that mean more than their numbers: errno of the right thread, functions by name, dispositions.

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, Traced};

fn traced(flags: &[&str]) -> Traced {
    let program = Build::program("meanings.c").flags(flags).build();
    let traced = Rltrace::new().arg("-a0").run([program]);
    traced.expect_code(0);
    traced.assert(traced.run.err().is_empty(), "nothing on standard error");
    traced
}

#[track_caller]
fn holds(traced: &Traced, line: &str) {
    let found = traced.trace.text.lines().any(|seen| seen.ends_with(line));
    traced.assert(found, &format!("no line that ends with {line:?}"));
}

#[test]
fn a_failed_call_tells_its_threads_errno() {
    let traced = traced(&[]);
    holds(&traced, "close(77) = -1 EBADF (Bad file descriptor)");
    let in_thread = traced
        .trace
        .text
        .lines()
        .find(|line| line.ends_with(" = -1 ENOENT (No such file or directory)"));
    traced.assert(in_thread.is_some(), "the other thread's errno");
}

#[test]
fn functions_have_names_and_dispositions_theirs() {
    for flags in [&[][..], &["-no-pie"]] {
        let traced = traced(flags);
        let qsort = traced.trace.text.lines().find(|line| line.starts_with("qsort("));
        traced.assert(
            qsort.is_some_and(|line| line.contains(", 2, 4, compare")),
            "qsort's function",
        );
        holds(&traced, "signal(SIGUSR1, handler) = SIG_DFL");
        holds(&traced, "signal(SIGUSR1, SIG_IGN) = handler");
        holds(&traced, "signal(SIGUSR1, SIG_DFL) = SIG_IGN");
    }
}

#[test]
fn a_mode_is_shown_with_o_creat_only() {
    let traced = traced(&[]);
    let open = |path: &str| {
        let call = traced
            .trace
            .calls_of("open")
            .find(|call| call.args.contains(path));
        call.unwrap_or_else(|| panic!("no open of {path}")).args.clone()
    };
    traced.assert(open("/dev/null") == r#""/dev/null", O_RDONLY"#, "no mode");
    traced.assert(
        open("/proc/self") == r#""/proc/self/status", O_RDWR|O_CREAT, 0640"#,
        "a mode",
    );
}

/// `-y`: at the call and at the return; names are escaped.
#[test]
fn file_descriptors_with_what_they_refer_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a\nfile");
    std::fs::write(&file, "text\n").expect("a file");
    let shown = file.to_str().expect("UTF-8").replace('\n', "\\n");
    let traced = Rltrace::new()
        .arg("-y")
        .arg("-a0")
        .filter("open+close@MAIN")
        .run([tool("cat").as_os_str(), file.as_os_str()]);
    traced.expect_code(0);
    // The string of the path may be cut short, what stands between the angles is not. (Whether cat reads depends on
    // what kind of file it writes to.)
    for part in [
        format!(", O_RDONLY) = 3<{shown}>\n"),
        format!("close(3<{shown}>) = 0\n"),
    ] {
        traced.assert(traced.trace.text.contains(&part), &format!("no {part:?}"));
    }
}
