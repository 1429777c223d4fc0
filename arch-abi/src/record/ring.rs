//! The ring that stubs write to, as far as they know it.

/// The format of the ring that stubs write to: offsets and bits. Who makes the ring knows them.
///
/// With the feature `fast-ring` it is made of a `fast_ring::Layout`; any other ring will do whose protocol is the same
/// (`FORMAT.md` of `fast-ring`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of the ring's own format, which documents them
pub struct RingLayout {
    // The control block of a thread's ring.
    pub head: u32,
    pub cached_limit: u32,
    pub data: u32,
    pub header: u32,
    pub owner: u32,
    /// The address of the control block itself: a word that the format leaves free, set by who makes the ring.
    pub own: u32,
    pub lost: u32,
    pub lost_told: u32,
    pub gave_up: u32,
    pub limit: u32,
    pub wake: u32,
    pub waiting: u32,
    // The header.
    pub on_full: u32,
    pub patience: u32,
    pub consumer: u32,
    pub beat: u32,
    pub asleep: u32,
    /// What [`on_full`](Self::on_full) holds when records are to be dropped.
    pub drop: u32,
    /// What it holds when threads are to wait without a system call.
    pub spin: u32,
    pub consumer_tid: u32,
    pub consumer_died: u32,
    /// The longest wait, in nanoseconds.
    pub wait_at_most: u32,
    // Records.
    pub id_bits: u32,
    pub kind_shift: u32,
    pub length_shift: u32,
    pub call: u32,
    pub tail_call: u32,
    pub ret: u32,
    pub note: u32,
    pub note_lost: u32,
    pub capture_bits: u32,
    pub capture_whole: u16,
    pub capture_cut: u16,
    pub capture_fault: u16,
    pub capture_null: u16,
    /// What a position is masked with to find its place in the data: bytes of a ring minus 1.
    pub ring_mask: u64,
    /// Bytes of the longest record.
    pub max_record: u64,
}

/// The address of the control block is in the first word that the format leaves free: who makes the ring puts it there.
#[cfg(feature = "fast-ring")]
impl From<&fast_ring::Layout> for RingLayout {
    fn from(layout: &fast_ring::Layout) -> Self {
        use fast_ring::format::{self, block, header};
        let offset = |offset: usize| u32::try_from(offset).unwrap_or(0); // all are below 256
        let mask = |bits: u64| u32::try_from(bits).unwrap_or(0);
        Self {
            head: offset(block::HEAD),
            cached_limit: offset(block::CACHED_LIMIT),
            data: offset(block::DATA),
            header: offset(block::HEADER),
            owner: offset(block::OWNER),
            own: offset(block::FREE),
            lost: offset(block::LOST),
            lost_told: offset(block::LOST_TOLD),
            gave_up: offset(block::GAVE_UP),
            limit: offset(block::LIMIT),
            wake: offset(block::WAKE),
            waiting: offset(block::WAITING),
            on_full: offset(header::ON_FULL),
            patience: offset(header::PATIENCE),
            consumer: offset(header::CONSUMER),
            beat: offset(header::BEAT),
            asleep: offset(header::ASLEEP),
            drop: mask(format::DROP),
            spin: mask(format::SPIN),
            consumer_tid: mask(format::CONSUMER_TID),
            consumer_died: mask(format::CONSUMER_DIED),
            wait_at_most: format::WAIT_AT_MOST.subsec_nanos(),
            id_bits: format::ID_BITS,
            kind_shift: format::KIND_SHIFT,
            length_shift: format::LENGTH_SHIFT,
            call: format::CALL,
            tail_call: format::TAIL_CALL,
            ret: format::RETURN,
            note: format::NOTE,
            note_lost: format::NOTE_LOST,
            capture_bits: format::CAPTURE_BITS,
            capture_whole: format::CAPTURE_WHOLE,
            capture_cut: format::CAPTURE_CUT,
            capture_fault: format::CAPTURE_FAULT,
            capture_null: format::CAPTURE_NULL,
            ring_mask: layout.mask(),
            max_record: layout.max_record() as u64,
        }
    }
}
