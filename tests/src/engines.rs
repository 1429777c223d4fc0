//! One program natively, and under each engine of the tracer.

use std::ffi::{OsStr, OsString};

use crate::rltrace::{Rltrace, Traced};
use crate::run::Run;

/// What a program did by itself, and what it did traced.
#[derive(Debug)]
pub struct Engines {
    /// Without a tracer.
    pub native: Run,
    /// With calls met by traps.
    pub trap: Traced,
    /// With calls recorded inside the program.
    pub fast: Traced,
}

/// Runs a command natively and with each engine, and fails unless output, standard error and end are the same, and both traces
/// have the same text, addresses apart.
///
/// For programs of one thread, whose text is the same each time.
#[track_caller]
pub fn same_text<S: AsRef<OsStr>>(rltrace: &Rltrace, command: impl IntoIterator<Item = S>) -> Engines {
    let engines = same_run(rltrace, command);
    let (trap, fast) = (&engines.trap.trace, &engines.fast.trace);
    let (trap, fast) = (trap.without_addresses(), fast.without_addresses());
    let differs = trap.iter().zip(&fast).position(|(trap, fast)| trap != fast);
    if let Some(line) = differs {
        let around = line.saturating_sub(3)..;
        engines.fast.assert(
            false,
            &format!(
                "line {}: by traps\n  {}\nrecorded\n  {}\n",
                line + 1,
                excerpt(&trap[around.clone()]),
                excerpt(&fast[around])
            ),
        );
    }
    engines.fast.assert(
        trap.len() == fast.len(),
        &format!("{} lines by traps, {} recorded", trap.len(), fast.len()),
    );
    engines
}

fn excerpt(lines: &[String]) -> String {
    let count = lines.len().min(7);
    lines[..count].join("\n  ")
}

/// The same without a look at the traces.
#[track_caller]
pub fn same_run<S: AsRef<OsStr>>(rltrace: &Rltrace, command: impl IntoIterator<Item = S>) -> Engines {
    let words: Vec<OsString> = command.into_iter().map(|word| word.as_ref().to_owned()).collect();
    let native = rltrace.natively(&words);
    // A program that checks itself must be right before it is traced.
    assert_ne!(native.code(), 99, "{}", native.both());
    let trap = rltrace.clone().engine("trap").run(&words);
    as_natively(&trap, &native);
    let fast = recorded_as(&native, rltrace, &words);
    Engines { native, trap, fast }
}

/// A command with its calls recorded inside of it: it does as it does natively.
#[track_caller]
pub fn recorded<S: AsRef<OsStr>>(rltrace: &Rltrace, command: impl IntoIterator<Item = S>) -> Traced {
    let words: Vec<OsString> = command.into_iter().map(|word| word.as_ref().to_owned()).collect();
    let native = rltrace.natively(&words);
    assert_ne!(native.code(), 99, "{}", native.both());
    recorded_as(&native, rltrace, &words)
}

#[track_caller]
fn recorded_as(native: &Run, rltrace: &Rltrace, words: &[OsString]) -> Traced {
    let fast = rltrace.clone().engine("fast").run(words);
    as_natively(&fast, native);
    fast
}

/// Fails unless the traced command did as it does without a tracer.
#[track_caller]
pub fn as_natively(traced: &Traced, native: &Run) {
    traced.assert(
        traced.run.status == native.status,
        &format!("natively {}\n{}", native.status, native.both()),
    );
    traced.assert(
        traced.run.stdout == native.stdout,
        &format!("standard output differs; natively {}", native.both()),
    );
    let (_, said) = traced.own_words();
    let natively: Vec<String> = native.err().lines().map(str::to_owned).collect();
    traced.assert(
        said == natively,
        &format!("standard error differs; natively {}", native.both()),
    );
    traced.assert(!traced.run.err().contains("panicked"), "the tracer is well");
}
