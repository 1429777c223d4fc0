//! Raw traces (`--record`): what is replayed is what the run itself would have shown, and a file that is not whole, or was written by
//! nobody, does no harm.

mod damaged;
mod overwritten;
mod refusals;
mod several;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use rltrace_tests::tools::tool;
use rltrace_tests::{Background, Build, Hot, NOTHING, Rltrace, Traced, rltrace_binary, run, wait_for, words};
use tempfile::TempDir;

/// A folder with a raw trace in it.
struct Raw(TempDir);

impl Raw {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("raw")
    }

    /// Records a command with these options.
    fn record(&self, options: &[&str], command: &[OsString]) -> Traced {
        let rltrace = steady().own_output().arg("--record").arg(self.file());
        rltrace.args(options).run(command)
    }

    /// Attaches to a program that calls all the time, and records until there is a megabyte.
    fn record_running(&self, hot: &Hot) -> Background {
        let rltrace = Rltrace::new()
            .own_output()
            .filter("callee")
            .arg("--record")
            .arg(self.file());
        let tracer = rltrace.pid(hot.pid()).start(NOTHING);
        let file = self.file();
        wait_for("a megabyte of records", || {
            std::fs::metadata(&file).is_ok_and(|meta| meta.len() > 1 << 20)
        });
        tracer
    }

    /// Shows what was recorded.
    fn replay(&self, options: &[&str]) -> Traced {
        let rltrace = Rltrace::new().arg("--replay").arg(self.file());
        rltrace.args(options).run(NOTHING)
    }
}

/// Programs lie at the same addresses each time.
fn steady() -> Rltrace {
    Rltrace::new().by_way_of([OsString::from(tool("setarch")), "-R".into()])
}

fn mixed() -> PathBuf {
    Build::program("raw.c")
        .flags(["-O1", "-Wl,--no-as-needed", "-lm"])
        .build()
}

fn calling(source: &str) -> PathBuf {
    Build::caller(source).flags(["-O1"]).build()
}

/// Fails unless what was replayed has the lines of the direct trace; `line` makes lines of two runs comparable.
#[track_caller]
fn same_lines(direct: &Traced, replayed: &Traced, line: impl Fn(&str) -> Option<String>) {
    let lines = |traced: &Traced| -> Vec<String> {
        traced
            .trace
            .without_addresses()
            .iter()
            .filter_map(|text| line(text))
            .collect()
    };
    let (direct_lines, lines) = (lines(direct), lines(replayed));
    replayed.assert(!lines.is_empty(), "there are lines");
    for (index, (one, other)) in direct_lines.iter().zip(&lines).enumerate() {
        replayed.assert(
            one == other,
            &format!("line {}: directly\n  {one}\nreplayed\n  {other}\n", index + 1),
        );
    }
    replayed.assert(
        direct_lines.len() == lines.len(),
        &format!("{} lines directly, {} replayed", direct_lines.len(), lines.len()),
    );
}

/// Traces a command directly and by way of a file, and fails unless both are the same.
#[track_caller]
fn same(
    recorded: &[&str],
    shown: &[&str],
    command: &[OsString],
    line: impl Fn(&str) -> Option<String>,
) -> Traced {
    let direct = steady().engine("fast").args(recorded).args(shown).run(command);
    let raw = Raw::new();
    let run = raw.record(recorded, command);
    run.assert(
        run.run.status == direct.run.status,
        "it ends as under the direct trace",
    );
    run.assert(run.run.stdout == direct.run.stdout, "and says the same");
    run.assert(run.run.err() == direct.run.err(), "and the tracer does, too");
    let replayed = raw.replay(shown);
    replayed.expect_code(0);
    replayed.assert(replayed.run.out().is_empty(), "the text is in the file");
    same_lines(&direct, &replayed, line);
    replayed
}

/// The numbers of processes are another run's, and so is how often a stub wakes the tracer.
fn without_processes(line: &str) -> Option<String> {
    let of_the_run = ["gettid", "getpid", "tgkill", "set_tid_address", "futex@SYS"];
    (!of_the_run.iter().any(|word| line.contains(word))).then(|| line.to_owned())
}

