//! The bytes of a file, with every access checked: by offset, and by address through the segments.

use arch_abi::{Arch, FileAddr};
use goblin::container::{Container, Ctx, Endian};
use scroll::Pread;
use scroll::ctx::TryFromCtx;

use crate::error::Error;
use crate::object::Segment;

/// Longer names are no names: a bound on what one string costs, whoever wrote the file.
const MAX_STRING: usize = 1 << 16;

/// A file's bytes, how its words are coded, and what it loads where.
#[derive(Clone, Debug)]
pub(crate) struct Image<'data> {
    pub(crate) data: &'data [u8],
    pub(crate) arch: Arch,
    /// By address.
    pub(crate) segments: Vec<Segment>,
}

/// A length as a `u64`: nothing here has a `usize` of more than 64 bits.
pub(crate) const fn len64(len: usize) -> u64 {
    len as u64
}

impl<'data> Image<'data> {
    /// How goblin is told the file's class and byte order.
    pub(crate) fn ctx(&self) -> Ctx {
        let container = match self.arch.abi().word_size() {
            4 => Container::Little,
            _ => Container::Big,
        };
        Ctx::new(container, Endian::Little)
    }

    pub(crate) fn word_size(&self) -> usize {
        self.arch.abi().word_size()
    }

    /// The `len` bytes at `offset` of the file, which should be a `what`.
    pub(crate) fn slice(&self, offset: u64, len: u64, what: &'static str) -> Result<&'data [u8], Error> {
        slice(self.data, offset, len, what)
    }

    /// What the file loads from `at` to the end of the segment's part of the file.
    pub(crate) fn loaded(&self, at: FileAddr, what: &'static str) -> Result<&'data [u8], Error> {
        let (offset, len) = self.loaded_range(at).ok_or(Error::Unmapped { what, at })?;
        self.slice(offset, len, what)
    }

    /// The `len` bytes that the file loads at `at`, which should be a `what`.
    pub(crate) fn loaded_len(
        &self,
        at: FileAddr,
        len: u64,
        what: &'static str,
    ) -> Result<&'data [u8], Error> {
        let (offset, available) = self.loaded_range(at).ok_or(Error::Unmapped { what, at })?;
        if len > available {
            return Err(Error::Truncated {
                what,
                offset,
                len,
                file_len: offset + available,
            });
        }
        self.slice(offset, len, what)
    }

    /// Where in the file the byte at `at` lies, and how many bytes of its segment follow, itself included.
    fn loaded_range(&self, at: FileAddr) -> Option<(u64, u64)> {
        let segment = self.segment_of(at)?;
        let within = at.offset_from(segment.addr)?;
        let len = segment.file_size.checked_sub(within).filter(|&len| len > 0)?;
        Some((segment.offset.checked_add(within)?, len))
    }

    /// The segment whose memory holds `at`.
    pub(crate) fn segment_of(&self, at: FileAddr) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.addr <= at);
        let segment = &self.segments[after.checked_sub(1)?];
        (at.offset_from(segment.addr)? < segment.mem_size).then_some(segment)
    }

    /// The address at which the file's byte at `offset` is loaded.
    pub(crate) fn address_of(&self, offset: u64) -> Option<FileAddr> {
        self.segments.iter().find_map(|segment| {
            let within = offset.checked_sub(segment.offset)?;
            (within < segment.file_size).then(|| segment.addr.wrapping_add(within))
        })
    }

    /// A pointer that the file holds at `at`.
    pub(crate) fn word(&self, at: FileAddr, what: &'static str) -> Result<u64, Error> {
        let bytes = self.loaded_len(at, len64(self.word_size()), what)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte)))
    }

    /// How far `part`, a slice of this file, lies into it.
    pub(crate) fn offset_of(&self, part: &[u8]) -> u64 {
        len64((part.as_ptr() as usize).wrapping_sub(self.data.as_ptr() as usize))
    }
}

