//! Traces the calls that a program makes of one function, its own or imported: first arguments and result. x86-64.
//! `cargo run -p breakpoint --features ptrace-core --example trace_one_function -- ls malloc -l /usr`
use std::{collections::HashMap, error::Error};

use arch_abi::{Addr, Arch};
use breakpoint::{CallStack, Frame, How, Process, StackWitness, Traps};
use elf_plt::{Auxv, Object};
use ptrace_core::{Command, Options, Session, Signal, Stop, Tid, Wait, procfs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (command, function) = args
        .next()
        .zip(args.next())
        .ok_or("usage: COMMAND FUNCTION [ARG]...")?;
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let stopped = session.spawn(&Command::new(command).args(args))?;
    let (pid, mut traps) = (stopped.tgid(), Traps::new(Arch::X86_64));
    let entries = entries(pid, &function)?;
    for at in &entries {
        traps.insert(*at, &mut Process::new(&stopped, Arch::X86_64))?;
    }
    traps.prepare_copies(&mut Process::new(&stopped, Arch::X86_64))?;
    stopped.cont(None)?;
    let mut calls: HashMap<Tid, CallStack<[Option<u64>; 3]>> = HashMap::new();
    loop {
        let (stopped, signal) = match session.wait()? {
            Wait::Stopped(stopped, Stop::SignalDelivery(signal)) => (stopped, signal),
            Wait::Stopped(stopped, Stop::Group(_)) => {
                stopped.listen()?;
                continue;
            }
            Wait::Stopped(stopped, Stop::Exec { .. }) => {
                stopped.detach(None)?;
                continue;
            }
            Wait::Stopped(stopped, _) => {
                stopped.cont(None)?;
                continue;
            }
            Wait::Exited(tid, status) => {
                println!("{tid}: {status}");
                continue;
            }
            Wait::Woken | Wait::NoTracees => return Ok(()),
        };
        let (mut regs, mut process) = (stopped.regs()?, Process::new(&stopped, Arch::X86_64));
        let Some(id) = traps.hit(&regs).filter(|_| signal == Signal::SIGTRAP) else {
            if traps.translate_back(&mut regs).is_some() {
                stopped.set_regs(&regs)?; // a handler must not see that the thread was in a copy
            }
            stopped.cont(Some(signal))?;
            continue;
        };
        let (at, mut closed) = (traps.addr(id).unwrap_or(regs.pc()), Vec::new());
        if stopped.tgid() == pid {
            // children have the same traps and copies, and are let through
            let calls = calls
                .entry(stopped.tid())
                .or_insert_with(|| CallStack::new(Arch::X86_64, 1000));
            calls.returned(at, regs.sp(), &mut process, &mut closed);
            if let Some(return_to) = process
                .word(regs.sp())
                .map(Addr::new)
                .filter(|_| entries.contains(&at))
            {
                let frame = Frame {
                    return_to,
                    sp_after: regs.sp().wrapping_add(8),
                    entry: at,
                };
                calls.push(
                    frame,
                    [0, 1, 2].map(|index| regs.call_arg(index)),
                    &mut process,
                    &mut closed,
                );
                if traps.lookup(return_to).is_none() && traps.insert(return_to, &mut process).is_ok() {
                    traps.prepare_copies(&mut process)?;
                }
            }
        }
        for call in closed {
            let left = if call.how == How::Returned {
                format!("{:#x}", regs.return_word())
            } else {
                "left by a jump".into()
            };
            println!(
                "{} called it with {:x?}: {left}",
                stopped.tid(),
                call.token.map(Option::unwrap_or_default)
            );
        }
        stopped.set_pc(
            traps
                .resume_at(id)
                .ok_or("an instruction that cannot be copied")?,
        )?;
        stopped.cont(None)?;
    }
}

/// Where calls of the function are met: at its first instruction, and at the PLT entries that lead to it.
fn entries(pid: Tid, function: &str) -> Result<Vec<Addr>, Box<dyn Error>> {
    let image = std::fs::read(format!("/proc/{pid}/exe"))?;
    let (object, functions) = (Object::parse(&image)?, Object::parse(&image)?.functions()?);
    let phdr = Auxv::parse(&procfs::auxv(pid)?, 8).phdr();
    let base = phdr
        .and_then(|phdr| object.base_from_phdr(phdr))
        .ok_or("where is the program?")?;
    let points = object.call_points_where(|name| name == function.as_bytes())?;
    let own = functions.iter().filter(|own| {
        own.aliases()
            .iter()
            .any(|alias| alias.name == function.as_bytes())
    });
    let met = points
        .iter()
        .flat_map(elf_plt::CallPoint::plt)
        .map(|entry| entry.addr)
        .chain(own.map(|own| own.addr()));
    let met: Vec<Addr> = met.map(|at| base.resolve(at)).collect();
    if met.is_empty() {
        Err(format!("no function '{function}'").into())
    } else {
        Ok(met)
    }
}
