//! Every call of an imported function is seen, with its arguments and its result, whatever linked the program.
//!
//! To add a linker: one more test at the end, naming the flags and the relocation that carries the call. The
//! relocation and, where it matters, a pattern of `objdump` prove that the program is what the test's name says.

use std::path::{Path, PathBuf};
use std::process::Command;

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, elf, run};

/// How the call reaches the imported function.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    JumpSlot,
    GlobDat,
}

fn callee() -> PathBuf {
    Build::library("callee.c").build()
}

fn x86_64(flags: &[&str]) -> Build {
    Build::program("thousand.c")
        .flags(["-O1"])
        .flags(flags)
        .uses(&callee())
}

fn i386(flags: &[&str]) -> Build {
    for file in ["/usr/i686-linux-gnu/lib/libc.so", "/lib/ld-linux.so.2"] {
        tool(file);
    }
    let gcc = "i686-linux-gnu-gcc";
    let library = Build::library("callee.c").compiler(gcc).build();
    Build::program("thousand.c")
        .compiler(gcc)
        .flags(["-O1"])
        .flags(flags)
        .uses(&library)
}

/// The relocation that `readelf` finds for `callee`, by way of the dynamic segment alone.
fn slot_of(program: &Path) -> Slot {
    let listing = run(Command::new(tool("readelf")).arg("-rDW").arg(program)).out();
    let line = listing
        .lines()
        .find(|line| line.contains("callee"))
        .unwrap_or_else(|| panic!("{listing}"));
    // An address that is also taken may have both; the call then goes through the first listed or the other.
    if line.contains("JUMP_SLO") {
        Slot::JumpSlot
    } else {
        Slot::GlobDat
    }
}

/// Runs the program natively and traced: same output, and one line of trace for each line of output.
#[track_caller]
fn all_thousand(build: &Build, slot: Slot) -> PathBuf {
    let program = build.build();
    assert_eq!(
        slot_of(&program),
        slot,
        "{} is not what this test is about",
        program.display()
    );
    let native = run(&mut Command::new(&program));
    let expected: Vec<String> = native.expect_success().out().lines().map(str::to_owned).collect();
    assert_eq!(expected.len(), 1000);
    let traced = Rltrace::new().filter("callee").run([&program]);
    traced.expect_code(0);
    assert_eq!(traced.run.out(), native.out(), "the program's output changed");
    let seen = traced.trace.spelled("callee");
    let differs = expected
        .iter()
        .zip(&seen)
        .position(|(expected, seen)| expected != seen);
    if let Some(at) = differs {
        panic!(
            "call {at}: expected {}, seen {}\n{}",
            expected[at],
            seen[at],
            traced.tail()
        );
    }
    traced.assert(seen.len() == 1000, &format!("{} calls of 1000", seen.len()));
    traced.assert(
        traced.run.err().is_empty(),
        "nothing goes to stderr in a clean run",
    );
    program
}

/// Fails unless `objdump -d` of the program shows an instruction of this form.
#[track_caller]
fn has_instruction(program: &Path, form: &str) {
    let listing = run(Command::new(tool("objdump"))
        .args(["-d", "--no-show-raw-insn"])
        .arg(program))
    .out();
    assert!(
        listing.lines().any(|line| line.contains(form)),
        "{}: no {form:?}",
        program.display()
    );
}

/// Fails unless the program has a section of this name.
#[track_caller]
fn has_section(program: &Path, name: &str) {
    let listing = run(Command::new(tool("readelf")).arg("-SW").arg(program)).out();
    assert!(
        listing.contains(&format!(" {name} ")),
        "{}: no {name}",
        program.display()
    );
}

#[test]
fn gnu_ld_default() {
    all_thousand(&x86_64(&["-fuse-ld=bfd"]), Slot::JumpSlot);
}

#[test]
fn gnu_ld_lazy() {
    all_thousand(&x86_64(&["-Wl,-z,lazy"]), Slot::JumpSlot);
}

#[test]
fn gnu_ld_now() {
    all_thousand(&x86_64(&["-Wl,-z,now"]), Slot::JumpSlot);
}

#[test]
fn ibt_lazy() {
    let program = all_thousand(
        &x86_64(&["-fcf-protection=full", "-Wl,-z,ibtplt", "-Wl,-z,lazy"]),
        Slot::JumpSlot,
    );
    has_section(&program, ".plt.sec");
}

#[test]
fn ibt_now() {
    let program = all_thousand(
        &x86_64(&["-fcf-protection=full", "-Wl,-z,ibtplt", "-Wl,-z,now"]),
        Slot::JumpSlot,
    );
    has_section(&program, ".plt.sec");
}

#[test]
fn non_pie_lazy() {
    all_thousand(&x86_64(&["-fno-pie", "-no-pie", "-Wl,-z,lazy"]), Slot::JumpSlot);
}

#[test]
fn non_pie_now() {
    all_thousand(&x86_64(&["-fno-pie", "-no-pie", "-Wl,-z,now"]), Slot::JumpSlot);
}

#[test]
fn no_plt_pie() {
    all_thousand(&x86_64(&["-fno-plt"]), Slot::GlobDat);
}

#[test]
fn no_plt_non_pie() {
    all_thousand(&x86_64(&["-fno-plt", "-fno-pie", "-no-pie"]), Slot::GlobDat);
}

#[test]
fn no_plt_hoisted_out_of_a_loop() {
    let program = all_thousand(&x86_64(&["-O2", "-fno-plt"]), Slot::GlobDat);
    has_instruction(&program, "call   *%r"); // the slot is read once, the calls go through the register
}

#[test]
fn no_plt_hoisted_non_pie() {
    let program = all_thousand(
        &x86_64(&["-O2", "-fno-plt", "-fno-pie", "-no-pie"]),
        Slot::GlobDat,
    );
    has_instruction(&program, "call   *%r");
}

