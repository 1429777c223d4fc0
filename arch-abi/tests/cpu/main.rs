//! What stepping over does, against the processor: each instruction is run where it lies, then in each
//! other way; registers, flags, vector state and memory must be the same after it.

mod harvest;
mod machine;
mod tracee;

use arch_abi::Arch;
use harvest::{Random, harvest, listed};
use machine::{Machine, Tally};
use tracee::Map;

/// How many instructions of random bytes are tried.
const RANDOM: usize = 600;

fn try_all(arch: Arch, map: Map, seed: u64, samples: impl Iterator<Item = Vec<u8>>) -> Tally {
    let mut machine = Machine::new(arch, map, seed);
    for sample in samples {
        machine.try_instruction(&sample);
    }
    machine.tally
}

fn check(arch: Arch, map: Map, seed: u64) {
    let bits = if arch == Arch::X86_64 { 64 } else { 32 };
    let list = try_all(
        arch,
        map,
        seed,
        listed(arch).into_iter().cycle().take(listed(arch).len() * 4),
    );
    println!("listed: {list:?}");
    let real = try_all(arch, map, seed, harvest(bits).into_iter());
    println!("from libraries: {real:?}");
    let mut random = Random::new(seed);
    let random = try_all(arch, map, seed, (0..RANDOM).map(|_| random.instruction(bits)));
    println!("random: {random:?}");
    // The test must have had something to compare.
    assert!(list.emulated > 100 && list.copied > 200, "{list:?}");
    assert!(
        real.emulated > 50 && real.copied > 500 && real.without_fault > 300,
        "{real:?}"
    );
    assert!(random.copied > 500 && random.without_fault > 100, "{random:?}");
}

#[test]
fn x86_64_at_high_addresses() {
    check(Arch::X86_64, Map::HIGH, 1);
}

#[test]
fn x86_64_at_low_addresses() {
    check(Arch::X86_64, Map::LOW, 2);
}

#[test]
fn i386() {
    check(Arch::I386, Map::LOW, 3);
}
