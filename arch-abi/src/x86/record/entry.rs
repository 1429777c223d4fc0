//! The part of a stub that is called: it records the call.

use iced_x86::code_asm::{
    AsmRegister64, dword_ptr, eax, esp, qword_ptr, r8, r9, r10, r11, r11d, rax, rcx, rdi, rdx, rsi, rsp,
    xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7,
};

use super::builder::{Builder, Built, Label, Made, Side, To};
use super::capture;
use super::common::Routine;
use super::plan::Plan;
use super::{INTS, RETURNS_SHIFT, STACK_ARGS, aside};
use crate::record::{Interruption, Part, Pointer, REMEMBERED, RETURN_ADDRESS, Target, Template};

/// A finished entry, and what the return part needs to know of it.
pub(super) struct Entry {
    built: Built,
    /// Jumps to the function and does not touch a register that it may look at.
    bare: Label,
    /// The jump to the return part.
    go: Label,
    /// Behind `endbr64`.
    start: Label,
}

impl Entry {
    /// Where the return part's threads go that have not yet begun it.
    pub(super) fn go(&self) -> Target {
        Target::Entry(self.built.offset(self.go))
    }

    /// Where they go on without it.
    pub(super) fn bare(&self) -> Target {
        Target::Entry(self.built.offset(self.bare))
    }

    pub(super) fn template(self, ret: Option<super::ret::Return>) -> Template {
        let start = self.built.offset(self.start);
        let bare = self.bare();
        let (ret, site, retire) = match ret {
            Some(ret) => (ret.part, ret.site, Some((ret.site, Target::Return(ret.retired)))),
            None => (Part::default(), 0, None),
        };
        Template {
            entry: self.built.part,
            ret,
            site,
            retire: [Some((start, bare)), retire],
        }
    }
}

/// The registers that are put aside before the record is begun.
fn saved(plan: &Plan<'_>) -> Vec<(AsmRegister64, i32)> {
    let call = plan.call;
    if !call.captures.is_empty() {
        return vec![
            (rax, aside::RAX),
            (rdx, aside::RDX),
            (rcx, aside::RCX),
            (rsi, aside::RSI),
            (rdi, aside::RDI),
            (r8, aside::R8),
            (r9, aside::R9),
            (r10, aside::R10),
        ];
    }
    let stack = plan
        .remembered
        .iter()
        .any(|from| matches!(from, Pointer::Stack(_)));
    let mut saved = Vec::new();
    if call.stamp || call.caller || call.stack != 0 || stack {
        saved.push((rax, aside::RAX));
    }
    if call.stamp {
        saved.push((rdx, aside::RDX));
    }
    saved
}

struct Writer<'a> {
    b: Builder,
    plan: &'a Plan<'a>,
    saved: Vec<(AsmRegister64, i32)>,
    /// Where the record is begun, and where it is begun again.
    section: Label,
    again: Label,
    /// Puts the registers back and calls without a record.
    miss: Label,
    bare: Label,
    slow: Label,
    tail: Label,
    /// Loads from the stack that may fail, and where they go on then, with zero.
    loads: Vec<(Label, Label)>,
}

/// Writes the entry.
pub(super) fn entry(plan: &Plan<'_>) -> Made<Entry> {
    let mut b = Builder::new(Side::Entry)?;
    let [section, miss, bare, slow, tail] = std::array::from_fn(|_| b.label());
    let saved = saved(plan);
    let again = if saved.is_empty() { section } else { b.label() };
    let mut w = Writer {
        b,
        plan,
        saved,
        section,
        again,
        miss,
        bare,
        slow,
        tail,
        loads: Vec::new(),
    };
    let (start, go) = w.main()?;
    w.tail_call()?;
    w.slow()?;
    w.out()?;
    Ok(Entry {
        built: w.b.finish()?,
        bare,
        go,
        start,
    })
}