#[test]
fn tail_call_through_the_plt() {
    let program = all_thousand(&x86_64(&["-O2", "-DTAIL"]), Slot::JumpSlot);
    has_instruction(&program, "jmp ");
}

#[test]
fn tail_call_through_the_slot() {
    let program = all_thousand(&x86_64(&["-O2", "-DTAIL", "-fno-plt"]), Slot::GlobDat);
    has_instruction(&program, "jmp    *0x");
}

#[test]
fn gold_lazy() {
    all_thousand(&x86_64(&["-fuse-ld=gold", "-Wl,-z,lazy"]), Slot::JumpSlot);
}

#[test]
fn gold_now() {
    all_thousand(&x86_64(&["-fuse-ld=gold", "-Wl,-z,now"]), Slot::JumpSlot);
}

#[test]
fn gold_no_plt() {
    all_thousand(&x86_64(&["-fuse-ld=gold", "-fno-plt"]), Slot::GlobDat);
}

#[test]
fn lld_default() {
    all_thousand(&x86_64(&["-fuse-ld=lld"]), Slot::JumpSlot);
}

#[test]
fn lld_now() {
    all_thousand(&x86_64(&["-fuse-ld=lld", "-Wl,-z,now"]), Slot::JumpSlot);
}

#[test]
fn lld_ibt() {
    let flags = ["-fuse-ld=lld", "-fcf-protection=full", "-Wl,-z,force-ibt"];
    all_thousand(&x86_64(&flags), Slot::JumpSlot);
}

#[test]
fn lld_retpoline() {
    // The entry loads the slot into r11 and returns to it: there is no `jmp *slot`.
    let program = all_thousand(&x86_64(&["-fuse-ld=lld", "-Wl,-z,retpolineplt"]), Slot::JumpSlot);
    has_instruction(&program, "pause");
}

#[test]
fn lld_retpoline_now() {
    let program = all_thousand(
        &x86_64(&["-fuse-ld=lld", "-Wl,-z,retpolineplt", "-Wl,-z,now"]),
        Slot::JumpSlot,
    );
    has_instruction(&program, "pause");
}

#[test]
fn mold_default() {
    tool("mold");
    all_thousand(&x86_64(&["-fuse-ld=mold"]), Slot::JumpSlot);
}

#[test]
fn mold_now() {
    tool("mold");
    all_thousand(&x86_64(&["-fuse-ld=mold", "-Wl,-z,now"]), Slot::JumpSlot);
}

#[test]
fn mold_non_pie() {
    tool("mold");
    all_thousand(&x86_64(&["-fuse-ld=mold", "-fno-pie", "-no-pie"]), Slot::JumpSlot);
}

#[test]
fn clang_default() {
    all_thousand(&x86_64(&[]).compiler("clang"), Slot::JumpSlot);
}

#[test]
fn clang_no_plt() {
    all_thousand(&x86_64(&["-O2", "-fno-plt"]).compiler("clang"), Slot::GlobDat);
}

#[test]
fn clang_with_lld() {
    all_thousand(&x86_64(&["-fuse-ld=lld"]).compiler("clang"), Slot::JumpSlot);
}

#[test]
fn stripped_of_symbols() {
    all_thousand(&x86_64(&[]).then(["strip", "-s"]), Slot::JumpSlot);
}

#[test]
fn stripped_of_section_headers() {
    let build = x86_64(&[])
        .then(["strip", "-s"])
        .edited("no section headers", elf::without_section_headers);
    all_thousand(&build, Slot::JumpSlot);
}

#[test]
fn stripped_of_section_headers_and_ibt() {
    let flags = ["-fcf-protection=full", "-Wl,-z,ibtplt", "-Wl,-z,now"];
    let build = x86_64(&flags).edited("no section headers", elf::without_section_headers);
    all_thousand(&build, Slot::JumpSlot);
}

#[test]
fn stripped_of_section_headers_and_no_plt() {
    let build = x86_64(&["-fno-plt", "-O2"]).edited("no section headers", elf::without_section_headers);
    all_thousand(&build, Slot::GlobDat);
}

#[test]
fn address_also_taken_now() {
    let program = all_thousand(&x86_64(&["-DADDRESS", "-Wl,-z,now"]), Slot::GlobDat);
    has_section(&program, ".plt.got");
}

#[test]
fn address_also_taken_ibt() {
    let flags = ["-DADDRESS", "-fcf-protection=full", "-Wl,-z,ibtplt", "-Wl,-z,now"];
    let program = all_thousand(&x86_64(&flags), Slot::GlobDat);
    has_section(&program, ".plt.got");
}

#[test]
fn address_also_taken_non_pie() {
    // The address of the function is the PLT entry itself.
    all_thousand(&x86_64(&["-DADDRESS", "-fno-pie", "-no-pie"]), Slot::JumpSlot);
}

#[test]
fn i386_lazy() {
    all_thousand(&i386(&["-Wl,-z,lazy"]), Slot::JumpSlot);
}

#[test]
fn i386_now() {
    all_thousand(&i386(&["-Wl,-z,now"]), Slot::JumpSlot);
}

#[test]
fn i386_non_pie() {
    all_thousand(&i386(&["-fno-pie", "-no-pie"]), Slot::JumpSlot);
}

#[test]
fn i386_ibt() {
    let program = all_thousand(&i386(&["-fcf-protection=full", "-Wl,-z,ibtplt"]), Slot::JumpSlot);
    has_section(&program, ".plt.sec");
}

#[test]
fn i386_no_plt() {
    all_thousand(&i386(&["-fno-plt"]), Slot::GlobDat);
}
