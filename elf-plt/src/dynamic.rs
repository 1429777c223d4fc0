//! The dynamic section: gABI, "Dynamic Section".

use arch_abi::FileAddr;
use goblin::elf::dynamic::{self, Dyn};
use goblin::elf::reloc;

use crate::error::Error;
use crate::image::{Image, Table, len64, string};

/// `DT_RELR`'s relations hold no symbol and make no slot, so that they have no part here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dynamic<'data> {
    /// Where the section is loaded.
    pub(crate) addr: FileAddr,
    /// `DT_STRTAB`.
    pub(crate) strings: &'data [u8],
    /// `DT_SYMTAB`, to the end of its segment: the dynamic section does not tell its length.
    pub(crate) symtab: Option<FileAddr>,
    pub(crate) hash: Option<FileAddr>,
    pub(crate) gnu_hash: Option<FileAddr>,
    pub(crate) versym: Option<FileAddr>,
    pub(crate) verneed: Option<(FileAddr, u64)>,
    pub(crate) verdef: Option<(FileAddr, u64)>,
    /// `DT_RELA`, `DT_REL` and `DT_JMPREL`, with whether they have addends.
    pub(crate) relocations: Vec<(Table<'data>, bool)>,
    pub(crate) pltgot: Option<FileAddr>,
    /// `DT_INIT` and `DT_FINI`: functions that no unwinding table tells.
    pub(crate) init_fini: [Option<FileAddr>; 2],
    pub(crate) soname: Option<&'data [u8]>,
    pub(crate) needed: Vec<&'data [u8]>,
    pub(crate) runpath: Option<&'data [u8]>,
    pub(crate) bind_now: bool,
    pub(crate) pie: bool,
    /// Where `d_un` of `DT_DEBUG` is loaded.
    pub(crate) debug_slot: Option<FileAddr>,
}

/// No object needs more libraries than this by name.
const MAX_NEEDED: usize = 4096;

/// `DF_1_PIE` (`<elf.h>`).
const DF_1_PIE: u64 = 0x0800_0000;

/// The values of the tags, of each the last, as the dynamic linker has it.
#[derive(Default)]
struct Tags {
    values: Vec<(u64, u64)>,
}

impl Tags {
    fn get(&self, tag: u64) -> Option<u64> {
        self.values
            .iter()
            .rev()
            .find(|&&(found, _)| found == tag)
            .map(|&(_, value)| value)
    }

    fn addr(&self, tag: u64) -> Option<FileAddr> {
        self.get(tag).map(FileAddr::new)
    }
}

/// The tags that are read here; of others, a file may have as many as it likes.
const KNOWN: [u64; 26] = [
    dynamic::DT_INIT,
    dynamic::DT_FINI,
    dynamic::DT_STRTAB,
    dynamic::DT_STRSZ,
    dynamic::DT_SYMTAB,
    dynamic::DT_HASH,
    dynamic::DT_GNU_HASH,
    dynamic::DT_VERSYM,
    dynamic::DT_VERNEED,
    dynamic::DT_VERNEEDNUM,
    dynamic::DT_VERDEF,
    dynamic::DT_VERDEFNUM,
    dynamic::DT_RELA,
    dynamic::DT_RELASZ,
    dynamic::DT_REL,
    dynamic::DT_RELSZ,
    dynamic::DT_JMPREL,
    dynamic::DT_PLTRELSZ,
    dynamic::DT_PLTREL,
    dynamic::DT_PLTGOT,
    dynamic::DT_SONAME,
    dynamic::DT_RPATH,
    dynamic::DT_RUNPATH,
    dynamic::DT_BIND_NOW,
    dynamic::DT_FLAGS,
    dynamic::DT_FLAGS_1,
];

impl<'data> Dynamic<'data> {
    /// Reads the section that `addr` and `offset` name (`p_vaddr` and `p_offset` of `PT_DYNAMIC`), of
    /// `size` bytes.
    pub(crate) fn parse(image: &Image<'data>, addr: FileAddr, offset: u64, size: u64) -> Result<Self, Error> {
        let bytes = image
            .loaded_len(addr, size, "PT_DYNAMIC")
            .or_else(|_| image.slice(offset, size, "PT_DYNAMIC"))?;
        let mut found = Self {
            addr,
            ..Self::default()
        };
        let mut tags = Tags::default();
        let mut needed = Vec::new();
        let entry_size = Dyn::size(image.ctx().container);
        for (index, entry) in Table::new(bytes, entry_size)
            .iter::<Dyn, _>(image.ctx())
            .enumerate()
        {
            match entry.d_tag {
                dynamic::DT_NULL => break,
                dynamic::DT_NEEDED if needed.len() < MAX_NEEDED => needed.push(entry.d_val),
                dynamic::DT_DEBUG => {
                    let value = index * entry_size + image.word_size();
                    found.debug_slot = addr.checked_add(len64(value));
                }
                tag if KNOWN.contains(&tag) => set(&mut tags.values, tag, entry.d_val),
                _ => {}
            }
        }
        found.fill(image, &tags, &needed)?;
        Ok(found)
    }

