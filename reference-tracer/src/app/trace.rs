//! A run that traces: what its options ask for is set up, and how it ends.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ptrace_core::{Command, ExitStatus, Signal, SignalState, SpawnError, Tid, User};

use super::meaning::{destination, report_options, selection, trace_options};
use super::prototypes::prototypes;
use super::stored::JsonFile;
use super::{End, Refusal, ltrace, raw, say};
use crate::cli::{Cli, Variable};
use crate::output::describe;
use crate::tracer::{Leave, Left, Outcome, Tracer, Waker, chain};
use crate::{diagnose, signals, sys};

/// Traces what the options name.
pub(super) fn trace(cli: &Cli) -> Result<End, Refusal> {
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
    let outcome = tracer.run().map_err(|error| Refusal::new(chain(&error)))?;
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
        line: chain(error),
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
