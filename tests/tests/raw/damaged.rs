//! Files that are not whole, or that nobody wrote.

use super::*;
use nix::sys::signal::Signal;

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
    shown.assert(shown.counted("callee") > 10_000, "there are calls");
}
