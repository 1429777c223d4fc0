//! What is done when a record may not begin where the head is: each quarter of a ring, and when it is full. See the ring's format,
//! "Producing".
//!
//! The stub has put `rax` and `rdx` aside, and `r11` has the place to come back to, where a jump of five bytes
//! stands for beginning again, and behind it goes on who has no record. Registers come back as they were, but `r11`.

use iced_x86::code_asm::{
    AsmMemoryOperand, AsmRegister64, dword_ptr, eax, ecx, edx, esi, qword_ptr, r8, r9, r10, r10d, r11, rax,
    rcx, rdi, rdx, rsi, rsp,
};

use super::aside;
use super::builder::{Builder, Label, Made, To};
use crate::record::{Interruption, RingLayout};

const NR_FUTEX: u32 = 202; // asm/unistd_64.h
const FUTEX_WAIT: u32 = 0; // linux/futex.h
const FUTEX_WAKE: u32 = 1;

/// Bytes of the jump in the stub that stands for beginning again.
const PAST_AGAIN: i32 = 5;

const SAVED: [(AsmRegister64, i32); 6] = [
    (rcx, aside::RCX),
    (rsi, aside::RSI),
    (rdi, aside::RDI),
    (r8, aside::R8),
    (r9, aside::R9),
    (r10, aside::R10),
];

struct Writer<'a> {
    b: &'a mut Builder,
    ring: &'a RingLayout,
    /// Step 1.
    look: Label,
    /// There is room.
    room: Label,
    /// Step 3.
    full: Label,
    /// Step 4.
    wait: Label,
    /// Step 7.
    lose: Label,
    /// Without a record and without counting it.
    miss: Label,
}

/// Writes the slow path.
pub(super) fn write(b: &mut Builder, ring: &RingLayout) -> Made<Label> {
    let [look, room, full, wait, lose, miss] = std::array::from_fn(|_| b.label());
    let mut w = Writer {
        b,
        ring,
        look,
        room,
        full,
        wait,
        lose,
        miss,
    };
    let begin = w.put_aside()?;
    let started = w.b.here()?;
    w.wake_consumer()?;
    w.look_for_room()?;
    w.tell_lost()?;
    w.b.bind(room)?;
    w.put_back()?;
    w.b.asm.jmp(r11)?;
    w.full()?;
    w.wait()?;
    w.lose()?;
    let end = w.b.here()?;
    w.b.on(Interruption::Fault, (started, end), To::Here(miss));
    w.b.on(Interruption::Leave, (started, end), To::Here(miss));
    let early = w.b.here()?;
    w.b.on(Interruption::Leave, (begin, started), To::Here(early));
    w.b.asm.add(r11, PAST_AGAIN)?;
    w.b.asm.jmp(r11)?;
    Ok(begin)
}

