//! One instruction, run in each way from the same state.

use arch_abi::x86::{i386, x86_64};
use arch_abi::{Addr, Arch, CopyError, DisplacedCopy, Progress, Reg, Regs, StepPlan};
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use nix::sys::signal::Signal;

use crate::harvest::Random;
use crate::tracee::{Map, Tracee};

/// The trap instruction, of which the code around consists.
const TRAP: u8 = 0xcc;
/// RF and TF, which the processor and the single step change on their own (Intel SDM, "EFLAGS Register").
const UNSTABLE_FLAGS: u64 = 1 << 16 | 1 << 8;

/// Single steps through a copy; a repeated instruction may take any number.
const MAX_WALK: u32 = 64;

/// What was tried.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// No plan could be made.
    pub(crate) refused: u32,
    pub(crate) copied: u32,
    /// Copies that cannot reach what they refer to from far away.
    pub(crate) out_of_reach: u32,
    pub(crate) no_copy: u32,
    /// Places in copies from which the thread was put back.
    pub(crate) put_back: u32,
    pub(crate) stepped: u32,
    pub(crate) emulated: u32,
    pub(crate) without_fault: u32,
}

/// What a run leaves.
#[derive(Clone, PartialEq)]
struct Outcome {
    /// The signal that ended it; `None` where it came to a trap around the instruction.
    fault: Option<Signal>,
    regs: Regs,
    xstate: Vec<u8>,
    data: Vec<u8>,
}

/// The state from which each run starts.
struct Start {
    regs: Regs,
    data: Vec<u8>,
}

pub(crate) struct Machine {
    tracee: Tracee,
    arch: Arch,
    map: Map,
    random: Random,
    first_regs: Regs,
    xstate: Vec<u8>,
    pub(crate) tally: Tally,
}

impl Machine {
    pub(crate) fn new(arch: Arch, map: Map, seed: u64) -> Self {
        let tracee = Tracee::start(arch, map);
        let (first_regs, xstate) = (tracee.regs(), tracee.xstate());
        assert_eq!(first_regs.arch(), arch);
        Self {
            tracee,
            arch,
            map,
            random: Random::new(!seed),
            first_regs,
            xstate,
            tally: Tally::default(),
        }
    }

    /// Runs an instruction in each way. Panics where two differ.
    pub(crate) fn try_instruction(&mut self, bytes: &[u8]) {
        let at = self.map.code.wrapping_add(0x800 + self.random.below(16));
        let Some(bytes) = self.aim(bytes, at) else { return };
        let Ok(plan) = self.arch.abi().step(&bytes, at) else {
            self.tally.refused += 1;
            return;
        };
        assert_eq!(plan.bytes(), bytes);
        let start = self.start(&plan);
        let native = self.native(&plan, &start);
        self.tally.without_fault += u32::from(native.fault.is_none());
        self.try_copies(&plan, &start, &native);
        self.try_single_step(&plan, &start, &native);
        self.try_emulation(&plan, &start, &native);
    }

    /// Lets what is relative to the program counter lie in the data, and branches go to a trap. `None`: the
    /// instruction would jump into itself, or right before.
    fn aim(&mut self, bytes: &[u8], at: Addr) -> Option<Vec<u8>> {
        let bits = self.bits();
        let mut bytes = bytes.to_vec();
        let mut decoder = Decoder::with_ip(bits, &bytes, at.get(), DecoderOptions::NONE);
        let instruction = decoder.decode();
        let offsets = decoder.get_constant_offsets(&instruction);
        let next = at.wrapping_add(bytes.len() as u64);
        let is_near = (0..instruction.op_count())
            .any(|index| format!("{:?}", instruction.op_kind(index)).starts_with("NearBranch"));
        if instruction.is_ip_rel_memory_operand() && offsets.displacement_size() == 4 {
            let target = self.map.data.wrapping_add(0x1000 + self.random.below(0x100) * 8);
            set_relative(&mut bytes[offsets.displacement_offset()..], next, target);
        }
        if is_near && offsets.immediate_size() == 4 {
            let target = self.map.code.wrapping_add(0x100 + self.random.below(0x400));
            set_relative(&mut bytes[offsets.immediate_offset()..], next, target);
        }
        let again = Decoder::with_ip(bits, &bytes, at.get(), DecoderOptions::NONE).decode();
        let from_before = again.near_branch_target().wrapping_sub(at.get()).wrapping_add(1);
        let into_itself = is_near && from_before <= bytes.len() as u64;
        (!into_itself).then_some(bytes)
    }

    fn bits(&self) -> u32 {
        if self.arch == Arch::X86_64 { 64 } else { 32 }
    }

