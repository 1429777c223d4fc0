//! System calls in the trace: one stream with the library calls, each within the call that makes it.

use std::rc::Rc;

use arch_abi::Arch;
use ptrace_core::{Error, Stop, Stopped, SyscallInfo, SyscallStop};

use super::Tracer;
use super::hits::{Reader, snapshot_read};
use super::thread::{Pending, SharedSpace};
use crate::filter::{FilterSet, LibraryNames};
use crate::memory::Layered;
use crate::points::{Kind, ObjectNames, PointId, Points};
use crate::summary::OpenCall;
use crate::syscalls;
use crate::value::{RawReturn, Shown, wants_at_entry, wants_at_return};

/// The name under which filters know system calls, and which stands behind theirs.
pub(crate) const LIBRARY: &str = "SYS";

/// Which system calls are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syscalls {
    /// None.
    None,
    /// All.
    All,
    /// Those that the filters select as functions of a library `SYS`.
    Selected,
}

/// The call points of system calls, by number. Those beyond the table have one in common.
pub(super) struct Table {
    x86_64: Vec<Option<PointId>>,
    i386: Vec<Option<PointId>>,
    names: Rc<ObjectNames>,
}

/// More than any machine has.
const NUMBERS: u64 = 1024;

impl Table {
    /// Adds the call points of all system calls that are shown.
    pub(super) fn new(which: Syscalls, filters: &FilterSet, points: &mut Points) -> Self {
        let names = Rc::new(ObjectNames {
            path: LIBRARY.to_owned(),
            soname: Some(LIBRARY.to_owned()),
            needed: Vec::new(),
            is_main: false,
        });
        let mut add = |arch| {
            let selected = filters.in_library(LibraryNames::library(Some(LIBRARY), LIBRARY));
            let mut table = vec![None; usize::try_from(NUMBERS).unwrap_or(0)];
            for (number, place) in (0..).zip(&mut table) {
                let name = syscalls::name(arch, number);
                let shown = match which {
                    Syscalls::None => false,
                    Syscalls::All => true,
                    Syscalls::Selected => selected.as_ref().is_some_and(|some| some.selects(&name, &[])),
                };
                *place = shown.then(|| points.add(Kind::Syscall, &name, &names));
            }
            table
        };
        Self {
            x86_64: add(Arch::X86_64),
            i386: add(Arch::I386),
            names: Rc::clone(&names),
        }
    }

    /// The call point of a system call; one is added for a number that no kernel has.
    fn point(&mut self, arch: Arch, number: u64, points: &mut Points) -> Option<PointId> {
        let table = match arch {
            Arch::I386 => &mut self.i386,
            _ => &mut self.x86_64,
        };
        let index = usize::try_from(number).ok();
        match index.and_then(|index| table.get(index)) {
            Some(known) => *known,
            // Programs try numbers out; each is another name, but there is no end of them.
            None if points.len() < MAX_POINTS => {
                Some(points.add(Kind::Syscall, &syscalls::name(arch, number), &self.names))
            }
            None => None,
        }
    }
}

/// After how many call points no more are made for system calls that no kernel has.
const MAX_POINTS: usize = 1 << 20;

impl Tracer {
    /// A thread is at the entry or the exit of a system call.
    pub(super) fn show_syscall(&mut self, stopped: &Stopped, stop: Stop) -> Result<(), Error> {
        if self.syscalls.is_none() || !self.is_followed(stopped.tgid()) {
            return Ok(());
        }
        let info = stopped.syscall_info()?;
        match info.stop {
            SyscallStop::Enter { nr, args } if stop == Stop::SyscallEnter => {
                self.enter_syscall(stopped, &info, nr, args);
            }
            SyscallStop::Exit { value, is_error } => self.leave_syscall(stopped, value, is_error),
            _ => {}
        }
        Ok(())
    }

