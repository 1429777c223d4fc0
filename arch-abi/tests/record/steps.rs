//! A signal between any two instructions of recording code, and a tracer that leaves there.
//!
//! The code is single-stepped: at one instruction after the other, the handler of the step does what a tracer does at a signal's stop, and
//! what a program's handler does.

use crate::machine::{Call, inspect, invoked};
use crate::registers::{call, check_records, recordings};
use crate::world::{
    Futex, Seen, Stub, World, faults, handle, now, one_ring, resume, resume_context, set_gs, write,
};
use arch_abi::Addr;
use arch_abi::record::{CallFields, Interruption, RETURN_ADDRESS, Recording, ReturnFields};
use fast_ring::format::block::{CACHED_LIMIT, HEAD, LIMIT, LOST, LOST_TOLD, WAITING, WAKE};
use fast_ring::format::header::{ASLEEP, CONSUMER};
use fast_ring::format::{CALL, RETURN};
use fast_ring::{Consumer, Host, OnFull};
use std::cell::Cell;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

const TRAP_FLAG: i64 = 1 << 8; // EFLAGS.TF (Intel SDM, "System Flags and Fields in the EFLAGS Register")
const TRAP_TRACE: i32 = 2; // siginfo.h: not an `int3`

/// What is done at one of the steps.
struct Stepper<'a> {
    /// At which one that is in recording code, and how many there were.
    target: u64,
    steps: u64,
    act: &'a mut dyn FnMut(*mut libc::c_void),
}

thread_local! {
    static STEPPER: Cell<*mut Stepper<'static>> = const { Cell::new(std::ptr::null_mut()) };
}

extern "C" fn on_trap(_signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: this is a signal handler; the stepper lives while the trap flag may be set.
    let (info, gregs, stepper) = unsafe {
        let gregs = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        (&*info, gregs, &mut *STEPPER.get())
    };
    let flags = &mut gregs[usize::try_from(libc::REG_EFL).unwrap()];
    if info.si_code != TRAP_TRACE {
        *flags |= TRAP_FLAG;
        return;
    }
    let pc = gregs[usize::try_from(libc::REG_RIP).unwrap()].cast_unsigned();
    if resume(pc, Interruption::Signal).is_none() {
        return;
    }
    stepper.steps += 1;
    if stepper.steps - 1 == stepper.target {
        gregs[usize::try_from(libc::REG_EFL).unwrap()] &= !TRAP_FLAG;
        (stepper.act)(context);
    }
}

/// Makes the call in steps, and does `act` at the step `target`. Whether there was such a step.
fn step(made: &mut Call, entry: u64, target: u64, act: &mut dyn FnMut(*mut libc::c_void)) -> bool {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| handle(libc::SIGTRAP, on_trap));
    let mut stepper = Stepper {
        target,
        steps: 0,
        act,
    };
    STEPPER.set((&raw mut stepper).cast());
    // SAFETY: the handler is there, and sets the trap flag.
    unsafe { std::arch::asm!("int3") };
    made.invoke(entry);
    // SAFETY: this clears the trap flag, if it is still set, and what else is popped was pushed.
    unsafe { std::arch::asm!("pushfq", "and dword ptr [rsp], {}", "popfq", const !TRAP_FLAG) };
    STEPPER.set(std::ptr::null_mut());
    stepper.steps > target
}

/// That from where the thread is now, the descriptions of both areas lead to the caller.
fn check_unwinding(world: &World, context: *mut libc::c_void) {
    // SAFETY: a handler's context.
    let gregs = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let get = |index: i32| gregs[usize::try_from(index).unwrap()].cast_unsigned();
    let (mut pc, mut sp) = (Addr::new(get(libc::REG_RIP)), Addr::new(get(libc::REG_RSP)));
    // SAFETY: stacks and their shadows can be read.
    let load = |at: Addr| unsafe { *(at.get() as *const u64) };
    loop {
        if world.areas.entries.contains(&pc) {
            pc = Addr::new(load(sp));
            sp = sp.wrapping_add(8);
        } else if world.areas.returns.contains(&pc) {
            pc = Addr::new(load(RETURN_ADDRESS.of(sp.wrapping_sub(8))));
        } else {
            break;
        }
    }
    assert_eq!(pc.get(), invoked(), "unwound to {pc}");
}

