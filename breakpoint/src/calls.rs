//! The pending calls of one thread.

use arch_abi::Addr;

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
/// Threads have more than one stack: coroutines, `makecontext`, `sigaltstack`. A stack pointer above a frame says
/// that the frame was left only when both are on one stack, and no system tells what a stack is.
pub trait StackWitness {
    /// Whether both addresses surely lie on one stack (`Some(true)`), surely on two (`Some(false)`: in two mappings), or
    /// neither is sure (in one mapping, which may hold several stacks).
    fn same_stack(&mut self, frame: Addr, now: Addr) -> Option<bool>;

    /// The word of memory at `at`; `None` if it cannot be read.
    fn word(&mut self, at: Addr) -> Option<u64>;
}

/// The pending calls of one thread.
#[derive(Clone, Debug)]
pub struct CallStack<T> {
    entries: Vec<(Frame, T)>,
}

impl<T> CallStack<T> {
    /// No calls; at most `limit` will be pending.
    #[must_use]
    pub fn new(arch: arch_abi::Arch, limit: usize) -> Self {
        todo!()
    }

    /// A call is entered. What it shows to have been left is appended to `closed`, newest first, as unwound.
    pub fn push<W: StackWitness + ?Sized>(
        &mut self,
        frame: Frame,
        token: T,
        stacks: &mut W,
        closed: &mut Vec<Closed<T>>,
    ) -> Pushed {
        todo!()
    }

    /// A thread arrives at a return address with this stack pointer. Appended to `closed`: the calls that turn out to have been
    /// unwound, newest first; then those that return here, newest first (more than one after tail calls). Tells how
    /// many return: zero is an arrival without a pending call, as a second return of `setjmp`.
    pub fn returned<W: StackWitness + ?Sized>(
        &mut self,
        at: Addr,
        sp: Addr,
        stacks: &mut W,
        closed: &mut Vec<Closed<T>>,
    ) -> usize {
        todo!()
    }

    /// All calls whose frames lie below `sp` on its stack were left, as the owner knows for sure (it saw where a `longjmp` goes).
    pub fn unwound_below<W: StackWitness + ?Sized>(
        &mut self,
        sp: Addr,
        stacks: &mut W,
        closed: &mut Vec<Closed<T>>,
    ) {
        todo!()
    }

    /// The thread has ended, or its program was replaced: all calls are closed, newest first.
    pub fn drain(&mut self, closed: &mut Vec<Closed<T>>) {
        todo!()
    }

    /// How many calls are pending.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The pending calls, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Frame, &T)> + '_ {
        self.entries.iter().map(|(frame, token)| (frame, token))
    }

    /// The pending calls, oldest first.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&Frame, &mut T)> + '_ {
        self.entries.iter_mut().map(|(frame, token)| (&*frame, token))
    }
}
