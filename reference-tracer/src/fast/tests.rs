//! The text of recorded calls is that of the trap engine.

use std::collections::BTreeMap;

use arch_abi::{Addr, Arch};

use super::fill::{Moments, Recorded};
use super::testing::{CALLER, Machine, Random, Ring, SP, World, vectors};
use super::wants::{Ask, Reason, Stamps, Wants};
use crate::memory::{Layered, NoMemory, Snapshot, TargetMemory};
use crate::points::Returns;
use crate::proto::{Plan, Prototypes, Types};
use crate::value::{
    Decoder, Describe, Limits, RawCall, RawReturn, Scratch, Shown, wants_at_entry, wants_at_return,
    wants_errno,
};

/// Names of code depend on the address only.
struct Names;

impl Describe for Names {
    fn code(&self, at: Addr, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"main");
        at.get() % 2 == 0
    }
}

pub(super) fn ask<'a>(types: &'a Types, plan: &'a Plan) -> Ask<'a> {
    Ask {
        types,
        plan,
        limits: Limits::default(),
        returns: Returns::Once,
        lines: true,
        stamps: Stamps::None,
        caller: false,
        errno: Some(-64),
        fd_paths: false,
        max_record: fast_ring::format::LONGEST_RECORD,
    }
}

/// Entry, rest, result.
type Text = [Vec<u8>; 3];

fn show(
    ask: &Ask<'_>,
    call: &RawCall,
    ret: Option<&RawReturn>,
    (before, after): (&dyn TargetMemory, &dyn TargetMemory),
) -> Text {
    let (mut shown, mut scratch) = (Shown::default(), Scratch::default());
    let [mut entry, mut rest, mut result] = Text::default();
    let decoder = |memory| Decoder {
        types: ask.types,
        limits: ask.limits,
        memory,
        describe: &Names,
    };
    decoder(before).entry(ask.plan, call, &mut shown, &mut scratch, &mut entry);
    if let Some(ret) = ret {
        decoder(after).exit(ask.plan, call, ret, &shown, &mut scratch, &mut rest, &mut result);
    }
    [entry, rest, result]
}

/// What the trap engine shows.
pub(super) fn trapped(ask: &Ask<'_>, machine: &Machine) -> Text {
    let Ask {
        types, plan, limits, ..
    } = *ask;
    let mut call = RawCall {
        sp: Addr::new(SP),
        return_address: Addr::new(CALLER),
        word_count: 6,
        fp: Some(vectors(&machine.floats)),
        ..RawCall::default()
    };
    call.words[..6].copy_from_slice(&machine.ints);
    let mut stack = vec![0; plan.wants_stack_at_entry().max(8)];
    let got = machine.before.read(call.sp, &mut stack);
    stack.truncate(got);
    call.stack = stack;
    let mut snapshot = Snapshot::default();
    wants_at_entry(types, plan, &call, limits, &mut snapshot);
    snapshot.fill_from(&machine.before);
    let before = Layered {
        snapshot: &snapshot,
        memory: &machine.before,
    };
    let mut ret = RawReturn {
        words: machine.results,
        fp: Some(vectors(&machine.result_floats)),
        ..RawReturn::default()
    };
    let mut snapshot = Snapshot::default();
    wants_at_return(types, plan, &call, &ret, limits, &mut snapshot);
    snapshot.fill_from(&machine.after);
    let after = Layered {
        snapshot: &snapshot,
        memory: &machine.after,
    };
    ret.errno = wants_errno(types, plan, &call, &ret, &after).then_some(machine.errno);
    let returns = ask.returns == Returns::Once && !plan.noreturn();
    show(ask, &call, returns.then_some(&ret), (&before, &after))
}

/// What is shown of the records.
pub(super) fn recorded(ask: &Ask<'_>, wants: &Wants, machine: &Machine, ring: &Ring) -> Text {
    let (mut call, mut ret) = (RawCall::default(), None);
    let (mut at_call, mut at_return) = (Recorded::default(), Recorded::default());
    ring.record(wants, machine, (1, 2), |record, is_return| {
        if is_return {
            let mut raw = RawReturn::default();
            wants.fill_return(record, &call, &mut raw, &mut at_return);
            ret = Some(raw);
        } else {
            wants.fill_call(record, &mut call, &mut at_call);
        }
    });
    let before = Moments {
        ret: None,
        call: &at_call,
        constant: &NoMemory,
    };
    let after = Moments {
        ret: Some(&at_return),
        call: &at_call,
        constant: &NoMemory,
    };
    show(ask, &call, ret.as_ref(), (&before, &after))
}

/// Compares both ways for some calls of a function.
fn compare(
    prototypes: &Prototypes,
    plan: &Plan,
    limits: Limits,
    cases: usize,
    random: &mut Random,
) -> Result<(), Reason> {
    let ask = Ask {
        limits,
        ..ask(prototypes.types(), plan)
    };
    let wants = Wants::of(&ask)?;
    if cases == 0 {
        return Ok(());
    }
    let (before, ring) = (World::new(random), Ring::new());
    let after = before.changed(random);
    for _ in 0..cases {
        let machine = Machine::new(plan, random, &before, &after);
        let (trap, fast) = (trapped(&ask, &machine), recorded(&ask, &wants, &machine, &ring));
        let text = |text: &Text| {
            text.each_ref()
                .map(|part| String::from_utf8_lossy(part).into_owned())
        };
        assert_eq!(
            text(&fast),
            text(&trap),
            "{:?}\n{wants:?}\n{:x?} {:x?}",
            plan.prototype,
            machine.ints,
            machine.stack
        );
    }
    Ok(())
}

/// Bounds of all kinds.
const LIMITS: [Limits; 4] = [
    Limits {
        string: 32,
        array: 4,
        depth: 4,
    },
    Limits {
        string: 0,
        array: 0,
        depth: 0,
    },
    Limits {
        string: 1,
        array: 1,
        depth: 1,
    },
    Limits {
        string: 300,
        array: 20,
        depth: 9,
    },
];

/// Those of the C library, for which values are compared again and again; of the others each so many-th, twice.
const MOST_USED: [&str; 2] = ["libc.so.6", "libm.so.6"];
const EACH: usize = 9;

#[test]
fn every_prototype_of_ours_is_refused_or_gives_the_text_of_the_trap_engine() {
    let mut random = Random(42);
    let mut prototypes = Prototypes::new();
    let (mut accepted, mut refused) = (0, BTreeMap::<Reason, usize>::new());
    for (number, (soname, name, _)) in Prototypes::embedded().enumerate() {
        let plan = prototypes.plan(Arch::X86_64, &[soname], name);
        let cases = match MOST_USED.contains(&soname) {
            true => 6,
            false if number % EACH == 0 => 2,
            false => 0,
        };
        let limits = if cases == 6 { &LIMITS[..] } else { &LIMITS[..1] };
        let found = limits
            .iter()
            .try_for_each(|limits| compare(&prototypes, &plan, *limits, cases, &mut random));
        match found {
            Ok(()) => accepted += 1,
            Err(reason) => *refused.entry(reason).or_default() += 1,
        }
    }
    println!(
        "{accepted} are recorded, {} are not:",
        refused.values().sum::<usize>()
    );
    for (reason, count) in &refused {
        println!("{count:6} {reason}");
    }
    // What is refused is told by the types; a mistake there refuses much more.
    assert!(accepted > 19 * refused.values().sum::<usize>() / 2, "{accepted}");
}
