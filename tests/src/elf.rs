//! ELF files spoilt on purpose.

/// Forgets the section headers: `e_shoff`, `e_shnum` and `e_shstrndx` become 0 (gABI, "ELF Header"), and the table
/// itself, which linkers put last, is cut off.
pub fn without_section_headers(image: &mut Vec<u8>) {
    let wide = is_64_bit(image);
    let table = if wide {
        word(image, 0x28, 8)
    } else {
        word(image, 0x20, 4)
    };
    let (offset, size, count, names) = if wide {
        (0x28, 8, 0x3c, 0x3e)
    } else {
        (0x20, 4, 0x30, 0x32)
    };
    image[offset..offset + size].fill(0);
    image[count..count + 2].fill(0);
    image[names..names + 2].fill(0);
    image.truncate(usize::try_from(table).expect("a file offset fits in memory"));
}

/// A header of a machine that no kernel here runs (`EM_S390`, 22, big-endian): nothing else of a file.
pub fn foreign_machine() -> Vec<u8> {
    let mut header = vec![0; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x02\x01"); // 64 bits, most significant byte first, version 1
    header[0x11] = 2; // e_type: ET_EXEC
    header[0x13] = 22; // e_machine: EM_S390
    header[0x17] = 1; // e_version
    header[0x35] = 64; // e_ehsize
    header[0x37] = 56; // e_phentsize
    header
}

fn is_64_bit(image: &[u8]) -> bool {
    assert_eq!(&image[..4], b"\x7fELF");
    image[4] == 2
}

fn word(image: &[u8], at: usize, size: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(&image[at..at + size]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{run, tools::tool};
    use std::process::Command;

    #[test]
    fn a_file_without_section_headers_still_runs() {
        let mut image = std::fs::read("/bin/true").expect("/bin/true");
        without_section_headers(&mut image);
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("bare");
        std::fs::copy("/bin/true", &file)
            .and_then(|_| std::fs::write(&file, image))
            .expect("a copy");
        let sections = run(Command::new(tool("readelf")).arg("-S").arg(&file)).both();
        assert!(sections.contains("There are no sections"), "{sections}");
        run(&mut Command::new(&file)).expect_success();
    }

    #[test]
    fn readelf_knows_the_foreign_machine() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("foreign");
        std::fs::write(&file, foreign_machine()).expect("written");
        let header = run(Command::new(tool("readelf")).arg("-h").arg(&file)).both();
        assert!(
            header.contains("IBM S/390") && header.contains("big endian"),
            "{header}"
        );
    }
}
