//! Calls that are under way when the tracer leaves get their own return addresses back.
//!
//! A function that a stub has called returns into recording code, and unwinders are told of that code only as long as a tracer is there. An exception that
//! passed such a frame later would end the program, and the code would have to stay for good: servers are nearly always in a call,
//! such as `epoll_wait`. So each thread's stack is read where it is stopped, and each word on it that is the return address of a stub's
//! call is replaced by what the stub would return to.
//!
//! A word may be a copy: what an unwinder has in hand, a list of callers. What belongs to its place on the stack is then of an earlier call there.
//! Where a return address is found more than once, only those are replaced whose caller leads to that stub.

use std::ops::Range;

use arch_abi::record::{Interruption, RETURN_ADDRESS, Resume};
use arch_abi::{Addr, Arch};
use ptrace_core::{Memory, Stopped};
use rustc_hash::{FxHashMap, FxHashSet};

use super::areas::{Fast, HOOKS, Placed};
use crate::tracer::thread::StackMap;

/// So much of a stack is looked at, from its top.
const MOST: u64 = 4 << 20;
/// Bytes that are read at once.
const PIECE: usize = 1 << 16;
/// Bytes of a `call` that names its target by a distance, and of one that names a word by it.
const CALL: usize = 5;
const CALL_BY_WORD: u64 = 6;
const CALL_OPCODE: u8 = 0xe8;

/// What was found on a thread's stack.
#[derive(Debug, Clone, Default)]
pub(in crate::tracer) struct Frames {
    /// What was looked at.
    range: Range<u64>,
    /// How many calls got their return addresses back.
    given_back: usize,
    /// Whether something leads into recording code still, or may.
    remain: bool,
}

impl Frames {
    /// Nothing could be looked at.
    fn unknown() -> Self {
        Self {
            remain: true,
            ..Self::default()
        }
    }

    /// Whether calls may still return through recording code: those whose stack pointers after the return are `pending`, and, in
    /// a trace where nobody follows them, `open` ones.
    pub(super) fn may_return(&self, mut pending: impl Iterator<Item = Addr>, open: i64) -> bool {
        let counted = i64::try_from(self.given_back).unwrap_or(i64::MAX);
        // What is on this stack has its address back, or is there no more.
        self.remain || open > counted || pending.any(|sp_after| !self.range.contains(&(sp_after.get() - 8)))
    }
}

/// A word of a stack that is the address where a stub's function returns to.
struct Found {
    place: Addr,
    site: Addr,
    /// Where the stub would return to.
    home: Addr,
}

impl Fast {
    /// Gives the calls on a stopped thread's stack their return addresses back. No thread runs, this one is in no stub, and the program's code
    /// is as it was.
    pub(in crate::tracer) fn give_back_calls(
        &self,
        memory: &Memory,
        stopped: &Stopped,
        stacks: &mut StackMap,
    ) -> Frames {
        let Ok(regs) = stopped.regs() else {
            return Frames::unknown();
        };
        let sp = regs.sp();
        stacks.look_for(sp, stopped.tgid());
        let end = stacks.end_of(sp);
        end.map_or_else(Frames::unknown, |end| {
            self.give_back(memory, regs.arch(), sp, end)
        })
    }

    fn give_back(&self, memory: &Memory, arch: Arch, sp: Addr, end: Addr) -> Frames {
        let start = sp.get().next_multiple_of(8);
        let mut frames = Frames {
            range: start..end.get().min(start.saturating_add(MOST)),
            ..Frames::default()
        };
        frames.remain = frames.range.end < end.get();
        let mut found = Vec::new();
        for (place, word) in self.words(memory, &mut frames) {
            match self.returned_to(memory, place, word) {
                Some(one) => found.push(one),
                None => frames.remain |= !self.send_out(memory, place, word),
            }
        }
        let mut homes = FxHashMap::<Addr, FxHashSet<Addr>>::default();
        for one in &found {
            homes.entry(one.site).or_default().insert(one.home);
        }
        for one in &found {
            let is_sure = homes[&one.site].len() == 1 || self.leads_to(memory, arch, one);
            if is_sure && memory.write(one.place, &one.home.get().to_le_bytes()).is_ok() {
                frames.given_back += 1;
            } else {
                frames.remain = true;
            }
        }
        frames
    }

