//! Users, capabilities and what forbids ptrace. These tests run as root and give up their rights with `setpriv`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rltrace_tests::tools::tool;
use rltrace_tests::{Build, NOTHING, Rltrace, Running, Traced, process, rltrace_binary};

/// Nobody, with no capability left to gain.
const UNPRIVILEGED: [&str; 5] = [
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
];

/// The files that another user must reach, in a directory that is open to all: `rltrace` and a program.
struct Open {
    directory: tempfile::TempDir,
}

impl Open {
    fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test must run as root");
        let directory = tempfile::tempdir().expect("a directory");
        let open = Self { directory };
        chmod(open.directory.path(), 0o755);
        copy(rltrace_binary(), &open.directory.path().join("rltrace"));
        open
    }

    fn add(&self, file: &Path, mode: u32) -> PathBuf {
        let copy = self.directory.path().join(file.file_name().expect("a file"));
        self::copy(file, &copy);
        chmod(&copy, mode);
        copy
    }

    /// The copy of `rltrace`, by way of `setpriv` with these words.
    fn rltrace(&self, setpriv: &[&str]) -> Rltrace {
        let mut words: Vec<std::ffi::OsString> = vec![tool("setpriv").into()];
        words.extend(setpriv.iter().map(std::ffi::OsString::from));
        Rltrace::new()
            .binary(&self.directory.path().join("rltrace"))
            .by_way_of(words)
    }
}

/// By a program of its own: a file that is open for writing here would be so, for a moment, in each program that another test starts just then, and could
/// not be executed (`ETXTBSY`).
fn copy(from: &Path, to: &Path) {
    let copied = Command::new(tool("cp")).arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "{copied}");
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

fn whoami() -> PathBuf {
    Build::program("whoami.c").build()
}

#[track_caller]
fn says(traced: &Traced, users: &str) {
    traced.expect_code(0);
    traced.assert(
        traced.run.out() == format!("{users}\n"),
        "the users the program runs as",
    );
    traced.expect_call("geteuid");
}

#[test]
fn an_unprivileged_tracer_runs_a_command() {
    let open = Open::new();
    let program = open.add(&whoami(), 0o755);
    says(&open.rltrace(&UNPRIVILEGED).run([&program]), "65534 65534");
}

#[test]
fn no_new_privileges() {
    let open = Open::new();
    let program = open.add(&whoami(), 0o755);
    says(&open.rltrace(&["--no-new-privs"]).run([&program]), "0 0");
    says(
        &open
            .rltrace(&[&UNPRIVILEGED[..], &["--no-new-privs"]].concat())
            .run([&program]),
        "65534 65534",
    );
}

/// The kernel runs it without its owner's rights, as under any tracer without `CAP_SYS_PTRACE`.
#[test]
fn a_setuid_program_under_an_unprivileged_tracer() {
    let open = Open::new();
    let program = open.add(&whoami(), 0o4755);
    says(&open.rltrace(&UNPRIVILEGED).run([&program]), "65534 65534");
}

#[test]
fn a_setuid_program_under_a_privileged_tracer() {
    let open = Open::new();
    let program = open.add(&whoami(), 0o4755);
    says(&Rltrace::new().run([&program]), "0 0");
}

#[test]
fn another_user() {
    let open = Open::new();
    let program = open.add(&whoami(), 0o755);
    says(
        &Rltrace::new().arg("-u").arg("nobody").run([&program]),
        "65534 65534",
    );
    let traced = Rltrace::new().arg("-u").arg("no-such-user").run([&program]);
    traced.expect_code(1);
    traced.assert(traced.run.err().contains("no-such-user"), "the user is named");
}

#[test]
fn a_process_of_another_user() {
    let open = Open::new();
    let cat = Running::start(Command::new("cat").stdin(Stdio::piped()));
    let traced = open.rltrace(&UNPRIVILEGED).pid(cat.pid()).run(NOTHING);
    traced.expect_refusal(1, &[&cat.pid().to_string(), "CAP_SYS_PTRACE"]);
    assert!(process::alive(cat.pid()) && process::held(cat.pid()).is_empty());
    cat.finish().expect_success();
}

#[test]
fn seccomp_forbids_ptrace() {
    let filter = Build::program("no_ptrace.c").build();
    let traced = Rltrace::new().by_way_of([&filter]).run(["true"]);
    traced.expect_refusal(1, &["seccomp"]);
    let cat = Running::start(Command::new("cat").stdin(Stdio::piped()));
    let traced = Rltrace::new().by_way_of([&filter]).pid(cat.pid()).run(NOTHING);
    traced.expect_refusal(1, &["seccomp", &cat.pid().to_string()]);
    cat.finish().expect_success();
}
