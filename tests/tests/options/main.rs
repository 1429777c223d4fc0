//! Every option, by the whole output that it makes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, Running, Traced, rltrace_binary, run};

fn program() -> PathBuf {
    let library = Build::library("callee.c").build();
    Build::program("options.c")
        .flags(["-O0", "-fno-builtin", "-rdynamic"])
        .uses(&library)
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
    let rltrace = options.iter().fold(Rltrace::new(), Rltrace::arg);
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
        let seen = option.iter().fold(Rltrace::new(), Rltrace::arg).run([program()]);
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
        let traced = options.iter().fold(Rltrace::new(), Rltrace::arg).run([program()]);
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
        let traced = option.iter().fold(Rltrace::new(), Rltrace::arg).run([program()]);
        let text = masked(&traced.trace.text);
        traced.assert(text.contains("callee(1) = ADDR\n"), "the user's prototype");
        traced.assert(
            text.contains("<... qsort resumed> [ \"a\", \"b\" ], 2, 8, ADDR) = <void>\n"),
            "an array at the return",
        );
        let cut = option
            .iter()
            .fold(Rltrace::new().arg("-A1"), Rltrace::arg)
            .run([program()]);
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
fn files() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace");
    let name = file.to_str().expect("UTF-8");
    let read = || std::fs::read_to_string(&file).expect("the trace");
    let twice = |options: &[&str]| {
        std::fs::write(&file, "before\n").expect("written");
        let rltrace = options.iter().fold(Rltrace::new().own_output(), Rltrace::arg);
        let traced = rltrace.run([program()]);
        traced.expect_code(3);
        traced.assert(traced.run.err().is_empty(), "nothing on standard error");
        masked(&read())
    };
    assert_eq!(twice(&["-o", name]), PLAIN);
    assert_eq!(twice(&["--output", name]), PLAIN);
    assert_eq!(
        twice(&["-o", name, "--output-append"]),
        format!("before\n{PLAIN}")
    );
    let command = format!("|cat > {name}");
    assert_eq!(twice(&["-o", &command]), PLAIN);
    let none = twice(&["-o", name, "-b", "-L"]);
    assert_eq!(
        none,
        "before\n".replace("before\n", "+++ exited (status 3) +++\n")
    );
}

#[test]
fn a_file_for_each_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace");
    let traced = Rltrace::new()
        .own_output()
        .arg("-ff")
        .arg("-o")
        .arg(&file)
        .run([program().as_os_str(), "fork".as_ref()]);
    traced.expect_code(3);
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory.path())
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let texts: Vec<String> = files
        .iter()
        .map(|file| masked(&std::fs::read_to_string(file).expect("a trace")))
        .collect();
    assert_eq!(files.len(), 2, "{files:?}");
    let (child, parent) = if texts[0].contains("puts") {
        (&texts[1], &texts[0])
    } else {
        (&texts[0], &texts[1])
    };
    // What the child has of its parent's fork is the return.
    assert!(child.contains("strlen(\"child\") = 5\n"), "{child}");
    assert!(child.ends_with("+++ exited (status 0) +++\n"), "{child}");
    assert!(
        !parent.contains("\"child\"") && parent.contains("fork() = "),
        "{parent}"
    );
    assert!(!child.contains("[pid"), "{child}");
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

#[test]
fn colors() {
    let traced = Rltrace::new().arg("--color=always").run([program()]);
    traced.assert(
        traced.trace.text.contains("\x1b[36mputs\x1b[0m(\"out\")"),
        "the name has a color",
    );
    gives(&["--color=never"], PLAIN);
    gives(&["--color=auto"], PLAIN);
}

