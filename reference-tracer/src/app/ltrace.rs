//! Under the name `ltrace`: its words where scripts may read them, its exit status, and nothing of our own on standard
//! error.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;

use clap::error::{ContextKind, ErrorKind};

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

/// With what ltrace, called by this name, ends all that it says of its options.
fn try_help(name: &str, text: &str) -> String {
    format!("{name}: {text}\nTry `{name} --help' for more information.")
}

/// What ltrace says where there is neither a command nor a process.
pub(super) fn no_command(name: &str) -> String {
    try_help(name, "too few arguments")
}

/// What ltrace says of a command line that is wrong in this way.
pub(super) fn complaint(name: &str, error: &clap::Error) -> String {
    let try_help = |text: &str| try_help(name, text);
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let (option, value) = (
        context(ContextKind::InvalidArg),
        context(ContextKind::InvalidValue),
    );
    match error.kind() {
        ErrorKind::UnknownArgument if option.starts_with("--") => {
            try_help(&format!("unrecognized option '{option}'"))
        }
        ErrorKind::UnknownArgument => {
            try_help(&format!("invalid option -- '{}'", option.trim_start_matches('-')))
        }
        ErrorKind::ArgumentConflict if option.contains("relative") || option.contains("timestamps") => {
            try_help("Options -r and -t can't be used together")
        }
        ErrorKind::ArgumentConflict => try_help("Option -L can't be used with -e or -l."),
        ErrorKind::ValueValidation => wrong_value(name, &option, &value),
        ErrorKind::InvalidValue => no_command(name),
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
            (["true", "-o"], String::new()),
        ] {
            let words = ["ltrace"].into_iter().chain(words).map(Into::into);
            let said = Cli::read(words).err().map(|error| complaint("ltrace", &error));
            assert_eq!(said.unwrap_or_default(), expected);
        }
    }
}
