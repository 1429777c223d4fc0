//! Raw traces (`--record`): what is replayed is what the run itself would have shown, and a file that is not whole, or was written by
//! nobody, does no harm.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use rltrace_tests::tools::tool;
use rltrace_tests::visits::{Inside, leave_inside};
use rltrace_tests::{Background, Build, Event, Hot, NOTHING, Rltrace, Traced, rltrace_binary, run, wait_for};
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
        with(rltrace, options).run(command)
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
        with(rltrace, options).run(NOTHING)
    }
}

/// Programs lie at the same addresses each time.
fn steady() -> Rltrace {
    Rltrace::new().by_way_of([OsString::from(tool("setarch")), "-R".into()])
}

fn with(rltrace: Rltrace, options: &[&str]) -> Rltrace {
    options.iter().fold(rltrace, Rltrace::arg)
}

fn words(program: impl Into<OsString>, more: &[&str]) -> Vec<OsString> {
    std::iter::once(program.into())
        .chain(more.iter().map(OsString::from))
        .collect()
}

fn mixed() -> PathBuf {
    Build::program("raw.c")
        .flags(["-O1", "-Wl,--no-as-needed", "-lm"])
        .build()
}

fn calling(source: &str) -> PathBuf {
    let library = Build::library("callee.c").build();
    Build::program(source).flags(["-O1"]).uses(&library).build()
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
    let direct = with(with(steady().engine("fast"), recorded), shown).run(command);
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

/// What each process did, in the order in which processes first appear, without their numbers. Whether another one's line comes between a
/// call and its return is another matter each time.
fn by_process(traced: &Traced) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = Vec::new();
    let mut known = HashMap::new();
    for event in &traced.trace.events {
        let (pid, text) = match event {
            Event::Call(call) => (
                call.pid,
                call.spelled().replace("<unfinished ...>", "<no return ...>"),
            ),
            Event::Exited(pid, status) => (*pid, format!("exited {status}")),
            Event::Killed(pid, signal) => (*pid, format!("killed by {signal}")),
            Event::Exec(pid) => (*pid, "exec".to_owned()),
            // A child of vfork returns from the call that its parent has made.
            Event::Signal(..) | Event::Other(_) => continue,
        };
        let index = *known
            .entry(pid.expect("a number before each line"))
            .or_insert_with(|| {
                all.push(Vec::new());
                all.len() - 1
            });
        all[index].push(text);
    }
    let of_the_run = [
        "getpid(",
        "fork",
        "wait",
        "getppid(",
        "clone(",
        "setpgid(",
        "vsnprintf_chk(",
    ];
    for lines in &mut all {
        lines.retain(|line| !of_the_run.iter().any(|word| line.contains(word)));
    }
    all
}

#[test]
fn children_that_execute_programs() {
    let command = words(
        tool("sh"),
        &["-c", "ls /; (echo a; exit 3); echo $?; cat /dev/null"],
    );
    let direct = steady().engine("fast").follow().run(&command);
    let raw = Raw::new();
    let run = raw.record(&["-f"], &command);
    run.expect_code(0);
    let replayed = raw.replay(&[]);
    replayed.expect_code(0);
    let (ours, theirs) = (by_process(&replayed), by_process(&direct));
    assert_eq!(ours.len(), theirs.len(), "{}", replayed.tail());
    assert!(ours.len() >= 4, "{}", replayed.tail());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(ours, theirs, "{}", replayed.tail());
        }
        assert_eq!(ours.len(), theirs.len(), "{}", replayed.tail());
    }
    // And in a file for each.
    let folder = tempfile::tempdir().expect("a directory");
    let each = folder.path().join("t");
    let split = Rltrace::new().own_output().arg("--replay").arg(raw.file());
    split.arg("-ff").arg("-o").arg(&each).run(NOTHING).expect_code(0);
    let files = std::fs::read_dir(folder.path()).expect("files").count();
    assert_eq!(files, ours.len());
}

/// The calls of each thread of `crowd.c`, in their order, by the thread's first argument.
fn by_thread(traced: &Traced) -> Vec<Vec<String>> {
    let mut all: HashMap<Option<i32>, Vec<String>> = HashMap::new();
    for call in traced.trace.calls_of("callee") {
        all.entry(call.pid).or_default().push(call.spelled());
    }
    let mut lines: Vec<_> = all.into_values().collect();
    lines.sort();
    lines
}

