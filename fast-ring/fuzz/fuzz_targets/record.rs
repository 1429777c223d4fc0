//! Any bytes are a record or damage, whatever shape their call point has.
#![no_main]

use fast_ring::{Fields, Record, Shape, parse};
use libfuzzer_sys::fuzz_target;

/// A shape from two bytes.
fn fields([flags, counts]: [u8; 2]) -> Fields {
    Fields {
        stamp: flags & 1 != 0,
        caller: flags & 2 != 0,
        words: counts & 15,
        floats: counts >> 4 & 3,
        captures: counts >> 6,
    }
}

fuzz_target!(|input: ([[u8; 2]; 2], Vec<u8>)| {
    let ([call, ret], bytes) = input;
    let shape = Shape::new(fields(call), Some(fields(ret)));
    let Ok(record) = parse(&bytes, &[shape][..]) else {
        return;
    };
    if let Record::Call(call) | Record::TailCall(call) | Record::Return(call) = record {
        let captured: usize = call.captures().iter().map(|capture| capture.bytes.len()).sum();
        assert!(8 * (1 + call.words().len() + call.floats().len()) + captured <= bytes.len());
    }
});
