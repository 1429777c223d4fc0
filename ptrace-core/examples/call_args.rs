//! Stops a running process and prints where each of its threads is, with the words that would be the arguments
//! if it stood at a function's first instruction: `cargo run -p ptrace-core --example call_args -- PID`.

use std::error::Error;

use ptrace_core::{Options, Session, Stopped, Tid};

fn main() -> Result<(), Box<dyn Error>> {
    let pid = std::env::args().nth(1).ok_or("usage: call_args PID")?;
    let pid = Tid::new(pid.parse()?);
    let mut session = Session::new(Options::new());
    session.seize_process(pid)?;
    for (stopped, _) in session.stop_all(pid)? {
        print_args(&stopped)?;
        stopped.detach(None)?;
    }
    Ok(())
}

/// The integer argument words, from the registers and then from the stack, past the return address.
fn print_args(stopped: &Stopped) -> Result<(), Box<dyn Error>> {
    let regs = stopped.regs()?;
    let abi = regs.abi();
    let mut on_stack = [0; 4 * 8];
    let size = abi.word_size();
    let first = regs.sp().wrapping_add(abi.return_address_size());
    stopped.memory().read_exact(first, &mut on_stack[..4 * size])?;
    print!("{} at {}:", stopped.tid(), regs.pc());
    for arg in (0..).map_while(|index| regs.call_arg(index)) {
        print!(" {arg:#x}");
    }
    for word in on_stack[..4 * size].chunks(size) {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(word);
        print!(" [{:#x}]", u64::from_le_bytes(bytes));
    }
    println!();
    Ok(())
}
