//! `--record` and `--replay`: what goes together, and what a file must have for what is asked of it.

use super::complaints::printable;
use super::meaning::{destination, filters, text_options, thread_names};
use super::stored::JsonFile;
use super::{End, Refusal, say};
use crate::cli::Cli;
use crate::filter::{Filter, FilterSet};
use crate::output::{ColorChoice, Output, Target};
use crate::raw::Header;
use crate::summary::Column;
use crate::tracer::{Destination, RawOptions, Replay, ReportOptions, SummaryOptions};
use crate::value::Limits;

/// Bytes of a raw trace that are written at once.
const ROOM: usize = 256 << 10;

/// Whether an option was given, and how it is spelled.
type Given = (bool, &'static str);

fn first_given(options: &[Given]) -> Option<&'static str> {
    options.iter().find(|(given, _)| *given).map(|(_, name)| *name)
}

/// Refuses what a recording cannot do, or what says how text looks that it does not make.
pub(super) fn check_record(cli: &Cli) -> Result<(), Refusal> {
    if cli.record.is_none() {
        return Ok(());
    }
    let of_text = [
        (cli.output.is_some(), "-o"),
        (cli.output_append, "--output-append"),
        (cli.align.is_some(), "-a"),
        (cli.indent != 0, "-n"),
        (cli.color != ColorChoice::Auto, "--color"),
        (cli.summary_and_trace, "--summary-and-trace"),
        (cli.summary_json.is_some(), "--summary-json"),
        (cli.sort.is_some(), "--sort"),
        (cli.columns.is_some(), "--columns"),
        (cli.follow > 1, "-ff"),
        (cli.limit.is_some(), "--limit"),
    ];
    match first_given(&of_text) {
        Some(name) => Err(Refusal::new(format!(
            "{name} does not go with --record, which makes no text: give it with --replay"
        ))),
        None => Ok(()),
    }
}

/// Where a raw trace goes.
pub(super) fn raw_destination(cli: &Cli) -> Option<Result<Destination, Refusal>> {
    let path = cli.record.as_ref()?;
    if path == "-" {
        let why = "--record -: a raw trace goes to a file, or with '|COMMAND' to a command";
        return Some(Err(Refusal::new(why)));
    }
    let target = Target::parse(path, false);
    let opened = Output::open(&target).map_err(|error| Refusal::new(error.to_string()));
    Some(opened.and_then(|output| {
        if output.is_terminal() {
            return Err(Refusal::new("--record: a raw trace is nothing for a terminal"));
        }
        Ok(Destination::One(output.with_room(ROOM)))
    }))
}

/// What a raw trace is to tell of the options.
pub(super) fn raw_options(cli: &Cli) -> Option<RawOptions> {
    cli.record.as_ref().map(|_| RawOptions {
        many: names_threads(cli),
        demangle: cli.demangle,
    })
}

/// Whether lines name their thread from the start.
pub(super) fn names_threads(cli: &Cli) -> bool {
    cli.follow == 1 || cli.pid.len() + usize::from(!cli.command.is_empty()) > 1
}

/// Refuses what was decided when a trace was recorded.
fn check_replay(cli: &Cli) -> Result<(), Refusal> {
    let limits = Limits::default();
    let of_recording = [
        (cli.record.is_some(), "--record"),
        (!cli.command.is_empty(), "a command"),
        (!cli.pid.is_empty(), "-p"),
        (!cli.entry.is_empty(), "-x"),
        (!cli.library.is_empty(), "-l"),
        (cli.no_library_calls, "-L"),
        (cli.syscalls, "-S"),
        (cli.follow == 1, "-f"),
        (!cli.config.is_empty(), "-F"),
        (cli.array_elements != limits.array, "-A"),
        (cli.string_length != limits.string, "-s"),
        (cli.fd_paths, "-y"),
        (cli.stack.is_some(), "-w"),
        (cli.user.is_some(), "-u"),
        (!cli.env.is_empty(), "-E"),
        (cli.time.is_some(), "--for"),
        (cli.kill_on_exit, "--kill-on-exit"),
        (cli.engine.is_some(), "--engine"),
    ];
    match first_given(&of_recording) {
        Some(name) => Err(Refusal::new(format!(
            "{name} does not go with --replay, which shows what was recorded"
        ))),
        None => Ok(()),
    }
}