/// Each level tells more than the one before, on standard error; the trace is the same.
#[test]
fn the_tracers_own_work() {
    let told = |level: &str| {
        let traced = Rltrace::new().arg("-D").arg(level).run([program()]);
        assert_eq!(masked(&traced.trace.text), PLAIN);
        traced.run.err()
    };
    let levels = ["off", "warn", "info", "debug", "trace"].map(|level| told(level).lines().count());
    assert_eq!(levels[..2], [0, 0]);
    assert!(
        levels[1..].is_sorted() && levels[2] < levels[3] && levels[3] < levels[4],
        "{levels:?}"
    );
    assert!(told("info").contains("command started"), "{}", told("info"));
    assert!(told("debug").contains("libcallee.so"), "{}", told("debug"));
    // ltrace's masks.
    assert_eq!((told("0").lines().count(), told("77").is_empty()), (0, false));
}

/// All that stands behind the command is the command's.
#[test]
fn options_end_at_the_command() {
    let traced = Rltrace::new()
        .own_output()
        .arg("-o")
        .arg("/dev/null")
        .arg("echo")
        .run(["-n", "-e", "x"]);
    // The harness puts `--` before the command: here that is an argument of echo.
    assert_eq!(traced.run.out(), "-- -n -e x\n");
}

#[test]
fn help_and_version() {
    let says = |options: &[&str]| {
        let seen = run(Command::new(rltrace_binary()).args(options));
        seen.expect_success();
        assert!(seen.err().is_empty(), "{}", seen.both());
        seen.out()
    };
    let help = says(&["-h"]);
    assert_eq!(help, says(&["--help"]));
    assert!(
        help.starts_with("Usage: rltrace [OPTION]... [--] COMMAND [ARG]...\n"),
        "{help}"
    );
    assert!(help.lines().count() <= 56, "it fits a screen");
    let version = says(&["-V"]);
    assert_eq!(version, says(&["--version"]));
    assert!(version.starts_with("rltrace "), "{version}");
}

