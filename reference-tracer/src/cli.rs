//! The command line: one table of options, in ltrace's letters where ltrace has them.
//!
//! [`Cli`] is that table. Options that have `hide_short_help` are named at the end of the help only. The help ([`help`]), the man page and the completions of shells ([`generate`])
//! are made from it, so that none of them can tell of an option that is not there.

pub mod generate;
pub mod help;
mod values;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use crate::output::ColorChoice;
use crate::summary::{Column, Limit};
use crate::tracer::Engine;
pub use values::{Columns, Generate, OnFull, Variable};

/// Traces the library calls of a program.
#[derive(Debug, Clone, Parser)]
#[command(name = "rltrace", version, args_override_self = true, infer_long_args = true)]
#[command(override_usage = "rltrace [OPTION]... [--] COMMAND [ARG]...\n       rltrace [OPTION]... -p PID...")]
#[command(after_help = help::EXAMPLES)]
pub struct Cli {
    /// Trace the calls that FILTER selects: malloc+free
    ///
    /// A filter is a chain of rules, `[+-][FUNCTION][@LIBRARY]` each. LIBRARY is the calling one, `MAIN` the program, and `SYS`
    /// has the system calls. Names are globs, or regular expressions between
    /// slashes. Each function runs through all rules, and the last one that matches decides. Without -e, -l and -L
    /// it is `@MAIN`.
    #[arg(short = 'e', long, value_name = "FILTER", allow_hyphen_values = true)]
    #[arg(help_heading = help::TRACED)]
    pub filter: Vec<String>,

    /// Trace functions where they begin, whoever calls them
    ///
    /// They are those of the symbol tables of the program, or with `@LIBRARY` of that library. `LIBRARY+0xADDRESS` is an
    /// address as `objdump` shows it.
    #[arg(short = 'x', long, value_name = "FILTER", allow_hyphen_values = true)]
    #[arg(help_heading = help::TRACED)]
    pub entry: Vec<String>,

    /// Trace the calls of what matching libraries export
    ///
    /// PATTERN is a glob, or a regular expression between slashes, for the soname, or for the path if it begins with a slash.
    #[arg(short = 'l', long, value_name = "PATTERN", help_heading = help::TRACED)]
    pub library: Vec<String>,

    /// Trace no library calls but those of -l and -x
    #[arg(short = 'L', long, conflicts_with = "filter", help_heading = help::TRACED)]
    pub no_library_calls: bool,

    /// Trace system calls, too
    #[arg(short = 'S', long, help_heading = help::TRACED)]
    pub syscalls: bool,

    /// Trace the children, too; -ff: a FILE.PID for each
    #[arg(short = 'f', long, action = ArgAction::Count, help_heading = help::TRACED)]
    pub follow: u8,

    /// Read prototypes from files or folders: `A:B`
    #[arg(short = 'F', long, value_name = "LIST", help_heading = help::TRACED)]
    pub config: Vec<String>,

    /// Print the built-in prototypes, one a line: SONAME, FUNCTION, PROTOTYPE
    #[arg(long, exclusive = true, help_heading = help::TRACED, hide_short_help = true)]
    pub list_prototypes: bool,

    /// Write to FILE, or with `|COMMAND` to a command
    #[arg(short, long, value_name = "FILE", help_heading = help::OUTPUT)]
    pub output: Option<OsString>,

    /// Add to the FILE of -o instead of truncating it
    #[arg(long, help_heading = help::OUTPUT, hide_short_help = true)]
    pub output_append: bool,

    /// Write a raw trace to FILE: quick, and not yet text
    ///
    /// Calls go to the file as they were recorded inside the program, packed. The options of this run decide what is there: times by -t, -r, -T or
    /// -c, return addresses by -i, and how much of strings and arrays by -s and -A. With `|COMMAND` it goes to a command.
    #[arg(long, value_name = "FILE", help_heading = help::OUTPUT)]
    pub record: Option<OsString>,

    /// Show a raw trace as the run would have been shown
    ///
    /// It takes the options of the output and of summaries, and -e for fewer calls.
    #[arg(long, value_name = "FILE", help_heading = help::OUTPUT)]
    pub replay: Option<PathBuf>,

