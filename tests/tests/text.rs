//! The text itself, byte for byte, as ltrace writes it.

use std::path::PathBuf;
use std::process::Command;

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, Traced, run};

fn program() -> PathBuf {
    // Of a function without prototype and debug information four words are shown.
    let library = Build::library("callee.c").flags(["-g0"]).build();
    Build::program("text.c")
        .flags(["-O1", "-fno-builtin"])
        .uses(&library)
        .build()
}

fn traced(rltrace: &Rltrace) -> Traced {
    let traced = rltrace.run([program()]);
    traced.expect_code(5);
    traced.assert(traced.run.out() == "to standard output\n", "the program's output");
    traced.assert(traced.run.err().is_empty(), "nothing on standard error");
    traced
}

#[track_caller]
fn holds(traced: &Traced, line: &str) {
    traced.assert(
        traced.trace.text.lines().any(|seen| seen == line),
        &format!("no line {line:?}"),
    );
}

/// Lines that have no address in them, with the padding.
const LINES: &[&str] = &[
    r#"strlen("plain")                                  = 5"#,
    r#"strlen("")                                       = 0"#,
    r#"strcmp("left", "right")                          = -6"#,
    r#"getenv("NO_SUCH_VARIABLE")                       = nil"#,
    r#"setenv("TEXT", "value", 1)                       = 0"#,
    r#"getenv("TEXT")                                   = "value""#,
    r#"strchr("abc", 'x')                               = nil"#,
    "callee(10000, -10000, 0x2711, 0xffffffffffffd8ef) = 0xffffffffffff2920",
    r#"puts("to standard output")                       = 19"#,
    r#"strcmp("b", "a")                                 = 1"#,
    "<... qsort resumed> )                            = <void>",
    "--- SIGUSR1 (User defined signal 1) ---",
    r#"strlen("in the handler")                         = 14"#,
    "callee(1, 1, 1, 1)                               = 4990",
    "+++ exited (status 5) +++",
];

#[test]
fn each_form() {
    let traced = traced(&Rltrace::new());
    for line in LINES {
        holds(&traced, line);
    }
    // Inside it the start-up files call __cxa_finalize, which ltrace 0.7.3 does not see.
    holds(&traced, "exit(5 <unfinished ...>");
    let qsort = traced.trace.text.lines().find(|line| line.starts_with("qsort("));
    traced.assert(
        qsort.is_some_and(|line| line.ends_with(" <unfinished ...>")),
        "a call within a call",
    );
    let raise = traced.trace.text.lines().find(|line| line.starts_with("raise("));
    traced.assert(
        raise.is_some_and(|line| line.ends_with(" <no return ...>")),
        "a signal cuts a call",
    );
}

/// The other witness: ltrace itself prints these lines of this program.
#[test]
fn ltrace_agrees() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace");
    run(Command::new(tool("ltrace")).arg("-o").arg(&file).arg(program()));
    let text = std::fs::read_to_string(&file).expect("ltrace's trace");
    for line in LINES {
        assert!(
            text.lines().any(|seen| seen == *line),
            "ltrace prints no {line:?}:\n{text}"
        );
    }
}

#[test]
fn strings_are_escaped_and_cut() {
    let traced = traced(&Rltrace::new().arg("-s").arg("100"));
    let call = traced
        .trace
        .calls_of("strlen")
        .find(|call| call.args.starts_with(r#""tab"#))
        .expect("the call");
    let escapes = [r"\t", r"\n", r"\\", r"\a", r"\033", r"\377"];
    for escape in escapes {
        traced.assert(call.args.contains(escape), &format!("{escape} is escaped"));
    }
    traced.assert(
        !traced.trace.text.bytes().any(|byte| byte < b' ' && byte != b'\n'),
        "no control character is left",
    );
    holds(
        &traced,
        r#"strlen("more than thirty-two characters are cut") = 39"#,
    );
    let cut = self::traced(&Rltrace::new().arg("-s").arg("5"));
    traced.assert(
        cut.trace
            .calls_of("strlen")
            .any(|call| call.args == r#""more "..."#),
        "cut after five bytes",
    );
}

#[test]
fn a_filter_names_the_caller() {
    let traced = traced(&Rltrace::new().filter("callee+strcmp"));
    holds(&traced, "text->callee(1, 1, 1, 1)                         = 4990");
    traced.assert(
        traced.trace.calls_of("strlen").next().is_none(),
        "what was not asked for is not shown",
    );
    let lines = traced.trace.text.lines().count();
    traced.assert(
        lines == 6,
        &format!("{lines} lines: four calls, a signal, an end"),
    );
}

#[test]
fn following_names_the_process() {
    let traced = traced(&Rltrace::new().follow().filter("callee"));
    let pids: Vec<_> = traced.trace.calls().map(|call| call.pid).collect();
    traced.assert(
        pids.len() == 2 && pids[0].is_some() && pids[0] == pids[1],
        "each line begins with the pid",
    );
    traced.assert(!traced.trace.text.contains("[pid"), "bare in a file");
}

/// Without `-o` the trace goes to standard error, where the pid stands in brackets.
#[test]
fn standard_error() {
    let seen = Rltrace::new()
        .own_output()
        .follow()
        .filter("callee")
        .run([program()])
        .run;
    assert_eq!(seen.out(), "to standard output\n");
    assert_eq!(seen.err().lines().count(), 4, "{}", seen.err());
    assert!(
        seen.err().lines().all(|line| line.starts_with("[pid ")),
        "{}",
        seen.err()
    );
}

#[test]
fn a_summary() {
    let traced = traced(&Rltrace::new().arg("-c"));
    let text = &traced.trace.text;
    traced.assert(
        text.starts_with("% time ")
            && text
                .lines()
                .next()
                .is_some_and(|line| line.ends_with(" function")),
        "the header",
    );
    let strlen = text
        .lines()
        .find(|line| line.ends_with(" strlen"))
        .unwrap_or_default();
    traced.assert(
        strlen.split_whitespace().nth(3) == Some("6"),
        "strlen was called six times",
    );
    traced.assert(text.lines().any(|line| line.ends_with(" total")), "the total");
}
