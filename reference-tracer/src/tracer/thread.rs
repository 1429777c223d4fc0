//! The threads under trace, and the calls that they are in.

use std::cell::RefCell;
use std::rc::Rc;

use arch_abi::{Addr, Arch};
use breakpoint::{CallStack, SingleStep, StackWitness, TrapId};
use ptrace_core::{Memory, SigInfo, Tid, procfs};

use super::fast::Frames;
use super::space::Space;
use crate::fast::fill::Recorded;
use crate::points::PointId;
use crate::summary::OpenCall;
use crate::value::{RawCall, Shown};

/// An address space that several processes may share.
pub(super) type SharedSpace = Rc<RefCell<Space>>;

/// How many calls of one thread may be pending: deeper recursion is not followed to its returns.
pub(super) const MAX_PENDING: usize = 100_000;

/// A call that has been entered.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    /// What is called.
    pub(super) point: PointId,
    /// The record of its entry.
    pub(super) call: RawCall,
    /// Whose system call it is, if it is one.
    pub(super) arch: Option<Arch>,
    /// When the thread was sent into it, where that is measured.
    pub(super) started: u64,
    /// What of it was shown.
    pub(super) shown: Shown,
    /// Whether nothing of it is shown: it is beyond the number that was asked for.
    pub(super) hidden: bool,
    /// The trap that it returns to.
    pub(super) return_trap: Option<TrapId>,
    /// Whether it was recorded inside the program.
    pub(super) is_recorded: bool,
    /// Its number in a raw trace.
    pub(super) serial: u64,
    /// Whether it was made by a jump from a call that is recorded inside the program, with which it returns.
    pub(super) by_jump: bool,
    /// The memory that was recorded with it, inside the program.
    pub(super) recorded: Recorded,
    /// What the calls inside it took.
    pub(super) open: OpenCall,
}

/// A traced thread.
pub(super) struct Thread {
    pub(super) tid: Tid,
    pub(super) tgid: Tid,
    pub(super) space: SharedSpace,
    pub(super) calls: CallStack<Box<Pending>>,
    pub(super) returns: Returns,
    /// The system call that it is in, where those are shown.
    pub(super) syscall: Option<Box<Pending>>,
    /// A record for the next one.
    pub(super) spare_syscall: Option<Box<Pending>>,
    /// A copy that the thread is single-stepping.
    pub(super) stepping: Option<SingleStep>,
    /// The call whose trap the thread will meet again, because a signal came before it was past it:
    /// where, and with which stack pointer.
    pub(super) again: Option<(Addr, Addr)>,
    pub(super) stacks: StackMap,
    /// Whether the program has blocked SIGTRAP in this thread. It is not really blocked.
    pub(super) blocks_sigtrap: bool,
    /// A SIGTRAP that was sent to it meanwhile.
    pub(super) sent_sigtrap: Option<SigInfo>,
    /// How many system calls of a watched function are still to be looked at.
    pub(super) watched_calls: u8,
    /// How many system calls it may still make before it has a thread pointer.
    pub(super) system_calls_left: u32,
    /// The high half of its stack pointer.
    pub(super) stack_high: u64,
    /// Its stack pointer when that was looked at.
    pub(super) last_sp: Addr,
    /// What was done to its calls when it was left.
    pub(super) frames: Option<Frames>,
}

impl Thread {
    pub(super) fn new(tid: Tid, tgid: Tid, arch: Arch, space: SharedSpace) -> Self {
        Self {
            tid,
            tgid,
            space,
            calls: CallStack::new(arch, MAX_PENDING),
            returns: Returns::default(),
            syscall: None,
            spare_syscall: None,
            stepping: None,
            again: None,
            stacks: StackMap::default(),
            blocks_sigtrap: false,
            sent_sigtrap: None,
            watched_calls: 0,
            system_calls_left: 0,
            stack_high: 0,
            last_sp: Addr::new(0),
            frames: None,
        }
    }

    /// The stack pointer whose low half is `low`.
    pub(super) const fn stack_at(&self, low: u32) -> Addr {
        Addr::new(self.stack_high | low as u64)
    }

    /// What stands for the return address of a call that is recorded inside the program under `id`, whose stack pointer
    /// is `sp`. One that was made by a jump returns with the call in whose place it is.
    pub(super) fn returns_to(&self, id: u32, sp: Addr, by_jump: bool) -> Addr {
        let around = self.calls.iter().next_back();
        around
            .filter(|(frame, _)| by_jump && frame.sp_after == sp.wrapping_add(8))
            .map_or(super::fast::marker(id), |(frame, _)| frame.return_to)
    }
}

