//! A region of shared memory: its header and its rings.

use crate::consumer::Consumer;
use crate::damage::Damage;
use crate::format::{
    BLOCK_WORDS, CONSUMER_DIED, CONSUMER_TID, DROP, MAGIC, SPIN, WAIT, block,
    header::{self, ASLEEP, BEAT, CONSUMER, ON_FULL, PATIENCE},
};
use crate::host::{Host, low};
use crate::layout::{Layout, LayoutError};
use crate::producer::Producer;
use crate::word::Word;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;

/// The words of a header or of a control block, by byte offset.
#[derive(Debug)]
pub(crate) struct Block<'m, W>(&'m [W; BLOCK_WORDS]);

impl<W> Clone for Block<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Block<'_, W> {}

impl<'m, W> Block<'m, W> {
    /// The block that lies `offset` bytes into `words`.
    fn at(words: &'m [W], offset: usize) -> Option<Block<'m, W>> {
        words.get(offset / 8..)?.first_chunk().map(Block)
    }

    /// The word at one of the offsets of [`crate::format`].
    #[inline]
    pub(crate) fn word(self, offset: usize) -> &'m W {
        // All offsets are constants below the block's size, which a test checks.
        &self.0[offset / 8 % BLOCK_WORDS]
    }
}

/// What a thread does whose ring is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// It waits, and nothing is lost while the consumer lives.
    Wait,
    /// It goes on, and its lost records are counted.
    Drop,
    /// It waits as with [`Wait`](OnFull::Wait), but makes no system call for it: for programs that would be killed for one. It keeps its
    /// processor busy meanwhile, and does not wake a consumer that sleeps, which has to look by itself.
    Spin,
}

/// Why memory is not a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegionError {
    /// There are fewer words than the layout takes.
    #[error("a region of {needed} words in {given}")]
    Short {
        /// Words that it takes.
        needed: usize,
        /// Words that there are.
        given: usize,
    },
    /// It does not begin as a region of this version does.
    #[error("no region of this version begins with {0:#018x}")]
    Magic(u64),
    /// Its header tells sizes that no region can have.
    #[error("the region's sizes")]
    Layout(#[from] LayoutError),
}

/// Shared memory that holds rings.
///
/// A region is what both sides see: the consumer [makes](Region::create) it, and whoever comes later [adopts](Region::adopt) it.
/// Its sizes are kept outside of the shared memory, and are not asked for there again.
#[derive(Debug)]
pub struct Region<'m, W = AtomicU64> {
    words: &'m [W],
    header: Block<'m, W>,
    layout: Layout,
}

impl<W> Clone for Region<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Region<'_, W> {}

