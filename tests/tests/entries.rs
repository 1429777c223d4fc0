//! Functions where they begin (`-x`), whoever calls them, and by the libraries that offer them (`-l`).

use std::path::Path;

use rltrace_tests::{Build, Rltrace, Traced};

fn options_program(flags: &[&str]) -> Build {
    let library = Build::library("callee.c").build();
    Build::program("options.c")
        .flags(["-O0", "-fno-builtin"])
        .flags(flags)
        .uses(&library)
}

/// Moves the symbol table of a program into `.gnu_debugdata`, as gdb's manual has it ("MiniDebugInfo").
const PACK: &str = r#"
    set -e
    nm -D "$1" --format=posix --defined-only | cut -d' ' -f1 | sort >"$1.dynamic"
    nm "$1" --format=posix --defined-only | sed -n 's/^\([^ ]*\) [TtD] .*/\1/p' | sort >"$1.functions"
    comm -13 "$1.dynamic" "$1.functions" >"$1.keep"
    objcopy --only-keep-debug "$1" "$1.debug"
    objcopy -S --remove-section .comment --keep-symbols="$1.keep" "$1.debug" "$1.mini"
    strip --strip-all -R .comment "$1"
    xz -f "$1.mini"
    objcopy --add-section .gnu_debugdata="$1.mini.xz" "$1"
"#;

#[track_caller]
fn calls(traced: &Traced, name: &str, count: usize) {
    traced.expect_code(3);
    let seen = traced.trace.calls_of(name).count();
    traced.assert(
        seen == count,
        &format!("{seen} calls of {name} instead of {count}"),
    );
    traced.assert(traced.run.err().is_empty(), "nothing on standard error");
}

#[test]
fn a_stripped_program_with_debug_data() {
    let program = options_program(&[]).then(["sh", "-c", PACK, "sh"]).build();
    let traced = Rltrace::new().arg("-L").arg("-x").arg("helper").run([&program]);
    calls(&traced, "helper", 1);
    let traced = Rltrace::new().arg("-L").arg("-x").arg("@MAIN-_*").run([&program]);
    calls(&traced, "helper", 1);
    calls(&traced, "main", 1);
    calls(&traced, "compare", 1);
    // Its stacks have names, too.
    let traced = Rltrace::new().arg("-w0").arg("-e").arg("callee").run([&program]);
    traced.assert(
        traced.trace.text.contains(" > options(helper+0x"),
        "the caller's name",
    );
    // i386 has it the same way.
    let library = Build::library("callee.c").flags(["-m32"]).build();
    let program = Build::program("options.c")
        .flags(["-O0", "-fno-builtin", "-m32"])
        .uses(&library)
        .then(["sh", "-c", PACK, "sh"])
        .build();
    let traced = Rltrace::new().arg("-L").arg("-x").arg("helper").run([&program]);
    calls(&traced, "helper", 1);
}

/// Damaged, it is as if it were not there.
#[test]
fn damaged_debug_data() {
    let program = options_program(&[])
        .then(["sh", "-c", PACK, "sh"])
        .edited("damaged debug data", |image| {
            let at = image
                .windows(6)
                .position(|bytes| bytes == b"\xfd7zXZ\0")
                .expect("its magic");
            image[at + 40..at + 60].fill(0xa5);
        })
        .build();
    let traced = Rltrace::new().arg("-L").arg("-x").arg("helper").run([&program]);
    traced.expect_refusal(3, &["'helper' matches no function", "is stripped"]);
}

/// An address in a library, as objdump shows it.
#[test]
fn a_place_in_a_library() {
    let library = Build::library("callee.c").build();
    let program = options_program(&[]).build();
    let place = format!("libcallee.so+{:#x}", address_of(&library, "callee"));
    let traced = Rltrace::new().arg("-L").arg("-x").arg(&place).run([&program]);
    traced.expect_code(3);
    let line = traced.trace.text.lines().next().unwrap_or_default();
    traced.assert(
        line.starts_with(&format!("{place}(1, ")),
        "it is met by its address",
    );
    traced.assert(line.ends_with(" = 4996"), "and returns");
}

fn address_of(object: &Path, function: &str) -> u64 {
    let nm = rltrace_tests::tools::tool("nm");
    let table = rltrace_tests::run(std::process::Command::new(nm).arg(object)).out();
    let line = table
        .lines()
        .find(|line| line.ends_with(&format!(" T {function}")))
        .unwrap_or_else(|| panic!("no {function} in\n{table}"));
    u64::from_str_radix(line.split(' ').next().unwrap_or_default(), 16).expect("an address")
}

/// A library by its soname, a part of it, its path, a pattern of that, and a regular expression: the same calls.
#[test]
fn a_library_by_any_name() {
    let library = Build::library("callee.c").build();
    let program = options_program(&[]).build();
    let path = library.to_str().expect("UTF-8");
    let folder = library.parent().and_then(Path::to_str).expect("UTF-8");
    for name in [
        "libcallee.so".to_owned(),
        "libcallee*".to_owned(),
        path.to_owned(),
        format!("{folder}/*"),
        "/libcal.*/".to_owned(),
    ] {
        let traced = Rltrace::new().arg("-l").arg(&name).run([&program]);
        calls(&traced, "callee", 1);
        traced.assert(
            traced.trace.calls().count() == 1,
            &format!("{name}: and no other"),
        );
    }
}