    /// Registers and memory that let most instructions run: pointers to data, small numbers, and a few of
    /// any kind.
    fn start(&mut self, plan: &StepPlan) -> Start {
        let mut regs = self.first_regs;
        let (general, flags): (&[Reg], Reg) = match self.arch {
            Arch::X86_64 => (&GENERAL_64, x86_64::EFLAGS),
            _ => (&GENERAL_32, i386::EFLAGS),
        };
        for &reg in general {
            let value = self.word();
            regs.set(reg, value);
        }
        let stack = self.map.data.wrapping_add(0x2000 + self.random.below(64) * 8);
        regs.set_sp(stack);
        regs.set(flags, 0x202 | self.random.next() & 0x8d5);
        regs.set_pc(plan.at());
        match decode(self.bits(), plan).mnemonic() {
            Mnemonic::Syscall => regs.set(x86_64::RAX, 39), // getpid
            Mnemonic::Int => regs.set(general[0], 20),      // i386's getpid
            _ => {}
        }
        let data: Vec<u8> = (0..Map::DATA_LEN / 8).flat_map(|_| self.data_word()).collect();
        Start { regs, data }
    }

    fn word(&mut self) -> u64 {
        match self.random.below(8) {
            0 | 1 => self.random.below(64),
            2 => self.random.next(),
            3 => self.map.code.get() + 0x100 + self.random.below(0x400),
            _ => self.map.data.get() + 0x1000 + self.random.below(0x200) * 8,
        }
    }

    fn data_word(&mut self) -> [u8; 8] {
        let low = self.word();
        if self.arch == Arch::X86_64 {
            return low.to_le_bytes();
        }
        (low & 0xffff_ffff | self.word() << 32).to_le_bytes()
    }

    /// Puts memory and registers back to the start, with `code` at `at`, and nothing but traps around.
    fn set(&self, start: &Start, pc: Addr, code: &[(Addr, &[u8])]) {
        let traps = vec![TRAP; Map::CODE_LEN];
        self.tracee.write(self.map.code, &traps).expect("code");
        self.tracee.write(self.map.far, &traps).expect("code far away");
        self.tracee.write(self.map.data, &start.data).expect("data");
        for (at, bytes) in code {
            self.tracee.write(*at, bytes).expect("code");
        }
        self.tracee.set_xstate(&self.xstate);
        let mut regs = start.regs;
        regs.set_pc(pc);
        self.tracee.set_regs(&regs);
    }

    fn outcome(&self, signal: Signal, regs: &Regs) -> Outcome {
        let mut regs = *regs;
        let (flags, number) = match self.arch {
            Arch::X86_64 => (x86_64::EFLAGS, x86_64::ORIG_RAX),
            _ => (i386::EFLAGS, i386::ORIG_EAX),
        };
        regs.set(flags, regs.get(flags) & !UNSTABLE_FLAGS);
        regs.set(number, 0);
        let mut xstate = self.tracee.xstate();
        xstate[8..24].fill(0); // FIP and FDP: where the last x87 instruction was
        xstate[512..576].fill(0); // the header: which parts the processor has not touched yet
        let mut data = vec![0; Map::DATA_LEN];
        self.tracee.read(self.map.data, &mut data).expect("data");
        Outcome {
            fault: (signal != Signal::SIGTRAP).then_some(signal),
            regs,
            xstate,
            data,
        }
    }

    /// A thread that hit one of the traps around stands on it.
    fn before_trap(&self, plan: &StepPlan, mut regs: Regs) -> Regs {
        let before = regs.pc().wrapping_sub(1);
        let in_code = |area: Addr| {
            before
                .offset_from(area)
                .is_some_and(|offset| offset < Map::CODE_LEN as u64)
        };
        // The instruction may itself be a trap. (KVM on AMD leaves the program counter on an `int1`.)
        let own = regs
            .pc()
            .offset_from(plan.at())
            .is_some_and(|offset| offset <= plan.bytes().len() as u64);
        if !own && (in_code(self.map.code) || in_code(self.map.far)) {
            regs.set_pc(before);
        }
        regs
    }

    fn native(&self, plan: &StepPlan, start: &Start) -> Outcome {
        self.set(start, plan.at(), &[(plan.at(), plan.bytes())]);
        let signal = self.tracee.run();
        let regs = self.tracee.regs();
        let regs = if signal == Signal::SIGTRAP {
            self.before_trap(plan, regs)
        } else {
            regs
        };
        self.outcome(signal, &regs)
    }

