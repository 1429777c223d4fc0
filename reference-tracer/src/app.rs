//! From a command line to an exit status.

mod calibrate;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use ptrace_core::{Command, ExitStatus, Signal, SignalState, SpawnError, Tid, User};

use crate::cli::generate::generate;
use crate::cli::{Cli, Variable, help};
use crate::filter::{Filter, FilterError, FilterSet};
use crate::leave::exit_like;
use crate::output::{Output, PerProcess, Target, describe};
use crate::proto::Prototypes;
use crate::selection::{Entry, Selection};
use crate::summary::{Column, Comparison, Report};
use crate::text::{PidPrefix, TextOptions, TimePrefix, align_for};
use crate::tracer::{
    Destination, Leave, Left, Outcome, ReportOptions, SummaryOptions, Syscalls, TraceOptions, Tracer,
};
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

/// Does what a command line says; `words` is all of it, the program's name included. Ends as the command did.
#[must_use]
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::read(words) {
        Ok(cli) => run(&cli),
        Err(error) => usage(&error),
    }
}

/// Does what the options say.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    let ended = match (cli.generate, cli.compare.as_slice()) {
        _ if cli.calibrate => return calibrate::target(),
        (Some(what), _) => print(|out| generate(what, out)),
        (None, [base, new]) => compare(cli, base, new),
        _ if cli.command.is_empty() && cli.pid.is_empty() => return no_command(),
        _ => trace(cli),
    };
    match ended {
        Ok(End::Like(status)) => exit_like(status),
        Ok(End::With(status)) => ExitCode::from(status),
        Err(refusal) => {
            say(&refusal.line);
            ExitCode::from(refusal.status)
        }
    }
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
    let mut out = std::io::stdout().lock();
    write(&mut out)
        .and_then(|()| out.flush())
        .map_err(|error| Refusal::new(format!("standard output: {}", describe(&error))))?;
    Ok(End::With(0))
}

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
    match (error.kind(), value, option, std::error::Error::source(error)) {
        (ErrorKind::ValueValidation, Some(value), Some(option), Some(why)) => {
            format!("bad value '{}' for {option}: {why}", printable(&value))
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            printable(first.trim_start_matches("error: "))
        }
    }
}

/// Text from the command line as it may stand in a line on a terminal.
fn printable(text: &str) -> String {
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
fn no_command() -> ExitCode {
    say("no command and no -p PID");
    let usage = help::usage_lines(&Cli::table());
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "{usage}Try 'rltrace --help'.");
    ExitCode::FAILURE
}

