//! As much of an ELF file as `execve` looks at (`fs/binfmt_elf.c`, `load_elf_binary`).

/// How much of the program headers the kernel reads (`fs/binfmt_elf.c`, `load_elf_phdrs`).
const PROGRAM_HEADERS_LIMIT: u64 = 65536;
/// `PATH_MAX`, the longest interpreter.
const INTERPRETER_LIMIT: u64 = 4096;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

/// A file's bytes by offset; fewer than asked for where it ends.
pub(super) trait Bytes {
    fn at(&self, offset: u64, length: usize) -> Vec<u8>;
    fn length(&self) -> u64;
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) machine: u16,
    pub(super) is_64: bool,
    pub(super) is_little: bool,
    pub(super) interpreter: Option<Vec<u8>>,
    pub(super) is_dynamic: bool,
}

/// What is wrong with a file that begins as ELF files do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// A part that ends after the file does.
    Truncated { what: &'static str, end: u64 },
    /// A field that cannot be so.
    Bad(&'static str),
    /// An object file, a core.
    Type(u16),
}

pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
}

/// Reads fields of one byte order.
struct Fields<'b> {
    bytes: &'b [u8],
    is_little: bool,
}

impl Fields<'_> {
    /// An unsigned integer; 0 beyond the end, which callers rule out by length.
    fn uint(&self, offset: usize, size: usize) -> u64 {
        let bytes = self.bytes.get(offset..offset + size).unwrap_or_default();
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.is_little {
            bytes.iter().rev().fold(0, add)
        } else {
            bytes.iter().fold(0, add)
        }
    }

    fn half(&self, offset: usize) -> u16 {
        let value = self.uint(offset, 2).to_le_bytes();
        u16::from_le_bytes([value[0], value[1]])
    }
}

/// Where the fields lie (gABI, "ELF Header" and "Program Header"), for 32 and 64 bits.
struct Shape {
    header: usize,
    phoff: usize,
    phentsize: usize,
    program_header: usize,
    p_offset: usize,
    p_filesz: usize,
    word: usize,
}

const SHAPE_32: Shape = Shape {
    header: 52,
    phoff: 28,
    phentsize: 42,
    program_header: 32,
    p_offset: 4,
    p_filesz: 16,
    word: 4,
};
const SHAPE_64: Shape = Shape {
    header: 64,
    phoff: 32,
    phentsize: 54,
    program_header: 56,
    p_offset: 8,
    p_filesz: 32,
    word: 8,
};

/// Looks at a file that [`is_elf`].
pub(super) fn inspect(file: &dyn Bytes) -> Result<Image, Fault> {
    let head = file.at(0, 64);
    let (class, data) = (head.get(4).copied(), head.get(5).copied());
    let shape = match class {
        Some(1) => SHAPE_32,
        Some(2) => SHAPE_64,
        None => {
            return Err(Fault::Truncated {
                what: "the ELF header",
                end: 52,
            });
        }
        Some(_) => return Err(Fault::Bad("its class (EI_CLASS) is neither 32 nor 64 bits")),
    };
    if !matches!(data, Some(1 | 2) | None) {
        return Err(Fault::Bad(
            "its byte order (EI_DATA) is neither little nor big endian",
        ));
    }
    if head.len() < shape.header {
        return Err(Fault::Truncated {
            what: "the ELF header",
            end: shape.header as u64,
        });
    }
    let header = Fields {
        bytes: &head,
        is_little: data == Some(1),
    };
    match header.half(16) {
        ET_EXEC | ET_DYN => {}
        other => return Err(Fault::Type(other)),
    }
    let mut image = Image {
        machine: header.half(18),
        is_64: shape.word == 8,
        is_little: header.is_little,
        interpreter: None,
        is_dynamic: false,
    };
    read_program_headers(file, &header, &shape, &mut image)?;
    Ok(image)
}

