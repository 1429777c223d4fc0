//! What the README and the help show is what happens: the session is played, each recipe and example is run.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use rltrace_tests::{Run, Running, process, rltrace_binary, run, tools, wait_for};
use tempfile::TempDir;

const README: &str = include_str!("../../README.md");

/// A place to run commands in, with all that the README's commands name: `rltrace` in `bin`.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let bin = place.path().join("bin");
    std::fs::create_dir(&bin).expect("bin");
    symlink(rltrace_binary(), bin.join("rltrace")).expect("a link");
    std::fs::write(place.path().join("my.conf"), "int puts(hex(long));\n").expect("my.conf");
    std::fs::write(place.path().join("Makefile"), "all:\n\ttrue\n").expect("Makefile");
    std::fs::copy(tools::tool("ls"), place.path().join("my-prog")).expect("my-prog");
    place
}

fn shell(command: &str, place: &Path) -> Command {
    let path = std::env::var("PATH").expect("PATH");
    let mut shell = Command::new(tools::tool("sh"));
    shell
        .args(["-c", command])
        .current_dir(place)
        .env("PATH", format!("{}:{path}", place.join("bin").display()))
        .env("LC_ALL", "C.UTF-8")
        .env_remove("COLUMNS");
    shell
}

/// What differs from run to run: addresses, process ids, times, counts.
fn masked(line: &str) -> String {
    let mut masked = String::new();
    let mut number = false;
    let mut chars = line.trim_end().chars().peekable();
    while let Some(c) = chars.next() {
        let in_word = masked.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !number;
        if c.is_ascii_digit() && !in_word {
            while chars
                .next_if(|&c| c.is_ascii_hexdigit() || c == 'x' || c == '.')
                .is_some()
            {}
            masked.push('N');
            number = true;
            continue;
        }
        number = false;
        // The column of a result depends on the lengths of numbers.
        if c == ' ' && masked.ends_with(' ') {
            continue;
        }
        masked.push(c);
    }
    masked
}

/// The commands of the session, each with the lines that are shown of it.
fn session() -> Vec<(&'static str, Vec<&'static str>)> {
    let (_, block) = README.split_once("```console\n").expect("a session");
    let (block, _) = block.split_once("```").expect("its end");
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, lines))) if line != "..." => lines.push(line),
            _ => {}
        }
    }
    commands
}

#[test]
fn the_session_is_real() {
    let place = place();
    let commands = session();
    assert!(commands.len() > 3, "{commands:?}");
    for (command, lines) in commands {
        // Into a pipe: cat copies between files without reading.
        let run = run(&mut shell(&format!("{{ {command}; }} 2>&1 | cat"), place.path()));
        let seen: Vec<String> = run.out().lines().map(masked).collect();
        for line in lines {
            // The rules of a table are as wide as its numbers.
            let rule = line.starts_with("------");
            assert!(
                rule || seen.contains(&masked(line)),
                "`{command}` does not print {line:?}\n{}",
                run.both()
            );
        }
    }
}

/// The code spans of the README's tables that are commands.
fn recipes() -> Vec<String> {
    let rows = README.lines().filter(|line| line.starts_with('|'));
    let spans = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    spans
        .filter(|span| span.starts_with("rltrace "))
        .map(|span| span.replace("\\|", "|"))
        .collect()
}

/// It succeeds, and has nothing to complain of.
#[track_caller]
fn expect_clean(command: &str, run: &Run) {
    run.expect_success();
    let complains = run.err().lines().any(|line| line.starts_with("rltrace:"));
    assert!(!complains, "`{command}`\n{}", run.both());
}

#[test]
fn each_recipe_works() {
    let place = place();
    let recipes = recipes();
    assert!(recipes.len() > 15, "{recipes:?}");
    for command in recipes {
        works(&command, place.path());
    }
    let packed = place.path().join("trace.gz");
    let text = run(Command::new(tools::tool("gzip")).args(["-dc"]).arg(packed));
    assert!(
        text.expect_success()
            .out()
            .ends_with("+++ exited (status 0) +++\n")
    );
}

/// The examples at the end of `rltrace --help` work when they are pasted.
#[test]
fn each_example_of_the_help_works() {
    let place = place();
    tools::tool("make");
    tools::tool("curl");
    let help = run(Command::new(rltrace_binary()).arg("--help"))
        .expect_success()
        .out();
    let (_, examples) = help.split_once("Examples:\n").expect("examples");
    let commands: Vec<&str> = examples
        .lines()
        .map(|line| line.trim().split("  ").next().unwrap_or_default())
        .filter(|command| !command.is_empty())
        .collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        works(command, place.path());
    }
}

#[track_caller]
fn works(command: &str, place: &Path) {
    if command.contains("1234") {
        attaches(command, place);
    } else {
        expect_clean(command, &run(&mut shell(command, place)));
    }
}

/// Process ids in a recipe are those of programs that wait for their input, and end with it.
#[track_caller]
fn attaches(command: &str, place: &Path) {
    let targets: Vec<(&str, Running)> = ["1234", "1235"]
        .into_iter()
        .filter(|id| command.contains(id))
        .map(|id| {
            let mut cat = Command::new(tools::tool("cat"));
            (id, Running::start(cat.stdin(Stdio::piped())))
        })
        .collect();
    let command = targets.iter().fold(command.to_owned(), |command, (id, target)| {
        command.replace(id, &target.pid().to_string())
    });
    let tracer = Running::start(shell(&command, place).stdin(Stdio::null()));
    for (_, target) in &targets {
        wait_for("the target is traced", || process::is_attached(target.pid()));
    }
    for (_, target) in targets {
        target.finish().expect_success();
    }
    expect_clean(&command, &tracer.finish());
}
