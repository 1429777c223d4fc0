//! Under the name `ltrace` it is ltrace: the same lines, standard error and exit status for a corpus of command lines, with
//! ltrace 0.7.3 as the witness. Addresses, times and process ids are masked.
//!
//! Known differences, each with its reason:
//! - A call through a slot that a `GLOB_DAT` relocation fills is in our trace only: ltrace 0.7.3 puts its traps on the PLT entries of
//!   `JUMP_SLOT` relocations, and misses the others.
//! - System calls are `name@SYS(`, as upstream has them since 0.7.91; 0.7.3 has `SYS_name(`, a number where it knows no
//!   name, and four words for those that it has no prototype of. Only their names and their order are compared.
//! - A quotation mark in a string is escaped in ours, and a null address is `nil` also where ltrace.conf calls it an `addr`, as upstream has
//!   it since 0.7.91.
//! - A string whose length is that of `-s` has no `...` in ours: nothing is missing.
//! - A function without `@LIBRARY` is met in libraries, too, as ltrace(1) says; 0.7.3 finds no calls of libc's own.
//! - No process is started for a command that is not there: ltrace 0.7.3 tells of one that it "failed to initialize".
//! - A `-` or `+` in a bracket of a regular expression begins a new rule in ltrace 0.7.3, which then complains.
//! - `-w` is upstream's, and not in Debian's ltrace 0.7.3. `-F` adds files, as upstream; in 0.7.3 they stand in for the usual ones.
//! - `open` of a file that is not created shows as its third argument what happens to be in the register.

use std::path::{Path, PathBuf};
use std::process::Command;

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Run, rltrace_binary, run};

/// The programs, by name: those of the system, and own ones.
fn program(name: &str) -> PathBuf {
    let library = || Build::library("callee.c").build();
    let own = |source: &str| {
        Build::program(source)
            .flags(["-O1", "-fno-builtin", "-rdynamic"])
            .uses(&library())
            .build()
    };
    match name {
        "text" | "options" => own(&format!("{name}.c")),
        // What is no program.
        _ if name.contains('/') || name.starts_with("no-such") => name.into(),
        _ => tool(name),
    }
}

