//! From a command line to an exit status.

use std::ffi::OsStr;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use ptrace_core::{Command, ExitStatus, Signal, SignalState, SpawnError, Tid, User};

use crate::cli::Cli;
use crate::filter::{Filter, FilterSet};
use crate::leave::exit_like;
use crate::output::{Output, Target};
use crate::proto::{Prototypes, places};
use crate::text::{PidPrefix, TextOptions, TextSink, TimePrefix, align_for};
use crate::tracer::{Leave, Outcome, ReportOptions, TraceOptions, Tracer};
use crate::value::Limits;
use crate::{diagnose, signals, sys};

/// What ends a run before it has begun: one line for the user, and an exit status.
#[derive(Debug)]
struct Refusal {
    line: String,
    status: u8,
}

impl Refusal {
    fn new(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            status: 1,
        }
    }
}

impl<E: diagnose::Diagnosis> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self {
            status: error.exit_status(),
            line: error.to_string(),
        }
    }
}

/// Traces as the command line says. Ends as the command did.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    if cli.list_prototypes {
        return list_prototypes();
    }
    match trace(cli) {
        Ok(Some(status)) => exit_like(status),
        Ok(None) => ExitCode::SUCCESS,
        Err(refusal) => {
            say(&refusal.line);
            ExitCode::from(refusal.status)
        }
    }
}

/// Prints the embedded prototypes, one a line.
fn list_prototypes() -> ExitCode {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = Prototypes::embedded()
        .try_for_each(|(soname, name, line)| writeln!(out, "{soname}\t{name}\t{line}"))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            say(&format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS, // a reader that has seen enough has gone
    }
}

/// Help and version as they were asked for; anything else is an error in one line.
#[must_use]
pub fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A reader that has gone wants no help.
        let _: std::io::Result<()> = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    say(&format!(
        "{}; try 'rltrace --help'",
        first.trim_start_matches("error: ")
    ));
    ExitCode::FAILURE
}

/// One line to the user.
fn say(line: &str) {
    // When standard error is closed there is nobody to tell.
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "rltrace: {line}");
}

fn trace(cli: &Cli) -> Result<Option<ExitStatus>, Refusal> {
    if cli.command.is_empty() && cli.pid.is_empty() {
        return Err(Refusal::new("no command and no -p PID; try 'rltrace --help'"));
    }
    let filters = filters(cli)?;
    let user = user(cli)?;
    if let Some(name) = cli.command.first() {
        check_command(name)?;
    }
    let prototypes = prototypes(cli)?;
    let target = match &cli.output {
        Some(path) => Target::parse(path, cli.output_append),
        None => Target::Stderr,
    };
    let output = Output::open(&target).map_err(|error| Refusal::new(error.to_string()))?;
    let options = TraceOptions {
        follow: cli.follow,
        hand_off: !cli.no_handoff,
        kill_on_exit: cli.kill_on_exit,
    };
    let leave = Leave::default();
    let sink = TextSink::new(text_options(cli, &output));
    let mut tracer = Tracer::new(
        options,
        report_options(cli),
        filters,
        prototypes,
        sink,
        output,
        leave.clone(),
    );
    let waker = tracer
        .waker()
        .map_err(|error| Refusal::new(format!("no signal to be woken by: {error}")))?;
    let on_signal = {
        let waker = waker.clone();
        move |signal: Signal| {
            leave.ask(signal);
            waker.wake();
        }
    };
    let inherited = signals::start(on_signal)
        .map_err(|error| Refusal::new(format!("signals cannot be watched: {error}")))?;
    start(cli, &mut tracer, user, inherited)?;
    let outcome = tracer.run().map_err(|error| Refusal::new(sys_chain(&error)))?;
    Ok(finish(cli, &outcome))
}

/// Starts the command and attaches to the processes. A process that cannot be attached to is told of,
/// and the others go on.
fn start(cli: &Cli, tracer: &mut Tracer, user: Option<User>, signals: SignalState) -> Result<(), Refusal> {
    let mut refused = None;
    let mut attached = 0;
    for &pid in &cli.pid {
        match tracer.attach(Tid::new(pid)) {
            Ok(()) => attached += 1,
            Err(error) => {
                if let Some(line) = refused.replace(error.to_string()) {
                    say(&line);
                }
            }
        }
    }
    let Some((name, args)) = cli.command.split_first() else {
        // The last refusal is the reason of the exit status if there is nothing else to trace.
        return match refused {
            Some(line) if attached == 0 => Err(Refusal::new(line)),
            Some(line) => {
                say(&line);
                Ok(())
            }
            None => Ok(()),
        };
    };
    if let Some(line) = refused {
        say(&line);
    }
    let mut command = Command::new(name).args(args).signals(signals);
    if let Some(user) = user {
        command = command.user(user);
    }
    tracer
        .spawn(&command)
        .map(drop)
        .map_err(|error| refused_command(&error))
}