impl Writer<'_> {
    fn block(offset: u32) -> AsmMemoryOperand {
        Builder::block(offset)
    }

    fn put_aside(&mut self) -> Made<Label> {
        let begin = self.b.here()?;
        self.b.asm.mov(Builder::stack(aside::LINK), r11)?;
        for (register, at) in SAVED {
            self.b.asm.mov(Builder::stack(at), register)?;
        }
        Ok(begin)
    }

    fn put_back(&mut self) -> Made {
        self.b.asm.mov(rax, Builder::stack(aside::RAX))?;
        self.b.asm.mov(rdx, Builder::stack(aside::RDX))?;
        for (register, at) in SAVED {
            self.b.asm.mov(register, Builder::stack(at))?;
        }
        Ok(self.b.asm.mov(r11, Builder::stack(aside::LINK))?)
    }

    fn header(&mut self) -> Made {
        Ok(self.b.asm.mov(rdi, Self::block(self.ring.header))?)
    }

    /// Step 1.
    fn wake_consumer(&mut self) -> Made {
        self.b.bind(self.look)?;
        self.header()?;
        self.b.asm.mfence()?;
        let awake = self.b.label();
        self.b.asm.cmp(dword_ptr(rdi + self.ring.asleep), 1)?;
        self.b.asm.jne(self.b.code(awake))?;
        self.spins()?;
        self.b.asm.je(self.b.code(awake))?;
        self.b.asm.mov(dword_ptr(rdi + self.ring.asleep), 0)?;
        let cleared = self.b.here()?;
        self.b
            .asm
            .add(rdi, i32::try_from(self.ring.asleep).unwrap_or(0))?;
        self.b.asm.mov(esi, FUTEX_WAKE)?;
        self.b.asm.mov(edx, i32::MAX)?;
        self.b.asm.mov(eax, NR_FUTEX)?;
        self.b.asm.syscall()?;
        self.b.bind(awake)?;
        self.b.stay(Interruption::Signal, (cleared, awake)); // nobody else would wake the consumer
        Ok(())
    }

    /// Compares, with the header in `rdi`, whether no system call is to be made.
    fn spins(&mut self) -> Made {
        let spin = i32::try_from(self.ring.spin).unwrap_or(2);
        Ok(self.b.asm.cmp(qword_ptr(rdi + self.ring.on_full), spin)?)
    }

    /// Step 2. From here to where the note is published, an interrupted thread begins again.
    fn look_for_room(&mut self) -> Made {
        self.b.asm.mov(rcx, Self::block(self.ring.limit))?;
        self.b.asm.mov(rax, Self::block(self.ring.head))?;
        self.b.asm.mov(rdx, rax)?;
        self.b.asm.sub(rdx, rcx)?;
        self.b.asm.jns(self.b.code(self.full))?; // not below
        self.b.asm.neg(rdx)?;
        let near = self.b.label();
        let quarter = i32::try_from((self.ring.ring_mask + 1) / 4).unwrap_or(i32::MAX);
        self.b.asm.cmp(rdx, quarter)?;
        self.b.asm.jbe(self.b.code(near))?;
        self.b.asm.mov(edx, quarter)?;
        self.b.bind(near)?;
        self.b.asm.add(rax, rdx)?;
        Ok(self.b.asm.mov(Self::block(self.ring.cached_limit), rax)?)
    }

    fn tell_lost(&mut self) -> Made {
        let ring = self.ring;
        self.b.asm.mov(rcx, Self::block(ring.lost))?;
        self.b.asm.cmp(rcx, Self::block(ring.lost_told))?;
        self.b.asm.je(self.b.code(self.room))?;
        let mask = i32::try_from(ring.ring_mask).unwrap_or(i32::MAX);
        self.b.asm.mov(rax, Self::block(ring.head))?;
        self.b.asm.and(eax, mask)?;
        self.b.asm.add(rax, Self::block(ring.data))?;
        self.b.asm.mov(qword_ptr(rax + 8), rcx)?;
        // Two words, and no stack pointer.
        let first = 2 << ring.length_shift | ring.note << ring.kind_shift | ring.note_lost;
        self.b
            .asm
            .mov(qword_ptr(rax), i32::try_from(first).unwrap_or(0))?;
        self.b.asm.add(Self::block(ring.head), 16)?;
        let published = self.b.here()?;
        self.b
            .on(Interruption::Signal, (self.look, published), To::Here(self.look));
        self.b.asm.mov(Self::block(ring.lost_told), rcx)?;
        Ok(self.b.asm.jmp(self.b.code(self.look))?)
    }

    /// Step 3. `r8` gets the beat and `r9` the time: all that is kept over a wait.
    fn full(&mut self) -> Made {
        let ring = self.ring;
        self.b.bind(self.full)?;
        self.header()?;
        let drop = i32::try_from(ring.drop).unwrap_or(1);
        self.b.asm.cmp(qword_ptr(rdi + ring.on_full), drop)?;
        self.b.asm.je(self.b.code(self.lose))?;
        self.b.asm.mov(r8, qword_ptr(rdi + ring.beat))?;
        self.b.asm.lea(rcx, qword_ptr(r8 + 1))?;
        self.b.asm.cmp(rcx, Self::block(ring.gave_up))?;
        self.b.asm.je(self.b.code(self.lose))?;
        self.now()?;
        Ok(self.b.asm.mov(r9, rax)?)
    }

    fn now(&mut self) -> Made {
        self.b.asm.rdtsc()?;
        self.b.asm.shl(rdx, 32)?;
        Ok(self.b.asm.or(rax, rdx)?)
    }

    /// Steps 4 to 6. An interrupted thread begins again at 4: a handler may have cleared `WAITING`.
    fn wait(&mut self) -> Made {
        let ring = self.ring;
        self.b.bind(self.wait)?;
        self.b.asm.mov(r10, Self::block(ring.wake))?;
        self.b.asm.mov(Self::block(ring.waiting), 1)?;
        self.b.asm.mfence()?;
        let [still_full, beats, sleep] = std::array::from_fn(|_| self.b.label());
        self.b.asm.mov(rax, Self::block(ring.head))?;
        self.b.asm.cmp(rax, Self::block(ring.limit))?;
        self.b.asm.jns(self.b.code(still_full))?;
        self.b.asm.mov(Self::block(ring.waiting), 0)?;
        self.b.asm.jmp(self.b.code(self.look))?;
        self.b.bind(still_full)?;
        self.header()?;
        self.is_attended()?;
        self.b.asm.mov(rcx, qword_ptr(rdi + ring.beat))?;
        self.now()?;
        self.b.asm.cmp(rcx, r8)?;
        self.b.asm.jne(self.b.code(beats))?;
        self.b.asm.sub(rax, r9)?;
        self.b.asm.jb(self.b.code(sleep))?; // clocks of two processors need not agree
        self.b.asm.cmp(rax, qword_ptr(rdi + ring.patience))?;
        self.b.asm.jbe(self.b.code(sleep))?;
        self.b.asm.inc(rcx)?;
        self.b.asm.mov(Self::block(ring.gave_up), rcx)?;
        self.b.asm.jmp(self.b.code(self.lose))?;
        self.b.bind(beats)?;
        self.b.asm.mov(r8, rcx)?;
        self.b.asm.mov(r9, rax)?;
        self.b.bind(sleep)?;
        let futex = self.b.label();
        self.spins()?;
        self.b.asm.jne(self.b.code(futex))?;
        self.b.asm.pause()?;
        self.b.asm.jmp(self.b.code(self.wait))?;
        self.b.bind(futex)?;
        self.futex_wait()
    }

    fn is_attended(&mut self) -> Made {
        self.b.asm.mov(ecx, dword_ptr(rdi + self.ring.consumer))?;
        self.b.asm.test(ecx, self.ring.consumer_died)?;
        self.b.asm.jne(self.b.code(self.lose))?;
        self.b.asm.test(ecx, self.ring.consumer_tid)?;
        Ok(self.b.asm.je(self.b.code(self.lose))?)
    }

    /// Step 6. The time-out is relative (futex(2), `FUTEX_WAIT`).
    fn futex_wait(&mut self) -> Made {
        let ring = self.ring;
        let nanoseconds = i32::try_from(ring.wait_at_most).unwrap_or(0);
        self.b.asm.mov(Builder::stack(aside::TIMEOUT), 0)?;
        self.b.asm.mov(Builder::stack(aside::TIMEOUT + 8), nanoseconds)?;
        self.b.asm.mov(rdi, Self::block(ring.own))?;
        self.b.asm.add(rdi, i32::try_from(ring.wake).unwrap_or(0))?;
        self.b.asm.mov(esi, FUTEX_WAIT)?;
        self.b.asm.mov(edx, r10d)?;
        self.b.asm.lea(r10, qword_ptr(rsp + aside::TIMEOUT))?;
        self.b.asm.mov(eax, NR_FUTEX)?;
        self.b.asm.syscall()?;
        let waited = self.b.here()?;
        self.b
            .on(Interruption::Signal, (self.wait, waited), To::Here(self.wait));
        Ok(self.b.asm.jmp(self.b.code(self.wait))?)
    }

    /// Step 7, and the way back without a record.
    fn lose(&mut self) -> Made {
        self.b.bind(self.lose)?;
        self.b.asm.mov(Self::block(self.ring.waiting), 0)?;
        self.b.asm.add(Self::block(self.ring.lost), 1)?;
        self.b.bind(self.miss)?;
        self.put_back()?;
        self.b.asm.add(r11, PAST_AGAIN)?;
        Ok(self.b.asm.jmp(r11)?)
    }
}