/// The command lines: options, program, arguments.
const CORPUS: &[(&[&str], &[&str])] = &[
    (&[], &["text"]),
    (&["-s", "8"], &["text"]),
    (&["-s8"], &["text"]),
    (&["-a", "60"], &["text"]),
    (&["--align=10"], &["text"]),
    (&["-b"], &["text"]),
    (&["--no-signals"], &["text"]),
    (&["-n", "3"], &["text"]),
    (&["--indent", "3"], &["text"]),
    (&["-i"], &["text"]),
    (&["-t"], &["text"]),
    (&["-tt"], &["text"]),
    (&["-ttt"], &["text"]),
    (&["-r"], &["text"]),
    (&["-T"], &["text"]),
    (&["-c"], &["text"]),
    (&["-e", "strlen@MAIN"], &["text"]),
    (&["-e", "strlen@MAIN+strcmp@MAIN"], &["text"]),
    (&["-e", "@MAIN-strlen"], &["text"]),
    (&["-e", "str*@MAIN"], &["text"]),
    (&["-e", "/str.*/@MAIN"], &["text"]),
    (&["-e", "strlen@MAIN", "-e", "puts@MAIN"], &["text"]),
    (&["-l", "libcallee.so"], &["text"]),
    (&["-L"], &["text"]),
    (&["-f", "-e", "strlen@MAIN"], &["text"]),
    (&["-x", "helper"], &["options"]),
    (&["-L", "-x", "helper"], &["options"]),
    (&["-x", "callee@libcallee.so"], &["options"]),
    (&["-L", "-x", "helper+compare"], &["options"]),
    (&["-e", "callee", "-x", "helper"], &["options"]),
    (&["-itT"], &["options"]),
    (&["-S"], &["options"]),
    (&["-L", "-S"], &["options"]),
    (&["-A", "2", "-s", "16"], &["options"]),
    (&[], &["true"]),
    (&[], &["echo", "a", "b"]),
    (&["-n2"], &["echo", "-n", "-e", "x"]),
    (&[], &["basename", "/usr/lib"]),
    (&["-e", "str*@MAIN"], &["basename", "/usr/lib"]),
    (&[], &["cat", "/etc/debian_version"]),
    (&["-c"], &["cat", "/etc/debian_version"]),
    (&[], &["uname", "-a"]),
    (&["-S"], &["uname"]),
    (&["-C"], &["id"]),
    (&["-s", "100"], &["env", "-i", "A=b"]),
    (&[], &["date", "+%Y"]),
    (&["-e", "fputs_unlocked+puts"], &["dirname", "/usr/lib"]),
    (
        &["-e", "@MAIN-__ctype_b_loc"],
        &["wc", "-c", "/etc/debian_version"],
    ),
    (&["-e", "get*@MAIN+set*@MAIN"], &["sort", "/etc/debian_version"]),
    (&["-e", "*alloc@MAIN"], &["cut", "-c1", "/etc/debian_version"]),
    (
        &["-e", "mem*@MAIN-memcpy"],
        &["head", "-n1", "/etc/debian_version"],
    ),
    (&["-e", "/mem.*/@MAIN"], &["tail", "-n1", "/etc/debian_version"]),
    (&["-e", "/strc.*/@MAIN"], &["expr", "1", "+", "2"]),
    (&["-n2", "-e", "*printf*@MAIN"], &["seq", "3"]),
    (
        &["-e", "fopen@MAIN+fclose@MAIN"],
        &["md5sum", "/etc/debian_version"],
    ),
    (&["-b", "-e", "*exit*@MAIN"], &["false"]),
    (&["-e", "-@MAIN-@libc*-@ld-*"], &["printenv", "HOME"]),
    (&["-fe", "fork@MAIN+wait4@MAIN"], &["sh", "-c", "true; true"]),
    (&["-L", "-x", "nothing"], &["nice"]),
    (&["--li=nothing"], &["nice"]),
    (&["--in=2", "--al", "60"], &["whoami"]),
    (&["--dem", "--no"], &["tty"]),
    (&["-tttt", "-L"], &["true"]),
    (&["-x", "helper@MAIN"], &["options"]),
    (&["-x", "/hel.*/"], &["options"]),
    (&["-x", "helper", "-e", "qsort@MAIN", "-n4"], &["options"]),
    (&["-l", "libcallee.so", "-l", "nothing"], &["options"]),
    (&["-l", "/libcallee.*/"], &["options"]),
    (&["-s0"], &["options"]),
    (&["-A0"], &["options"]),
    (&["-L", "-c"], &["options"]),
    (&["-c", "-e", "strlen@MAIN"], &["text"]),
    (&["--"], &["true"]),
    (&["-e", ""], &["true"]),
    (&["-x", ""], &["true"]),
    (&["-F", ""], &["true"]),
    // What goes wrong.
    (&[], &[]),
    (&["-Z"], &["true"]),
    (&["--foo"], &["true"]),
    (&["-a", "x"], &["true"]),
    (&["-A", "-1"], &["true"]),
    (&["-s", "x"], &["true"]),
    (&["-n", "21"], &["true"]),
    (&["-p", "0"], &["true"]),
    (&["-D", "x"], &["true"]),
    (&["-t", "-r"], &["true"]),
    (&["-L", "-e", "f"], &["true"]),
    (&["-p", "99999999"], &[]),
    (&["-p", "99999999"], &["true"]),
    (&["-p", "x"], &[]),
    (&["-p", "1x"], &[]),
    (&["-p", ""], &[]),
    (&["-p", "2"], &[]),
    (&["-u", "nobody-there"], &["true"]),
    (&["-u", ""], &["true"]),
    (&["-a"], &["true"]),
    (&["--align="], &["true"]),
    (&["-s", ""], &["true"]),
    (&["-s", "-1"], &["true"]),
    (&["-n", "-1"], &["true"]),
    (&["-n", "3x"], &["true"]),
    (&["-aa"], &["true"]),
    (&["-o"], &[]),
    (&["-S", "-e"], &[]),
    (&["--output"], &[]),
    (&["--foo=1"], &["true"]),
    (&["--debug=x"], &["true"]),
    (&["--co"], &["true"]),
    (&["-e", "[a"], &["true"]),
    (&["-e", "/[/"], &["true"]),
    (&["-e", "/unclosed"], &["true"]),
    (&["-e", "/\\(/"], &["true"]),
    (&["-x", "/[/"], &["true"]),
    (&["-l", "/[/"], &["true"]),
    (&["-e", "nothing"], &["true"]),
    (&["-x", "nothing"], &["true"]),
    (&["-l", "nothing"], &["true"]),
    (&["-o", "/no/such/folder/x"], &["true"]),
    (&[], &["/no/such/program"]),
    (&[], &["no-such-program"]),
    (&[], &["/usr"]),
    (&[], &["/etc/debian_version"]),
    (&[], &["/dev/null"]),
];