fn refused_command(error: &SpawnError) -> Refusal {
    if let SpawnError::Killed { signal, command } = error {
        // execve(2) has no way back once the old program is gone: what it cannot map kills the process.
        return Refusal::new(format!(
            "{}: {signal} while the kernel loaded it: a truncated ELF file, or no memory where it asks for it",
            command.display()
        ));
    }
    let status = match error.exec_errno() {
        Some(libc::ENOENT) => 127,
        Some(_) => 126,
        None => 1,
    };
    Refusal {
        line: sys_chain(error),
        status,
    }
}

/// What can be said of a command before it is started.
fn check_command(name: &OsStr) -> Result<(), Refusal> {
    let path = diagnose::command::resolve(name, std::env::var_os("PATH").as_deref())?;
    diagnose::program::examine(Path::new(&path))?;
    Ok(())
}

fn user(cli: &Cli) -> Result<Option<User>, Refusal> {
    let Some(name) = &cli.user else { return Ok(None) };
    let user = User::lookup(name).map_err(|error| Refusal::new(format!("user '{name}': {error}")))?;
    if !sys::is_root() {
        return Err(Refusal::new(format!(
            "-u {name}: only root can run a command as another user"
        )));
    }
    Ok(Some(user))
}

fn filters(cli: &Cli) -> Result<FilterSet, Refusal> {
    let parse = |text: &String| {
        if text.trim().is_empty() {
            return Err(Refusal::new(format!("bad filter '{text}': it selects nothing")));
        }
        Filter::parse(text).map_err(|error| Refusal::new(error.to_string()))
    };
    let mut filters = cli.filter.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    if filters.is_empty() {
        filters.push(parse(&"@MAIN".to_owned())?);
    }
    Ok(FilterSet::new(filters))
}

/// The prototypes: those of `-F` go before those of the usual places.
fn prototypes(cli: &Cli) -> Result<Prototypes, Refusal> {
    let mut prototypes = Prototypes::new();
    let mut problems = Vec::new();
    let usual = places(std::env::home_dir().as_deref(), |name| std::env::var_os(name));
    for (path, error) in prototypes.load_places(&usual, &mut problems) {
        say(&format!("cannot read '{}': {error}", path.display()));
    }
    let paths = cli
        .config
        .iter()
        .flat_map(|list| list.split(':'))
        .filter(|path| !path.is_empty());
    for path in paths {
        let path = Path::new(path);
        let read = if path.is_dir() {
            prototypes.load_dir(path, &mut problems)
        } else {
            prototypes.load_file(path, None, &mut problems)
        };
        read.map_err(|error| Refusal::new(format!("cannot read '{}': {error}", path.display())))?;
    }
    for problem in problems {
        say(&problem.to_string());
    }
    Ok(prototypes)
}

/// How lines name threads: in a file it can be seen from afar what the number is.
fn thread_names(cli: &Cli) -> PidPrefix {
    if cli.output.is_some() {
        PidPrefix::Bare
    } else {
        PidPrefix::Bracketed
    }
}

fn text_options(cli: &Cli, output: &Output) -> TextOptions {
    let many = cli.follow || cli.pid.len() + usize::from(!cli.command.is_empty()) > 1;
    let pid = if many { thread_names(cli) } else { PidPrefix::None };
    let time = match (cli.timestamps, cli.relative_time) {
        (0, false) => TimePrefix::None,
        (0, true) => TimePrefix::Relative,
        (1, _) => TimePrefix::Clock,
        (2, _) => TimePrefix::ClockMicros,
        _ => TimePrefix::Epoch,
    };
    TextOptions {
        align: cli.align.unwrap_or_else(|| align_for(columns(output))),
        indent: cli.indent.into(),
        pid,
        time,
        address: cli.instruction_pointer,
        duration: cli.durations,
        utc_offset: sys::utc_offset,
    }
}

/// The width of the output: `$COLUMNS`, or the terminal's.
fn columns(output: &Output) -> Option<usize> {
    let from_env = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    from_env.or_else(|| output.is_terminal().then(sys::terminal_columns).flatten())
}

fn report_options(cli: &Cli) -> ReportOptions {
    ReportOptions {
        limits: Limits {
            string: cli.string_length,
            array: cli.array_elements,
            depth: cli.array_elements,
        },
        summary: cli.summary,
        callers: !cli.filter.is_empty(),
        signals: !cli.no_signals,
        threads: thread_names(cli),
    }
}

/// What is told at the end, and how to end.
fn finish(cli: &Cli, outcome: &Outcome) -> Option<ExitStatus> {
    for note in &outcome.notes {
        say(note);
    }
    if outcome.lost {
        return Some(ExitStatus::Exited(1));
    }
    // Leaving processes that were attached to is the end that the user asked for.
    let left = outcome.left.filter(|_| !cli.command.is_empty());
    outcome.command.or(left.map(|signal| ExitStatus::Signaled {
        signal,
        core_dumped: false,
    }))
}

/// The message of an error with its sources.
fn sys_chain(error: &dyn std::error::Error) -> String {
    crate::tracer::chain(error)
}
