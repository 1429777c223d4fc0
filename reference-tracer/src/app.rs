//! From a command line to an exit status.

mod calibrate;
mod complaints;
mod ltrace;
mod meaning;
mod prototypes;
mod raw;
mod stored;
mod trace;

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use ptrace_core::ExitStatus;

use crate::cli::Cli;
use crate::cli::generate::generate;
use crate::diagnose;
use crate::leave::exit_like;
use crate::output::describe;
use crate::proto::Prototypes;
use complaints::no_command;
pub use complaints::usage;
use stored::compare;
use trace::trace;

/// What ends a run before it has begun: one line for the user, and an exit status.
#[derive(Debug)]
struct Refusal {
    line: String,
    status: u8,
    /// What ltrace says in its place.
    ltrace: Option<String>,
}

impl Refusal {
    fn new(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            status: 1,
            ltrace: None,
        }
    }

    /// Under the name `ltrace` it is said in these words.
    fn in_ltrace(self, text: impl Into<String>) -> Self {
        Self {
            ltrace: Some(text.into()),
            ..self
        }
    }
}

impl<E: diagnose::Diagnosis> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self {
            status: error.exit_status(),
            line: error.to_string(),
            ltrace: None,
        }
    }
}

/// Does what a command line says; `words` is all of it, the program's name included. Ends as the command did.
#[must_use]
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    let name = words.first().cloned().unwrap_or_default();
    let like_ltrace = ltrace::is_named(&name).then(|| name.display().to_string());
    let Some(name) = like_ltrace else {
        return match Cli::read(words) {
            Ok(cli) => run(&cli),
            Err(error) => usage(&error),
        };
    };
    match Cli::read_like_ltrace(words.clone()) {
        Ok(cli) => run(&Cli {
            like_ltrace: Some(name),
            ..cli
        }),
        Err(error) => {
            if let Some(text) = ltrace::help(&name, &error) {
                return end(print(|out| out.write_all(text.as_bytes())));
            }
            ltrace::say(&ltrace::complaint(&name, &words, &error));
            ExitCode::FAILURE
        }
    }
}

/// Does what the options say.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    if let Some(level) = cli.debug {
        tell_of_own_work(level);
    }
    let ended = match (cli.generate, cli.compare.as_slice()) {
        _ if cli.calibrate => return calibrate::target(),
        _ if cli.list_prototypes => print(list_prototypes),
        (Some(what), _) => print(|out| generate(what, out)),
        (None, [base, new]) => compare(cli, base, new),
        _ if !cli.fail_over.is_empty() => Err(Refusal::new("--fail-over is for --compare BASE NEW")),
        _ if cli.replay.is_some() => raw::replay(cli),
        _ if cli.command.is_empty() && cli.pid.is_empty() => return no_command(cli),
        _ => trace(cli),
    };
    match ended {
        // Whatever the command did.
        Ok(End::Like(_)) if cli.like_ltrace.is_some() => ExitCode::SUCCESS,
        Err(refusal) if cli.like_ltrace.is_some() => {
            ltrace::say(&refusal.ltrace.unwrap_or(refusal.line));
            ExitCode::FAILURE
        }
        ended => end(ended),
    }
}

/// Ends as `ended` says.
fn end(ended: Result<End, Refusal>) -> ExitCode {
    match ended {
        Ok(End::Like(status)) => exit_like(status),
        Ok(End::With(status)) => ExitCode::from(status),
        Err(refusal) => {
            say(&refusal.line);
            ExitCode::from(refusal.status)
        }
    }
}

/// Lets the tracer tell of its own work on standard error: `-D`.
fn tell_of_own_work(level: tracing::level_filters::LevelFilter) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time();
    // It fails where there is one already: then that one is told.
    let _ = subscriber.try_init();
}

/// How to end.
#[derive(Debug, Clone, Copy)]
enum End {
    /// As the command did.
    Like(ExitStatus),
    /// With this exit status.
    With(u8),
}

/// Something of the tracer's own on standard output.
fn print(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<End, Refusal> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        // A reader that has seen enough has gone.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(End::With(0)),
        Err(error) => Err(Refusal::new(format!("standard output: {}", describe(&error)))),
        Ok(()) => Ok(End::With(0)),
    }
}

/// The embedded prototypes, one a line.
fn list_prototypes(out: &mut dyn Write) -> std::io::Result<()> {
    Prototypes::embedded().try_for_each(|(soname, name, line)| writeln!(out, "{soname}\t{name}\t{line}"))
}

/// One line to the user.
fn say(line: &str) {
    // When standard error is closed there is nobody to tell.
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "rltrace: {line}");
}
