//! Where in a region its rings lie.

use crate::format::{BLOCK_BYTES, LINE_BYTES, LONGEST_RECORD};
use thiserror::Error;

/// The sizes of a region.
///
/// A region is its header, then a control block for each ring, then the data of each ring. A ring's data are its bytes
/// and, behind them, tail room: a record that begins in the last bytes of the ring runs on there, so that none is ever cut in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    rings: usize,
    ring_bytes: usize,
    max_record: usize,
}

/// Sizes that no region can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// There must be 1 to [`Layout::MAX_RINGS`] rings.
    #[error("a region has 1 to {max} rings, not {0}", max = Layout::MAX_RINGS)]
    Rings(u64),
    /// A ring has a power of two of bytes, at least two records of the longest, at most [`Layout::MAX_RING_BYTES`].
    #[error(
        "a ring has a power of two of bytes, at least two of the longest records and at most {max}, not {0}",
        max = Layout::MAX_RING_BYTES
    )]
    RingBytes(u64),
    /// The longest record is a multiple of 8 from 16 to [`LONGEST_RECORD`].
    #[error("the longest record is a multiple of 8 from 16 to {LONGEST_RECORD} bytes, not {0}")]
    MaxRecord(u64),
    /// The sum does not fit into the address space.
    #[error("the region does not fit into memory")]
    TooLarge,
}

impl Layout {
    /// The most rings of a region. A program with more threads takes another region.
    pub const MAX_RINGS: usize = 1 << 16;
    /// The most bytes of a ring.
    pub const MAX_RING_BYTES: usize = 1 << 30;

    /// A layout of `rings` rings of `ring_bytes` bytes, with records of at most `max_record` bytes.
    ///
    /// # Errors
    ///
    /// When a size is out of its bounds, which each error tells.
    pub fn new(rings: usize, ring_bytes: usize, max_record: usize) -> Result<Layout, LayoutError> {
        if !(1..=Layout::MAX_RINGS).contains(&rings) {
            return Err(LayoutError::Rings(rings as u64));
        }
        if !(16..=LONGEST_RECORD).contains(&max_record) || !max_record.is_multiple_of(8) {
            return Err(LayoutError::MaxRecord(max_record as u64));
        }
        let fits = 2 * max_record..=Layout::MAX_RING_BYTES;
        if !ring_bytes.is_power_of_two() || !fits.contains(&ring_bytes) {
            return Err(LayoutError::RingBytes(ring_bytes as u64));
        }
        let layout = Layout {
            rings,
            ring_bytes,
            max_record,
        };
        let blocks = BLOCK_BYTES * (1 + rings);
        rings
            .checked_mul(layout.data_bytes())
            .and_then(|data| data.checked_add(blocks))
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .map(|_| layout)
            .ok_or(LayoutError::TooLarge)
    }

    /// How many rings there are.
    #[must_use]
    pub fn rings(&self) -> usize {
        self.rings
    }

    /// Bytes of a ring, without its tail room.
    #[must_use]
    pub fn ring_bytes(&self) -> usize {
        self.ring_bytes
    }

    /// The longest record, in bytes.
    #[must_use]
    pub fn max_record(&self) -> usize {
        self.max_record
    }

    /// Bytes of the region: what memory for it must have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        BLOCK_BYTES * (1 + self.rings) + self.rings * self.data_bytes()
    }

    /// Bytes of the region in words of 8.
    #[must_use]
    pub fn words(&self) -> usize {
        self.bytes() / 8
    }

    /// Where the control block of a ring lies, in bytes from the region's start, if there is such a ring.
    #[must_use]
    pub fn block_at(&self, ring: usize) -> Option<usize> {
        (ring < self.rings).then(|| BLOCK_BYTES * (1 + ring))
    }

    /// Where the data of a ring lie, in bytes from the region's start, if there is such a ring.
    #[must_use]
    pub fn data_at(&self, ring: usize) -> Option<usize> {
        (ring < self.rings).then(|| BLOCK_BYTES * (1 + self.rings) + ring * self.data_bytes())
    }

    /// What recording code masks [`HEAD`](crate::format::block::HEAD) with to find its place in the data.
    #[must_use]
    pub fn mask(&self) -> u64 {
        self.ring_bytes as u64 - 1
    }

    /// Bytes of a ring with its tail room.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        self.ring_bytes + self.max_record.next_multiple_of(LINE_BYTES)
    }

    /// How far a head may be ahead of what was read for there to be room for any record.
    pub(crate) fn reach(&self) -> u64 {
        (self.ring_bytes - self.max_record) as u64
    }

    /// How far a producer goes without asking whether somebody is to be woken.
    pub(crate) fn stride(&self) -> u64 {
        self.ring_bytes as u64 / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded() {
        assert!(Layout::new(1, 64, 24).is_ok());
        assert_eq!(Layout::new(0, 64, 24), Err(LayoutError::Rings(0)));
        assert_eq!(Layout::new(1 << 17, 64, 24), Err(LayoutError::Rings(1 << 17)));
        assert_eq!(Layout::new(1, 96, 24), Err(LayoutError::RingBytes(96)));
        assert_eq!(Layout::new(1, 32, 24), Err(LayoutError::RingBytes(32)));
        assert_eq!(Layout::new(1, 64, 20), Err(LayoutError::MaxRecord(20)));
        assert_eq!(Layout::new(1, 64, 8), Err(LayoutError::MaxRecord(8)));
        assert_eq!(Layout::new(1, 1 << 20, 4096), Err(LayoutError::MaxRecord(4096)));
    }

    #[test]
    fn parts_do_not_overlap_and_fill_the_region() {
        let layout = Layout::new(3, 1024, 104).unwrap();
        assert_eq!(layout.block_at(0), Some(256));
        assert_eq!(layout.block_at(2), Some(768));
        assert_eq!(layout.data_at(0), Some(1024));
        let stride = layout.data_at(1).unwrap() - layout.data_at(0).unwrap();
        assert_eq!(stride, 1024 + 128);
        assert_eq!(layout.data_at(2).unwrap() + stride, layout.bytes());
        assert_eq!((layout.block_at(3), layout.data_at(3)), (None, None));
    }
}