/// A hexadecimal or octal number, a time or a process id as such.
fn masked(line: &str) -> String {
    let mut masked = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let in_word = masked.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if !in_word && rest.starts_with("0x") {
            let hex = rest[2..].find(|c: char| !c.is_ascii_hexdigit());
            rest = &rest[hex.map_or(rest.len(), |end| end + 2)..];
            masked.push_str("ADDR");
        } else if !in_word && digits >= 4 {
            // Of a time the rest, too.
            let end = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            rest = &rest[end..];
            masked.push('N');
        } else {
            masked.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    // The fill before a result depends on the lengths of numbers.
    match masked.rsplit_once(" = ") {
        Some((call, result)) => format!("{} = {result}", call.trim_end()),
        None => masked,
    }
}

fn line(options: &[&str], line: &str) -> String {
    let has = |option| options.iter().any(|given: &&str| given.contains(option));
    let known = [
        ("\\\"", "\""),
        ("nil", "0"),
        ("thirty-two characters, y\"...", "thirty-two characters, y\""),
    ];
    let line = known
        .iter()
        .fold(line.to_owned(), |line, (one, other)| line.replace(one, other));
    let mut text = masked(&line);
    if has("-t") || has("-r") || has("-T") || has("-itT") {
        // Times of the day, differences, durations.
        let shown = |c: char| if c.is_ascii_digit() { '#' } else { c };
        let prefix = text.find(|c: char| c.is_alphabetic() && c != 'N').unwrap_or(0);
        let (time, call) = text.split_at(prefix);
        let call = call.split(" <0.").next().unwrap_or(call);
        text = format!(
            "{}{call}",
            time.replace('N', "#").chars().map(shown).collect::<String>()
        );
        text = text.replace("##", "#").replace("##", "#").replace("##", "#");
    }
    text
}

/// `SYS_name(` as `name@SYS(`; of a system call only the name.
fn system_call(line: &str) -> Option<String> {
    let name = line
        .split_once("@SYS(")
        .map(|(name, _)| name)
        .or_else(|| line.strip_prefix("SYS_")?.split_once('(').map(|(name, _)| name))?;
    // 0.7.3 calls pread64 by its old name, and others by their numbers.
    let known = name.parse::<u32>().is_err() && !["getrandom", "rseq"].contains(&name);
    Some(if known {
        format!("{}@SYS", name.trim_end_matches("64"))
    } else {
        "newer@SYS".to_owned()
    })
}

/// The lines of a trace, as they are compared.
fn lines(options: &[&str], text: &str) -> Vec<String> {
    if options.contains(&"-c") {
        let mut rows: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().skip(3).collect::<Vec<_>>().join(" "))
            .collect();
        rows.sort();
        return rows;
    }
    text.lines()
        .map(|text| system_call(text).unwrap_or_else(|| line(options, text)))
        .collect()
}

/// The functions that the program also reaches by a slot that a `GLOB_DAT` relocation fills.
fn by_glob_dat(program: &Path) -> Vec<String> {
    let table = run(Command::new(tool("readelf")).args(["-rW"]).arg(program)).out();
    table
        .lines()
        .filter(|line| line.contains("GLOB_DAT"))
        .filter_map(|line| line.split_whitespace().nth(4))
        .map(|name| name.split('@').next().unwrap_or(name).to_owned())
        .collect()
}

