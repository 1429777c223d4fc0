//! Programs that people run, with every call between all their objects recorded inside of them: they do what they do without it.

use std::process::Command;

use rltrace_tests::engines::{as_natively, recorded};
use rltrace_tests::tools::{python, scratch, tool};
use rltrace_tests::{Rltrace, Traced, run, words};

/// Runs a command natively and with all its calls recorded, as text and counted: the same output, errors and end.
#[track_caller]
fn same(command: &[&str]) -> Traced {
    let command = words(tool(command[0]), &command[1..]);
    let all = || Rltrace::new().filter("@*").env("LC_ALL", "C");
    recorded(&all().arg("-c"), &command);
    recorded(&all().follow(), &command);
    let traced = recorded(&all(), &command);
    traced.expect_known_lines();
    traced
}

#[test]
fn python_with_threads() {
    let script = "\
import json, threading, zlib, hashlib, re
out = []
def work(n):
    for i in range(200):
        text = json.dumps({'n': n, 'list': list(range(i))})
        out.append(hashlib.sha256(zlib.compress(text.encode())).hexdigest())
        try:
            json.loads(text[:-1])
        except ValueError:
            pass
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(hashlib.sha256(''.join(sorted(out)).encode()).hexdigest(), len(re.findall('a', ''.join(out))))
";
    same(&[python(), "-c", script]).expect_call("malloc");
}

#[test]
fn python_with_children() {
    let script = "\
import subprocess, os
print(subprocess.run(['echo', 'from a child'], capture_output=True).stdout)
pid = os.fork()
if pid == 0:
    os._exit(sum(range(10)))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";
    same(&[python(), "-c", script]);
}

#[test]
fn perl() {
    let script = "my %h = map { $_ => $_ ** 2 } 1..2000; print join(',', map { $h{$_} } sort keys %h), qq{\\n}; \
                  eval { die qq{caught\\n} }; print $@; exit 3";
    same(&["perl", "-e", script]).expect_code(3);
}

#[test]
fn gcc_compiles() {
    let (_directory, object) = scratch("callee.o");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/conventions.c");
    let output = object.to_str().expect("a path");
    let words = ["gcc", "-O2", "-c", source, "-o", output];
    run(Command::new(tool("gcc")).args(&words[1..])).expect_success();
    let native = std::fs::read(&object).expect("an object file");
    std::fs::remove_file(&object).expect("remove");
    same(&words);
    assert_eq!(std::fs::read(&object).expect("an object file again"), native);
}

