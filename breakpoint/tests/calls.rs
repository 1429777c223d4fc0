//! The pending calls of a thread, as programs make and leave them.

use arch_abi::{Addr, Arch};
use breakpoint::{CallStack, Closed, Frame, How, Pushed, StackWitness};

/// What stands on the stacks of a process.
#[derive(Default)]
struct Stacks {
    /// `None`: not sure.
    same: Option<bool>,
    /// What is written in each place, by its address.
    words: std::collections::BTreeMap<u64, u64>,
    asked: u32,
}

impl StackWitness for Stacks {
    fn same_stack(&mut self, _frame: Addr, _now: Addr) -> Option<bool> {
        self.asked += 1;
        self.same
    }

    fn word(&mut self, at: Addr) -> Option<u64> {
        self.asked += 1;
        self.words.get(&at.get()).copied()
    }
}

struct Thread {
    calls: CallStack<&'static str>,
    stacks: Stacks,
    closed: Vec<Closed<&'static str>>,
}

fn frame(return_to: u64, sp_after: u64, entry: u64) -> Frame {
    Frame {
        return_to: Addr::new(return_to),
        sp_after: Addr::new(sp_after),
        entry: Addr::new(entry),
    }
}

impl Thread {
    fn new(arch: Arch) -> Self {
        Self {
            calls: CallStack::new(arch, 100),
            stacks: Stacks::default(),
            closed: Vec::new(),
        }
    }

    /// Calls `name` from before `return_to`; its entry is named by its first letter.
    fn call(&mut self, name: &'static str, return_to: u64, sp: u64) {
        let entry = u64::from(name.as_bytes()[0]);
        self.stacks.words.insert(sp - 8, return_to);
        let pushed = self.calls.push(
            frame(return_to, sp, entry),
            name,
            &mut self.stacks,
            &mut self.closed,
        );
        assert_eq!(pushed, Pushed::Pending);
    }

    fn arrive(&mut self, at: u64, sp: u64) -> usize {
        self.calls
            .returned(Addr::new(at), Addr::new(sp), &mut self.stacks, &mut self.closed)
    }

    /// What was closed since the last time.
    fn closed(&mut self) -> Vec<(&'static str, How)> {
        self.closed
            .drain(..)
            .map(|closed| (closed.token, closed.how))
            .collect()
    }
}

use How::{Returned, Unwound};

#[test]
fn nested_calls_return_and_nobody_is_asked() {
    let mut thread = Thread::new(Arch::X86_64);
    for depth in 0..50 {
        thread.call("fac", 0x1000, 0x8000 - depth * 32); // recursion: one return address
    }
    for depth in (0..50).rev() {
        assert_eq!(thread.arrive(0x1000, 0x8000 - depth * 32), 1);
    }
    assert_eq!(thread.closed(), [("fac", Returned); 50]);
    assert_eq!((thread.calls.len(), thread.stacks.asked), (0, 0));
}

#[test]
fn an_arrival_without_a_call_closes_nothing() {
    let mut thread = Thread::new(Arch::X86_64);
    thread.call("setjmp", 0x1000, 0x8000);
    assert_eq!(thread.arrive(0x1000, 0x8000), 1);
    assert_eq!(thread.closed(), [("setjmp", Returned)]);
    thread.call("puts", 0x2000, 0x7000);
    assert_eq!(thread.arrive(0x1000, 0x8000), 0, "setjmp's second return");
    assert_eq!(
        thread.arrive(0x2000, 0x6ff0),
        0,
        "another stack pointer: another call"
    );
    assert_eq!(thread.closed(), []);
}

#[test]
fn a_tail_call_returns_together_with_its_caller() {
    let mut thread = Thread::new(Arch::X86_64);
    thread.call("a", 0x1000, 0x8000);
    thread.call("b", 0x1000, 0x8000);
    thread.call("c", 0x1000, 0x8000);
    assert_eq!(thread.arrive(0x1000, 0x8000), 3);
    assert_eq!(
        thread.closed(),
        [("c", Returned), ("b", Returned), ("a", Returned)]
    );
}

