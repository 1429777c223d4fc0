//! Functions where they begin (`-x`), whoever calls them, and by the libraries that offer them (`-l`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, NOTHING, Rltrace, Running, Traced, wait_for};

fn options_program(flags: &[&str]) -> Build {
    Build::caller("options.c")
        .flags(["-O0", "-fno-builtin"])
        .flags(flags)
}

/// Moves the symbol table of a program into `.gnu_debugdata`, as the manual of gdb tells.
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

fn ifunc_program(compiler: &str, flags: &[&str]) -> PathBuf {
    let library = Build::library("ifunc.c").compiler(compiler).build();
    Build::program("calls_ifunc.c")
        .compiler(compiler)
        .flags(flags)
        .uses(&library)
        .build()
}

/// The symbol of an IFUNC is its resolver's: what that selects is met, too, whenever it is bound.
#[test]
fn an_ifunc() {
    tool("/lib/ld-linux.so.2");
    let i386 = "i686-linux-gnu-gcc";
    for (compiler, flags) in [
        ("cc", "-Wl,-z,lazy"),
        ("cc", "-Wl,-z,now"),
        ("cc", "-fno-plt"),
        (i386, "-Wl,-z,lazy"),
        (i386, "-Wl,-z,now"),
    ] {
        let traced = Rltrace::new()
            .arg("-L")
            .arg("-x")
            .arg("chosen")
            .run([ifunc_program(compiler, &[flags])]);
        traced.expect_code(0);
        let seen: Vec<String> = traced.trace.spelled("chosen@libifunc.so");
        let args = |call: &String| call.split([',', ')']).next().map(str::to_owned);
        assert_eq!(seen.len(), 100, "{flags:?}\n{}", traced.tail());
        for (i, call) in seen.iter().enumerate() {
            assert_eq!(args(call), Some(format!("chosen@libifunc.so({i}")), "{flags:?}");
            assert!(call.ends_with(&format!(" = {}", i + 2)), "{flags:?}: {call}");
        }
    }
}

/// Where a process is attached to, all is bound already.
#[test]
fn an_ifunc_of_a_running_process() {
    let library = Build::library("ifunc.c").build();
    let program = Build::program("calls_ifunc.c")
        .flags(["-DWAITS"])
        .uses(&library)
        .build();
    let mut target = Running::start(Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()));
    target.wait_for_out("0 = 2\n");
    let tracer = Rltrace::new()
        .arg("-Dinfo")
        .arg("-L")
        .arg("-x")
        .arg("chosen")
        .pid(target.pid())
        .start(NOTHING);
    wait_for("the target is traced", || {
        tracer.running.said().contains("attached")
    });
    // It waits for a byte before each call but the first.
    let mut input = target.stdin().expect("a pipe");
    std::io::Write::write_all(&mut input, &[0; 99]).expect("it reads");
    drop(input);
    target.finish().expect_success();
    let traced = tracer.finish();
    let seen = traced.trace.calls_of("chosen@libifunc.so").count();
    traced.assert(seen == 99, &format!("{seen} calls"));
}

/// The C library's own, whichever the machine's processor makes it select, in whichever object they are called.
#[test]
fn ifuncs_of_the_c_library() {
    let program = Build::caller("options.c").flags(["-O0", "-fno-builtin"]).build();
    let traced = Rltrace::new()
        .arg("-L")
        .arg("-x")
        .arg("strlen@libc.so.6")
        .run([&program]);
    traced.expect_code(3);
    let own = "strlen@libc.so.6(\"a string that is longer than thi\"...)";
    traced.assert(traced.trace.text.contains(own), "the program's call");
}