/// Fails unless the lines are the same, but for ours that are calls by other slots.
fn same(ours: &[String], theirs: &[String], others: &[String]) -> Result<(), String> {
    let mut theirs = theirs.iter().peekable();
    for (at, line) in ours.iter().enumerate() {
        let is_other = || {
            let name = line.trim_start().split('(').next().unwrap_or_default();
            let name = name.split("->").last().unwrap_or(name);
            others.iter().any(|other| other == name)
        };
        if theirs.next_if(|their| *their == line).is_none() && !is_other() {
            return Err(format!(
                "line {}: {line:?}, but ltrace has {:?}",
                at + 1,
                theirs.peek()
            ));
        }
    }
    match theirs.next() {
        Some(line) => Err(format!("ltrace goes on with {line:?}")),
        None => Ok(()),
    }
}

/// What a tracer wrote: the trace, standard error, the exit status.
fn traced(tracer: &Path, options: &[&str], command: &[&str]) -> (String, Run) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace");
    let mut tracer = Command::new(tracer);
    tracer.arg("-o").arg(&file).args(options).env("LC_ALL", "C");
    if let Some((name, args)) = command.split_first() {
        tracer.arg(program(name)).args(args);
    }
    let run = run(tracer.stdin(std::process::Stdio::null()));
    (std::fs::read_to_string(&file).unwrap_or_default(), run)
}

