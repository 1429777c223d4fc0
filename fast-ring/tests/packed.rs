//! Packed records: nothing is lost, nothing is believed, and they are small.

use fast_ring::{Damage, Packer, Unpacker, format};
use proptest::prelude::*;

/// The bytes of a record.
fn record(kind: u32, id: u32, stack_pointer: u32, words: &[u64]) -> Vec<u8> {
    let bytes = u32::try_from(8 * (1 + words.len())).unwrap();
    let first = u64::from(stack_pointer) << 32 | u64::from(format::first_half(kind, id, bytes));
    std::iter::once(&first)
        .chain(words)
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

fn any_record() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        any::<u64>(),
        0..300_u64,
        Just(u64::MAX),
        (0..70_u32).prop_map(|bit| 1_u64.checked_shl(bit).unwrap_or(0))
    ];
    let words = prop_oneof![
        9 => proptest::collection::vec(word.clone(), 0..20),
        1 => proptest::collection::vec(word, 509..511)
    ];
    (0..8_u32, prop_oneof![0..3_u32, any::<u32>()], any::<u32>(), words)
        .prop_map(|(kind, id, stack_pointer, words)| record(kind, id, stack_pointer, &words))
}

/// All records of a packed file.
fn unpack(mut packed: &[u8]) -> Vec<Vec<u8>> {
    let (mut unpacker, mut record, mut records) = (Unpacker::new(), Vec::new(), Vec::new());
    while !packed.is_empty() {
        packed = unpacker.unpack(packed, &mut record).unwrap();
        records.push(record.clone());
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_back_to_the_bit(records in proptest::collection::vec(any_record(), 0..20)) {
        let (mut packer, mut packed) = (Packer::new(), Vec::new());
        for record in &records {
            packer.pack(record, &mut packed).unwrap();
        }
        prop_assert_eq!(unpack(&packed), records);
    }

    #[test]
    fn many_at_once_are_as_one_after_the_other(records in proptest::collection::vec(any_record(), 0..20), cut in 1..8_usize) {
        let (mut packer, mut packed) = (Packer::new(), Vec::new());
        for record in &records {
            packer.pack(record, &mut packed).unwrap();
        }
        let (mut packer, mut at_once) = (Packer::new(), Vec::new());
        for piece in records.chunks(cut) {
            prop_assert_eq!(packer.pack_all(&piece.concat(), &mut at_once), Ok(piece.len()));
        }
        prop_assert_eq!(at_once, packed);
    }

    #[test]
    fn any_bytes_come_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (mut unpacker, mut record) = (Unpacker::new(), Vec::new());
        let mut rest = &bytes[..];
        while let Ok(after) = unpacker.unpack(rest, &mut record) {
            prop_assert!(after.len() < rest.len() && record.len() <= format::LONGEST_RECORD);
            rest = after;
        }
    }
}

#[test]
fn what_is_cut_off_is_told() {
    let mut packed = Vec::new();
    let whole = record(format::CALL, 5, 0x7ffc_1000, &[1, 0x5555_0000_1234, 3]);
    Packer::new().pack(&whole, &mut packed).unwrap();
    for len in 0..packed.len() {
        let result = Unpacker::new().unpack(&packed[..len], &mut Vec::new());
        assert_eq!(result, Err(Damage::Packed), "{len}");
    }
    assert_eq!(unpack(&packed), [&whole[..]]);
    assert!(
        Packer::new().pack(&whole[..8], &mut packed).is_err(),
        "not as long as it tells"
    );
    assert!(Packer::new().pack(&[], &mut packed).is_err());
}

/// A loop's call with six arguments and its return, both with times: uftrace writes 64 and 24 bytes of it, and 32 without the arguments.
#[test]
fn a_loop_takes_few_bytes() {
    let (mut packer, mut packed) = (Packer::new(), Vec::new());
    let mut raw = 0;
    for number in 0..1000_u64 {
        let time = 0x1234_5678_9abc + number * 83;
        let call = record(
            format::CALL,
            5,
            0x7ffc_1000,
            &[time, number, 0x7f00_1234_5678, 3, number * 2, 5, 6],
        );
        let ret = record(format::RETURN, 5, 0x7ffc_1000, &[time + 40, number * 7]);
        for record in [call, ret] {
            packer.pack(&record, &mut packed).unwrap();
            raw += record.len();
        }
    }
    assert_eq!(raw, 1000 * (64 + 24));
    assert!(packed.len() <= 1000 * 14 + 100, "{}", packed.len());
}

#[test]
fn calls_that_are_under_way_are_counted() {
    let (mut packer, mut packed) = (Packer::new(), Vec::new());
    let kinds = [
        (format::CALL, 1),
        (format::CALL, 2),
        (format::TAIL_CALL, 2),
        (format::NOTE, 2),
        (format::RETURN, 1),
        (format::RETURN, 0),
        // A call that was lost.
        (format::RETURN, -1),
        (format::CALL, 0),
    ];
    for (kind, open) in kinds {
        packer.pack(&record(kind, 7, 0x1000, &[1]), &mut packed).unwrap();
        assert_eq!(packer.open(), open, "kind {kind}");
    }
}
