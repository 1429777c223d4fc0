//! Every option, by the whole output that it makes.

mod outputs;
mod own;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, Running, Traced, rltrace_binary, run};

fn program() -> PathBuf {
    Build::caller("options.c")
        .flags(["-O0", "-fno-builtin", "-rdynamic"])
        .build()
}

/// Addresses, process ids, times and the fill before a result are not the same twice. The calls of the start-up
/// files depend on the C library.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for line in text.lines() {
        if line.contains("__libc_start_main") || line.contains("__cxa_finalize") {
            continue;
        }
        let fold: Vec<String> = line
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(word)
            .collect();
        // What prototypes know better is not the matter here: a null pointer's name, and those of code.
        let line = fold.join(" ").replace("SIG_DFL", "nil");
        masked.push_str(
            &line
                .replace("8, compare", "8, ADDR")
                .replace(", handler)", ", ADDR)"),
        );
        masked.push('\n');
    }
    masked
}

fn word(word: &str) -> String {
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ':');
    let core = word.trim_start_matches(['<', '[']).trim_end_matches(['>', ']']);
    let is_time = core.contains(['.', ':']) && core.len() >= 8;
    if digits(core) && (is_time || core.len() >= 5) {
        return word.replace(core, "N");
    }
    match word.find("0x") {
        Some(at) => {
            let rest = word[at + 2..].trim_start_matches(|c: char| c.is_ascii_hexdigit());
            format!("{}ADDR{rest}", &word[..at])
        }
        None => word.to_owned(),
    }
}

/// All lines of the program without options, masked.
const PLAIN: &str = r#"strlen("a string that is longer than thi"...) = 45
callee(1, 2, 3, 4) = 4996
qsort(ADDR, 2, 8, ADDR <unfinished ...>
strcmp("b", "a") = 1
<... qsort resumed> ) = <void>
signal(SIGUSR1, ADDR) = nil
raise(SIGUSR1 <no return ...>
--- SIGUSR1 (User defined signal 1) ---
<... raise resumed> ) = 0
getenv("OPTIONS") = nil
puts("out") = 4
+++ exited (status 3) +++
"#;

#[track_caller]
fn gives(options: &[&str], expected: &str) -> Traced {
    let rltrace = Rltrace::new().args(options);
    let traced = rltrace.run([program()]);
    traced.expect_code(3);
    let seen = masked(&traced.trace.text);
    assert_eq!(seen, expected, "{options:?}\n{}", traced.tail());
    traced.assert(traced.run.err().is_empty(), "nothing on standard error");
    assert_eq!(traced.run.out(), "out\n");
    traced
}

/// The lines of the plain trace, each as `edit` makes it.
fn edited(edit: impl Fn(&str) -> Option<String>) -> String {
    PLAIN.lines().filter_map(edit).map(|line| line + "\n").collect()
}

#[test]
fn none() {
    gives(&[], PLAIN);
}

#[test]
fn strings_and_columns() {
    for option in [["-s", "8"].as_slice(), &["-s8"], &["--string-length=8"]] {
        gives(option, &PLAIN.replace(" that is longer than thi", ""));
    }
    for option in [["-a", "20"].as_slice(), &["-a20"], &["--align", "20"]] {
        let traced = gives(option, PLAIN);
        traced.assert(
            traced
                .trace
                .text
                .lines()
                .any(|line| line == "callee(1, 2, 3, 4) = 4996"),
            "the result is at its column",
        );
    }
    let traced = gives(&["-a", "0"], PLAIN);
    traced.assert(traced.trace.text.contains("(\"OPTIONS\") = nil"), "no fill");
    for option in ["-n4", "--indent=4"] {
        let traced = gives(&[option], PLAIN);
        traced.assert(traced.trace.text.contains("\n        strcmp("), "two levels");
    }
}

#[test]
fn signals_can_be_left_out() {
    for option in ["-b", "--no-signals"] {
        let expected = PLAIN
            .replace("--- SIGUSR1 (User defined signal 1) ---\n", "")
            .replace(
                "raise(SIGUSR1 <no return ...>\n<... raise resumed> ) = 0",
                "raise(SIGUSR1) = 0",
            );
        gives(&[option], &expected);
    }
}

