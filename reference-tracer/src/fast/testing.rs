//! What tests of this module need: a process of numbers, a stub in Rust, and a ring in which it records.

use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use arch_abi::{Addr, FpRegs};
use fast_ring::{Body, Captured, End, Layout, OneProcess, Record, Region, Shape};

use super::wants::Wants;
use crate::memory::TargetMemory;
use crate::proto::{Direction, Plan};
use arch_abi::record::{Capture, Count, Length, Pointer, Step};

/// xorshift64*: the same values in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Bytes at an address, with nothing readable around them.
#[derive(Clone)]
pub(super) struct Arena {
    at: u64,
    bytes: Vec<u8>,
}

impl Arena {
    /// Strings of all kinds, numbers and addresses.
    fn new(at: u64, random: &mut Random) -> Self {
        const PIECES: [&[u8]; 14] = [
            b"text",
            b"ab\0",
            b"\0",
            b"a longer text, longer than what is shown of it by default\0",
            b"\xc5\xbelu\xc5\xa5\0",
            b"\xff\xfe\x01\0",
            b"line\n\tand \"quote\"\\\0",
            b"\x01\0\0\0",
            b"\x05\0\0\0\x06\0\0\0\0\0\0\0",
            b"\0\0\0\0\0\0\0\0",
            b"\x40\x20\x10\0\0\0\0\0",
            b"W\0\0\0i\0\0\0d\0\0\0\0\0\0\0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"PUUUUU\0\0",
        ];
        let mut bytes = Vec::new();
        while bytes.len() < 0x3000 {
            bytes.extend_from_slice(random.one(&PIECES));
        }
        bytes.truncate(0x3000);
        let mut arena = Self { at, bytes };
        arena.point_into_itself(random);
        arena
    }

    /// Puts pointers to itself everywhere, so that there is something behind a pointer's pointer.
    fn point_into_itself(&mut self, random: &mut Random) {
        for index in (0..self.bytes.len() / 8).filter(|index| index % 5 == 0) {
            let word = self.address(random).to_le_bytes();
            self.bytes[8 * index..8 * index + 8].copy_from_slice(&word);
        }
    }

    fn read(&self, at: u64) -> Option<&[u8]> {
        let skip = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.bytes.get(skip..)
    }

    fn change(&mut self, random: &mut Random) {
        for _ in 0..4000 {
            let index = random.below(self.bytes.len());
            let byte = random.one(&[0, 1, b'x', b'y', 0xff]);
            self.bytes[index] = byte;
        }
    }

    /// An address in it, often near its end.
    fn address(&self, random: &mut Random) -> u64 {
        let len = self.bytes.len() as u64;
        match random.below(4) {
            0 => self.at + len - 1 - random.next() % 80,
            1 => self.at + random.next() % (len / 8) * 8,
            _ => self.at + random.next() % len,
        }
    }
}

/// The memory of a process at one moment.
#[derive(Clone)]
pub(super) struct World {
    /// What nobody changes.
    pub(super) inside: Rc<Arena>,
    /// What functions fill.
    pub(super) outside: Rc<Arena>,
    pub(super) stack: Arena,
    pub(super) format: Arena,
}

pub(super) const SP: u64 = 0x7ffd_1234_5008;

impl World {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut stack = Arena::new(SP, random);
        stack.bytes.clear();
        Self {
            inside: Rc::new(Arena::new(0x5555_5040_0000, random)),
            outside: Rc::new(Arena::new(0x7f12_2000_0000, random)),
            stack,
            format: Arena {
                at: 0x0040_2000,
                bytes: vec![0],
            },
        }
    }

    /// The same after functions have filled what they fill.
    pub(super) fn changed(&self, random: &mut Random) -> Self {
        let mut outside = Arena::clone(&self.outside);
        outside.change(random);
        Self {
            outside: Rc::new(outside),
            ..self.clone()
        }
    }
}