/// What a ring is like when the call begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Roomy,
    /// The slow path at the call, or at the return.
    Quarter,
    QuarterAtReturn,
    /// With a sleeping consumer, and records lost before.
    Asleep,
    LostBefore,
    /// The record has no room and is dropped.
    Drop,
    Abandoned,
    GivenUp,
}

struct Steps {
    world: World,
    stub: Stub,
    /// What the handler calls.
    other: Stub,
    consumer: Consumer<'static>,
}

impl Steps {
    fn new(recording: &Recording) -> Steps {
        let mut world = World::new(one_ring());
        let plain = Recording {
            call: CallFields::default(),
            ret: Some(ReturnFields::default()),
        };
        Steps {
            stub: world.stub(recording, inspect()),
            other: world.stub(&plain, nothing as *const () as u64),
            consumer: world.consumer(0),
            world,
        }
    }

    /// Everything read, and the ring in the state.
    fn prepare(&mut self, state: State) {
        let world = &mut self.world;
        world.region.set_on_full(OnFull::Wait);
        world.attend(u64::MAX);
        world.drain(&mut self.consumer);
        self.consumer.hand_over(Some(1));
        let block = world.block(0);
        let head = block[HEAD / 8].load(Ordering::Relaxed);
        let near = |by| block[CACHED_LIMIT / 8].store(head.wrapping_add(by), Ordering::Relaxed);
        near(1 << 12);
        let full = || {
            near(0);
            block[LIMIT / 8].store(head, Ordering::Relaxed);
        };
        match state {
            State::Roomy => {}
            State::Quarter => near(0),
            State::QuarterAtReturn => near(8),
            State::Asleep => {
                near(0);
                world.header(ASLEEP).store(1, Ordering::Relaxed);
            }
            State::LostBefore => {
                near(0);
                block[LOST / 8].store(5, Ordering::Relaxed);
            }
            State::Drop => {
                full();
                world.region.set_on_full(OnFull::Drop);
            }
            State::Abandoned => {
                full();
                world.header(CONSUMER).store(0, Ordering::Relaxed);
            }
            State::GivenUp => {
                full();
                world.attend(0);
            }
        }
    }
}

extern "C" fn nothing() {}

/// Takes the two records of the handler away, which lie side by side.
fn without_handler(mut seen: Vec<Seen>, other: &Stub) -> Vec<Seen> {
    let at = seen
        .iter()
        .position(|record| record.id == other.id)
        .expect("the handler's call");
    let pair: Vec<Seen> = seen.drain(at..at + 2).collect();
    assert_eq!((pair[0].kind, pair[1].kind), (CALL, RETURN));
    assert_eq!(pair[1].id, other.id);
    seen
}

/// Recordings with every kind of call, and every kind of return.
fn stepped() -> impl Iterator<Item = Recording> {
    // Of each five one kind of call has the five kinds of return.
    let indices = (0..5).flat_map(|call| [5 * call, 5 * call + 1 + call % 4]);
    let all = recordings();
    indices.map(move |index| all[index].clone())
}

fn signals(recording: &Recording, state: State) {
    let mut steps = Steps::new(recording);
    let inside = steps.world.enter(0);
    let mut step_there = true;
    let mut target = 0;
    while step_there {
        steps.prepare(state);
        let mut made = call();
        let start = now();
        let (world, other) = (&steps.world, steps.other);
        // SAFETY: it is before `nothing`.
        let handler: extern "C" fn() = unsafe { other.function() };
        step_there = step(&mut made, steps.stub.entry(), target, &mut |context| {
            // SAFETY: a handler's context.
            unsafe { resume_context(context, Interruption::Signal) };
            check_unwinding(world, context);
            handler();
        });
        let span = (start, now());
        made.check();
        let mut seen = steps.world.drain(&mut steps.consumer);
        let lost = steps.consumer.lost();
        match state {
            State::Drop | State::Abandoned | State::GivenUp => {
                assert_eq!(
                    (seen.len(), lost),
                    (0, 1 + u64::from(step_there)),
                    "step {target}"
                );
            }
            _ => {
                if step_there {
                    seen = without_handler(seen, &steps.other);
                }
                check_records(&seen, &steps.stub, recording, &made, span);
                assert_eq!(lost, if state == State::LostBefore { 5 } else { 0 });
                assert_eq!(lost, steps.world.block(0)[LOST_TOLD / 8].load(Ordering::Relaxed));
                assert_eq!(steps.world.header(ASLEEP).load(Ordering::Relaxed), 0);
            }
        }
        assert_eq!(steps.world.block(0)[WAITING / 8].load(Ordering::Relaxed), 0);
        target += 1;
    }
    drop(inside);
    assert!(target > 15, "{target} steps");
}