#[test]
fn times_and_addresses() {
    for option in ["-i", "--instruction-pointer"] {
        gives(&[option], &edited(|line| Some(format!("[ADDR] {line}"))));
    }
    for option in ["-t", "-tt", "-ttt", "--timestamps", "-r", "--relative-time"] {
        gives(&[option], &edited(|line| Some(format!("N {line}"))));
    }
    for option in ["-T", "--durations"] {
        let returns = |line: &str| line.contains(" = ") && !line.starts_with("---");
        let expected = edited(|line| {
            Some(if returns(line) {
                format!("{line} <N>")
            } else {
                line.to_owned()
            })
        });
        gives(&[option], &expected);
    }
}

#[test]
fn filters() {
    let calls = |names: &[&str], prefix: &str| {
        edited(|line| {
            let call = names.iter().any(|name| line.starts_with(&format!("{name}(")));
            let other = line.starts_with('-') || line.starts_with('+');
            let resumed = names.iter().any(|name| line.contains(&format!("<... {name} ")));
            if call {
                Some(format!("{prefix}{line}"))
            } else {
                (other || resumed).then(|| line.to_owned())
            }
        })
    };
    for option in [
        ["-e", "getenv+puts@MAIN"].as_slice(),
        &["--filter=getenv@MAIN", "-eputs@MAIN"],
    ] {
        gives(option, &calls(&["getenv", "puts"], "options->"));
    }
    let own = calls(&["callee"], "options->");
    for option in [["-l", "libcallee.so"].as_slice(), &["--library", "*callee*"]] {
        let seen = Rltrace::new().args(option).run([program()]);
        assert_eq!(masked(&seen.trace.text), own, "{}", seen.tail());
    }
    gives(
        &["-L"],
        &edited(|line| (line.starts_with('-') || line.starts_with('+')).then(|| line.to_owned())),
    );
}

