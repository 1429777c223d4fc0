//! Programs and libraries compiled at test time from `tests/fixtures`.
//!
//! What was built is kept in the target directory, keyed by the content of the source, of every header
//! beside it, the compiler's version, the flags and the libraries; so a test run compiles only what changed.
//! Two tests may build the same thing at once: each writes a file of its own and renames it into place.

use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::run;
use crate::tools::tool;

/// A fixture to be built: a source in `tests/fixtures`, a compiler, flags, and what is done afterwards.
///
/// ```
/// use rltrace_tests::{Build, run};
///
/// let library = Build::library("callee.c").build();
/// let program = Build::program("thousand.c").flags(["-O1", "-Wl,-z,now"]).uses(&library).build();
/// let ran = run(&mut std::process::Command::new(program));
/// assert_eq!(ran.expect_success().out().lines().count(), 1000);
/// ```
#[derive(Clone, Debug)]
pub struct Build {
    source: PathBuf,
    compiler: OsString,
    flags: Vec<OsString>,
    libraries: Vec<PathBuf>,
    shared: bool,
    name: Option<String>,
    after: Vec<Vec<String>>,
    transform: Option<Transform>,
}

/// A change to the finished file that no tool makes.
#[derive(Clone, Copy, Debug)]
struct Transform {
    name: &'static str,
    apply: fn(&mut Vec<u8>),
}

impl Build {
    /// A program from `tests/fixtures/SOURCE`. The compiler follows the suffix: `cc`, `g++` (`.cc`), `rustc` (`.rs`).
    pub fn program(source: &str) -> Self {
        let path = fixtures().join(source);
        assert!(path.is_file(), "no fixture {}", path.display());
        let compiler = match path.extension().and_then(OsStr::to_str) {
            Some("cc") => "g++",
            Some("rs") => "rustc",
            _ => "cc",
        };
        Self {
            source: path,
            compiler: compiler.into(),
            flags: Vec::new(),
            libraries: Vec::new(),
            shared: false,
            name: None,
            after: Vec::new(),
            transform: None,
        }
    }

    /// A shared library from `tests/fixtures/SOURCE`, named `libSTEM.so`, with that name as its SONAME.
    pub fn library(source: &str) -> Self {
        let mut build = Self::program(source);
        build.shared = true;
        build
    }

    /// A program from `tests/fixtures/SOURCE` that calls the library of `callee.c`.
    pub fn caller(source: &str) -> Self {
        Self::program(source).uses(&Self::library("callee.c").build())
    }

    /// Another compiler than the one that the suffix chose.
    #[must_use]
    pub fn compiler(mut self, compiler: &str) -> Self {
        self.compiler = compiler.into();
        self
    }