fn read_program_headers(
    file: &dyn Bytes,
    header: &Fields<'_>,
    shape: &Shape,
    image: &mut Image,
) -> Result<(), Fault> {
    let offset = header.uint(shape.phoff, shape.word);
    let (entry, count) = (header.half(shape.phentsize), header.half(shape.phentsize + 2));
    if usize::from(entry) != shape.program_header {
        return Err(Fault::Bad("its program headers (e_phentsize) have a wrong size"));
    }
    let size = u64::from(entry) * u64::from(count);
    if size == 0 || size > PROGRAM_HEADERS_LIMIT {
        return Err(Fault::Bad("it has no program headers (e_phnum), or too many"));
    }
    let table = part(file, "its program headers", offset, size)?;
    for bytes in table.chunks_exact(shape.program_header) {
        let fields = Fields {
            bytes,
            is_little: header.is_little,
        };
        match fields.uint(0, 4) {
            kind if kind == u64::from(PT_DYNAMIC) => image.is_dynamic = true,
            // The kernel takes the first.
            kind if kind == u64::from(PT_INTERP) && image.interpreter.is_none() => {
                let (at, size) = (
                    fields.uint(shape.p_offset, shape.word),
                    fields.uint(shape.p_filesz, shape.word),
                );
                if !(2..=INTERPRETER_LIMIT).contains(&size) {
                    return Err(Fault::Bad(
                        "the name of its interpreter (PT_INTERP) is too short or too long",
                    ));
                }
                let mut name = part(file, "the name of its interpreter", at, size)?;
                if name.pop() != Some(0) {
                    return Err(Fault::Bad("the name of its interpreter (PT_INTERP) does not end"));
                }
                name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                image.interpreter = Some(name);
            }
            _ => {}
        }
    }
    Ok(())
}

fn part(file: &dyn Bytes, what: &'static str, offset: u64, size: u64) -> Result<Vec<u8>, Fault> {
    let end = offset
        .checked_add(size)
        .ok_or(Fault::Truncated { what, end: u64::MAX })?;
    let truncated = Fault::Truncated { what, end };
    let Ok(length) = usize::try_from(size) else {
        return Err(truncated);
    };
    let bytes = if end <= file.length() {
        file.at(offset, length)
    } else {
        return Err(truncated);
    };
    if bytes.len() == length {
        Ok(bytes)
    } else {
        Err(truncated)
    }
}