/// Whether a table shows times.
fn shows_times(cli: &Cli) -> bool {
    let timeless = [Column::Calls, Column::Errors, Column::Name];
    let columns = cli.columns.as_ref();
    cli.counts()
        && (cli.summary_json.is_some()
            || columns.is_none_or(|columns| !columns.0.iter().all(|column| timeless.contains(column))))
}

/// Refuses what was not recorded.
fn check_header(cli: &Cli, header: &Header, path: &str) -> Result<(), Refusal> {
    let missing = [
        (
            cli.shows_lines() && !header.lines,
            "calls were only counted when it was recorded, with -c: replay it with -c",
        ),
        (
            header.times == 0 && (cli.timestamps > 0 || cli.relative_time),
            "it has no times: record it with -t, -r, -T or -c",
        ),
        (
            header.times < 2 && cli.durations,
            "it does not tell how long calls took: record it with -T or -c",
        ),
        (
            header.times < 2 && shows_times(cli),
            "it does not tell how long calls took: record it with -T or -c, or count with --columns calls,errors,name",
        ),
        (
            cli.instruction_pointer && !header.addresses,
            "it has no return addresses: record it with -i",
        ),
    ];
    match first_given(&missing) {
        Some(why) => Err(Refusal::new(format!("'{path}': {why}"))),
        None => Ok(()),
    }
}

/// Shows a raw trace.
pub(super) fn replay(cli: &Cli) -> Result<End, Refusal> {
    let Some(path) = &cli.replay else {
        return Ok(End::With(0));
    };
    check_replay(cli)?;
    let filter = match filters(cli, &cli.filter, Filter::parse)? {
        filters if filters.is_empty() => None,
        filters => Some(FilterSet::new(filters)),
    };
    if path.as_os_str() == "-" {
        return Err(Refusal::new("--replay -: a raw trace is read from a file"));
    }
    let replay = Replay::open(path).map_err(|error| Refusal::new(error.to_string()))?;
    check_header(cli, replay.header(), &path.display().to_string())?;
    let json = cli.summary_json.as_deref().map(JsonFile::open).transpose()?;
    let destination = destination(cli)?;
    let report = report_options(cli, replay.header(), &destination);
    let demangle = cli.demangle || replay.header().demangle;
    let replayed = replay.run(destination, report, demangle, filter);
    if let (Some(json), Some(summary)) = (json, &replayed.summary) {
        json.write(summary)?;
    }
    replayed.notes.iter().for_each(|note| say(&printable(note)));
    if let Some(problem) = &replayed.problem {
        return Err(Refusal::new(problem.to_string()));
    }
    Ok(End::With(u8::from(replayed.lost)))
}

fn report_options(cli: &Cli, header: &Header, destination: &Destination) -> ReportOptions {
    let [string, array, depth] = header.limits;
    let mut text = text_options(cli, destination);
    if header.many && matches!(destination, Destination::One(_)) {
        text.pid = thread_names(cli);
    }
    ReportOptions {
        limits: Limits { string, array, depth },
        text,
        lines: cli.shows_lines(),
        summary: cli.counts().then(|| summary_options(cli, header)),
        callers: header.callers || !cli.filter.is_empty(),
        signals: !cli.no_signals,
        raw_errors: false,
        fd_paths: false,
        threads: thread_names(cli),
        stack: None,
        limit: cli.limit,
        raw: None,
    }
}

fn summary_options(cli: &Cli, header: &Header) -> SummaryOptions {
    SummaryOptions {
        correction: header.correction,
        ..super::meaning::table_options(cli)
    }
}
