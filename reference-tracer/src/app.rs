//! From a command line to an exit status.

mod calibrate;
mod ltrace;
mod meaning;
mod raw;
mod stored;

use std::ffi::{OsStr, OsString};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use ptrace_core::{Command, ExitStatus, Signal, SignalState, SpawnError, Tid, User};

use crate::cli::generate::generate;
use crate::cli::{Cli, Variable, help};
use crate::leave::exit_like;
use crate::output::describe;
use crate::proto::{Problem, Prototypes, places};
use crate::tracer::{Leave, Left, Outcome, Syscalls, Tracer, Waker};
use crate::{diagnose, signals, sys};
use meaning::{destination, report_options, selection, syscalls, trace_options};
use stored::{JsonFile, compare};

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
fn no_command(cli: &Cli) -> ExitCode {
    if let Some(name) = &cli.like_ltrace {
        ltrace::say(&ltrace::no_command(name));
        return ExitCode::FAILURE;
    }
    say("no command and no -p PID");
    let usage = help::usage_lines(&Cli::table());
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "{usage}Try 'rltrace --help'.");
    ExitCode::FAILURE
}

/// One line to the user.
fn say(line: &str) {
    // When standard error is closed there is nobody to tell.
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "rltrace: {line}");
}

fn trace(cli: &Cli) -> Result<End, Refusal> {
    raw::check_record(cli)?;
    let selection = selection(cli)?;
    let user = user(cli)?;
    if let Some(name) = cli.command.first() {
        check_command(name).map_err(|refusal| refusal.in_ltrace(ltrace::bad_command(name)))?;
    }
    let (prototypes, problems) = prototypes(cli)?;
    let json = cli.summary_json.as_deref().map(JsonFile::open).transpose()?;
    let mut destination = destination(cli)?;
    ltrace::tell_problems(&problems, &mut destination);
    let leave = Leave::default();
    // Before there are other threads, as those of a calibration.
    let (inherited, waker) = watch(leave.clone())?;
    let report = report_options(cli, &destination);
    let mut tracer = Tracer::new(
        trace_options(cli),
        report,
        selection,
        prototypes,
        destination,
        leave.clone(),
    );
    let own = tracer
        .waker()
        .map_err(|error| Refusal::new(format!("no signal to be woken by: {error}")))?;
    // It is set once.
    let _ = waker.set(own.clone());
    if let Some(time) = cli.time {
        leave_after(time, leave, own)?;
    }
    let ended = start(cli, &mut tracer, user, inherited)?;
    let outcome = tracer.run().map_err(|error| Refusal::new(sys_chain(&error)))?;
    if let (Some(json), Some(summary)) = (json, &outcome.summary) {
        json.write(summary)?;
    }
    Ok(finish(cli, &outcome, ended))
}

/// Sees to it that signals end the trace in order, once there is a waker. Gives the signals that a command is to
/// start with.
fn watch(leave: Leave) -> Result<(SignalState, Arc<OnceLock<Waker>>), Refusal> {
    let waker = Arc::new(OnceLock::<Waker>::new());
    let shared = Arc::clone(&waker);
    let on_signal = move |signal: Signal| {
        leave.ask(signal);
        if let Some(waker) = shared.get() {
            waker.wake();
        }
    };
    let inherited = signals::start(on_signal)
        .map_err(|error| Refusal::new(format!("signals cannot be watched: {error}")))?;
    Ok((inherited, waker))
}

/// Ends the trace after `time`.
fn leave_after(time: Duration, leave: Leave, waker: Waker) -> Result<(), Refusal> {
    let wait = move || {
        std::thread::sleep(time);
        leave.time_is_over();
        waker.look();
    };
    std::thread::Builder::new()
        .name("time".to_owned())
        .spawn(wait)
        .map(drop)
        .map_err(|error| Refusal::new(format!("no thread for --for: {error}")))
}

/// Starts the command and attaches to the processes. A process that cannot be attached to is told of,
/// and the others go on. Gives how the command ended if that was before it had begun.
fn start(
    cli: &Cli,
    tracer: &mut Tracer,
    user: Option<User>,
    signals: SignalState,
) -> Result<Option<ExitStatus>, Refusal> {
    let mut refused = None;
    let mut attached = 0;
    for &pid in &cli.pid {
        match tracer.attach(Tid::new(pid)) {
            Ok(()) => attached += 1,
            Err(error) if cli.like_ltrace.is_some() => {
                ltrace::say(&format!(
                    "Cannot attach to pid {pid}: {}",
                    ltrace::attach_reason(&error.reason)
                ));
            }
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
                Ok(None)
            }
            None => Ok(None),
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
    match tracer.spawn(&command) {
        Ok(_) => Ok(None),
        Err(error) => {
            ended_early(&error).map_or_else(|| Err(refused_command(&error)), |ended| Ok(Some(ended)))
        }
    }
}

/// How the command ended if a signal that its user sent, such as Ctrl-C, came before it had begun.
fn ended_early(error: &SpawnError) -> Option<ExitStatus> {
    const ASKED: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
    match *error {
        SpawnError::Killed { signal, .. } if ASKED.contains(&signal) => Some(ExitStatus::Signaled {
            signal,
            core_dumped: false,
        }),
        _ => None,
    }
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
        ltrace: None,
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
    let user = User::lookup(name).map_err(|error| {
        Refusal::new(format!("user '{name}': {}", describe(&error))).in_ltrace(ltrace::bad_user(name))
    })?;
    if !sys::is_root() {
        return Err(Refusal::new(format!(
            "-u {name}: only root can run a command as another user"
        )));
    }
    Ok(Some(user))
}

/// The prototypes: those of `-F` go before those of the usual places. Under the name `ltrace` what is wrong with files is
/// no reason not to trace: it is given, to be told in the trace.
fn prototypes(cli: &Cli) -> Result<(Prototypes, Vec<Problem>), Refusal> {
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

/// What is told at the end, and how to end.
fn finish(cli: &Cli, outcome: &Outcome, ended: Option<ExitStatus>) -> End {
    for note in outcome.notes.iter().filter(|_| cli.like_ltrace.is_none()) {
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
    outcome.command.or(ended).or(left).map_or(End::With(0), End::Like)
}

/// The message of an error with its sources.
fn sys_chain(error: &dyn std::error::Error) -> String {
    crate::tracer::chain(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ctrl-C may come before the command has begun: that is no fault of its file.
    #[test]
    fn what_ends_a_command_before_it_begins() {
        let killed = |signal| SpawnError::Killed {
            signal,
            command: "sh".into(),
        };
        let ended = ended_early(&killed(Signal::SIGINT));
        assert!(
            matches!(
                ended,
                Some(ExitStatus::Signaled {
                    signal: Signal::SIGINT,
                    ..
                })
            ),
            "{ended:?}"
        );
        assert!(ended_early(&killed(Signal::SIGSEGV)).is_none());
        assert!(
            refused_command(&killed(Signal::SIGSEGV))
                .line
                .contains("truncated")
        );
    }
}
