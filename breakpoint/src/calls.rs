//! The pending calls of one thread.

use arch_abi::{Addr, Arch};

/// A call that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Where it will return to.
    pub return_to: Addr,
    /// The stack pointer after its return, if the callee removes no arguments: that at the entry plus
    /// [`Abi::return_address_size`](arch_abi::Abi::return_address_size).
    pub sp_after: Addr,
    /// What was called: where its entry was trapped. Tells a tail call (another function with the same return)
    /// from the same call made again after the first was left.
    pub entry: Addr,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// It returned: its result is in the registers of this stop.
    Returned,
    /// Its frame was left in another way: an exception, `longjmp`, the end of the thread.
    Unwound,
}

/// A call that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed<T> {
    /// What the owner said of it.
    pub token: T,
    /// The call.
    pub frame: Frame,
    /// How it ended.
    pub how: How,
}

/// What became of a call that was announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It is pending.
    Pending,
    /// The stack is full: the call is not pending, and its return will not be known.
    Full,
}

/// What the owner can find out about stacks. It is asked only when a frame seems to have been left without
/// returning, never in a plain sequence of nested calls.
///
/// Threads have more than one stack: coroutines, `makecontext`, `sigaltstack`. A stack pointer above a
/// frame says that the frame was left only when both are on one stack, and nothing in the system tells what
/// a stack is.
pub trait StackWitness {
    /// Whether both addresses surely lie on one stack (`Some(true)`), surely on two (`Some(false)`: in two
    /// mappings), or neither is sure (in one mapping, which may hold several stacks).
    fn same_stack(&mut self, frame: Addr, now: Addr) -> Option<bool>;

    /// The word, of the ABI's size and zero-extended, at `at`; `None` if it cannot be read.
    fn word(&mut self, at: Addr) -> Option<u64>;

    /// Whether the return address of a frame is still where it was put. Who sees calls in another way than by their return
    /// addresses says what is known.
    fn holds(&mut self, at: Addr, return_to: Addr) -> bool {
        self.word(at) == Some(return_to.get())
    }
}

/// How often a frame that is set aside is looked at again before that is left to chance.
const MAX_LOOKS: u8 = 16;

#[derive(Clone, Debug)]
struct Entry<T> {
    frame: Frame,
    token: T,
    number: u64,
    /// How often this frame was found neither alive nor dead.
    looks: u8,
}

/// The pending calls of one thread.
///
/// A call is closed as returned when the thread arrives at its return address with its stack pointer. It is
/// closed as unwound only on evidence:
///
/// - a later call has put its return address in the same place of the stack;
/// - the stack pointer is above the frame, and the [`StackWitness`] is sure that this is one stack, or finds that
///   the return address is no longer there;
/// - the thread has ended, or [`CallStack::unwound_below`] says so.
///
/// A frame that the stack pointer has passed without such evidence may belong to a coroutine that will go on.
/// It is set aside: it can still return, and it is looked at again at the next few events.
#[derive(Clone, Debug)]
pub struct CallStack<T> {
    /// Each lies lower on the stack than the one before, or in the same place after a tail call.
    nested: Vec<Entry<T>>,
    /// Frames that the stack pointer has passed, oldest first.
    aside: Vec<Entry<T>>,
    limit: usize,
    /// Bytes of a return address on the stack; zero where there is none.
    slot_size: u64,
    /// The most bytes of arguments that a callee removes.
    callee_pop: u64,
    pushes: u64,
}

/// What is known of a frame that the stack pointer has passed.
enum Life {
    Dead,
    /// It lies on another stack.
    Elsewhere,
    Unknown,
}

impl<T> CallStack<T> {
    /// No calls; at most `limit` will be pending at a time.
    #[must_use]
    pub fn new(arch: Arch, limit: usize) -> Self {
        Self {
            nested: Vec::new(),
            aside: Vec::new(),
            limit,
            slot_size: arch.abi().return_address_size(),
            callee_pop: arch.abi().max_callee_pop(),
            pushes: 0,
        }
    }