impl TargetMemory for World {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        let arenas = [&*self.inside, &*self.outside, &self.stack, &self.format];
        let Some(bytes) = arenas.iter().find_map(|arena| arena.read(at.get())) else {
            return 0;
        };
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        len
    }
}

/// A call and its return, as the machine has them.
pub(super) struct Machine {
    pub(super) ints: [u64; 6],
    pub(super) floats: [u64; 8],
    pub(super) stack: Vec<u64>,
    pub(super) results: [u64; 2],
    pub(super) result_floats: [u64; 2],
    pub(super) errno: i32,
    pub(super) before: World,
    pub(super) after: World,
}

/// A word that may be anything.
fn any_word(random: &mut Random, arena: &Arena) -> u64 {
    match random.below(16) {
        0 => 0,
        1 => random.next(),
        2 => u64::MAX,
        3 => random.next() % 0x1_0000,
        4 => 1 << random.below(64),
        5..=8 => random.next() % 64,
        _ => arena.address(random),
    }
}

/// A format that asks for few arguments.
fn any_format(random: &mut Random) -> Vec<u8> {
    const PIECES: [&str; 18] = [
        "%d", "%s", "%s", "%5.3s", "%.*s", "%c", "%p", "%lu", "%f", "%g", "%x", "%%", "%m", "text ", ", \n",
        "%hhd", "%zu", "%%s",
    ];
    let count = random.below(5);
    let mut format: Vec<u8> = (0..count).flat_map(|_| random.one(&PIECES).bytes()).collect();
    format.push(0);
    format
}

impl Machine {
    /// A call of `plan`, with values that fit it more or less.
    pub(super) fn new(plan: &Plan, random: &mut Random, before: &World, after: &World) -> Self {
        let mut machine = Self {
            ints: [0; 6],
            floats: [0; 8],
            stack: vec![0; 40],
            results: [0; 2],
            result_floats: [0; 2],
            errno: i32::try_from(random.below(140)).unwrap(),
            before: before.clone(),
            after: after.clone(),
        };
        for word in machine.ints.iter_mut().chain(&mut machine.stack) {
            *word = any_word(random, &before.inside);
        }
        for word in machine.floats.iter_mut().chain(&mut machine.result_floats) {
            let float = f64::from(i32::try_from(random.below(2000)).unwrap() - 1000) / 8.0;
            *word = if random.below(2) == 0 {
                float.to_bits()
            } else {
                random.next()
            };
        }
        for word in &mut machine.results {
            *word = any_word(random, &before.outside);
        }
        machine.place_params(plan, random);
        let words = machine.stack.iter().flat_map(|word| word.to_le_bytes());
        machine.before.stack.bytes = 0x1234_u64.to_le_bytes().into_iter().chain(words).collect();
        machine.after.stack = machine.before.stack.clone();
        machine.after.format = machine.before.format.clone();
        machine
    }

    /// What a callee fills is where only callees write; formats are formats.
    fn place_params(&mut self, plan: &Plan, random: &mut Random) {
        for planned in &plan.params {
            let Some(piece) = planned.place.as_ref().and_then(|place| place.pieces().first()) else {
                continue;
            };
            let slot = match piece.source {
                arch_abi::Source::Int(index) => self.ints.get_mut(usize::from(index)),
                arch_abi::Source::Stack(offset) => self.stack.get_mut(offset as usize / 8 - 1),
                _ => None,
            };
            let Some(slot) = slot else { continue };
            if planned.param.direction != Direction::In {
                *slot = any_word(random, &self.before.outside);
            }
            if planned.param.pack.is_some() && random.below(8) != 0 {
                self.before.format.bytes = any_format(random);
                *slot = self.before.format.at;
            }
        }
    }

    fn word(&self, pointer: Pointer) -> u64 {
        match pointer {
            Pointer::Int(index) => self.ints[usize::from(index)],
            Pointer::Stack(index) => self.stack[usize::from(index)],
            Pointer::Result => self.results[0],
        }
    }

