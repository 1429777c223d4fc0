//! How much of what this machine's programs import has a prototype, weighted by program.
//!
//! `cargo run --release -p reference-tracer --example coverage -- [--shown N] [FOLDER]...` looks at every dynamically linked
//! program below the folders (`/usr/bin`, `/usr/sbin`, `/usr/lib` and `/usr/libexec` where none is named) and prints
//! `LIBRARY<TAB>PAIRS<TAB>SHARE<TAB>WITH C++` for what is imported most, for the C library and for all; then
//! what is missed most. A pair is a program and a function that it imports; SHARE is how many in a hundred have a
//! prototype as `rltrace` looks it up; WITH C++ counts those, too, whose mangled name tells the parameters.
//! The library is the one whose symbol version the program asks for, `-` where it asks for none.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use elf_plt::{Binding, CallPoint, CalleeKind, Object};
use reference_tracer::proto::Prototypes;

const FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec"];
/// Pairs of a program and a function: all, those with a prototype, and further ones with a mangled name.
#[derive(Clone, Copy, Default)]
struct Count {
    pairs: u64,
    known: u64,
    mangled: u64,
}

impl Count {
    fn line(self, name: &str) -> String {
        let share = |part: u64| {
            let thousandths = part * 100_000 / self.pairs.max(1);
            format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
        };
        let (known, all) = (share(self.known), share(self.known + self.mangled));
        format!("{name}\t{}\t{known}\t{all}", self.pairs)
    }
}

#[derive(Default)]
struct Coverage {
    prototypes: Prototypes,
    programs: u64,
    all: Count,
    libraries: HashMap<String, Count>,
    missing: HashMap<(String, String), u64>,
}

impl Coverage {
    /// Counts what a file imports if it is a program.
    fn program(&mut self, image: &[u8]) -> Result<(), elf_plt::Error> {
        let object = Object::parse(image)?;
        if object.interpreter().is_none() || object.soname().is_some() {
            return Ok(()); // a library that can be run, such as libc.so.6 itself, is none
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let needed: Vec<String> = object.needed().iter().map(|name| text(name)).collect();
        let needed: Vec<&str> = needed.iter().map(String::as_str).collect();
        let points = object.call_points()?;
        let imported = points.iter().filter(|point| is_import(point));
        let imported: BTreeSet<(String, String)> = imported
            .filter_map(|point| {
                let library = point.version().and_then(|version| version.file);
                Some((library.map_or("-".into(), text), text(point.name()?)))
            })
            .collect();
        self.programs += 1;
        for (library, name) in imported {
            let known = self.prototypes.plan(object.arch(), &needed, &name).known;
            self.count(library, name, known);
        }
        Ok(())
    }

    fn count(&mut self, library: String, name: String, known: bool) {
        let mangled = !known && name.starts_with("_Z");
        for count in [&mut self.all, self.libraries.entry(library.clone()).or_default()] {
            count.pairs += 1;
            count.known += u64::from(known);
            count.mangled += u64::from(mangled);
        }
        if !known && !mangled {
            *self.missing.entry((library, name)).or_default() += 1;
        }
    }

    fn report(&self, shown: usize) {
        println!("# {} programs", self.programs);
        println!("LIBRARY\tPAIRS\tSHARE\tWITH C++");
        let mut libraries: Vec<_> = self.libraries.iter().collect();
        libraries.sort_by_key(|(name, count)| (std::cmp::Reverse(count.pairs), *name));
        for (name, count) in libraries.into_iter().take(shown) {
            println!("{}", count.line(name));
        }
        println!("{}", self.all.line("all"));
        println!("\n# missed most\nLIBRARY\tFUNCTION\tPROGRAMS");
        let mut missing: Vec<_> = self.missing.iter().collect();
        missing.sort_by_key(|(key, count)| (std::cmp::Reverse(**count), *key));
        for ((library, name), count) in missing.into_iter().take(shown) {
            println!("{library}\t{name}\t{count}");
        }
    }
}

/// Whether a call point calls a function of another object. A weak symbol that asks for no version may stay
/// undefined, as `__gmon_start__` does: nobody calls it.
fn is_import(point: &CallPoint<'_>) -> bool {
    let may_be_none = point.binding() == Binding::WEAK && point.version().is_none();
    point.kind() == CalleeKind::Function && point.defined_at().is_none() && !may_be_none
}

/// The regular files below a folder; links are left out, so that each file is met under its own name.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

fn main() {
    let mut named: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let mut shown = 20;
    if named.first().is_some_and(|word| word == Path::new("--shown")) {
        let number = named.get(1).and_then(|number| number.to_str()?.parse().ok());
        shown = number.expect("a number after --shown");
        named.drain(..2);
    }
    let folders = if named.is_empty() {
        FOLDERS.map(PathBuf::from).to_vec()
    } else {
        named
    };
    let mut found = Vec::new();
    for folder in &folders {
        files(folder, &mut found);
    }
    let mut seen = HashSet::new();
    let mut coverage = Coverage::default();
    for path in found {
        let Ok(file) = File::open(&path) else { continue };
        let Ok(meta) = file.metadata() else { continue };
        if meta.len() == 0 || !seen.insert((meta.dev(), meta.ino())) {
            continue;
        }
        // Most files are no ELF objects, and that is no error here.
        let image = std::fs::read(&path).unwrap_or_default();
        if image.starts_with(b"\x7fELF")
            && let Err(error) = coverage.program(&image)
        {
            eprintln!("{}: {error}", path.display());
        }
    }
    coverage.report(shown);
}
