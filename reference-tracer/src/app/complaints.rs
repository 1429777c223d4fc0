//! What is said of a command line that cannot be meant.

use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{ltrace, say};
use crate::cli::{Cli, help};

/// Help and version as they were asked for; anything else is an error in one line.
#[must_use]
pub fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A reader that has gone wants no help.
        let _: std::io::Result<()> = error.print();
        return ExitCode::SUCCESS;
    }
    say(&format!("{}; try 'rltrace --help'", complaint(error)));
    ExitCode::FAILURE
}

/// What is wrong with a command line, in one line.
fn complaint(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(ToString::to_string);
    let value = context(ContextKind::InvalidValue);
    let option = context(ContextKind::InvalidArg);
    if let (ErrorKind::ValueValidation, Some(value), Some(option), Some(why)) =
        (error.kind(), value, option, std::error::Error::source(error))
    {
        return format!("bad value '{}' for {option}: {why}", printable(&value));
    }
    if let (ErrorKind::InvalidValue, Some(value), Some(option), Some(ContextValue::Strings(accepted))) = (
        error.kind(),
        context(ContextKind::InvalidValue),
        context(ContextKind::InvalidArg),
        error.get(ContextKind::ValidValue),
    ) && !accepted.is_empty()
    {
        let accepted = accepted.join(", ");
        return format!(
            "bad value '{}' for {option}: expected one of {accepted}",
            printable(&value)
        );
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    printable(first.trim_start_matches("error: "))
}

/// Text from the command line as it may stand in a line on a terminal.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            c.to_string()
        }
    };
    text.chars().map(shown).collect()
}

/// Neither a command nor a process is named.
pub(super) fn no_command(cli: &Cli) -> ExitCode {
    if let Some(name) = &cli.like_ltrace {
        ltrace::say(&ltrace::no_command(name));
        return ExitCode::FAILURE;
    }
    say("no command and no -p PID");
    let usage = help::usage_lines(&Cli::table());
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "{usage}Try 'rltrace --help'.");
    ExitCode::FAILURE
}
