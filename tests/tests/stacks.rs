//! Stacks: each frame of a call, its function, and its source line.

use std::path::PathBuf;

use rltrace_tests::{Build, Rltrace, Traced};

fn built(flags: &[&str]) -> PathBuf {
    let library = Build::library("callee.c").flags(machine(flags)).build();
    Build::program("stacks.c").flags(flags).uses(&library).build()
}

fn machine<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    flags.iter().copied().filter(|flag| *flag == "-m32").collect()
}

/// The frames of the only call, without addresses: object, function, and source line where there is one.
fn frames(traced: &Traced) -> Vec<(String, String, Option<String>)> {
    let mut frames: Vec<(String, String, Option<String>)> = Vec::new();
    for line in traced.trace.text.lines() {
        if let Some(frame) = line.strip_prefix(" > ") {
            let (object, rest) = frame.split_once('(').unwrap_or((frame, ""));
            let function = rest.split(['+', ')']).next().unwrap_or_default();
            frames.push((object.to_owned(), function.to_owned(), None));
        } else if let (Some(place), Some(last)) = (line.strip_prefix('\t'), frames.last_mut()) {
            last.2 = Some(place.to_owned());
        }
    }
    frames
}

/// The line of the fixture that ends in a comment of this name.
fn line_of(name: &str) -> String {
    let source = include_str!("../fixtures/stacks.c");
    let at = source
        .lines()
        .position(|line| line.ends_with(&format!("// {name}")))
        .unwrap_or_else(|| panic!("no line of {name}"));
    format!("stacks.c:{}", at + 1)
}

#[track_caller]
fn has_all_frames(flags: &[&str], lines: bool) {
    let traced = Rltrace::new()
        .arg("-w0")
        .filter("callee@MAIN")
        .run([built(flags)]);
    traced.expect_code(0);
    let frames = frames(&traced);
    let mut rest = frames.iter();
    // From the innermost on; between them are the C library's own.
    for function in ["third", "second", "first", "handler", "main", "_start"] {
        let found = rest.find(|(object, name, _)| object == "stacks" && name == function);
        let Some((_, _, place)) = found else {
            panic!(
                "{flags:?}: no {function} in its place: {frames:?}\n{}",
                traced.tail()
            );
        };
        if lines && function != "_start" {
            let place = place.as_deref().unwrap_or_default();
            let line = line_of(function);
            assert!(
                place
                    .rsplit('/')
                    .next()
                    .is_some_and(|place| place.starts_with(&line)),
                "{flags:?}: {function} is called at {line}, not {place:?}"
            );
        }
    }
    traced.assert(
        frames[0].1 == "third" && frames.iter().any(|(object, ..)| object == "libc.so.6"),
        "the caller comes first, and the C library is among the frames",
    );
    // A stack ends with an empty line.
    traced.assert(traced.trace.text.contains("]\n\n"), "an empty line");
}

#[test]
fn without_frame_pointers() {
    has_all_frames(&["-O2", "-g", "-fomit-frame-pointer"], true);
    has_all_frames(&["-O2", "-g", "-no-pie"], true);
    has_all_frames(&["-O0", "-g", "-fno-plt"], true);
}

#[test]
fn without_debug_information() {
    has_all_frames(&["-O2", "-g0"], false);
}

#[test]
fn as_many_as_asked_for() {
    let program = built(&["-O2", "-g"]);
    for count in [1, 2, 5] {
        let traced = Rltrace::new()
            .arg("--where")
            .arg(count.to_string())
            .filter("callee@MAIN")
            .run([&program]);
        let seen = frames(&traced).len();
        traced.assert(seen == count, &format!("{count} frames, not {seen}"));
    }
    let none = Rltrace::new().filter("callee@MAIN").run([&program]);
    assert!(frames(&none).is_empty());
}

/// A program without symbols: its places as offsets, and the library's names all the same.
#[test]
fn stripped() {
    let traced = Rltrace::new()
        .arg("-w0")
        .filter("callee@MAIN")
        .run([built(&["-O2", "-s"])]);
    let frames = frames(&traced);
    let own = frames.iter().filter(|(object, ..)| object == "stacks").count();
    traced.assert(own == 6, "all frames are unwound");
}

/// i386 code by its tables, with and without frame pointers, and with a stack that `main` aligns.
#[test]
fn i386() {
    has_all_frames(&["-m32", "-O2", "-g", "-fomit-frame-pointer"], true);
    has_all_frames(&["-m32", "-O0", "-g"], true);
    has_all_frames(&["-m32", "-O2", "-g", "-no-pie"], true);
    has_all_frames(&["-m32", "-O2", "-g0", "-mstackrealign"], false);
}

/// i386 code without tables is followed by its frame pointers.
#[test]
fn i386_without_tables() {
    let flags = ["-m32", "-O0", "-g", "-fno-asynchronous-unwind-tables"];
    let traced = Rltrace::new()
        .arg("-w0")
        .filter("callee@MAIN")
        .run([built(&flags)]);
    let frames = frames(&traced);
    let names: Vec<&str> = frames.iter().map(|(_, name, _)| name.as_str()).collect();
    traced.assert(names.starts_with(&["third", "second"]), "the own functions");
}
