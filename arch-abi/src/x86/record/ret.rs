//! The part of a stub that calls the function and records its return.

use iced_x86::code_asm::{
    dword_ptr, eax, ecx, qword_ptr, r8, r9, r11, r11d, rax, rcx, rdi, rdx, rsi, rsp, xmm0, xmm1,
};

use super::aside;
use super::builder::{Builder, Label, Made, Side, To};
use super::capture;
use super::common::Routine;
use super::entry::Entry;
use super::plan::{Plan, return_fixed};
use crate::record::{Interruption, Part, RETURN_ADDRESS, ReturnFields, Target};

/// A finished return part.
pub(super) struct Return {
    pub(super) part: Part,
    /// Where the function returns to.
    pub(super) site: u32,
    /// Where it goes on when nothing is recorded any more.
    pub(super) retired: u32,
}

struct Writer<'a> {
    b: Builder,
    plan: &'a Plan<'a>,
    ret: &'a ReturnFields,
    /// Where the record is begun, with the place of the return address in `r11`.
    section: Label,
    slow: Label,
    /// Returns; the place of the return address is in `r11`.
    out: Label,
    /// The same, when `r11` has something else.
    retired: Label,
}

/// Writes the return part, if the return is recorded.
pub(super) fn ret(plan: &Plan<'_>, entry: &Entry) -> Made<Option<Return>> {
    let Some(fields) = plan.ret else { return Ok(None) };
    let mut b = Builder::new(Side::Return)?;
    let [section, slow, out, retired] = std::array::from_fn(|_| b.label());
    call(&mut b, entry.go(), entry.bare())?;
    let mut w = Writer {
        b,
        plan,
        ret: fields,
        section,
        slow,
        out,
        retired,
    };
    let site = w.main()?;
    w.slow()?;
    let built = w.b.finish()?;
    Ok(Some(Return {
        site: built.offset(site),
        retired: built.offset(retired),
        part: built.part,
    }))
}

/// Calls the function, with the stack as it was: the return address is taken off, put where the shadow is, and the function's takes
/// its place. Processors that keep a stack of return addresses of their own see calls and returns in pairs.
///
/// Until the return address is off, the stack is not what is said of this area: interrupted threads go back to `go`.
pub(super) fn call(b: &mut Builder, go: Target, bare: Target) -> Made {
    let start = b.here()?;
    b.asm.mov(r11, rsp)?;
    let shadow = b.shadow(r11, RETURN_ADDRESS)?;
    b.asm.pop(shadow)?;
    let taken = b.here()?;
    b.on(Interruption::Signal, (start, taken), To::There(go));
    b.on(Interruption::Leave, (start, taken), To::There(go));
    b.on(Interruption::Fault, (start, taken), To::There(bare));
    b.load_slot(r11)?;
    Ok(b.asm.call(qword_ptr(r11))?)
}

/// Returns to the caller. `r11` has the place where the return address was.
///
/// Where only `ret` is left, the stack is as in the area of entries: interrupted threads go on at a `ret` there.
pub(super) fn back(b: &mut Builder, there: Target) -> Made {
    let shadow = b.shadow(r11, RETURN_ADDRESS)?;
    b.asm.push(shadow)?;
    let pushed = b.here()?;
    b.asm.ret()?;
    let end = b.here()?;
    b.on(Interruption::Signal, (pushed, end), To::There(there));
    b.on(Interruption::Leave, (pushed, end), To::There(there));
    Ok(())
}

