//! Any bytes may be a file of packed records: reading it ends, and what was read packs and unpacks to itself.
#![no_main]

use fast_ring::{Packer, Unpacker, format};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (mut unpacker, mut packer, mut again) = (Unpacker::new(), Packer::new(), Unpacker::new());
    let (mut record, mut packed, mut copy) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = bytes;
    while let Ok(after) = unpacker.unpack(rest, &mut record) {
        assert!(after.len() < rest.len() && record.len() <= format::LONGEST_RECORD);
        packed.clear();
        packer.pack(&record, &mut packed).expect("a record");
        assert_eq!(again.unpack(&packed, &mut copy), Ok(&[][..]));
        assert_eq!(record, copy);
        rest = after;
    }
});
