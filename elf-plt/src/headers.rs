//! The ELF header, the program headers, the section headers and the notes.

use std::cmp::Reverse;

use arch_abi::{Arch, FileAddr};
use goblin::container::Endian;
use goblin::elf::header::{self, Header};
use goblin::elf::program_header::{self, ProgramHeader};
use goblin::elf::section_header::{self, SectionHeader};
use scroll::Pread;

use crate::error::Error;
use crate::image::{Image, Table, len64, slice, u32_at};
use crate::object::Segment;

/// What the headers say, as far as it is needed here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers<'data> {
    pub(crate) e_type: u16,
    pub(crate) entry: Option<FileAddr>,
    pub(crate) phdr_offset: u64,
    /// `p_vaddr` of `PT_PHDR`.
    pub(crate) phdr_addr: Option<FileAddr>,
    pub(crate) interpreter: Option<&'data [u8]>,
    /// `p_vaddr`, `p_offset` and `p_filesz` of `PT_DYNAMIC`.
    pub(crate) dynamic: Option<(FileAddr, u64, u64)>,
    /// `p_vaddr` of `PT_GNU_EH_FRAME`.
    pub(crate) eh_frame_hdr: Option<FileAddr>,
    pub(crate) build_id: Option<&'data [u8]>,
}

/// A section header, as far as it is needed here. The names are not: a linker may call a section as it
/// likes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    pub(crate) kind: u32,
    pub(crate) addr: FileAddr,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
    pub(crate) loaded: bool,
    pub(crate) executable: bool,
}

/// Reads the ELF header and the program headers.
pub(crate) fn parse(data: &[u8]) -> Result<(Image<'_>, Headers<'_>), Error> {
    let header = elf_header(data)?;
    let class = header.e_ident[header::EI_CLASS];
    let arch = Arch::of_elf(header.e_machine, class == header::ELFCLASS64)
        .filter(|_| header.e_ident[header::EI_DATA] == header::ELFDATA2LSB)
        .ok_or(Error::Machine {
            machine: header.e_machine,
            class,
        })?;
    let mut image = Image {
        data,
        arch,
        segments: Vec::new(),
    };
    let mut headers = Headers {
        e_type: header.e_type,
        entry: (header.e_entry != 0).then_some(FileAddr::new(header.e_entry)),
        phdr_offset: header.e_phoff,
        ..Headers::default()
    };
    for program_header in program_headers(&image, &header)?.iter::<ProgramHeader, _>(image.ctx()) {
        if program_header.p_type == program_header::PT_LOAD {
            image.segments.push(segment(data, &program_header));
        } else {
            headers.note_segment(&image, &program_header)?;
        }
    }
    // gABI, "Program Header": loadable segments appear in ascending order of p_vaddr. Where a hostile
    // file has two at one address, the one with more bytes is found.
    image
        .segments
        .sort_by_key(|segment| (segment.addr, segment.mem_size, Reverse(segment.offset)));
    Ok((image, headers))
}

fn elf_header(data: &[u8]) -> Result<Header, Error> {
    if !data.starts_with(header::ELFMAG) {
        return Err(Error::NotElf);
    }
    let class = data.get(header::EI_CLASS).copied().unwrap_or(0);
    let len = if class == header::ELFCLASS64 {
        header::header64::SIZEOF_EHDR
    } else {
        header::header32::SIZEOF_EHDR
    };
    let bytes = slice(data, 0, len64(len), "ELF header")?;
    if class != header::ELFCLASS32 && class != header::ELFCLASS64 {
        let (offset, expected) = (len64(header::EI_CLASS), "ELFCLASS32 or ELFCLASS64");
        return Err(Error::Malformed {
            what: "EI_CLASS",
            offset,
            expected,
        });
    }
    let unreadable = Error::Malformed {
        what: "ELF header",
        offset: 0,
        expected: "an ELF header",
    };
    bytes.pread_with(0, Endian::Little).map_err(|_| unreadable)
}

fn program_headers<'data>(image: &Image<'data>, header: &Header) -> Result<Table<'data>, Error> {
    let size = ProgramHeader::size(image.ctx());
    if header.e_phnum == 0 {
        return Ok(Table::default());
    }
    if usize::from(header.e_phentsize) != size {
        let expected = "the size of a program header";
        return Err(Error::Malformed {
            what: "e_phentsize",
            offset: 0,
            expected,
        });
    }
    let len = len64(size) * u64::from(header.e_phnum);
    Ok(Table::new(
        image.slice(header.e_phoff, len, "program headers")?,
        size,
    ))
}