impl<'m, W: Word> Region<'m, W> {
    /// Makes a region in `words`, which are all zero, as fresh memory is.
    ///
    /// Rings that are full make their threads wait; nobody is attending yet, so that all go on, see [`attend`](Region::attend).
    ///
    /// # Errors
    ///
    /// When there are too few words.
    pub fn create(words: &'m [W], layout: Layout) -> Result<Region<'m, W>, RegionError> {
        let region = Region::over(words, layout)?;
        let sizes = [
            (header::RINGS, layout.rings()),
            (header::RING_BYTES, layout.ring_bytes()),
            (header::MAX_RECORD, layout.max_record()),
        ];
        for (at, size) in sizes {
            region.header.word(at).store(size as u64, Ordering::Relaxed);
        }
        for ring in region.rings() {
            ring.word(block::LIMIT).store(layout.reach(), Ordering::Relaxed);
        }
        region.header.word(header::MAGIC).store(MAGIC, Ordering::Release);
        Ok(region)
    }

    /// Finds the region that another has made in `words`: a tracer that has died, or the process at the other end.
    ///
    /// # Errors
    ///
    /// When no region of this version is there, or it does not fit into `words`.
    pub fn adopt(words: &'m [W]) -> Result<Region<'m, W>, RegionError> {
        let header = Block::at(words, 0).ok_or(RegionError::Short {
            needed: BLOCK_WORDS,
            given: words.len(),
        })?;
        let magic = header.word(header::MAGIC).load(Ordering::Acquire);
        if magic != MAGIC {
            return Err(RegionError::Magic(magic));
        }
        let size = |at| usize::try_from(header.word(at).load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let layout = Layout::new(
            size(header::RINGS),
            size(header::RING_BYTES),
            size(header::MAX_RECORD),
        )?;
        Region::over(words, layout)
    }

    fn over(words: &'m [W], layout: Layout) -> Result<Region<'m, W>, RegionError> {
        let short = RegionError::Short {
            needed: layout.words(),
            given: words.len(),
        };
        let words = words.get(..layout.words()).ok_or(short)?;
        let header = Block::at(words, 0).ok_or(short)?;
        Ok(Region {
            words,
            header,
            layout,
        })
    }

    /// The region's sizes.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// One of the rings.
    #[must_use]
    pub fn ring(&self, index: usize) -> Option<Ring<'m, W>> {
        let data = self.layout.data_at(index)? / 8;
        Some(Ring {
            header: self.header,
            block: Block::at(self.words, self.layout.block_at(index)?)?,
            data: self.words.get(data..data + self.layout.data_bytes() / 8)?,
            layout: self.layout,
        })
    }

    /// All rings, in order.
    pub fn rings(&self) -> impl Iterator<Item = Ring<'m, W>> + use<'m, W> {
        let region = *self;
        (0..region.layout.rings()).filter_map(move |index| region.ring(index))
    }

    /// From now on this thread drains, and producers may wait for it.
    ///
    /// `tid` is the caller's thread id. The thread should put the word at [`CONSUMER`] on its robust list
    /// (`set_robust_list(2)`), so that the kernel tells of its death at once. `patience` is how long, in ticks of the time stamps, a
    /// producer waits while the [beat](Region::beat) stands still.
    pub fn attend(&self, tid: u32, patience: u64) {
        self.header.word(PATIENCE).store(patience, Ordering::Relaxed);
        self.beat();
        self.header
            .word(CONSUMER)
            .store(u64::from(tid) & CONSUMER_TID, Ordering::Release);
    }

    /// Nobody drains any more: waiting producers go on, and count what they lose.
    pub fn leave(&self, host: &impl Host<W>) {
        self.header.word(CONSUMER).store(0, Ordering::Release);
        for ring in self.rings() {
            ring.wake_producer(host);
        }
    }

    /// The consumer is well. To be called at least four times in the time of its patience, also while it waits for something else
    /// (by another thread, if need be): a producer that waits goes on without recording when the beat stands still for that long.
    pub fn beat(&self) {
        self.header.word(BEAT).add(1);
    }

    /// What threads do from now on whose ring is full.
    pub fn set_on_full(&self, on_full: OnFull) {
        let value = match on_full {
            OnFull::Wait => WAIT,
            OnFull::Drop => DROP,
            OnFull::Spin => SPIN,
        };
        self.header.word(ON_FULL).store(value, Ordering::Relaxed);
    }

    /// Whether producers make no system call: [`OnFull::Spin`].
    #[must_use]
    pub fn spins(&self) -> bool {
        spins(self.header)
    }

    /// From now on a producer that has filled a quarter of its ring, or waits for room, stores 0 into the
    /// [word](Region::asleep_word) by which the consumer sleeps, and wakes who sleeps on it, unless it is to [spin](OnFull::Spin). For a consumer that sleeps in its own way, or on
    /// several regions: after this it looks once more whether [`Consumer::unread`] is a quarter or more of any ring.
    pub fn fall_asleep(&self) {
        self.header.word(ASLEEP).store(1, Ordering::Relaxed);
        // Either a producer sees this, or what it published before it looked is seen by who looks now.
        W::fence();
    }

    /// The word whose low half is 1 while the consumer sleeps.
    #[must_use]
    pub fn asleep_word(&self) -> &'m W {
        self.header.word(ASLEEP)
    }

    /// Sleeps until a producer has filled a quarter of its ring or waits for room, or for `at_most`. It may return early.
    ///
    /// `consumers` are those of all rings that are in use. What lies in a ring below a quarter wakes nobody: `at_most` is how
    /// late it may be read.
    pub fn sleep<'c>(
        &self,
        consumers: impl IntoIterator<Item = &'c Consumer<'m, W>>,
        host: &impl Host<W>,
        at_most: Duration,
    ) where
        W: 'c,
        'm: 'c,
    {
        let asleep = self.asleep_word();
        self.fall_asleep();
        let stride = self.layout.stride();
        if consumers.into_iter().all(|consumer| consumer.unread() < stride) {
            host.wait(asleep, 1, at_most);
        }
        asleep.store(0, Ordering::Relaxed);
    }
}

/// One thread's ring.
#[derive(Debug)]
pub struct Ring<'m, W = AtomicU64> {
    header: Block<'m, W>,
    block: Block<'m, W>,
    data: &'m [W],
    layout: Layout,
}

