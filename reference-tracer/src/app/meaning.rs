//! What the options of a command line ask for.

use std::path::Path;

use super::raw::{names_threads, raw_destination, raw_options};
use super::{Refusal, calibrate, ltrace};
use crate::cli::{self, Cli};
use crate::filter::{Filter, FilterError, FilterSet};
use crate::output::{Output, OutputError, PerProcess, Target, describe};
use crate::selection::{Entry, Selection};
use crate::summary::Column;
use crate::sys;
use crate::text::{PidPrefix, TextOptions, TimePrefix, align_for};
use crate::tracer::{Destination, RecordOptions, ReportOptions, SummaryOptions, Syscalls, TraceOptions};
use crate::value::Limits;
use fast_ring::OnFull;

/// How the processes are traced.
pub(super) fn trace_options(cli: &Cli) -> TraceOptions {
    TraceOptions {
        follow: cli.follows(),
        hand_off: !cli.no_handoff,
        kill_on_exit: cli.kill_on_exit,
        syscalls: syscalls(cli),
        demangle: cli.demangle,
        start_up: cli.like_ltrace.is_none(),
        record: record_options(cli),
    }
}

/// How calls are recorded inside the programs.
fn record_options(cli: &Cli) -> RecordOptions {
    RecordOptions {
        engine: cli.engine(),
        ring: cli.ring,
        on_full: match cli.on_full {
            cli::OnFull::Wait => OnFull::Wait,
            cli::OnFull::Drop => OnFull::Drop,
        },
    }
}

/// Which system calls are shown: all by `-S`, or those that a filter names as functions of `SYS`.
pub(super) fn syscalls(cli: &Cli) -> Syscalls {
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
pub(super) fn destination(cli: &Cli) -> Result<Destination, Refusal> {
    if let Some(raw) = raw_destination(cli) {
        return raw;
    }
    let target = match &cli.output {
        Some(path) => Target::parse(path, cli.output_append),
        None if cli.output_append => {
            return Err(Refusal::new("--output-append needs -o FILE, to which it adds"));
        }
        None => Target::Stderr,
    };
    if let Target::Command(command) = &target
        && command.to_string_lossy().trim().is_empty()
    {
        return Err(Refusal::new("-o '|': expected a command behind the |"));
    }
    if cli.follow < 2 {
        let output = Output::open(&target).map_err(|error| {
            let OutputError::Open { reason, .. } = &error else {
                return Refusal::new(error.to_string());
            };
            let path = cli.output.as_deref().unwrap_or_default().display();
            let ltrace = format!("can't open {path} for writing: {}", describe(reason));
            Refusal::new(error.to_string()).in_ltrace(ltrace)
        })?;
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

/// What is traced.
pub(super) fn selection(cli: &Cli) -> Result<Selection, Refusal> {
    let mut calls = filters(cli, &cli.filter, Filter::parse)?;
    if cli.filter.is_empty() && cli.library.is_empty() && !cli.no_library_calls {
        calls.extend(Filter::parse("@MAIN"));
    }
    let exporters = filters(cli, &cli.library, Filter::parse_library)?;
    let (mut entries, mut places) = (Vec::new(), Vec::new());
    for entry in filters(cli, &cli.entry, Entry::parse)? {
        match entry {
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

/// What filters mean. One that cannot be understood ends the run, or under the name `ltrace` is told of and left out.
pub(super) fn filters<T>(
    cli: &Cli,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, FilterError>,
) -> Result<Vec<T>, Refusal> {
    let mut parsed = Vec::new();
    for text in texts {
        match (parse(text), &cli.like_ltrace) {
            (_, None) if text.trim().is_empty() => {
                return Err(Refusal::new(format!("bad filter '{text}': it selects nothing")));
            }
            (Ok(filter), _) => parsed.push(filter),
            (Err(error), Some(_)) => ltrace::say(&ltrace::bad_filter(&error)),
            (Err(error), None) => return Err(Refusal::new(error.to_string())),
        }
    }
    Ok(parsed)
}

/// How lines name threads: in a file it can be seen from afar what the number is.
pub(super) fn thread_names(cli: &Cli) -> PidPrefix {
    if cli.output.is_some() {
        PidPrefix::Bare
    } else {
        PidPrefix::Bracketed
    }
}

pub(super) fn text_options(cli: &Cli, destination: &Destination) -> TextOptions {
    let pid = if names_threads(cli) {
        thread_names(cli)
    } else {
        PidPrefix::None
    };
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

pub(super) fn report_options(cli: &Cli, destination: &Destination) -> ReportOptions {
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
        raw_errors: cli.like_ltrace.is_some(),
        fd_paths: cli.fd_paths,
        threads: thread_names(cli),
        stack: cli.stack,
        limit: cli.limit,
        raw: raw_options(cli),
    }
}

fn summary_options(cli: &Cli) -> SummaryOptions {
    SummaryOptions {
        correction: cli
            .like_ltrace
            .is_none()
            .then(|| calibrate::measure(!cli.no_handoff))
            .flatten(),
        ..table_options(cli)
    }
}

/// How a table looks.
pub(super) fn table_options(cli: &Cli) -> SummaryOptions {
    let columns = cli.columns.as_ref().map(|columns| columns.0.clone());
    SummaryOptions {
        correction: None,
        columns: columns.unwrap_or_else(|| Column::ALL.to_vec()),
        sort: cli.sort.unwrap_or(Column::SelfTime),
        ltrace: cli.like_ltrace.is_some(),
        table: cli.summary || cli.summary_and_trace,
    }
}
