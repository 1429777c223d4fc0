//! What is counted instead of shown: times that are right, tables as they are asked for, comparisons that fail.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use rltrace_tests::{Build, Rltrace, Running, rltrace_binary, run, wait_for};

fn sleeps() -> PathBuf {
    Build::program("sleeps.c").flags(["-O1", "-fno-builtin"]).build()
}

/// A table by its header: each row's cells by column, under its function's name.
fn table(text: &str) -> HashMap<String, HashMap<String, f64>> {
    let lines: Vec<&str> = text.lines().collect();
    let header = lines
        .iter()
        .position(|line| line.starts_with("% time"))
        .expect("a header");
    let ends: Vec<usize> = lines[header + 1]
        .char_indices()
        .zip(lines[header + 1].chars().skip(1).chain([' ']))
        .filter(|((_, c), next)| *c == '-' && *next == ' ')
        .map(|((at, _), _)| at + 1)
        .collect();
    let cells = |line: &str| -> Vec<String> {
        let chars: Vec<char> = line.chars().collect();
        let mut start = 0;
        ends.iter()
            .enumerate()
            .map(|(index, &end)| {
                let end = if index + 1 == ends.len() { chars.len() } else { end };
                let cell: String = chars
                    .get(start..end.max(start))
                    .unwrap_or_default()
                    .iter()
                    .collect();
                start = end;
                cell.trim().to_owned()
            })
            .collect()
    };
    let names = cells(lines[header]);
    lines[header + 2..]
        .iter()
        .take_while(|line| !line.starts_with("---"))
        .map(|line| {
            let row = cells(line);
            let numbers = names
                .iter()
                .cloned()
                .zip(&row)
                .filter_map(|(name, cell)| Some((name, cell.parse().ok()?)));
            (row.last().expect("a name").clone(), numbers.collect())
        })
        .collect()
}

#[track_caller]
fn near(what: &str, seen: f64, expected: f64) {
    let off = (seen - expected).abs() / expected;
    assert!(off < 0.1, "{what}: {seen} instead of {expected}");
}

/// What was asked for is the least, and what the program has measured around the call the most: on a busy machine its
/// threads wait for a CPU before and after.
#[track_caller]
fn between(what: &str, seen: f64, least: f64, most: f64) {
    let within = least * 0.9 < seen && seen < most * 1.1;
    assert!(within, "{what}: {seen}, not between {least} and {most}");
}

/// Comparisons sleep and work in a call that sorts, five times in each thread, and the program tells how long.
#[test]
fn self_times_and_percentiles() {
    for threads in [1, 4] {
        let traced = Rltrace::new()
            .arg("-c")
            .arg("-e")
            .arg("qsort+usleep@MAIN")
            .run([sleeps().as_os_str(), threads.to_string().as_ref()]);
        traced.expect_code(0);
        let table = table(&traced.trace.text);
        let calls = f64::from(5 * threads);
        let (sort, sleep) = (&table["qsort"], &table["usleep"]);
        near("sortings", sort["calls"], calls);
        near("sleeps", sleep["calls"], calls);
        let out = traced.run.out();
        let told: Vec<f64> = out.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        between("all sleeps", sleep["self s"], 0.02 * calls, told[0] / 1e9);
        between("a sleep", sleep["p50 µs"], 20_000.0, told[1] / 1e3);
        between("own work", sort["self s"], 0.03 * calls, told[2] / 1e9);
        between("a sorting", sort["p50 µs"], 50_000.0, told[3] / 1e3);
        between(
            "all sortings",
            sort["total s"],
            0.05 * calls,
            (told[0] + told[2]) / 1e9,
        );
        assert!(
            sort["p50 µs"] <= sort["p90 µs"] && sort["p99 µs"] <= sort["max µs"],
            "{table:?}"
        );
        assert!(
            traced
                .trace
                .text
                .contains("taken off for the tracer's own cost: "),
            "it is stated"
        );
    }
}

