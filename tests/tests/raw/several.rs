//! Several threads, and several processes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use super::*;
use nix::sys::signal::Signal;
use rltrace_tests::Event;

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
    let counted = table.counted("callee");
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
