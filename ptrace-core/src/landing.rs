//! Where landing code lies in a process: code that makes a system call and finds its own way back when the
//! tracer dies (arch-abi, `Landing`).
//!
//! By default that is the end of the last page of the vDSO, past the image: bytes that are zero, that nobody uses, that
//! every process has, and that can be written from outside without a system call in it (the page becomes the
//! process' own copy, as with a breakpoint). A piece is zeroed when its call is over. One that is not zero
//! belongs to a thread that another tracer left there when it died, and that has perhaps not
//! been scheduled since: it is used again only when that thread has ended or is the one that is stopped here.

use std::path::Path;

use arch_abi::{Addr, LANDING_LEN, Landing};

use crate::procfs;
use crate::stopped::Stopped;

/// How many pieces are looked at.
const MAX_PIECES: usize = 8;
/// Bytes before the room that show that the vDSO is still there.
const WITNESS: usize = 16;
/// Zeros at the start of the vDSO's last ones that may still belong to its image: the kernel gives no exact end.
const MARGIN: usize = 64;
/// More than any vDSO has.
const MAX_VDSO: u64 = 1 << 20;

/// Bytes of a process in which landing code may be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    start: Addr,
    pieces: usize,
    /// What lies before it, in the vDSO.
    witness: Option<[u8; WITNESS]>,
}

impl Room {
    /// Memory that a caller gave for it.
    pub(crate) fn lent(start: Addr, len: usize) -> Option<Self> {
        Self::new(start, len, None)
    }

    fn new(start: Addr, len: usize, witness: Option<[u8; WITNESS]>) -> Option<Self> {
        start.checked_add(len as u64)?;
        let pieces = (len / LANDING_LEN).min(MAX_PIECES);
        (pieces > 0).then_some(Self {
            start,
            pieces,
            witness,
        })
    }

    fn in_vdso(stopped: &Stopped) -> Option<Self> {
        let maps = procfs::maps(stopped.tid()).ok()?;
        let vdso = maps
            .iter()
            .find(|m| m.name == "[vdso]" && m.readable && m.executable)?;
        if vdso.size() > MAX_VDSO {
            return None;
        }
        let mut image = vec![0; usize::try_from(vdso.size()).ok()?];
        stopped.memory().read_exact(vdso.start, &mut image).ok()?;
        Self::past_image(vdso.start, &image)
    }

    /// The zeros at the end of `image`, which lies at `at`. Landing code there is of a dead tracer: the image ends before
    /// the first of it.
    fn past_image(at: Addr, image: &[u8]) -> Option<Self> {
        let first = image
            .windows(LANDING_LEN)
            .position(|bytes| bytes.first_chunk().and_then(Landing::owner).is_some());
        let before = &image[..first.unwrap_or(image.len())];
        let end = before.iter().rposition(|&byte| byte != 0)? + 1;
        let start = end.checked_add(MARGIN)?.next_multiple_of(16);
        let witness = *image.get(..end)?.last_chunk()?;
        let room = Self::new(at.checked_add(start as u64)?, image.len().checked_sub(start)?, None)?;
        Some(Self {
            witness: Some(witness),
            ..room
        })
    }
}
