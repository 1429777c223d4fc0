//! Where landing code lies in a process: code that makes a system call and finds its own way back when the
//! tracer dies (arch-abi, `Landing`).
//!
//! By default that is the end of the last page of the vDSO, past the image: bytes that are zero, that nobody uses, that
//! every process has, and that can be written from outside without a system call in it (the page becomes the
//! process' own copy, as with a breakpoint). A piece is zeroed when its call is over. One that is not zero
//! belongs to a thread that another tracer left there when it died, and that has perhaps not
//! been scheduled since: it is used again only when that thread has ended, or is stopped or asleep elsewhere.

use std::path::Path;

use arch_abi::{Addr, Arch, Interrupted, LANDING_LEN, Landing};

use crate::instruction::note_instruction;
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

/// Room for the pieces, and what lies before it.
const MAX_READ: usize = WITNESS + MARGIN + ALIGN + MAX_PIECES * LANDING_LEN;
const ALIGN: usize = 16;

/// Bytes of a process in which landing code may be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// The vDSO's last bytes, which show that it is still there.
    witness: Option<(Addr, [u8; WITNESS])>,
    start: Addr,
    pieces: usize,
}

/// What is known of a process' room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Search {
    /// Nobody has looked.
    Open,
    /// What was found.
    Done(Option<Room>),
}

impl Room {
    /// Memory that a caller gave for it.
    pub(crate) fn lent(start: Addr, len: usize) -> Option<Self> {
        start.checked_add(len as u64)?;
        let pieces = (len / LANDING_LEN).min(MAX_PIECES);
        (pieces > 0).then_some(Self {
            witness: None,
            start,
            pieces,
        })
    }

    /// The room of a stopped thread's process, looked for once.
    fn of(stopped: &Stopped, arch: Arch) -> Option<Self> {
        let memory = stopped.memory();
        let search = &memory.space().landing;
        if let Search::Done(room) = search.get() {
            return room;
        }
        let room = Self::in_vdso(stopped, arch);
        search.set(Search::Done(room));
        room
    }

    fn in_vdso(stopped: &Stopped, arch: Arch) -> Option<Self> {
        let maps = procfs::maps(stopped.tid()).ok()?;
        let vdso = maps
            .iter()
            .find(|m| m.name == "[vdso]" && m.readable && m.executable && m.size() <= MAX_VDSO)?;
        let mut image = vec![0; usize::try_from(vdso.size()).ok()?];
        stopped.memory().read_exact(vdso.start, &mut image).ok()?;
        note_instruction(stopped, arch, vdso.start, &image);
        Self::past_image(vdso.start, &image)
    }

    /// The zeros at the end of `image`, which lies at `at`. Landing code of a tracer that died lies there,
    /// too, and the image ends before it.
    fn past_image(at: Addr, image: &[u8]) -> Option<Self> {
        let code = image
            .windows(LANDING_LEN)
            .position(|bytes| bytes.first_chunk().and_then(Landing::owner).is_some());
        let before = &image[..code.unwrap_or(image.len())];
        let end = before.iter().rposition(|&byte| byte != 0)? + 1;
        let witness = *before[..end].last_chunk()?;
        let start = (end + MARGIN).next_multiple_of(ALIGN);
        let room = Self::lent(at.checked_add(start as u64)?, image.len().checked_sub(start)?)?;
        Some(Self {
            witness: Some((at.checked_add((end - WITNESS) as u64)?, witness)),
            ..room
        })
    }

    /// A piece that no thread needs.
    fn free_piece(&self, stopped: &Stopped, pc: Addr) -> Option<Addr> {
        let mut buf = [0; MAX_READ];
        let from = self.witness.map_or(self.start, |(at, _)| at);
        let before = usize::try_from(self.start.get() - from.get()).ok()?;
        let buf = buf.get_mut(..before + self.pieces * LANDING_LEN)?;
        stopped.memory().read_exact(from, buf).ok()?;
        let (before, room) = buf.split_at(before);
        if self.witness.is_some_and(|(_, bytes)| !before.starts_with(&bytes)) {
            return None; // the program unmapped its vDSO
        }
        let (pieces, _) = room.as_chunks::<LANDING_LEN>();
        let addr = |i: usize| self.start.checked_add((i * LANDING_LEN) as u64);
        let mine = |piece: &[u8; LANDING_LEN]| Landing::owner(piece) == Some(stopped.tid().raw());
        // Its own first, so that one thread never takes more than one but while it is still in that.
        let found = pieces
            .iter()
            .position(|piece| mine(piece) && !self.contains(pc))
            .or_else(|| pieces.iter().position(|piece| *piece == [0; LANDING_LEN]))
            .or_else(|| pieces.iter().position(|piece| self.was_left(stopped, piece)));
        addr(found?)
    }

    /// Whether `pc` is in any of the pieces: from one the way may lead into another.
    fn contains(&self, pc: Addr) -> bool {
        pc.get().wrapping_sub(self.start.get()) < (self.pieces * LANDING_LEN) as u64
    }

