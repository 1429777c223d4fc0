//! 32-bit tracees of a 64-bit tracer.

mod common;

use arch_abi::{Addr, Arch};
use common::compile;
use ptrace_core::{Options, Session, Signal, Stop, Wait};

const TRAP: &str = r#"
    #include <stdlib.h>
    static volatile int passed;
    int main(void) {
        __asm__ volatile("int3; jmp 1f; nop; movl $1, %0; 1:" : "=m"(passed));
        return passed ? 7 : 8;
    }"#;

#[test]
fn pc_of_a_32_bit_tracee() {
    let exe = compile("trap32", TRAP, &["-m32", "-O0"]);
    let mut session = Session::new(Options::new().kill_on_exit(true));
    let stopped = common::spawn(&mut session, &exe);
    let tid = stopped.tid();
    let getpid = 20; // <asm/unistd_32.h>
    assert_eq!(
        stopped.remote_syscall(getpid, [0; 6]).unwrap(),
        i64::from(tid.raw())
    );
    stopped.cont(None).unwrap();
    loop {
        match session.wait().unwrap() {
            Wait::Stopped(stopped, Stop::SignalDelivery(Signal::SIGTRAP)) => {
                let regs = stopped.regs().unwrap();
                assert_eq!(regs.arch(), Arch::I386);
                let before = regs.as_regset().to_vec();
                assert_eq!(
                    stopped.remote_syscall(getpid, [0; 6]).unwrap(),
                    i64::from(tid.raw())
                );
                assert_eq!(stopped.regs().unwrap().as_regset(), before);
                stopped.fp_regs().unwrap();
                // Past the short jump and the nop: the store is executed.
                let pc = Addr::new(regs.pc().get() + 3);
                stopped.set_pc(pc).unwrap();
                assert_eq!(stopped.regs().unwrap().pc(), pc);
                stopped.cont(None).unwrap();
            }
            Wait::Stopped(stopped, stop) => common::pass(stopped, stop),
            Wait::Exited(who, status) => {
                assert_eq!((who, status), (tid, ptrace_core::ExitStatus::Exited(7)));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}
