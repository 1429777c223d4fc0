//! Programs that people run: under the tracer they do what they do without it, and their calls are in the trace.

use std::process::Command;

use rltrace_tests::engines::as_natively;
use rltrace_tests::tools::{python, scratch, tool};
use rltrace_tests::{Build, Rltrace, Traced, run, words};

/// Runs a command natively and under `rltrace`: standard output, standard error and the end must be the same, and the
/// trace must hold a call of each of `calls`.
#[track_caller]
fn same(rltrace: &Rltrace, command: &[&str], calls: &[&str]) -> Traced {
    let program = tool(command[0]);
    let native = run(Command::new(&program).args(&command[1..]).env("LC_ALL", "C"));
    let traced = rltrace.run(words(program, &command[1..]));
    as_natively(&traced, &native);
    traced.assert(traced.own_words().0.is_empty(), "the tracer says nothing");
    for name in calls {
        traced.expect_call(name);
    }
    traced.expect_known_lines();
    traced
}

fn plain() -> Rltrace {
    Rltrace::new().env("LC_ALL", "C")
}

#[test]
fn ls() {
    let traced = same(
        &plain(),
        &["ls", "-l", "/usr"],
        &["opendir", "readdir", "closedir", "setlocale"],
    );
    traced.expect_code(0);
    let opened = traced
        .trace
        .calls_of("opendir")
        .next()
        .expect("checked above")
        .args
        .clone();
    traced.assert(opened == "\"/usr\"", "the string argument of opendir");
}

#[test]
fn ls_of_nothing() {
    let traced = same(&plain(), &["ls", "/no/such/directory"], &["error"]);
    traced.expect_code(2);
}

#[test]
fn sort() {
    same(&plain(), &["sort", "-r", "/etc/passwd"], &["setlocale", "fclose"]);
}

#[test]
fn sort_with_threads() {
    let (_directory, file) = scratch("numbers");
    let numbers: Vec<String> = (0..200_000_u64)
        .map(|i| (i * 7919 % 200_003).to_string())
        .collect();
    std::fs::write(&file, numbers.join("\n")).expect("written");
    let words = [
        "sort",
        "-n",
        "--parallel=4",
        "-S",
        "20M",
        file.to_str().expect("a path"),
    ];
    same(
        &plain().filter("pthread_*"),
        &words,
        &["pthread_create", "pthread_join"],
    );
}

#[test]
fn python_with_a_thread_and_json() {
    let script = "\
import json, threading
out = []
t = threading.Thread(target=lambda: out.append(json.dumps({'a': [1, 2.5, None], 'b': 'x' * 50})))
t.start(); t.join()
print(out[0], json.loads(out[0])['a'])
";
    same(
        &plain(),
        &[python(), "-c", script],
        &["memcpy", "malloc", "pthread_create"],
    );
}

#[test]
fn perl() {
    let script =
        "my %h = map { $_ => $_ ** 2 } 1..200; print join(',', map { $h{$_} } sort keys %h), qq{\\n}; exit 3";
    same(&plain(), &["perl", "-e", script], &["malloc", "memcpy"]).expect_code(3);
}

#[test]
fn gcc_compiles() {
    let (_directory, object) = scratch("callee.o");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/callee.c");
    let output = object.to_str().expect("a path");
    let words = ["gcc", "-c", source, "-o", output];
    run(Command::new(tool("gcc")).args(&words[1..])).expect_success();
    let native = std::fs::read(&object).expect("an object file");
    std::fs::remove_file(&object).expect("remove");
    same(&plain(), &words, &["malloc", "strlen"]);
    assert_eq!(std::fs::read(&object).expect("an object file again"), native);
}

#[test]
fn gcc_compiles_with_its_children_followed() {
    let (_directory, object) = scratch("callee.o");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/callee.c");
    let words = ["gcc", "-O0", "-c", source, "-o", object.to_str().expect("a path")];
    let traced = same(&plain().follow().filter("getenv+exit"), &words, &["getenv"]);
    traced.assert(traced.trace.exits().len() >= 3, "gcc, cc1 and as each exit");
    assert!(object.is_file());
}

#[test]
fn git() {
    same(&plain(), &["git", "--version"], &["getenv", "malloc"]);
}

#[test]
fn openssl() {
    same(
        &plain(),
        &["openssl", "dgst", "-sha256", "/etc/passwd"],
        &["BIO_printf", "strcmp"],
    );
}

#[test]
fn tar() {
    let words = ["tar", "-c", "--sort=name", "--mtime=@0", "-C", "/etc", "apt"];
    same(&plain(), &words, &["strcmp", "fdopendir", "readdir"]);
}

