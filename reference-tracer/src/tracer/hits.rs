//! A thread has hit a trap: calls are entered, and return.

use std::rc::Rc;

use arch_abi::{Addr, Regs, StepPlan};
use breakpoint::{Closed, Frame, How, Pushed, TrapId};
use ptrace_core::{Error, Memory, Stopped, Tid};

use super::reporter::Reporter;
use super::space::{Function, Role, Space};
use super::thread::{Pending, StackMap, Stacks, Thread};
use crate::fast::fill::Recorded;
use crate::memory::{Layered, Snapshot, TargetMemory};
use crate::objects::Site;
use crate::points::{PointId, Points, Returns};
use crate::proto::Plan;
use crate::summary::OpenCall;
use crate::value::{RawCall, RawReturn, Shown, wants_at_entry, wants_at_return, wants_errno};

/// Buffers of the trap engine that are used again and again, so that a stop allocates nothing.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) snapshot: Snapshot,
    /// Records of calls that are over, for the next ones.
    #[expect(
        clippy::vec_box,
        reason = "a record moves between here and the call stacks as one word"
    )]
    pub(super) pool: Vec<Box<Pending>>,
    pub(super) closed: Vec<Closed<Box<Pending>>>,
    /// Memory that was recorded at a return.
    pub(super) recorded: Recorded,
    /// Text that is being made.
    pub(super) text: Vec<u8>,
}

/// How many records are kept for reuse.
const MAX_POOL: usize = 1024;

/// The most bytes of the stack that a call's record takes.
const MAX_STACK: usize = 4096;

/// The memory of a process as values are read from it.
pub(super) struct Reader<'a>(pub(super) &'a Memory);

impl TargetMemory for Reader<'_> {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        self.0.read(at, buf).unwrap_or(0)
    }
}

/// One hit of a trap, with all that it concerns.
pub(super) struct Hit<'a> {
    pub(super) stopped: &'a Stopped,
    pub(super) regs: &'a Regs,
    /// Where the trap is.
    pub(super) at: Addr,
    pub(super) thread: &'a mut Thread,
    pub(super) space: &'a mut Space,
    pub(super) points: &'a Points,
    pub(super) reporter: &'a mut Reporter,
    pub(super) buffers: &'a mut Buffers,
}

