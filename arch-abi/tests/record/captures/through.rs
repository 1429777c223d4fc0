//! What lies behind pointers that lie in memory, and behind a `va_list`.

use super::*;
use arch_abi::record::{ReturnFields, Step, Through};

fn through(index: u8, steps: &[Step], length: Length) -> Capture {
    let then = |way: Through, step| way.then(step).expect("not too long");
    Capture {
        through: steps.iter().copied().fold(Through::NOTHING, then),
        ..of(index, length)
    }
}

#[test]
fn pointers_behind_pointers() {
    let string = Length::String { most: 32 };
    let mut captures = Captures::at_call(&[
        through(0, &[Step::Word(0)], string),
        through(0, &[Step::Word(8)], string),
        through(0, &[Step::Word(16), Step::Word(8)], string),
        through(0, &[Step::Word(16)], Length::Fixed(3)),
        of(1, string),
    ]);
    let last = [0_u64, c"the last".as_ptr() as u64];
    let first = [c"the first".as_ptr() as u64, 0, last.as_ptr() as u64];
    let args = |pointer| [pointer, c"aside".as_ptr() as u64, 0, 0, 0, 0, 0, 0];
    let aside = (b"aside".to_vec(), End::Whole);
    let (seen, faults) = captures.call(args(first.as_ptr() as u64));
    let expected = [
        (b"the first".to_vec(), End::Whole),
        (vec![], End::Null),
        (b"the last".to_vec(), End::Whole),
        (vec![0; 3], End::Whole),
        aside.clone(),
    ];
    assert_eq!((&seen[..], faults), (&expected[..], 0));
    // A null pointer at the beginning or on the way stops no thread.
    let nothing = |end| [vec![(vec![], end); 4], vec![aside.clone()]].concat();
    for pointer in [0, [0_u64; 3].as_ptr() as u64] {
        assert_eq!(
            captures.call(args(pointer)),
            (nothing(End::Null), 0),
            "{pointer:#x}"
        );
    }
    for pointer in [1, 1 << 47, u64::MAX] {
        let (seen, faults) = captures.call(args(pointer));
        assert_eq!((seen, faults > 0), (nothing(End::Fault), true), "{pointer:#x}");
    }
    let bad = [1_u64, u64::MAX, 8];
    let (seen, _) = captures.call(args(bad.as_ptr() as u64));
    assert_eq!(seen, nothing(End::Fault));
    let edge = Edge::new();
    let (seen, _) = captures.call(args(edge.put(&first[0].to_le_bytes())));
    assert_eq!(seen[0], expected[0]);
    assert_eq!(seen[1..4], nothing(End::Fault)[..3]);
}

#[test]
fn what_a_function_has_put_behind_a_pointer() {
    extern "C" fn allocate(_a: u64, place: *mut *const libc::c_char) -> u64 {
        // SAFETY: the caller's place, or none.
        if let Some(place) = unsafe { place.as_mut() } {
            *place = c"allocated".as_ptr();
        }
        0
    }
    let ret = ReturnFields {
        captures: vec![
            of(1, Length::Fixed(8)),
            through(1, &[Step::Word(0)], Length::String { most: 32 }),
        ],
        ..ReturnFields::default()
    };
    let recording = Recording {
        call: CallFields::default(),
        ret: Some(ret),
    };
    let mut captures = Captures::new(&recording, allocate as *const () as u64);
    let inside = captures.world.enter(0);
    // SAFETY: it is before `allocate`.
    let before: extern "C" fn(u64, *mut *const libc::c_char) -> u64 = unsafe { captures.stub.function() };
    let mut place = c"not yet".as_ptr();
    before(0, &raw mut place);
    before(0, std::ptr::null_mut());
    drop(inside);
    let seen = captures.world.drain(&mut captures.consumer);
    let word = c"allocated".as_ptr();
    assert_eq!(place, word);
    assert_eq!(
        seen[1].captures,
        [
            ((word as u64).to_le_bytes().to_vec(), End::Whole),
            (b"allocated".to_vec(), End::Whole)
        ]
    );
    assert_eq!(seen[3].captures, [(vec![], End::Null), (vec![], End::Null)]);
}

/// What a `va_list` points at (psABI, "The `va_list` Type").
#[repr(C)]
struct List {
    ints: u32,
    vectors: u32,
    stacked: *const u64,
    saved: *const u64,
}

#[test]
fn arguments_of_a_va_list() {
    let texts = [c"0", c"1", c"2", c"3", c"4", c"5", c"6", c"7", c"8"].map(|text| text.as_ptr() as u64);
    let numbers = [0_u8, 1, 2, 4, 7];
    let wanted = numbers.map(|number| through(0, &[Step::VaArg(number)], Length::Guess { most: 8 }));
    let mut captures = Captures::at_call(&wanted);
    for named in 0..=6_usize {
        let mut saved = [u64::MAX; 6];
        saved[named..].copy_from_slice(&texts[..6 - named]);
        let list = List {
            ints: u32::try_from(8 * named).unwrap(),
            vectors: 176,
            stacked: texts[6 - named..].as_ptr(),
            saved: saved.as_ptr(),
        };
        let (seen, faults) = captures.call([&raw const list as u64, 1, 0, 0, 0, 0, 0, 0]);
        let expected = numbers.map(|number| (number.to_string().into_bytes(), End::Whole));
        assert_eq!((&seen[..], faults), (&expected[..], 0), "{named} named");
    }
    let hostile = List {
        ints: u32::MAX,
        vectors: u32::MAX,
        stacked: std::ptr::null(),
        saved: std::ptr::without_provenance(1 << 63),
    };
    let (seen, _) = captures.call([&raw const hostile as u64, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(seen, vec![(vec![], End::Fault); numbers.len()]);
    let (seen, faults) = captures.call([0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!((seen, faults), (vec![(vec![], End::Null); numbers.len()], 0));
}