/// The machine's name (gABI, `e_machine`), for the ones that run Linux.
pub(super) fn machine_name(machine: u16, is_64: bool, is_little: bool) -> String {
    let name = match machine {
        2 => "SPARC",
        3 => "i386",
        4 => "m68k",
        8 => "MIPS",
        15 => "PA-RISC",
        18 => "SPARC (32-bit, V8+)",
        20 => "PowerPC",
        21 => "PowerPC 64",
        22 => "S/390",
        40 => "ARM",
        42 => "SuperH",
        43 => "SPARC V9",
        50 => "Itanium",
        62 if !is_64 => "x32",
        62 => "x86-64",
        94 => "Xtensa",
        164 => "Hexagon",
        183 => "AArch64",
        189 => "MicroBlaze",
        195 => "ARC",
        243 if is_64 => "RISC-V 64",
        243 => "RISC-V 32",
        247 => "BPF",
        252 => "C-SKY",
        258 => "LoongArch",
        0x9026 => "Alpha",
        other => return format!("machine {other} (e_machine)"),
    };
    // Only there both orders are about.
    let order = if matches!(machine, 8 | 20 | 21 | 40 | 183) && !is_little {
        " (big endian)"
    } else {
        ""
    };
    format!("{name}{order}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    impl Bytes for &[u8] {
        fn at(&self, offset: u64, length: usize) -> Vec<u8> {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
            self[start..].iter().copied().take(length).collect()
        }

        fn length(&self) -> u64 {
            self.len() as u64
        }
    }

    /// A program's headers: little endian, 64 bits, an interpreter and a dynamic segment where wanted.
    pub(crate) fn program(machine: u16, interpreter: Option<&str>, dynamic: bool) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(16, 0);
        bytes.extend([3, 0]);
        bytes.extend(machine.to_le_bytes());
        bytes.resize(32, 0);
        bytes.extend(64_u64.to_le_bytes());
        bytes.resize(54, 0);
        let count = 1 + u16::from(interpreter.is_some()) + u16::from(dynamic);
        bytes.extend(56_u16.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.resize(64, 0);
        let names_at = 64 + 56 * u64::from(count);
        let name = interpreter
            .map(|name| [name.as_bytes(), b"\0"].concat())
            .unwrap_or_default();
        let mut header = |kind: u32, offset: u64, size: u64| {
            let start = bytes.len();
            bytes.extend(kind.to_le_bytes());
            bytes.resize(start + 8, 0);
            bytes.extend(offset.to_le_bytes());
            bytes.resize(start + 32, 0);
            bytes.extend(size.to_le_bytes());
            bytes.resize(start + 56, 0);
        };
        header(1, 0, 0x1000);
        if interpreter.is_some() {
            header(PT_INTERP, names_at, name.len() as u64);
        }
        if dynamic {
            header(PT_DYNAMIC, 0, 0);
        }
        bytes.extend(name);
        bytes
    }

    #[test]
    fn headers_are_read() {
        let image = inspect(&program(62, Some("/lib64/ld.so"), true).as_slice()).unwrap();
        assert_eq!(
            (image.machine, image.is_64, image.is_little, image.is_dynamic),
            (62, true, true, true)
        );
        assert_eq!(image.interpreter.as_deref(), Some(&b"/lib64/ld.so"[..]));
        assert_eq!(
            inspect(&program(183, None, false).as_slice())
                .unwrap()
                .interpreter,
            None
        );
    }

    #[test]
    fn every_truncation_and_every_byte_gives_an_answer() {
        let whole = program(62, Some("/lib64/ld.so"), true);
        for length in 4..whole.len() {
            let fault = inspect(&&whole[..length]).unwrap_err();
            assert!(
                matches!(fault, Fault::Truncated { end, .. } if end > length as u64),
                "{length}: {fault:?}"
            );
        }
        for index in 4..whole.len() {
            for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
                let mut bad = whole.clone();
                bad[index] = value;
                let _ = inspect(&bad.as_slice());
            }
        }
    }

    #[test]
    fn bad_fields_are_named() {
        for (at, value, word) in [
            (4, 9, "EI_CLASS"),
            (5, 9, "EI_DATA"),
            (54, 1, "e_phentsize"),
            (56, 0, "e_phnum"),
        ] {
            let mut bad = program(62, None, false);
            bad[at] = value;
            assert!(
                matches!(inspect(&bad.as_slice()), Err(Fault::Bad(why)) if why.contains(word)),
                "{word}"
            );
        }
        let mut object = program(62, None, false);
        object[16] = 1;
        assert_eq!(inspect(&object.as_slice()), Err(Fault::Type(1)));
    }

    /// The system's own header is the witness for the numbers.
    #[test]
    fn machines_have_elf_h_s_numbers() {
        let header = std::fs::read_to_string("/usr/include/elf.h").unwrap();
        for (name, number) in [
            ("EM_AARCH64", 183),
            ("EM_RISCV", 243),
            ("EM_ALPHA", 0x9026),
            ("EM_LOONGARCH", 258),
        ] {
            let line = header
                .lines()
                .find(|line| line.split_whitespace().nth(1) == Some(name))
                .unwrap();
            let value = line.split_whitespace().nth(2).unwrap();
            let value = value
                .strip_prefix("0x")
                .map_or_else(|| value.parse(), |hex| u16::from_str_radix(hex, 16));
            assert_eq!(value, Ok(number), "{line}");
            assert!(!machine_name(number, true, true).contains("e_machine"));
        }
        assert_eq!(machine_name(21, true, false), "PowerPC 64 (big endian)");
        assert_eq!(machine_name(999, true, true), "machine 999 (e_machine)");
    }
}