impl Writer<'_> {
    fn main(&mut self) -> Made<Label> {
        let site = self.b.here()?;
        self.place_of_return_address()?; // five bytes, which `retire` overwrites
        let left = self.b.label();
        let started = self.stamp(left)?;
        self.b.bind(self.section)?;
        self.leave((site, self.section));
        self.find_place()?;
        self.words()?;
        if self.ret.captures.is_empty() {
            self.publish()?;
            let published = self.b.here()?;
            self.restartable((self.section, published), started);
        } else {
            self.captures(started)?;
        }
        self.b.bind(self.out)?;
        back(&mut self.b, self.plan.routine(Side::Entry, Routine::Ret))?;
        self.b.bind(left)?;
        if self.ret.stamp {
            self.b.asm.mov(rax, rdi)?;
            self.b.asm.mov(rdx, rsi)?;
        }
        self.b.bind(self.retired)?;
        self.place_of_return_address()?;
        self.b.asm.jmp(self.b.code(self.out))?;
        Ok(site)
    }

    fn place_of_return_address(&mut self) -> Made {
        Ok(self.b.asm.lea(r11, qword_ptr(rsp - 8))?)
    }

    /// The time of the return, in `r8`. A thread that has to wait for room keeps it; one that was interrupted takes it again, so
    /// that its record is not older than the handler's. Where to begin again. Who is to leave while the results are in other registers
    /// goes to `left`.
    fn stamp(&mut self, left: Label) -> Made<Label> {
        if !self.ret.stamp {
            return Ok(self.section);
        }
        let start = self.b.here()?;
        self.b.asm.mov(rdi, rax)?;
        self.b.asm.mov(rsi, rdx)?;
        let clock = self.b.here()?;
        self.b.asm.rdtsc()?;
        let taken = self.b.here()?;
        self.b.asm.shl(rdx, 32)?;
        self.b.asm.lea(r8, qword_ptr(rdx + rax))?;
        self.b.asm.mov(rax, rdi)?;
        self.b.asm.mov(rdx, rsi)?;
        let restored = self.b.here()?;
        self.b
            .on(Interruption::Signal, (taken, restored), To::Here(clock));
        self.b.on(Interruption::Leave, (taken, restored), To::Here(left));
        self.b
            .on(Interruption::Fault, (clock, taken), To::Here(self.retired));
        Ok(start)
    }

    /// Leaves the address of the record in `rcx`.
    fn find_place(&mut self) -> Made {
        let ring = self.plan.ring;
        let mask = i32::try_from(ring.ring_mask).unwrap_or(i32::MAX);
        self.b.asm.mov(rcx, Builder::thread_pointer())?;
        self.b.asm.add(rcx, self.plan.owner_number())?;
        self.b.asm.cmp(rcx, Builder::block(ring.owner))?;
        self.b.asm.jne(self.b.code(self.out))?;
        self.b.asm.mov(rcx, Builder::block(ring.head))?;
        self.b.asm.cmp(rcx, Builder::block(ring.cached_limit))?;
        self.b.asm.jns(self.b.code(self.slow))?; // not below: positions wrap
        self.b.asm.and(ecx, mask)?;
        Ok(self.b.asm.add(rcx, Builder::block(ring.data))?)
    }

    /// All of the record but the first word and the captures.
    fn words(&mut self) -> Made {
        let ret = self.ret;
        let mut at = 8;
        if ret.stamp {
            self.b.asm.mov(qword_ptr(rcx + at), r8)?;
            at += 8;
        }
        for register in [rax, rdx].into_iter().take(ret.ints.into()) {
            self.b.asm.mov(qword_ptr(rcx + at), register)?;
            at += 8;
        }
        if let Some(errno) = ret.errno {
            self.b.asm.movsxd(r9, dword_ptr(errno).fs())?;
            self.b.asm.mov(qword_ptr(rcx + at), r9)?;
            at += 8;
        }
        for register in [xmm0, xmm1].into_iter().take(ret.floats.into()) {
            self.b.asm.movlps(qword_ptr(rcx + at), register)?;
            at += 8;
        }
        Ok(())
    }

    /// Writes the first word and moves the head: from then on there is a record.
    fn publish(&mut self) -> Made {
        let plan = self.plan;
        let bytes = return_fixed(self.ret);
        self.b.asm.mov(dword_ptr(rcx + 4), r11d)?;
        self.b
            .asm
            .mov(dword_ptr(rcx), plan.first_half(plan.ring.ret, bytes))?;
        self.b.id(plan.id_mask())?;
        let bytes = i32::try_from(bytes).unwrap_or(0);
        Ok(self.b.asm.add(Builder::block(plan.ring.head), bytes)?)
    }

    /// The same with captures before it. The results are put aside meanwhile.
    fn captures(&mut self, started: Label) -> Made {
        let plan = self.plan;
        self.b.asm.mov(Builder::stack(aside::RAX), rax)?;
        self.b.asm.mov(Builder::stack(aside::RDX), rdx)?;
        let kept = self.b.here()?;
        self.restartable((self.section, kept), started);
        let fixed = i32::try_from(return_fixed(self.ret)).unwrap_or(0);
        self.b.asm.mov(r11, rcx)?;
        self.b.asm.lea(rdi, qword_ptr(rcx + fixed))?;
        let ways = capture::Ways {
            side: Side::Return,
            again: self.b.label(),
            miss: self.b.label(),
        };
        capture::attended(&mut self.b, plan, &ways)?;
        for capture in &self.ret.captures {
            capture::capture(&mut self.b, plan, &ways, capture)?;
        }
        capture::total(&mut self.b, plan)?;
        self.b.asm.lea(rcx, qword_ptr(rsp - 8))?;
        self.b.asm.mov(dword_ptr(r11 + 4), ecx)?;
        self.b.asm.add(eax, plan.first_half(plan.ring.ret, 0))?;
        self.b.id(plan.id_mask())?;
        self.b.asm.mov(dword_ptr(r11), eax)?;
        self.b.asm.add(Builder::block(plan.ring.head), rdi)?;
        let published = self.b.here()?;
        self.b
            .on(Interruption::Signal, (kept, published), To::Here(ways.again));
        self.b
            .on(Interruption::Fault, (kept, published), To::Here(ways.miss));
        self.b
            .on(Interruption::Leave, (kept, published), To::Here(ways.miss));
        self.put_back()?;
        self.place_of_return_address()?;
        self.b.asm.jmp(self.b.code(self.out))?;
        let begin = self.b.here()?;
        self.b.bind(ways.again)?;
        self.put_back()?;
        self.place_of_return_address()?;
        self.b.asm.jmp(self.b.code(started))?;
        self.b.bind(ways.miss)?;
        self.b
            .on(Interruption::Leave, (begin, ways.miss), To::Here(ways.miss));
        self.put_back()?;
        Ok(self.b.asm.jmp(self.b.code(self.retired))?)
    }

    fn put_back(&mut self) -> Made {
        self.b.asm.mov(rax, Builder::stack(aside::RAX))?;
        Ok(self.b.asm.mov(rdx, Builder::stack(aside::RDX))?)
    }

    /// To the slow path, which comes back to `hub`, or to what is behind it when there will be no record.
    fn slow(&mut self) -> Made {
        self.b.bind(self.slow)?;
        self.b.asm.mov(Builder::stack(aside::RAX), rax)?;
        self.b.asm.mov(Builder::stack(aside::RDX), rdx)?;
        let [hub, again] = std::array::from_fn(|_| self.b.label());
        self.b.asm.lea(r11, qword_ptr(self.b.code(hub)))?;
        self.b
            .jump(To::There(self.plan.routine(Side::Return, Routine::Slow)))?;
        self.b.bind(hub)?;
        self.b.jump(To::Here(again))?;
        self.b.jump(To::Here(self.retired))?;
        self.b.bind(again)?;
        self.place_of_return_address()?;
        self.b.asm.jmp(self.b.code(self.section))?;
        let end = self.b.here()?;
        self.leave((self.slow, end));
        Ok(())
    }

    /// The results are in their registers.
    fn leave(&mut self, range: (Label, Label)) {
        self.b.on(Interruption::Leave, range, To::Here(self.retired));
    }

    fn restartable(&mut self, range: (Label, Label), started: Label) {
        self.b.on(Interruption::Signal, range, To::Here(started));
        self.b.on(Interruption::Fault, range, To::Here(self.retired));
        self.leave(range);
    }
}