    /// What a stub finds behind the pointers of these captures.
    fn follow_all(&self, captures: &[Capture], memory: &World) -> Vec<(Vec<u8>, End)> {
        let follow = |capture| self.follow(capture, memory);
        captures.iter().map(follow).collect()
    }

    /// What a stub finds behind a pointer.
    fn follow(&self, capture: &Capture, memory: &World) -> (Vec<u8>, End) {
        let mut at = self.word(capture.pointer);
        for step in capture.through.steps() {
            if at == 0 {
                return (Vec::new(), End::Null);
            }
            match next(at, step, memory) {
                Some(next) => at = next,
                None => return (Vec::new(), End::Fault),
            }
        }
        let guessed = (0x1_0000..1 << 47).contains(&at);
        let (most, exact) = match capture.length {
            Length::Guess { .. } if !guessed => return (Vec::new(), End::Null),
            _ if at == 0 => return (Vec::new(), End::Null),
            Length::String { most } | Length::Guess { most } => (usize::from(most), None),
            Length::Fixed(len) => (usize::from(len), Some(u64::from(len))),
            Length::Counted { count, element, most } => {
                let count = self.count(count);
                (usize::from(most), Some(count.saturating_mul(element.into())))
            }
        };
        let len = exact.map_or(most, |exact| usize::try_from(exact).unwrap().min(most));
        let mut bytes = vec![0; len];
        let got = memory.read(Addr::new(at), &mut bytes);
        bytes.truncate(got);
        if exact.is_none()
            && let Some(end) = bytes.iter().position(|&byte| byte == 0)
        {
            bytes.truncate(end);
            return (bytes, End::Whole);
        }
        let end = match exact {
            _ if got < len => End::Fault,
            Some(exact) if exact == len as u64 => End::Whole,
            _ => End::Cut,
        };
        (bytes, end)
    }

    fn count(&self, count: Count) -> u64 {
        let (word, bytes, signed) = match count {
            Count::Int { index, bytes, signed } => (self.ints[usize::from(index)], bytes, signed),
            Count::Result { bytes, signed } => (self.results[0], bytes, signed),
        };
        let word = if bytes == 4 { word & 0xffff_ffff } else { word };
        let negative = signed && word >> (u32::from(bytes) * 8 - 1) == 1;
        if negative { 0 } else { word }
    }
}

/// The pointer that a step from `at` finds. As stubs do it.
fn next(at: u64, step: Step, memory: &World) -> Option<u64> {
    let word = |at: u64| {
        let mut bytes = [0; 8];
        (memory.read(Addr::new(at), &mut bytes) == 8).then_some(u64::from_le_bytes(bytes))
    };
    let number = match step {
        Step::Word(offset) => return word(at.wrapping_add(offset.into())),
        Step::VaArg(number) => u32::from(number),
    };
    let first = u32::try_from(word(at)? & 0xffff_ffff).unwrap();
    let (offset, in_registers) = (first.wrapping_add(8 * number), word(at + 16)?);
    if offset <= 40 {
        return word(in_registers.wrapping_add(offset.into()));
    }
    word(word(at + 8)?.wrapping_add(offset.wrapping_sub(48).into()))
}

/// A machine's return address.
pub(super) const CALLER: u64 = 0x5555_5555_1234;

/// As records take it.
fn captured(found: &[(Vec<u8>, End)]) -> Vec<Captured<'_>> {
    found
        .iter()
        .map(|(bytes, end)| Captured { bytes, end: *end })
        .collect()
}

/// A ring with a call and its return in it.
pub(super) struct Ring {
    words: Vec<AtomicU64>,
    host: OneProcess,
}

