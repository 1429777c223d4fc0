//! Where in a process recording code is to lie: near its libraries.
//!
//! A processor keeps the targets of jumps in few bits where they are near, and is slower where they are far. Seen on Zen 3: a call that is recorded
//! takes 4.0 ns with code up to 64 GiB away from both the caller and the function, and 5.6 from 256 GiB on. Programs lie far from their
//! libraries anyway (position-independent ones at 0x55…, libraries at 0x7f…); from near the libraries a call goes that way once, as without
//! a stub, and calls between libraries never do.

use arch_abi::Addr;
use ptrace_core::procfs::Mapping;

/// Where there is room if there is none near the libraries: addresses that neither the kernel nor a program takes by itself. They are above the
/// shadow of an `AddressSanitizer` that is linked into the program (LLVM: `asan_mapping.h`, "Default `Linux/x86_64` mapping").
pub(super) const ELSEWHERE: u64 = 0x1100_0000_0000;

/// So much is left to the program below what it has mapped, where there is as much: the kernel goes on there.
const LEFT: u64 = 1 << 30;

/// How many places are tried near the libraries, and elsewhere.
const TRIES: usize = 16;

/// Places for `len` bytes at multiples of `align`, the best first.
pub(super) fn candidates(maps: &[Mapping], len: u64, align: u64) -> impl Iterator<Item = Addr> {
    let elsewhere = (0..).map(move |index| Addr::new(ELSEWHERE + index * 2 * len.next_multiple_of(align)));
    let near = gaps(maps).filter_map(move |(start, end)| {
        let free = end.offset_from(start)?.checked_sub(len)?;
        let at = end.get() - len - LEFT.min(free / 2);
        let at = at - at % align;
        (at >= start.get()).then_some(Addr::new(at))
    });
    near.take(TRIES).chain(elsewhere.take(TRIES))
}

/// What is free below the libraries, from above: start and end.
fn gaps(maps: &[Mapping]) -> impl Iterator<Item = (Addr, Addr)> {
    let is_library = |map: &Mapping| map.executable && map.inode != 0;
    let below = maps.iter().rposition(is_library).map_or(0, |library| library + 1);
    let ends = maps.iter().take(below).rev();
    let starts = ends.clone().skip(1);
    ends.zip(starts).map(|(above, below)| (below.end, above.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 48 << 20;
    const ALIGN: u64 = 32 << 20;

    fn maps(of: &[(u64, u64, u64)]) -> Vec<Mapping> {
        of.iter()
            .map(|&(start, end, inode)| mapping(start, end, inode))
            .collect()
    }

    fn mapping(start: u64, end: u64, inode: u64) -> Mapping {
        Mapping {
            start: Addr::new(start),
            end: Addr::new(end),
            readable: true,
            writable: false,
            executable: inode != 0,
            shared: false,
            offset: 0,
            device: (0, 0),
            inode,
            name: std::ffi::OsString::new(),
        }
    }

    fn first(of: &[(u64, u64, u64)]) -> u64 {
        candidates(&maps(of), LEN, ALIGN)
            .next()
            .expect("there are some")
            .get()
    }

    #[test]
    fn below_the_libraries() {
        let usual = [
            (0x5555_5555_4000, 0x5555_5555_8000, 1),
            (0x7fff_f7dc_0000, 0x7fff_f7fc_0000, 2),
            (0x7fff_f7fc_3000, 0x7fff_f7ff_f000, 3),
            (0x7fff_ff00_0000, 0x7fff_ff02_0000, 0), // the stack
        ];
        let at = first(&usual);
        assert_eq!(at % ALIGN, 0);
        assert!(at + LEN + LEFT <= 0x7fff_f7dc_0000, "{at:#x}");
        assert!(at + LEN + LEFT + ALIGN > 0x7fff_f7dc_0000, "{at:#x}");
    }

    #[test]
    fn in_a_gap_that_is_just_large_enough() {
        let at = 0x7000_0000_0000;
        let tight = [
            (0x5000_0000_0000, at, 1),
            (at + LEN + ALIGN, at + LEN + 2 * ALIGN, 2),
        ];
        assert!((at..=at + ALIGN).contains(&first(&tight)));
    }

    #[test]
    fn elsewhere_where_there_is_none() {
        assert_eq!(first(&[]), ELSEWHERE);
        let at = 0x7000_0000_0000;
        assert_eq!(first(&[(0, at, 1), (at + LEN / 2, at + LEN, 2)]), ELSEWHERE);
        let all: Vec<_> = candidates(&[], LEN, ALIGN).collect();
        assert_eq!(all.len(), TRIES);
        assert!(all.iter().all(|at| at.get() % ALIGN == 0));
    }
}
