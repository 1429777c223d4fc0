//! Strings, and what may be one.

use super::*;
use crate::world::write;
use arch_abi::Addr;
use arch_abi::record::Zones;

#[test]
fn strings_of_all_lengths_at_all_distances_from_the_end_of_a_page() {
    let edge = Edge::new();
    for most in [0, 1, 7, 8, 9, 32] {
        let mut captures = Captures::at_call(&[of(0, Length::String { most })]);
        for len in 0..40 {
            let text = text(len);
            let with_zero = [&text[..], &[0]].concat();
            for end in 0..17 {
                let at = edge.put_before(&with_zero, end);
                assert_eq!(
                    captures.one(at),
                    expected(&text, most),
                    "{len} bytes, {most} at most, {end} before"
                );
            }
        }
    }
}

#[test]
fn strings_across_a_page_and_strings_without_an_end() {
    let pages = map(0, 2 * PAGE, libc::PROT_READ | libc::PROT_WRITE, 0);
    let edge = Edge::new();
    let mut captures = Captures::at_call(&[of(0, Length::String { most: 32 })]);
    let whole = text(20);
    for start in 1..24 {
        let at = pages + PAGE - start;
        // SAFETY: it fits into the second page.
        unsafe { std::ptr::copy_nonoverlapping([&whole[..], &[0]].concat().as_ptr(), at as *mut u8, 21) };
        assert_eq!(captures.one(at), (whole.clone(), End::Whole), "{start}");
    }
    for len in 1..40 {
        let text = text(len);
        let end = if len > 32 { End::Cut } else { End::Fault };
        let got = captures.one(edge.put(&text));
        assert_eq!(got, (text[..len.min(32)].to_vec(), end), "{len}");
    }
}

#[test]
fn long_strings() {
    let text = text(900);
    let with_zero = [&text[..], &[0]].concat();
    for most in [899, 900, 901, 960] {
        let mut captures = Captures::at_call(&[of(0, Length::String { most })]);
        assert_eq!(captures.one(with_zero.as_ptr() as u64), expected(&text, most));
    }
}

#[test]
fn guesses() {
    let mut captures = Captures::at_call(&[of(0, Length::Guess { most: 5 })]);
    for pointer in [0, 1, 0xffff, 1 << 47, 1 << 63, u64::MAX] {
        assert_eq!(captures.one(pointer), (vec![], End::Null), "{pointer:#x}");
    }
    assert_eq!(
        captures.one(c"four".as_ptr() as u64),
        (b"four".to_vec(), End::Whole)
    );
    assert_eq!(
        captures.one(c"four and more".as_ptr() as u64),
        (b"four ".to_vec(), End::Cut)
    );
}

/// What is captured is the same whether a part of memory is known or not: only what nothing is behind costs a fault in the one.
#[test]
fn guesses_in_known_and_unknown_parts() {
    let edge = Edge::new();
    let mut zones = Zones::default();
    zones.add(Addr::new(edge.0)..Addr::new(edge.0 + 2 * PAGE));
    for (zones, costs_faults) in [(Zones::default(), false), (zones, true), (Zones::all(), true)] {
        let mut captures = Captures::at_call(&[of(0, Length::Guess { most: 24 }), of(1, Length::Fixed(1))]);
        write(captures.world.areas.zones(), zones.bytes());
        let mut call = |pointer: u64, seen: (Vec<u8>, End), costs_faults: bool| {
            let (both, faults) = captures.call([pointer, zones.bytes().as_ptr() as u64, 2, 3, 4, 5, 6, 7]);
            assert_eq!(both[0], seen, "{pointer:#x}");
            assert_eq!(
                both[1],
                (vec![zones.bytes()[0]], End::Whole),
                "what comes after it"
            );
            assert_eq!(faults > 0, costs_faults, "{pointer:#x}: {faults} faults");
        };
        for len in 0..20 {
            let with_zero = [&text(len)[..], &[0]].concat();
            for end in 0..10 {
                call(edge.put_before(&with_zero, end), (text(len), End::Whole), false);
            }
            // What begins in memory, and does not end there.
            if len > 0 {
                call(edge.put(&text(len)), (text(len), End::Fault), true);
            }
        }
        for pointer in [edge.0 + PAGE, edge.0 + 2 * PAGE - 1] {
            call(pointer, (vec![], End::Fault), costs_faults);
        }
        let is_all = zones == Zones::all();
        for pointer in [0x10000, (1 << 47) - 1, (1 << 47) - 8] {
            call(pointer, (vec![], End::Fault), is_all);
        }
    }
}

/// What a string is recorded as that has its zero.
fn expected(text: &[u8], most: u16) -> (Vec<u8>, End) {
    let most = usize::from(most);
    if text.len() <= most {
        (text.to_vec(), End::Whole)
    } else {
        (text[..most].to_vec(), End::Cut)
    }
}
