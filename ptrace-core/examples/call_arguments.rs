//! Runs a command until a thread of it stops at a trap of its own (`int3` as a function's first instruction), and
//! prints the arguments of that call as the types given say: `i` an `int`, `l` a `long` or pointer, `d` a `double`,
//! `x` a `long double`, `p` a `struct { double x, y; }`.
//! `cargo run -p ptrace-core --example call_arguments -- ildp ./program`
//!
//! `arch-abi` says where each argument lies, `ptrace-core` fetches it from there.

use std::error::Error;

use arch_abi::{CType, Captured, Float, Signature, layout};
use ptrace_core::{Command, Options, Session, Signal, Stop, Stopped, Wait};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(types), Some(command)) = (args.next(), args.next()) else {
        return Err("usage: call_arguments TYPES COMMAND [ARG]...".into());
    };
    let params = types
        .chars()
        .map(c_type)
        .collect::<Option<Vec<_>>>()
        .ok_or("TYPES are of i, l, d, x, p")?;
    let mut session = Session::new(Options::new().kill_on_exit(true));
    session.spawn(&Command::new(command).args(args))?.cont(None)?;
    loop {
        match session.wait()? {
            Wait::Stopped(stopped, Stop::SignalDelivery(Signal::SIGTRAP)) => {
                return print_arguments(&stopped, params); // the command is killed with its tracer
            }
            Wait::Stopped(stopped, Stop::SignalDelivery(signal)) => drop(stopped.cont(Some(signal))?),
            Wait::Stopped(stopped, Stop::Group(_)) => drop(stopped.listen()?),
            Wait::Stopped(stopped, _) => drop(stopped.cont(None)?),
            Wait::Exited(tid, status) => println!("{tid}: {status}"),
            Wait::Woken | Wait::NoTracees => return Err("no thread came to a trap".into()),
        }
    }
}

fn c_type(letter: char) -> Option<CType> {
    Some(match letter {
        'i' => CType::Int(4),
        'l' => CType::Pointer,
        'd' => CType::Float(Float::Double),
        'x' => CType::Float(Float::Long),
        'p' => CType::Struct(vec![CType::Float(Float::Double); 2]),
        _ => return None,
    })
}

/// The thread is at the first instruction of a function with these parameters.
fn print_arguments(stopped: &Stopped, params: Vec<CType>) -> Result<(), Box<dyn Error>> {
    let regs = stopped.regs()?;
    let call = layout(
        regs.abi(),
        &Signature {
            ret: CType::Void,
            params,
        },
    );
    // All that the arguments need, and no more: registers, floating-point registers, stack.
    let mut words = [0; 8];
    let count = regs.arg_words(&mut words);
    let fp = if call.args_need_fp() {
        Some(stopped.fp_regs()?)
    } else {
        None
    };
    let mut stack = vec![0; call.args_need_stack() as usize];
    stopped.memory().read_exact(regs.sp(), &mut stack)?;
    let captured = Captured {
        ints: &words[..count],
        fp: fp.as_ref(),
        stack: &stack,
    };
    for (number, place) in call.args.iter().enumerate() {
        let mut value = Vec::new();
        place
            .fetch(&captured, &mut value)
            .ok_or("not all of it was captured")?;
        let pieces: Vec<_> = place.pieces().iter().map(|piece| piece.source).collect();
        println!("argument {number}, from {pieces:?}: {value:02x?}");
    }
    Ok(())
}
