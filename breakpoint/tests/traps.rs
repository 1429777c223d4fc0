//! Traps in a page of bytes.

#[path = "support/page.rs"]
mod page;

use arch_abi::x86::x86_64;
use arch_abi::{Addr, Arch, Progress, Regs};
use breakpoint::{
    CodeMemory, CopySpace, InsertError, OriginalMemory, RemoveError, Removed, StepOver, StepOverError,
    TrapId, Traps,
};
use page::Pages;

const CODE: u64 = 0x5555_5555_0000;
const STACK: u64 = 0x7fff_0000_0000;

/// push %rbp; mov %rsp,%rbp; xor %eax,%eax; endbr64; call +0x100; nop; ...
const FUNCTION: [u8; 17] = [
    0x55, 0x48, 0x89, 0xe5, 0x31, 0xc0, 0xf3, 0x0f, 0x1e, 0xfa, 0xe8, 0, 1, 0, 0, 0x90, 0xc3,
];
const PUSH: Addr = Addr::new(CODE);
const XOR: Addr = Addr::new(CODE + 4);
const ENDBR: Addr = Addr::new(CODE + 6);

fn process() -> Pages {
    let mut pages = Pages::default();
    let mut code = vec![0x90; 0x3000];
    code[..FUNCTION.len()].copy_from_slice(&FUNCTION);
    pages.map(CODE, &code);
    pages.map(STACK, &[0; 0x1000]);
    pages
}

fn regs_at(pc: Addr) -> Regs {
    let mut regs = Regs::from_regset(&[0; 216]).expect("x86-64");
    regs.set_pc(pc);
    regs.set_sp(Addr::new(STACK + 0x800));
    regs.set(x86_64::RBP, 0x1234);
    regs
}

fn insert(traps: &mut Traps, at: Addr, pages: &mut Pages) -> TrapId {
    traps.insert(at, pages).expect("a trap can be there")
}

#[test]
fn a_trap_is_there_as_long_as_somebody_wants_it() {
    let (mut traps, mut pages) = (Traps::new(Arch::X86_64), process());
    let id = insert(&mut traps, PUSH, &mut pages);
    assert_eq!(insert(&mut traps, PUSH, &mut pages), id);
    assert_eq!(
        (traps.users(id), traps.len(), pages.raw(CODE, 2)),
        (2, 1, vec![0xcc, 0x48])
    );
    assert_eq!(traps.hit(&regs_at(PUSH.wrapping_add(1))), Some(id));
    assert_eq!(traps.hit(&regs_at(PUSH)), None);
    assert_eq!(
        traps.remove(id, &mut pages).expect("it is there"),
        Removed::StillUsed
    );
    assert_eq!(pages.raw(CODE, 1), [0xcc]);
    assert_eq!(
        traps.remove(id, &mut pages).expect("it is there"),
        Removed::Restored
    );
    assert_eq!(pages.raw(CODE, FUNCTION.len()), FUNCTION);
    assert!(matches!(
        traps.remove(id, &mut pages),
        Err(RemoveError::NoSuchTrap { .. })
    ));
    assert_eq!(traps.late_hit_at(PUSH.wrapping_add(1)), Some(PUSH));
    traps.reclaim();
    assert_eq!(traps.late_hit_at(PUSH.wrapping_add(1)), None);
}

#[test]
fn many_traps_take_few_reads_and_writes() {
    let (mut traps, mut pages) = (Traps::new(Arch::X86_64), Pages::default());
    let before: Vec<u8> = FUNCTION[..16].iter().copied().cycle().take(320_000).collect();
    let mut code = before.clone();
    code.extend([0x90; 32]);
    pages.map(CODE, &code);
    let at: Vec<Addr> = (0..20_000)
        .rev()
        .map(|index| PUSH.wrapping_add(index * 16))
        .collect();
    let ids = traps.insert_all(&at, &mut pages);
    assert_eq!(ids.len(), 20_000);
    for (at, id) in at.iter().zip(&ids) {
        assert_eq!(traps.addr(*id.as_ref().expect("a trap can be there")), Some(*at));
    }
    assert!(
        pages.writes < 20 && pages.reads.get() < 20,
        "{} writes",
        pages.writes
    );
    traps.prepare_copies(&mut pages).expect("there is room");
    assert!(pages.writes < 20, "{} writes", pages.writes);
    let copies: Vec<_> = traps.copies().collect();
    assert_eq!(copies.len(), 20_000);
    assert!(copies.is_sorted());
    assert_eq!(pages.raw(CODE, 17), [&[0xcc], &FUNCTION[1..16], &[0xcc]].concat());
    assert!(traps.remove_all(&mut pages).is_empty());
    assert!(pages.writes < 40, "{} writes", pages.writes);
    assert_eq!(pages.raw(CODE, 320_000), before);
}

