//! Running the tracer itself.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::fixture::{profile_directory, target_directory};
use crate::run::{Run, Running, run, tail};
use crate::tools::tool;
use crate::trace::Trace;

/// The binary under test: `$RLTRACE_BIN`, or `rltrace` as cargo builds it now in the profile of the running test.
///
/// Cargo itself holds the lock that makes concurrent builds wait for each other.
pub fn rltrace_binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("RLTRACE_BIN") {
        Some(named) => std::fs::canonicalize(&named)
            .unwrap_or_else(|error| panic!("RLTRACE_BIN {}: {error}", named.display())),
        None => build(),
    })
}

fn build() -> PathBuf {
    let target = target_directory();
    let profile = profile_directory().unwrap_or_else(|| target.join("debug"));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| tool("cargo").into()));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "reference-tracer",
        "--bin",
        "rltrace",
        "--target-dir",
    ]);
    cargo.arg(&target).current_dir(env!("CARGO_MANIFEST_DIR"));
    let name = profile.file_name().expect("a profile has a name").to_owned();
    cargo
        .arg("--profile")
        .arg(if name == "debug" { OsStr::new("dev") } else { &name });
    // What cargo tells a test about that test's own package is not for the package built here.
    for (variable, _) in std::env::vars_os().filter(|(name, _)| is_cargos_word(name)) {
        cargo.env_remove(variable);
    }
    run(&mut cargo).expect_success();
    profile.join("rltrace")
}

fn is_cargos_word(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST") || name == "LD_LIBRARY_PATH"
}

/// No command, where there is one by `-p`.
pub const NOTHING: [&OsStr; 0] = [];

/// One run of `rltrace`, with its trace written to a file.
///
/// `$RLTRACE_ENGINE` is the engine of those runs that name none (`--engine`).
#[derive(Clone, Debug, Default)]
pub struct Rltrace {
    options: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    prefix: Vec<OsString>,
    own_output: bool,
    with_input: bool,
    binary: Option<PathBuf>,
    ends_of_trace: bool,
}

/// What `rltrace` did: how it ended, and the trace it wrote.
#[derive(Debug)]
pub struct Traced {
    /// What the command and `rltrace` itself wrote, and the exit status.
    pub run: Run,
    /// The trace.
    pub trace: Trace,
}

impl Rltrace {
    /// `rltrace` with no option but the `-o` that the harness adds.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more option or operand of an option.
    #[must_use]
    pub fn arg(mut self, option: impl AsRef<OsStr>) -> Self {
        self.options.push(option.as_ref().to_owned());
        self
    }

