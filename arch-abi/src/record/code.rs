//! Recording code as it is handed out, for any architecture: bytes, what is put into them for each stub, and what an interruption does.

use super::{Areas, Hook, Interruption, Overwrite, Places, Recording, Resume, RingLayout, Unsupported};
use crate::addr::Addr;

/// Makes recording code for an architecture.
pub trait Recorder: Sync + std::fmt::Debug {
    /// The code that the stubs of a process share.
    ///
    /// # Errors
    /// The areas or the layout are not as the code needs them.
    fn common(&self, areas: &Areas, ring: &RingLayout) -> Result<Common, Unsupported>;

    /// The code of all stubs that record the same.
    ///
    /// # Errors
    /// It cannot be recorded.
    fn template(&self, recording: &Recording, common: &Common) -> Result<Template, Unsupported>;
}

/// The code at the start of both areas: what is done when a ring is full, captures, hooks of unwinders, and the tables for these.
#[derive(Debug, Clone)]
pub struct Common {
    pub(crate) areas: Areas,
    pub(crate) ring: RingLayout,
    pub(crate) entries: Part,
    pub(crate) returns: Part,
    /// What stubs jump to, in an order of the architecture's own; offsets in `entries` and `returns`.
    pub(crate) routines: [Vec<u32>; 2],
    pub(crate) hooks: [Template; 2],
}

impl Common {
    /// The bytes at the start of the area of entries.
    #[must_use]
    pub fn entries(&self) -> &[u8] {
        &self.entries.bytes
    }

    /// The bytes at the start of the area of return parts.
    #[must_use]
    pub fn returns(&self) -> &[u8] {
        &self.returns.bytes
    }

    /// What becomes of a thread that has stopped at `pc`. `None`: that is not in this code.
    #[must_use]
    pub fn resume(&self, pc: Addr, why: Interruption) -> Option<Resume> {
        let places = Places {
            entry: self.areas.entries.start,
            ret: self.areas.returns.start,
        };
        resume([&self.entries, &self.returns], &places, pc, why)
    }

    /// The stub of a hook, which calls on through the slot that it is placed with. It has no number.
    #[must_use]
    pub fn hook(&self, hook: Hook) -> &Template {
        let [find_object, iterate_phdr] = &self.hooks;
        match hook {
            Hook::FindObject => find_object,
            Hook::IteratePhdr => iterate_phdr,
        }
    }
}

/// The code of stubs that record the same.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) entry: Part,
    /// Empty, if the return is not recorded.
    pub(crate) ret: Part,
    /// Where in `ret` the function returns to.
    pub(crate) site: u32,
    /// What ends the recording of calls, and of returns.
    pub(crate) retire: [Option<(u32, Target)>; 2],
}

impl Template {
    /// Bytes of an entry.
    #[must_use]
    pub fn entry_len(&self) -> usize {
        self.entry.bytes.len()
    }

    /// Bytes of a return part: 0 if the return is not recorded.
    #[must_use]
    pub fn return_len(&self) -> usize {
        self.ret.bytes.len()
    }

    /// The bytes of the entry and of the return part of the call point `id`, whose slot is at `slot`.
    #[must_use]
    pub fn place(&self, places: &Places, id: u32, slot: Addr) -> (Vec<u8>, Vec<u8>) {
        let put = |part: &Part, at| part.placed(at, places, id, slot);
        (put(&self.entry, places.entry), put(&self.ret, places.ret))
    }

    /// Where the function returns to; `None` if the return is not recorded.
    #[must_use]
    pub fn return_site(&self, places: &Places) -> Option<Addr> {
        (self.return_len() != 0).then(|| places.ret.wrapping_add(self.site.into()))
    }

    /// What is to be written over the entry, and over the return part if there is one, so that both call and return through without
    /// recording and without a ring, for calls that are still to return when the tracer has left.
    #[must_use]
    pub fn retire(&self, places: &Places) -> [Option<Overwrite>; 2] {
        let [entry, ret] = self.retire;
        let jump = |at: Addr, found: Option<(u32, Target)>| {
            let (from, to) = found?;
            let at = at.wrapping_add(from.into());
            let [a, b, c, d] = relative(at.wrapping_add(5), to.resolve(places)).to_le_bytes();
            // jmp rel32
            Some(Overwrite {
                at,
                bytes: [0xe9, a, b, c, d],
            })
        };
        [jump(places.entry, entry), jump(places.ret, ret)]
    }

    /// What becomes of a thread that has stopped at `pc`. `None`: that is not in this stub.
    #[must_use]
    pub fn resume(&self, places: &Places, pc: Addr, why: Interruption) -> Option<Resume> {
        resume([&self.entry, &self.ret], places, pc, why)
    }
}

/// A piece of code that can lie anywhere in its area.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part {
    pub(crate) bytes: Vec<u8>,
    pub(crate) patches: Vec<Patch>,
    /// Earlier ones go first.
    pub(crate) moves: Vec<Move>,
}

/// What is put into the code of a stub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patch {
    pub(crate) at: u32,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// The number of the call point, masked, is added to these 32 bits.
    Id(u32),
    /// The 64 bits of the slot's address.
    Slot,
    /// 32 bits, counted from their end.
    Relative(Target),
}

/// A place in recording code.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Entry(u32),
    Return(u32),
    Fixed(Addr),
}

impl Target {
    fn resolve(self, places: &Places) -> Addr {
        match self {
            Self::Entry(offset) => places.entry.wrapping_add(offset.into()),
            Self::Return(offset) => places.ret.wrapping_add(offset.into()),
            Self::Fixed(at) => at,
        }
    }
}

/// Threads that are interrupted from `from` until before `to` go on at `target`; `None`: where they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) why: Interruption,
    pub(crate) target: Option<Target>,
}

impl Part {
    fn placed(&self, at: Addr, places: &Places, id: u32, slot: Addr) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for patch in &self.patches {
            match patch.what {
                What::Id(mask) => {
                    let half = self.word(patch.at).wrapping_add(id & mask);
                    put(&mut bytes, patch.at, &half.to_le_bytes());
                }
                What::Slot => put(&mut bytes, patch.at, &slot.get().to_le_bytes()),
                What::Relative(target) => {
                    let end = at.wrapping_add(u64::from(patch.at) + 4);
                    let distance = relative(end, target.resolve(places));
                    put(&mut bytes, patch.at, &distance.to_le_bytes());
                }
            }
        }
        bytes
    }

    fn word(&self, at: u32) -> u32 {
        let bytes = self.bytes.get(at as usize..).and_then(<[u8]>::first_chunk);
        bytes.copied().map_or(0, u32::from_le_bytes)
    }
}

/// The low half of a difference. Areas are so near to each other that it is all of it.
pub(crate) fn relative(from: Addr, to: Addr) -> u32 {
    let [a, b, c, d, ..] = to.get().wrapping_sub(from.get()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn put(bytes: &mut [u8], at: u32, value: &[u8]) {
    let at = at as usize;
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn resume(parts: [&Part; 2], places: &Places, pc: Addr, why: Interruption) -> Option<Resume> {
    for (part, at) in parts.into_iter().zip([places.entry, places.ret]) {
        let Some(offset) = pc.offset_from(at).and_then(|offset| u32::try_from(offset).ok()) else {
            continue;
        };
        if offset as usize >= part.bytes.len() {
            continue;
        }
        let found = |step: &&Move| step.why == why && (step.from..step.to).contains(&offset);
        let target = part.moves.iter().find(found).and_then(|step| step.target);
        return Some(target.map_or(Resume::AsIs, |target| Resume::At(target.resolve(places))));
    }
    None
}
