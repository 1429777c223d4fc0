//! Where prototypes come from, and what is shown by them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, Rltrace, Trace, Traced, rltrace_binary, run};

fn calls_libc() -> PathBuf {
    let flags = ["-O0", "-fno-builtin", "-U_FORTIFY_SOURCE", "-w", "-Wl,-z,lazy"];
    Build::program("calls_libc.c").flags(flags).build()
}

/// A tracer that finds no prototype file but those that a test names: its home is an empty folder.
fn at_home(home: &Path) -> Rltrace {
    Rltrace::new()
        .env("LC_ALL", "C")
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home.join(".config"))
        .env("XDG_CONFIG_DIRS", home.join("none"))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::create_dir_all(file.parent().expect("a file in a folder")).expect("the folder");
    std::fs::write(&file, text).expect("the file");
    file
}

#[track_caller]
fn shows(traced: &Traced, function: &str, spelled: &str) {
    let seen = traced.trace.spelled(function);
    assert!(
        seen.iter().any(|call| call == spelled),
        "no {spelled}\nbut {seen:#?}\n{}",
        traced.tail()
    );
}

/// Hex numbers that are addresses, which are others in each run.
fn without_addresses(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("0x") {
        let digits = rest[at + 2..]
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(rest.len() - at - 2);
        out.push_str(&rest[..at]);
        out.push_str(if digits >= 9 {
            "ADDRESS"
        } else {
            &rest[at..at + 2 + digits]
        });
        rest = &rest[at + 2 + digits..];
    }
    out + rest
}

#[test]
fn libcrypto_has_types() {
    let home = folder();
    let command = [
        tool("openssl").into_os_string(),
        "dgst".into(),
        "-sha256".into(),
        "/etc/passwd".into(),
    ];
    let traced = at_home(home.path()).arg("-s").arg("64").run(command);
    traced.expect_code(0);
    let spelled: Vec<String> = traced
        .trace
        .calls()
        .map(|call| without_addresses(&call.spelled()))
        .collect();
    for line in [
        r#"UI_create_method("OpenSSL application user interface") = ADDRESS"#,
        r#"OSSL_STORE_LOADER_new(nil, "org.openssl.engine") = ADDRESS"#,
        "OPENSSL_init_ssl(30272, nil) = 1",
        "OPENSSL_sk_free(nil) = <void>",
    ] {
        traced.assert(spelled.iter().any(|seen| seen == line), &format!("no {line}"));
    }
}

#[test]
fn liblzma_and_libc_have_types() {
    let home = folder();
    let command = [tool("xz").into_os_string(), "-kc".into(), "/etc/passwd".into()];
    let traced = at_home(home.path()).run(command);
    traced.expect_code(0);
    let mut codes = traced.trace.calls_of("lzma_code");
    traced.assert(
        codes.any(|call| {
            without_addresses(&call.args).ends_with(", LZMA_FINISH")
                && call.result() == Some("LZMA_STREAM_END")
        }),
        "lzma_code has an action and a result by name",
    );
    traced.assert(
        traced
            .trace
            .calls_of("fcntl")
            .any(|call| call.args == "0, F_GETFD"),
        "fcntl has a command by name",
    );
}

