//! All that decoding knows of a process: bytes at addresses.

use arch_abi::Addr;

/// Memory that can be read. A tracee's, or a recording of it.
pub trait TargetMemory {
    /// Fills `buf` from `at` on and says how many bytes came before the first that can't be read.
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize;
}

impl<M: TargetMemory + ?Sized> TargetMemory for &M {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        (**self).read(at, buf)
    }
}

/// Memory of which nothing can be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMemory;

impl TargetMemory for NoMemory {
    fn read(&self, _at: Addr, _buf: &mut [u8]) -> usize {
        0
    }
}

/// One region of a [`Snapshot`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Where it begins in the process.
    pub at: Addr,
    /// How many bytes are wanted.
    pub len: usize,
    got: usize,
}

/// Bytes of a process as they were at one moment, taken by one vectored read.
///
/// [`want`](Self::want) what is needed, hand [`regions`](Self::regions) and
/// [`buffer`](Self::buffer) to one vectored read, and say with [`filled`](Self::filled) how many
/// bytes came. The buffers are used again for the next moment: nothing is allocated in the long run.
#[derive(Debug, Default)]
pub struct Snapshot {
    regions: Vec<Region>,
    bytes: Vec<u8>,
}

impl Snapshot {
    /// The most bytes of one snapshot, whatever a prototype asks for.
    pub const MAX_LEN: usize = 64 * 1024;
    /// The most regions: `IOV_MAX` is 1,024, and no call has so many pointers.
    pub const MAX_REGIONS: usize = 64;

    /// Forgets everything but keeps the buffers.
    pub fn clear(&mut self) {
        self.regions.clear();
        self.bytes.clear();
    }

    /// Asks for `len` bytes at `at`. What would go past the bounds of a snapshot is left out.
    pub fn want(&mut self, at: Addr, len: usize) {
        let room = Self::MAX_LEN - self.bytes.len();
        if len == 0 || len > room || self.regions.len() == Self::MAX_REGIONS {
            return;
        }
        self.regions.push(Region { at, len, got: 0 });
        self.bytes.resize(self.bytes.len() + len, 0);
    }

    /// The regions to read, in the order in which they fill [`buffer`](Self::buffer).
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Whether nothing is wanted, so that no read is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// Where the regions' bytes go, one region after the other.
    pub fn buffer(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The regions and the buffer at once, for a call that takes both.
    pub fn parts(&mut self) -> (&[Region], &mut [u8]) {
        (&self.regions, &mut self.bytes)
    }

    /// The first `len` bytes of the buffer are filled: what `process_vm_readv` returned. It stops at
    /// what it can't read, and the regions after that stay unread, though they may be readable.
    pub fn filled(&mut self, len: usize) {
        let mut left = len;
        for region in &mut self.regions {
            region.got = region.len.min(left);
            left -= region.got;
        }
    }

    /// Reads each region through `memory`: for memory that has no vectored read.
    pub fn fill_from(&mut self, memory: &dyn TargetMemory) {
        let mut start = 0;
        for region in &mut self.regions {
            let end = start + region.len;
            region.got = memory
                .read(region.at, &mut self.bytes[start..end])
                .min(region.len);
            start = end;
        }
    }

    /// The bytes that were captured from `at` on, as many as one region holds; empty for none.
    #[must_use]
    pub fn bytes_at(&self, at: Addr) -> &[u8] {
        let mut start = 0;
        for region in &self.regions {
            if let Some(skip) = at
                .offset_from(region.at)
                .and_then(|skip| usize::try_from(skip).ok())
                && skip < region.got
            {
                return &self.bytes[start + skip..start + region.got];
            }
            start += region.len;
        }
        &[]
    }
}

impl TargetMemory for Snapshot {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        let found = self.bytes_at(at);
        let len = found.len().min(buf.len());
        buf[..len].copy_from_slice(&found[..len]);
        len
    }
}

/// A snapshot first, and the process itself for what the snapshot does not hold.
#[derive(Clone, Copy)]
pub struct Layered<'a> {
    /// What was captured.
    pub snapshot: &'a Snapshot,
    /// Where the rest is read.
    pub memory: &'a dyn TargetMemory,
}

impl TargetMemory for Layered<'_> {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        let captured = self.snapshot.read(at, buf);
        if captured == buf.len() {
            return captured;
        }
        let rest = at.wrapping_add(captured as u64);
        captured + self.memory.read(rest, &mut buf[captured..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten bytes at 100.
    struct Ten;

    impl TargetMemory for Ten {
        fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
            let mut count = 0;
            for (place, at) in buf.iter_mut().zip(at.get()..) {
                if !(100..110).contains(&at) {
                    break;
                }
                *place = u8::try_from(at - 100).unwrap();
                count += 1;
            }
            count
        }
    }

    #[test]
    fn a_short_vectored_read_leaves_later_regions_unread() {
        let mut snapshot = Snapshot::default();
        snapshot.want(Addr::new(100), 4);
        snapshot.want(Addr::new(108), 4);
        snapshot.want(Addr::new(104), 2);
        snapshot.buffer().copy_from_slice(&[0, 1, 2, 3, 8, 9, 0, 0, 4, 5]);
        snapshot.filled(6);
        assert_eq!(snapshot.bytes_at(Addr::new(102)), [2, 3]);
        assert_eq!(snapshot.bytes_at(Addr::new(108)), [8, 9]);
        assert_eq!(snapshot.bytes_at(Addr::new(104)), []);
        let layered = Layered {
            snapshot: &snapshot,
            memory: &Ten,
        };
        let mut buf = [0; 20];
        assert_eq!(layered.read(Addr::new(103), &mut buf), 7);
        assert_eq!(buf[..7], [3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_snapshot_is_bounded() {
        let mut snapshot = Snapshot::default();
        snapshot.want(Addr::new(0), usize::MAX);
        snapshot.want(Addr::new(0), Snapshot::MAX_LEN);
        snapshot.want(Addr::new(0), 1);
        assert_eq!(snapshot.regions().len(), 1);
        snapshot.clear();
        (0..100).for_each(|_| snapshot.want(Addr::new(1), 1));
        assert_eq!(snapshot.regions().len(), Snapshot::MAX_REGIONS);
        snapshot.fill_from(&NoMemory);
        assert_eq!(snapshot.bytes_at(Addr::new(1)), []);
    }
}