/// Times are another run's, and have another number of digits.
fn without_times(line: &str) -> String {
    let untimed = |word: &str| {
        let digits = word.trim_matches(['<', '>']);
        let is_time =
            digits.contains(['.', ':']) && digits.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ':');
        // `pow(1.500000` is no time.
        if is_time && !word.ends_with(',') {
            "T".to_owned()
        } else {
            word.to_owned()
        }
    };
    line.split(' ').map(untimed).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_text_is_that_of_the_run() {
    let command = words(mixed(), &["20"]);
    let shown = [
        &[][..],
        &["-n", "3"],
        &["-a", "70"],
        &["-b"],
        &["-C"],
        &["--color", "always"],
    ];
    for shown in shown {
        let replayed = same(&[], shown, &command, |line| Some(line.to_owned()));
        for name in ["qsort", "frexp", "access"] {
            replayed.assert(replayed.trace.text.contains(name), name);
        }
    }
    for recorded in [
        &["-s", "5"][..],
        &["-s", "200", "-A", "1"],
        &["-S"],
        &["-y"],
        &["-w", "2"],
    ] {
        same(recorded, &[], &command, without_processes);
    }
}

#[test]
fn times_and_return_addresses_are_there_if_they_were_asked_for() {
    let command = words(mixed(), &[]);
    for options in [&["-i"][..], &["-T"], &["-ttt", "-T"], &["-r"], &["-tt", "-i"]] {
        same(options, options, &command, |line| Some(without_times(line)));
    }
    let raw = Raw::new();
    raw.record(&["-T"], &words(calling("thousand.c"), &[]))
        .expect_code(0);
    let replayed = raw.replay(&["-ttt", "-T", "-e", "callee"]);
    let mut last = 0.0;
    for line in replayed
        .trace
        .text
        .lines()
        .filter(|line| line.contains("callee("))
    {
        let (time, rest) = line.split_once(' ').expect("a time");
        let time: f64 = time.parse().expect("seconds");
        let took: f64 = rest
            .rsplit(['<', '>'])
            .nth(1)
            .and_then(|took| took.parse().ok())
            .expect("a time");
        replayed.assert(time >= last && took < 10.0, line);
        last = time;
    }
    replayed.assert(last > 1.6e9, "a time of today");
}

#[test]
fn a_large_program() {
    let python = ["/usr/bin/python3", "/usr/local/bin/python3"]
        .into_iter()
        .find(|path| Path::new(path).is_file());
    let command = words(
        python.expect("python3 of the system"),
        &["-S", "-c", "print(sum(len(str(i)) for i in range(2000)))"],
    );
    let not_of_the_run = |line: &str| {
        let of_the_run = [
            "clock_gettime(",
            "syscall(",
            "getpid(",
            "gettid(",
            "getrandom(",
            "time(",
        ];
        (!of_the_run.iter().any(|start| line.contains(start))).then(|| line.to_owned())
    };
    // Its tables are hashed, and in the order of that.
    let rltrace = steady().engine("fast").env("PYTHONHASHSEED", "0");
    let direct = rltrace.run(&command);
    let raw = Raw::new();
    let record = steady()
        .own_output()
        .env("PYTHONHASHSEED", "0")
        .arg("--record")
        .arg(raw.file());
    let run = record.run(&command);
    run.expect_code(0);
    run.assert(run.run.stdout == direct.run.stdout, "it says the same");
    same_lines(&direct, &raw.replay(&[]), not_of_the_run);
}

#[test]
fn tables() {
    let command = words(mixed(), &["50"]);
    let columns = ["-c", "--columns", "calls,errors,name", "--sort", "name"];
    let direct = Rltrace::new().engine("fast").args(columns).run(&command);
    let rows = |traced: &Traced| -> Vec<String> {
        let lines = traced.trace.text.lines();
        lines
            .filter(|line| !line.starts_with("taken off"))
            .map(str::to_owned)
            .collect()
    };
    for recorded in [&["-c"][..], &["-T"], &[]] {
        let raw = Raw::new();
        raw.record(recorded, &command);
        let replayed = raw.replay(&columns);
        replayed.expect_code(0);
        assert_eq!(rows(&replayed), rows(&direct), "{recorded:?}");
        assert_eq!(replayed.counted("frexp"), 50);
    }
    // With its times, and as JSON.
    let raw = Raw::new();
    raw.record(&["-c"], &command);
    let json = raw.0.path().join("json");
    let replayed = raw.replay(&["-c", "--summary-json", json.to_str().expect("a path")]);
    replayed.expect_code(0);
    replayed.assert(replayed.trace.text.contains("p99"), "the usual columns");
    assert!(std::fs::read_to_string(json).expect("a file").contains("frexp"));
}