#[test]
fn the_same_call_made_again_says_that_the_first_was_left() {
    let mut thread = Thread::new(Arch::X86_64);
    for round in 0..1000 {
        thread.call("try", 0x1000, 0x8000); // leaves by longjmp each time
        thread.call("helper", 0x2000, 0x7800);
        let left = if round == 0 {
            vec![]
        } else {
            vec![("helper", Unwound), ("try", Unwound)]
        };
        thread.stacks.same = Some(true);
        assert_eq!(thread.closed(), left);
    }
    assert_eq!(thread.calls.len(), 2);
}

#[test]
fn another_call_in_the_same_place_says_that_the_first_was_left() {
    let mut thread = Thread::new(Arch::X86_64);
    thread.call("try", 0x1000, 0x8000);
    thread.call("puts", 0x1080, 0x8000);
    assert_eq!(thread.closed(), [("try", Unwound)]);
    assert_eq!(thread.stacks.asked, 0, "the place itself is the evidence");
}

#[test]
fn frames_left_by_an_exception_are_closed_when_their_caller_returns() {
    let mut thread = Thread::new(Arch::X86_64);
    thread.stacks.same = Some(true);
    thread.call("outer", 0x1000, 0x8000);
    thread.call("middle", 0x2000, 0x7800);
    thread.call("inner", 0x3000, 0x7000);
    assert_eq!(thread.arrive(0x1000, 0x8000), 1);
    assert_eq!(
        thread.closed(),
        [("inner", Unwound), ("middle", Unwound), ("outer", Returned)]
    );
}

#[test]
fn a_frame_without_its_return_address_was_left() {
    let mut thread = Thread::new(Arch::X86_64);
    thread.call("qsort", 0x1000, 0x8000);
    thread.stacks.words.insert(0x8000 - 8, 0xdead); // something else was called there since
    thread.call("puts", 0x2000, 0x8100);
    assert_eq!(thread.closed(), [("qsort", Unwound)]);
}

#[test]
fn a_frame_that_may_have_been_left_is_closed_when_its_place_is_used() {
    let mut thread = Thread::new(Arch::X86_64);
    thread.call("qsort", 0x1000, 0x8000);
    thread.call("puts", 0x2000, 0x8100); // by longjmp, and nothing has been overwritten yet
    assert_eq!(
        (thread.closed(), thread.calls.depth(), thread.calls.len()),
        (vec![], 1, 2)
    );
    thread.stacks.words.insert(0x8000 - 8, 0xdead); // by puts
    assert_eq!(thread.arrive(0x2000, 0x8100), 1);
    assert_eq!(thread.closed(), [("qsort", Unwound), ("puts", Returned)]);
}

#[test]
fn coroutines_in_one_mapping_return_each_to_their_own() {
    let mut thread = Thread::new(Arch::X86_64);
    // Two stacks whose order is the worst in either direction, and no help from the mappings.
    for round in 0..100 {
        thread.call("switch in a", 0x1000 + round, 0x8000);
        if round > 0 {
            assert_eq!(thread.arrive(0x2000 + round - 1, 0x9000), 1, "b goes on");
        }
        thread.call("switch in b", 0x2000 + round, 0x9000);
        assert_eq!(thread.arrive(0x1000 + round, 0x8000), 1, "a goes on");
    }
    let closed = thread.closed();
    assert_eq!(closed.len(), 199);
    assert!(closed.iter().all(|(_, how)| *how == Returned), "{closed:?}");
}

#[test]
fn a_signal_stack_is_not_the_threads_stack() {
    let mut thread = Thread::new(Arch::X86_64);
    thread.call("pause", 0x1000, 0x8000);
    thread.stacks.same = Some(false);
    thread.call("write in handler", 0x2000, 0xf000); // above, in another mapping
    assert_eq!(thread.arrive(0x2000, 0xf000), 1);
    assert_eq!(thread.arrive(0x1000, 0x8000), 1);
    assert_eq!(
        thread.closed(),
        [("write in handler", Returned), ("pause", Returned)]
    );
}