    /// Whether the owner of a piece, another thread, ended, or is asleep or stopped elsewhere.
    fn was_left(&self, stopped: &Stopped, piece: &[u8; LANDING_LEN]) -> bool {
        let Some(owner) = Landing::owner(piece).filter(|&owner| owner != stopped.tid().raw()) else {
            return false;
        };
        // The number counts only in this process: a fork copied the piece, and not the thread.
        let task = format!("/proc/{}/task/{owner}", stopped.tgid());
        match std::fs::read_to_string(format!("{task}/syscall")) {
            Ok(text) => pc_of(&text).is_some_and(|pc| !self.contains(pc)),
            Err(_) => matches!(Path::new(&task).try_exists(), Ok(false)),
        }
    }
}

/// The PC, the last word of `/proc/TID/syscall` (`proc_pid_syscall(5)`); `None` of a thread that runs.
fn pc_of(text: &str) -> Option<Addr> {
    let pc = text.split_whitespace().next_back()?.strip_prefix("0x")?;
    u64::from_str_radix(pc, 16).ok().map(Addr::new)
}

/// A piece of landing code in a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    at: Addr,
    code: [u64; 2],
}

impl Piece {
    /// Writes it for a thread; `None` where that cannot be done: no room, or an ABI without such code.
    pub(crate) fn write(stopped: &Stopped, thread: &Interrupted<'_>) -> Option<Self> {
        let code = thread.regs.abi().landing(thread)?;
        let at = Room::of(stopped, thread.regs.arch())?.free_piece(stopped, thread.regs.pc())?;
        stopped.memory().write(at, &code.bytes).ok()?;
        Some(Self {
            at,
            code: [code.call, code.without_signal],
        })
    }

    /// The system call instruction.
    pub(crate) fn call(&self) -> Addr {
        Addr::new(self.at.get() + self.code[0])
    }

    /// The way back that leaves the signal out.
    pub(crate) fn without_signal(&self) -> Addr {
        Addr::new(self.at.get() + self.code[1])
    }

    /// Zeroes it, when the thread is back. A failure means that the process is gone, or leaves a
    /// piece that is used again at this thread's next call.
    pub(crate) fn clear(self, stopped: &Stopped) {
        let _ = stopped.memory().write(self.at, &[0; LANDING_LEN]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch_abi::Regs;

    const AT: Addr = Addr::new(0x7000_0000_0000);

    fn image(zeros: usize) -> Vec<u8> {
        let mut image = vec![7; 8192 - zeros];
        image.resize(8192, 0);
        image
    }

    #[test]
    fn the_room_is_past_the_image() {
        let room = Room::past_image(AT, &image(1519)).unwrap();
        let start = (8192 - 1519 + MARGIN as u64).next_multiple_of(16);
        assert_eq!(room.start.get(), AT.get() + start);
        assert_eq!(room.pieces, 4);
        assert!(start + (room.pieces * LANDING_LEN) as u64 <= 8192);
    }

    #[test]
    fn code_of_a_dead_tracer_does_not_move_it() {
        let clean = Room::past_image(AT, &image(1519)).unwrap();
        let bytes: Vec<u8> = (0_u64..27).flat_map(u64::to_le_bytes).collect();
        let regs = Regs::from_regset(&bytes).unwrap();
        let thread = Interrupted {
            tid: 1,
            regs: &regs,
            mask: 0,
            scheduling: None,
            signal: None,
            makes_thread: false,
        };
        let code = regs.abi().landing(&thread).unwrap();
        for dirty in 0..clean.pieces {
            let mut image = image(1519);
            let at = usize::try_from(clean.start.get() - AT.get()).unwrap() + dirty * LANDING_LEN;
            image[at..at + LANDING_LEN].copy_from_slice(&code.bytes);
            let room = Room::past_image(AT, &image).unwrap();
            assert_eq!((room.start, room.pieces), (clean.start, clean.pieces), "{dirty}");
        }
    }

    #[test]
    fn the_pc_is_the_last_word() {
        let asleep = "35 0x7ffd 0x0 0x0 0x0 0x0 0x0 0x7ffdb6c2e540 0x7f0a4c4e5c47\n";
        assert_eq!(pc_of(asleep), Some(Addr::new(0x7f0a4c4e5c47)));
        assert_eq!(pc_of("running\n"), None);
        assert_eq!(pc_of(""), None);
    }

    #[test]
    fn no_room_is_no_room() {
        assert!(Room::past_image(AT, &image(0)).is_none());
        assert!(Room::past_image(AT, &image(LANDING_LEN)).is_none());
        assert!(Room::past_image(AT, &image(8192)).is_none());
        assert!(Room::past_image(AT, &[]).is_none());
        assert!(Room::past_image(Addr::new(u64::MAX), &image(1519)).is_none());
        assert!(Room::lent(Addr::new(u64::MAX - 10), LANDING_LEN).is_none());
        assert!(Room::lent(AT, LANDING_LEN - 1).is_none());
    }
}