    fn fill(&mut self, image: &Image<'data>, tags: &Tags, needed: &[u64]) -> Result<(), Error> {
        if let Some(strtab) = tags.addr(dynamic::DT_STRTAB) {
            let size = tags.get(dynamic::DT_STRSZ).unwrap_or(0);
            self.strings = image.loaded_len(strtab, size, "DT_STRTAB")?;
        }
        let name = |tag| tags.get(tag).and_then(|offset| string(self.strings, offset));
        self.soname = name(dynamic::DT_SONAME);
        self.runpath = name(dynamic::DT_RUNPATH).or_else(|| name(dynamic::DT_RPATH));
        self.needed = needed
            .iter()
            .filter_map(|&offset| string(self.strings, offset))
            .collect();
        self.symtab = tags.addr(dynamic::DT_SYMTAB);
        self.hash = tags.addr(dynamic::DT_HASH);
        self.gnu_hash = tags.addr(dynamic::DT_GNU_HASH);
        self.versym = tags.addr(dynamic::DT_VERSYM);
        self.verneed = tags
            .addr(dynamic::DT_VERNEED)
            .zip(tags.get(dynamic::DT_VERNEEDNUM));
        self.verdef = tags.addr(dynamic::DT_VERDEF).zip(tags.get(dynamic::DT_VERDEFNUM));
        self.pltgot = tags.addr(dynamic::DT_PLTGOT);
        self.init_fini = [tags.addr(dynamic::DT_INIT), tags.addr(dynamic::DT_FINI)];
        self.relocations = relocations(image, tags)?;
        let flags = tags.get(dynamic::DT_FLAGS).unwrap_or(0);
        let flags_1 = tags.get(dynamic::DT_FLAGS_1).unwrap_or(0);
        self.bind_now = tags.get(dynamic::DT_BIND_NOW).is_some()
            || flags & dynamic::DF_BIND_NOW != 0
            || flags_1 & dynamic::DF_1_NOW != 0;
        self.pie = flags_1 & DF_1_PIE != 0;
        Ok(())
    }
}

/// Keeps one value for each tag, so that a section of millions of entries costs no memory.
fn set(values: &mut Vec<(u64, u64)>, tag: u64, value: u64) {
    match values.iter_mut().find(|(known, _)| *known == tag) {
        Some((_, old)) => *old = value,
        None => values.push((tag, value)),
    }
}

/// `DT_JMPREL`, `DT_RELA` and `DT_REL`, as far as the file has them.
fn relocations<'data>(image: &Image<'data>, tags: &Tags) -> Result<Vec<(Table<'data>, bool)>, Error> {
    let jmprel_has_addends = match tags.get(dynamic::DT_PLTREL) {
        Some(kind) => kind == dynamic::DT_RELA,
        None => image.word_size() == 8,
    };
    let tables = [
        (
            "DT_JMPREL",
            dynamic::DT_JMPREL,
            dynamic::DT_PLTRELSZ,
            jmprel_has_addends,
        ),
        ("DT_RELA", dynamic::DT_RELA, dynamic::DT_RELASZ, true),
        ("DT_REL", dynamic::DT_REL, dynamic::DT_RELSZ, false),
    ];
    let mut found = Vec::new();
    for (what, tag, size_tag, has_addends) in tables {
        let Some((addr, size)) = tags.addr(tag).zip(tags.get(size_tag)) else {
            continue;
        };
        if size > 0 {
            let bytes = image.loaded_len(addr, size, what)?;
            found.push((relocation_table(image, bytes, has_addends), has_addends));
        }
    }
    Ok(found)
}

/// The relocations in `bytes`.
pub(crate) fn relocation_table<'data>(
    image: &Image<'data>,
    bytes: &'data [u8],
    has_addends: bool,
) -> Table<'data> {
    let size = match (image.word_size(), has_addends) {
        (4, false) => reloc::reloc32::SIZEOF_REL,
        (4, true) => reloc::reloc32::SIZEOF_RELA,
        (_, false) => reloc::reloc64::SIZEOF_REL,
        (_, true) => reloc::reloc64::SIZEOF_RELA,
    };
    Table::new(bytes, size)
}