#[test]
fn each_address_has_its_own_result() {
    let (mut traps, mut pages) = (Traps::new(Arch::X86_64), process());
    let nowhere = Addr::new(0x1000);
    let no_code = Addr::new(CODE + 0x2000);
    pages.write(no_code, &[0x06]).expect("mapped"); // push %es: invalid in 64-bit mode
    let last = Addr::new(CODE + 0x2fff); // a nop, and then nothing is mapped
    let half = Addr::new(CODE + 0x2ffe);
    pages.write(half, &[0xe8]).expect("mapped"); // a call of which two bytes are there
    let results = traps.insert_all(&[last, nowhere, PUSH, no_code, half, nowhere], &mut pages);
    assert!(results[0].is_ok());
    assert!(matches!(results[1], Err(InsertError::Unreadable { at, .. }) if at == nowhere));
    assert!(results[2].is_ok());
    assert!(matches!(results[3], Err(InsertError::Step(_))));
    assert!(matches!(results[4], Err(InsertError::Step(_))));
    assert!(matches!(results[5], Err(InsertError::Repeated { .. })));
    assert_eq!(traps.len(), 2);
    pages.read_only = true;
    assert!(matches!(
        traps.insert(ENDBR, &mut pages),
        Err(InsertError::Unwritable { .. })
    ));
    assert_eq!((traps.len(), traps.lookup(ENDBR)), (2, None));
}

#[test]
fn what_needs_a_copy_is_refused_without_room() {
    let (mut traps, mut pages) = (Traps::new(Arch::X86_64), process());
    pages.no_copies = true;
    assert!(matches!(
        traps.insert(XOR, &mut pages),
        Err(InsertError::NoRoom { source: Some(_), .. })
    ));
    assert_eq!(pages.raw(XOR.get(), 1), [0x31]);
    let push = insert(&mut traps, PUSH, &mut pages);
    let StepOver::SetRegs(regs) = traps
        .step_over(push, &regs_at(PUSH), &mut pages)
        .expect("emulated")
    else {
        panic!("there is no room for a copy");
    };
    assert_eq!(
        (regs.pc(), regs.sp()),
        (PUSH.wrapping_add(1), Addr::new(STACK + 0x7f8))
    );
    assert_eq!(pages.raw(STACK + 0x7f8, 8), 0x1234_u64.to_le_bytes());
    let mut lost = regs_at(PUSH);
    lost.set_sp(Addr::new(0x1000));
    assert!(matches!(
        traps.step_over(push, &lost, &mut pages),
        Err(StepOverError::Memory { .. })
    ));
    let no_room = traps.prepare_copies(&mut pages).expect_err("there is no room");
    assert_eq!(no_room.without, [push]);
}

#[test]
fn stepping_over_costs_no_memory_access_once_the_copy_is_made() {
    let (mut traps, mut pages) = (Traps::new(Arch::X86_64), process());
    let ids: Vec<TrapId> = [PUSH, XOR, ENDBR]
        .map(|at| insert(&mut traps, at, &mut pages))
        .to_vec();
    let mut first = Vec::new();
    for &id in &ids {
        first.push(traps.step_over(id, &regs_at(PUSH), &mut pages).expect("possible"));
    }
    assert!(
        matches!(first[2], StepOver::SetPc(pc) if pc == ENDBR.wrapping_add(4)),
        "no copy is needed"
    );
    let (reads, writes) = (pages.reads.get(), pages.writes);
    for (&id, first) in ids.iter().zip(&first) {
        let again = traps.step_over(id, &regs_at(PUSH), &mut pages).expect("possible");
        let (StepOver::SetPc(again), StepOver::SetPc(first)) = (again, first) else {
            panic!("no copy")
        };
        assert_eq!((again, traps.resume_at(id)), (*first, Some(*first)));
    }
    assert_eq!((pages.reads.get(), pages.writes), (reads, writes));
}

#[test]
fn a_thread_in_a_copy_is_put_back_also_after_the_trap_is_gone() {
    let (mut traps, mut pages) = (Traps::new(Arch::X86_64), process());
    let call = Addr::new(CODE + 10);
    let id = insert(&mut traps, call, &mut pages);
    traps.prepare_copies(&mut pages).expect("there is room");
    let copy = traps.resume_at(id).expect("it has a copy");
    let mut pushed = regs_at(copy.wrapping_add(5)); // the low half of the return address is pushed
    let sp = pushed.sp();
    pushed.set_sp(sp.wrapping_sub(8));
    let found = traps.translate_back(&mut pushed).expect("it is in the copy");
    assert_eq!(
        (found.at, found.trap, found.progress),
        (call, Some(id), Progress::NotRun)
    );
    assert_eq!((pushed.pc(), pushed.sp()), (call, sp));
    traps.remove(id, &mut pages).expect("it is there");
    let mut regs = regs_at(copy.wrapping_add(13)); // the return address is pushed whole
    let found = traps.translate_back(&mut regs).expect("the copy stays");
    assert_eq!(
        (found.trap, found.progress, regs.pc()),
        (None, Progress::Done, Addr::new(CODE + 0x10f))
    );
    // Put in again, it has the same copy.
    let id = insert(&mut traps, call, &mut pages);
    traps.prepare_copies(&mut pages).expect("there is room");
    assert_eq!(traps.resume_at(id), Some(copy));
    traps.remove(id, &mut pages).expect("it is there");
    traps.reclaim();
    assert_eq!(traps.translate_back(&mut regs_at(copy)), None);
    assert!(traps.is_copy(copy));
}

