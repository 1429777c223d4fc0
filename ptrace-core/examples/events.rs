//! Runs a command and prints what happens to its threads and children:
//! `cargo run -p ptrace-core --example events -- sh -c 'ls | wc'`.

use std::error::Error;

use ptrace_core::{Command, Options, Session, Stop, Stopped, Wait};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let program = args.next().ok_or("usage: events COMMAND [ARG...]")?;
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let stopped = session.spawn(&Command::new(program).args(args))?;
    println!("{}: started", stopped.tid());
    pass(stopped, Stop::Interrupt)?;
    loop {
        match session.wait()? {
            Wait::Stopped(stopped, stop) => {
                println!("{} of process {}: {stop:?}", stopped.tid(), stopped.tgid());
                pass(stopped, stop)?;
            }
            Wait::Exited(tid, status) => println!("{tid}: {status}"),
            Wait::Woken | Wait::NoTracees => return Ok(()),
        }
    }
}

/// Lets the tracee go on as it would without a tracer.
fn pass(stopped: Stopped, stop: Stop) -> Result<(), Box<dyn Error>> {
    let result = match stop {
        Stop::SignalDelivery(signal) => stopped.cont(Some(signal)),
        Stop::Group(_) => stopped.listen(),
        _ => stopped.cont(None),
    };
    match result {
        Err(refused) if !refused.error.is_death() => Err(refused.error.into()),
        _ => Ok(()),
    }
}