    fn enter_syscall(&mut self, stopped: &Stopped, info: &SyscallInfo, nr: u64, args: [u64; 6]) {
        let arch = syscalls::arch_of(info.arch);
        let Some(table) = &mut self.syscalls else {
            return;
        };
        let point = table.point(arch, nr, self.store.points_mut());
        let Some(thread) = self.threads.get_mut(&stopped.tid()) else {
            return;
        };
        let Some(point) = point else { return };
        let mut pending = thread.spare_syscall.take().unwrap_or_default();
        record(&mut pending, stopped, info, args, point);
        pending.call.time = self.reporter.clock.now();
        let points = self.store.points();
        let plan = self.reporter.plan(point, points.get(point), arch, Vec::new);
        let space = SharedSpace::clone(&thread.space);
        let space = space.borrow();
        let snapshot = &mut self.buffers.snapshot;
        snapshot.clear();
        if !self.reporter.counts_only() {
            let types = self.reporter.prototypes().types();
            wants_at_entry(types, &plan, &pending.call, self.reporter.limits(), snapshot);
            snapshot_read(&space.memory, snapshot);
        }
        let memory = Layered {
            snapshot: &self.buffers.snapshot,
            memory: &Reader(&space.memory),
        };
        self.reporter.entry(points, &mut pending, &plan, &memory, &*space);
        pending.started = self.reporter.clock.now();
        thread.syscall = Some(pending);
    }

    fn leave_syscall(&mut self, stopped: &Stopped, value: i64, is_error: bool) {
        let Some(thread) = self.threads.get_mut(&stopped.tid()) else {
            return;
        };
        let Some(pending) = thread.syscall.take() else {
            return;
        };
        let points = self.store.points();
        let point = points.get(pending.point);
        let arch = pending.arch.unwrap_or(Arch::X86_64);
        let plan = self.reporter.plan(pending.point, point, arch, Vec::new);
        let ret = returned(
            value,
            is_error && !self.reporter.raw_errors(),
            self.reporter.clock.now(),
        );
        let space = SharedSpace::clone(&thread.space);
        let space = space.borrow();
        let snapshot = &mut self.buffers.snapshot;
        snapshot.clear();
        if !self.reporter.counts_only() {
            let types = self.reporter.prototypes().types();
            let limits = self.reporter.limits();
            wants_at_return(types, &plan, &pending.call, &ret, limits, snapshot);
            snapshot_read(&space.memory, snapshot);
        }
        let memory = Layered {
            snapshot: &self.buffers.snapshot,
            memory: &Reader(&space.memory),
        };
        let sample = self
            .reporter
            .returned(self.store.points(), &pending, &plan, &ret, &memory, &*space);
        if let (Some(sample), Some((_, around))) = (sample, thread.calls.iter_mut().next_back()) {
            around.open.add_inner(&sample);
        }
        let stack = self.reporter.stack(&pending);
        thread.spare_syscall = Some(pending);
        drop(space);
        if let Some(most) = stack {
            self.show_stack(stopped, most);
        }
    }

    /// Shows the stack of a thread that has made a system call.
    fn show_stack(&mut self, stopped: &Stopped, most: usize) {
        // A thread that is gone has none.
        let (Some(thread), Ok(regs)) = (self.threads.get(&stopped.tid()), stopped.regs()) else {
            return;
        };
        let text = &mut self.buffers.text;
        text.clear();
        thread.space.borrow_mut().backtrace(regs.pc(), &regs, most, text);
        self.reporter.lines(text);
    }
}

/// The result as the C library would have it, -1 and an errno, where errors are named.
fn returned(value: i64, is_named_error: bool, time: u64) -> RawReturn {
    let word = if is_named_error { -1 } else { value };
    RawReturn {
        words: [word.cast_unsigned(), 0],
        fp: None,
        errno: is_named_error.then(|| i32::try_from(value.saturating_neg()).unwrap_or(i32::MAX)),
        time,
    }
}

/// The record of a system call at its entry.
fn record(pending: &mut Pending, stopped: &Stopped, info: &SyscallInfo, args: [u64; 6], point: PointId) {
    let call = &mut pending.call;
    call.tid = stopped.tid().raw();
    call.call_point = point.0;
    call.sp = info.sp;
    call.return_address = info.pc;
    call.words = [0; 8];
    call.words[..6].copy_from_slice(&args);
    call.word_count = 6;
    call.stack.clear();
    call.fp = None;
    pending.arch = Some(syscalls::arch_of(info.arch));
    pending.point = point;
    pending.shown = Shown::default();
    pending.return_trap = None;
    pending.open = OpenCall::default();
    pending.by_jump = false;
}
