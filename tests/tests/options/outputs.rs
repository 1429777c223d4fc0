//! Where the trace goes, and what is told beside it.

use std::path::Path;

use super::*;

#[test]
fn files() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace");
    let name = file.to_str().expect("UTF-8");
    let read = || std::fs::read_to_string(&file).expect("the trace");
    let twice = |options: &[&str]| {
        std::fs::write(&file, "before\n").expect("written");
        let rltrace = Rltrace::new().own_output().args(options);
        let traced = rltrace.run([program()]);
        traced.expect_code(3);
        traced.assert(traced.run.err().is_empty(), "nothing on standard error");
        masked(&read())
    };
    assert_eq!(twice(&["-o", name]), PLAIN);
    assert_eq!(twice(&["--output", name]), PLAIN);
    assert_eq!(
        twice(&["-o", name, "--output-append"]),
        format!("before\n{PLAIN}")
    );
    let command = format!("|cat > {name}");
    assert_eq!(twice(&["-o", &command]), PLAIN);
    let none = twice(&["-o", name, "-b", "-L"]);
    assert_eq!(
        none,
        "before\n".replace("before\n", "+++ exited (status 3) +++\n")
    );
}

#[test]
fn a_file_for_each_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace");
    let traced = Rltrace::new()
        .own_output()
        .arg("-ff")
        .arg("-o")
        .arg(&file)
        .run([program().as_os_str(), "fork".as_ref()]);
    traced.expect_code(3);
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory.path())
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let texts: Vec<String> = files
        .iter()
        .map(|file| masked(&std::fs::read_to_string(file).expect("a trace")))
        .collect();
    assert_eq!(files.len(), 2, "{files:?}");
    let (child, parent) = if texts[0].contains("puts") {
        (&texts[1], &texts[0])
    } else {
        (&texts[0], &texts[1])
    };
    // What the child has of its parent's fork is the return.
    assert!(child.contains("strlen(\"child\") = 5\n"), "{child}");
    assert!(child.ends_with("+++ exited (status 0) +++\n"), "{child}");
    assert!(
        !parent.contains("\"child\"") && parent.contains("fork() = "),
        "{parent}"
    );
    assert!(!child.contains("[pid"), "{child}");
}

#[test]
fn colors() {
    let traced = Rltrace::new().arg("--color=always").run([program()]);
    traced.assert(
        traced.trace.text.contains("\x1b[36mputs\x1b[0m(\"out\")"),
        "the name has a color",
    );
    gives(&["--color=never"], PLAIN);
    gives(&["--color=auto"], PLAIN);
}

/// The output breaks while the program runs: the program goes on to its end unharmed, the loss is said once, and
/// the exit status is 1.
#[test]
fn outputs_that_break() {
    let program = Build::caller("thousand.c").flags(["-O1"]).build();
    for output in ["/dev/full", "|exec head -c 100 >/dev/null"] {
        let traced = Rltrace::new().own_output().arg("-o").arg(output).run([&program]);
        traced.expect_code(1);
        traced.assert(
            traced.run.out().lines().count() == 1000,
            "the program did all it had to do",
        );
        traced.assert(traced.run.err().lines().count() == 1, "said once");
    }
    let full: &Path = Path::new("/dev/full");
    let traced = Rltrace::new().arg("--summary-json").arg(full).run([&program]);
    traced.expect_code(1);
    traced.assert(traced.run.out().lines().count() == 1000, "all was done");
    traced.assert(traced.run.err().contains("/dev/full"), "the file is named");
}

/// Each level tells more than the one before, on standard error; the trace is the same.
#[test]
fn the_tracers_own_work() {
    let told = |level: &str| {
        let traced = Rltrace::new().arg("-D").arg(level).run([program()]);
        assert_eq!(masked(&traced.trace.text), PLAIN);
        traced.run.err()
    };
    let levels = ["off", "warn", "info", "debug", "trace"].map(|level| told(level).lines().count());
    assert_eq!(levels[..2], [0, 0]);
    assert!(
        levels[1..].is_sorted() && levels[2] < levels[3] && levels[3] < levels[4],
        "{levels:?}"
    );
    assert!(told("info").contains("command started"), "{}", told("info"));
    assert!(told("debug").contains("libcallee.so"), "{}", told("debug"));
    // ltrace's masks.
    assert_eq!((told("0").lines().count(), told("77").is_empty()), (0, false));
}
