//! Calls that signals interrupt at any instruction.

use std::io::{BufRead, BufReader};

use super::*;

/// What one thread's calls in `interrupted.c` were, in the order of their lines.
#[derive(Default)]
struct Seen {
    loops: i64,
    firsts: i64,
    seconds: i64,
}

impl Seen {
    /// One line's call: the next of its kind.
    #[track_caller]
    fn next(&mut self, args: &[i64], line: &str) {
        let number = args[0] + 10_000 * args[1];
        let counter = match args[3] {
            1 => &mut self.loops,
            2 => &mut self.firsts,
            _ => &mut self.seconds,
        };
        assert_eq!(number, *counter, "the next call of its kind, whole: {line}");
        *counter += 1;
    }
}

/// The arguments of `callee(…` in a line, if it begins a call.
fn arguments(line: &str) -> Option<Vec<i64>> {
    let (_, rest) = line.split_once("callee(")?;
    let end = rest.find([')', '<']).unwrap_or(rest.len());
    rest[..end]
        .trim()
        .trim_end_matches(',')
        .split(", ")
        .map(|word| word.trim().parse().ok())
        .collect()
}

/// Runs `interrupted.c` recorded as text, and fails unless each call of the loop and of each handler is there once, whole and in order.
#[track_caller]
fn interrupted(calls: u64, interval: &str, threads: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace");
    let program = calling("interrupted.c");
    let traced = fast("callee")
        .own_output()
        .arg("-b")
        .arg("-o")
        .arg(&file)
        .run(words(&program, &[&calls.to_string(), interval, threads]));
    traced.expect_code(0);
    let mut seen: HashMap<i64, Seen> = HashMap::new();
    let mut returns = 0_u64;
    for line in BufReader::new(std::fs::File::open(&file).expect("a trace")).lines() {
        let line = line.expect("text");
        returns += u64::from(line.contains(" = "));
        if let Some(args) = arguments(&line) {
            assert_eq!(args.len(), 4, "{line}");
            seen.entry(args[2]).or_default().next(&args, &line);
        }
    }
    let mut all = 0;
    for said in traced.run.out().lines() {
        let numbers: Vec<i64> = said
            .split(' ')
            .map(|word| word.parse().expect("a number"))
            .collect();
        let seen = seen.remove(&numbers[0]).unwrap_or_default();
        assert_eq!(
            (seen.loops, seen.firsts, seen.seconds),
            (numbers[1], numbers[2], numbers[2]),
            "thread {}",
            numbers[0]
        );
        all += seen.loops + seen.firsts + seen.seconds;
    }
    assert_eq!(i64::try_from(returns), Ok(all), "as many returns as calls");
}

#[test]
fn interrupted_by_a_timer() {
    interrupted(400_000, "100", "1");
    interrupted(200_000, "1000", "4");
}

/// As the `interrupted_by_a_timer`, with as many calls as one likes, counted.
fn interrupted_counts(calls: u64, options: &[&str]) {
    let program = calling("interrupted.c");
    let rltrace = fast("callee").args(options);
    let traced = rltrace
        .args(["-c", "--columns", "calls,name"])
        .run(words(&program, &[&calls.to_string(), "100"]));
    traced.expect_code(0);
    let handled: u64 = traced
        .run
        .out()
        .split_whitespace()
        .nth(2)
        .and_then(|word| word.parse().ok())
        .expect("the handler's count");
    traced.assert(handled > 0, "the timer fired");
    let seen = traced.counted("callee");
    traced.assert(
        seen == calls + 2 * handled,
        &format!("{seen} counted, {} made", calls + 2 * handled),
    );
}

#[test]
fn millions_of_calls_interrupted_by_a_timer() {
    interrupted_counts(5_000_000, &[]);
    interrupted_counts(2_000_000, &["--ring", "64K"]);
}

#[test]
#[ignore = "100 million calls by default: some minutes"]
fn interrupted_for_long() {
    let calls = std::env::var("RLTRACE_CALLS").map_or(100_000_000, |count| count.parse().expect("a number"));
    interrupted_counts(calls, &[]);
}
