//! The dynamic linker's list of loaded objects, read from a process: `struct r_debug` and
//! `struct link_map` of `<link.h>` (SVR4's debugger interface).

use std::collections::HashSet;

use arch_abi::{Addr, BaseAddress};

/// All that the walk knows of a process: bytes at addresses.
pub trait Memory {
    /// Why bytes could not be read.
    type Error: std::error::Error + 'static;
    /// Fills `buf` from `at`, or fails: there are no short reads.
    ///
    /// # Errors
    /// Some of the bytes cannot be read.
    fn read(&self, at: Addr, buf: &mut [u8]) -> Result<(), Self::Error>;
}

/// `r_state`: what the dynamic linker is doing with the list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RState {
    /// `RT_CONSISTENT`: the list is whole.
    Consistent,
    /// `RT_ADD`: objects are being added.
    Add,
    /// `RT_DELETE`: objects are being removed.
    Delete,
    /// A state that `<link.h>` does not name.
    Other(u32),
}

/// `struct r_debug` of one namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RDebug {
    /// Where it lies.
    pub at: Addr,
    /// `r_version`: from 2 on there is a next namespace to ask for.
    pub version: u32,
    /// `r_map`: the first `struct link_map`; `None` while the list is empty.
    pub map: Option<Addr>,
    /// `r_brk`: the function that the dynamic linker calls at each change; `None` before it has set up.
    pub brk: Option<Addr>,
    /// `r_state`.
    pub state: RState,
    /// `r_ldbase`: where the dynamic linker itself is loaded.
    pub ldbase: BaseAddress,
    /// `r_next` of `struct r_debug_extended`: the next namespace (dlmopen(3)).
    pub next: Option<Addr>,
}

/// `struct link_map`: one loaded object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkMap {
    /// Where the structure lies: it stays the same while the object is loaded.
    pub at: Addr,
    /// `l_addr`.
    pub base: BaseAddress,
    /// `l_name`: a path as the dynamic linker has it; empty for the main program.
    pub name: Vec<u8>,
    /// `l_ld`: the object's dynamic section in memory.
    pub dynamic: Addr,
}

/// The loaded objects of one namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// The namespace's `struct r_debug`.
    pub r_debug: RDebug,
    /// Its objects in load order.
    pub objects: Vec<LinkMap>,
}

/// Why the list could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkMapError<E: std::error::Error + 'static> {
    /// Memory that the list points to cannot be read.
    #[error("cannot read {what} at {at}")]
    Memory {
        /// What should lie there, by `<link.h>`'s name.
        what: &'static str,
        /// Where.
        at: Addr,
        /// Why not.
        #[source]
        source: E,
    },
    /// The list runs in a circle, or is longer than any real one.
    #[error("{what} at {at} does not come to an end")]
    Endless {
        /// What does not end.
        what: &'static str,
        /// The element at which the walk gave up.
        at: Addr,
    },
}

/// `r_version` from which on `struct r_debug_extended` with `r_next` follows (glibc 2.35).
const WITH_NEXT: u32 = 2;
/// glibc has 16 namespaces (`DL_NNS`).
const MAX_NAMESPACES: usize = 256;
/// More objects than this have not been loaded into one process: the kernel maps at most 65,530 parts by
/// default (`vm.max_map_count`), and an object has four.
const MAX_OBJECTS: usize = 1 << 16;
/// `PATH_MAX`; a longer name is cut.
const MAX_NAME: usize = 4096;

/// Reads the `struct r_debug` at `at`, of a process whose pointers have `word_size` bytes (4 or 8).
///
/// `at` is what [`read_debug_slot`] gives, or, before the dynamic linker has filled the slot or where there is
/// none (a static PIE, a program started as an argument of `ld.so`), the address of `_r_debug`, a
/// symbol of the dynamic linker that [`crate::Object::lookup`] finds.
///
/// # Errors
/// The memory cannot be read.
pub fn read_r_debug<M: Memory>(
    memory: &M,
    at: Addr,
    word_size: usize,
) -> Result<RDebug, LinkMapError<M::Error>> {
    let what = "struct r_debug";
    // r_version and r_state are ints, each in a word of its own where pointers have eight bytes.
    let [version, map, brk, state, ldbase] = Words { memory, word_size }.read(at, what)?;
    let version = low32(version);
    let next = if version >= WITH_NEXT {
        let next_at = at.wrapping_add(Words { memory, word_size }.size() * 5);
        let [next] = Words { memory, word_size }.read(next_at, what)?;
        pointer(next)
    } else {
        None
    };
    Ok(RDebug {
        at,
        version,
        map: pointer(map),
        brk: pointer(brk),
        state: RState::of(low32(state)),
        ldbase: BaseAddress::new(ldbase),
        next,
    })
}

