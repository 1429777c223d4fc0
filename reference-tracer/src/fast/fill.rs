//! From the records of a call to what every engine hands to decoding: a raw call, a raw return, and the memory that was captured.

use arch_abi::{Addr, Arch, CType, FpRegs};
use arrayvec::ArrayVec;
use fast_ring::{Call, Capture as Content, End, Words};

use super::wants::Wants;
use crate::memory::TargetMemory;
use crate::value::{RawCall, RawReturn};
use arch_abi::record::{CallFields, Capture, Length, Pointer, Step};

/// What a guess looks at to tell text from a pointer.
const WORD: usize = 8;

/// Memory as it was when a call was made, or when it returned. The buffers are used again and again.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    regions: ArrayVec<Region, { CallFields::CAPTURES }>,
    bytes: Vec<u8>,
}

/// One capture.
#[derive(Clone, Copy, Debug)]
struct Region {
    at: u64,
    start: usize,
    len: usize,
    /// More may follow, which was not captured.
    cut: bool,
}

impl Recorded {
    /// Forgets everything but keeps the buffers.
    pub fn clear(&mut self) {
        self.regions.clear();
        self.bytes.clear();
    }

    /// Adds a capture whose way begins with a pointer to `at`. Where the way leads is told by what was captured before; one
    /// that leads nowhere has found nothing.
    fn add_behind(&mut self, at: u64, capture: &Capture, content: Content<'_>) {
        let end = capture
            .through
            .steps()
            .try_fold(at, |at, step| self.follow(at, step));
        if let Some(end) = end {
            self.add(end, capture.length, content);
        }
    }

    /// Where a pointer leads that is in captured memory.
    fn follow(&self, at: u64, step: Step) -> Option<u64> {
        let word = |at: u64| {
            let (bytes, _) = self.from(at)?;
            Some(u64::from_le_bytes(*bytes.first_chunk()?))
        };
        let number = match step {
            Step::Word(offset) => return word(at.wrapping_add(offset.into())),
            Step::VaArg(number) => number,
        };
        let (object, _) = self.from(at)?;
        let abi = Arch::X86_64.abi();
        let mut list = abi.va_start(at, object.get(..abi.va_list_size())?)?;
        for _ in 0..number {
            abi.va_arg(&CType::Pointer, &mut list)?;
        }
        word(abi.va_arg(&CType::Pointer, &mut list)?)
    }

    /// Adds a capture that begins at `at`.
    fn add(&mut self, at: u64, length: Length, content: Content<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(content.bytes);
        if content.end == End::Whole {
            match length {
                Length::String { .. } => self.bytes.push(0), // which is not recorded
                // A guess looks at a whole word, which mostly has zeros where a short text or a pointer has ended.
                Length::Guess { .. } => {
                    let len = (content.bytes.len() + 1).max(WORD);
                    self.bytes.resize(start + len, 0);
                }
                Length::Fixed(_) | Length::Counted { .. } => {}
            }
        }
        let region = Region {
            at,
            start,
            len: self.bytes.len() - start,
            cut: content.end == End::Cut,
        };
        // A record has no more captures than its shape, and that no more than these.
        let _ = self.regions.try_push(region);
    }

    /// What was captured from `at` on, and whether more may follow. `None`: nothing was tried there.
    ///
    /// What begins at `at` counts before what only holds it, and of several the longest.
    fn from(&self, at: u64) -> Option<(&[u8], bool)> {
        let exact = self.regions.iter().filter(|region| region.at == at);
        let found = exact.max_by_key(|region| region.len).or_else(|| {
            let holds = |region: &&Region| at.wrapping_sub(region.at) < region.len as u64;
            let left = |region: &&Region| region.len as u64 - at.wrapping_sub(region.at);
            self.regions.iter().filter(holds).max_by_key(left)
        })?;
        let skip = usize::try_from(at.wrapping_sub(found.at)).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(found.start..found.start + found.len)?;
        Some((bytes.get(skip..)?, found.cut))
    }
}

/// Memory of which only what was captured is there, and what does not change.
///
/// At a return, what was captured then comes before what was captured at the call.
#[derive(Clone, Copy)]
pub struct Moments<'a> {
    /// At the return; at the call, nothing.
    pub ret: Option<&'a Recorded>,
    /// At the call.
    pub call: &'a Recorded,
    /// Memory that cannot have changed since, such as a program's constants.
    pub constant: &'a dyn TargetMemory,
}