#[test]
fn threads() {
    let command = words(calling("crowd.c"), &["12", "300"]);
    let direct = Rltrace::new().engine("fast").filter("callee").run(&command);
    let raw = Raw::new();
    raw.record(&["-e", "callee", "-T"], &command).expect_code(0);
    let replayed = raw.replay(&["-ttt"]);
    replayed.expect_code(0);
    let lines = by_thread(&raw.replay(&[]));
    assert_eq!(lines, by_thread(&direct));
    assert_eq!(lines.iter().map(Vec::len).sum::<usize>(), 12 * 300);
    // One line after the other, as their times tell, whatever events stand between their records in the file.
    let (mut last, mut late) = (0.0, 0);
    for line in replayed
        .trace
        .text
        .lines()
        .filter(|line| line.contains("crowd->callee("))
    {
        let time = line
            .split(' ')
            .find(|word| word.len() == 17)
            .and_then(|word| word.parse().ok());
        let time: f64 = time.unwrap_or_else(|| panic!("{line}"));
        late += u32::from(time < last);
        last = time;
    }
    assert!(late == 0, "time goes back {late} times");
}

#[test]
fn an_attached_process() {
    let mut hot = Hot::start();
    let raw = Raw::new();
    let tracer = raw.record_running(&hot);
    tracer.end_by(Signal::SIGINT).expect_code(0);
    hot.unharmed("after a recording");
    hot.ends_well();
    let table = raw.replay(&["-c", "--columns", "calls,name"]);
    table.expect_code(0);
    let counted: u64 = calls(&table, "callee");
    table.assert(counted > 10_000, "calls were counted");
    // Each of the threads has calls, and there are as many lines as were counted.
    let text = raw.0.path().join("text");
    let mut show = Command::new(rltrace_binary());
    show.arg("--replay").arg(raw.file()).arg("-o").arg(&text);
    run(&mut show).expect_success();
    let (mut lines, mut threads) = (0, std::collections::BTreeSet::new());
    for line in BufReader::new(File::open(text).expect("a trace")).lines() {
        let line = line.expect("text");
        threads.insert(line.split(' ').next().map(str::to_owned));
        lines += u64::from(line.contains("->callee("));
    }
    // On a busy machine not each of the four has run.
    assert!((1..=4).contains(&threads.len()), "{threads:?}");
    assert_eq!(lines, counted);
}

/// The number of calls that a table has for a function.
#[track_caller]
fn calls(traced: &Traced, function: &str) -> u64 {
    let row = traced
        .trace
        .text
        .lines()
        .find(|line| line.split_whitespace().last() == Some(function));
    let number = |row: &str| row.split_whitespace().find_map(|word| word.parse().ok());
    row.and_then(number)
        .unwrap_or_else(|| panic!("no row for {function}\n{}", traced.tail()))
}

#[test]
fn tables() {
    let command = words(mixed(), &["50"]);
    let columns = ["-c", "--columns", "calls,errors,name", "--sort", "name"];
    let direct = with(Rltrace::new().engine("fast"), &columns).run(&command);
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
        assert_eq!(calls(&replayed, "frexp"), 50);
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
    let direct = with(steady().engine("fast"), &filter).run(&command);
    let raw = Raw::new();
    raw.record(&[], &command);
    let replayed = raw.replay(&filter);
    replayed.expect_code(0);
    same_lines(&direct, &replayed, |line| Some(line.to_owned()));
    replayed.assert(replayed.trace.calls().count() == 23, "three functions");
}