    fn try_copies(&mut self, plan: &StepPlan, start: &Start, native: &Outcome) {
        let near = self.map.code.wrapping_add(0x1800 + self.random.below(8) * 32);
        let far = self.map.far.wrapping_add(0x400 + self.random.below(8) * 32);
        for to in [near, far] {
            match plan.displaced_copy(to) {
                Ok(copy) => {
                    self.run_copy(plan, &copy, start, native);
                    self.walk_copy(plan, &copy, start, native);
                    self.tally.copied += 1;
                }
                Err(CopyError::OutOfReach { .. }) if to == far => self.tally.out_of_reach += 1,
                Err(CopyError::NoCopy { .. }) => self.tally.no_copy += 1,
                Err(error) => panic!("{:02x?}: {error}", plan.bytes()),
            }
        }
    }

    /// Sends the thread to the copy and lets it run.
    fn run_copy(&self, plan: &StepPlan, copy: &DisplacedCopy, start: &Start, native: &Outcome) {
        self.set(start, copy.start(), &[(copy.start(), copy.bytes())]);
        let signal = self.tracee.run();
        let mut regs = self.tracee.regs();
        let progress = copy.put_back(&mut regs);
        if signal == Signal::SIGTRAP && progress.is_none() {
            regs = self.before_trap(plan, regs);
        }
        let (mut ours, mut native) = (self.outcome(signal, &regs), native.clone());
        if progress == Some(Progress::NotRun) {
            self.clear_below(&mut ours, start);
            self.clear_below(&mut native, start);
        }
        self.same(plan, "displaced copy", &ours, &native);
    }

    /// Single-steps through the copy: wherever it stops, the thread can be put back.
    fn walk_copy(&mut self, plan: &StepPlan, copy: &DisplacedCopy, start: &Start, native: &Outcome) {
        let mnemonic = decode(self.bits(), plan).mnemonic();
        // What they store shows that they are single-stepped.
        if matches!(
            mnemonic,
            Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq | Mnemonic::Syscall
        ) {
            return;
        }
        self.set(start, copy.start(), &[(copy.start(), copy.bytes())]);
        let begin = self.outcome(Signal::SIGTRAP, &start.regs);
        let len = copy.bytes().len() as u64;
        let mut first = true;
        for _ in 0..MAX_WALK {
            let stopped = self.tracee.regs();
            if stopped
                .pc()
                .offset_from(copy.start())
                .is_none_or(|offset| offset >= len)
            {
                return;
            }
            let mut regs = stopped;
            match copy.put_back(&mut regs) {
                Some(Progress::Done) => {
                    let mut done = self.outcome(Signal::SIGTRAP, &regs);
                    done.fault = native.fault; // a fault at the place that it went to is yet to come
                    self.same(plan, "copy left when done", &done, native);
                }
                Some(Progress::NotRun) if first || stopped.pc() != copy.start() => {
                    let mut undone = self.outcome(Signal::SIGTRAP, &regs);
                    self.clear_below(&mut undone, start);
                    let mut begin = begin.clone();
                    self.clear_below(&mut begin, start);
                    self.same(plan, "copy left before it was done", &undone, &begin);
                }
                Some(Progress::NotRun) => {} // a repeated instruction, half done
                None => panic!("{:02x?}: no way back from {:?}", plan.bytes(), stopped.pc()),
            }
            self.tally.put_back += 1;
            first = false;
            if self.tracee.step() != Signal::SIGTRAP || self.tracee.regs() == stopped {
                return;
            }
        }
    }

    /// What lies below the stack pointer is free: calls write there.
    fn clear_below(&self, outcome: &mut Outcome, start: &Start) {
        let sp = start
            .regs
            .sp()
            .offset_from(self.map.data)
            .and_then(|sp| usize::try_from(sp).ok());
        let sp = sp.expect("the stack lies in the data");
        outcome.data[sp - 8..sp].fill(0);
    }

    fn try_single_step(&mut self, plan: &StepPlan, start: &Start, native: &Outcome) {
        let to = self.map.code.wrapping_add(0x1800 + self.random.below(256));
        let copy = plan
            .stepped_copy(to)
            .unwrap_or_else(|error| panic!("{:02x?}: {error}", plan.bytes()));
        if matches!(
            decode(self.bits(), plan).mnemonic(),
            // The flags in r11 show the single step.
            Mnemonic::Syscall
            // The kernel emulates them after a fault (UMIP), and the step goes on to the next instruction.
            | Mnemonic::Sldt | Mnemonic::Str | Mnemonic::Sgdt | Mnemonic::Sidt | Mnemonic::Smsw
        ) {
            return;
        }
        self.set(start, to, &[(to, copy.bytes())]);
        let mut before = None;
        let (signal, regs) = loop {
            let signal = self.tracee.step();
            let mut regs = self.tracee.regs();
            let no_progress = before.replace(regs) == Some(regs); // an `int1`, again
            let loaded = copy
                .load(&regs)
                .map_or(0, |access| self.load(access.at, access.size).expect("stack"));
            let (progress, store) = copy.fix(&mut regs, loaded);
            if let Some(store) = store {
                self.tracee.write(store.at(), store.bytes()).expect("stack");
            }
            if progress == Progress::Done || signal != Signal::SIGTRAP || no_progress {
                break (signal, regs);
            }
        };
        let mut outcome = self.outcome(signal, &regs);
        if signal == Signal::SIGTRAP {
            outcome.fault = native.fault; // a fault at the place that it went to is yet to come
        }
        self.same(plan, "single step", &outcome, native);
        self.tally.stepped += 1;
    }