    /// A call is entered. What it shows to have been left is appended to `closed` as unwound, newest first.
    pub fn push<W: StackWitness + ?Sized>(
        &mut self,
        frame: Frame,
        token: T,
        stacks: &mut W,
        closed: &mut Vec<Closed<T>>,
    ) -> Pushed {
        self.pass(frame.sp_after, stacks, closed);
        self.leave_overwritten(&frame, closed);
        if !self.aside.is_empty() {
            self.look_again(frame.sp_after, stacks, closed);
        }
        if self.len() >= self.limit && !self.drop_oldest_aside(closed) {
            return Pushed::Full;
        }
        self.pushes += 1;
        self.nested.push(Entry {
            frame,
            token,
            number: self.pushes,
            looks: 0,
        });
        Pushed::Pending
    }

    /// A thread arrives at a return address with this stack pointer. Appended to `closed`: the calls that
    /// turn out to have been unwound, newest first; then those that return here, newest first (more than one
    /// after tail calls). Tells how many return: zero is an arrival without a pending call, as a second
    /// return of `setjmp`, or code that was reached in another way.
    pub fn returned<W: StackWitness + ?Sized>(
        &mut self,
        at: Addr,
        sp: Addr,
        stacks: &mut W,
        closed: &mut Vec<Closed<T>>,
    ) -> usize {
        let Some((frame, is_aside)) = self.find(at, sp) else {
            return 0;
        };
        if !is_aside {
            self.pass(frame.sp_after, stacks, closed);
        }
        if !self.aside.is_empty() {
            self.look_again(sp, stacks, closed);
        }
        let before = closed.len();
        let returns = |entry: &Entry<T>| {
            entry.frame.sp_after == frame.sp_after && entry.frame.return_to == frame.return_to
        };
        while let Some(entry) = self.nested.pop_if(|entry| returns(entry)) {
            closed.push(entry.close(How::Returned));
        }
        if is_aside {
            let returning = self.aside.extract_if(.., |entry| returns(entry));
            closed.extend(returning.map(|entry| entry.close(How::Returned)));
            closed[before..].reverse();
        }
        closed.len() - before
    }

    /// All calls whose frames lie below `sp` on its stack were left, as the owner knows for sure: it saw
    /// where a `longjmp` goes.
    pub fn unwound_below<W: StackWitness + ?Sized>(
        &mut self,
        sp: Addr,
        stacks: &mut W,
        closed: &mut Vec<Closed<T>>,
    ) {
        while let Some(entry) = self.nested.pop_if(|entry| entry.frame.sp_after <= sp) {
            if stacks.same_stack(self.slot(&entry.frame), sp) == Some(false) {
                self.aside.push(entry);
            } else {
                closed.push(entry.close(How::Unwound));
            }
        }
        if !self.aside.is_empty() {
            self.look_again(sp, stacks, closed);
        }
    }

    /// The thread has ended, or its program was replaced: all calls are closed, newest first.
    pub fn drain(&mut self, closed: &mut Vec<Closed<T>>) {
        let mut all: Vec<Entry<T>> = self.aside.drain(..).chain(self.nested.drain(..)).collect();
        all.sort_by_key(|entry| std::cmp::Reverse(entry.number));
        closed.extend(all.into_iter().map(|entry| entry.close(How::Unwound)));
    }

    /// Whether a call whose stack pointer after its return is `sp_after` would, if it were entered now, show that another one was
    /// left. If not, one that has returned already need not be pushed.
    #[must_use]
    pub fn is_left_by(&self, sp_after: Addr) -> bool {
        let innermost = self.nested.last();
        !self.aside.is_empty() || innermost.is_some_and(|entry| entry.frame.sp_after <= sp_after)
    }

