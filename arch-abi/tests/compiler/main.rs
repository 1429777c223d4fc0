//! The compiler is the witness: C functions of random signatures are called with known values, and
//! what the registers and the stack held is compared with where [`arch_abi::layout`] says it lies.
//!
//! A shim stands before each function. It stores the registers, an FXSAVE image and the stack of the
//! entry, puts its own return address in the caller's place, and stores the registers of the return.

mod program;
mod types;

use std::process::Command;

use arch_abi::{Abi, Arch, CType, Captured, Float, FpRegs, Place, Signature, layout};

use program::{build, program};
use types::{Random, counted, small, value};

/// A function and one call of it.
struct Test {
    signature: Signature,
    args: Vec<Vec<u8>>,
    ret: Vec<u8>,
}

fn tests(arch: Arch, count: usize, random: &mut Random) -> Vec<Test> {
    let abi = arch.abi();
    (0..count)
        .map(|_| {
            let params: Vec<_> = (0..random.below(12)).map(|_| small(random, arch)).collect();
            let ret = if random.below(8) == 0 {
                CType::Void
            } else {
                small(random, arch)
            };
            let args = params.iter().map(|ty| value(ty, abi, random)).collect();
            let result = value(&ret, abi, random);
            Test {
                signature: Signature { ret, params },
                args,
                ret: result,
            }
        })
        .collect()
}

const STACK: usize = 4096;

/// One call's record, as the program wrote it.
struct Record<'a> {
    ints: Vec<u64>,
    out: Vec<u64>,
    stack: &'a [u8],
    object: &'a [u8],
    fp_in: FpRegs,
    fp_out: FpRegs,
}

fn parse(bytes: &[u8], word: usize) -> Record<'_> {
    let number = |index: usize| {
        let mut buffer = [0; 8];
        buffer[..word].copy_from_slice(&bytes[index * word..(index + 1) * word]);
        u64::from_le_bytes(buffer)
    };
    let (stack, rest) = bytes[10 * word..].split_at(STACK);
    let (object, rest) = rest.split_at(STACK);
    let fp = &rest[rest.len() - 1024..];
    Record {
        ints: (0..8).map(number).collect(),
        out: (8..10).map(number).collect(),
        stack,
        object,
        fp_in: FpRegs::from_regset(&fp[..512]).unwrap(),
        fp_out: FpRegs::from_regset(&fp[512..]).unwrap(),
    }
}

fn fetch(place: &Place, from: &Captured<'_>, test: &Test) -> Vec<u8> {
    let mut bytes = Vec::new();
    place
        .fetch(from, &mut bytes)
        .unwrap_or_else(|| panic!("not captured: {place:?} of {:?}", test.signature));
    bytes
}

fn check(ty: &CType, found: &[u8], expected: &[u8], abi: &dyn Abi, what: &str, test: &Test) {
    let mut parts = Vec::new();
    counted(ty, 0, abi, &mut parts);
    for (at, len) in parts {
        let range = usize::try_from(at).unwrap()..usize::try_from(at + len).unwrap();
        assert_eq!(
            found.get(range.clone()),
            Some(&expected[range.clone()]),
            "{what}, bytes {range:?}, of {:?}",
            test.signature
        );
    }
}

/// A `float` or `double` in st(0) is an extended number.
fn widened(ty: &CType, bytes: &[u8]) -> Option<Vec<u8>> {
    let value = match ty {
        CType::Float(Float::Single) => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
        CType::Float(Float::Double) => f64::from_le_bytes(bytes.try_into().unwrap()),
        _ => return None,
    };
    if value == 0.0 {
        return Some(vec![0; 10]);
    }
    let bits = value.to_bits();
    let exponent = u16::try_from(bits >> 52 & 0x7ff).unwrap() + 16383 - 1023;
    let significand = 1 << 63 | (bits & ((1 << 52) - 1)) << 11;
    Some([&significand.to_le_bytes()[..], &exponent.to_le_bytes()].concat())
}

fn agree_with_the_compiler(arch: Arch, seed: u64) {
    let abi = arch.abi();
    let tests = tests(arch, 1000, &mut Random(seed));
    let program = build(arch, &program(arch, &tests));
    let output = Command::new(&program).output().unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        program.display(),
        output.status
    );
    // Its alignment differs by machine.
    let size = output.stdout.len() / tests.len();
    assert_eq!(output.stdout.len(), size * tests.len());
    for (test, bytes) in tests.iter().zip(output.stdout.chunks_exact(size)) {
        agrees(test, &parse(bytes, abi.word_size()), abi);
    }
    let args = tests.iter().flat_map(|test| layout(abi, &test.signature).args);
    let (kept, far): (Vec<_>, Vec<_>) = args.partition(|place| place.needs_stack() as usize <= STACK);
    assert!(
        far.len() * 20 < kept.len(),
        "{} arguments were not checked",
        far.len()
    );
}

/// Compares a call's record with where its values were to be.
fn agrees(test: &Test, record: &Record<'_>, abi: &dyn Abi) {
    let entry = Captured {
        ints: &record.ints,
        fp: Some(&record.fp_in),
        stack: record.stack,
    };
    let exit = Captured {
        ints: &record.out,
        fp: Some(&record.fp_out),
        stack: &[],
    };
    let Signature { params, ret } = &test.signature;
    let layout = layout(abi, &test.signature);
    for (index, (place, expected)) in layout.args.iter().zip(&test.args).enumerate() {
        if place.needs_stack() as usize > STACK {
            continue; // further than the shim keeps; such arguments are counted
        }
        let found = fetch(place, &entry, test);
        check(
            &params[index],
            &found,
            expected,
            abi,
            &format!("argument {index}"),
            test,
        );
    }
    let found = fetch(&layout.ret, &exit, test);
    let x87 = widened(ret, &test.ret).filter(|_| found.len() == 10);
    if let Some(expected) = x87 {
        assert_eq!(found, expected, "result of {:?}", test.signature);
    } else if layout.ret.by_reference {
        check(ret, record.object, &test.ret, abi, "result in memory", test);
        let hidden = layout.hidden.expect("a result in memory has a hidden address");
        let hidden = fetch(&hidden, &entry, test);
        assert_eq!(hidden, found, "hidden address of {:?}", test.signature);
    } else {
        check(ret, &found, &test.ret, abi, "result", test);
    }
}

#[test]
fn x86_64_agrees_with_the_compiler() {
    agree_with_the_compiler(Arch::X86_64, 0x9e37_79b9_7f4a_7c15);
}

#[test]
fn i386_agrees_with_the_compiler() {
    agree_with_the_compiler(Arch::I386, 0xbf58_476d_1ce4_e5b9);
}