    /// More flags, after those given before.
    #[must_use]
    pub fn flags<S: AsRef<OsStr>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.flags
            .extend(flags.into_iter().map(|flag| flag.as_ref().to_owned()));
        self
    }

    /// Links with a built library, found at run time beside wherever it lies (`-rpath`).
    #[must_use]
    pub fn uses(mut self, library: &Path) -> Self {
        self.libraries.push(library.to_owned());
        self
    }

    /// Another file name than the source's stem.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Runs a tool on the finished file, its path as the last argument (`["strip", "-s"]`).
    #[must_use]
    pub fn then<const N: usize>(mut self, command: [&str; N]) -> Self {
        self.after
            .push(command.iter().map(|&word| word.to_owned()).collect());
        self
    }

    /// Edits the finished file's bytes; `name` stands for the edit in the cache key.
    #[must_use]
    pub fn edited(mut self, name: &'static str, apply: fn(&mut Vec<u8>)) -> Self {
        self.transform = Some(Transform { name, apply });
        self
    }

    /// The finished file, built now or earlier. Fails with the compiler's own words.
    #[track_caller]
    pub fn build(&self) -> PathBuf {
        let directory = target_directory()
            .join("fixtures")
            .join(format!("{:016x}", self.key()));
        let output = directory.join(self.file_name());
        if !output.exists() {
            std::fs::create_dir_all(&directory).expect("the fixture cache");
            let scratch = tempfile::tempdir_in(&directory).expect("a scratch directory in the cache");
            let made = scratch.path().join(self.file_name());
            self.make(&made);
            std::fs::rename(&made, &output).expect("rename within one directory");
        }
        output
    }

    fn make(&self, output: &Path) {
        run(&mut self.command(output)).expect_success();
        for words in &self.after {
            run(Command::new(tool(&words[0])).args(&words[1..]).arg(output)).expect_success();
        }
        if let Some(transform) = self.transform {
            let mut bytes = std::fs::read(output).expect("what was just built");
            (transform.apply)(&mut bytes);
            std::fs::write(output, bytes).expect("write back");
        }
    }

    fn command(&self, output: &Path) -> Command {
        let mut command = Command::new(self.compiler_path());
        if self.is_rust() {
            command
                .args(["--edition", "2024"])
                .args(&self.flags)
                .arg("-o")
                .arg(output)
                .arg(&self.source);
            return command;
        }
        // Warnings in a fixture are usually mistakes in what it is meant to show.
        command.args(["-Wall", "-g"]);
        if self.shared {
            let soname = format!("-Wl,-soname,{}", self.file_name());
            command.args(["-shared", "-fPIC", &soname]);
        }
        command.arg("-o").arg(output).args(&self.flags).arg(&self.source);
        for library in &self.libraries {
            let directory = library.parent().expect("a built library lies in a directory");
            let mut rpath = OsString::from("-Wl,-rpath,");
            rpath.push(directory);
            command.arg(library).arg(rpath);
        }
        command.args(["-pthread", "-ldl"]);
        command
    }

    fn compiler_path(&self) -> PathBuf {
        tool(self.compiler.to_str().expect("a command's name"))
    }

    fn is_rust(&self) -> bool {
        self.compiler == "rustc"
    }

    fn file_name(&self) -> String {
        let stem = self.source.file_stem().expect("a file").to_string_lossy();
        match (&self.name, self.shared) {
            (Some(name), _) => name.clone(),
            (None, true) => format!("lib{stem}.so"),
            (None, false) => stem.into_owned(),
        }
    }

    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        read(&self.source).hash(&mut hasher);
        for header in headers() {
            read(&header).hash(&mut hasher);
        }
        self.compiler_version().hash(&mut hasher);
        self.flags.hash(&mut hasher);
        (self.shared, &self.name, &self.after).hash(&mut hasher);
        self.transform.map(|transform| transform.name).hash(&mut hasher);
        for library in &self.libraries {
            library.hash(&mut hasher); // its path holds its own key
        }
        hasher.finish()
    }

    fn compiler_version(&self) -> Vec<u8> {
        run(Command::new(self.compiler_path()).arg("--version"))
            .expect_success()
            .stdout
            .clone()
    }
}

/// Where the sources lie.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn headers() -> Vec<PathBuf> {
    let mut headers: Vec<PathBuf> = std::fs::read_dir(fixtures())
        .expect("tests/fixtures")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|suffix| suffix == "h" || suffix == "hh")
        })
        .collect();
    headers.sort();
    headers
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Cargo's target directory: the running test lies in `TARGET/PROFILE/deps`, a doc example does not, so that
/// the workspace's own is the last resort.
pub(crate) fn target_directory() -> PathBuf {
    profile_directory()
        .and_then(|profile| profile.parent().map(Path::to_owned))
        .unwrap_or_else(|| {
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(
                || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
                PathBuf::from,
            )
        })
}

/// `TARGET/PROFILE` of the running test.
pub(crate) fn profile_directory() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let deps = test.parent()?;
    (deps.file_name()? == "deps").then(|| deps.parent().map(Path::to_owned))?
}