    /// How many calls are pending.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nested.len() + self.aside.len()
    }

    /// How many calls the running code is nested in: those set aside are not counted.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.nested.len()
    }

    /// Whether none is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pending calls: first those set aside, then those that the running code is nested in, both oldest
    /// first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Frame, &T)> + '_ {
        self.aside
            .iter()
            .chain(&self.nested)
            .map(|entry| (&entry.frame, &entry.token))
    }

    /// [`CallStack::iter`], to change what the owner said.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&Frame, &mut T)> + '_ {
        self.aside
            .iter_mut()
            .chain(&mut self.nested)
            .map(|entry| (&entry.frame, &mut entry.token))
    }

    /// The call that returns to `at` with the stack pointer at `sp`, and whether it is set aside. An exact
    /// match goes first, then the nearest one whose callee may have removed arguments.
    fn find(&self, at: Addr, sp: Addr) -> Option<(Frame, bool)> {
        // In a nest the stack pointers are sorted: what lies above `sp` need not be looked at one by one.
        let first = match self.nested.last() {
            Some(entry) if entry.frame.sp_after == sp => self.nested.len() - 1,
            _ => self.nested.partition_point(|entry| entry.frame.sp_after > sp),
        };
        let in_reach = |entry: &&Entry<T>| {
            let removed = sp.offset_from(entry.frame.sp_after);
            entry.frame.return_to == at && removed.is_some_and(|bytes| bytes <= self.callee_pop)
        };
        let nested = self.nested[first..].iter().find(in_reach);
        let exact = |entry: &&Entry<T>| entry.frame.sp_after == sp;
        if let Some(entry) = nested.filter(exact) {
            return Some((entry.frame, false));
        }
        let aside = || self.aside.iter().rev().filter(in_reach);
        if let Some(entry) = aside().find(exact) {
            return Some((entry.frame, true));
        }
        let of_aside = || aside().next().map(|entry| (entry.frame, true));
        nested.map(|entry| (entry.frame, false)).or_else(of_aside)
    }

    /// The stack pointer is at `sp`: frames below it are closed or set aside.
    fn pass<W: StackWitness + ?Sized>(&mut self, sp: Addr, stacks: &mut W, closed: &mut Vec<Closed<T>>) {
        while let Some(mut entry) = self.nested.pop_if(|entry| entry.frame.sp_after < sp) {
            match self.judge(&entry.frame, sp, stacks) {
                Life::Dead => closed.push(entry.close(How::Unwound)),
                life => {
                    entry.looks = if matches!(life, Life::Elsewhere) {
                        MAX_LOOKS
                    } else {
                        1
                    };
                    self.aside.push(entry);
                }
            }
        }
    }

    /// Looks at frames set aside that may have been found dead by now.
    fn look_again<W: StackWitness + ?Sized>(
        &mut self,
        sp: Addr,
        stacks: &mut W,
        closed: &mut Vec<Closed<T>>,
    ) {
        for index in (0..self.aside.len()).rev() {
            let entry = &mut self.aside[index];
            if entry.looks >= MAX_LOOKS || entry.frame.sp_after >= sp {
                continue;
            }
            entry.looks += 1;
            let frame = entry.frame;
            if matches!(self.judge(&frame, sp, stacks), Life::Dead) {
                closed.push(self.aside.remove(index).close(How::Unwound));
            }
        }
    }

    /// Closes the calls whose return address `frame`'s call has overwritten with its own.
    ///
    /// The same return address in the same place is either the same call made again, or a tail call, which
    /// calls something else in the place of its caller.
    fn leave_overwritten(&mut self, frame: &Frame, closed: &mut Vec<Closed<T>>) {
        let here = |entry: &Entry<T>| entry.frame.sp_after == frame.sp_after;
        let is_tail_call = self
            .nested
            .iter()
            .rev()
            .take_while(|entry| here(entry))
            .all(|entry| entry.frame.return_to == frame.return_to && entry.frame.entry != frame.entry);
        if !is_tail_call {
            while let Some(entry) = self.nested.pop_if(|entry| here(entry)) {
                closed.push(entry.close(How::Unwound));
            }
        }
        for index in (0..self.aside.len()).rev() {
            if here(&self.aside[index]) {
                closed.push(self.aside.remove(index).close(How::Unwound));
            }
        }
    }

    fn judge<W: StackWitness + ?Sized>(&self, frame: &Frame, sp: Addr, stacks: &mut W) -> Life {
        let slot = self.slot(frame);
        let is_intact = |stacks: &mut W| self.slot_size == 0 || stacks.holds(slot, frame.return_to);
        match stacks.same_stack(slot, sp) {
            Some(false) => Life::Elsewhere,
            None if is_intact(stacks) => Life::Unknown,
            Some(true) | None => Life::Dead,
        }
    }

    /// Where a frame's return address lies.
    fn slot(&self, frame: &Frame) -> Addr {
        frame.sp_after.wrapping_sub(self.slot_size)
    }

    /// Makes room. Tells whether there was any to make.
    fn drop_oldest_aside(&mut self, closed: &mut Vec<Closed<T>>) -> bool {
        if self.aside.is_empty() {
            return false;
        }
        closed.push(self.aside.remove(0).close(How::Unwound));
        true
    }
}

impl<T> Entry<T> {
    fn close(self, how: How) -> Closed<T> {
        Closed {
            token: self.token,
            frame: self.frame,
            how,
        }
    }
}