/// Reads what `DT_DEBUG` holds: the address of the first `struct r_debug`, `None` before the dynamic
/// linker has filled it. `slot` is [`crate::Object::debug_slot`], resolved in the process.
///
/// # Errors
/// The memory cannot be read.
pub fn read_debug_slot<M: Memory>(
    memory: &M,
    slot: Addr,
    word_size: usize,
) -> Result<Option<Addr>, LinkMapError<M::Error>> {
    let [value] = Words { memory, word_size }.read(slot, "DT_DEBUG")?;
    Ok(pointer(value))
}

/// Reads all namespaces and their objects, from the `struct r_debug` at `first`.
///
/// The lists are whole only while every [`RDebug::state`] is [`RState::Consistent`]; what is read at
/// another time is what was there. A namespace that was given back has no objects.
///
/// # Errors
/// The memory cannot be read, or a list does not end.
pub fn read_namespaces<M: Memory>(
    memory: &M,
    first: Addr,
    word_size: usize,
) -> Result<Vec<Namespace>, LinkMapError<M::Error>> {
    let mut namespaces: Vec<Namespace> = Vec::new();
    let mut next = Some(first);
    while let Some(at) = next {
        let seen = namespaces.iter().any(|namespace| namespace.r_debug.at == at);
        if seen || namespaces.len() == MAX_NAMESPACES {
            return Err(LinkMapError::Endless {
                what: "the list of namespaces",
                at,
            });
        }
        let r_debug = read_r_debug(memory, at, word_size)?;
        namespaces.push(Namespace {
            r_debug,
            objects: read_link_map(memory, &r_debug, word_size)?,
        });
        next = r_debug.next;
    }
    Ok(namespaces)
}

/// Reads the objects of one namespace.
///
/// # Errors
/// The memory cannot be read, or the list does not end.
pub fn read_link_map<M: Memory>(
    memory: &M,
    r_debug: &RDebug,
    word_size: usize,
) -> Result<Vec<LinkMap>, LinkMapError<M::Error>> {
    let mut objects = Vec::new();
    let mut next = r_debug.map;
    let mut seen = HashSet::new();
    while let Some(at) = next {
        if objects.len() == MAX_OBJECTS || !seen.insert(at) {
            return Err(LinkMapError::Endless {
                what: "the link map",
                at,
            });
        }
        let [l_addr, l_name, l_ld, l_next] = Words { memory, word_size }.read(at, "struct link_map")?;
        objects.push(LinkMap {
            at,
            base: BaseAddress::new(l_addr),
            name: read_name(memory, Addr::new(l_name))?,
            dynamic: Addr::new(l_ld),
        });
        next = pointer(l_next);
    }
    Ok(objects)
}

/// Reads the string at `at` without its NUL; a null pointer is the empty one.
fn read_name<M: Memory>(memory: &M, at: Addr) -> Result<Vec<u8>, LinkMapError<M::Error>> {
    /// Most names fit; a read never goes on to the next page, which may not be there.
    const CHUNK: u64 = 64;
    let mut name = Vec::new();
    let mut from = at;
    while at.get() != 0 && name.len() < MAX_NAME {
        let mut chunk = [0; 64];
        let len = usize::try_from(CHUNK - from.get() % CHUNK).unwrap_or(chunk.len());
        let chunk = &mut chunk[..len];
        memory.read(from, chunk).map_err(|source| LinkMapError::Memory {
            what: "l_name",
            at: from,
            source,
        })?;
        if let Some(end) = chunk.iter().position(|&byte| byte == 0) {
            name.extend_from_slice(&chunk[..end]);
            break;
        }
        name.extend_from_slice(chunk);
        from = from.wrapping_add(crate::image::len64(len));
    }
    Ok(name)
}

impl RState {
    /// `<link.h>`: `RT_CONSISTENT`, `RT_ADD`, `RT_DELETE`.
    fn of(raw: u32) -> Self {
        match raw {
            0 => Self::Consistent,
            1 => Self::Add,
            2 => Self::Delete,
            other => Self::Other(other),
        }
    }
}

/// Words of a process, as its ABI has them.
struct Words<'m, M> {
    memory: &'m M,
    word_size: usize,
}

impl<M: Memory> Words<'_, M> {
    fn size(&self) -> u64 {
        if self.word_size == 4 { 4 } else { 8 }
    }

    /// The `N` words at `at`, in one read.
    fn read<const N: usize>(&self, at: Addr, what: &'static str) -> Result<[u64; N], LinkMapError<M::Error>> {
        let mut bytes = [[0; 8]; N];
        let bytes = bytes.as_flattened_mut();
        let size = if self.size() == 4 { 4 } else { 8 };
        let bytes = &mut bytes[..N * size];
        self.memory
            .read(at, bytes)
            .map_err(|source| LinkMapError::Memory { what, at, source })?;
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(size)) {
            *word = bytes
                .iter()
                .rev()
                .fold(0, |word, &byte| word << 8 | u64::from(byte));
        }
        Ok(words)
    }
}

fn low32(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0)
}

