//! The rings of the traced threads: memory that they share with the tracer, and who records in which.

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arch_abi::{Addr, Arch};
use fast_ring::{Consumer, Damage, Host, Layout, Merge, OnFull, Region};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use ptrace_core::{Stopped, Tid};

use super::FastError;
use crate::sys::{self, SharedWords};
use crate::tracer::code::{map_file, system_call};

/// How many threads record into one piece of shared memory. One ring more is for those that are not to record.
const RINGS: usize = 16;

/// Where in a control block recording code finds the block's address.
pub(super) const OWN: usize = fast_ring::format::block::FREE;

/// The ring that no thread owns: whose register leads there records nothing.
const NOBODYS: usize = 0;

/// How far apart in time the records of different threads may be published that are recorded at the same time: some 20 µs on today's
/// processors. A thread that takes longer was preempted just there.
const WINDOW: u64 = 50_000;

/// Sleeping and waking between processes, and the clock of the time stamps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Futex;

impl Host<AtomicU64> for Futex {
    fn wait(&self, word: &AtomicU64, seen: u32, at_most: Duration) {
        sys::futex_wait(word, seen, at_most);
    }

    fn wake(&self, word: &AtomicU64) {
        sys::futex_wake(word);
    }

    fn now(&self) -> u64 {
        sys::ticks()
    }
}

/// Memory with rings for some threads, shared with the processes that have it mapped.
#[derive(Debug)]
pub(super) struct Chunk {
    words: SharedWords,
    region: Region<'static>,
    /// Where it lies in those processes.
    at: Addr,
    on_full: OnFull,
    /// There as long as this is.
    alive: Arc<()>,
    /// The rings that no thread uses.
    free: std::cell::RefCell<Vec<usize>>,
}

impl Chunk {
    /// The sizes of the shared memory for rings of `ring_bytes`.
    pub(super) fn layout(ring_bytes: usize) -> Result<Layout, FastError> {
        Ok(Layout::new(
            RINGS + 1,
            ring_bytes,
            fast_ring::format::LONGEST_RECORD,
        )?)
    }

    /// Makes shared memory in the process of `stopped`. At `name`, a string of that process, it has its name.
    pub(super) fn make(
        stopped: &Stopped,
        name: Addr,
        layout: Layout,
        on_full: OnFull,
        patience: u64,
    ) -> Result<Rc<Self>, FastError> {
        let arch = stopped.regs()?.arch();
        let calls = arch.abi().system_calls();
        let flags = u64::from(libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        let fd = system_call(stopped, calls.memfd_create, [name.get(), flags, 0, 0, 0, 0])?;
        let made = Self::share(stopped, arch, fd, layout, on_full, patience);
        // It stays open only in a process that has died meanwhile.
        let _ = system_call(stopped, calls.close, [fd, 0, 0, 0, 0, 0]);
        made.map(Rc::new)
    }

    fn share(
        stopped: &Stopped,
        arch: Arch,
        fd: u64,
        layout: Layout,
        on_full: OnFull,
        patience: u64,
    ) -> Result<Self, FastError> {
        let bytes = layout.bytes().next_multiple_of(4096);
        let file = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{}/fd/{fd}", stopped.tid()))
            .map_err(FastError::Share)?;
        seal(&file, bytes).map_err(FastError::Share)?;
        let words = sys::map_shared(&file, bytes).map_err(FastError::Share)?;
        let region = Region::create(words, layout)?;
        let at = map_file(stopped, arch, fd, bytes as u64).inspect_err(|_| sys::give_back_shared(words))?;
        region.set_on_full(on_full);
        // The process may not outlive a thread that dies: see `PATIENCE`. The thread's id is for whoever looks.
        region.attend(nix::unistd::gettid().as_raw().unsigned_abs(), patience);
        Ok(Self {
            words,
            region,
            at,
            on_full,
            alive: Arc::default(),
            free: (1..=RINGS).rev().collect::<Vec<_>>().into(),
        })
    }

    /// Where it lies in the processes that have it, and its size.
    pub(super) fn range(&self) -> (Addr, u64) {
        (self.at, self.words.len() as u64 * 8)
    }

    /// Its words, and what is there as long as they are used for this.
    pub(super) fn words(&self) -> (SharedWords, Weak<()>) {
        (self.words, Arc::downgrade(&self.alive))
    }

    /// The shared memory, and what is there as long as it is used for this.
    pub(super) fn region(&self) -> (Region<'static>, Weak<()>) {
        (self.region, Arc::downgrade(&self.alive))
    }

    /// Threads that record here make no system call for it any more. Where they were to drop what has no room they still do, and nothing is
    /// waited for: a patience of 0.
    pub(super) fn restrict(&self) {
        if self.on_full == OnFull::Drop {
            self.region
                .attend(nix::unistd::gettid().as_raw().unsigned_abs(), 0);
        }
        self.region.set_on_full(OnFull::Spin);
    }

    /// The control block of the ring that no thread owns.
    pub(super) fn nobodys_block(&self) -> Addr {
        self.block(NOBODYS)
    }

    /// Tells recording code the address of its control block, which a base register does not show it.
    fn set_own(&self, ring: usize, block: Addr) {
        let offset = self.region.layout().block_at(ring).unwrap_or(0) + OWN;
        if let Some(word) = self.words.get(offset / 8) {
            word.store(block.get(), Ordering::Release);
        }
    }

    /// Tells a ring where its data lies in the process, and who may record in it. `None`: there is no such ring.
    fn bind(&self, ring: usize, owner: u64) -> Option<()> {
        let data = self.data(ring)?;
        self.region.ring(ring)?.bind(data.get(), self.at.get(), owner);
        Some(())
    }

    /// Where a ring's data lies in the process.
    fn data(&self, ring: usize) -> Option<Addr> {
        let data = self.region.layout().data_at(ring)?;
        Some(self.at.wrapping_add(data as u64))
    }

    fn block(&self, ring: usize) -> Addr {
        let offset = self.region.layout().block_at(ring).unwrap_or(0);
        self.at.wrapping_add(offset as u64)
    }
}

/// Gives a new file its length, which it keeps.
fn seal(file: &File, bytes: usize) -> io::Result<()> {
    file.set_len(bytes as u64)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.region.leave(&Futex);
        sys::give_back_shared(self.words);
    }
}