impl Hit<'_> {
    /// Plays the roles of the trap in the order in which their events happened.
    pub(super) fn play(&mut self, role: Role, id: TrapId) -> Result<(), Error> {
        if role.returns && self.arrival()? == 0 {
            self.space.stray_return(self.stopped, id);
        }
        if let Some((point, site)) = role.entry {
            self.entry(point, site)?;
        }
        if let Some(function) = role.function {
            self.function(function)?;
        }
        Ok(())
    }

    /// A call of `point` begins here.
    fn entry(&mut self, point: PointId, site: Site) -> Result<(), Error> {
        // The call whose trap the thread met before a signal came.
        if self
            .thread
            .again
            .take_if(|again| *again == (self.at, self.regs.sp()))
            .is_some()
        {
            return Ok(());
        }
        let mut pending = self.buffers.pool.pop().unwrap_or_default();
        self.record(&mut pending, point, site)?;
        self.begin(pending)
    }

    /// The first instruction of a function that is met only here.
    fn function(&mut self, function: Function) -> Result<(), Error> {
        let again = (self.at, self.regs.sp());
        if self.thread.again.take_if(|was| *was == again).is_some() || !self.is_callers(function) {
            return Ok(());
        }
        let mut pending = self.buffers.pool.pop().unwrap_or_default();
        self.record(&mut pending, function.point, Site::Entry)?;
        // A call from a known place was met there.
        let met = self.thread.calls.iter().next_back().is_some_and(|(frame, call)| {
            frame.return_to == pending.call.return_address && call.call.sp == pending.call.sp
        });
        if met {
            self.recycle(pending);
            return Ok(());
        }
        self.begin(pending)
    }

    /// Whether the thread, at a function's first instruction, was called by the function's importer.
    fn is_callers(&self, function: Function) -> bool {
        let word = self.regs.abi().word_size();
        let mut bytes = [0; 8];
        let read = self.space.memory.read_exact(self.regs.sp(), &mut bytes[..word]);
        let (start, end) = function.caller;
        read.is_ok() && (start..end).contains(&Addr::new(u64::from_le_bytes(bytes)))
    }

    /// Makes the record of a call at its entry: registers, return address, and what the plan wants
    /// of memory, in as few reads as can be.
    fn record(&mut self, pending: &mut Pending, point: PointId, site: Site) -> Result<(), Error> {
        self.begin_record(pending, point);
        if site == Site::Call {
            self.push_return_address(&mut pending.call);
        }
        self.buffers.snapshot.clear();
        let word = self.regs.abi().word_size();
        if self.reporter.counts_only() {
            read_stack(&self.space.memory, &mut pending.call, word);
        } else {
            self.capture(&mut pending.call, point, word)?;
        }
        pending.call.return_address = first_word(&pending.call.stack, word);
        Ok(())
    }

    /// How calls of `point` are shown.
    fn plan(&mut self, point: PointId) -> Rc<Plan> {
        let (space, tid) = (&*self.space, self.thread.tid.raw());
        self.reporter.plan(point, self.points.get(point), space.arch, || {
            space.candidates(tid)
        })
    }

    fn begin_record(&mut self, pending: &mut Pending, point: PointId) {
        let call = &mut pending.call;
        call.tid = self.thread.tid.raw();
        call.call_point = point.0;
        call.time = self.reporter.clock.now();
        call.take_registers(self.regs);
        call.stack.clear();
        call.fp = None;
        pending.point = point;
        pending.shown = Shown::default();
        pending.return_trap = None;
        pending.open = OpenCall::default();
        pending.is_recorded = false;
        pending.by_jump = false;
    }

    /// The record of a call whose instruction has yet to push the return address: as if it had.
    fn push_return_address(&self, call: &mut RawCall) {
        let abi = self.regs.abi();
        let plan = self
            .space
            .traps
            .lookup(self.at)
            .and_then(|id| self.space.traps.plan(id));
        let return_address = plan.map_or(self.at, StepPlan::next);
        call.sp = call.sp.wrapping_sub(abi.return_address_size());
        call.stack
            .extend_from_slice(&return_address.get().to_le_bytes()[..abi.word_size()]);
    }

    /// Captures what the prototype wants, and the return address: by one read where all arguments
    /// are in registers, otherwise by one more for those on the stack.
    fn capture(&mut self, call: &mut RawCall, point: PointId, word: usize) -> Result<(), Error> {
        let plan = self.plan(point);
        if plan.wants_fp_at_entry(self.regs) {
            call.fp = Some(self.stopped.fp_regs()?);
        }
        let memory = &self.space.memory;
        let stack = plan.wants_stack_at_entry().min(MAX_STACK);
        if stack > word {
            read_stack(memory, call, stack);
        }
        let snapshot = &mut self.buffers.snapshot;
        wants_at_entry(
            self.reporter.prototypes().types(),
            &plan,
            call,
            self.reporter.limits(),
            snapshot,
        );
        let return_address_known = call.stack.len() >= word;
        if !return_address_known {
            snapshot.want(call.sp, word);
        }
        snapshot_read(memory, snapshot);
        if !return_address_known {
            let bytes = snapshot.bytes_at(call.sp);
            call.stack.extend_from_slice(&bytes[..word.min(bytes.len())]);
        }
        Ok(())
    }

    /// A recorded call becomes pending and is shown, after those that it shows to have been left.
    fn begin(&mut self, mut pending: Box<Pending>) -> Result<(), Error> {
        let point = self.points.get(pending.point);
        let plan = self.plan(pending.point);
        let return_to = pending.call.return_address;
        let never = point.returns == Returns::Never || plan.noreturn();
        // A call that was made by a jump from one that is recorded inside the program returns with that one.
        let recorded = self
            .space
            .fast
            .as_ref()
            .is_some_and(|fast| fast.is_return(return_to));
        pending.by_jump = recorded;
        let return_to = if recorded {
            self.thread.returns_to(0, pending.call.sp, true)
        } else {
            return_to
        };
        if !never && !recorded && return_to.get() != 0 {
            // Where no trap can be, the return will not be seen.
            pending.return_trap = self.space.expect_return(self.stopped, return_to).ok();
        }
        let sp_after = pending
            .call
            .sp
            .wrapping_add(self.regs.abi().return_address_size());
        let frame = Frame {
            return_to,
            sp_after,
            entry: self.at,
        };
        let mut closed = std::mem::take(&mut self.buffers.closed);
        let calls = &mut self.thread.calls;
        let mut stacks = stacks(&mut self.thread.stacks, self.thread.tgid, self.space);
        let pushed = calls.push(frame, pending, &mut stacks, &mut closed);
        self.close(&mut closed)?;
        self.buffers.closed = closed;
        if pushed == Pushed::Pending {
            self.show_entry(&plan);
        }
        Ok(())
    }

    /// Shows the call that has just become pending.
    fn show_entry(&mut self, plan: &Plan) {
        let Some((_, pending)) = self.thread.calls.iter_mut().next_back() else {
            return;
        };
        let reader = Reader(&self.space.memory);
        let memory = Layered {
            snapshot: &self.buffers.snapshot,
            memory: &reader,
        };
        self.reporter
            .entry(self.points, pending, plan, &memory, self.space);
        // What was done about the entry is no part of the call.
        pending.started = if self.reporter.measures() {
            self.reporter.clock.now()
        } else {
            pending.call.time
        };
    }

    /// The thread is where calls return to. Gives how many did.
    fn arrival(&mut self) -> Result<usize, Error> {
        let mut closed = std::mem::take(&mut self.buffers.closed);
        let calls = &mut self.thread.calls;
        let mut stacks = stacks(&mut self.thread.stacks, self.thread.tgid, self.space);
        let count = calls.returned(self.at, self.regs.sp(), &mut stacks, &mut closed);
        self.close(&mut closed)?;
        self.buffers.closed = closed;
        Ok(count)
    }

    /// Reports calls that have ended.
    fn close(&mut self, closed: &mut Vec<Closed<Box<Pending>>>) -> Result<(), Error> {
        for Closed {
            token: pending, how, ..
        } in closed.drain(..)
        {
            if let Some(trap) = pending.return_trap {
                self.space.sites.closed(trap);
            }
            match how {
                How::Returned => self.show_return(&pending)?,
                How::Unwound => self.reporter.unwound(self.points, &pending),
            }
            self.recycle(pending);
        }
        Ok(())
    }

    /// Shows a return, and adds its time to that of the call around it.
    fn show_return(&mut self, pending: &Pending) -> Result<(), Error> {
        let mut ret = RawReturn {
            time: self.reporter.clock.now(),
            ..RawReturn::default()
        };
        let plan = self.plan(pending.point);
        let snapshot = &mut self.buffers.snapshot;
        snapshot.clear();
        ret.take_registers(self.regs);
        if !self.reporter.counts_only() {
            if plan.wants_fp_at_return() {
                ret.fp = Some(self.stopped.fp_regs()?);
            }
            let types = self.reporter.prototypes().types();
            wants_at_return(
                types,
                &plan,
                &pending.call,
                &ret,
                self.reporter.limits(),
                snapshot,
            );
            snapshot_read(&self.space.memory, snapshot);
            ret.errno = self.errno(&plan, pending, &ret);
        }
        if let Some(function) = self.points.get(pending.point).resolves {
            // What cannot be trapped is not met.
            let _: bool = self
                .space
                .meet_function(self.stopped, Addr::new(ret.words[0]), function);
        }
        let reader = Reader(&self.space.memory);
        let memory = Layered {
            snapshot: &self.buffers.snapshot,
            memory: &reader,
        };
        let sample = self
            .reporter
            .returned(self.points, pending, &plan, &ret, &memory, self.space);
        if let Some(most) = self.reporter.stack(pending) {
            let mut text = std::mem::take(&mut self.buffers.text);
            text.clear();
            self.space.backtrace(self.at, self.regs, most, &mut text);
            self.reporter.lines(&text);
            self.buffers.text = text;
        }
        if let (Some(sample), Some((_, around))) = (sample, self.thread.calls.iter_mut().next_back()) {
            around.open.add_inner(&sample);
        }
        Ok(())
    }

    /// The thread's `errno`, where the call has failed and left its reason there.
    fn errno(&mut self, plan: &Plan, pending: &Pending, ret: &RawReturn) -> Option<i32> {
        let memory = Layered {
            snapshot: &self.buffers.snapshot,
            memory: &Reader(&self.space.memory),
        };
        let types = self.reporter.prototypes().types();
        wants_errno(types, plan, &pending.call, ret, &memory)
            .then(|| self.space.errno(self.regs))
            .flatten()
    }

    fn recycle(&mut self, pending: Box<Pending>) {
        self.buffers.recycle(pending);
    }
}