/// Compares two stored summaries: 3 where a limit is passed.
fn compare(cli: &Cli, base: &Path, new: &Path) -> Result<End, Refusal> {
    let read = |path: &Path| {
        let named = |error: &dyn std::fmt::Display| Refusal::new(format!("'{}': {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| named(&describe(&error)))?;
        Report::from_json(&text).map_err(|error| named(&error))
    };
    let (base, new) = (read(base)?, read(new)?);
    let comparison = Comparison::new(&base, &new, &cli.fail_over);
    print(|out| out.write_all(comparison.table().as_bytes()))?;
    Ok(End::With(if comparison.failed() { 3 } else { 0 }))
}

/// One line to the user.
fn say(line: &str) {
    // When standard error is closed there is nobody to tell.
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "rltrace: {line}");
}

fn trace(cli: &Cli) -> Result<End, Refusal> {
    let selection = selection(cli)?;
    let user = user(cli)?;
    if let Some(name) = cli.command.first() {
        check_command(name)?;
    }
    let prototypes = prototypes(cli)?;
    let json = cli.summary_json.as_deref().map(JsonFile::open).transpose()?;
    let destination = destination(cli)?;
    let report = report_options(cli, &destination);
    let leave = Leave::default();
    let mut tracer = Tracer::new(
        trace_options(cli),
        report,
        selection,
        prototypes,
        destination,
        leave.clone(),
    );
    let inherited = watch(cli, &mut tracer, leave)?;
    start(cli, &mut tracer, user, inherited)?;
    let outcome = tracer.run().map_err(|error| Refusal::new(sys_chain(&error)))?;
    if let (Some(json), Some(summary)) = (json, &outcome.summary) {
        json.write(summary)?;
    }
    Ok(finish(cli, &outcome))
}

fn trace_options(cli: &Cli) -> TraceOptions {
    TraceOptions {
        follow: cli.follows(),
        hand_off: !cli.no_handoff,
        kill_on_exit: cli.kill_on_exit,
        syscalls: syscalls(cli),
        demangle: cli.demangle,
    }
}

/// Which system calls are shown: all by `-S`, or those that a filter names as functions of `SYS`.
fn syscalls(cli: &Cli) -> Syscalls {
    match (
        cli.syscalls,
        cli.filter.iter().any(|filter| filter.contains("@SYS")),
    ) {
        (_, true) => Syscalls::Selected,
        (true, false) => Syscalls::All,
        (false, false) => Syscalls::None,
    }
}

/// Where the lines go.
fn destination(cli: &Cli) -> Result<Destination, Refusal> {
    let target = match &cli.output {
        Some(path) => Target::parse(path, cli.output_append),
        None => Target::Stderr,
    };
    if cli.follow < 2 {
        let output = Output::open(&target).map_err(|error| Refusal::new(error.to_string()))?;
        return Ok(Destination::One(output));
    }
    let Target::File { path, append } = target else {
        return Err(Refusal::new("-ff needs -o FILE: each process gets its FILE.PID"));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.is_dir() || path.file_name().is_none() {
        return Err(Refusal::new(format!(
            "cannot write to '{}': its folder is not there",
            path.display()
        )));
    }
    Ok(Destination::Each(PerProcess::new(path, append)))
}

/// Sees to it that signals, and the end of the time of `--for`, end the trace in order. Gives the signals
/// that a command is to start with.
fn watch(cli: &Cli, tracer: &mut Tracer, leave: Leave) -> Result<SignalState, Refusal> {
    let waker = tracer
        .waker()
        .map_err(|error| Refusal::new(format!("no signal to be woken by: {error}")))?;
    let on_signal = {
        let (waker, leave) = (waker.clone(), leave.clone());
        move |signal: Signal| {
            leave.ask(signal);
            waker.wake();
        }
    };
    let inherited = signals::start(on_signal)
        .map_err(|error| Refusal::new(format!("signals cannot be watched: {error}")))?;
    if let Some(time) = cli.time {
        let wait = move || {
            std::thread::sleep(time);
            leave.time_is_over();
            waker.wake();
        };
        std::thread::Builder::new()
            .name("time".to_owned())
            .spawn(wait)
            .map_err(|error| Refusal::new(format!("no thread for --for: {error}")))?;
    }
    Ok(inherited)
}

/// The file of `--summary-json`. It keeps what it holds until there is a summary.
struct JsonFile {
    path: PathBuf,
    file: File,
}

impl JsonFile {
    fn open(path: &Path) -> Result<Self, Refusal> {
        let opened = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        match opened {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file,
            }),
            Err(error) => Err(Self::refusal(path, &error)),
        }
    }

    fn write(mut self, summary: &Report) -> Result<(), Refusal> {
        let is_file = self.file.metadata().is_ok_and(|meta| meta.is_file());
        let truncated = if is_file { self.file.set_len(0) } else { Ok(()) };
        truncated
            .and_then(|()| self.file.write_all(summary.to_json().as_bytes()))
            .map_err(|error| Self::refusal(&self.path, &error))
    }

    fn refusal(path: &Path, error: &std::io::Error) -> Refusal {
        Refusal::new(format!(
            "cannot write to '{}': {}",
            path.display(),
            describe(error)
        ))
    }
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
    for variable in cli.variables() {
        command = match variable {
            Variable::Set(name, value) => command.env(name, value),
            Variable::Unset(name) => command.env_remove(name),
        };
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

/// What is traced.
fn selection(cli: &Cli) -> Result<Selection, Refusal> {
    let bad = |error: FilterError| Refusal::new(error.to_string());
    let filled = |text: &String| {
        if text.trim().is_empty() {
            return Err(Refusal::new(format!("bad filter '{text}': it selects nothing")));
        }
        Ok(())
    };
    let mut calls = Vec::new();
    for text in &cli.filter {
        filled(text)?;
        calls.push(Filter::parse(text).map_err(bad)?);
    }
    if calls.is_empty() && cli.library.is_empty() && !cli.no_library_calls {
        calls.push(Filter::parse("@MAIN").map_err(bad)?);
    }
    let exporters = cli.library.iter().map(|text| Filter::parse_library(text));
    let exporters = exporters.collect::<Result<_, _>>().map_err(bad)?;
    let (mut entries, mut places) = (Vec::new(), Vec::new());
    for text in &cli.entry {
        filled(text)?;
        match Entry::parse(text).map_err(bad)? {
            Entry::Filter(filter) => entries.push(filter),
            Entry::Place(place) => places.push(place),
        }
    }
    Ok(Selection {
        calls: FilterSet::new(calls),
        exporters: FilterSet::new(exporters),
        entries: FilterSet::new(entries),
        places,
    })
}

/// The prototypes: those of `-F` go before the built-in ones.
fn prototypes(cli: &Cli) -> Result<Prototypes, Refusal> {
    let mut prototypes = Prototypes::new();
    let mut problems = if syscalls(cli) == Syscalls::None {
        Vec::new()
    } else {
        prototypes.describe_syscalls()
    };
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

fn text_options(cli: &Cli, destination: &Destination) -> TextOptions {
    let many = cli.follow == 1 || cli.pid.len() + usize::from(!cli.command.is_empty()) > 1;
    let pid = if many { thread_names(cli) } else { PidPrefix::None };
    let time = match (cli.timestamps, cli.relative_time) {
        (0, false) => TimePrefix::None,
        (0, true) => TimePrefix::Relative,
        (1, _) => TimePrefix::Clock,
        (2, _) => TimePrefix::ClockMicros,
        _ => TimePrefix::Epoch,
    };
    let is_terminal = matches!(destination, Destination::One(output) if output.is_terminal());
    let (no_color, term) = (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
    TextOptions {
        align: cli.align.unwrap_or_else(|| align_for(columns(is_terminal))),
        indent: cli.indent,
        pid,
        time,
        address: cli.instruction_pointer,
        duration: cli.durations,
        color: cli
            .color
            .decide(is_terminal, no_color.as_deref(), term.as_deref()),
        utc_offset: sys::utc_offset,
    }
}

/// The width of the output: `$COLUMNS`, or the terminal's.
fn columns(is_terminal: bool) -> Option<usize> {
    let from_env = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    from_env.or_else(|| is_terminal.then(sys::terminal_columns).flatten())
}

fn report_options(cli: &Cli, destination: &Destination) -> ReportOptions {
    ReportOptions {
        limits: Limits {
            string: cli.string_length,
            array: cli.array_elements,
            depth: cli.array_elements,
        },
        text: text_options(cli, destination),
        lines: cli.shows_lines(),
        summary: cli.counts().then(|| summary_options(cli)),
        callers: !cli.filter.is_empty() || !cli.library.is_empty(),
        signals: !cli.no_signals,
        raw_errors: false,
        threads: thread_names(cli),
        limit: cli.limit,
    }
}

fn summary_options(cli: &Cli) -> SummaryOptions {
    let columns = cli.columns.as_ref().map(|columns| columns.0.clone());
    SummaryOptions {
        correction: calibrate::measure(!cli.no_handoff),
        columns: columns.unwrap_or_else(|| Column::ALL.to_vec()),
        sort: cli.sort.unwrap_or(Column::SelfTime),
        ltrace: false,
        table: cli.summary || cli.summary_and_trace,
    }
}

/// What is told at the end, and how to end.
fn finish(cli: &Cli, outcome: &Outcome) -> End {
    for note in &outcome.notes {
        say(note);
    }
    if outcome.lost {
        return End::With(1);
    }
    // Leaving processes that were attached to is the end that the user asked for.
    let left = match outcome.left {
        Some(Left::Signal(signal)) if !cli.command.is_empty() => Some(ExitStatus::Signaled {
            signal,
            core_dumped: false,
        }),
        _ => None,
    };
    outcome.command.or(left).map_or(End::With(0), End::Like)
}

/// The message of an error with its sources.
fn sys_chain(error: &dyn std::error::Error) -> String {
    crate::tracer::chain(error)
}