/// A thread's place among the rings.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) tid: Tid,
    chunk: Rc<Chunk>,
    ring: usize,
    /// By what recording code knows its thread: [`Areas::owner`](arch_abi::record::Areas::owner).
    known_by: u64,
}

impl Lane {
    /// What something else has written into the ring's control block, if that can be told.
    fn damage(&self) -> Option<Damage> {
        let data = self.chunk.data(self.ring)?;
        let ring = self.chunk.region.ring(self.ring)?;
        ring.is_bound_to(data.get(), self.chunk.at.get(), self.known_by)
            .err()
    }
}

/// All rings that threads record in.
#[derive(Debug)]
pub(in crate::tracer) struct Lanes {
    /// The reading side of each.
    pub(super) consumers: Vec<Consumer<'static>>,
    pub(super) owners: Vec<Option<Lane>>,
    pub(super) merge: Merge,
    /// A region that nobody records in: what stands in place of a ring that was given up.
    empty: Region<'static>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            consumers: Vec::new(),
            owners: Vec::new(),
            merge: Merge::new(WINDOW),
            empty: empty_region(),
        }
    }
}

fn empty_region() -> Region<'static> {
    static WORDS: std::sync::OnceLock<Vec<AtomicU64>> = std::sync::OnceLock::new();
    let layout = Layout::new(1, 64, 16).unwrap_or_else(|error| unreachable!("{error}"));
    let words = WORDS.get_or_init(|| {
        std::iter::repeat_with(AtomicU64::default)
            .take(layout.words())
            .collect()
    });
    Region::create(words, layout).unwrap_or_else(|error| unreachable!("{error}"))
}

impl Lanes {
    /// Whether no thread records.
    pub(in crate::tracer) fn is_empty(&self) -> bool {
        self.owners.iter().all(Option::is_none)
    }

    /// The thread whose ring this is.
    pub(super) fn owner(&self, index: usize) -> Option<Tid> {
        Some(self.owners.get(index)?.as_ref()?.tid)
    }

    /// The index of a thread's ring.
    pub(super) fn of(&self, tid: Tid) -> Option<usize> {
        let is_of = |lane: &Option<Lane>| lane.as_ref().is_some_and(|lane| lane.tid == tid);
        self.owners.iter().position(is_of)
    }

    /// Gives a thread a ring of one of `chunks`; `None` if all are taken. `owner` is what recording code knows it by. Gives the
    /// address of its control block.
    pub(super) fn give(&mut self, tid: Tid, owner: u64, chunks: &[Rc<Chunk>]) -> Option<Addr> {
        let chunk = chunks.iter().find(|chunk| !chunk.free.borrow().is_empty())?;
        let ring = chunk.free.borrow_mut().pop()?;
        let block = chunk.block(ring);
        let mut consumer = chunk.region.ring(ring)?.consumer();
        consumer.hand_over(Some(u64::from(tid.raw().unsigned_abs())));
        chunk.bind(ring, owner)?;
        chunk.set_own(ring, block);
        let lane = Some(Lane {
            tid,
            chunk: Rc::clone(chunk),
            ring,
            known_by: owner,
        });
        if let Some(index) = self.owners.iter().position(Option::is_none) {
            self.merge.forget(index);
            (self.owners[index], self.consumers[index]) = (lane, consumer);
        } else {
            self.owners.push(lane);
            self.consumers.push(consumer);
        }
        Some(block)
    }

    /// A thread has its thread pointer now, and is known by it.
    pub(super) fn set_owner(&mut self, tid: Tid, owner: u64) {
        let lane = self.of(tid).and_then(|index| self.owners[index].as_mut());
        let Some(lane) = lane else { return };
        lane.known_by = owner;
        // A lane's ring is there.
        let _: Option<()> = lane.chunk.bind(lane.ring, owner);
    }

    /// What something else has written into the control block of a thread's ring, if that can be told.
    pub(super) fn damage(&self, tid: Tid) -> Option<Damage> {
        self.owners.get(self.of(tid)?)?.as_ref()?.damage()
    }

    /// A thread records no more; what it has recorded was read. Gives how many of its records were lost.
    pub(super) fn take_back(&mut self, tid: Tid) -> u64 {
        let Some(index) = self.of(tid) else { return 0 };
        let lost = self.consumers[index].lost();
        if let Some(lane) = self.owners[index].take() {
            if let Some(ring) = lane.chunk.region.ring(lane.ring) {
                ring.bind(0, 0, 0);
            }
            lane.chunk.free.borrow_mut().push(lane.ring);
        }
        if let Some(ring) = self.empty.ring(0) {
            self.consumers[index] = ring.consumer();
        }
        lost
    }
}
