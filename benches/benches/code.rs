//! What happens at a trap without the process: looking it up, emulating the instruction under it, displaced copies, matching
//! returns with calls.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use arch_abi::{Addr, Arch, Regs, StepPlan};
use breakpoint::{CallStack, CodeMemory, CopySpace, Frame, How, StackWitness, Traps};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// Where the code lies.
const BASE: Addr = Addr::new(0x5555_5555_4000);
/// Bytes of a PLT entry.
const ENTRY: u64 = 16;

/// Two stretches of memory: code, and room for copies.
#[derive(Clone, Default)]
struct Memory {
    code: Vec<u8>,
    copies: Vec<u8>,
}

/// Where the copies lie.
const COPIES: Addr = Addr::new(0x5555_5000_0000);

impl Memory {
    /// PLT entries as ld makes them: `jmp *slot(%rip); push $index; jmp plt0`.
    fn plt(entries: usize) -> Memory {
        let entry = [
            0xff, 0x25, 0xe2, 0x2f, 0, 0, 0x68, 0, 0, 0, 0, 0xe9, 0xe0, 0xff, 0xff, 0xff,
        ];
        Memory {
            code: entry.repeat(entries),
            copies: Vec::new(),
        }
    }

    /// Copies are looked for first: they lie below the code.
    fn slice(&self, at: Addr, len: usize) -> Option<&[u8]> {
        let find = |bytes: &'_ [u8], base| -> Option<(usize, usize)> {
            let start = usize::try_from(at.offset_from(base)?).ok()?;
            (start.checked_add(len)? <= bytes.len()).then_some((start, start + len))
        };
        if let Some((start, end)) = find(&self.code, BASE) {
            return self.code.get(start..end);
        }
        find(&self.copies, COPIES).and_then(|(start, end)| self.copies.get(start..end))
    }

    fn slice_mut(&mut self, at: Addr, len: usize) -> Option<&mut [u8]> {
        let (base, bytes) = if at >= BASE {
            (BASE, &mut self.code)
        } else {
            (COPIES, &mut self.copies)
        };
        let start = usize::try_from(at.offset_from(base)?).ok()?;
        bytes.get_mut(start..start.checked_add(len)?)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("nothing is mapped at {0}")]
struct Unmapped(Addr);

impl CodeMemory for Memory {
    type Error = Unmapped;

    fn read(&self, at: Addr, buf: &mut [u8]) -> Result<(), Unmapped> {
        buf.copy_from_slice(self.slice(at, buf.len()).ok_or(Unmapped(at))?);
        Ok(())
    }

    fn write(&mut self, at: Addr, bytes: &[u8]) -> Result<(), Unmapped> {
        self.slice_mut(at, bytes.len())
            .ok_or(Unmapped(at))?
            .copy_from_slice(bytes);
        Ok(())
    }
}

impl CopySpace for Memory {
    fn map_copies(&mut self, _near: Addr, len: usize) -> Result<Addr, Unmapped> {
        let at = COPIES.wrapping_add(self.copies.len() as u64);
        self.copies.resize(self.copies.len() + len, 0);
        Ok(at)
    }
}

/// Registers of a thread of x86-64 that stands at `pc`.
fn regs(pc: Addr) -> Regs {
    let mut regs = Regs::from_regset(&[0; 27 * 8]).expect("the length of user_regs_struct");
    regs.set_pc(pc);
    regs.set_sp(Addr::new(0x7fff_ffff_0000));
    regs
}

fn entries(count: usize) -> Vec<Addr> {
    (0..count as u64).map(|i| BASE.wrapping_add(i * ENTRY)).collect()
}

/// `addresses` in an order that no prefetcher foresees.
fn shuffled(mut addresses: Vec<Addr>) -> Vec<Addr> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in (1..addresses.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from((state >> 33) % (i as u64 + 1)).expect("a position");
        addresses.swap(i, other);
    }
    addresses
}