    /// More of them.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(self, options: impl IntoIterator<Item = S>) -> Self {
        options.into_iter().fold(self, Self::arg)
    }

    /// `-e FILTER`.
    #[must_use]
    pub fn filter(self, filter: &str) -> Self {
        self.arg("-e").arg(filter)
    }

    /// `--engine NAME`.
    #[must_use]
    pub fn engine(self, name: &str) -> Self {
        self.arg("--engine").arg(name)
    }

    /// `-f`: new processes are followed.
    #[must_use]
    pub fn follow(self) -> Self {
        self.arg("-f")
    }

    /// `-p PID`.
    #[must_use]
    pub fn pid(self, pid: impl std::fmt::Display) -> Self {
        self.arg("-p").arg(format!("{pid}"))
    }

    /// A variable of the environment of `rltrace` and of what it runs.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs `rltrace` by way of another command (`setpriv …`), whose words come first.
    #[must_use]
    pub fn by_way_of<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.prefix = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// A copy of the binary under test, for a user who cannot reach the original.
    #[must_use]
    pub fn binary(mut self, copy: &Path) -> Self {
        self.binary = Some(copy.to_owned());
        self
    }

    /// No `-o`: the caller names its own output, or the trace goes to standard error.
    #[must_use]
    pub fn own_output(mut self) -> Self {
        self.own_output = true;
        self
    }

    /// Of the trace only the beginning and the end are looked at when the run is over: the target calls all the time, and what matters is not how
    /// often.
    #[must_use]
    pub fn ends_of_trace(mut self) -> Self {
        self.ends_of_trace = true;
        self
    }

    /// Standard input is a pipe ([`Running::stdin`]) instead of `/dev/null`.
    #[must_use]
    pub fn with_input(mut self) -> Self {
        self.with_input = true;
        self
    }

    /// Runs a command under the tracer to its end.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Traced {
        self.start(command).finish()
    }

    /// Runs a command as it would be run under the tracer, but without it.
    #[track_caller]
    pub fn natively<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Run {
        let mut words = command.into_iter();
        let mut process = Command::new(words.next().expect("a command"));
        process.args(words);
        process.envs(self.environment.iter().map(|(name, value)| (name, value)));
        run(&mut process)
    }

    /// What `$RLTRACE_ENGINE` asks for, unless the test has its own idea.
    fn usual_engine(&self) -> Vec<OsString> {
        match std::env::var_os("RLTRACE_ENGINE") {
            Some(name)
                if !self
                    .options
                    .iter()
                    .any(|option| option == "--engine" || option == "--replay") =>
            {
                vec!["--engine".into(), name]
            }
            _ => Vec::new(),
        }
    }

    /// Starts the tracer beside the test (with `-p`: `command` may be empty).
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Background {
        let directory = tempfile::tempdir().expect("a directory for the trace");
        // The tracer may run as another user (`by_way_of`), who must be able to write here.
        open_to_all(directory.path());
        let file = directory.path().join("trace");
        let mut words = self.prefix.clone();
        words.push(self.binary.as_ref().unwrap_or_else(|| rltrace_binary()).into());
        if !self.own_output {
            words.extend(["-o".into(), file.clone().into()]);
        }
        words.extend(self.usual_engine());
        words.extend(self.options.iter().cloned());
        let mut command = command.into_iter().peekable();
        if command.peek().is_some() {
            words.push("--".into());
        }
        words.extend(command.map(|word| word.as_ref().to_owned()));
        let mut process = Command::new(&words[0]);
        process.args(&words[1..]).stdin(if self.with_input {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        process.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Background {
            running: Running::start(&mut process),
            file,
            ends_of_trace: self.ends_of_trace,
            _directory: directory,
        }
    }
}

fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory, mode).expect("chmod of an own directory");
}

/// A tracer that runs beside the test. Dropping it kills it.
#[derive(Debug)]
pub struct Background {
    /// The process.
    pub running: Running,
    file: PathBuf,
    ends_of_trace: bool,
    _directory: TempDir,
}

/// How much is read of the beginning and of the end of a trace of which no more is wanted.
const ENDS: u64 = 256 * 1024;

/// A trace, or its first and last `most` bytes, whole lines both: what began in the one does not end in the other.
fn read_trace(file: &Path, most: u64) -> std::io::Result<Trace> {
    let mut file = std::fs::File::open(file)?;
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    if len / 2 <= most {
        file.read_to_end(&mut bytes)?;
        return Ok(Trace::parse(&String::from_utf8_lossy(&bytes)));
    }
    (&file).take(most).read_to_end(&mut bytes)?;
    let first = String::from_utf8_lossy(&bytes).into_owned();
    let mut trace = Trace::parse(first.rsplit_once('\n').map_or("", |(lines, _)| lines));
    bytes.clear();
    file.seek(SeekFrom::Start(len - most))?;
    file.read_to_end(&mut bytes)?;
    let last = String::from_utf8_lossy(&bytes);
    let last = Trace::parse(last.split_once('\n').map_or("", |(_, lines)| lines));
    trace.text.push('\n');
    trace.text.push_str(&last.text);
    trace.events.extend(last.events);
    Ok(trace)
}

/// How much of a growing file is searched at once.
const PIECE: u64 = 1 << 20;

/// How far a growing file was searched.
#[derive(Default)]
struct Seen {
    until: u64,
    end: Vec<u8>,
}

impl Seen {
    /// Whether `needle` is in the file, not before what earlier calls have looked at.
    fn holds(&mut self, file: &Path, needle: &str) -> bool {
        let Ok(mut file) = std::fs::File::open(file) else {
            return false;
        };
        file.seek(SeekFrom::Start(self.until))
            .expect("a trace can be read");
        loop {
            let mut bytes = std::mem::take(&mut self.end);
            // In pieces, and no longer than needed: who writes more quickly than this reads would keep it from the file's end for ever.
            let read = (&file)
                .take(PIECE)
                .read_to_end(&mut bytes)
                .expect("a trace can be read");
            self.until += u64::try_from(read).expect("a length");
            let found = bytes.windows(needle.len()).any(|text| text == needle.as_bytes());
            self.end = bytes.split_off(bytes.len().saturating_sub(needle.len()));
            if found || read == 0 {
                return found;
            }
        }
    }
}

