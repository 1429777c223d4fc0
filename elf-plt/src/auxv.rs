//! The auxiliary vector: what the kernel tells a new program (getauxval(3)).

use arch_abi::Addr;

/// `a_type` of an entry of the auxiliary vector (`<elf.h>`).
pub mod at {
    /// End of the vector.
    pub const NULL: u64 = 0;
    /// Address of the program headers of the main program.
    pub const PHDR: u64 = 3;
    /// Number of program headers.
    pub const PHNUM: u64 = 5;
    /// System page size.
    pub const PAGESZ: u64 = 6;
    /// Base address of the interpreter.
    pub const BASE: u64 = 7;
    /// Entry point of the main program.
    pub const ENTRY: u64 = 9;
    /// Nonzero when the program runs in secure-execution mode (setuid).
    pub const SECURE: u64 = 23;
    /// Address of the vDSO's ELF header.
    pub const SYSINFO_EHDR: u64 = 33;
}

/// The auxiliary vector of a process, as `/proc/PID/auxv` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auxv {
    entries: Vec<(u64, u64)>,
}

/// No process has more entries than this; Linux 6.18 passes about 25.
const MAX_ENTRIES: usize = 1024;

impl Auxv {
    /// The entries in `bytes`, up to `AT_NULL` or to the last whole entry. `word_size` is that of the
    /// *process* in bytes, 4 or 8: a 64-bit kernel gives a 32-bit process 32-bit entries.
    #[must_use]
    pub fn parse(bytes: &[u8], word_size: usize) -> Self {
        let entries = bytes
            .chunks_exact(word_size.clamp(4, 8) * 2)
            .map(|entry| {
                let (a_type, a_val) = entry.split_at(entry.len() / 2);
                (word(a_type), word(a_val))
            })
            .take_while(|&(a_type, _)| a_type != at::NULL)
            .take(MAX_ENTRIES)
            .collect();
        Self { entries }
    }

    /// The value of the first entry of this type, one of [`at`].
    #[must_use]
    pub fn get(&self, a_type: u64) -> Option<u64> {
        self.entries
            .iter()
            .find(|&&(t, _)| t == a_type)
            .map(|&(_, value)| value)
    }

    /// `AT_PHDR`: where the main program's program headers lie. See [`crate::Object::base_from_phdr`].
    #[must_use]
    pub fn phdr(&self) -> Option<Addr> {
        self.address(at::PHDR)
    }

    /// `AT_ENTRY`: the main program's entry point, also where an interpreter runs first.
    #[must_use]
    pub fn entry(&self) -> Option<Addr> {
        self.address(at::ENTRY)
    }

    /// `AT_BASE`: where the interpreter was loaded. `None` without an interpreter (a static program, or
    /// `ld.so` run as a command), for which the kernel gives zero.
    #[must_use]
    pub fn base(&self) -> Option<Addr> {
        self.address(at::BASE)
    }

    /// `AT_SYSINFO_EHDR`: where the vDSO's ELF header lies.
    #[must_use]
    pub fn sysinfo_ehdr(&self) -> Option<Addr> {
        self.address(at::SYSINFO_EHDR)
    }

    fn address(&self, a_type: u64) -> Option<Addr> {
        self.get(a_type).filter(|&value| value != 0).map(Addr::new)
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(word_size: usize, words: &[u64]) -> Vec<u8> {
        words
            .iter()
            .flat_map(|w| w.to_le_bytes()[..word_size].to_vec())
            .collect()
    }

    #[test]
    fn both_word_sizes() {
        for word_size in [4, 8] {
            let bytes = vector(word_size, &[3, 0x5034, 7, 0, 9, 0x5100, 0, 0, 33, 0x9000]);
            let auxv = Auxv::parse(&bytes, word_size);
            assert_eq!(auxv.phdr(), Some(Addr::new(0x5034)));
            assert_eq!(auxv.entry(), Some(Addr::new(0x5100)));
            assert_eq!(auxv.base(), None, "zero: there is no interpreter");
            assert_eq!(auxv.sysinfo_ehdr(), None, "it lies past AT_NULL");
        }
    }

    #[test]
    fn a_cut_entry_is_no_entry() {
        let bytes = vector(8, &[3, 0x5034, 9, 0x5100]);
        assert_eq!(Auxv::parse(&bytes[..31], 8).entry(), None);
        assert_eq!(Auxv::parse(&[], 8), Auxv::default());
        assert_eq!(
            Auxv::parse(&bytes, 0).get(1),
            None,
            "a senseless word size is no panic"
        );
    }

    #[test]
    fn the_vector_of_this_process() {
        let auxv = Auxv::parse(&std::fs::read("/proc/self/auxv").unwrap(), size_of::<usize>());
        assert_eq!(auxv.get(at::PAGESZ), Some(4096));
        assert!(auxv.phdr().is_some() && auxv.entry().is_some());
    }
}
