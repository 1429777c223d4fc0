//! Damaged debug information: no panic, and an end.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use arch_abi::Arch;

use super::{Dwarf, Memory, Places};
use crate::proto::Types;

const SOURCE: &str = "
    struct node { int value : 3; double d; char name[8]; struct node *next; union { int i; float f; } u; };
    enum colour { RED, GREEN = 5 };
    typedef struct node node_t;
    int one(const char *text, enum colour colour, node_t *node, int *out, void (*code)(int)) { return text[0]; }
    node_t two(node_t node, const node_t *const *nodes, long double x, _Complex float z) { return node; }
    int three(const char *format, ...) { return 0; }
";

/// A library with debug information, and the addresses of its functions.
fn library(folder: &Path) -> (Vec<u8>, Vec<arch_abi::FileAddr>) {
    let (source, library) = (folder.join("library.c"), folder.join("library.so"));
    std::fs::write(&source, SOURCE).expect("a source file");
    let status = Command::new("cc")
        .args(["-g", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .expect("cc");
    assert!(status.success());
    let bytes = std::fs::read(&library).expect("the library");
    let elf = elf_plt::Object::parse(&bytes).expect("an object");
    let at = |name: &str| {
        elf.lookup(name.as_bytes(), None)
            .expect("symbols")
            .expect(name)
            .addr
    };
    let functions = ["one", "two", "three"].map(at).to_vec();
    (bytes, functions)
}

/// Reads the prototypes of all functions; gives how many there were.
fn read(bytes: &[u8], functions: &[arch_abi::FileAddr]) -> usize {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("its bytes");
    let places = Places {
        root: "/".into(),
        path: file.path().into(),
    };
    let Some(mut dwarf) = Dwarf::load(file.as_file(), &places, &mut Memory::default()) else {
        return 0;
    };
    let mut types = Types::default();
    let told = functions
        .iter()
        .filter(|&&at| dwarf.prototype(at, "name", Arch::X86_64, &mut types).is_some());
    told.count()
}

/// The offsets of the debug sections in the file.
fn debug_sections(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    use object::{Object as _, ObjectSection as _};
    let file = object::File::parse(bytes).expect("an object");
    file.sections()
        .filter(|section| section.name().is_ok_and(|name| name.starts_with(".debug_")))
        .filter_map(|section| section.file_range())
        .map(|(start, len)| {
            let start = usize::try_from(start).expect("in the file");
            start..start + usize::try_from(len).expect("in the file")
        })
        .collect()
}

#[test]
fn any_damaged_byte_is_survived() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bytes, functions) = library(folder.path());
    assert_eq!(read(&bytes, &functions), 3, "the undamaged library is read");
    let mut lost = 0;
    for range in debug_sections(&bytes) {
        for at in range {
            let mut damaged = bytes.clone();
            // Three ways a byte, in turn: large, small, and one bit.
            damaged[at] = match at % 3 {
                0 => 0xff,
                1 => 0,
                _ => damaged[at] ^ 0x10,
            };
            lost += usize::from(read(&damaged, &functions) < 3);
        }
    }
    assert!(lost > 0, "the damage is seen");
}

#[test]
fn a_file_that_ends_early_is_survived() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bytes, functions) = library(folder.path());
    for len in (1..bytes.len()).step_by(211) {
        let _ = read(&bytes[..len], &functions);
    }
}