    fn load(&self, at: Addr, size: usize) -> Option<u64> {
        let mut word = [0; 8];
        self.tracee.read(at, &mut word[..size]).ok()?;
        Some(u64::from_le_bytes(word))
    }

    fn try_emulation(&mut self, plan: &StepPlan, start: &Start, native: &Outcome) {
        let Some(emulation) = plan.emulation() else { return };
        self.set(start, plan.at(), &[]);
        let mut regs = start.regs;
        let loaded = match emulation.load(&regs) {
            Some(access) => self.load(access.at, access.size),
            None => Some(0),
        };
        let stored = loaded.map(|loaded| emulation.run(&mut regs, loaded));
        let written = stored.is_some_and(|store| {
            store.is_none_or(|store| self.tracee.write(store.at(), store.bytes()).is_ok())
        });
        if !written {
            assert!(
                native.fault.is_some(),
                "{:02x?}: emulation finds no memory",
                plan.bytes()
            );
            return;
        }
        if native.fault.is_some() && native.regs.pc() == plan.at() {
            return; // a write to where only a tracer can write, or a jump to where nothing can be
        }
        let mut outcome = self.outcome(Signal::SIGTRAP, &regs);
        outcome.fault = native.fault; // a fault at the place that it went to is yet to come
        self.same(plan, "emulation", &outcome, native);
        let pc = emulation.pc_only(&start.regs);
        assert!(
            pc.is_none_or(|pc| pc == regs.pc()),
            "{:02x?}: {pc:?}",
            plan.bytes()
        );
        assert!(emulation.constant_pc().is_none() || emulation.constant_pc() == pc);
        self.tally.emulated += 1;
    }

    fn same(&self, plan: &StepPlan, way: &str, ours: &Outcome, native: &Outcome) {
        if ours == native {
            return;
        }
        let instruction = decode(self.bits(), plan);
        let words = |regs: &Regs| -> Vec<u64> {
            let size = self.arch.abi().word_size();
            regs.as_regset()
                .chunks(size)
                .map(|word| word.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)))
                .collect()
        };
        let registers: Vec<_> = words(&ours.regs)
            .into_iter()
            .zip(words(&native.regs))
            .enumerate()
            .filter(|(_, (ours, native))| ours != native)
            .collect();
        let data: Vec<_> = ours
            .data
            .chunks(8)
            .zip(native.data.chunks(8))
            .enumerate()
            .filter(|(_, (ours, native))| ours != native)
            .collect();
        panic!(
            "{way} of {:02x?} at {} ({:?}) differs from the instruction: signals {:?} and {:?}, \
             registers (index, (ours, native)) {registers:x?}, words of data {data:02x?}, vector state equal: {}",
            plan.bytes(),
            plan.at(),
            instruction.code(),
            ours.fault,
            native.fault,
            ours.xstate == native.xstate,
        );
    }
}

fn decode(bits: u32, plan: &StepPlan) -> iced_x86::Instruction {
    Decoder::with_ip(bits, plan.bytes(), plan.at().get(), DecoderOptions::NONE).decode()
}

/// Sets a displacement of four bytes so that it leads from `next` to `target`.
fn set_relative(bytes: &mut [u8], next: Addr, target: Addr) {
    let difference = target.get().wrapping_sub(next.get()).to_le_bytes();
    bytes[..4].copy_from_slice(&difference[..4]);
}

const GENERAL_64: [Reg; 15] = [
    x86_64::RAX,
    x86_64::RBX,
    x86_64::RCX,
    x86_64::RDX,
    x86_64::RSI,
    x86_64::RDI,
    x86_64::RBP,
    x86_64::R8,
    x86_64::R9,
    x86_64::R10,
    x86_64::R11,
    x86_64::R12,
    x86_64::R13,
    x86_64::R14,
    x86_64::R15,
];

const GENERAL_32: [Reg; 7] = [
    i386::EAX,
    i386::EBX,
    i386::ECX,
    i386::EDX,
    i386::ESI,
    i386::EDI,
    i386::EBP,
];
