//! Broken and hostile files: an error or an answer, never a panic, and never more work than the file's size
//! warrants.

mod common;

use common::compile;
use elf_plt::{Error, Object};

/// Asks everything of an object; what it answers is of no matter here.
fn exercise(data: &[u8]) {
    let Ok(object) = Object::parse(data) else { return };
    let _ = (
        object.kind(),
        object.is_static(),
        object.memory_range(),
        object.build_id(),
        object.soname(),
    );
    let _ = (
        object.needed(),
        object.base_from_mapping(arch_abi::Addr::new(0x5000), 0x1000),
    );
    if let Ok(points) = object.call_points() {
        let _ = object.references(&points, &points);
        for point in &points {
            assert!(!point.slots().is_empty());
        }
    }
    if let Ok(symbols) = object.symbols() {
        let count = symbols.count();
        assert!(count <= data.len(), "{count} symbols in {} bytes", data.len());
    }
    if let Ok(functions) = object.functions() {
        for function in functions.iter() {
            assert!(functions.at(function.addr()).is_some());
            let _ = functions.containing(function.addr().wrapping_add(1));
        }
    }
    let _ = object.lookup(b"main", None);
    let _ = object.lookup(b"puts", Some(b"GLIBC_2.2.5"));
}

/// Compiled anew for each `test`: they run at the same time.
fn fixtures(test: &str) -> Vec<Vec<u8>> {
    let cases: [(&str, &str, &str, &[&str]); 5] = [
        ("pie", "gcc", "imports.c", &["-O1"]),
        (
            "hostile-no-plt",
            "gcc",
            "imports.c",
            &["-O2", "-fno-plt", "-Wl,--hash-style=both"],
        ),
        ("mold", "gcc", "imports.c", &["-O1", "-fuse-ld=mold"]),
        (
            "hostile-library",
            "gcc",
            "versions.c",
            &["-shared", "-fPIC", "-Wl,--hash-style=sysv"],
        ),
        ("i386", "i686-linux-gnu-gcc", "imports.c", &["-O1"]),
    ];
    let map = concat!(
        "-Wl,--version-script=",
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/versions.map"
    );
    let compiled = cases.map(|(name, compiler, source, flags)| {
        let mut flags = flags.to_vec();
        if source == "versions.c" {
            flags.push(map);
        }
        std::fs::read(compile(&format!("{test}-{name}"), compiler, source, &flags)).unwrap()
    });
    compiled.into()
}

/// Marsaglia's xorshift64: every run tries the same files.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }
}

#[test]
fn cut_anywhere() {
    for data in fixtures("cut") {
        // All lengths within the headers and the tables, then every so many bytes.
        for len in (0..data.len()).filter(|&len| len < 0x800 || len % 61 == 0) {
            exercise(&data[..len]);
        }
    }
}

#[test]
fn bits_flipped() {
    let mut random = Random(0x5eed_0001);
    for data in fixtures("bits") {
        for _ in 0..1000 {
            let mut data = data.clone();
            for _ in 0..=random.below(8) {
                let at = random.below(data.len());
                data[at] ^= 1 << random.below(8);
            }
            exercise(&data);
        }
    }
}

/// Words of the headers and of the dynamic section get values that hurt: huge, small, just past an end.
#[test]
fn words_replaced() {
    let mut random = Random(0x5eed_0002);
    let values = [
        0,
        1,
        u64::MAX,
        1 << 63,
        0xffff_ffff,
        0x7fff_ffff,
        0x8000_0000,
        0xfff1,
    ];
    for data in fixtures("words") {
        let wide = data[4] == 2;
        let word = if wide { 8 } else { 4 };
        let dynamic = dynamic_range(&data, wide);
        for round in 0..1000 {
            let mut data = data.clone();
            for _ in 0..=random.below(3) {
                let at = if round % 2 == 0 {
                    random.below(0x400)
                } else {
                    dynamic.start + random.below(dynamic.len())
                };
                let at = at / word * word;
                let len = u64::try_from(data.len()).unwrap();
                let near = [len, len - 1, len + 1, random.next() % (2 * len)];
                let pick = random.below(values.len() + near.len());
                let value = values.iter().chain(&near).copied().nth(pick).unwrap();
                data[at..at + word].copy_from_slice(&value.to_le_bytes()[..word]);
            }
            exercise(&data);
        }
    }
}

/// Where `PT_DYNAMIC` lies in the file.
fn dynamic_range(data: &[u8], wide: bool) -> std::ops::Range<usize> {
    let int = |at: usize, len: usize| {
        data[at..at + len]
            .iter()
            .rev()
            .fold(0_usize, |int, &byte| int << 8 | usize::from(byte))
    };
    let (phoff, size, offset_at, filesz_at, word) = if wide {
        (int(32, 8), 56, 8, 32, 8)
    } else {
        (int(28, 4), 32, 4, 16, 4)
    };
    let count = if wide { int(56, 2) } else { int(44, 2) };
    let header = (0..count)
        .map(|index| phoff + index * size)
        .find(|&at| int(at, 4) == 2)
        .unwrap();
    let start = int(header + offset_at, word);
    start..start + int(header + filesz_at, word)
}

#[test]
fn errors_name_what_is_wrong_and_where() {
    let data = std::fs::read(compile("errors", "gcc", "imports.c", &["-O1"])).unwrap();
    let error = |data: &[u8]| Object::parse(data).map(|_| ()).unwrap_err();
    assert_eq!(error(b""), Error::NotElf);
    assert_eq!(error(b"#!/bin/sh\n"), Error::NotElf);
    let file_len = 40;
    assert_eq!(
        error(&data[..40]),
        Error::Truncated {
            what: "ELF header",
            offset: 0,
            len: 64,
            file_len
        }
    );
    let mut foreign = data.clone();
    foreign[18] = 183; // EM_AARCH64
    assert_eq!(
        error(&foreign),
        Error::Machine {
            machine: 183,
            class: 2
        }
    );
    let mut big_endian = data.clone();
    big_endian[5] = 2;
    assert!(matches!(
        error(&big_endian),
        Error::Machine { .. } | Error::Malformed { .. }
    ));
    let headers_cut = error(&data[..100]).to_string();
    assert!(
        headers_cut.contains("program headers at offset 0x40"),
        "{headers_cut}"
    );
    let dynamic_cut = &data[..dynamic_range(&data, true).start + 8];
    let text = error(dynamic_cut).to_string();
    assert!(text.contains("PT_DYNAMIC"), "{text}");
}