impl TargetMemory for Moments<'_> {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let next = at.get().wrapping_add(done as u64);
            let found = self
                .ret
                .and_then(|ret| ret.from(next))
                .or_else(|| self.call.from(next));
            let Some((bytes, cut)) = found else {
                return done + self.constant.read(Addr::new(next), &mut buf[done..]);
            };
            let len = bytes.len().min(buf.len() - done);
            buf[done..done + len].copy_from_slice(&bytes[..len]);
            done += len;
            if !cut || len == 0 {
                break; // a string has ended here, or what can be read
            }
        }
        done
    }
}

/// Where no memory is: only the low half of a stack pointer is recorded, and nothing is to be read by it.
const NOT_CANONICAL: u64 = 1 << 63;

impl Wants {
    /// Fills the raw record of a call and the memory that was captured with it. The thread, the call point and the time are left as
    /// they are: only the caller knows them.
    pub fn fill_call(&self, record: &Call<'_>, call: &mut RawCall, memory: &mut Recorded) {
        let fields = &self.recording.call;
        let ints = usize::from(fields.ints);
        call.sp = Addr::new(NOT_CANONICAL | u64::from(record.stack_pointer()));
        call.return_address = Addr::new(record.caller().unwrap_or(0));
        call.words = [0; 8];
        call.word_count = fields.ints;
        call.stack.clear();
        call.stack
            .extend_from_slice(&call.return_address.get().to_le_bytes());
        for (index, word) in record.words().iter().enumerate() {
            match call.words.get_mut(index).filter(|_| index < ints) {
                Some(slot) => *slot = word,
                None => call.stack.extend_from_slice(&word.to_le_bytes()),
            }
        }
        call.fp = vectors(record.floats());
        memory.clear();
        for (capture, content) in fields.captures.iter().zip(record.captures().iter()) {
            memory.add_behind(pointer(capture, call, 0), capture, content);
        }
    }

    /// Fills the raw record of a return and the memory that was captured with it. `call` is the raw record of its call. The time is left
    /// as it is.
    pub fn fill_return(&self, record: &Call<'_>, call: &RawCall, ret: &mut RawReturn, memory: &mut Recorded) {
        memory.clear();
        ret.words = [0; 2];
        ret.errno = None;
        ret.fp = vectors(record.floats());
        let Some(fields) = &self.recording.ret else { return };
        let ints = usize::from(fields.ints);
        for (slot, word) in ret.words.iter_mut().zip(record.words().iter().take(ints)) {
            *slot = word;
        }
        if fields.errno.is_some() {
            // An int: the low half of its word.
            ret.errno = record.words().get(ints).map(|word| {
                let [a, b, c, d, ..] = word.to_le_bytes();
                i32::from_le_bytes([a, b, c, d])
            });
        }
        for (capture, content) in fields.captures.iter().zip(record.captures().iter()) {
            memory.add_behind(pointer(capture, call, ret.words[0]), capture, content);
        }
    }
}

/// The address at which a capture begins.
fn pointer(capture: &Capture, call: &RawCall, result: u64) -> u64 {
    match capture.pointer {
        Pointer::Int(index) => call.words.get(usize::from(index)).copied().unwrap_or(0),
        Pointer::Stack(index) => {
            let start = 8 + 8 * usize::from(index); // past the return address
            let word = call.stack.get(start..).and_then(|bytes| bytes.first_chunk());
            word.map_or(0, |word| u64::from_le_bytes(*word))
        }
        Pointer::Result => result,
    }
}

/// A register set with these low halves of the vector registers; `None` where there are none.
fn vectors(floats: Words<'_>) -> Option<FpRegs> {
    if floats.is_empty() {
        return None;
    }
    // Intel SDM, "FXSAVE Area": XMM0 at byte 160, each 16 bytes.
    let mut bytes = [0; 512];
    for (slot, word) in bytes[160..].chunks_exact_mut(16).zip(floats.iter()) {
        slot[..8].copy_from_slice(&word.to_le_bytes());
    }
    FpRegs::from_regset(&bytes).ok()
}