#[test]
fn functions_where_they_begin() {
    let helper = PLAIN.replace(
        "callee(1, 2, 3, 4) = 4996\n",
        "helper(1, 1, 1, 1 <unfinished ...>\ncallee(1, 2, 3, 4) = 4996\n<... helper resumed> ) = 4997\n",
    );
    let seen = |options: &[&str]| {
        let traced = Rltrace::new().args(options).run([program()]);
        traced.expect_code(3);
        traced.trace.text
    };
    let lines = |text: &str| -> Vec<String> {
        masked(text)
            .lines()
            .map(|line| line.split('(').next().unwrap_or_default().to_owned())
            .collect()
    };
    for option in [["-x", "helper"], ["--entry", "hel?er@MAIN"]] {
        assert_eq!(lines(&seen(&option)), lines(&helper), "{option:?}");
    }
    let text = seen(&["-L", "-b", "-x", "callee@libcallee.so"]);
    let only = text.lines().next().unwrap_or_default();
    assert!(only.starts_with("callee@libcallee.so(1, 2, 3, 4)"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    // The place of a function, as nm tells it.
    let nm = run(Command::new(tool("nm")).arg(program())).out();
    let line = nm
        .lines()
        .find(|line| line.ends_with(" T helper"))
        .expect("helper");
    let address = line
        .split(' ')
        .next()
        .expect("an address")
        .trim_start_matches('0');
    let place = format!("options+0x{address}");
    let text = seen(&["-L", "-b", "-x", &place]);
    assert!(text.starts_with(&format!("{place}(1, ")), "{text}");
    assert!(text.contains("= 4997\n"), "{text}");
}

#[test]
fn demangled_names() {
    let program = Build::program("demangled.cc").compiler("g++").build();
    let plain = Rltrace::new().run([&program]);
    let clear = Rltrace::new().arg("-C").run([&program]);
    plain.assert(plain.trace.text.contains("_Zn"), "mangled");
    clear.assert(!clear.trace.text.contains("_Z"), "nothing is mangled");
    clear.assert(
        clear.trace.text.contains("\noperator new(unsigned long)(24"),
        "but as it stands in the source",
    );
    // A filter takes either form, with parameters or without.
    for filter in [
        "operator new@MAIN",
        "operator new(unsigned long)@MAIN",
        "_Znwm@MAIN",
    ] {
        let traced = Rltrace::new().arg("-C").filter(filter).run([&program]);
        let calls = traced
            .trace
            .text
            .lines()
            .filter(|line| line.contains("->operator new("));
        traced.assert(calls.count() > 0, filter);
        traced.assert(!traced.trace.text.contains("delete"), "and nothing else");
    }
}

#[test]
fn prototypes_of_the_user() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("my.conf");
    std::fs::write(
        &file,
        "void qsort(+array(string, arg2)*, ulong, ulong, addr);\nhex(int) callee(int);\n",
    )
    .expect("written");
    let path = file.to_str().expect("UTF-8");
    for option in [["-F", path], ["--config", path]] {
        let traced = Rltrace::new().args(option).run([program()]);
        let text = masked(&traced.trace.text);
        traced.assert(text.contains("callee(1) = ADDR\n"), "the user's prototype");
        traced.assert(
            text.contains("<... qsort resumed> [ \"a\", \"b\" ], 2, 8, ADDR) = <void>\n"),
            "an array at the return",
        );
        let cut = Rltrace::new().arg("-A1").args(option).run([program()]);
        cut.assert(cut.trace.text.contains("[ \"a\"... ]"), "cut after one element");
    }
}

#[test]
fn the_environment() {
    for option in [["-E", "OPTIONS=a=b"], ["--env", "OPTIONS=a=b"]] {
        gives(
            &option,
            &PLAIN.replace("(\"OPTIONS\") = nil", "(\"OPTIONS\") = \"a=b\""),
        );
    }
    let traced = Rltrace::new()
        .env("OPTIONS", "set")
        .arg("-EOPTIONS")
        .run([program()]);
    assert_eq!(masked(&traced.trace.text), PLAIN);
}

#[test]
fn following() {
    for option in ["-f", "--follow"] {
        let traced = Rltrace::new()
            .arg(option)
            .run([program().as_os_str(), "fork".as_ref()]);
        traced.expect_code(3);
        let child = traced
            .trace
            .calls_of("strlen")
            .find(|call| call.args == "\"child\"")
            .expect("the child's call");
        traced.assert(
            traced.trace.calls().all(|call| call.pid.is_some()),
            "each line has its process",
        );
        let parent = traced.trace.calls_of("puts").next().expect("puts");
        traced.assert(child.pid != parent.pid, "and they are two");
    }
}

#[test]
fn so_many_calls() {
    for count in [1, 2, 4] {
        let limit = format!("--limit={count}");
        let traced = Rltrace::new()
            .arg(&limit)
            .arg("-e")
            .arg("strlen+callee+getenv+puts@MAIN")
            .run([program()]);
        traced.expect_code(3);
        traced.assert(
            traced.trace.calls().count() == count,
            &format!("{count} calls are shown"),
        );
        traced.assert(traced.run.out() == "out\n", "the program runs to its end");
        traced.assert(traced.run.err().is_empty(), "nothing on standard error");
    }
}

/// The time is over while the program waits: it goes on untraced, and rltrace ends as it does.
#[test]
fn so_many_seconds() {
    let mut process = Command::new(rltrace_binary());
    process
        .args(["--for", "0.2", "-o", "/dev/null", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut tracer = Running::start(&mut process);
    rltrace_tests::wait_for("the command is left", || {
        let children = rltrace_tests::process::children(tracer.pid());
        children.first().is_some_and(|&cat| {
            let threads = rltrace_tests::process::threads(cat);
            threads.iter().all(|thread| thread.tracer == 0)
                && std::fs::read_to_string(format!("/proc/{cat}/comm")).is_ok_and(|name| name == "cat\n")
        })
    });
    drop(tracer.stdin());
    tracer.finish().expect_success();
}