    /// Put results at column N (default: 5/8 of the width)
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, help_heading = help::OUTPUT)]
    #[arg(value_parser = values::small)]
    pub align: Option<usize>,

    /// Show at most N elements of an array (default: 4)
    #[arg(
        short = 'A',
        long,
        value_name = "N",
        default_value = "4",
        hide_default_value = true
    )]
    #[arg(allow_hyphen_values = true, value_parser = values::size, help_heading = help::OUTPUT)]
    pub array_elements: usize,

    /// Show at most N bytes of a string (default: 32)
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "32",
        hide_default_value = true
    )]
    #[arg(allow_hyphen_values = true, value_parser = values::size, help_heading = help::OUTPUT)]
    pub string_length: usize,

    /// Show no signals
    #[arg(short = 'b', long, help_heading = help::OUTPUT)]
    pub no_signals: bool,

    /// Show C++ and Rust names as they are in the source
    #[arg(short = 'C', long, help_heading = help::OUTPUT)]
    pub demangle: bool,

    /// Show what descriptors refer to: `3</etc/passwd>`
    #[arg(short = 'y', long, help_heading = help::OUTPUT)]
    pub fd_paths: bool,

    /// Show where each call returns to
    #[arg(short = 'i', long, help_heading = help::OUTPUT)]
    pub instruction_pointer: bool,

    /// Indent nested calls by N spaces
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true
    )]
    #[arg(allow_hyphen_values = true, value_parser = values::indent, help_heading = help::OUTPUT)]
    pub indent: usize,

    /// Show the time since the line before
    #[arg(short, long, conflicts_with = "timestamps", help_heading = help::OUTPUT)]
    pub relative_time: bool,

    /// Show the time; -tt: microseconds; -ttt: since 1970
    #[arg(short, long, action = ArgAction::Count, help_heading = help::OUTPUT)]
    pub timestamps: u8,

    /// Show how long each call took
    #[arg(short = 'T', long, help_heading = help::OUTPUT)]
    pub durations: bool,

    /// Show a stack of N frames after each call; 0: all
    #[arg(short = 'w', long = "where", value_name = "N", allow_hyphen_values = true)]
    #[arg(value_parser = values::size, help_heading = help::OUTPUT)]
    pub stack: Option<usize>,

    /// Color the output: auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    #[arg(help_heading = help::OUTPUT, hide_short_help = true)]
    pub color: ColorChoice,

    /// Count the calls, and print a table instead of lines
    #[arg(short = 'c', long, help_heading = help::SUMMARY)]
    pub summary: bool,

    /// Print the lines and the table
    #[arg(long, help_heading = help::SUMMARY, hide_short_help = true)]
    pub summary_and_trace: bool,

    /// Write the table to FILE as JSON, too
    #[arg(long, value_name = "FILE", help_heading = help::SUMMARY)]
    pub summary_json: Option<PathBuf>,

    /// Sort the table by COLUMN, such as calls
    ///
    /// It takes the names of --columns. The default is self.
    #[arg(long, value_name = "COLUMN", help_heading = help::SUMMARY)]
    pub sort: Option<Column>,

    /// Show these columns, with commas between them
    ///
    /// There are time-percent, total, self, calls, errors, mean, p50, p90, p99, max and name.
    #[arg(long, value_name = "LIST", help_heading = help::SUMMARY, hide_short_help = true)]
    pub columns: Option<Columns>,

    /// Compare two files of --summary-json
    #[arg(long, num_args = 2, value_names = ["BASE", "NEW"], help_heading = help::SUMMARY)]
    #[arg(conflicts_with_all = ["command", "pid"])]
    pub compare: Vec<PathBuf>,

    /// Exit with 3 where NEW has more: `malloc:calls:20%`
    #[arg(long, value_name = "LIMIT", value_parser = Limit::parse)]
    #[arg(help_heading = help::SUMMARY)]
    pub fail_over: Vec<Limit>,

    /// Trace the running process PID; may be repeated
    #[arg(short = 'p', long, value_name = "PID", allow_hyphen_values = true)]
    #[arg(value_parser = values::pid, help_heading = help::PROCESSES)]
    pub pid: Vec<i32>,

    /// Run the command as this user
    #[arg(short, long, value_name = "USER", help_heading = help::PROCESSES)]
    pub user: Option<String>,

    /// Set VAR for the command; without `=`: unset it
    #[arg(short = 'E', long, value_name = "VAR=VAL", value_parser = OsStringValueParser::new().try_map(values::variable))]
    #[arg(help_heading = help::PROCESSES)]
    pub env: Vec<OsString>,

    /// Leave after N calls; the command runs on
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = values::limit)]
    #[arg(help_heading = help::PROCESSES)]
    pub limit: Option<u64>,

    /// Leave after SECONDS; the command runs on
    #[arg(long = "for", value_name = "SECONDS", allow_hyphen_values = true)]
    #[arg(value_parser = values::seconds, help_heading = help::PROCESSES)]
    pub time: Option<Duration>,

    /// Kill the command when rltrace ends
    #[arg(long, help_heading = help::PROCESSES, hide_short_help = true)]
    pub kill_on_exit: bool,

    /// Do not move a thread to the tracer's CPU for the hand-over
    #[arg(long, help_heading = help::PROCESSES, hide_short_help = true)]
    pub no_handoff: bool,

    /// Meet calls by trap, fast (inside the program), auto
    ///
    /// `trap` stops the program at each call. `fast` records calls inside the program, without a stop, and meets those by traps that
    /// cannot be recorded; where nothing can be, it says why. `auto` is the same without a word. The default is `trap`, and with --record
    /// `auto`.
    #[arg(long, value_name = "ENGINE", value_enum, hide_possible_values = true, help_heading = help::PROCESSES)]
    pub engine: Option<Engine>,

    /// What to do when a thread's ring is full: wait, or drop calls and count them
    #[arg(long, value_name = "WHAT", value_enum, default_value = "wait", hide_short_help = true, hide_default_value = true, hide_possible_values = true, help_heading = help::PROCESSES)]
    pub on_full: OnFull,

    /// The size of each thread's ring: a power of two from 64K to 256M (default: 1M)
    #[arg(long, value_name = "SIZE", value_parser = values::ring, default_value = "1M", hide_short_help = true, hide_default_value = true, help_heading = help::PROCESSES)]
    pub ring: usize,

    /// Tell of the tracer's own work: error, warn, info, debug or trace
    #[arg(short = 'D', long, value_name = "LEVEL", value_parser = values::level)]
    #[arg(help_heading = help::PROCESSES, hide_short_help = true)]
    pub debug: Option<tracing::level_filters::LevelFilter>,

    /// Print a man page, or what makes a shell complete options, and exit
    #[arg(long, value_name = "WHAT", hide = true)]
    pub generate: Option<Generate>,

    /// Call a function of the C library again and again: what a call costs is measured so
    #[arg(long, hide = true)]
    pub calibrate: bool,

    /// The name by which the program was called, if that is ltrace's and it is to do as ltrace does
    #[arg(skip)]
    pub like_ltrace: Option<String>,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

