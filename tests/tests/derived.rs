//! Functions without a prototype: debug information, C++ names, and the registers that code reads.

use std::path::{Path, PathBuf};
use std::process::Command;

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, Traced, run};

fn trace(program: &Path) -> Traced {
    let traced = Rltrace::new().arg("-a0").run([program]);
    traced.expect_code(0);
    traced.assert(traced.run.err().is_empty(), "nothing on standard error");
    traced
}

#[track_caller]
fn holds(traced: &Traced, line: &str) {
    let found = traced.trace.text.lines().any(|seen| seen == line);
    traced.assert(found, &format!("no line {line:?}"));
}

/// What debug information tells of derived.c.
const FROM_DWARF: [&str; 4] = [
    r#"fun_mixed(3, "text", GREEN, { 3, 4.500000, "outer", { 1, 2.500000, "inner", nil } }, 7, "buf", 3, true, 1.500000, 2.500000) = 3"#,
    r#"fun_struct({ 1, 2.500000, "inner", nil }) = { 2, 2.500000, "inner", nil }"#,
    r#"fun_strings(nil, 200, 0.250000) = "bye""#,
    r#"fun_variadic("%d") = 37"#,
];

fn c_program(library: &Path, flags: &[&str]) -> PathBuf {
    Build::program("derived_main.c")
        .flags(flags)
        .uses(library)
        .build()
}

#[test]
fn debug_information_tells_names_and_types() {
    for flags in [
        &["-g", "-O0"][..],
        &["-g", "-O2"],
        &["-gdwarf-4"],
        &["-g", "-gz"],
        &["-g", "-m32"],
    ] {
        let library = Build::library("derived.c").flags(flags).build();
        let machine: Vec<_> = flags.iter().copied().filter(|flag| *flag == "-m32").collect();
        let traced = trace(&c_program(&library, &machine));
        for line in FROM_DWARF {
            holds(&traced, line);
        }
    }
}

/// The debug file that `.gnu_debuglink` names, beside the library.
#[test]
fn a_separate_debug_file_is_found() {
    let built = Build::library("derived.c").flags(["-g"]).build();
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("libderived.so");
    let debug = folder.path().join(".debug/libderived.so.debug");
    std::fs::create_dir(folder.path().join(".debug")).expect("a folder");
    let objcopy = || Command::new(tool("objcopy"));
    run(objcopy().arg("--only-keep-debug").args([&built, &debug])).expect_success();
    let mut link = std::ffi::OsString::from("--add-gnu-debuglink=");
    link.push(&debug);
    run(objcopy().arg("--strip-all").arg(link).args([&built, &library])).expect_success();
    let program = c_program(&library, &[]);
    let here = trace(&program);
    holds(&here, FROM_DWARF[0]);
    // Another library's debug file is none.
    let other = Build::library("derived.c")
        .flags(["-g", "-O3", "-Wl,--build-id=0x1234"])
        .build();
    run(objcopy().arg("--only-keep-debug").args([&other, &debug])).expect_success();
    let without = trace(&program);
    without.assert(
        !without.trace.text.contains("GREEN"),
        "a debug file of another library",
    );
}

#[test]
fn code_tells_how_many_arguments_there_are_and_text_is_shown() {
    let library = Build::library("derived.c").flags(["-O1", "-s"]).build();
    let traced = trace(&c_program(&library, &[]));
    let mixed = traced
        .trace
        .calls_of("fun_mixed")
        .next()
        .expect("the call")
        .args
        .clone();
    traced.assert(mixed.starts_with(r#"3, "text", "#), "a number and a text");
    holds(&traced, r#"fun_variadic("%d") = 37"#);
}

#[test]
fn cxx_debug_information() {
    let library = Build::library("derived.cc").flags(["-g"]).build();
    let traced = trace(&Build::program("derived_main.cc").uses(&library).build());
    let args = |name: &str| {
        let call = traced.trace.calls_of(name).next();
        call.unwrap_or_else(|| panic!("no call of {name}")).args.clone()
    };
    let add = args("_ZN4shop6Basket3addERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEENS_4KindEPKc");
    traced.assert(add.ends_with(r#", "apple", Fruit, "ripe""#), &add);
    holds(&traced, "_ZN4shop6Basket5limitEi(4) = 40");
    let label = args("_ZNK4shop6Basket5labelB5cxx11ERKi");
    traced.assert(label.ends_with(", 42"), &label);
    let total = args("_ZN4shop5totalEdmNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
    traced.assert(
        total == r#"2.500000, 4, { "text" }"# || total == r#"2.500000, 4, "text""#,
        &total,
    );
}

/// Without debug information, the names: `this`, numbers, references and strings.
#[test]
fn cxx_names() {
    let library = Build::library("derived.cc").flags(["-O1", "-s"]).build();
    let traced = trace(&Build::program("derived_main.cc").uses(&library).build());
    let args = |name: &str| {
        let call = traced.trace.calls_of(name).next();
        call.unwrap_or_else(|| panic!("no call of {name}")).args.clone()
    };
    let add = args("_ZN4shop6Basket3addERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEENS_4KindEPKc");
    traced.assert(add.ends_with(r#", "apple", 2, "ripe""#), &add);
    let total = args("_ZN4shop5totalEdmNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
    traced.assert(total.starts_with("2.500000, 4, 0x"), &total);
}

#[test]
fn rust_debug_information() {
    let library = Build::library("derived_rust.rs")
        .flags(["-g", "--crate-type=cdylib"])
        .build();
    let traced = trace(&Build::program("derived_rust_main.c").uses(&library).build());
    holds(
        &traced,
        r#"fun_rust("written in C", true, 65535, { -5, 6.500000 }) = 65549"#,
    );
}
