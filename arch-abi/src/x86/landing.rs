//! x86-64: landing code (see `arch_abi::Landing`).
//!
//! A signal frame and `rt_sigreturn` would do it, too, and restore all in one instant. But `SYSCALL` changes `rax`, `rcx`
//! and `r11` only (psABI, "Calling Conventions" of the Linux kernel), and the tracer the argument registers:
//! ten loads do what a frame does with the whole XSAVE image, up to 11 KiB, which would have to be read,
//! written, and laid out as that thread's kernel wants it. The loads need no stack, which may be a
//! coroutine's with nothing free below it, work under shadow stacks, and leave alone the kernel's
//! restart block, which `rt_sigreturn` resets: a `nanosleep` goes on for the rest of its time.
//! `MOV` and `JMP` leave the flags alone (Intel SDM).

use super::x86_64::{ORIG_RAX, R8, R9, R10, R11, RAX, RCX, RDI, RDX, RIP, RSI};
use crate::landing::{Interrupted, LANDING_LEN, Landing, MAGIC, OWNER, OwnScheduling, SIGINFO_LEN};
use crate::regs::{Reg, Regs};

// The data, before the code. The siginfo comes last: see `queue_again`.
const TGID: usize = 12;
const TID: usize = 16;
const SIGNAL: usize = 20;
const MASK: usize = 24;
const REGS: usize = 32;
const PC: usize = REGS + 8 * LOADS.len();
const SIGINFO: usize = PC + 8;
const CODE: usize = SIGINFO + SIGINFO_LEN;

const SYSCALL: &[u8] = &[0x0f, 0x05];
/// `mov $imm32, %eax`
const MOV_EAX: u8 = 0xb8;

const NR_RT_SIGPROCMASK: u32 = 14;
const NR_EXIT: u8 = 60;
const NR_SCHED_SETSCHEDULER: u32 = 144;
const NR_PRCTL: u32 = 157;
const NR_RESTART_SYSCALL: u64 = 219;
const NR_RT_TGSIGQUEUEINFO: u32 = 297;
const SIG_SETMASK: u32 = 2;
const PR_SET_TIMERSLACK: u8 = 29;

/// `mov disp32(%rip), reg` of all that is changed. The last of them may not be used before.
const LOADS: [(Reg, [u8; 3]); 9] = [
    (RAX, [0x48, 0x8b, 0x05]),
    (RCX, [0x48, 0x8b, 0x0d]),
    (RDX, [0x48, 0x8b, 0x15]),
    (RSI, [0x48, 0x8b, 0x35]),
    (RDI, [0x48, 0x8b, 0x3d]),
    (R8, [0x4c, 0x8b, 0x05]),
    (R9, [0x4c, 0x8b, 0x0d]),
    (R10, [0x4c, 0x8b, 0x15]),
    (R11, [0x4c, 0x8b, 0x1d]),
];

/// The landing code for a thread.
pub(super) fn landing(thread: &Interrupted<'_>) -> Landing {
    let mut asm = Assembler {
        bytes: [0; LANDING_LEN],
        at: CODE,
    };
    asm.data(thread);
    asm.emit(SYSCALL);
    if thread.makes_thread {
        asm.end_new_thread();
    }
    if thread.signal.is_some() {
        asm.queue_again();
    }
    let without_signal = asm.at;
    if let Some(own) = thread.scheduling {
        asm.restore_scheduling(own);
    }
    asm.restore_mask();
    asm.restore_registers();
    Landing {
        bytes: asm.bytes,
        call: CODE as u64,
        without_signal: without_signal as u64,
    }
}

struct Assembler {
    bytes: [u8; LANDING_LEN],
    at: usize,
}