/// More than a million calls, exceptions of C++ among what it links with.
#[test]
fn the_compiler_proper() {
    let (_directory, assembly) = scratch("unwinds.s");
    let compiler = run(Command::new(tool("g++")).arg("-print-prog-name=cc1plus"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/unwinds.cc");
    let output = assembly.to_str().expect("a path");
    let words = [
        compiler.out().trim(),
        "-quiet",
        "-imultiarch",
        "x86_64-linux-gnu",
        "-O1",
        "-D_GNU_SOURCE",
        source,
        "-o",
        output,
    ]
    .map(str::to_owned);
    let native = run(Command::new(&words[0]).args(&words[1..]));
    native.expect_success();
    let expected = std::fs::read(&assembly).expect("assembly");
    let traced = Rltrace::new().engine("fast").filter("@*").arg("-c").run(&words);
    as_natively(&traced, &native);
    assert_eq!(std::fs::read(&assembly).expect("assembly again"), expected);
}

#[test]
fn openssl() {
    same(&["openssl", "dgst", "-sha256", "/etc/passwd"]);
    same(&["openssl", "speed", "-seconds", "0", "no-such-algorithm"]);
    same(&["openssl", "ciphers", "-v", "ALL"]);
}

#[test]
fn gdb() {
    same(&[
        "gdb",
        "-nx",
        "-batch",
        "-ex",
        "info line main",
        "-ex",
        "print 6 * 7",
        "/bin/true",
    ]);
}

#[test]
fn tar_with_a_compressor() {
    let words = [
        "tar",
        "-c",
        "--sort=name",
        "--mtime=@0",
        "-z",
        "-C",
        "/etc",
        "apt",
    ];
    same(&words);
}

#[test]
fn git() {
    let (_directory, repository) = scratch("repository");
    let path = repository.to_str().expect("a path");
    for words in [
        &["git", "init", "-q", "-b", "main", path][..],
        &[
            "git",
            "-C",
            path,
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "one",
        ],
    ] {
        run(Command::new(tool("git")).args(&words[1..])).expect_success();
    }
    same(&["git", "-C", path, "log", "--stat"]);
    same(&["git", "-C", path, "fsck"]);
    same(&["git", "--version"]);
}

#[test]
fn node() {
    let script = "console.log([3, 1, 2].sort().join(), JSON.stringify({a: 1})); try { null.x } catch (e) { console.log(e.message) }";
    let words = ["env", "-u", "NODE_EXTRA_CA_CERTS", "node", "-e", script];
    let traced = same(&words);
    let calls = traced.trace.calls().count();
    traced.assert(calls > 50_000, &format!("{calls} calls"));
}

/// Some half a million calls within seconds: hashes make three for each, and keys of certificates many more.
#[test]
fn node_with_many_calls() {
    let script = "const { createHash } = require('crypto'); let text = 'a'; \
                  for (let i = 0; i < 5000; i++) text = createHash('sha256').update(text).digest('hex'); console.log(text)";
    let words = ["env", "-u", "NODE_EXTRA_CA_CERTS", "node", "-e", script];
    let traced = same(&words);
    let calls = traced.trace.calls().count();
    traced.assert(calls > 100_000, &format!("{calls} calls"));
}

/// Imports of many modules, some of which load libraries.
#[test]
fn python_with_imports() {
    let script = "\
import sqlite3, ssl, decimal, datetime, xml.dom.minidom, urllib.parse, email.message, struct, random
base = sqlite3.connect(':memory:')
base.execute('create table t(a)')
base.executemany('insert into t values(?)', [(i,) for i in range(500)])
print(base.execute('select sum(a) from t').fetchone(), decimal.Decimal(1) / 3, ssl.OPENSSL_VERSION)
print(datetime.datetime(2020, 1, 1).strftime('%Y-%m-%d'), struct.pack('<d', 0.5), random.Random(1).random())
print(xml.dom.minidom.parseString('<a><b c=\"d\"/></a>').toxml(), float('1.5e3'), int('12', 7))
";
    same(&[python(), "-c", script]).expect_call("strtol");
}

#[test]
fn sort_with_threads() {
    let (_directory, file) = scratch("numbers");
    let numbers: Vec<String> = (0..200_000_u64)
        .map(|i| (i * 7919 % 200_003).to_string())
        .collect();
    std::fs::write(&file, numbers.join("\n")).expect("written");
    same(&[
        "sort",
        "-n",
        "--parallel=4",
        "-S",
        "20M",
        file.to_str().expect("a path"),
    ]);
}

#[test]
fn bash() {
    let script = "f() { for i in $(seq 200); do echo \"$i $((i * i))\"; done | sort -rn | head -n 3; }; f; trap 'echo bye' EXIT; \
                  (exit 4); echo $?; x=$(printf '%05d' 7); echo ${x//0/o}; exit 6";
    same(&["bash", "-c", script]).expect_code(6);
}

#[test]
fn small_ones() {
    same(&["ls", "-l", "/usr"]);
    same(&["xz", "-k", "-c", "/etc/passwd"]);
    same(&["curl", "--version"]);
    same(&["readelf", "-a", "/bin/true"]);
    same(&["ld.bfd", "--version"]);
    same(&["groff", "-T", "utf8", "/etc/passwd"]);
}