#[test]
fn fewer_calls_by_a_filter() {
    let command = words(mixed(), &["20"]);
    let filter = ["-e", "frexp+qsort+raise"];
    let direct = steady().engine("fast").args(filter).run(&command);
    let raw = Raw::new();
    raw.record(&[], &command);
    let replayed = raw.replay(&filter);
    replayed.expect_code(0);
    same_lines(&direct, &replayed, |line| Some(line.to_owned()));
    replayed.assert(replayed.trace.calls().count() == 23, "three functions");
}

#[test]
fn a_command_gets_it() {
    let raw = Raw::new();
    let command = format!("|cat > {}", raw.file().display());
    let run = Rltrace::new()
        .own_output()
        .arg("--record")
        .arg(command)
        .run(words(mixed(), &[]));
    run.expect_code(7);
    raw.replay(&[]).expect_code(0).expect_call("frexp");
}

#[test]
fn a_full_disk_does_the_program_no_harm() {
    let native = run(Command::new(mixed()).arg("20000"));
    let traced = Rltrace::new()
        .own_output()
        .arg("--record")
        .arg("/dev/full")
        .run(words(mixed(), &["20000"]));
    traced.expect_code(1);
    traced.assert(
        traced.run.stdout == native.stdout,
        "the program has done its work",
    );
    let (own, _) = traced.own_words();
    traced.assert(
        own.len() == 1 && own[0].contains("No space left"),
        "it is told once",
    );
}

/// What was lost is told at the recording, and again when it is replayed.
#[test]
fn losses_are_told_twice() {
    let raw = Raw::new();
    let options = ["-e", "callee", "--ring", "64K", "--on-full", "drop"];
    let program = words(calling("crowd.c"), &["8", "200000"]);
    let run = raw.record(&options, &program);
    run.expect_code(0);
    let replayed = raw.replay(&["-c", "--columns", "calls,name"]);
    replayed.expect_code(0);
    assert_eq!(run.own_words().0, replayed.own_words().0);
    let lost: u64 = replayed
        .own_words()
        .0
        .iter()
        .filter_map(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok())
        .sum();
    let seen = replayed.counted("callee");
    replayed.assert(
        seen <= 1_600_000 && seen + lost >= 1_600_000,
        &format!("{seen} calls seen, {lost} records lost"),
    );
}

/// A program that ends at once, and one without a call.
#[test]
fn almost_nothing() {
    let raw = Raw::new();
    raw.record(&[], &words(tool("true"), &[])).expect_code(0);
    let replayed = raw.replay(&[]);
    replayed.expect_code(0);
    replayed.assert(
        replayed.trace.text.contains("+++ exited (status 0) +++"),
        "its end",
    );
    let direct = Rltrace::new()
        .engine("auto")
        .filter("no_such")
        .run([tool("true")]);
    let run = raw.record(&["-e", "no_such"], &words(tool("true"), &[]));
    assert_eq!(run.run.err(), direct.run.err());
    assert_eq!(raw.replay(&[]).run.err(), direct.run.err());
}

/// The binary that is tested is there: of the harness.
#[test]
fn the_version_is_in_the_file() {
    let raw = Raw::new();
    raw.record(&[], &words(tool("true"), &[])).expect_code(0);
    let bytes = std::fs::read(raw.file()).expect("a file");
    assert!(bytes.starts_with(b"rltrace\x01"));
    let version = run(Command::new(rltrace_binary()).arg("--version"));
    let version = version
        .out()
        .split_whitespace()
        .nth(1)
        .expect("a version")
        .to_owned();
    let header = String::from_utf8_lossy(&bytes[..300.min(bytes.len())]).into_owned();
    assert!(header.contains(&version), "{header}");
}