fn segment(data: &[u8], header: &ProgramHeader) -> Segment {
    let present = len64(data.len()).saturating_sub(header.p_offset);
    Segment {
        addr: FileAddr::new(header.p_vaddr),
        mem_size: header.p_memsz,
        offset: header.p_offset,
        file_size: header.p_filesz.min(header.p_memsz).min(present),
        executable: header.p_flags & program_header::PF_X != 0,
        writable: header.p_flags & program_header::PF_W != 0,
    }
}

impl<'data> Headers<'data> {
    /// Takes in a program header other than `PT_LOAD`. Of several of a kind, the first counts.
    fn note_segment(&mut self, image: &Image<'data>, header: &ProgramHeader) -> Result<(), Error> {
        let addr = FileAddr::new(header.p_vaddr);
        match header.p_type {
            program_header::PT_PHDR => _ = self.phdr_addr.get_or_insert(addr),
            program_header::PT_DYNAMIC => {
                self.dynamic
                    .get_or_insert((addr, header.p_offset, header.p_filesz));
            }
            program_header::PT_INTERP if self.interpreter.is_none() => {
                let bytes = image.slice(header.p_offset, header.p_filesz, "PT_INTERP")?;
                self.interpreter = Some(bytes.split(|&byte| byte == 0).next().unwrap_or_default());
            }
            program_header::PT_GNU_EH_FRAME => _ = self.eh_frame_hdr.get_or_insert(addr),
            program_header::PT_NOTE if self.build_id.is_none() => {
                let notes = image.slice(header.p_offset, header.p_filesz, "PT_NOTE");
                let align = if header.p_align == 8 { 8 } else { 4 };
                self.build_id = notes.ok().and_then(|notes| build_id(notes, align));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The descriptor of the `NT_GNU_BUILD_ID` note among `notes`: gABI, "Note Section".
fn build_id(mut notes: &[u8], align: usize) -> Option<&[u8]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    const HEADER: usize = 12;
    loop {
        let name_len = usize::try_from(u32_at(notes, 0)?).ok()?;
        let desc_len = usize::try_from(u32_at(notes, 4)?).ok()?;
        let kind = u32_at(notes, 8)?;
        let name = notes.get(HEADER..)?.get(..name_len)?;
        let desc_at = HEADER.checked_add(name_len)?.checked_next_multiple_of(align)?;
        let desc = notes.get(desc_at..)?.get(..desc_len)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(desc);
        }
        notes = notes.get(desc_at.checked_add(desc_len)?.checked_next_multiple_of(align)?..)?;
    }
}

/// The section headers; empty where the file has none, or none that lie in it. The kernel and the dynamic
/// linker never look at them, so that broken ones make no broken program.
pub(crate) fn sections(image: &Image<'_>) -> Vec<Section> {
    section_table(image).unwrap_or_default()
}

fn section_table(image: &Image<'_>) -> Option<Vec<Section>> {
    let header = elf_header(image.data).ok()?;
    let size = SectionHeader::size(image.ctx());
    if header.e_shoff == 0 || usize::from(header.e_shentsize) != size {
        return None;
    }
    let rest = image.data.get(usize::try_from(header.e_shoff).ok()?..)?;
    let table = Table::new(rest, size);
    let first: SectionHeader = table.get(0, image.ctx())?;
    // gABI, "ELF Header": e_shnum. From SHN_LORESERVE on, section 0 holds the number.
    let count = match header.e_shnum {
        0 => usize::try_from(first.sh_size).ok()?,
        count => usize::from(count),
    };
    if count > table.len() {
        return None;
    }
    Some(
        table
            .truncated(count)
            .iter::<SectionHeader, _>(image.ctx())
            .map(|header| section(&header))
            .collect(),
    )
}

fn section(header: &SectionHeader) -> Section {
    Section {
        kind: header.sh_type,
        addr: FileAddr::new(header.sh_addr),
        offset: header.sh_offset,
        size: header.sh_size,
        link: header.sh_link,
        loaded: header.sh_flags & u64::from(section_header::SHF_ALLOC) != 0,
        executable: header.sh_flags & u64::from(section_header::SHF_EXECINSTR) != 0,
    }
}
