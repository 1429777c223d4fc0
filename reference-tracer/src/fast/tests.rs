//! The text of recorded calls is that of the trap engine.

use std::collections::BTreeMap;

use arch_abi::{Addr, Arch};

use super::fill::{Moments, Recorded};
use super::quick::{Quick, Verdict};
use super::testing::{CALLER, Machine, Random, Ring, SP, World, vectors};
use super::wants::{Ask, Reason, Stamps, Wants};
use crate::memory::{Layered, NoMemory, Snapshot, TargetMemory};
use crate::points::Returns;
use crate::proto::{Plan, Prototypes, Types};
use crate::text::{CallName, Moment, Page, PidPrefix, TextOptions, TextSink, TimePrefix};
use crate::value::{
    Decoder, Describe, Limits, RawCall, RawReturn, Scratch, Shown, has_failed, wants_at_entry,
    wants_at_return, wants_errno,
};

/// Names of code depend on the address only.
struct Names;

impl Describe for Names {
    fn code(&self, at: Addr, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"main");
        at.get().is_multiple_of(2)
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

/// What the trap engine shows, and whether it counts an error.
fn trapped(ask: &Ask<'_>, machine: &Machine) -> (Text, bool) {
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
    // Where calls are only counted, no floating-point register is read.
    let counted = RawReturn {
        fp: None,
        ..ret.clone()
    };
    let failed = has_failed(types, plan, &call, &counted, &after);
    let returns = ask.returns == Returns::Once && !plan.noreturn();
    let text = show(ask, &call, returns.then_some(&ret), (&before, &after));
    (text, failed)
}

/// What is shown of the records.
fn recorded(
    ask: &Ask<'_>,
    wants: &Wants,
    call: &fast_ring::Call<'_>,
    ret: Option<&fast_ring::Call<'_>>,
) -> (Text, RawCall) {
    let mut raw = RawCall::default();
    let (mut at_call, mut at_return) = (Recorded::default(), Recorded::default());
    wants.fill_call(call, &mut raw, &mut at_call);
    let ret = ret.map(|ret| {
        let mut returned = RawReturn::default();
        wants.fill_return(ret, &raw, &mut returned, &mut at_return);
        returned
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
    (show(ask, &raw, ret.as_ref(), (&before, &after)), raw)
}

/// Lines with all that can stand in them.
const OPTIONS: [TextOptions; 4] = {
    let plain = TextOptions {
        align: 50,
        indent: 0,
        pid: PidPrefix::None,
        time: TimePrefix::None,
        address: false,
        duration: false,
        color: false,
        utc_offset: |utc| utc % 7200,
    };
    [
        plain,
        TextOptions {
            pid: PidPrefix::Bracketed,
            time: TimePrefix::Relative,
            duration: true,
            ..plain
        },
        TextOptions {
            pid: PidPrefix::Bare,
            time: TimePrefix::ClockMicros,
            address: true,
            indent: 3,
            ..plain
        },
        TextOptions {
            align: 90,
            time: TimePrefix::Epoch,
            ..plain
        },
    ]
};

const NAME: CallName<'_> = CallName {
    caller: Some("exe"),
    function: "f\u{17e}lib::call",
    library: None,
};

/// Both ways to a line.
struct Lines {
    general: TextSink,
    quick: TextSink,
    page: Page,
    options: TextOptions,
}

impl Lines {
    fn new(options: TextOptions) -> Self {
        Self {
            general: TextSink::new(options),
            quick: TextSink::new(options),
            page: Page::default(),
            options,
        }
    }

    /// Compares the lines of a call. Whether it has one made at once.
    fn compare(
        &mut self,
        quick: &Quick,
        (text, raw): &(Text, RawCall),
        (call, ret): (&fast_ring::Call<'_>, &fast_ring::Call<'_>),
        random: &mut Random,
    ) -> bool {
        let took = random.next() >> random.below(64);
        let at = Moment {
            tid: 4711,
            time: random.next() >> 3,
            address: raw.return_address,
        };
        let (mut expected, mut line) = (Vec::new(), Vec::new());
        let made = quick.whole_line(&mut self.quick, &mut self.page, (call, ret), at, took);
        self.page.pour(&mut line);
        if !made {
            assert_eq!(line, b"");
            return false;
        }
        let [entry, rest, result] = text;
        self.general.entry(&mut expected, at, NAME, entry);
        self.general.exit(&mut expected, at, NAME, rest, result, took);
        assert_eq!(
            String::from_utf8_lossy(&line),
            String::from_utf8_lossy(&expected),
            "{quick:?} {:?}",
            self.options
        );
        true
    }
}

/// What serves all functions: the lines, and how many functions and how many of their calls were shown at once.
struct Shared {
    lines: [Lines; OPTIONS.len()],
    ring: Ring,
    plans: usize,
    quick_plans: usize,
    calls: usize,
    quick_calls: usize,
}

/// Calls that are only counted.
struct Counted {
    wants: Wants,
    verdict: Option<Verdict>,
}

impl Counted {
    fn new(ask: &Ask<'_>) -> Result<Self, Reason> {
        let ask = Ask { lines: false, ..*ask };
        let wants = Wants::of(&ask)?;
        let verdict = Verdict::of(&ask, &wants);
        Ok(Self { wants, verdict })
    }

    /// Compares what is told of a call.
    fn compare(&self, ring: &Ring, machine: &Machine, failed: bool) {
        let Some(verdict) = &self.verdict else { return };
        ring.record(&self.wants, machine, (1, 2), |call, ret| {
            let told = ret.is_some_and(|ret| verdict.has_failed(call, ret));
            assert_eq!(told, failed && ret.is_some(), "{verdict:?}");
        });
    }
}

/// Compares all ways for some calls of a function.
fn compare(
    prototypes: &Prototypes,
    plan: &Plan,
    limits: Limits,
    cases: usize,
    random: &mut Random,
    shared: &mut Shared,
) -> Result<(), Reason> {
    let ask = Ask {
        limits,
        ..ask(prototypes.types(), plan)
    };
    let wants = Wants::of(&ask)?;
    let quick = shared
        .lines
        .each_ref()
        .map(|lines| Quick::of(&ask, &wants, NAME, &lines.options));
    let counted = Counted::new(&ask)?;
    shared.plans += 1;
    shared.quick_plans += usize::from(quick[0].is_some());
    if cases == 0 {
        return Ok(());
    }
    let before = World::new(random);
    let after = before.changed(random);
    for number in 0..cases {
        let machine = Machine::new(plan, random, &before, &after);
        let (trap, failed) = trapped(&ask, &machine);
        counted.compare(&shared.ring, &machine, failed);
        let Shared {
            lines,
            ring,
            calls,
            quick_calls,
            ..
        } = &mut *shared;
        ring.record(&wants, &machine, (1, 2), |call, ret| {
            let fast = recorded(&ask, &wants, call, ret);
            let text = |text: &Text| {
                text.each_ref()
                    .map(|part| String::from_utf8_lossy(part).into_owned())
            };
            assert_eq!(
                text(&fast.0),
                text(&trap),
                "{:?}\n{wants:?}\n{:x?} {:x?}",
                plan.prototype,
                machine.ints,
                machine.stack
            );
            let which = number % OPTIONS.len();
            if let (Some(quick), Some(ret)) = (&quick[which], ret) {
                *calls += 1;
                let was = lines[which].compare(quick, &fast, (call, ret), random);
                *quick_calls += usize::from(was);
            }
        });
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
    let mut shared = Shared {
        lines: OPTIONS.map(Lines::new),
        ring: Ring::new(),
        plans: 0,
        quick_plans: 0,
        calls: 0,
        quick_calls: 0,
    };
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
            .try_for_each(|limits| compare(&prototypes, &plan, *limits, cases, &mut random, &mut shared));
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
    let Shared {
        plans,
        quick_plans,
        calls,
        quick_calls,
        ..
    } = shared;
    println!("{quick_plans} of {plans} have lines made at once, {quick_calls} of {calls} calls");
    assert!(quick_calls * 10 > calls * 9, "{quick_calls} of {calls}");
    // What is refused is told by the types; a mistake there refuses much more.
    assert!(accepted > 19 * refused.values().sum::<usize>() / 2, "{accepted}");
}

/// A program that writes into its records gets other text, and no harm is done.
#[test]
fn damaged_records_do_no_harm() {
    let mut random = Random(3);
    let mut prototypes = Prototypes::new();
    let (ring, mut lines) = (Ring::new(), Lines::new(OPTIONS[1]));
    let (mut general, mut quickly) = (0, 0);
    let before = World::new(&mut random);
    let after = before.changed(&mut random);
    for (soname, name, _) in Prototypes::embedded().filter(|(soname, _, _)| *soname == MOST_USED[0]) {
        let plan = prototypes.plan(Arch::X86_64, &[soname], name);
        let ask = ask(prototypes.types(), &plan);
        let Ok(wants) = Wants::of(&ask) else { continue };
        let quick = Quick::of(&ask, &wants, NAME, &lines.options);
        for _ in 0..4 {
            let machine = Machine::new(&plan, &mut random, &before, &after);
            let mut damage = Random(random.next() | 1);
            let spoil = |record: &mut [u8]| {
                for _ in 0..damage.below(4) {
                    let at = damage.below(record.len());
                    record[at] = damage.next().to_le_bytes()[0];
                }
            };
            ring.record_damaged(&wants, &machine, (1, 2), spoil, |call, ret| {
                let _ = recorded(&ask, &wants, call, ret);
                general += 1;
                let (Some(quick), Some(ret)) = (&quick, ret) else {
                    return;
                };
                let (at, mut line) = (
                    Moment {
                        tid: 1,
                        time: 0,
                        address: Addr::new(0),
                    },
                    Vec::new(),
                );
                let made = quick.whole_line(&mut lines.quick, &mut lines.page, (call, ret), at, 0);
                lines.page.pour(&mut line);
                assert_eq!(made, line.ends_with(b"\n"));
                quickly += usize::from(made);
            });
        }
    }
    assert!(general > 1000 && quickly > 500, "{general} {quickly}");
}
