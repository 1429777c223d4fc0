//! Fixtures: source compiled at test time. A missing compiler or linker is a failed test.

#![allow(dead_code, reason = "each test binary uses its part of these")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where this test binary keeps its fixtures; one directory for each name.
pub(crate) fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Compiles `source`, a file of `tests/fixtures`, with `compiler` and `flags`, into a file called `name`.
#[track_caller]
pub(crate) fn compile(name: &str, compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let out = directory(name).join(name);
    run(Command::new(compiler)
        .arg(sources.join(source))
        .args(flags)
        .arg("-o")
        .arg(&out));
    out
}

/// What a tool prints.
#[track_caller]
pub(crate) fn stdout(command: &mut Command) -> String {
    String::from_utf8_lossy(&run(command).stdout).into_owned()
}

/// The file as a tool that removes section headers leaves it (`sstrip`, `strip --strip-section-headers`).
pub(crate) fn without_sections(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    // gABI, "ELF Header": e_shoff, and e_shentsize, e_shnum, e_shstrndx, which end the header.
    let (shoff, end) = if data[4] == 2 {
        (40..48, 58..64)
    } else {
        (32..36, 46..52)
    };
    data[shoff].fill(0);
    data[end].fill(0);
    data
}