/// What is known, beside its stack of calls, of whether a thread will return through recording code.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Returns {
    /// Calls that went to a raw trace, less their returns. Those that were left in another way are among them.
    open: i64,
    /// Whether some were not seen as they were: its ring was written over.
    lost: bool,
}

impl Returns {
    /// So many more calls than returns went to a raw trace.
    pub(super) fn note(&mut self, more: i64) {
        self.open = self.open.saturating_add(more);
        self.lost |= self.open < 0;
    }

    /// From now on nobody knows.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether that is known.
    pub(super) const fn are_lost(self) -> bool {
        self.lost
    }

    /// How many there may be that the stack of calls does not tell of.
    pub(super) const fn open(self) -> i64 {
        self.open
    }
}

/// The mappings of the process, as far as they tell stacks apart.
#[derive(Debug, Default, Clone)]
pub(super) struct StackMap {
    /// Start, end, and whether it is the main thread's stack.
    ranges: Vec<(Addr, Addr, bool)>,
    /// Pieces of the address space where nothing was found. What a record says of the stack pointer is its low half only: on a stack far away
    /// from that of the last stop it leads nowhere, and that is not to be looked up for every call.
    nowhere: std::collections::VecDeque<u64>,
}

/// How many pieces are remembered, and how long each is.
const NOWHERE: usize = 64;
const PIECE: u64 = 1 << 16;
/// How far down from its end the main thread's stack may reach.
const MAIN_STACK: u64 = 128 << 20;

impl StackMap {
    /// Reads the mappings again, unless it was in vain for this address before.
    pub(super) fn look_for(&mut self, at: Addr, tgid: Tid) {
        let piece = at.get() / PIECE;
        if self.find(at).is_some() || self.nowhere.contains(&piece) {
            return;
        }
        self.read(tgid);
        if self.find(at).is_none() {
            self.nowhere.push_front(piece);
            self.nowhere.truncate(NOWHERE);
        }
    }

    /// Where the main thread's stack lies, if that is known.
    pub(super) fn main(&self) -> Option<(Addr, Addr)> {
        let main = self.ranges.iter().find(|(.., is_main)| *is_main);
        main.map(|(start, end, _)| (*start, *end))
    }

    /// Where the stack ends that `at` is on, as far as mappings tell.
    pub(super) fn end_of(&self, at: Addr) -> Option<Addr> {
        self.find(at).map(|(_, end, _)| *end)
    }

    fn find(&self, at: Addr) -> Option<&(Addr, Addr, bool)> {
        self.ranges
            .iter()
            .find(|(start, end, _)| (*start..*end).contains(&at))
    }

    fn read(&mut self, tgid: Tid) {
        let maps = procfs::maps(tgid).unwrap_or_default();
        if maps.is_empty() {
            return; // the process is gone, and has not moved its stacks
        }
        let range = |map: procfs::Mapping| {
            let is_main = map.name == "[stack]";
            // It grows down, and nothing else is put where it may grow to (mm/util.c, `mmap_base`: at least 128 MiB).
            let room = if is_main { MAIN_STACK } else { 0 };
            let start = map.end.get().saturating_sub(room).min(map.start.get());
            (Addr::new(start), map.end, is_main)
        };
        self.ranges = maps.into_iter().map(range).collect();
    }
}

/// What can be found out about the stacks of one thread.
pub(super) struct Stacks<'a> {
    pub(super) map: &'a mut StackMap,
    pub(super) tgid: Tid,
    pub(super) memory: &'a Memory,
    pub(super) word_size: usize,
}

impl StackWitness for Stacks<'_> {
    fn same_stack(&mut self, frame: Addr, now: Addr) -> Option<bool> {
        self.map.look_for(frame, self.tgid);
        self.map.look_for(now, self.tgid);
        let (frame, now) = (self.map.find(frame)?, self.map.find(now)?);
        if frame.0 != now.0 {
            return Some(false);
        }
        // Only the main thread's stack surely holds one stack.
        frame.2.then_some(true)
    }

    fn word(&mut self, at: Addr) -> Option<u64> {
        let mut word = [0; 8];
        self.memory.read_exact(at, &mut word[..self.word_size]).ok()?;
        Some(u64::from_le_bytes(word))
    }
}