impl Writer<'_> {
    /// The way of a call that is recorded.
    fn main(&mut self) -> Made<(Label, Label)> {
        let begin = self.b.here()?;
        self.b.asm.endbr64()?;
        let start = self.b.here()?;
        for &(register, at) in &self.saved {
            self.b.asm.mov(Builder::stack(at), register)?;
        }
        self.b.bind(self.section)?;
        self.leave_before((begin, self.section));
        self.find_block()?;
        self.remember()?;
        self.find_place()?;
        self.words()?;
        self.is_tail_call()?;
        self.stamp()?;
        self.publish(self.plan.ring.call)?;
        let published = self.b.here()?;
        self.restartable((self.section, published));
        self.put_back()?;
        let go = self.b.here()?;
        if self.plan.ret.is_some() {
            self.b.jump(To::There(Target::Return(0)))?;
        } else {
            self.call_bare()?;
        }
        Ok((start, go))
    }

    /// Whether the thread has a ring, which is its own: others may have inherited the register.
    fn find_block(&mut self) -> Made {
        let owner = Builder::block(self.plan.ring.owner);
        self.b.asm.mov(r11, Builder::thread_pointer())?;
        self.b.asm.add(r11, self.plan.owner_number())?;
        self.b.asm.cmp(r11, owner)?;
        Ok(self.b.asm.jne(self.b.code(self.miss))?)
    }

    /// Keeps what the return's captures need. Of a tail call no return is recorded, and the place is taken.
    fn remember(&mut self) -> Made {
        if self.plan.remembered.is_empty() {
            return Ok(());
        }
        let skip = self.b.label();
        self.compare_return_address()?;
        self.b.asm.je(self.b.code(skip))?;
        for (from, shadow) in self.plan.remembered.iter().zip(REMEMBERED) {
            self.b.asm.mov(r11, rsp)?;
            let place = self.b.shadow(r11, shadow)?;
            let value = match *from {
                Pointer::Int(index) => INTS[usize::from(index)].0,
                Pointer::Stack(index) => {
                    self.load(index)?;
                    rax
                }
                Pointer::Result => continue,
            };
            self.b.asm.mov(place, value)?;
        }
        self.b.bind(skip)
    }

    /// Loads a word of the stack, or zero.
    fn load(&mut self, index: u8) -> Made {
        let range = (self.b.here()?, self.b.label());
        self.b.asm.mov(rax, stack_arg(index))?;
        self.b.bind(range.1)?;
        let zero = self.b.label();
        self.b.on(Interruption::Fault, range, To::Here(zero));
        self.loads.push((zero, range.1));
        Ok(())
    }

    /// Leaves the address of the record in `r11`.
    fn find_place(&mut self) -> Made {
        let ring = self.plan.ring;
        let mask = i32::try_from(ring.ring_mask).unwrap_or(i32::MAX);
        self.b.asm.mov(r11, Builder::block(ring.head))?;
        self.b.asm.cmp(r11, Builder::block(ring.cached_limit))?;
        self.b.asm.jns(self.b.code(self.slow))?; // not below: positions wrap
        self.b.asm.and(r11d, mask)?;
        Ok(self.b.asm.add(r11, Builder::block(ring.data))?)
    }

    /// All of the record but the time stamp, the first word, and the captures' total.
    fn words(&mut self) -> Made {
        let call = self.plan.call;
        let mut at = 8 + 8 * i32::from(call.stamp);
        if call.caller {
            self.b.asm.mov(rax, qword_ptr(rsp))?;
            self.b.asm.mov(qword_ptr(r11 + at), rax)?;
            at += 8;
        }
        for (register, _) in INTS.iter().take(call.ints.into()) {
            self.b.asm.mov(qword_ptr(r11 + at), *register)?;
            at += 8;
        }
        self.stack_words(at)?;
        at += 8 * i32::from(call.stack);
        let floats = [xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7];
        for register in floats.into_iter().take(call.floats.into()) {
            self.b.asm.movlps(qword_ptr(r11 + at), register)?;
            at += 8;
        }
        if !call.captures.is_empty() {
            let ways = capture::Ways {
                side: Side::Entry,
                again: self.again,
                miss: self.miss,
            };
            capture::attended(&mut self.b, self.plan, &ways)?;
            self.b.asm.lea(rdi, qword_ptr(r11 + at))?;
            for capture in &call.captures {
                capture::capture(&mut self.b, self.plan, &ways, capture)?;
            }
        }
        Ok(())
    }

    /// The stack ends somewhere, and the words may be beyond: those are zero.
    fn stack_words(&mut self, at: i32) -> Made {
        let count = self.plan.call.stack;
        let mut loads = Vec::new();
        for index in 0..count {
            let load = self.b.here()?;
            self.b.asm.mov(rax, stack_arg(index))?;
            loads.push((load, self.b.here()?));
            self.b
                .asm
                .mov(qword_ptr(r11 + (at + 8 * i32::from(index))), rax)?;
        }
        if count == 0 {
            return Ok(());
        }
        let done = self.b.label();
        self.b.asm.jmp(self.b.code(done))?;
        for (index, range) in (0..count).zip(loads) {
            let zero = self.b.here()?;
            self.b.on(Interruption::Fault, range, To::Here(zero));
            self.b.asm.mov(qword_ptr(r11 + (at + 8 * i32::from(index))), 0)?;
        }
        self.b.bind(done)
    }

    fn is_tail_call(&mut self) -> Made {
        self.compare_return_address()?;
        Ok(self.b.asm.je(self.b.code(self.tail))?)
    }

    /// Whether the return address is that of a stub. The bits that the comparison leaves out are zero in all return addresses.
    fn compare_return_address(&mut self) -> Made {
        let from = i32::try_from(RETURNS_SHIFT / 8).unwrap_or(0);
        Ok(self.b.asm.cmp(dword_ptr(rsp + from), self.plan.returns_tag())?)
    }

    fn stamp(&mut self) -> Made {
        if self.plan.call.stamp {
            self.b.asm.rdtsc()?;
            self.b.asm.shl(rdx, 32)?;
            self.b.asm.or(rax, rdx)?;
            self.b.asm.mov(qword_ptr(r11 + 8), rax)?;
        }
        Ok(())
    }

    /// Writes the first word and moves the head: from then on there is a record.
    fn publish(&mut self, kind: u32) -> Made {
        let plan = self.plan;
        self.b.asm.mov(dword_ptr(r11 + 4), esp)?;
        let head = Builder::block(plan.ring.head);
        if plan.call.captures.is_empty() {
            let bytes = plan.call_fixed();
            self.b.asm.mov(dword_ptr(r11), plan.first_half(kind, bytes))?;
            self.b.id(plan.id_mask())?;
            return Ok(self.b.asm.add(head, i32::try_from(bytes).unwrap_or(0))?);
        }
        capture::total(&mut self.b, plan)?;
        self.b.asm.add(eax, plan.first_half(kind, 0))?;
        self.b.id(plan.id_mask())?;
        self.b.asm.mov(dword_ptr(r11), eax)?;
        Ok(self.b.asm.add(head, rdi)?)
    }

    fn put_back(&mut self) -> Made {
        for &(register, at) in &self.saved {
            self.b.asm.mov(register, Builder::stack(at))?;
        }
        Ok(())
    }

    /// Whose return address is a stub's was called by a jump from that stub's function: no return of its own, and the caller is that
    /// function's.
    fn tail_call(&mut self) -> Made {
        self.b.bind(self.tail)?;
        let call = self.plan.call;
        if call.caller {
            self.b.asm.mov(rax, rsp)?;
            let shadow = self.b.shadow(rax, RETURN_ADDRESS)?;
            self.b.asm.mov(rax, shadow)?;
            self.b
                .asm
                .mov(qword_ptr(r11 + (8 + 8 * i32::from(call.stamp))), rax)?;
        }
        self.stamp()?;
        self.publish(self.plan.ring.tail_call)?;
        let published = self.b.here()?;
        self.restartable((self.tail, published));
        Ok(self.b.asm.jmp(self.b.code(self.miss))?)
    }

    /// To the slow path, which comes back to `hub`, or to what is behind it when there will be no record.
    fn slow(&mut self) -> Made {
        self.b.bind(self.slow)?;
        for (register, at) in [(rax, aside::RAX), (rdx, aside::RDX)] {
            if self.saved.iter().all(|&(saved, _)| saved != register) {
                self.b.asm.mov(Builder::stack(at), register)?;
            }
        }
        let hub = self.b.label();
        self.b.asm.lea(r11, qword_ptr(self.b.code(hub)))?;
        self.b
            .jump(To::There(self.plan.routine(Side::Entry, Routine::Slow)))?;
        self.b.bind(hub)?;
        self.b.jump(To::Here(self.again))?;
        self.b.bind(self.miss)?;
        self.leave_to_miss((self.slow, self.miss));
        Ok(())
    }

    /// The ways out without a record, and the way back to the start of it.
    fn out(&mut self) -> Made {
        self.put_back()?;
        self.b.bind(self.bare)?;
        self.call_bare()?;
        if !self.saved.is_empty() {
            self.b.bind(self.again)?;
            self.put_back()?;
            self.b.asm.jmp(self.b.code(self.section))?;
            let end = self.b.here()?;
            self.leave_to_miss((self.again, end));
        }
        self.failed_loads()
    }

    fn failed_loads(&mut self) -> Made {
        for (zero, after) in std::mem::take(&mut self.loads) {
            self.b.bind(zero)?;
            self.b.asm.xor(eax, eax)?;
            self.b.asm.jmp(self.b.code(after))?;
            let end = self.b.here()?;
            self.restartable((zero, end));
        }
        Ok(())
    }

    fn call_bare(&mut self) -> Made {
        self.b.load_slot(r11)?;
        Ok(self.b.asm.jmp(qword_ptr(r11))?)
    }

    /// Nothing is put aside yet, or all is as it was.
    fn leave_before(&mut self, range: (Label, Label)) {
        self.b.on(Interruption::Leave, range, To::Here(self.bare));
    }

    fn leave_to_miss(&mut self, range: (Label, Label)) {
        self.b.on(Interruption::Leave, range, To::Here(self.miss));
    }

    fn restartable(&mut self, range: (Label, Label)) {
        self.b.on(Interruption::Signal, range, To::Here(self.again));
        self.b.on(Interruption::Fault, range, To::Here(self.miss));
        self.leave_to_miss(range);
    }
}

/// A word of the stack at the entry.
pub(super) fn stack_arg(index: u8) -> iced_x86::code_asm::AsmMemoryOperand {
    Builder::stack(STACK_ARGS + 8 * i32::from(index))
}