impl Buffers {
    /// A call is over: its record is used again.
    pub(super) fn recycle(&mut self, pending: Box<Pending>) {
        if self.pool.len() < MAX_POOL {
            self.pool.push(pending);
        }
    }
}

/// Reads the stack of a call up to `len` bytes from its stack pointer on, after what is known of it.
fn read_stack(memory: &Memory, call: &mut RawCall, len: usize) {
    let known = call.stack.len();
    if known >= len {
        return;
    }
    call.stack.resize(len, 0);
    let at = call.sp.wrapping_add(known as u64);
    let got = memory.read(at, &mut call.stack[known..]).unwrap_or(0);
    call.stack.truncate(known + got);
}

/// Fills a snapshot by one vectored read.
pub(super) fn snapshot_read(memory: &Memory, snapshot: &mut Snapshot) {
    if !snapshot.is_empty() {
        snapshot.fill_each(|ranges, done| {
            // A process that is gone has no bytes; its end is reported by itself.
            memory.read_vectored(ranges, done);
        });
    }
}

/// The word at the start of `stack`; zero where the stack could not be read.
fn first_word(stack: &[u8], size: usize) -> Addr {
    let mut word = [0; 8];
    if let Some(bytes) = stack.get(..size) {
        word[..size].copy_from_slice(bytes);
    }
    Addr::new(u64::from_le_bytes(word))
}

/// What can be found out about a thread's stacks.
fn stacks<'a>(map: &'a mut StackMap, tgid: Tid, space: &'a Space) -> Stacks<'a> {
    Stacks {
        map,
        tgid,
        memory: &space.memory,
        word_size: space.arch.abi().word_size(),
    }
}