    /// The words of a stack that are addresses of recording code.
    fn words(&self, memory: &Memory, frames: &mut Frames) -> Vec<(Addr, Addr)> {
        let mut found = Vec::new();
        let mut piece = vec![0; PIECE];
        let mut at = frames.range.start;
        while at < frames.range.end {
            let len = usize::try_from(frames.range.end - at).map_or(PIECE, |left| left.min(PIECE));
            let Ok(read) = memory.read(Addr::new(at), &mut piece[..len]) else {
                frames.remain = true;
                break;
            };
            let (words, _) = piece[..read].as_chunks::<8>();
            let words = words.iter().map(|word| Addr::new(u64::from_le_bytes(*word)));
            let places = (0..).map(|index: u64| Addr::new(at + 8 * index));
            found.extend(places.zip(words).filter(|&(_, word)| self.is_code(word)));
            if read < len {
                frames.remain = true;
                break;
            }
            at += len as u64;
        }
        found
    }

    /// What a word says, if it is the address where a stub's function returns to.
    fn returned_to(&self, memory: &Memory, place: Addr, word: Addr) -> Option<Found> {
        let stub = self.placed_at(word)?;
        if stub.template.return_site(&stub.places) != Some(word) || self.is_hook(stub) {
            return None;
        }
        let mut home = [0; 8];
        memory.read_exact(RETURN_ADDRESS.of(place), &mut home).ok()?;
        let home = Addr::new(u64::from_le_bytes(home));
        (home.get() != 0 && !self.is_code(home)).then_some(Found {
            place,
            site: word,
            home,
        })
    }

    /// A handler was entered from recording code, which its thread goes back to: to where that calls or returns without a record. `false`: there
    /// is no such place.
    fn send_out(&self, memory: &Memory, place: Addr, word: Addr) -> bool {
        let Some(Resume::At(out)) = self.resume(word, Interruption::Leave) else {
            return false;
        };
        // That is recording code, too, unless all that is left to do is a jump: it has to stay.
        let is_written = memory.write(place, &out.get().to_le_bytes()).is_ok();
        is_written && !self.is_code(out)
    }

    /// The stub that has `at` in its return part.
    fn placed_at(&self, at: Addr) -> Option<&Placed> {
        if !self.is_return(at) {
            return None;
        }
        let placed = &self.stubs.placed;
        let after = placed.partition_point(|stub| stub.places.ret <= at);
        placed.get(after.checked_sub(1)?)
    }

    /// Whether a stub is of a hook: what its function gives is looked at there.
    fn is_hook(&self, stub: &Placed) -> bool {
        let mut hooks = self.stubs.by_slot.iter().filter(|((id, _), _)| *id >= HOOKS);
        hooks.any(|(_, &entry)| entry == stub.places.entry)
    }

    /// Whether the instruction before `home` calls through the slot of the stub that it would return from.
    fn leads_to(&self, memory: &Memory, arch: Arch, found: &Found) -> bool {
        let slot = || {
            let entry = self.placed_at(found.site)?.places.entry;
            let mut stubs = self.stubs.by_slot.iter();
            stubs.find_map(|((_, slot), &stub)| (stub == entry).then_some(*slot))
        };
        let by_word = || named_word(memory, arch, found.home.wrapping_sub(CALL_BY_WORD));
        let by_entry = || {
            let mut code = [0; CALL];
            memory
                .read_exact(found.home.wrapping_sub(CALL as u64), &mut code)
                .ok()?;
            let [CALL_OPCODE, distance @ ..] = code else {
                return None;
            };
            let distance = i64::from(i32::from_le_bytes(distance)).cast_unsigned();
            named_word(memory, arch, found.home.wrapping_add(distance))
        };
        slot().is_some_and(|slot| by_word() == Some(slot) || by_entry() == Some(slot))
    }
}

/// The word that the code at `at` goes through.
fn named_word(memory: &Memory, arch: Arch, at: Addr) -> Option<Addr> {
    let mut code = [0; 32];
    let len = memory.read(at, &mut code).ok()?;
    Some(arch.abi().loaded_operand(&code[..len], at)?.word)
}
