//! The dynamic linker's list of loaded objects, read from a process: `struct r_debug` and
//! `struct link_map` of `<link.h>` (SVR4's debugger interface).

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

/// Reads the `struct r_debug` at `at`, of a process whose pointers have `word_size` bytes (4 or 8).
///
/// # Errors
/// The memory cannot be read.
pub fn read_r_debug<M: Memory>(
    memory: &M,
    at: Addr,
    word_size: usize,
) -> Result<RDebug, LinkMapError<M::Error>> {
    let _ = (memory, at, word_size);
    todo!()
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
    let _ = (memory, slot, word_size);
    todo!()
}

/// Reads all namespaces and their objects, from the `struct r_debug` at `first`.
///
/// The lists are whole only while every [`RDebug::state`] is [`RState::Consistent`]; what is read at
/// another time is what was there.
///
/// # Errors
/// The memory cannot be read, or a list does not end.
pub fn read_namespaces<M: Memory>(
    memory: &M,
    first: Addr,
    word_size: usize,
) -> Result<Vec<Namespace>, LinkMapError<M::Error>> {
    let _ = (memory, first, word_size);
    todo!()
}
