//! Objects that come and go: plug-ins, namespaces, preloaded libraries, constructors, IFUNCs.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use rltrace_tests::{Build, Rltrace, Traced, run};

fn callee() -> PathBuf {
    Build::library("callee.c").build()
}

fn plugin(number: u32, flags: &[&str]) -> PathBuf {
    let build = Build::library("plugin.c").named(&format!("libplugin{number}.so"));
    build
        .flags([format!("-DPLUGIN={number}")])
        .flags(flags)
        .uses(&callee())
        .build()
}

/// `opens A B ROUNDS [dlmopen]`, natively and traced: same output. Gives the lines that a trace should have.
#[track_caller]
fn opens(rltrace: &Rltrace, flags: &[&str], rest: &[&str]) -> (Vec<String>, Traced) {
    let program = Build::program("opens.c").flags(["-O1"]).uses(&callee()).build();
    let mut words: Vec<OsString> = vec![program.into(), plugin(1, flags).into(), plugin(2, flags).into()];
    words.extend(rest.iter().map(OsString::from));
    let native = run(Command::new(&words[0]).args(&words[1..]));
    let expected = native.expect_success().out().lines().map(str::to_owned).collect();
    let traced = rltrace.run(&words);
    traced.expect_code(0);
    traced.assert(traced.run.out() == native.out(), "the program's output changed");
    (expected, traced)
}

/// Calls from a plug-in to another library are seen with `-e callee@libplugin*`, constructors and destructors included.
#[test]
fn plugins_opened_closed_and_opened_again() {
    for flags in [&[][..], &["-fno-plt"], &["-fcf-protection=full", "-Wl,-z,ibtplt"]] {
        let (expected, traced) = opens(&Rltrace::new().filter("callee@libplugin*"), flags, &["60"]);
        let seen = traced.trace.spelled("callee");
        let differs = expected
            .iter()
            .zip(&seen)
            .find(|(expected, seen)| expected != seen);
        traced.assert(
            differs.is_none(),
            &format!("{flags:?}: expected and seen {differs:?}"),
        );
        traced.assert(
            seen.len() == expected.len(),
            &format!("{flags:?}: {} calls of {}", seen.len(), expected.len()),
        );
    }
}

/// With no filter the calls of the main program are seen, dlopen and dlclose among them, and all is well.
#[test]
fn plugins_under_a_plain_trace() {
    let (_, traced) = opens(&Rltrace::new(), &[], &["60"]);
    for name in ["dlopen", "dlclose"] {
        let returned = traced
            .trace
            .calls_of(name)
            .filter(|call| call.result().is_some())
            .count();
        traced.assert(returned == 60, &format!("{returned} of 60 {name}"));
    }
}

#[test]
fn namespaces() {
    let (expected, traced) = opens(
        &Rltrace::new().filter("callee@libplugin*"),
        &[],
        &["8", "dlmopen"],
    );
    let seen = traced.trace.spelled("callee");
    traced.assert(
        seen == expected,
        &format!("{} calls of {}", seen.len(), expected.len()),
    );
}

#[test]
fn constructors_and_destructors() {
    let program = Build::program("constructed.c")
        .flags(["-O1"])
        .uses(&callee())
        .build();
    let traced = Rltrace::new().filter("callee").run([&program]);
    traced.expect_code(0);
    let first: Vec<&str> = traced
        .trace
        .calls_of("callee")
        .map(|call| &call.args[..1])
        .collect();
    traced.assert(
        first == ["1", "2", "3", "4"],
        &format!("before main, in it, at exit, after: {first:?}"),
    );
}

#[test]
fn an_ifunc_is_what_it_selects() {
    let library = Build::library("ifunc.c").build();
    for flags in [&["-Wl,-z,lazy"][..], &["-Wl,-z,now"], &["-fno-plt"]] {
        let program = Build::program("calls_ifunc.c")
            .flags(["-O1"])
            .flags(flags)
            .uses(&library)
            .build();
        let native = run(&mut Command::new(&program));
        let traced = Rltrace::new().filter("chosen").run([&program]);
        traced.expect_code(0);
        traced.assert(
            traced.run.out() == native.expect_success().out(),
            "the program's output changed",
        );
        let calls: Vec<_> = traced.trace.calls_of("chosen").collect();
        traced.assert(
            calls.len() == 100,
            &format!("{flags:?}: {} calls of 100", calls.len()),
        );
        for (i, call) in calls.iter().enumerate() {
            let first = call.args.split(", ").next();
            traced.assert(first == Some(&i.to_string()), "the argument");
            traced.assert(call.result() == Some(&(i + 2).to_string()), "the result");
        }
    }
}

#[test]
fn a_preloaded_library() {
    let preload = Build::library("preload.c").build();
    let program = Build::program("thousand.c")
        .flags(["-O1"])
        .uses(&callee())
        .build();
    let native = run(Command::new(&program).env("LD_PRELOAD", &preload));
    let traced =
        Rltrace::new()
            .filter("callee")
            .run([OsStr::new("env"), &preloaded(&preload), program.as_os_str()]);
    traced.expect_code(0);
    traced.assert(
        traced.run.out() == native.expect_success().out(),
        "the program's output changed",
    );
    let expected: Vec<String> = native.out().lines().map(str::to_owned).collect();
    traced.assert(
        traced.trace.spelled("callee") == expected,
        "each call once, with the preloaded function's result",
    );
}

fn preloaded(library: &std::path::Path) -> OsString {
    let mut word = OsString::from("LD_PRELOAD=");
    word.push(library);
    word
}

/// A target in a root of its own: its libraries are opened there, not here.
#[test]
fn another_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test must run as root: it uses chroot"
    );
    let root = tempfile::tempdir().expect("a directory");
    let library = Build::library("callee.c").build();
    let program = Build::program("thousand.c")
        .flags(["-O1", "-Wl,-rpath,/only/here"])
        .uses(&library)
        .build();
    let mut files: Vec<PathBuf> = vec![program.clone()];
    let listing = run(Command::new("ldd").arg(&program)).out();
    files.extend(
        listing
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(PathBuf::from),
    );
    for file in files {
        let name = file.file_name().expect("a file");
        let inside = if file == program {
            PathBuf::from("program")
        } else if file == library {
            // Nowhere but in that root: the path that the build knows is not there.
            PathBuf::from("only/here").join(name)
        } else {
            file.strip_prefix("/").expect("an absolute path").to_owned()
        };
        let copy = root.path().join(inside);
        std::fs::create_dir_all(copy.parent().expect("a parent")).expect("mkdir");
        std::fs::copy(&file, copy).expect("copied");
    }
    let native = run(Command::new("chroot").arg(root.path()).arg("/program"));
    let words = [
        OsStr::new("chroot"),
        root.path().as_os_str(),
        OsStr::new("/program"),
    ];
    let traced = Rltrace::new().filter("callee").run(words);
    traced.expect_code(0);
    traced.assert(
        traced.run.out() == native.expect_success().out(),
        "the program's output changed",
    );
    let expected: Vec<String> = native.out().lines().map(str::to_owned).collect();
    traced.assert(traced.trace.spelled("callee") == expected, "each call once");
}