impl<W> Clone for Ring<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Ring<'_, W> {}

impl<'m, W: Word> Ring<'m, W> {
    /// Tells the recording code where its memory lies: the addresses of the ring's data and of the region's header in its process,
    /// and what it knows its thread by. This crate makes no use of them.
    pub fn bind(&self, data: u64, header: u64, owner: u64) {
        for (at, value) in [
            (block::DATA, data),
            (block::HEADER, header),
            (block::OWNER, owner),
        ] {
            self.word(at).store(value, Ordering::Release);
        }
    }

    /// Whether the words that [`bind`](Ring::bind) has stored are still those: something else may have written over them since, and over what
    /// was recorded.
    ///
    /// # Errors
    ///
    /// The first that is not.
    pub fn is_bound_to(&self, data: u64, header: u64, owner: u64) -> Result<(), Damage> {
        for (at, value) in [
            (block::DATA, data),
            (block::HEADER, header),
            (block::OWNER, owner),
        ] {
            let found = self.word(at).load(Ordering::Acquire);
            if found != value {
                return Err(Damage::Block { at, found });
            }
        }
        Ok(())
    }

    /// Who uses the ring, as its memory tells: a hint for a tracer that adopts a region. `None`: nobody.
    #[must_use]
    pub fn thread(&self) -> Option<u64> {
        Some(self.word(block::THREAD).load(Ordering::Relaxed)).filter(|&tid| tid != 0)
    }

    /// The side that records. There must be one at a time: the thread itself, or, while that is stopped outside of its recording
    /// code or gone, who traces it.
    pub fn producer<'h, H: Host<W>>(&self, host: &'h H) -> Producer<'m, 'h, W, H> {
        Producer::new(*self, host)
    }

    /// The side that reads. There must be one.
    #[must_use]
    pub fn consumer(&self) -> Consumer<'m, W> {
        Consumer::new(*self)
    }

    #[inline]
    pub(crate) fn word(&self, offset: usize) -> &'m W {
        self.block.word(offset)
    }

    #[inline]
    pub(crate) fn header(&self, offset: usize) -> &'m W {
        self.header.word(offset)
    }

    #[inline]
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The words of the ring from a position on: at least the longest record's.
    #[inline]
    pub(crate) fn data_from(&self, position: u64) -> &'m [W] {
        let at = usize::try_from((position & self.layout.mask()) / 8).unwrap_or(usize::MAX);
        self.data.get(at..).unwrap_or_default()
    }

    /// Whether somebody drains, as far as the region's header tells.
    pub(crate) fn attended(&self) -> bool {
        let consumer = self.header(CONSUMER).load(Ordering::Acquire);
        consumer & CONSUMER_TID != 0 && consumer & CONSUMER_DIED == 0
    }

    /// Whether producers may make no system call.
    pub(crate) fn spins(&self) -> bool {
        spins(self.header)
    }

    /// Makes a producer that waits look again. What it is to see was stored before.
    pub(crate) fn wake_producer(&self, host: &impl Host<W>) {
        W::fence();
        let waiting = self.word(block::WAITING);
        if waiting.load(Ordering::Relaxed) != 0 {
            // Cleared before the wake word moves: a producer that has seen it move, and waits again, is not overlooked.
            waiting.store(0, Ordering::Relaxed);
            let wake = self.word(block::WAKE);
            wake.add(1);
            host.wake(wake);
        }
    }

    /// Wakes the consumer if it sleeps. What it is to see was stored before.
    pub(crate) fn wake_consumer(&self, host: &impl Host<W>) {
        W::fence();
        let asleep = self.header(ASLEEP);
        if low(asleep.load(Ordering::Relaxed)) != 0 && !self.spins() {
            asleep.store(0, Ordering::Relaxed);
            host.wake(asleep);
        }
    }
}