impl Background {
    /// Waits until the trace holds `needle`. What was looked at once is not read again: a trace may grow by much.
    #[track_caller]
    pub fn wait_for(&mut self, needle: &str) {
        let start = std::time::Instant::now();
        let mut seen = Seen::default();
        while !seen.holds(&self.file, needle) {
            let over = self.running.ended() && !seen.holds(&self.file, needle);
            let late = start.elapsed() > crate::HANG;
            assert!(
                !over && !late,
                "{needle:?} never came\n{}{}",
                tail(&read_trace(&self.file, ENDS).unwrap_or_default().text, 40),
                self.running.said()
            );
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Sends the tracer a signal and waits for its end.
    #[track_caller]
    pub fn end_by(self, signal: Signal) -> Traced {
        self.running.signal(signal);
        self.finish()
    }

    /// Waits for the end of the tracer, and reads the trace.
    #[track_caller]
    pub fn finish(self) -> Traced {
        let Self {
            running,
            file,
            ends_of_trace,
            _directory,
        } = self;
        let run = running.finish();
        let most = if ends_of_trace { ENDS } else { u64::MAX };
        let trace = read_trace(&file, most).unwrap_or_default();
        Traced { run, trace }
    }
}

impl Traced {
    /// Fails with the trace's tail unless `fact` holds.
    #[track_caller]
    pub fn assert(&self, fact: bool, what: &str) {
        assert!(fact, "{what}\n{}", self.tail());
    }

    /// Fails with the trace's tail unless the command's exit status is `code` (128 + N for signal N).
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        let seen = self.run.code();
        assert!(
            seen == code,
            "exit status {seen} instead of {code}\n{}",
            self.tail()
        );
        self
    }

    /// Fails unless it ended with `code` and one line on standard error, `rltrace: …`, that holds every one of
    /// `words`.
    #[track_caller]
    pub fn expect_refusal(&self, code: i32, words: &[&str]) -> &Self {
        self.expect_code(code);
        let line = self.run.err();
        self.assert(line.lines().count() == 1, "exactly one line on standard error");
        self.assert(line.starts_with("rltrace: "), "the line says who speaks");
        for word in words {
            self.assert(line.contains(word), &format!("the line names {word:?}"));
        }
        self
    }

    /// What `rltrace` itself said on standard error, and what the command did.
    pub fn own_words(&self) -> (Vec<String>, Vec<String>) {
        let lines = self.run.err();
        lines.lines().map(str::to_owned).partition(|line| is_own(line))
    }

    /// Fails unless each line of the trace is of a known form.
    #[track_caller]
    pub fn expect_known_lines(&self) -> &Self {
        let others = self.trace.others();
        let (count, first) = (others.len(), others.first());
        self.assert(
            count == 0,
            &format!("{count} lines of no known form, the first: {first:?}"),
        );
        self
    }

    /// The number of calls that a table has for a function, if its first column is `calls` and its last one `name`.
    #[track_caller]
    pub fn counted(&self, function: &str) -> u64 {
        let rows = || self.trace.text.lines();
        let row = rows().find(|row| row.split_whitespace().last() == Some(function));
        let calls = row.and_then(|row| row.split_whitespace().next()?.parse().ok());
        calls.unwrap_or_else(|| panic!("no row for {function}\n{}", self.tail()))
    }

    /// Fails unless `name` was called at least once.
    #[track_caller]
    pub fn expect_call(&self, name: &str) -> &Self {
        self.assert(
            self.trace.calls_of(name).next().is_some(),
            &format!("no call of {name}"),
        );
        self
    }

    /// The command, the end of the trace, and both outputs, for messages.
    pub fn tail(&self) -> String {
        format!(
            "--- {}\n--- trace\n{}{}",
            self.run.command,
            tail(&self.trace.text, 40),
            self.run.both()
        )
    }
}

/// Whether a line of standard error is the tracer's: its messages, and those of `-D`.
fn is_own(line: &str) -> bool {
    let levels = ["ERROR ", "WARN ", "INFO ", "DEBUG ", "TRACE "];
    line.starts_with("rltrace: ") || levels.iter().any(|level| line.trim_start().starts_with(level))
}