#[test]
fn a_signal_at_every_instruction() {
    for recording in stepped() {
        signals(&recording, State::Roomy);
    }
}

#[test]
fn a_signal_at_every_instruction_of_the_slow_path() {
    for index in [8, 24] {
        let recording = &recordings()[index];
        for state in [
            State::Quarter,
            State::QuarterAtReturn,
            State::Asleep,
            State::LostBefore,
            State::Drop,
            State::Abandoned,
            State::GivenUp,
        ] {
            signals(recording, state);
        }
    }
}

#[test]
fn a_signal_at_every_instruction_of_a_wait() {
    let recording = &recordings()[8];
    let mut steps = Steps::new(recording);
    let inside = steps.world.enter(0);
    let mut step_there = true;
    let mut target = 0;
    while step_there {
        steps.prepare(State::Roomy);
        let block = steps.world.block(0);
        let head = block[HEAD / 8].load(Ordering::Relaxed);
        let room = block[LIMIT / 8].swap(head, Ordering::Relaxed);
        block[CACHED_LIMIT / 8].store(head, Ordering::Relaxed);
        let done = AtomicBool::new(false);
        let mut made = call();
        let start = now();
        // SAFETY: it is before `nothing`.
        let handler: extern "C" fn() = unsafe { steps.other.function() };
        std::thread::scope(|scope| {
            scope.spawn(|| give_room(block, room, &done));
            step_there = step(&mut made, steps.stub.entry(), target, &mut |context| {
                // SAFETY: a handler's context.
                unsafe { resume_context(context, Interruption::Signal) };
                check_unwinding(&steps.world, context);
                handler();
            });
            done.store(true, Ordering::Relaxed);
        });
        let span = (start, now());
        made.check();
        let mut seen = steps.world.drain(&mut steps.consumer);
        if step_there {
            seen = without_handler(seen, &steps.other);
        }
        check_records(&seen, &steps.stub, recording, &made, span);
        assert_eq!(steps.consumer.lost(), 0);
        assert_eq!(block[WAITING / 8].load(Ordering::Relaxed), 0);
        target += 1;
    }
    drop(inside);
    assert!(target > 50, "{target} steps");
}

/// A consumer that gives room once a thread waits for it, as `FORMAT.md` says.
fn give_room(block: &[AtomicU64], room: u64, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        if block[WAITING / 8].load(Ordering::Relaxed) == 1 {
            block[LIMIT / 8].store(room, Ordering::Release);
            fence(Ordering::SeqCst);
            if block[WAITING / 8].load(Ordering::Relaxed) != 0 {
                block[WAITING / 8].store(0, Ordering::Relaxed);
                block[WAKE / 8].fetch_add(1, Ordering::Release);
                Futex.wake(&block[WAKE / 8]);
            }
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_tracer_that_leaves_at_any_instruction() {
    for recording in stepped() {
        leaves(&recording, State::Roomy);
    }
    for index in [8, 24] {
        let recording = &recordings()[index];
        for state in [
            State::Quarter,
            State::QuarterAtReturn,
            State::LostBefore,
            State::Drop,
            State::GivenUp,
        ] {
            leaves(recording, state);
        }
    }
}

fn leaves(recording: &Recording, state: State) {
    let mut steps = Steps::new(recording);
    let (stub, template) = (steps.stub, steps.stub.template);
    let mut step_there = true;
    let mut target = 0;
    while step_there {
        let inside = steps.world.enter(0);
        steps.prepare(state);
        let mut made = call();
        let before = faults();
        step_there = step(&mut made, stub.entry(), target, &mut |context| {
            // SAFETY: a handler's context.
            unsafe { resume_context(context, Interruption::Leave) };
            set_gs(0);
            for overwrite in template.retire(&stub.places).into_iter().flatten() {
                write(overwrite.at, &overwrite.bytes);
            }
            check_unwinding(&steps.world, context);
        });
        made.check();
        if step_there {
            let mut again = call();
            again.invoke(stub.entry());
            again.check();
        }
        drop(inside);
        assert_eq!(faults() - before, 0, "{state:?}, step {target}");
        steps.world.drain(&mut steps.consumer);
        steps.world.write_again(&stub);
        target += 1;
    }
}
