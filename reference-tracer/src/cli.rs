//! The command line: one table of options, in ltrace's letters where ltrace has them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Parser};

/// Traces the library calls of a program.
#[derive(Debug, Clone, Parser)]
#[command(name = "rltrace", version, max_term_width = 100)]
#[command(override_usage = "rltrace [OPTION]... [--] COMMAND [ARG]...\n       rltrace [OPTION]... -p PID...")]
#[command(after_help = "Examples:
  rltrace ls /tmp                      every library call that ls makes
  rltrace -e 'malloc+free' ls          two functions only
  rltrace -e '@libssl.so.3' curl -V    the calls that one library makes
  rltrace -c -f make                   a summary over make and its children
  rltrace -o trace.txt -p 1234         a running process, into a file; Ctrl-C leaves it unharmed")]
pub struct Cli {
    /// Write the trace to FILE instead of standard error; `|COMMAND` feeds it to a command
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<OsString>,

    /// Add to the file of -o instead of truncating it
    #[arg(long, requires = "output", help_heading = "Output")]
    pub output_append: bool,

    /// Show at most N bytes of a string
    #[arg(short, value_name = "N", default_value_t = 32, help_heading = "Output")]
    pub string_length: usize,

    /// Show at most N elements of an array
    #[arg(short = 'A', value_name = "N", default_value_t = 4, help_heading = "Output")]
    pub array_elements: usize,

    /// Put the results at column N
    #[arg(short, long, value_name = "N", help_heading = "Output")]
    pub align: Option<usize>,

    /// Indent nested calls by N spaces
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 0,
        help_heading = "Output"
    )]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=20))]
    pub indent: u8,

    /// Show no signals
    #[arg(short = 'b', long, help_heading = "Output")]
    pub no_signals: bool,

    /// Show where each call returns to
    #[arg(short = 'i', help_heading = "Output")]
    pub instruction_pointer: bool,

    /// Show the time of day; -tt: with microseconds; -ttt: since the epoch
    #[arg(short = 't', action = ArgAction::Count, help_heading = "Output")]
    pub timestamps: u8,

    /// Show the time since the line before
    #[arg(short = 'r', conflicts_with = "timestamps", help_heading = "Output")]
    pub relative_time: bool,

    /// Show how long each call took
    #[arg(short = 'T', help_heading = "Output")]
    pub durations: bool,

    /// Count the calls and print a table at the end, no lines
    #[arg(short = 'c', help_heading = "Output")]
    pub summary: bool,

    /// Trace the calls that FILTER selects: `[+-][FUNCTION][@LIBRARY]...`, LIBRARY being the caller
    #[arg(
        short = 'e',
        value_name = "FILTER",
        allow_hyphen_values = true,
        help_heading = "What is traced"
    )]
    pub filter: Vec<String>,

    /// Trace also the processes that the traced ones start
    #[arg(short = 'f', long, help_heading = "What is traced")]
    pub follow: bool,

    /// Read prototypes from these files or folders, separated by `:`, before all others
    #[arg(
        short = 'F',
        long = "config",
        value_name = "LIST",
        help_heading = "What is traced"
    )]
    pub config: Vec<String>,

    /// Print the built-in prototypes, one a line: SONAME, FUNCTION, PROTOTYPE, separated by tabs
    #[arg(long, exclusive = true, help_heading = "What is traced")]
    pub list_prototypes: bool,

    /// Trace the running process PID and all its threads (may be repeated)
    #[arg(short = 'p', value_name = "PID", help_heading = "Processes")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Vec<i32>,

    /// Run the command as this user
    #[arg(short = 'u', value_name = "USER", help_heading = "Processes")]
    pub user: Option<String>,

    /// Kill the command when rltrace ends
    #[arg(long, help_heading = "Processes")]
    pub kill_on_exit: bool,

    /// Do not move a thread to the tracer's CPU for the hand-over after a stop
    #[arg(long, help_heading = "Processes")]
    pub no_handoff: bool,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

impl Cli {
    /// The file of `-o`, unless it names a command.
    #[must_use]
    pub fn output_path(&self) -> Option<PathBuf> {
        self.output.as_ref().map(PathBuf::from)
    }
}
