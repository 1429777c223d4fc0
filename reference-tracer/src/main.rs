//! `rltrace`: the reference tracer's command line.

use std::process::ExitCode;

use reference_tracer::app;

fn main() -> ExitCode {
    app::main(std::env::args_os())
}
