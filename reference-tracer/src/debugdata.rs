//! The symbol table that a stripped object keeps compressed: `.gnu_debugdata`, "MiniDebugInfo" (gdb's manual, "MiniDebugInfo").

use std::io::Read as _;

use lzma_rust2::XzReader;
use object::{Object as _, ObjectSection as _};

/// How large it may be when it is unpacked. That of libc has some 100 KiB, those of the largest programs a few MiB.
const MAX_SIZE: u64 = 64 << 20;
/// How much memory unpacking may take, in KiB. What `xz -9` makes takes 64 MiB.
const MAX_MEMORY: u32 = 80 << 10;

/// The ELF file in the section of the object file whose bytes these are; `None` where there is none, or it is damaged or too
/// large.
#[must_use]
pub fn unpack(object: &[u8]) -> Option<Vec<u8>> {
    unpack_to(object, MAX_SIZE)
}

fn unpack_to(object: &[u8], max: u64) -> Option<Vec<u8>> {
    let file = object::File::parse(object).ok()?;
    let packed = file.section_by_name(".gnu_debugdata")?.data().ok()?;
    let mut bytes = Vec::new();
    let mut reader = XzReader::new_mem_limit(packed, false, MAX_MEMORY).take(max + 1);
    reader.read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= max).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    /// A library with `content`, packed by xz with these options, in its section.
    fn library(folder: &Path, content: &[u8], options: &[&str]) -> Vec<u8> {
        let run = |program: &str, words: &[&str]| {
            let status = Command::new(program).args(words).current_dir(folder).status();
            assert!(status.is_ok_and(|status| status.success()), "{program} {words:?}");
        };
        std::fs::write(folder.join("x.c"), "int f(void) { return 1; }").expect("written");
        std::fs::write(folder.join("content"), content).expect("written");
        run("cc", &["-shared", "-o", "x.so", "x.c"]);
        run("xz", &[options, &["-k", "-f", "content"]].concat());
        run("objcopy", &["--add-section", ".gnu_debugdata=content.xz", "x.so"]);
        std::fs::read(folder.join("x.so")).expect("the library")
    }

    #[test]
    fn what_was_packed_comes_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let content: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
        for options in [&["-6"][..], &["-9"], &["--check=none"], &["--check=sha256"]] {
            let library = library(folder.path(), &content, options);
            assert!(
                unpack(&library).is_some_and(|bytes| bytes == content),
                "{options:?}"
            );
        }
    }

    /// Some kilobytes that would become more than is taken, and a few bytes that ask for a dictionary of 4 GiB.
    #[test]
    fn what_is_too_large_stays_packed() {
        let folder = tempfile::tempdir().expect("a folder");
        let large = library(folder.path(), &[0; 1_000_001], &["-6"]);
        assert!(unpack_to(&large, 1_000_001).is_some() && unpack_to(&large, 1_000_000).is_none());
        let mut small = library(folder.path(), b"small", &["-6"]);
        assert_eq!(unpack(&small).as_deref(), Some(&b"small"[..]));
        // xz itself would take that much to pack: the size is put into the packed file ("The .xz File Format", "LZMA2"), and
        // its header's sum is mended.
        let at = small
            .windows(6)
            .position(|bytes| bytes == b"\xfd7zXZ\0")
            .expect("its magic");
        let filter = small[at..]
            .windows(2)
            .position(|bytes| bytes == [0x21, 0x01])
            .expect("LZMA2")
            + at;
        small[filter + 2] = 40;
        let header = at + 12;
        let len = (usize::from(small[header]) + 1) * 4;
        let sum = crc32(&small[header..header + len - 4]);
        small[header + len - 4..header + len].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(unpack(&small), None);
    }

    /// The sum that xz has (IEEE 802.3).
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |sum, &byte| {
            (0..8).fold(sum ^ u32::from(byte), |sum, _| {
                (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 }
            })
        })
    }

    #[test]
    fn damage_is_no_panic() {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = library(folder.path(), &[7; 3000], &["-6"]);
        let at = whole
            .windows(6)
            .position(|bytes| bytes == b"\xfd7zXZ\0")
            .expect("its magic");
        for byte in at..at + 120 {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[byte] ^= 1 << bit;
                let _ = unpack(&damaged);
            }
        }
        assert_eq!(unpack(b"no ELF file"), None);
        assert_eq!(unpack(&[]), None);
    }
}
