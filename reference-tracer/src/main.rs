//! `rltrace`: the reference tracer's command line.

use std::process::ExitCode;

use clap::Parser;
use reference_tracer::{app, cli::Cli};

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => app::run(&cli),
        Err(error) => app::usage(&error),
    }
}