#[test]
fn columns_and_order() {
    let traced = Rltrace::new()
        .arg("-c")
        .arg("--columns=calls,name")
        .arg("--sort=calls")
        .arg("-e")
        .arg("*@MAIN-__*")
        .run([sleeps()]);
    let lines: Vec<&str> = traced.trace.text.lines().collect();
    assert_eq!(lines[0], "calls  function");
    let calls: Vec<u64> = lines[2..]
        .iter()
        .map_while(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    assert!(calls.len() > 3 && calls.is_sorted_by(|a, b| a >= b), "{calls:?}");
}

#[test]
fn lines_and_table() {
    for option in ["--summary-and-trace", "-c"] {
        let traced = Rltrace::new().arg(option).arg("-e").arg("usleep").run([sleeps()]);
        let lines = traced.trace.text.contains("usleep(20000)");
        traced.assert(
            lines == (option == "--summary-and-trace"),
            "lines are there if they were asked for",
        );
        near("all calls", table(&traced.trace.text)["usleep"]["calls"], 5.0);
    }
}

/// `open` fails once: that is an error of it.
#[test]
fn errors_are_counted() {
    let traced = Rltrace::new()
        .arg("-c")
        .arg("-S")
        .run(["cat", "/no/such/file", "/dev/null"]);
    let table = table(&traced.trace.text);
    let open = &table["openat@SYS"];
    assert!(
        open["errors"] >= 1.0 && open["calls"] > open["errors"],
        "{table:?}"
    );
}

/// Ctrl-C ends the trace: the table is there.
#[test]
fn ctrl_c() {
    let mut cat = Running::start(Command::new("cat").stdin(Stdio::piped()));
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("table");
    let mut tracer = Command::new(rltrace_binary());
    tracer
        .arg("-c")
        .arg("-o")
        .arg(&file)
        .arg("-p")
        .arg(cat.pid().to_string());
    let tracer = Running::start(&mut tracer);
    wait_for("the target is traced", || {
        rltrace_tests::process::is_attached(cat.pid())
    });
    tracer.signal(Signal::SIGINT);
    assert_eq!(tracer.finish().code(), 0);
    let text = std::fs::read_to_string(&file).expect("the table");
    assert!(text.starts_with("% time"), "{text}");
    drop(cat.stdin());
    cat.finish().expect_success();
}

fn stored(file: &Path, threads: &str) {
    let traced = Rltrace::new()
        .arg("--summary-json")
        .arg(file)
        .arg("-c")
        .arg("-e")
        .arg("usleep+qsort@MAIN")
        .run([sleeps().as_os_str(), threads.as_ref()]);
    traced.expect_code(0);
}

#[test]
fn comparisons() {
    let directory = tempfile::tempdir().expect("a directory");
    let (base, new) = (directory.path().join("base"), directory.path().join("new"));
    stored(&base, "1");
    stored(&new, "2");
    let compare = |limits: &[&str], base: &Path, new: &Path| {
        let mut command = Command::new(rltrace_binary());
        command.arg("--compare").arg(base).arg(new);
        for limit in limits {
            command.arg("--fail-over").arg(limit);
        }
        run(&mut command)
    };
    let seen = compare(&["usleep:calls:20%"], &base, &new);
    assert_eq!(seen.code(), 3, "{}", seen.both());
    assert!(
        seen.out().contains("usleep") && seen.out().contains("20%"),
        "{}",
        seen.both()
    );
    compare(&["usleep:calls:100%", "qsort:max:10000%"], &base, &new).expect_success();
    compare(&[], &base, &new).expect_success();
    compare(&["*:calls:0%"], &base, &base).expect_success();
    let other = directory.path().join("other");
    std::fs::write(&other, "[]").expect("written");
    for (wrong, word) in [
        (directory.path().join("none"), "No such file"),
        (other, "not a summary as --summary-json writes it"),
    ] {
        let seen = compare(&[], &base, &wrong);
        assert_eq!(seen.code(), 1, "{}", seen.both());
        assert!(
            seen.err().lines().count() == 1 && seen.err().contains(word),
            "{}",
            seen.both()
        );
    }
    let seen = compare(&["usleep:calls"], &base, &new);
    assert_eq!(seen.code(), 1);
    assert!(seen.err().contains("FUNCTION:COLUMN:GROWTH%"), "{}", seen.err());
}
