//! Under the name `ltrace`: its words where scripts may read them, its exit status, and nothing of our own on standard
//! error.

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ErrorKind};
use ptrace_core::AttachReason;

use crate::cli::help;
use crate::filter::FilterError;
use crate::output::describe;
use crate::proto::Problem;
use crate::tracer::Destination;

/// Whether a program of this name is to do as ltrace does.
pub(super) fn is_named(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new("ltrace"))
}

/// ltrace's prototype files, in the order in which it reads them: what comes later goes first.
pub(super) fn prototype_files() -> Vec<std::path::PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".ltrace.conf"));
    let system = ["/usr/share/ltrace", "/etc/ltrace.conf"].map(Into::into);
    system
        .into_iter()
        .chain(home)
        .filter(|path| path.exists())
        .collect()
}

/// Lines of ltrace's own.
pub(super) fn say(text: &str) {
    // When standard error is closed there is nobody to tell.
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "{text}");
}

/// What is wrong with prototype files stands in the trace.
pub(super) fn tell_problems(problems: &[Problem], destination: &mut Destination) {
    for problem in problems {
        match destination {
            Destination::One(output) => {
                output
                    .buffer()
                    .extend_from_slice(format!("{problem}\n").as_bytes());
                output.end_line();
            }
            Destination::Each(_) => say(&problem.to_string()),
        }
    }
}

/// What ltrace says of a filter that it cannot understand, and leaves out.
pub(super) fn bad_filter(error: &FilterError) -> String {
    let expected = error.expected();
    // regcomp(3)'s words, as glibc has them.
    let reason = match expected {
        _ if expected.contains("/ that closes") => return "Unmatched '/' in symbol name.".to_owned(),
        _ if expected.contains("']'") => "Unmatched [, [^, [:, [., or [=",
        _ if expected.contains(r"'\(") => r"Unmatched ( or \(",
        _ if expected.contains("character class") => "Invalid character class name",
        _ => expected,
    };
    format!("Rule near '' will be ignored: {reason}.")
}

/// What ltrace says of a command that it cannot trace.
pub(super) fn bad_command(name: &OsStr) -> String {
    const MISSING: &str = "No such file or directory";
    let path = if name.as_encoded_bytes().contains(&b'/') {
        Some(PathBuf::from(name)).filter(|path| path.exists())
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
        places.find(|path| !name.is_empty() && path.exists())
    };
    let name = name.display();
    match path {
        Some(path) if !is_elf(&path) => format!("\"{}\" is not an ELF file", path.display()),
        _ => format!("Can't execute `{name}': {MISSING}\ncouldn't open program '{name}': {MISSING}"),
    }
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}

/// What ltrace says of a user who is not there.
pub(super) fn bad_user(name: &str) -> String {
    format!("cannot find user `{name}'")
}

/// Why a process cannot be attached to, in one of strerror(3)'s phrases.
pub(super) fn attach_reason(reason: &AttachReason) -> String {
    let text = match reason {
        AttachReason::NoSuchProcess => "No such process",
        // It has no program that could be opened.
        AttachReason::KernelThread => "No such file or directory",
        AttachReason::Other { source } => return describe(source),
        _ => "Operation not permitted",
    };
    text.to_owned()
}

/// The help or version that was asked for, if that is what `error` is.
pub(super) fn help(name: &str, error: &clap::Error) -> Option<String> {
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let value = context(ContextKind::InvalidValue);
    let of_debug = context(ContextKind::InvalidArg).starts_with("--debug");
    match error.kind() {
        ErrorKind::DisplayHelp => Some(help::render_like_ltrace(name)),
        ErrorKind::DisplayVersion => Some(format!(
            "ltrace version 0.7.91, as rltrace {} does it.\n",
            env!("CARGO_PKG_VERSION")
        )),
        ErrorKind::ValueValidation if of_debug && (value == "h" || value == "help") => Some(
            "--debug=<octal> or -D<octal>: any bit makes rltrace tell of all that it does.\n\
             --debug=<level>: error, warn, info, debug or trace.\n"
                .to_owned(),
        ),
        _ => None,
    }
}

/// With what ltrace, called by this name, ends all that it says of its options.
fn try_help(name: &str, text: &str) -> String {
    format!("{name}: {text}\nTry `{name} --help' for more information.")
}

/// What ltrace says where there is neither a command nor a process.
pub(super) fn no_command(name: &str) -> String {
    try_help(name, "too few arguments")
}

