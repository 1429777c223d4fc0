//! `rltrace`: the reference tracer's command line.

use std::process::ExitCode;

use clap::Parser;
use reference_tracer::{app, cli::Cli};

fn main() -> ExitCode {
    app::run(&Cli::parse())
}