#[test]
fn others_see_and_change_the_original_bytes() {
    let (mut traps, mut pages) = (Traps::new(Arch::X86_64), process());
    let ids = [PUSH, XOR].map(|at| insert(&mut traps, at, &mut pages));
    traps.prepare_copies(&mut pages).expect("there is room");
    let old_copy = traps.resume_at(ids[0]).expect("it has a copy");
    let mut memory = OriginalMemory::new(&mut traps, &mut pages);
    let mut seen = [0; 17];
    memory.read(PUSH, &mut seen).expect("mapped");
    assert_eq!(seen, FUNCTION);
    memory
        .write(PUSH, &[0x90, 0x48, 0x89, 0xe5, 0x29])
        .expect("mapped");
    memory.read(PUSH, &mut seen).expect("mapped");
    assert_eq!(seen[..6], [0x90, 0x48, 0x89, 0xe5, 0x29, 0xc0]);
    assert_eq!(pages.raw(CODE, 6), [0xcc, 0x48, 0x89, 0xe5, 0xcc, 0xc0]);
    assert_eq!(traps.resume_at(ids[0]), Some(PUSH.wrapping_add(1)), "a nop now");
    assert_eq!(traps.resume_at(ids[1]), None, "its copy is out of date");
    assert_eq!(
        traps.translate_back(&mut regs_at(old_copy)).map(|found| found.at),
        Some(PUSH)
    );
    assert!(traps.step_over(ids[1], &regs_at(XOR), &mut pages).is_ok());
    assert!(traps.remove_all(&mut pages).is_empty());
    assert_eq!(pages.raw(CODE, 6), [0x90, 0x48, 0x89, 0xe5, 0x29, 0xc0]);
}

#[test]
fn what_others_wrote_over_a_trap_is_left_alone() {
    let (mut traps, mut pages) = (Traps::new(Arch::X86_64), process());
    let id = insert(&mut traps, PUSH, &mut pages);
    pages.write(PUSH, &[0xc3]).expect("mapped");
    assert_eq!(
        traps.remove(id, &mut pages).expect("it is there"),
        Removed::Overwritten
    );
    assert_eq!(pages.raw(CODE, 1), [0xc3]);
}

#[test]
fn a_trap_whose_memory_is_gone_can_be_forgotten() {
    let (mut traps, mut pages) = (Traps::new(Arch::X86_64), process());
    let id = insert(&mut traps, PUSH, &mut pages);
    pages.unmap(CODE);
    assert!(matches!(
        traps.remove(id, &mut pages),
        Err(RemoveError::Memory { .. })
    ));
    assert_eq!(traps.len(), 1);
    let writes = pages.writes;
    traps.forget(PUSH..PUSH.wrapping_add(0x3000));
    assert_eq!((traps.len(), pages.writes), (0, writes));
}

#[test]
fn a_trap_of_the_program_stays_its_own() {
    let (mut traps, mut pages) = (Traps::new(Arch::X86_64), process());
    pages.write(PUSH, &[0xcc]).expect("mapped");
    let id = insert(&mut traps, PUSH, &mut pages);
    assert!(traps.plan(id).expect("it is there").is_program_trap());
    let StepOver::SetPc(copy) = traps.step_over(id, &regs_at(PUSH), &mut pages).expect("possible") else {
        panic!("an int3 has a copy");
    };
    let mut regs = regs_at(copy.wrapping_add(1)); // where the copied int3 stops
    let found = traps.translate_back(&mut regs).expect("it is in the copy");
    assert_eq!(
        (found.progress, regs.pc()),
        (Progress::Done, PUSH.wrapping_add(1))
    );
    assert_eq!(
        traps.remove(id, &mut pages).expect("it is there"),
        Removed::Restored
    );
    assert_eq!(pages.raw(CODE, 1), [0xcc]);
}

/// Gives room that is of no use: past the end of the address space, out of reach, not writable.
struct Liar(Pages, Addr);

impl CodeMemory for Liar {
    type Error = page::Unmapped;

    fn read(&self, at: Addr, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.0.read(at, buf)
    }

    fn write(&mut self, at: Addr, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.write(at, bytes)
    }
}

impl CopySpace for Liar {
    fn map_copies(&mut self, _near: Addr, _len: usize) -> Result<Addr, Self::Error> {
        Ok(self.1)
    }
}

#[test]
fn useless_room_is_survived() {
    for at in [
        Addr::new(u64::MAX - 5),
        Addr::new(0x10),
        PUSH.wrapping_add(0x2ff0),
    ] {
        let mut liar = Liar(process(), at);
        let mut traps = Traps::new(Arch::X86_64);
        assert!(
            matches!(traps.insert(XOR, &mut liar), Err(InsertError::NoRoom { .. })),
            "{at}"
        );
        assert!(
            matches!(traps.insert(XOR, &mut liar), Err(InsertError::NoRoom { .. })),
            "{at}"
        );
        assert_eq!(liar.0.raw(XOR.get(), 1), [0x31]);
    }
}
