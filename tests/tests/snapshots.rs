//! The texts that users and shells read, whole, as they stand in `tests/snapshots`. After a change that is meant:
//!
//! ```text
//! RLTRACE_RENEW=1 cargo test -p rltrace-tests --test snapshots && git diff tests/snapshots
//! ```

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rltrace_tests::{rltrace_binary, run, tools::tool};

fn snapshot(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(name)
}

/// Compares `seen` with the snapshot, or writes it there where that was asked for.
#[track_caller]
fn same(name: &str, seen: &str) {
    let file = snapshot(name);
    if std::env::var_os("RLTRACE_RENEW").is_some() {
        std::fs::write(&file, seen).expect("the snapshot");
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let (mut ours, mut theirs) = (seen.lines(), expected.lines());
    let mut number = 0;
    let different = loop {
        number += 1;
        match (ours.next(), theirs.next()) {
            (None, None) => break None,
            (one, other) if one == other => {}
            pair => break Some(pair),
        }
    };
    if let Some((ours, theirs)) = different {
        panic!(
            "{}:{number}: {:?} instead of {:?}; RLTRACE_RENEW=1 takes it over",
            file.display(),
            ours.unwrap_or("the end"),
            theirs.unwrap_or("the end")
        );
    }
    assert_eq!(seen, expected, "{name}: the ends of lines differ");
}

/// What is printed with these options; the version as such.
fn printed(options: &[&str]) -> String {
    let seen = run(Command::new(rltrace_binary()).args(options));
    seen.expect_success();
    assert!(seen.err().is_empty(), "{}", seen.both());
    seen.out().replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn help() {
    same("help.txt", &printed(&["--help"]));
}

#[test]
fn version() {
    same("version.txt", &printed(&["--version"]));
}

#[test]
fn man_page() {
    same("rltrace.1", &printed(&["--generate", "man"]));
}

#[test]
fn completions() {
    for shell in ["bash", "zsh", "fish"] {
        same(&format!("rltrace.{shell}"), &printed(&["--generate", shell]));
    }
}

/// A transcript: each line `$ COMMAND` is run, and what it says, and how it ends, stand behind it.
#[test]
fn complaints() {
    let place = tempfile::tempdir().expect("a directory");
    let bin = place.path().join("bin");
    std::fs::create_dir(&bin).expect("bin");
    symlink(rltrace_binary(), bin.join("rltrace")).expect("a link");
    std::fs::write(place.path().join("bad.conf"), "int puts(;\nlong f(int);\n").expect("bad.conf");
    std::fs::write(place.path().join("empty.json"), "[]").expect("empty.json");
    let path = std::env::var("PATH").expect("PATH");
    let transcript = std::fs::read_to_string(snapshot("complaints.txt")).expect("a transcript");
    let commands: Vec<&str> = transcript
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    assert!(commands.len() > 50, "{commands:?}");
    let mut seen = String::new();
    for command in commands {
        let mut shell = Command::new(tool("sh"));
        shell
            .args(["-c", command])
            .current_dir(place.path())
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        let run = run(&mut shell);
        assert!(run.out().is_empty(), "`{command}`\n{}", run.both());
        let ran = std::fs::remove_file(place.path().join("mark")).is_ok();
        let end = if ran { ", and the command ran" } else { "" };
        let _: std::fmt::Result = writeln!(seen, "$ {command}\n{}[{}{end}]", run.err(), run.code());
    }
    same("complaints.txt", &seen);
}