impl Cli {
    /// The table of options, with the help that is made of it.
    #[must_use]
    pub fn table() -> clap::Command {
        let table = Self::command();
        let text = help::render(&table);
        table.override_help(text)
    }

    /// Reads a command line; the first word is the program's name.
    ///
    /// # Errors
    /// What is wrong with it, or the help or version that was asked for.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::table().try_get_matches_from(words)?;
        Self::from_arg_matches(&matches)
    }

    /// Reads a command line as ltrace does: what stands behind an option that takes a value is its value, and a beginning of
    /// one of ltrace's long options is enough if it is none of another's.
    ///
    /// # Errors
    /// As [`Cli::read`].
    pub fn read_like_ltrace(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let table = Self::table().mut_args(|arg| {
            let aliases = arg.get_long().map(help::beginnings_in_ltrace).unwrap_or_default();
            let takes_value = arg.get_action().takes_values() && !arg.is_positional();
            arg.aliases(aliases).allow_hyphen_values(takes_value)
        });
        let matches = table.try_get_matches_from(words)?;
        Self::from_arg_matches(&matches)
    }

    /// How calls are met.
    #[must_use]
    pub fn engine(&self) -> Engine {
        let default = if self.record.is_some() {
            Engine::Auto
        } else {
            Engine::Trap
        };
        self.engine.unwrap_or(default)
    }

    /// Whether the children of processes are traced.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.follow > 0
    }

    /// The variables of `-E`.
    pub fn variables(&self) -> impl Iterator<Item = Variable<'_>> {
        self.env.iter().map(Variable::parse)
    }

    /// Whether a table is made.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.summary || self.summary_and_trace || self.summary_json.is_some()
    }

    /// Whether lines are shown.
    #[must_use]
    pub fn shows_lines(&self) -> bool {
        !self.summary || self.summary_and_trace
    }

    /// The file beside which `-ff` makes one for each process.
    #[must_use]
    pub fn per_process(&self) -> Option<&OsStr> {
        self.output.as_deref().filter(|_| self.follow > 1)
    }
}