/// What is made of the table of options names each of them, and is what its reader takes.
#[test]
fn generated_texts() {
    let made = |what: &str| {
        run(Command::new(rltrace_binary()).args(["--generate", what]))
            .expect_success()
            .out()
    };
    let help = run(Command::new(rltrace_binary()).arg("--help")).out();
    let options: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.len() > 2 && word.starts_with("--"))
        .map(|word| word.trim_end_matches([':', ';', ',']))
        // It is what prints these texts.
        .filter(|word| word.len() > 2 && *word != "--generate")
        .collect();
    assert!(options.len() > 35, "{options:?}");
    for what in ["man", "bash", "zsh", "fish"] {
        let text = made(what).replace("\\-", "-");
        for option in &options {
            assert!(text.contains(option.trim_start_matches('-')), "{what}: {option}");
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let page = directory.path().join("rltrace.1");
    std::fs::write(&page, made("man")).expect("written");
    let groff = run(Command::new(tool("groff"))
        .args(["-man", "-Tascii", "-ww"])
        .arg(&page));
    assert!(groff.expect_success().err().is_empty(), "{}", groff.err());
    let script = directory.path().join("rltrace.bash");
    std::fs::write(&script, made("bash")).expect("written");
    run(Command::new(tool("bash")).arg("-n").arg(&script)).expect_success();
}

/// A wrong value: one line which names it and what is accepted, exit status 1, and nothing was run or overwritten.
#[test]
fn wrong_values() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace");
    let json = directory.path().join("json");
    let mark = directory.path().join("run");
    let (file, json) = (file.to_str().expect("UTF-8"), json.to_str().expect("UTF-8"));
    let cases: &[(&[&str], &[&str])] = &[
        (&["-a", "x"], &["'x'", "--align", "from 0 to 4096"]),
        (&["-a", "-1"], &["'-1'", "from 0 to 4096"]),
        (&["-A", "many"], &["'many'", "from 0"]),
        (&["-s", ""], &["''", "from 0"]),
        (
            &["-s", "99999999999999999999"],
            &["99999999999999999999", "from 0"],
        ),
        (&["-n", "21"], &["'21'", "from 0 to 20"]),
        (&["-w", "x"], &["'x'", "from 0"]),
        (&["-D", "loud"], &["'loud'", "debug"]),
        (&["-p", "0"], &["'0'", "process"]),
        (&["-p", "1x"], &["'1x'", "process"]),
        (&["-p", "99999999"], &["99999999"]),
        (&["-u", "no-such-user"], &["no-such-user"]),
        (&["-e", "[a"], &["[a"]),
        (&["-e", ""], &["filter ''"]),
        (&["-x", "/["], &["/["]),
        (&["-l", "/["], &["/["]),
        (&["-F", "/no/such/conf"], &["/no/such/conf", "No such file"]),
        (
            &["-o", "/no/such/folder/x"],
            &["/no/such/folder/x", "No such file"],
        ),
        (&["-ff"], &["-ff", "-o FILE"]),
        (&["-t", "-r"], &["--relative-time", "--timestamps"]),
        (&["-L", "-e", "f"], &["--no-library-calls", "--filter"]),
        (&["--limit", "0"], &["'0'", "from 1"]),
        (&["--for", "0"], &["'0'", "seconds"]),
        (&["--for", "soon"], &["'soon'", "seconds"]),
        (&["--color", "blue"], &["'blue'", "auto, always or never"]),
        (&["--sort", "size"], &["'size'", "calls"]),
        (&["--columns", "calls,size"], &["'size'", "calls"]),
        (&["--summary-json", "/no/such/folder/x"], &["/no/such/folder/x"]),
        (&["--fail-over", "f:calls:1%"], &["--compare"]),
        (&["--no-such"], &["--no-such"]),
        (&["-Z"], &["-Z"]),
    ];
    for (options, words) in cases {
        std::fs::write(file, "before\n").expect("written");
        std::fs::write(json, "before\n").expect("written");
        let mut command = Command::new(rltrace_binary());
        if !options.contains(&"-o") && *options != ["-ff"] {
            command.args(["-o", file]);
        }
        if !options.contains(&"--summary-json") {
            command.args(["--summary-json", json]);
        }
        command.args(*options);
        // A wrong process is all that could be traced.
        if options[0] != "-p" {
            command.args(["--", "touch"]).arg(&mark);
        }
        let seen = run(&mut command);
        assert_eq!(seen.code(), 1, "{options:?}\n{}", seen.both());
        let line = seen.err();
        assert!(
            line.starts_with("rltrace: ") && line.lines().count() == 1,
            "{}",
            seen.both()
        );
        for word in *words {
            assert!(line.contains(word), "{word:?} is not named: {line}");
        }
        assert!(!mark.exists(), "{options:?}: nothing is run");
        for kept in [file, json] {
            let text = std::fs::read_to_string(kept).expect("the file");
            assert_eq!(text, "before\n", "{options:?}: nothing is overwritten");
        }
    }
}

/// Neither a command nor a process: a short usage.
#[test]
fn nothing_to_do() {
    let seen = run(&mut Command::new(rltrace_binary()));
    assert_eq!(seen.code(), 1);
    let lines: Vec<_> = seen.err().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[0].starts_with("rltrace: ") && lines[3].contains("--help"),
        "{lines:?}"
    );
}

/// The output breaks while the program runs: the program goes on to its end unharmed, the loss is said once, and
/// the exit status is 1.
#[test]
fn outputs_that_break() {
    let library = Build::library("callee.c").build();
    let program = Build::program("thousand.c").flags(["-O1"]).uses(&library).build();
    for output in ["/dev/full", "|exec head -c 100 >/dev/null"] {
        let traced = Rltrace::new().own_output().arg("-o").arg(output).run([&program]);
        traced.expect_code(1);
        traced.assert(
            traced.run.out().lines().count() == 1000,
            "the program did all it had to do",
        );
        traced.assert(traced.run.err().lines().count() == 1, "said once");
    }
    let full: &Path = Path::new("/dev/full");
    let traced = Rltrace::new().arg("--summary-json").arg(full).run([&program]);
    traced.expect_code(1);
    traced.assert(traced.run.out().lines().count() == 1000, "all was done");
    traced.assert(traced.run.err().contains("/dev/full"), "the file is named");
}
