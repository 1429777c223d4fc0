//! The numbers of the format, for code that is made at run time: offsets, bits, kinds. `FORMAT.md` explains them.
//!
//! Offsets are in bytes. All words are little-endian.

/// First word of a region: the bytes `rltring` and the version of this format.
pub const MAGIC: u64 = u64::from_le_bytes(*b"rltring\x01");

/// Bytes of a region's header, and of a ring's control block.
pub const BLOCK_BYTES: usize = 256;
/// Words of a header or a control block.
pub const BLOCK_WORDS: usize = BLOCK_BYTES / 8;
/// Bytes of a cache line: what one side writes shares none with what the other writes.
pub const LINE_BYTES: usize = 64;

/// The region's header.
pub mod header {
    /// [`MAGIC`](super::MAGIC).
    pub const MAGIC: usize = 0x00;
    /// How many rings the region has.
    pub const RINGS: usize = 0x08;
    /// Bytes of a ring's data without its tail room: a power of two.
    pub const RING_BYTES: usize = 0x10;
    /// The longest record, in bytes.
    pub const MAX_RECORD: usize = 0x18;
    /// What a thread does whose ring is full: [`WAIT`](super::WAIT) or [`DROP`](super::DROP).
    pub const ON_FULL: usize = 0x20;
    /// How long a thread waits for a consumer that does not beat, in ticks of the time stamps.
    pub const PATIENCE: usize = 0x28;
    /// Low half: the consumer's thread id, a robust futex (`get_robust_list(2)`). 0: nobody drains.
    pub const CONSUMER: usize = 0x40;
    /// Moves at least four times in [`PATIENCE`] while the consumer is well.
    pub const BEAT: usize = 0x48;
    /// The consumer's: room for the entry by which [`CONSUMER`] is on its robust list. As far before it in every region, so that one list
    /// holds them all.
    pub const ROBUST: usize = 0x50;
    /// Low half, a futex: 1 while the consumer sleeps and wants to be woken.
    pub const ASLEEP: usize = 0x80;
}

/// A ring's control block. A producer's thread finds it by a register of its own (x86-64: the base of `gs`).
pub mod block {
    /// Bytes ever published. Moved last, by one instruction.
    pub const HEAD: usize = 0x00;
    /// A record may begin while [`HEAD`] is below this: the producer's own copy of [`LIMIT`], at most a quarter ring ahead.
    pub const CACHED_LIMIT: usize = 0x08;
    /// The address of the data in the producer's memory. Set by who made the ring, and not used by this crate.
    pub const DATA: usize = 0x10;
    /// The address of the region's header in the producer's memory. As [`DATA`].
    pub const HEADER: usize = 0x18;
    /// What tells the owning thread from others that have inherited the register. As [`DATA`].
    pub const OWNER: usize = 0x20;
    /// Records ever dropped.
    pub const LOST: usize = 0x28;
    /// The count that the last [`NOTE_LOST`](super::NOTE_LOST) told of.
    pub const LOST_TOLD: usize = 0x30;
    /// 1 and above: the beat, plus 1, at which the producer gave up waiting. 0: it has not.
    pub const GAVE_UP: usize = 0x38;
    /// What [`HEAD`] must be below for there to be room for any record. The consumer's.
    pub const LIMIT: usize = 0x40;
    /// Low half, a futex: moves when a waiting producer is to look again. The consumer's.
    pub const WAKE: usize = 0x48;
    /// Who uses the ring: a thread id, or 0. Written while nobody records. The consumer's.
    pub const THREAD: usize = 0x50;
    /// 1 while the producer waits for room.
    pub const WAITING: usize = 0x80;
    /// From here to the end of the block this crate touches nothing: room for the recording code.
    pub const FREE: usize = 0xc0;
}

/// [`header::ON_FULL`]: wait for room.
pub const WAIT: u64 = 0;
/// [`header::ON_FULL`]: drop the record and count it.
pub const DROP: u64 = 1;
/// [`header::ON_FULL`]: wait for room without a system call, and make none to wake the consumer.
pub const SPIN: u64 = 2;

/// Set by the kernel in [`header::CONSUMER`] when that thread dies (`FUTEX_OWNER_DIED`, `get_robust_list(2)`).
pub const CONSUMER_DIED: u64 = 0x4000_0000;
/// The bits of [`header::CONSUMER`] that hold the thread id (`FUTEX_TID_MASK`).
pub const CONSUMER_TID: u64 = 0x3fff_ffff;

/// One futex wait lasts at most this long: then a producer looks whether the consumer still lives.
pub const WAIT_AT_MOST: std::time::Duration = std::time::Duration::from_millis(20);

/// The low bits of a record's first half word: the call point, or what a note tells.
pub const ID_BITS: u32 = 20;
/// How many call points there can be.
pub const MAX_IDS: u32 = 1 << ID_BITS;
/// Where the kind begins.
pub const KIND_SHIFT: u32 = ID_BITS;
/// The kind's bits, shifted down.
pub const KIND_MASK: u32 = 7;
/// Where the length begins, in words. A length in bytes, shifted by three less, is the same.
pub const LENGTH_SHIFT: u32 = 23;
/// The longest record that a length can tell, in bytes.
pub const LONGEST_RECORD: usize = 511 * 8;
/// Where in its first word a record has the low half of the stack pointer.
pub const STACK_POINTER: usize = 4;

/// A call whose return will be recorded, if its shape says so.
pub const CALL: u32 = 1;
/// A call made by a jump from a function whose own return is recorded: that return ends both.
pub const TAIL_CALL: u32 = 2;
/// A return.
pub const RETURN: u32 = 3;
/// Something other than a call: see `NOTE_*`.
pub const NOTE: u32 = 4;

/// Note: one word, the count of all records dropped so far.
pub const NOTE_LOST: u32 = 1;
/// Note: thread id and time stamp. The thread's records follow.
pub const NOTE_THREAD_START: u32 = 2;
/// Note: thread id and time stamp. No more records of this thread follow.
pub const NOTE_THREAD_END: u32 = 3;
/// Note: time stamp, and what `CLOCK_MONOTONIC` and `CLOCK_REALTIME` were then, in nanoseconds.
pub const NOTE_CLOCK: u32 = 4;

/// The low bits of a capture's first half word: how many bytes were captured.
pub const CAPTURE_BITS: u32 = 12;
/// Above them, capture: all there was.
pub const CAPTURE_WHOLE: u16 = 0;
/// Capture: cut at the bound, there is more.
pub const CAPTURE_CUT: u16 = 1;
/// Capture: what follows could not be read.
pub const CAPTURE_FAULT: u16 = 2;
/// Capture: the pointer was null.
pub const CAPTURE_NULL: u16 = 3;
/// Bytes before a capture's content.
pub const CAPTURE_HEAD_BYTES: usize = 2;

/// The first half word of a record of `bytes` bytes (a multiple of 8, at most [`LONGEST_RECORD`]).
///
/// Recording code has this as an immediate; where captures make the length vary, it is made with the fixed part's length,
/// and the bytes of the captures, shifted by `LENGTH_SHIFT - 3`, are added.
#[must_use]
pub const fn first_half(kind: u32, id: u32, bytes: u32) -> u32 {
    (bytes / 8) << LENGTH_SHIFT | (kind & KIND_MASK) << KIND_SHIFT | (id & (MAX_IDS - 1))
}
