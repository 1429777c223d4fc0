//! The programs that are traced: source of this package, compiled when it is wanted.

use crate::error::{self, Error};
use crate::process::Line;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many functions the fixture of imports has.
pub const IMPORTS: u32 = 20_000;

/// Where the compiled programs lie.
#[derive(Clone, Debug)]
pub struct Fixtures {
    dir: PathBuf,
}

impl Fixtures {
    /// The folder that they are in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Compiles those that the comparison runs into `dir`, with the C compiler `cc`.
    ///
    /// # Errors
    ///
    /// [`Error::Status`] with the compiler's last line, [`Error::File`].
    pub fn build(dir: &Path) -> Result<Fixtures, Error> {
        let fixtures = Fixtures {
            dir: dir.to_path_buf(),
        };
        fixtures.write("work.conf", include_str!("../fixtures/work.conf"))?;
        fixtures.write("work.c", include_str!("../fixtures/work.c"))?;
        fixtures.write("loop.c", include_str!("../fixtures/loop.c"))?;
        fixtures.write("threads.c", include_str!("../fixtures/threads.c"))?;
        fixtures.library("work.c", "libwork.so")?;
        fixtures.write("deep.c", include_str!("../fixtures/deep.c"))?;
        fixtures.program("deep.c", "deep", &["libwork.so"])?;
        fixtures.program("loop.c", "loop", &["-pthread", "libwork.so"])?;
        fixtures.program("threads.c", "threads", &["-pthread", "libwork.so"])?;
        Ok(fixtures)
    }

    /// Compiles the program of the bare stops into `dir`.
    ///
    /// # Errors
    ///
    /// As [`Fixtures::build`].
    pub fn build_stops(dir: &Path) -> Result<Fixtures, Error> {
        let fixtures = Fixtures {
            dir: dir.to_path_buf(),
        };
        fixtures.write("stops.c", include_str!("../fixtures/stops.c"))?;
        fixtures.program("stops.c", "stops", &[])?;
        Ok(fixtures)
    }

    /// Compiles what only the comparison of recording needs, beside what [`Fixtures::build`] has made.
    ///
    /// # Errors
    ///
    /// As [`Fixtures::build`].
    pub fn build_recording(&self) -> Result<(), Error> {
        self.write("audit.c", include_str!("../fixtures/audit.c"))?;
        self.write("gaps.c", include_str!("../fixtures/gaps.c"))?;
        self.write("compiled.cc", include_str!("../fixtures/compiled.cc"))?;
        for (name, more) in [
            ("libaudit_enter.so", &["-O2"][..]),
            ("libaudit_exit.so", &["-O2", "-DEXIT"]),
        ] {
            let soname = format!("-Wl,-soname,{name}");
            let flags = [&["-shared", "-fPIC", &soname][..], more].concat();
            self.compile("audit.c", name, &flags)?;
        }
        self.program("gaps.c", "gaps", &["-pthread", "libwork.so"])
    }

    /// Generates and compiles the program with [`IMPORTS`] imports, each of which it calls once.
    ///
    /// # Errors
    ///
    /// As [`Fixtures::build`].
    pub fn build_imports(&self) -> Result<(), Error> {
        self.write("libmany.c", &many_functions(IMPORTS))?;
        self.write("many.c", &many_calls(IMPORTS))?;
        self.library("libmany.c", "libmany.so")?;
        self.program("many.c", "many", &["libmany.so"])
    }

    /// The path of the fixture `name`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path(name);
        fs::write(&path, text).map_err(error::file(path))
    }

    fn library(&self, source: &str, name: &str) -> Result<(), Error> {
        self.compile(
            source,
            name,
            &["-shared", "-fPIC", &format!("-Wl,-soname,{name}")],
        )
    }

    /// Lazily bound, as ltrace needs it to see calls, and found beside its library.
    fn program(&self, source: &str, name: &str, more: &[&str]) -> Result<(), Error> {
        let more: Vec<String> = more.iter().map(|word| self.in_dir(word)).collect();
        let mut flags = vec!["-Wl,-z,lazy", "-Wl,-rpath,$ORIGIN"];
        flags.extend(more.iter().map(String::as_str));
        self.compile(source, name, &flags)
    }

    fn in_dir(&self, word: &str) -> String {
        let is_library = word.starts_with("lib");
        if is_library {
            self.path(word).to_string_lossy().into_owned()
        } else {
            word.to_owned()
        }
    }

    fn compile(&self, source: &str, name: &str, flags: &[&str]) -> Result<(), Error> {
        let line = Line::new(["cc", "-O1", "-g", "-fno-inline", "-o"])
            .and([self.path(name), self.path(source)])
            .and(flags.iter().copied());
        line.run(&self.dir, Duration::from_secs(300)).map(|_| ())
    }
}

/// C source of a library of `count` functions.
#[must_use]
pub fn many_functions(count: u32) -> String {
    let mut text = String::new();
    for i in 0..count {
        let _ = writeln!(text, "int f{i:05}(int a) {{ return a + 1; }}");
    }
    text
}

/// C source of a program that calls each of the `count` functions once.
#[must_use]
pub fn many_calls(count: u32) -> String {
    let mut text = String::new();
    for i in 0..count {
        let _ = writeln!(text, "int f{i:05}(int a);");
    }
    text.push_str("int main(void)\n{\n    int sum = 0;\n");
    for i in 0..count {
        let _ = writeln!(text, "    sum = f{i:05}(sum);");
    }
    let _ = writeln!(text, "    return sum != {count};\n}}");
    text
}