#[test]
fn a_callee_may_remove_its_arguments_on_i386() {
    let mut thread = Thread::new(Arch::I386);
    thread.call("div", 0x1000, 0x8000);
    assert_eq!(thread.arrive(0x1000, 0x8004), 1, "ret $4");
    let mut thread = Thread::new(Arch::X86_64);
    thread.call("div", 0x1000, 0x8000);
    assert_eq!(thread.arrive(0x1000, 0x8008), 0, "not on x86-64");
}

#[test]
fn an_exact_match_goes_before_removed_arguments() {
    let mut thread = Thread::new(Arch::I386);
    thread.stacks.same = Some(true);
    thread.call("outer", 0x1000, 0x8008);
    thread.call("inner", 0x1000, 0x8000);
    assert_eq!(thread.arrive(0x1000, 0x8008), 1);
    assert_eq!(thread.closed(), [("inner", Unwound), ("outer", Returned)]);
}

#[test]
fn the_owner_may_know_where_a_jump_goes() {
    let mut thread = Thread::new(Arch::X86_64);
    thread.call("a", 0x1000, 0x8000);
    thread.call("b", 0x2000, 0x7000);
    thread.call("c", 0x3000, 0x6000);
    thread
        .calls
        .unwound_below(Addr::new(0x7000), &mut thread.stacks, &mut thread.closed);
    assert_eq!(thread.closed(), [("c", Unwound), ("b", Unwound)]);
    assert_eq!(
        thread.calls.iter().map(|(_, name)| *name).collect::<Vec<_>>(),
        ["a"]
    );
}

#[test]
fn the_end_closes_all_newest_first() {
    let mut thread = Thread::new(Arch::X86_64);
    thread.call("a", 0x1000, 0x8000);
    thread.call("b", 0x2000, 0x9000); // sets a aside
    thread.call("c", 0x3000, 0x8800);
    thread.calls.drain(&mut thread.closed);
    assert_eq!(thread.closed(), [("c", Unwound), ("b", Unwound), ("a", Unwound)]);
    assert!(thread.calls.is_empty());
}

#[test]
fn memory_is_bounded() {
    let mut thread = Thread::new(Arch::X86_64);
    let mut full = 0;
    for depth in 0..1000_u64 {
        let frame = frame(0x1000, 0x80000 - depth * 16, 1);
        let pushed = thread
            .calls
            .push(frame, "f", &mut thread.stacks, &mut thread.closed);
        full += u32::from(pushed == Pushed::Full);
    }
    assert_eq!((thread.calls.len(), full, thread.closed.len()), (100, 900, 0));
    // Dead coroutines make room.
    let mut thread = Thread::new(Arch::X86_64);
    thread.stacks.same = Some(false);
    for number in 0..1000_u64 {
        thread.call("swapcontext", 0x1000, 0x10000 + number * 0x1000);
    }
    assert_eq!((thread.calls.len(), thread.closed.len()), (100, 900));
}

#[test]
fn any_numbers_are_survived() {
    let mut thread = Thread::new(Arch::I386);
    let mut random = 88172645463325252_u64;
    for _ in 0..200_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let base = match random % 5 {
            0 => 0,
            1 => 8,
            2 => u64::MAX,
            3 => 0x8000,
            _ => random,
        };
        let sp = base.wrapping_add(random >> 60);
        let at = random >> 32 & 3;
        thread.stacks.same = match random >> 40 & 3 {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        };
        if random & 1 << 50 == 0 {
            let frame = frame(at, sp, random >> 34 & 1);
            thread
                .calls
                .push(frame, "f", &mut thread.stacks, &mut thread.closed);
        } else {
            thread.arrive(at, sp);
        }
        assert!(thread.calls.len() <= 100);
    }
    assert!(thread.closed().len() > 1000);
}