/// What ltrace says of the command line `words`, which is wrong in this way.
pub(super) fn complaint(name: &str, words: &[OsString], error: &clap::Error) -> String {
    let try_help = |text: &str| try_help(name, text);
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let (option, value) = (
        context(ContextKind::InvalidArg),
        context(ContextKind::InvalidValue),
    );
    match error.kind() {
        ErrorKind::UnknownArgument if option.starts_with("--") => {
            try_help(&format!("unrecognized option '{}'", as_written(words, &option)))
        }
        ErrorKind::UnknownArgument => {
            try_help(&format!("invalid option -- '{}'", option.trim_start_matches('-')))
        }
        ErrorKind::ArgumentConflict if option.contains("relative") || option.contains("timestamps") => {
            try_help("Options -r and -t can't be used together")
        }
        ErrorKind::ArgumentConflict => try_help("Option -L can't be used with -e or -l."),
        ErrorKind::ValueValidation => wrong_value(name, &option, &value),
        ErrorKind::InvalidValue => try_help(&without_value(words)),
        _ => {
            let text = error.to_string();
            try_help(
                text.lines()
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches("error: "),
            )
        }
    }
}

/// The word of the command line that is this long option, with its value.
fn as_written(words: &[OsString], option: &str) -> String {
    let is_it = |word: &String| {
        word.strip_prefix(option)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    let mut words = words.iter().map(|word| word.to_string_lossy().into_owned());
    words.find(is_it).unwrap_or_else(|| option.to_owned())
}

/// What `getopt_long(3)` says where the last word is an option that lacks its value.
fn without_value(words: &[OsString]) -> String {
    let last = words
        .last()
        .map(|word| word.to_string_lossy())
        .unwrap_or_default();
    if last.starts_with("--") {
        return format!("option '{last}' requires an argument");
    }
    let letter: String = last.chars().next_back().into_iter().collect();
    format!("option requires an argument -- '{letter}'")
}

/// What ltrace says of a number that is none.
fn wrong_value(name: &str, option: &str, value: &str) -> String {
    let value: String = value.chars().filter(|c| !c.is_control()).collect();
    let (letter, range) = match option.split(' ').next().unwrap_or_default() {
        "--align" => ('a', ">=0"),
        "--array-elements" => ('A', ">=0"),
        "--string-length" => ('s', ">=0"),
        "--where" => ('w', ">=1"),
        "--indent" => ('n', "0..20"),
        "--pid" => ('p', ">=1"),
        "--debug" => return try_help(name, "--debug requires an octal argument"),
        _ => return try_help(name, &format!("Invalid argument to {option}: '{value}'.")),
    };
    format!("Invalid argument to -{letter}: '{value}'.  Use integer {range}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    #[test]
    fn only_the_name_counts() {
        for (name, is) in [
            ("ltrace", true),
            ("/usr/bin/ltrace", true),
            ("rltrace", false),
            ("", false),
        ] {
            assert_eq!(is_named(OsStr::new(name)), is, "{name}");
        }
    }

    /// Compared with what ltrace 0.7.3 says.
    #[test]
    fn complaints_are_ltraces() {
        let help = "\nTry `ltrace --help' for more information.";
        for (words, expected) in [
            (
                ["-A", "x"],
                "Invalid argument to -A: 'x'.  Use integer >=0.".to_owned(),
            ),
            (
                ["-n", "21"],
                "Invalid argument to -n: '21'.  Use integer 0..20.".to_owned(),
            ),
            (
                ["-p", "0"],
                "Invalid argument to -p: '0'.  Use integer >=1.".to_owned(),
            ),
            (
                ["-D", "x"],
                format!("ltrace: --debug requires an octal argument{help}"),
            ),
            (
                ["--foo", "true"],
                format!("ltrace: unrecognized option '--foo'{help}"),
            ),
            (["-Z", "true"], format!("ltrace: invalid option -- 'Z'{help}")),
            (
                ["-Le", "f"],
                format!("ltrace: Option -L can't be used with -e or -l.{help}"),
            ),
            (
                ["-t", "-r"],
                format!("ltrace: Options -r and -t can't be used together{help}"),
            ),
            (
                ["-a3", "-o"],
                format!("ltrace: option requires an argument -- 'o'{help}"),
            ),
            (
                ["-S", "--out"],
                format!("ltrace: option '--out' requires an argument{help}"),
            ),
            (
                ["--foo=1", "true"],
                format!("ltrace: unrecognized option '--foo=1'{help}"),
            ),
            (["true", "-o"], String::new()),
            (["-o", "-x"], String::new()),
            (["--li=x", "--indent=3"], String::new()),
        ] {
            let words: Vec<OsString> = ["ltrace"].into_iter().chain(words).map(Into::into).collect();
            let said = Cli::read_like_ltrace(words.clone()).err();
            let said = said.map(|error| complaint("ltrace", &words, &error));
            assert_eq!(said.unwrap_or_default(), expected);
        }
    }
}