/// What it said on standard error, but for processes that only ltrace starts: its lines of such, and what it says of a
/// command which had no chance to be wrong.
fn said(run: &Run) -> String {
    let mut text = String::new();
    let mut user = false;
    for line in run.err().lines() {
        user |= line.starts_with("cannot find user");
        let of_process = line.starts_with("failed to initialize process");
        let of_user = user && line.starts_with("couldn't open");
        if !of_process && !of_user {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[test]
fn ltrace_says_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("ltrace");
    std::os::unix::fs::symlink(rltrace_binary(), &link).expect("a link");
    let ltrace = tool("ltrace");
    let mut differences = Vec::new();
    for (options, command) in CORPUS {
        let (ours, our_run) = traced(&link, options, command);
        let (theirs, their_run) = traced(&ltrace, options, command);
        let others = command
            .first()
            .map_or_else(Vec::new, |name| by_glob_dat(&program(name)));
        let what = format!("ltrace {} {}", options.join(" "), command.join(" "));
        if let Err(error) = same(&lines(options, &ours), &lines(options, &theirs), &others) {
            differences.push(format!("{what}: {error}"));
        }
        let our_err = said(&our_run).replace(&*link.to_string_lossy(), "ltrace");
        let their_err = said(&their_run).replace(&*ltrace.to_string_lossy(), "ltrace");
        if our_err != their_err || our_run.code() != their_run.code() {
            differences.push(format!(
                "{what}: {} {:?}, but ltrace {} {:?}",
                our_run.code(),
                our_err,
                their_run.code(),
                their_err
            ));
        }
        if our_run.out() != their_run.out() {
            differences.push(format!("{what}: the program does something else"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {}\n{}",
        differences.len(),
        CORPUS.len(),
        differences.join("\n")
    );
}

/// Whatever the command did, ltrace's exit status is 0 after a trace; ours is the command's, but under that name.
#[test]
fn the_exit_status() {
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("ltrace");
    std::os::unix::fs::symlink(rltrace_binary(), &link).expect("a link");
    for tracer in [&link, &tool("ltrace")] {
        let (trace, run) = traced(tracer, &["-e", "nothing"], &["sh", "-c", "exit 7"]);
        assert_eq!((run.code(), run.err().as_str()), (0, ""), "{}", run.both());
        assert_eq!(trace, "+++ exited (status 7) +++\n");
    }
}

fn named_ltrace() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("ltrace");
    std::os::unix::fs::symlink(rltrace_binary(), &link).expect("a link");
    (directory, link)
}

/// Help and version go to standard output, with status 0, and begin as ltrace's; each option of ltrace's help is in ours.
#[test]
fn help_and_version() {
    let (_directory, link) = named_ltrace();
    let said = |tracer: &Path, option: &str| {
        let run = run(Command::new(tracer).arg(option));
        assert_eq!((run.code(), run.err().as_str()), (0, ""), "{}", run.both());
        run.out()
    };
    let ltrace = tool("ltrace");
    for option in ["-h", "--help", "--he"] {
        let (ours, theirs) = (said(&link, option), said(&ltrace, option));
        let usage = |text: &str| text.lines().next().unwrap_or_default().replace(['/'], " ");
        assert!(usage(&theirs).ends_with("ltrace [option ...] [command [arg ...]]"));
        assert!(
            usage(&ours).ends_with("ltrace [option ...] [command [arg ...]]"),
            "{ours}"
        );
        let options = theirs
            .lines()
            .filter_map(|line| line.trim_start().split(['=', ' ', ',']).next())
            .filter(|word| word.starts_with('-') && *word != "-Dh");
        let mut count = 0;
        for option in options {
            assert!(
                ours.contains(&format!("\n  {option}")),
                "{option} is not in\n{ours}"
            );
            count += 1;
        }
        assert!(count > 20, "{count} options in\n{theirs}");
    }
    for option in ["-V", "--version"] {
        for tracer in [&link, &ltrace] {
            let version = said(tracer, option);
            let number = version
                .strip_prefix("ltrace version ")
                .expect("as scripts read it");
            assert!(number.starts_with("0.7."), "{version}");
        }
    }
    for option in ["-Dh", "--debug=help"] {
        assert!(said(&link, option).contains("--debug=<octal>"), "{option}");
        assert!(said(&ltrace, option).contains("--debug=<octal>"), "{option}");
    }
}

/// Without `-o` standard error has the lines of the trace, and nothing else.
#[test]
fn nothing_else_on_standard_error() {
    let (_directory, link) = named_ltrace();
    let text = program("text");
    for options in [
        &["-e", "strlen@MAIN"][..],
        &["-c", "-e", "nothing"],
        &["-L", "-b"],
    ] {
        for tracer in [&link, &tool("ltrace")] {
            let plain = run(Command::new(tracer).args(options).arg(&text).env("LC_ALL", "C"));
            let (file, filed) = traced(tracer, options, &["text"]);
            assert_eq!(plain.code(), filed.code(), "{}", plain.both());
            let same = |text: &str| text.lines().map(masked).collect::<Vec<_>>();
            assert_eq!(same(&plain.err()), same(&file), "{options:?}");
        }
    }
}

/// `-F`: files and folders; what is not there is told of, and what is wrong in a file stands in the trace, which goes on.
#[test]
fn prototype_files() {
    let (directory, link) = named_ltrace();
    let conf = directory.path().join("my.conf");
    std::fs::write(&conf, "hex(int) callee(hide(int));\nint strlen(nothing);\n").expect("written");
    let folder = directory.path().join("folder");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("libcallee.so.conf"), "oct(int) callee(int);\n").expect("written");
    let (conf, folder) = (conf.to_str().expect("UTF-8"), folder.to_str().expect("UTF-8"));
    let traced = |list: &str| traced(&link, &["-F", list, "-e", "callee@MAIN"], &["options"]);
    let (trace, run) = traced(conf);
    assert_eq!((run.code(), run.err().as_str()), (0, ""), "{}", run.both());
    let mut lines = trace.lines();
    let problem = lines.next().unwrap_or_default();
    assert!(
        problem.starts_with(&format!("{conf}:2: error: ")) && problem.contains("nothing"),
        "{trace}"
    );
    let call = lines.next().unwrap_or_default();
    assert_eq!(masked(call), "options->callee() = ADDR", "{trace}");
    let (trace, run) = traced(&format!("/no/such:{folder}"));
    assert_eq!(
        (run.code(), run.err().as_str()),
        (0, "Couldn't stat /no/such: No such file or directory\n")
    );
    assert!(
        trace.starts_with("options->callee(1) ") && trace.contains(" = 011604\n"),
        "{trace}"
    );
}