fn traps(c: &mut Criterion) {
    let mut group = c.benchmark_group("traps");
    for count in [10, 1_000, 20_000] {
        let mut memory = Memory::plt(count);
        let addresses = entries(count);
        group.bench_with_input(
            BenchmarkId::new("insert all", count),
            &addresses,
            |b, addresses| {
                let fresh = || (Traps::new(Arch::X86_64), Memory::plt(count));
                b.iter_batched(
                    fresh,
                    |(mut traps, mut memory)| {
                        traps.insert_all(addresses, &mut memory);
                        (traps, memory)
                    },
                    criterion::BatchSize::LargeInput,
                );
            },
        );
        let mut traps = Traps::new(Arch::X86_64);
        assert!(
            traps
                .insert_all(&addresses, &mut memory)
                .iter()
                .all(Result::is_ok)
        );
        let past: Vec<Addr> = shuffled(addresses).iter().map(|at| at.wrapping_add(1)).collect();
        let mut hits = past.iter().cycle();
        group.bench_function(BenchmarkId::new("hit", count), |b| {
            b.iter(|| {
                traps
                    .hit_at(*hits.next().expect("an endless row"))
                    .expect("a trap")
            });
        });
        let mut misses = past.iter().cycle();
        group.bench_function(BenchmarkId::new("miss", count), |b| {
            b.iter(|| {
                traps
                    .hit_at(misses.next().expect("an endless row").wrapping_add(3))
                    .is_none()
            });
        });
        let at = traps.lookup(BASE).expect("a trap");
        let regs = regs(BASE.wrapping_add(1));
        drop(traps.step_over(at, &regs, &mut memory).expect("a way over it"));
        group.bench_function(BenchmarkId::new("step over a PLT entry", count), |b| {
            b.iter(|| {
                traps
                    .step_over(black_box(at), &regs, &mut memory)
                    .expect("a way over it")
            });
        });
    }
    group.finish();
}

/// The instructions that functions and PLT entries begin with, and that calls return to.
const INSTRUCTIONS: [(&str, &[u8]); 7] = [
    ("jmp *slot(%rip)", &[0xff, 0x25, 0xe2, 0x2f, 0, 0]),
    ("endbr64", &[0xf3, 0x0f, 0x1e, 0xfa]),
    ("push %rbp", &[0x55]),
    ("sub $24,%rsp", &[0x48, 0x83, 0xec, 0x18]),
    ("mov %rax,%rbx", &[0x48, 0x89, 0xc3]),
    ("test %eax,%eax", &[0x85, 0xc0]),
    ("jne", &[0x75, 0x10]),
];

fn plan(bytes: &[u8]) -> StepPlan {
    let mut code = [0x90; 16];
    code[..bytes.len()].copy_from_slice(bytes);
    Arch::X86_64.abi().step(&code, BASE).expect("an instruction")
}

fn instructions(c: &mut Criterion) {
    let mut group = c.benchmark_group("instructions");
    for (name, bytes) in INSTRUCTIONS {
        group.bench_function(BenchmarkId::new("plan", name), |b| {
            b.iter(|| plan(black_box(bytes)));
        });
        let plan = plan(bytes);
        if let Some(emulation) = plan.emulation() {
            group.bench_function(BenchmarkId::new("emulate", name), |b| {
                let mut regs = regs(BASE);
                b.iter(|| emulation.run(black_box(&mut regs), 1));
            });
        }
        if plan.displaced_copy(COPIES).is_ok() {
            group.bench_function(BenchmarkId::new("displaced copy", name), |b| {
                b.iter(|| plan.displaced_copy(black_box(COPIES)).expect("a copy"));
            });
        }
    }
    group.finish();
}

/// One stack, of which nothing has to be asked in a plain sequence of calls.
struct OneStack;

impl StackWitness for OneStack {
    fn same_stack(&mut self, _frame: Addr, _now: Addr) -> Option<bool> {
        Some(true)
    }

    fn word(&mut self, _at: Addr) -> Option<u64> {
        None
    }
}

/// The frame of a call at this depth.
fn frame(depth: u64) -> Frame {
    Frame {
        return_to: BASE.wrapping_add(0x100),
        sp_after: Addr::new(0x7fff_ffff_0000 - 64 * depth),
        entry: BASE.wrapping_add(ENTRY),
    }
}

fn calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("pending calls");
    for depth in [1, 20] {
        group.bench_function(BenchmarkId::new("call and return", depth), |b| {
            let (mut stack, mut closed) = (CallStack::new(Arch::X86_64, 1_000), Vec::new());
            for outer in 1..depth {
                let _ = stack.push(frame(outer), 0, &mut OneStack, &mut closed);
            }
            let inner = frame(depth);
            b.iter(|| {
                let _ = stack.push(inner, 0, &mut OneStack, &mut closed);
                let returned = stack.returned(inner.return_to, inner.sp_after, &mut OneStack, &mut closed);
                assert!(returned == 1 && closed.pop().is_some_and(|call| call.how == How::Returned));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, traps, instructions, calls);
criterion_main!(benches);