#[test]
fn xz() {
    same(
        &plain(),
        &["xz", "-k", "-c", "/etc/passwd"],
        &["lzma_code", "read", "getopt_long"],
    );
}

#[test]
fn curl() {
    same(&plain(), &["curl", "--version"], &["curl_version_info", "puts"]);
}

/// More than 100,000 calls. Where the variable names a file of certificates, node reads them all at its start, which is three
/// million calls more.
#[test]
fn node() {
    let script = "console.log([3, 1, 2].sort().join(), JSON.stringify({a: 1}))";
    let words = ["env", "-u", "NODE_EXTRA_CA_CERTS", "node", "-e", script];
    let traced = same(&plain(), &words, &["malloc", "memcpy"]);
    let calls = traced.trace.calls().count();
    traced.assert(calls > 50_000, &format!("{calls} calls"));
}

#[test]
fn a_pipeline() {
    let script = "seq 3000 | sort -rn | head -n 3; echo $?";
    same(&plain(), &["sh", "-c", script], &["fork", "pipe"]);
}

#[test]
fn a_pipeline_with_every_process_followed() {
    let script = "seq 3000 | sort -rn | tail -n 3; exit 5";
    let traced = same(
        &plain().follow().filter("setlocale"),
        &["sh", "-c", script],
        &["setlocale"],
    );
    traced.expect_code(5);
    traced.assert(
        traced.trace.exits().len() == 4,
        "sh, seq, sort and tail each exit",
    );
    traced.assert(
        traced.trace.calls_of("setlocale").count() >= 3,
        "seq, sort and tail call setlocale",
    );
}

#[test]
fn a_command_that_kills_itself() {
    let traced = same(&plain(), &["sh", "-c", "kill -9 $$"], &["kill"]);
    assert_eq!(traced.run.signal(), Some(9), "rltrace ends by the same signal");
    traced.assert(
        traced.trace.text.contains("+++ killed by SIGKILL +++"),
        "the end is in the trace",
    );
}

#[test]
fn a_command_that_ends_by_another_signal() {
    for (name, number) in [("TERM", 15), ("SEGV", 11), ("USR1", 10), ("ABRT", 6), ("TRAP", 5)] {
        let traced = same(&plain(), &["sh", "-c", &format!("kill -{name} $$")], &["kill"]);
        assert_eq!(traced.run.signal(), Some(number), "SIG{name}");
        let line = format!("+++ killed by SIG{name} +++");
        traced.assert(traced.trace.text.contains(&line), "the end is in the trace");
    }
}

#[test]
fn every_exit_status_is_handed_on() {
    for status in [0, 1, 2, 77, 126, 127, 128, 255] {
        let traced = same(&plain(), &["sh", "-c", &format!("exit {status}")], &[]);
        traced.expect_code(status);
        traced.assert(traced.trace.exits() == [status], "one exit in the trace");
    }
}

/// ltrace shows three lines of a release build: its slots are `GLOB_DAT`, called as `call *slot(%rip)`.
#[test]
fn rust_release_build() {
    let program = Build::program("hello.rs").flags(["-C", "opt-level=3"]).build();
    let traced = same(
        &plain(),
        &[program.to_str().expect("a path")],
        &["malloc", "free", "memcpy", "write"],
    );
    let writes: Vec<_> = traced.trace.calls_of("write").collect();
    let hello = writes.iter().find(|call| call.args.contains("hello"));
    traced.assert(hello.is_some(), "write(1, \"hello…\") with its text");
    assert_eq!(
        hello.and_then(|call| call.result()),
        Some("20"),
        "the result of write is the count of bytes"
    );
}

/// The same by cargo, in a package of its own with no dependency.
#[test]
fn rust_cargo_release_build() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/hello.rs");
    std::fs::create_dir(directory.path().join("src")).expect("src");
    std::fs::copy(source, directory.path().join("src/main.rs")).expect("copied");
    let manifest = "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    std::fs::write(directory.path().join("Cargo.toml"), manifest).expect("written");
    let mut cargo = Command::new(tool("cargo"));
    cargo
        .args(["build", "--release", "--offline", "--quiet"])
        .current_dir(&directory);
    cargo
        .env("CARGO_TARGET_DIR", directory.path().join("target"))
        .env_remove("RUSTFLAGS");
    run(&mut cargo).expect_success();
    let program = directory.path().join("target/release/hello");
    let traced = same(
        &plain(),
        &[program.to_str().expect("a path")],
        &["malloc", "free", "memcpy", "write"],
    );
    traced.assert(
        traced
            .trace
            .calls_of("write")
            .any(|call| call.args.contains("hello")),
        "its text is written",
    );
}
