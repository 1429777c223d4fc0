//! Where functions start, by `.eh_frame_hdr`: LSB Core, "The `.eh_frame_hdr` section". It is loaded, so that
//! stripping does not remove it.

use arch_abi::FileAddr;

use crate::image::{Image, u32_at};

/// The binary search table of `.eh_frame_hdr`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnwindIndex<'data> {
    /// Where `.eh_frame_hdr` is loaded: the table's words are relative to it.
    addr: FileAddr,
    table: &'data [u8],
}

/// Version, three pointer encodings, the pointer to `.eh_frame` and the count.
const HEADER: usize = 12;
/// `DW_EH_PE_udata4`.
const UDATA4: u8 = 0x03;
/// `DW_EH_PE_datarel | DW_EH_PE_sdata4`: the only one that linkers write.
const DATAREL_SDATA4: u8 = 0x3b;
/// An entry is the start of a function and the address of its FDE.
const ENTRY: usize = 8;

impl<'data> UnwindIndex<'data> {
    /// The table at `addr`; `None` where it is in another encoding or broken.
    pub(crate) fn parse(image: &Image<'data>, addr: FileAddr) -> Option<Self> {
        let bytes = image.loaded(addr, "PT_GNU_EH_FRAME").ok()?;
        let &[1, eh_frame_enc, UDATA4, DATAREL_SDATA4, ..] = bytes else {
            return None;
        };
        if eh_frame_enc & 0x0f != 0x0b && eh_frame_enc & 0x0f != UDATA4 {
            return None; // The pointer to .eh_frame has not four bytes.
        }
        let count = usize::try_from(u32_at(bytes, 8)?).ok()?;
        let table = bytes.get(HEADER..)?.get(..count.checked_mul(ENTRY)?)?;
        Some(Self { addr, table })
    }

    fn word(&self, index: usize, at: usize) -> Option<FileAddr> {
        let word = u32_at(self.table, index.checked_mul(ENTRY)?.checked_add(at)?)?;
        Some(
            self.addr
                .wrapping_add(i64::from(word.cast_signed()).cast_unsigned()),
        )
    }

    fn len(&self) -> usize {
        self.table.len() / ENTRY
    }

    /// The last entry that starts at or before `addr`. In an unsorted table any entry may be found.
    fn position(&self, addr: FileAddr) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.word(middle, 0)? <= addr {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }

    /// The start of the function that `addr` lies in, or of the last one before it.
    pub(crate) fn start_before(&self, addr: FileAddr) -> Option<FileAddr> {
        self.word(self.position(addr)?, 0).filter(|&start| start <= addr)
    }

    /// The start and the length of the code whose FDE covers `addr`; `None` where none does, or its
    /// pointers are not those that compilers write.
    pub(crate) fn covering(&self, image: &Image<'data>, addr: FileAddr) -> Option<(FileAddr, u64)> {
        /// `length`, `CIE pointer`.
        const FDE_HEADER: u64 = 8;
        let index = self.position(addr)?;
        let start = self.word(index, 0)?;
        let begin_at = self.word(index, 4)?.checked_add(FDE_HEADER)?;
        let fields = image.loaded_len(begin_at, 8, "FDE").ok()?;
        // DW_EH_PE_pcrel | DW_EH_PE_sdata4, the usual encoding: the address proves that it is this one.
        let begin = i64::from(u32_at(fields, 0)?.cast_signed()).cast_unsigned();
        let len = u64::from(u32_at(fields, 4)?);
        let covers = addr.offset_from(start)? < len && Self::same(begin_at.wrapping_add(begin), start);
        covers.then_some((start, len))
    }

    /// Whether two addresses are equal in the lower half, which is all that 32-bit objects have.
    fn same(a: FileAddr, b: FileAddr) -> bool {
        let mask = u64::from(u32::MAX);
        a.get() & mask == b.get() & mask
    }
}
