//! An object of 20,000 imports: each is found with its own slot and entry.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use common::{directory, run};
use elf_plt::Object;

const IMPORTS: usize = 20_000;

#[test]
fn twenty_thousand_imports() {
    let dir = directory("many-imports");
    let (mut callees, mut caller) = (String::new(), String::from(".text\n.globl calls\ncalls:\n"));
    for index in 0..IMPORTS {
        writeln!(
            callees,
            ".globl f{index}\n.type f{index},@function\nf{index}: ret"
        )
        .unwrap();
        writeln!(caller, "call f{index}@PLT").unwrap();
    }
    fs::write(dir.join("callees.s"), callees).unwrap();
    fs::write(dir.join("caller.s"), caller).unwrap();
    let library = dir.join("libcallees.so");
    let gcc = || Command::new("gcc");
    run(gcc()
        .args(["-shared", "-nostdlib"])
        .arg(dir.join("callees.s"))
        .arg("-o")
        .arg(&library));
    let out = dir.join("caller.so");
    run(gcc()
        .args(["-shared", "-nostdlib"])
        .arg(dir.join("caller.s"))
        .arg(&library)
        .arg("-o")
        .arg(&out));

    let data = fs::read(&out).unwrap();
    let points = Object::parse(&data).unwrap().call_points().unwrap();
    assert_eq!(points.len(), IMPORTS);
    for point in &points {
        assert!(point.name().unwrap().starts_with(b"f"));
        assert_eq!((point.slots().len(), point.plt().len()), (1, 1));
        assert_eq!(point.plt()[0].slot, point.slots()[0].addr);
    }
    let mut names: Vec<_> = points.iter().map(|point| point.name().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), IMPORTS);
    let data = fs::read(&library).unwrap();
    let library = Object::parse(&data).unwrap();
    assert_eq!(library.functions().unwrap().len(), IMPORTS);
    assert!(library.lookup(b"f19999", None).unwrap().is_some());
}
