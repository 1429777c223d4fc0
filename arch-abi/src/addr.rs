//! Addresses that must not be mixed are different types.

use std::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The address with this number.
            #[must_use]
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The number of this address.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The address `bytes` further on; `None` past the end of the address space.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// The address `bytes` further on, modulo 2⁶⁴ as the machine computes it.
            #[must_use]
            pub const fn wrapping_add(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }

            /// The address `bytes` before, modulo 2⁶⁴ as the machine computes it.
            #[must_use]
            pub const fn wrapping_sub(self, bytes: u64) -> Self {
                Self(self.0.wrapping_sub(bytes))
            }

            /// How many bytes this address lies past `start`; `None` where it lies before it.
            #[must_use]
            pub const fn offset_from(self, start: Self) -> Option<u64> {
                self.0.checked_sub(start.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// An address as an object file states it: `p_vaddr`, `st_value`, `r_offset` (gABI).
    FileAddr
}

address! {
    /// An address in a running process.
    Addr
}

/// The difference between where an object lies in memory and where its file says it lies:
/// gABI, "Base Address"; `l_addr` in `<link.h>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct BaseAddress(u64);

impl BaseAddress {
    /// The base address with this number, a difference modulo 2⁶⁴.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The number of this base address.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The base address by which `file` lies at `memory`.
    #[must_use]
    pub const fn between(memory: Addr, file: FileAddr) -> Self {
        Self(memory.get().wrapping_sub(file.get()))
    }

    /// Where `at` lies in the process. A base address is a difference: the sum may wrap.
    #[must_use]
    pub const fn resolve(self, at: FileAddr) -> Addr {
        Addr::new(self.0.wrapping_add(at.get()))
    }

    /// What the file calls the place `at` of the process. The difference may wrap.
    #[must_use]
    pub const fn unresolve(self, at: Addr) -> FileAddr {
        FileAddr::new(at.get().wrapping_sub(self.0))
    }
}

impl fmt::Display for BaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for BaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseAddress({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_address_wraps_both_ways() {
        // A prelinked object that is moved down has a base address "below zero".
        let base = BaseAddress::between(Addr::new(0x1000), FileAddr::new(0x40_0000));
        assert_eq!(base.resolve(FileAddr::new(0x40_0010)), Addr::new(0x1010));
        assert_eq!(base.unresolve(Addr::new(0x1010)), FileAddr::new(0x40_0010));
    }

    #[test]
    fn offsets_are_checked() {
        assert_eq!(Addr::new(8).offset_from(Addr::new(16)), None);
        assert_eq!(Addr::new(u64::MAX).checked_add(1), None);
        assert_eq!(Addr::new(16).offset_from(Addr::new(8)), Some(8));
    }
}
