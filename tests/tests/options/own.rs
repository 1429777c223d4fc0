//! What rltrace says of itself, and what is wrong with a command line.

use super::*;

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