impl Ring {
    pub(super) fn new() -> Self {
        let layout = Layout::new(1, 1 << 14, fast_ring::format::LONGEST_RECORD).unwrap();
        let words: Vec<_> = std::iter::repeat_with(AtomicU64::default)
            .take(layout.words())
            .collect();
        Region::create(&words, layout).unwrap();
        Self {
            words,
            host: OneProcess::new(),
        }
    }

    /// Records a call and its return as a stub does, and hands both records to `sink`.
    pub(super) fn record(
        &self,
        wants: &Wants,
        machine: &Machine,
        stamps: (u64, u64),
        sink: impl FnOnce(&fast_ring::Call<'_>, Option<&fast_ring::Call<'_>>),
    ) {
        let mut handed = false;
        self.record_damaged(
            wants,
            machine,
            stamps,
            |_| {},
            |call, ret| {
                handed = true;
                assert_eq!(ret.is_some(), wants.recording.ret.is_some());
                sink(call, ret);
            },
        );
        assert!(handed, "no call was recorded");
    }

    /// As [`record`](Self::record), with something done to the bytes of each record. What is no record then goes no further.
    pub(super) fn record_damaged(
        &self,
        wants: &Wants,
        machine: &Machine,
        stamps: (u64, u64),
        mut damage: impl FnMut(&mut [u8]),
        sink: impl FnOnce(&fast_ring::Call<'_>, Option<&fast_ring::Call<'_>>),
    ) {
        let region = Region::adopt(&self.words).unwrap();
        let ring = region.ring(0).unwrap();
        let mut consumer = ring.consumer();
        let mut producer = ring.producer(&self.host);
        let call = &wants.recording.call;
        let ints = &machine.ints[..usize::from(call.ints)];
        let words = [ints, &machine.stack[..usize::from(call.stack)]].concat();
        let found = machine.follow_all(&call.captures, &machine.before);
        let captures = captured(&found);
        let body = Body {
            stack_pointer: 0x1234_5008,
            stamp: call.stamp.then_some(stamps.0),
            caller: call.caller.then_some(CALLER),
            words: &words,
            floats: &machine.floats[..usize::from(call.floats)],
            captures: &captures,
        };
        let _ = producer.call(0, &body).expect("the record is not too long");
        if let Some(ret) = &wants.recording.ret {
            let mut words = machine.results[..usize::from(ret.ints)].to_vec();
            // What is in the upper half of the word does not matter.
            words.extend(
                ret.errno
                    .map(|_| 0xdead_0000_0000 | u64::from(machine.errno.cast_unsigned())),
            );
            let found = machine.follow_all(&ret.captures, &machine.after);
            let captures = captured(&found);
            let body = Body {
                stack_pointer: 0x1234_5008,
                stamp: ret.stamp.then_some(stamps.1),
                caller: None,
                words: &words,
                floats: &machine.result_floats[..usize::from(ret.floats)],
                captures: &captures,
            };
            let _ = producer.ret(0, &body).expect("the record is not too long");
        }
        let shapes: [Shape; 1] = [wants.shape()];
        let mut records = Vec::new();
        consumer.drain_bytes(&self.host, |bytes| {
            records.push(bytes.expect("a record as it should be").to_vec());
        });
        for record in &mut records {
            damage(record);
        }
        let parsed = records.iter().map(|bytes| fast_ring::parse(bytes, &shapes[..]));
        let mut calls = parsed.filter_map(|record| match record {
            Ok(Record::Call(call) | Record::Return(call)) => Some(call),
            _ => None,
        });
        if let Some(call) = calls.next() {
            sink(&call, calls.next().as_ref());
        }
    }
}

/// A register set with these vector registers.
pub(super) fn vectors(words: &[u64]) -> FpRegs {
    let mut bytes = [0; 512];
    for (index, word) in words.iter().enumerate() {
        bytes[160 + 16 * index..168 + 16 * index].copy_from_slice(&word.to_le_bytes());
    }
    FpRegs::from_regset(&bytes).unwrap()
}
