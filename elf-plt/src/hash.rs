//! The hash tables of the dynamic symbols.

use arch_abi::FileAddr;

use crate::image::{Image, u32_at};

/// `DT_HASH`: gABI, "Hash Table".
#[derive(Clone, Copy, Debug)]
pub(crate) struct SysvHash<'data> {
    buckets: &'data [u8],
    chains: &'data [u8],
}

impl<'data> SysvHash<'data> {
    pub(crate) fn parse(image: &Image<'data>, at: FileAddr) -> Option<Self> {
        let bytes = image.loaded(at, "DT_HASH").ok()?;
        let (bucket_count, chain_count) = (words(bytes, 0)?, words(bytes, 4)?);
        let (buckets, rest) = bytes.get(8..)?.split_at_checked(bucket_count.checked_mul(4)?)?;
        Some(Self {
            buckets,
            chains: rest.get(..chain_count.checked_mul(4)?)?,
        })
    }

    /// `nchain` is the number of symbols.
    pub(crate) fn symbol_count(&self) -> usize {
        self.chains.len() / 4
    }

    /// The symbols that may have this name.
    pub(crate) fn candidates(&self, name: &[u8]) -> impl Iterator<Item = usize> {
        let first = bucket(self.buckets, sysv_hash(name));
        let chains = self.chains;
        std::iter::successors(first, move |&symbol| words(chains, symbol.checked_mul(4)?))
            .take_while(|&symbol| symbol != 0)
            .take(self.symbol_count()) // a chain may run in a circle
    }
}

/// `DT_GNU_HASH`: Linux Standard Base and binutils, "GNU hash table" (`elf/dl-lookup.c` of glibc reads it).
#[derive(Clone, Copy, Debug)]
pub(crate) struct GnuHash<'data> {
    first_symbol: usize,
    buckets: &'data [u8],
    /// A hash for each symbol from the first on, to the end of the segment; bit 0 ends a chain.
    chains: &'data [u8],
}

impl<'data> GnuHash<'data> {
    pub(crate) fn parse(image: &Image<'data>, at: FileAddr) -> Option<Self> {
        let bytes = image.loaded(at, "DT_GNU_HASH").ok()?;
        let (bucket_count, first_symbol) = (words(bytes, 0)?, words(bytes, 4)?);
        let bloom_len = words(bytes, 8)?.checked_mul(image.word_size())?;
        let (buckets, chains) = bytes
            .get(16..)?
            .get(bloom_len..)?
            .split_at_checked(bucket_count.checked_mul(4)?)?;
        Some(Self {
            first_symbol,
            buckets,
            chains,
        })
    }

    /// The number of symbols that the table knows of: one more than the end of the last chain.
    pub(crate) fn symbol_count(&self) -> usize {
        let starts = (0..self.buckets.len() / 4).filter_map(|index| words(self.buckets, index * 4));
        let Some(last) = starts.max().filter(|&last| last >= self.first_symbol) else {
            return self.first_symbol; // nothing is defined
        };
        self.chain(last).last().unwrap_or(last).saturating_add(1)
    }

    /// The symbols that may have this name. The Bloom filter is not asked: it saves a look at one bucket.
    pub(crate) fn candidates(&self, name: &[u8]) -> impl Iterator<Item = usize> {
        let hash = gnu_hash(name);
        let first = bucket(self.buckets, hash).filter(|&first| first >= self.first_symbol);
        let found = move |&symbol: &usize| self.hash_of(symbol).is_some_and(|other| other | 1 == hash | 1);
        first
            .into_iter()
            .flat_map(|first| self.chain(first))
            .filter(found)
    }

    /// The symbols from `first` to the end of its chain, or of the table.
    fn chain(&self, first: usize) -> impl Iterator<Item = usize> {
        let next = |&symbol: &usize| (self.hash_of(symbol)? & 1 == 0).then_some(symbol + 1);
        std::iter::successors(Some(first), next).take_while(|&symbol| self.hash_of(symbol).is_some())
    }

    fn hash_of(&self, symbol: usize) -> Option<u32> {
        u32_at(
            self.chains,
            symbol.checked_sub(self.first_symbol)?.checked_mul(4)?,
        )
    }
}

fn words(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

/// What the bucket for `hash` holds.
fn bucket(buckets: &[u8], hash: u32) -> Option<usize> {
    let index = usize::try_from(hash).ok()?.checked_rem(buckets.len() / 4)?;
    words(buckets, index * 4)
}

fn sysv_hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, &byte| {
        let hash = (hash << 4).wrapping_add(byte.into());
        (hash ^ (hash & 0xf000_0000) >> 24) & 0x0fff_ffff
    })
}

fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, &byte| {
        hash.wrapping_mul(33).wrapping_add(byte.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_specifications() {
        // gABI's function and glibc's, run on these names.
        assert_eq!(sysv_hash(b"printf"), 0x077905a6);
        assert_eq!(sysv_hash(b"flapenguin.me"), 0x03987915);
        assert_eq!(gnu_hash(b"printf"), 0x156b2bb8);
        assert_eq!(gnu_hash(b""), 5381);
    }

    #[test]
    fn a_chain_in_a_circle_ends() {
        let chains: Vec<u8> = [0_u32, 2, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
        let hash = SysvHash {
            buckets: &[1, 0, 0, 0],
            chains: &chains,
        };
        assert_eq!(hash.candidates(b"x").count(), 3);
    }

    #[test]
    fn a_chain_without_an_end_ends_with_the_bytes() {
        let hash = GnuHash {
            first_symbol: 1,
            buckets: &[1, 0, 0, 0],
            chains: &[0; 4 * 5],
        };
        assert_eq!(hash.symbol_count(), 6);
        let none = GnuHash {
            first_symbol: usize::MAX,
            buckets: &[255; 4],
            chains: &[0; 4],
        };
        assert_eq!(none.candidates(b"x").count(), 0);
    }
}