/// What a recording cannot do, and what a replay finds missing: one line, and nothing is run.
#[test]
fn what_does_not_go_together() {
    let raw = Raw::new();
    raw.record(&[], &words(mixed(), &[])).expect_code(7);
    let counted = Raw::new();
    counted.record(&["-c"], &words(mixed(), &[])).expect_code(7);
    let mark = raw.0.path().join("mark");
    let touch = [OsString::from(tool("touch")), mark.clone().into()];
    let file = raw.0.path().join("other");
    for options in [
        &["-o", "x"][..],
        &["-a", "3"],
        &["-n", "3"],
        &["--limit", "3"],
        &["-ff"],
        &["--sort", "calls"],
        &["--columns", "calls"],
        &["--summary-json", "x"],
        &["--summary-and-trace"],
        &["--color", "always"],
        &["--output-append"],
    ] {
        let rltrace = Rltrace::new().own_output().arg("--record").arg(&file);
        let refused = with(rltrace, options).run(&touch);
        refused.expect_refusal(1, &["--record"]);
        assert!(!mark.exists() && !file.exists(), "{options:?}");
    }
    let dash = Rltrace::new().own_output().arg("--record").arg("-").run(&touch);
    dash.expect_refusal(1, &["--record -"]);
    let nowhere = Rltrace::new()
        .own_output()
        .arg("--record")
        .arg("/no/such/folder/raw")
        .run(&touch);
    nowhere.expect_refusal(1, &["/no/such/folder/raw", "No such file"]);
    assert!(!mark.exists());
    for options in [
        &["-p", "1"][..],
        &["-f"],
        &["-S"],
        &["-s", "3"],
        &["-A", "3"],
        &["-y"],
        &["-w", "3"],
        &["-x", "main"],
        &["-L"],
        &["-u", "root"],
        &["-E", "A=B"],
        &["--engine", "fast"],
        &["--for", "3"],
        &["true"],
    ] {
        raw.replay(options).expect_refusal(1, &["--replay"]);
    }
    for (options, word) in [
        (&["-t"][..], "no times"),
        (&["-r"], "no times"),
        (&["-T"], "how long"),
        (&["-c"], "how long"),
        (&["-i"], "return addresses"),
    ] {
        raw.replay(options).expect_refusal(1, &[word, "record"]);
    }
    counted.replay(&[]).expect_refusal(1, &["only counted"]);
    for (path, word) in [
        ("/no/such/file", "No such file"),
        ("/", "Is a directory"),
        ("/bin/sh", "no raw trace"),
        ("/dev/null", "cannot read"),
        ("-", "from a file"),
    ] {
        let refused = Rltrace::new().own_output().arg("--replay").arg(path).run(NOTHING);
        refused.expect_refusal(1, &[word]);
    }
    let mut newer = std::fs::read(raw.file()).expect("a file");
    newer[7] += 1;
    std::fs::write(raw.file(), newer).expect("a file");
    raw.replay(&[]).expect_refusal(1, &["version 2"]);
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

/// A file that was cut anywhere replays to its last whole entry.
#[test]
fn files_that_are_cut() {
    let raw = Raw::new();
    raw.record(&["-T"], &words(mixed(), &["100"])).expect_code(7);
    let whole = std::fs::read(raw.file()).expect("a file");
    let text = raw.replay(&[]).trace.text;
    let step = whole.len() / 40;
    let mut longest = 0;
    for len in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
        std::fs::write(raw.file(), &whole[..len]).expect("a file");
        let cut = raw.replay(&[]);
        let words: &[&str] = if len < 8 { &["no raw trace"] } else { &["raw"] };
        cut.expect_refusal(1, words);
        // The last line may be of a call whose return is not there.
        let shown = cut
            .trace
            .text
            .trim_end()
            .trim_end_matches("<unfinished ...>")
            .trim_end();
        let lines = shown.rsplit_once('\n').map_or("", |(lines, _)| lines);
        cut.assert(text.starts_with(lines), "what is shown is the beginning");
        longest = longest.max(lines.len());
    }
    assert!(longest > text.len() / 2, "{longest} of {}", text.len());
}

/// A linear congruential generator: the same files each time.
fn random(state: &mut u64) -> usize {
    *state = state
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    usize::try_from(*state >> 33).expect("31 bits")
}

