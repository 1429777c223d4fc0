//! Which prototypes a run has, and what is said of files that are wrong.

use std::path::Path;

use super::meaning::syscalls;
use super::{Refusal, ltrace, say};
use crate::cli::Cli;
use crate::output::describe;
use crate::proto::{Problem, Prototypes, places};
use crate::tracer::Syscalls;

/// The prototypes: those of `-F` go before those of the usual places. Under the name `ltrace` what is wrong with files is
/// no reason not to trace: it is given, to be told in the trace.
pub(super) fn prototypes(cli: &Cli) -> Result<(Prototypes, Vec<Problem>), Refusal> {
    let mut prototypes = Prototypes::new();
    let mut problems = if syscalls(cli) == Syscalls::None {
        Vec::new()
    } else {
        prototypes.describe_syscalls()
    };
    if cli.like_ltrace.is_some() {
        for path in ltrace::prototype_files() {
            // It has read what it could.
            let _: std::io::Result<()> = load(&mut prototypes, &path, &mut problems);
            // What ltrace does not know it shows as four numbers.
            prototypes.only_loaded();
        }
    } else {
        let usual = places(std::env::home_dir().as_deref(), |name| std::env::var_os(name));
        for (path, error) in prototypes.load_places(&usual, &mut problems) {
            say(&format!("cannot read '{}': {error}", path.display()));
        }
    }
    let paths = cli
        .config
        .iter()
        .flat_map(|list| list.split(':'))
        .filter(|path| !path.is_empty());
    let usual = problems.len();
    for path in paths {
        let read = load(&mut prototypes, Path::new(path), &mut problems);
        match (read, &cli.like_ltrace) {
            (Ok(()), _) => {}
            (Err(error), Some(_)) => ltrace::say(&format!("Couldn't stat {path}: {}", describe(&error))),
            (Err(error), None) => {
                let reason = describe(&error);
                return Err(Refusal::new(format!("cannot read '{path}': {reason}")));
            }
        }
    }
    if cli.like_ltrace.is_some() {
        return Ok((prototypes, problems));
    }
    // What was named here and now is to be right; what lies about is not in the way.
    if let [first, others @ ..] = &problems[usual..] {
        let more = match others.len() {
            0 => String::new(),
            count => format!(" (and {count} more)"),
        };
        return Err(Refusal::new(format!("{first}{more}")));
    }
    for problem in problems {
        say(&problem.to_string());
    }
    Ok((prototypes, Vec::new()))
}

/// Reads a file of prototypes, or a folder of such.
fn load(prototypes: &mut Prototypes, path: &Path, problems: &mut Vec<Problem>) -> std::io::Result<()> {
    if path.is_dir() {
        prototypes.load_dir(path, problems)
    } else {
        prototypes.load_file(path, None, problems)
    }
}