#[test]
fn a_module_of_python_has_types() {
    let home = folder();
    let script = "import zlib; zlib.crc32(b'some bytes'); zlib.compress(b'x' * 100)";
    let python = if Path::new("/usr/bin/python3").exists() {
        PathBuf::from("/usr/bin/python3")
    } else {
        tool("python3")
    };
    let command = [python.into_os_string(), "-c".into(), script.into()];
    let traced = at_home(home.path()).filter("crc32+deflateInit2_").run(command);
    traced.expect_code(0);
    shows(&traced, "crc32", r#"crc32(0, "some bytes", 10) = 2673442645"#);
    let mut inits = traced.trace.calls_of("deflateInit2_");
    traced.assert(
        inits.any(|call| without_addresses(&call.args).starts_with("ADDRESS, -1, 8, 15, 8, 0, \"1.")),
        "deflateInit2_ has seven numbers and a string",
    );
}

#[test]
fn a_users_file_goes_before_what_is_built_in() {
    let program = calls_libc();
    let home = folder();
    let plain = at_home(home.path()).run([&program]);
    shows(&plain, "puts", r#"puts("a line") = 7"#); // curated
    shows(&plain, "a64l", r#"a64l("abc") = 166374"#); // generated only

    write(
        home.path(),
        ".ltrace.conf",
        "int puts(hide(addr));\nlong a64l(string, hex(int));\n",
    );
    let own = at_home(home.path()).run([&program]);
    shows(&own, "puts", "puts() = 7");
}

#[test]
fn places_in_their_order() {
    let program = calls_libc();
    let home = folder();
    // Each place is asked before those written so far.
    let places = [
        ("none/ltrace/libc.so.conf", None),
        (".ltrace.conf", Some("bool(int)")),
        (".ltrace/libc.so.6.conf", Some("hex(int)")),
        (".config/ltrace/libc.so.conf", Some("oct(int)")),
    ];
    for (place, shown) in places {
        let result = shown.unwrap_or("hide(int)");
        write(home.path(), place, &format!("{result} abs(int);\n"));
        let traced = at_home(home.path()).run([&program]);
        let spelled = match shown {
            None => "abs(-5) = 5", // the machine's places stand behind what is built in
            Some("bool(int)") => "abs(-5) = true",
            Some("hex(int)") => "abs(-5) = 0x5",
            Some(_) => "abs(-5) = 05",
        };
        shows(&traced, "abs", spelled);
    }
    let named = write(home.path(), "named.conf", "int abs(hide(int));\n");
    let traced = at_home(home.path()).arg("-F").arg(&named).run([&program]);
    shows(&traced, "abs", "abs() = 5");
}

/// A file about another library says nothing of this one's functions, as long as these are known.
#[test]
fn a_file_is_about_its_library() {
    let home = folder();
    write(
        home.path(),
        ".config/ltrace/libm.so.conf",
        "int abs(hide(int));\n",
    );
    let traced = at_home(home.path()).run([calls_libc()]);
    shows(&traced, "abs", "abs(-5) = 5");
}

#[test]
fn errors_name_file_and_line() {
    let home = folder();
    let text = "int good(int);\n\nint abs(strange);\nint labs(hide(long)\ntypedef x = struct(int;\nlong labs(hide(long));\n";
    let file = write(home.path(), ".ltrace.conf", text);
    let traced = at_home(home.path()).run([calls_libc()]);
    traced.expect_code(7);
    let file = file.display();
    let said = traced.run.err();
    let told: Vec<&str> = said.lines().filter(|line| line.contains(": error: ")).collect();
    assert_eq!(
        told,
        [
            format!("rltrace: {file}:3: error: unknown type `strange`"),
            format!("rltrace: {file}:4: error: expected `,` or `)`, found the end of the line"),
            format!("rltrace: {file}:5: error: expected `,` or `)`, found the end of the line"),
        ],
        "{}",
        traced.tail()
    );
    shows(&traced, "labs", "labs() = 5000000000");
}

#[test]
fn the_list_is_a_line_for_each_function() {
    let listed = run(Command::new(rltrace_binary()).arg("--list-prototypes"));
    listed.expect_success();
    let mut last = ("", "");
    let mut libraries = BTreeMap::new();
    let list = listed.out();
    for line in list.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let &[soname, function, prototype] = &cells[..] else {
            panic!("not three cells: {line}")
        };
        assert!(last < (soname, function), "{line} stands after {last:?}");
        assert!(prototype.contains(&format!("{function}(")), "{line}");
        last = (soname, function);
        *libraries.entry(soname).or_insert(0) += 1;
    }
    assert!(libraries.len() > 300, "{} libraries", libraries.len());
    for (soname, least) in [
        ("libc.so.6", 1900),
        ("libcrypto.so.3", 3000),
        ("libz.so.1", 80),
        ("libm.so.6", 300),
    ] {
        assert!(libraries[soname] >= least, "{soname}: {}", libraries[soname]);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut process = Command::new(rltrace_binary());
    process
        .arg("--list-prototypes")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = process.spawn().expect("rltrace");
    drop(child.stdout.take()); // the list is larger than a pipe holds
    let ended = child.wait_with_output().expect("its end");
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

/// The prototype files that ltrace's package has on this machine.
fn files_of_ltrace() -> Vec<PathBuf> {
    tool("ltrace");
    let mut files = vec![PathBuf::from("/etc/ltrace.conf")];
    if let Ok(entries) = std::fs::read_dir("/usr/share/ltrace") {
        files.extend(entries.map(|entry| entry.expect("a readable folder").path()));
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf") && file.is_file());
    assert!(!files.is_empty(), "ltrace's package has no prototype file");
    files
}

#[test]
fn files_of_ltrace_are_read_without_an_error() {
    let home = folder();
    let command = [tool("true")];
    for file in files_of_ltrace() {
        let traced = at_home(home.path()).arg("-F").arg(&file).run(&command);
        traced.expect_code(0);
        assert_eq!(traced.run.err(), "", "{}", file.display());
    }
}

/// What a call shows under ltrace 0.7.3, what here, and why they differ.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        r#"open("/proc/self/comm", 0, 00) = 3"#,
        r#"open("/proc/self/comm", 0, 0) = 3"#,
        "zero in octal is 0, as in C",
    ),
    (
        r#"read(3, "x", 3) = 3"#,
        r#"read(3, "x\0y", 3) = 3"#,
        "string[EXPR] has EXPR characters (ltrace.conf(5)); ltrace stops at a NUL",
    ),
    (
        "exit(7) <no return ...>",
        "exit(7) <unfinished ...>",
        "the program calls __cxa_finalize in exit, so the line is written before the end is known",
    ),
];

/// A null pointer of type `addr` or `file` is `0` under ltrace, where those of other types are `nil`.
fn with_nil_as_zero(spelled: &str) -> String {
    spelled.replace("nil", "0")
}

/// Calls that ltrace 0.7.3 does not see: their slots are `GLOB_DAT`.
const ONLY_OURS: &[&str] = &["__libc_start_main", "__cxa_finalize"];

/// By ltrace's own prototypes, its values are ours.
#[test]
fn values_are_those_of_ltrace() {
    let home = folder();
    let program = calls_libc();
    let file = home.path().join("trace");
    let mut ltrace = Command::new(tool("ltrace"));
    ltrace
        .arg("-F")
        .arg("/etc/ltrace.conf")
        .arg("-o")
        .arg(&file)
        .arg(&program);
    run(ltrace.env("LC_ALL", "C").env("HOME", home.path()));
    let theirs = Trace::parse(&std::fs::read_to_string(&file).expect("ltrace's trace"));
    let ours = at_home(home.path())
        .arg("-F")
        .arg("/etc/ltrace.conf")
        .run([&program]);
    ours.expect_code(7);
    let spell = |trace: &Trace| -> Vec<String> {
        trace
            .calls()
            .filter(|call| !ONLY_OURS.contains(&&*call.name))
            .map(|call| with_nil_as_zero(&without_addresses(&call.spelled())))
            .collect()
    };
    let (theirs, ours) = (spell(&theirs), spell(&ours.trace));
    let mut used = vec![false; DIFFERENCES.len()];
    let mut unknown = Vec::new();
    for (their, our) in theirs.iter().zip(&ours).filter(|(their, our)| their != our) {
        let known = DIFFERENCES.iter().position(|(t, o, _)| t == their && o == our);
        match known {
            Some(at) => used[at] = true,
            None => unknown.push(format!("ltrace:  {their}\nrltrace: {our}")),
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
    assert_eq!(theirs.len(), ours.len(), "as many calls");
    for ((their, _, why), used) in DIFFERENCES.iter().zip(used) {
        assert!(used, "no longer different: {their} ({why})");
    }
}