fn pointer(word: u64) -> Option<Addr> {
    (word != 0).then_some(Addr::new(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory that starts at `START`.
    struct Bytes(Vec<u8>);

    const START: u64 = 0x7000;

    #[derive(Debug, thiserror::Error)]
    #[error("unmapped")]
    struct Unmapped;

    impl Memory for Bytes {
        type Error = Unmapped;
        fn read(&self, at: Addr, buf: &mut [u8]) -> Result<(), Unmapped> {
            let start = at
                .get()
                .checked_sub(START)
                .and_then(|start| usize::try_from(start).ok());
            let bytes = start
                .and_then(|start| self.0.get(start..)?.get(..buf.len()))
                .ok_or(Unmapped)?;
            buf.copy_from_slice(bytes);
            Ok(())
        }
    }

    /// Words of `size` bytes, by index; and strings behind them.
    fn memory(size: usize, words: &[u64], strings: &[u8]) -> Bytes {
        let mut bytes: Vec<u8> = words
            .iter()
            .flat_map(|w| w.to_le_bytes()[..size].to_vec())
            .collect();
        bytes.extend_from_slice(strings);
        bytes.extend_from_slice(&[0; 64]);
        Bytes(bytes)
    }

    /// Two namespaces: `""` and `/lib/x.so` in the first, `/lib/y.so` in the second.
    fn two_namespaces(size: usize) -> Bytes {
        let at = |index: u64| START + index * (size as u64);
        let names = at(30);
        #[rustfmt::skip]
        let words = [
            2, at(12), 0x1234, 0, 0x7f00, at(6), // 0: r_debug
            2, at(24), 0x1234, 1, 0x7f00, 0,     // 6: r_debug
            0x5000, names, 0x5100, at(18), 0,    // 12: ""
            0,
            0x6000, names + 1, 0x6100, 0, at(12), // 18: /lib/x.so
            0,
            0x9000, names + 11, 0x9100, 0, 0,     // 24: /lib/y.so
            0,
        ];
        memory(size, &words, b"\0/lib/x.so\0/lib/y.so\0")
    }

    #[test]
    fn namespaces_of_both_word_sizes() {
        for size in [4, 8] {
            let found = read_namespaces(&two_namespaces(size), Addr::new(START), size).unwrap();
            let names: Vec<Vec<_>> = found
                .iter()
                .map(|namespace| {
                    namespace
                        .objects
                        .iter()
                        .map(|object| object.name.as_slice())
                        .collect()
                })
                .collect();
            assert_eq!(names, [vec![&b""[..], b"/lib/x.so"], vec![b"/lib/y.so"]]);
            assert_eq!(found[0].r_debug.state, RState::Consistent);
            assert_eq!(found[1].r_debug.state, RState::Add);
            assert_eq!(found[0].r_debug.brk, Some(Addr::new(0x1234)));
            assert_eq!(found[0].objects[1].base, BaseAddress::new(0x6000));
            assert_eq!(found[1].objects[0].dynamic, Addr::new(0x9100));
        }
    }

    #[test]
    fn an_older_r_debug_ends_before_r_next() {
        let at_end = memory(8, &[1, 0, 0, 0, 0], b"").0;
        let cut = Bytes(at_end[..40].to_vec());
        let r_debug = read_r_debug(&cut, Addr::new(START), 8).unwrap();
        assert_eq!((r_debug.map, r_debug.brk, r_debug.next), (None, None, None));
    }

    #[test]
    fn circles_end() {
        let at = |index: u64| START + index * 8;
        // The second element leads back to the first.
        let words = [
            2,
            at(6),
            0,
            0,
            0,
            at(0), // r_debug, whose next is itself
            0,
            0,
            0,
            at(11),
            0, // first
            0,
            0,
            0,
            at(6),
            at(6), // second
        ];
        let circle = memory(8, &words, b"");
        let error = read_namespaces(&circle, Addr::new(START), 8).unwrap_err();
        assert!(
            matches!(
                error,
                LinkMapError::Endless {
                    what: "the link map",
                    ..
                }
            ),
            "{error}"
        );
        let mut words = words;
        words[14] = 0;
        let error = read_namespaces(&memory(8, &words, b""), Addr::new(START), 8).unwrap_err();
        assert!(
            matches!(
                error,
                LinkMapError::Endless {
                    what: "the list of namespaces",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_name_without_end_is_cut_and_unreadable_memory_is_an_error() {
        let words = [0x5000, START + 40, 0, 0, 0];
        let long = memory(8, &words, &[b'x'; 3 * MAX_NAME]);
        let r_debug = RDebug {
            at: Addr::new(0),
            version: 1,
            map: Some(Addr::new(START)),
            brk: None,
            state: RState::Consistent,
            ldbase: BaseAddress::new(0),
            next: None,
        };
        let objects = read_link_map(&long, &r_debug, 8).unwrap();
        assert!((MAX_NAME..MAX_NAME + 64).contains(&objects[0].name.len()));
        let cut = Bytes(long.0[..60].to_vec());
        let error = read_link_map(&cut, &r_debug, 8).unwrap_err();
        assert!(
            matches!(error, LinkMapError::Memory { what: "l_name", .. }),
            "{error}"
        );
    }
}