/// The `len` bytes at `offset` of `data`, which should be a `what`.
pub(crate) fn slice<'data>(
    data: &'data [u8],
    offset: u64,
    len: u64,
    what: &'static str,
) -> Result<&'data [u8], Error> {
    let range = || {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        data.get(start..end)
    };
    range().ok_or(Error::Truncated {
        what,
        offset,
        len,
        file_len: len64(data.len()),
    })
}

/// An array of structures of the file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Table<'data> {
    bytes: &'data [u8],
    entry_size: usize,
}

impl<'data> Table<'data> {
    /// The structures of `entry_size` bytes in `bytes`; what remains is ignored.
    pub(crate) fn new(bytes: &'data [u8], entry_size: usize) -> Self {
        Self { bytes, entry_size }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len().checked_div(self.entry_size).unwrap_or(0)
    }

    /// The structure number `index`; `None` past the last.
    pub(crate) fn get<T, C: Copy>(&self, index: usize, ctx: C) -> Option<T>
    where
        T: TryFromCtx<'data, C, Error = goblin::error::Error>,
    {
        let start = index.checked_mul(self.entry_size)?;
        let entry = self.bytes.get(start..start.checked_add(self.entry_size)?)?;
        entry.pread_with(0, ctx).ok()
    }

    /// All structures in order.
    pub(crate) fn iter<T, C: Copy>(self, ctx: C) -> impl Iterator<Item = T> + use<'data, T, C>
    where
        T: TryFromCtx<'data, C, Error = goblin::error::Error>,
    {
        (0..self.len()).map_while(move |index| self.get(index, ctx))
    }

    /// The table with no more than `len` structures.
    pub(crate) fn truncated(self, len: usize) -> Self {
        let bytes = len
            .checked_mul(self.entry_size)
            .and_then(|len| self.bytes.get(..len));
        Self {
            bytes: bytes.unwrap_or(self.bytes),
            ..self
        }
    }
}

/// The string at `offset` of a string table, without its NUL. `None` where there is none, or none of a
/// sane length.
pub(crate) fn string(table: &[u8], offset: u64) -> Option<&[u8]> {
    let rest = table.get(usize::try_from(offset).ok()?..)?;
    let rest = &rest[..rest.len().min(MAX_STRING)];
    // The standard library searches a `CStr` by words, a plain slice by bytes.
    Some(std::ffi::CStr::from_bytes_until_nul(rest).ok()?.to_bytes())
}

/// A little-endian word of two bytes.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|&word| u16::from_le_bytes(word))
}

/// A little-endian word of four bytes.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|&word| u32::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(addr: u64, mem_size: u64, offset: u64, file_size: u64) -> Segment {
        let addr = FileAddr::new(addr);
        Segment {
            addr,
            mem_size,
            offset,
            file_size,
            executable: false,
            writable: false,
        }
    }

    #[test]
    fn addresses_are_found_in_the_file_part_of_a_segment_only() {
        let data = [7; 0x30];
        let segments = vec![
            segment(0x1000, 0x100, 0x10, 0x20),
            segment(0x2000, 0x10, 0x20, 0x10),
        ];
        let image = Image {
            data: &data,
            arch: Arch::X86_64,
            segments,
        };
        let len = |at| image.loaded(FileAddr::new(at), "x").map(<[u8]>::len).ok();
        assert_eq!(len(0xfff), None);
        assert_eq!(len(0x1000), Some(0x20));
        assert_eq!(len(0x101f), Some(1));
        assert_eq!(len(0x1020), None, "zero-filled memory is not in the file");
        assert_eq!(len(0x2000), Some(0x10));
        assert_eq!(len(u64::MAX), None);
        assert_eq!(image.address_of(0x2f), Some(FileAddr::new(0x101f)));
    }

    #[test]
    fn strings_end_in_their_table() {
        assert_eq!(string(b"\0ab\0c", 1), Some(&b"ab"[..]));
        assert_eq!(string(b"\0ab\0c", 4), None, "no NUL");
        assert_eq!(string(b"\0ab\0c", 6), None);
        assert_eq!(string(b"\0ab\0c", u64::MAX), None);
    }
}