/// Files with anything in them are shown as far as they go: no panic, no end of time, no more memory than a little.
#[test]
fn files_that_were_written_by_nobody() {
    let raw = Raw::new();
    raw.record(&["-T", "-i"], &words(mixed(), &["30"])).expect_code(7);
    let whole = std::fs::read(raw.file()).expect("a file");
    let limited = ["sh", "-c", "ulimit -v 2000000; exec \"$@\"", "sh"];
    let mut state = 4;
    for round in 0..120 {
        let mut bytes = whole.clone();
        for _ in 0..=random(&mut state) % 4 {
            let at = random(&mut state) % bytes.len();
            match round % 4 {
                0 => bytes[at] ^= 1 << (random(&mut state) % 8),
                1 => bytes[at] = 0xff,
                2 => {
                    let end = (at + random(&mut state) % 64).min(bytes.len());
                    bytes.drain(at..end);
                }
                _ => {
                    let end = (at + random(&mut state) % 64).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = random(&mut state) % bytes.len();
                    bytes.splice(to..to, piece);
                }
            }
        }
        std::fs::write(raw.file(), &bytes).expect("a file");
        let rltrace = Rltrace::new().by_way_of(limited).arg("--replay").arg(raw.file());
        let shown = rltrace.arg("-T").run(NOTHING);
        let code = shown.run.code();
        shown.assert(
            code == 0 || code == 1,
            &format!("round {round}: exit status {code}"),
        );
        shown.assert(!shown.run.err().contains("panicked"), &format!("round {round}"));
        shown.assert(
            shown.run.err().lines().all(|line| line.starts_with("rltrace: ")),
            "one line each",
        );
        shown.assert(!shown.trace.text.contains('\u{1b}'), "nothing reaches a terminal");
    }
}

/// The tracer is killed: what it had written can be shown, and the file's end is told once.
#[test]
fn a_recording_that_was_killed() {
    let mut hot = Hot::start();
    let raw = Raw::new();
    let tracer = raw.record_running(&hot);
    tracer.end_by(Signal::SIGKILL);
    hot.lives_on("after the death of a recording tracer");
    hot.ends_well();
    let shown = raw.replay(&["-c", "--columns", "calls,name"]);
    shown.expect_refusal(1, &["ends in the middle"]);
    shown.assert(calls(&shown, "callee") > 10_000, "there are calls");
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
    let seen = calls(&replayed, "callee");
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

/// Calls that return when the tracer is gone find the code that they return through, though nobody has looked at their records.
#[test]
fn leaving_inside_recorded_calls() {
    let raw = Raw::new();
    let rltrace = Rltrace::new().own_output().arg("--record").arg(raw.file());
    for _ in 0..3 {
        let [traced] = leave_inside(&rltrace, None, 1).try_into().expect("one visit");
        assert!(
            !traced.run.err().contains("recording code stays"),
            "{}",
            traced.tail()
        );
        let replayed = raw.replay(&[]);
        replayed.expect_code(0);
        let open = replayed.trace.calls_of("through").count();
        replayed.assert(open == 5, "five calls, one within the other");
    }
}

/// A program that writes over the rings: it goes on, what was read before can be shown, and the damage is told once, by the recording and by
/// the replay.
#[test]
fn rings_that_are_written_over() {
    let program = calling("scribbles.c");
    for how in Inside::WAYS {
        let raw = Raw::new();
        let run = raw.record(&["-e", "callee", "--ring", "64K"], &words(&program, &["1", how]));
        run.expect_code(0);
        run.assert(
            run.run.out() == "1 found\ndone\n",
            "the program has done its work",
        );
        let told = run.own_words().0;
        run.assert(
            told.len() == 1 && told[0].contains("its records were overwritten"),
            &format!("{how}: it is told once"),
        );
        let replayed = raw.replay(&[]);
        replayed.expect_code(0);
        replayed.assert(
            replayed.own_words().0 == told,
            &format!("{how}: it is told again"),
        );
        let right = "callee(0, 5000, 0, 7)";
        replayed.assert(replayed.trace.text.contains(right), "there are calls");
        replayed.assert(replayed.trace.exits().len() == 1, "the program's end is told");
    }
}

/// The same while the program stays in calls whose records are lost, and the tracer leaves it there.
#[test]
fn leaving_inside_calls_whose_records_are_lost() {
    for how in Inside::WAYS {
        let raw = Raw::new();
        let rltrace = Rltrace::new().own_output().arg("--record").arg(raw.file());
        for traced in leave_inside(&rltrace, Some(how), 2) {
            let told = traced.own_words().0;
            let times = |line| told.iter().filter(|told| told.contains(line)).count();
            let overwritten = times("its records were overwritten");
            // Records that were read before they were written over are not lost, and what is no record is seen by the replay.
            let least = usize::from(how != "records");
            traced.assert(
                (least..=1).contains(&overwritten) && times("recording code stays in it") <= 1,
                &format!("{how}: told {overwritten} times"),
            );
        }
        raw.replay(&[]).expect_code(0);
    }
}