impl Assembler {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.put(self.at, bytes);
        self.at += bytes.len();
    }

    /// An instruction that ends with a displacement from the next one, to `data`.
    fn emit_relative(&mut self, opcode: &[u8], data: usize) {
        self.emit(opcode);
        let next = self.at + 4;
        // All data lies before what uses it, less than LANDING_LEN away.
        let back = u32::try_from(next - data).unwrap_or(0);
        self.emit(&back.wrapping_neg().to_le_bytes());
    }

    fn emit_immediate(&mut self, opcode: &[u8], value: u32) {
        self.emit(opcode);
        self.emit(&value.to_le_bytes());
    }

    fn data(&mut self, thread: &Interrupted<'_>) {
        self.put(0, &MAGIC.to_le_bytes());
        self.put(OWNER, &thread.tid.to_le_bytes());
        self.put(MASK, &thread.mask.to_le_bytes());
        let regs = restarted(thread.regs);
        for (i, (reg, _)) in LOADS.iter().enumerate() {
            self.put(REGS + 8 * i, &regs.get(*reg).to_le_bytes());
        }
        self.put(PC, &regs.get(RIP).to_le_bytes());
        if let Some(signal) = thread.signal {
            self.put(TGID, &signal.tgid.to_le_bytes());
            self.put(TID, &signal.tid.to_le_bytes());
            self.put(SIGNAL, &signal.number.to_le_bytes());
            self.put(SIGINFO, signal.info);
        }
    }

    /// `exit(0)` where clone(2) gave 0: in the new thread. `SYSCALL` has changed `rcx` already, and `JRCXZ` leaves the flags alone.
    fn end_new_thread(&mut self) {
        const EXIT: [u8; 12] = [MOV_EAX, NR_EXIT, 0, 0, 0, 0xbf, 0, 0, 0, 0, 0x0f, 0x05];
        self.emit(&[0x48, 0x89, 0xc1]); // mov %rax, %rcx
        self.emit(&[0xe3, 2]); // jrcxz, over the next instruction
        self.emit(&[0xeb, 12]); // jmp, over the exit
        self.emit(&EXIT); // mov $60, %eax; mov $0, %edi; syscall
    }

    /// `rt_tgsigqueueinfo(tgid, tid, signal, &siginfo)`: to itself a thread may send any `si_code`
    /// (`rt_tgsigqueueinfo(2)`). It blocks the signal until its mask is put back. The kernel looks at the bytes
    /// after the 48 only where it does not know the `si_code` (`kernel/signal.c`, `post_copy_siginfo_from_user`),
    /// and then refuses, as they are not zero.
    fn queue_again(&mut self) {
        self.emit_immediate(&[MOV_EAX], NR_RT_TGSIGQUEUEINFO);
        self.emit_relative(&[0x8b, 0x3d], TGID); // mov tgid(%rip), %edi
        self.emit_relative(&[0x8b, 0x35], TID); // mov tid(%rip), %esi
        self.emit_relative(&[0x8b, 0x15], SIGNAL); // mov signal(%rip), %edx
        self.emit_relative(&[0x4c, 0x8d, 0x15], SIGINFO); // lea siginfo(%rip), %r10
        self.emit(SYSCALL);
    }

    /// `sched_setscheduler(0, policy, &{0})`, and `prctl(PR_SET_TIMERSLACK, slack)`: who becomes a realtime thread has no slack, and gets its
    /// default one when it is none any more (`kernel/sched/syscalls.c`, `__setscheduler_params`, Linux 6.12). To less than it may be every thread may go.
    fn restore_scheduling(&mut self, own: OwnScheduling) {
        self.emit_immediate(&[MOV_EAX], NR_SCHED_SETSCHEDULER);
        let zero = self.at + 1; // the operand of the next instruction serves as `struct sched_param`, too
        self.emit_immediate(&[0xbf], 0); // mov $0, %edi
        self.emit_immediate(&[0xbe], own.policy); // mov policy, %esi
        self.emit_relative(&[0x48, 0x8d, 0x15], zero); // lea zero(%rip), %rdx
        self.emit(SYSCALL);
        self.emit_immediate(&[MOV_EAX], NR_PRCTL);
        self.emit(&[0x8d, 0x7f, PR_SET_TIMERSLACK]); // lea 29(%rdi), %edi: it is 0 still
        self.emit_immediate(&[0xbe], own.timer_slack); // mov slack, %esi
        self.emit(SYSCALL);
    }

    /// `rt_sigprocmask(SIG_SETMASK, &mask, NULL, 8)`
    fn restore_mask(&mut self) {
        self.emit_immediate(&[MOV_EAX], NR_RT_SIGPROCMASK);
        self.emit_immediate(&[0xbf], SIG_SETMASK); // mov $2, %edi
        self.emit_relative(&[0x48, 0x8d, 0x35], MASK); // lea mask(%rip), %rsi
        self.emit_immediate(&[0xba], 0); // mov $0, %edx: an xor would change the flags
        self.emit_immediate(&[0x41, 0xba], 8); // mov $8, %r10d
        self.emit(SYSCALL);
    }

    fn restore_registers(&mut self) {
        for (i, (_, opcode)) in LOADS.iter().enumerate() {
            self.emit_relative(opcode, REGS + 8 * i);
        }
        self.emit_relative(&[0xff, 0x25], PC); // jmp *pc(%rip)
    }
}