/// What a header says of producers: that they make no system call.
fn spins<W: Word>(header: Block<'_, W>) -> bool {
    header.word(ON_FULL).load(Ordering::Relaxed) == SPIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::BLOCK_BYTES;

    fn memory(words: usize) -> Vec<AtomicU64> {
        std::iter::repeat_with(AtomicU64::default).take(words).collect()
    }

    #[test]
    fn a_region_is_found_again() {
        let layout = Layout::new(2, 256, 64).unwrap();
        let words = memory(layout.words());
        assert_eq!(Region::adopt(&words).unwrap_err(), RegionError::Magic(0));
        Region::create(&words, layout).unwrap();
        assert_eq!(Region::adopt(&words).unwrap().layout(), layout);
    }

    #[test]
    fn a_control_block_that_was_written_over_is_told() {
        let layout = Layout::new(2, 256, 64).unwrap();
        let words = memory(layout.words());
        let region = Region::create(&words, layout).unwrap();
        let ring = region.ring(1).unwrap();
        ring.bind(3, 4, 5);
        assert_eq!(ring.is_bound_to(3, 4, 5), Ok(()));
        for at in [block::DATA, block::HEADER, block::OWNER] {
            let word = &words[(layout.block_at(1).unwrap() + at) / 8];
            let good = word.swap(9, Ordering::Relaxed);
            let found = ring.is_bound_to(3, 4, 5);
            assert_eq!(found, Err(Damage::Block { at, found: 9 }));
            word.store(good, Ordering::Relaxed);
        }
        assert_eq!(ring.is_bound_to(3, 4, 5), Ok(()));
    }

    #[test]
    fn sizes_in_the_header_are_not_believed() {
        let layout = Layout::new(2, 256, 64).unwrap();
        let words = memory(layout.words());
        Region::create(&words, layout).unwrap();
        for (at, value) in [
            (header::RINGS, 3),
            (header::RINGS, u64::MAX),
            (header::RING_BYTES, 512),
            (header::RING_BYTES, 255),
            (header::MAX_RECORD, 1 << 40),
        ] {
            let word = &words[at / 8];
            let good = word.swap(value, Ordering::Relaxed);
            assert!(Region::adopt(&words).is_err(), "{at:#x}: {value:#x}");
            word.store(good, Ordering::Relaxed);
        }
        assert!(Region::adopt(&words).is_ok());
        assert!(Region::adopt(&words[..10]).is_err());
    }

    #[test]
    fn offsets_are_words_of_a_block_and_the_sides_share_no_line() {
        let producer = [
            block::HEAD,
            block::CACHED_LIMIT,
            block::DATA,
            block::HEADER,
            block::OWNER,
            block::LOST,
        ];
        let consumer = [block::LIMIT, block::WAKE, block::THREAD];
        let both = [block::WAITING];
        let lines = |offsets: &[usize], line: usize| {
            assert!(
                offsets
                    .iter()
                    .all(|at| at % 8 == 0 && at / 64 == line && *at < BLOCK_BYTES)
            );
        };
        lines(&producer, 0);
        lines(&[block::LOST_TOLD, block::GAVE_UP], 0);
        lines(&consumer, 1);
        lines(&both, 2);
        lines(&[block::FREE], 3);
        lines(
            &[
                header::MAGIC,
                header::RINGS,
                header::RING_BYTES,
                header::MAX_RECORD,
                ON_FULL,
                PATIENCE,
            ],
            0,
        );
        lines(&[CONSUMER, BEAT], 1);
        lines(&[ASLEEP], 2);
    }
}