/// The registers of a thread that restarts the system call out of which a stop took it, as the kernel does it
/// where no handler is called (`arch/x86/kernel/signal.c`, `arch_do_signal_or_restart`; the codes:
/// `include/linux/errno.h`).
fn restarted(regs: &Regs) -> Regs {
    let mut regs = *regs;
    let nr = regs.get(ORIG_RAX);
    if nr.cast_signed() < 0 {
        return regs;
    }
    let again = match regs.get(RAX).cast_signed() {
        -514..=-512 => nr, // ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS
        -516 => NR_RESTART_SYSCALL,
        _ => return regs,
    };
    regs.set(RAX, again);
    let instruction = regs.get(RIP).wrapping_sub(SYSCALL.len() as u64);
    regs.set(RIP, instruction);
    regs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landing::QueuedSignal;
    use iced_x86::{Decoder, DecoderOptions, Mnemonic};

    const AT: u64 = 0x7000_0000_0000;

    fn regs() -> Regs {
        let bytes: Vec<u8> = (0_u64..27).flat_map(|i| (i + 100).to_le_bytes()).collect();
        Regs::from_regset(&bytes).unwrap()
    }

    /// Mnemonic, register, and the offset in the data or the immediate, of each instruction up to the jump.
    fn disassembled(landing: &Landing) -> Vec<String> {
        let code = &landing.bytes[usize::try_from(landing.call).unwrap()..];
        let mut decoder = Decoder::with_ip(64, code, AT + landing.call, DecoderOptions::NONE);
        let mut lines = Vec::new();
        loop {
            let i = decoder.decode();
            assert!(!i.is_invalid());
            let name = format!("{:?}", i.mnemonic()).to_lowercase();
            let register = format!("{:?}", i.op0_register()).to_lowercase();
            lines.push(match i.op_count() {
                0 => name,
                _ if i.memory_base() == iced_x86::Register::RDI => {
                    format!("{name} {register}, [rdi+{}]", i.memory_displacement64())
                }
                _ if !i.is_ip_rel_memory_operand() => format!("{name} {register}, {}", i.immediate(1)),
                1 => format!("{name} [{}]", i.ip_rel_memory_address() - AT),
                _ => format!("{name} {register}, [{}]", i.ip_rel_memory_address() - AT),
            });
            if i.mnemonic() == Mnemonic::Jmp {
                return lines;
            }
        }
    }

    fn interrupted(regs: &Regs) -> Interrupted<'_> {
        Interrupted {
            tid: 7,
            regs,
            mask: 0x1234,
            scheduling: None,
            signal: None,
            makes_thread: false,
        }
    }

    const WAY_BACK: [&str; 16] = [
        "mov eax, 14",
        "mov edi, 2",
        "lea rsi, [24]",
        "mov edx, 0",
        "mov r10d, 8",
        "syscall",
        "mov rax, [32]",
        "mov rcx, [40]",
        "mov rdx, [48]",
        "mov rsi, [56]",
        "mov rdi, [64]",
        "mov r8, [72]",
        "mov r9, [80]",
        "mov r10, [88]",
        "mov r11, [96]",
        "jmp [104]",
    ];

    #[test]
    fn the_code_is_what_a_disassembler_says() {
        let regs = regs();
        let plain = landing(&interrupted(&regs));
        let lines = disassembled(&plain);
        assert_eq!(lines[0], "syscall");
        assert_eq!(lines[1..], WAY_BACK);
        assert_eq!(plain.without_signal, plain.call + 2);
        let info = [0xab; SIGINFO_LEN];
        let with = landing(&Interrupted {
            signal: Some(QueuedSignal {
                tgid: 5,
                tid: 6,
                number: 10,
                info: &info,
            }),
            ..interrupted(&regs)
        });
        let lines = disassembled(&with);
        let queue = [
            "syscall",
            "mov eax, 297",
            "mov edi, [12]",
            "mov esi, [16]",
            "mov edx, [20]",
            "lea r10, [112]",
            "syscall",
        ];
        assert_eq!(lines[..7], queue);
        assert_eq!(lines[7..], WAY_BACK);
        assert_eq!(with.bytes[SIGINFO..CODE], info);
        assert_eq!(
            (with.bytes[TGID], with.bytes[TID], with.bytes[SIGNAL]),
            (5, 6, 10)
        );
    }

    /// All that can be in one piece fits, and the policy is taken back on both ways.
    #[test]
    fn a_lent_policy_is_taken_back() {
        let regs = regs();
        let info = [0xab; SIGINFO_LEN];
        let landing = landing(&Interrupted {
            signal: Some(QueuedSignal {
                tgid: 5,
                tid: 6,
                number: 10,
                info: &info,
            }),
            scheduling: Some(OwnScheduling {
                policy: 3,
                timer_slack: 77_777,
            }),
            makes_thread: true,
            ..interrupted(&regs)
        });
        let lines = disassembled(&Landing {
            bytes: landing.bytes,
            call: landing.without_signal,
            without_signal: 0,
        });
        let zero = landing.without_signal + 6;
        let policy = [
            "mov eax, 144",
            "mov edi, 0",
            "mov esi, 3",
            &format!("lea rdx, [{zero}]"),
            "syscall",
            "mov eax, 157",
            "lea edi, [rdi+29]",
            "mov esi, 77777",
            "syscall",
        ];
        assert_eq!(lines[..9], policy);
        assert_eq!(lines[9..], WAY_BACK[..]);
        let zero = usize::try_from(zero).unwrap();
        assert_eq!(landing.bytes[zero..zero + 4], [0; 4], "`sched_priority`");
    }

    /// What a new thread executes is told by its `rax`, without a flag being changed; the old thread's way is what it always is.
    #[test]
    fn a_new_thread_ends_where_it_begins() {
        let regs = regs();
        let info = [0xab; SIGINFO_LEN];
        let signal = Some(QueuedSignal {
            tgid: 5,
            tid: 6,
            number: 10,
            info: &info,
        });
        let plain = landing(&Interrupted {
            signal,
            ..interrupted(&regs)
        });
        let landing = landing(&Interrupted {
            signal,
            makes_thread: true,
            ..interrupted(&regs)
        });
        let code = |landing: &Landing, skip: usize| landing.bytes[CODE + skip..][..100].to_vec();
        let bytes = code(&landing, 2);
        let decoder = Decoder::with_ip(64, &bytes, AT, DecoderOptions::NONE);
        let lines: Vec<_> = decoder
            .into_iter()
            .take(6)
            .map(|i| match i.mnemonic() {
                Mnemonic::Jrcxz | Mnemonic::Jmp => (i.mnemonic(), i.near_branch64() - AT),
                _ if i.op_count() == 2 && i.op1_kind() == iced_x86::OpKind::Immediate32 => {
                    (i.mnemonic(), i.immediate(1))
                }
                _ => (i.mnemonic(), 0),
            })
            .collect();
        assert_eq!(
            lines,
            [
                (Mnemonic::Mov, 0),
                (Mnemonic::Jrcxz, 7),
                (Mnemonic::Jmp, 19),
                (Mnemonic::Mov, 60),
                (Mnemonic::Mov, 0),
                (Mnemonic::Syscall, 0),
            ]
        );
        let len = 19;
        assert_eq!(code(&landing, 2 + len)[..5], code(&plain, 2)[..5]);
        assert_eq!(landing.without_signal, plain.without_signal + len as u64);
    }

    #[test]
    fn the_data_is_that_of_the_thread() {
        let regs = regs();
        let landing = landing(&interrupted(&regs));
        let word = |at: usize| u64::from_le_bytes(landing.bytes[at..at + 8].try_into().unwrap());
        assert_eq!(Landing::owner(&landing.bytes), Some(7));
        assert_eq!(word(MASK), 0x1234);
        // user_regs_struct's order: rax is word 10, rcx 11, ... rip 16.
        let saved: Vec<u64> = (0..10).map(|i| word(REGS + 8 * i)).collect();
        assert_eq!(saved, [110, 111, 112, 113, 114, 109, 108, 107, 106, 116]);
    }

    #[test]
    fn foreign_bytes_have_no_owner() {
        assert_eq!(Landing::owner(&[0; LANDING_LEN]), None);
        assert_eq!(Landing::owner(&[0xff; LANDING_LEN]), None);
    }

    #[test]
    fn a_system_call_that_was_interrupted_is_made_again() {
        let mut regs = regs();
        regs.set(ORIG_RAX, 35);
        regs.set(RIP, 0x1002);
        for (code, nr) in [(512_i64, 35), (513, 35), (514, 35), (516, 219)] {
            regs.set(RAX, (-code).cast_unsigned());
            let again = restarted(&regs);
            assert_eq!((again.get(RAX), again.get(RIP)), (nr, 0x1000), "{code}");
        }
        for result in [0, -4, -515, -517] {
            regs.set(RAX, i64::cast_unsigned(result));
            assert_eq!(restarted(&regs), regs, "{result}: it had ended");
        }
        regs.set(RAX, (-512_i64).cast_unsigned());
        regs.set(ORIG_RAX, u64::MAX);
        assert_eq!(restarted(&regs), regs, "it was in no system call");
    }
}
