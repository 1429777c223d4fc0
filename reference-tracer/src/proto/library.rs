//! The library of prototypes: embedded files searched in place, and files that were read.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use arch_abi::Arch;
use rustc_hash::FxHashMap;

use super::embedded::Embedded;
use super::parser::{Item, Scope, parse_line};
use super::places::{Owner, Place};
use super::plan::Plan;
use super::types::{Int, Lens, Param, Prototype, Type, TypeId, Types, Width};

/// An error in a prototype file. Reading went on after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, counted from one.
    pub line: usize,
    /// What was expected, and what was found.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: error: {}", self.file, self.line, self.message)
    }
}

/// What a file says about the functions of one library, or of any.
#[derive(Debug)]
struct Module {
    owner: Owner,
    /// The soname, whole or its beginning up to a period. `None`: any library.
    soname: Option<String>,
    typedefs: FxHashMap<Box<str>, TypeId>,
    prototypes: FxHashMap<Box<str>, Prototype>,
    aliases: FxHashMap<Box<str>, Box<str>>,
}

impl Module {
    fn is_about(&self, sonames: &[&str]) -> bool {
        let Some(own) = &self.soname else { return true };
        let matches = |soname: &&str| {
            soname
                .strip_prefix(own.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        sonames.is_empty() || sonames.iter().any(matches)
    }

    fn is_of_syscalls(&self) -> bool {
        self.soname.as_deref() == Some("syscalls")
    }

    fn find(&self, name: &str) -> Option<Prototype> {
        if let Some(found) = self.prototypes.get(name) {
            return Some(found.clone());
        }
        let old = self.aliases.get(name)?;
        Some(Prototype {
            name: name.into(),
            ..self.prototypes.get(old)?.clone()
        })
    }
}

/// The types that a file defines, and behind them the embedded ones.
struct Layered<'a> {
    own: &'a FxHashMap<Box<str>, TypeId>,
    embedded: &'a mut Embedded,
}

impl Scope for Layered<'_> {
    fn typedef(&mut self, name: &str, types: &mut Types) -> Option<TypeId> {
        let own = self.own.get(name).copied();
        own.or_else(|| self.embedded.typedef(name, types))
    }
}

/// All prototypes: those of files and the embedded ones, in the order that `prototypes/LANGUAGE.md`
/// gives ("Which prototype is used").
#[derive(Debug, Default)]
pub struct Prototypes {
    types: Types,
    embedded: Embedded,
    modules: Vec<Module>,
    /// Whether embedded prototypes are left out.
    only_loaded: bool,
}

/// The largest prototype file that is read: a hundred times the largest known.
const MAX_FILE: u64 = 8 << 20;
/// How deep and how often one file may import others.
const MAX_IMPORT_DEPTH: usize = 16;
const MAX_IMPORTS: usize = 256;
/// The most problems that are reported of one file.
const MAX_PROBLEMS: usize = 100;

/// A function whose prototype is looked for, and the libraries that may provide it, in search order.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    sonames: &'a [&'a str],
    name: &'a str,
}

/// One that may know a function's prototype.
type Source = fn(&mut Prototypes, Wanted<'_>) -> Option<Prototype>;

/// Who is asked for a prototype, in this order: the first answer is taken (`prototypes/LANGUAGE.md`,
/// "Which prototype is used"). What is inferred of a function (from debug information, a mangled name,
/// its code) belongs behind all of these, which were written down to be read.
const SOURCES: [Source; 7] = [
    |all, wanted| all.in_files(Owner::User, true, wanted),
    |all, wanted| {
        all.embedded
            .in_libraries(wanted.sonames, wanted.name, &mut all.types)
    },
    |all, wanted| all.in_files(Owner::User, false, wanted),
    |all, wanted| all.embedded.in_curated(wanted.name, &mut all.types),
    |all, wanted| all.in_files(Owner::System, true, wanted),
    |all, wanted| {
        all.embedded
            .in_generated(wanted.sonames, wanted.name, &mut all.types)
    },
    |all, wanted| all.in_files(Owner::System, false, wanted),
];

/// One file being read, with all that it imports.
struct Loading<'a> {
    module: Module,
    problems: &'a mut Vec<Problem>,
    imported: Vec<PathBuf>,
}

impl Prototypes {
    /// The embedded prototypes. Nothing is parsed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a prototype file of the user's. It goes before all that was loaded before and before
    /// the embedded ones. `soname`: it is only about functions of that library; `None`: of any.
    ///
    /// Problems within the file are appended to `problems`, and its other lines are used.
    ///
    /// # Errors
    /// The file can't be read, or it is larger than any prototype file.
    pub fn load_file(
        &mut self,
        path: &Path,
        soname: Option<&str>,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        let text = read(path)?;
        self.load(path, &text, soname, problems);
        Ok(())
    }

    /// Reads the text of a prototype file as [`load_file`](Self::load_file) does; `path` names it in
    /// problems, and what it imports is looked for beside it.
    pub fn load(&mut self, path: &Path, text: &str, soname: Option<&str>, problems: &mut Vec<Problem>) {
        self.load_as(Owner::User, path, text, soname, problems);
    }

    fn load_as(
        &mut self,
        owner: Owner,
        path: &Path,
        text: &str,
        soname: Option<&str>,
        problems: &mut Vec<Problem>,
    ) {
        let module = Module {
            owner,
            soname: soname.map(Into::into),
            typedefs: FxHashMap::default(),
            prototypes: FxHashMap::default(),
            aliases: FxHashMap::default(),
        };
        let mut loading = Loading {
            module,
            problems,
            imported: Vec::new(),
        };
        self.read_into(&mut loading, path, text, 0);
        self.modules.push(loading.module);
    }

    /// Reads every `*.conf` file of a folder, in the order of their names: `NAME.conf` is about the
    /// library whose soname is `NAME` or begins with `NAME` and a period.
    ///
    /// # Errors
    /// The folder or one of its files can't be read.
    pub fn load_dir(&mut self, path: &Path, problems: &mut Vec<Problem>) -> io::Result<()> {
        for file in files_of(path)? {
            self.load_file(&file, library_of(&file).as_deref(), problems)?;
        }
        Ok(())
    }

    /// Reads what there is in these places; the first goes before the others. Those of the user's go
    /// before the embedded prototypes, those of the machine's stand behind them. A place that is not
    /// there is none; what can't be read is returned with the reason, and the others are read.
    pub fn load_places(
        &mut self,
        places: &[Place],
        problems: &mut Vec<Problem>,
    ) -> Vec<(PathBuf, io::Error)> {
        let mut unread = Vec::new();
        for place in places.iter().rev() {
            if place.path.is_file() {
                self.load_place(place.owner, &place.path, None, problems, &mut unread);
            } else if place.path.is_dir() {
                match files_of(&place.path) {
                    Ok(files) => {
                        for file in files {
                            let soname = library_of(&file);
                            self.load_place(place.owner, &file, soname.as_deref(), problems, &mut unread);
                        }
                    }
                    Err(error) => unread.push((place.path.clone(), error)),
                }
            }
        }
        unread
    }

    fn load_place(
        &mut self,
        owner: Owner,
        file: &Path,
        soname: Option<&str>,
        problems: &mut Vec<Problem>,
        unread: &mut Vec<(PathBuf, io::Error)>,
    ) {
        // Opening a FIFO would wait for its writer.
        if !file.is_file() {
            return;
        }
        match read(file) {
            Ok(text) => self.load_as(owner, file, &text, soname, problems),
            Err(error) => unread.push((file.to_owned(), error)),
        }
    }

    fn read_into(&mut self, loading: &mut Loading<'_>, path: &Path, text: &str, depth: usize) {
        let mut found = 0;
        for (index, line) in text.lines().enumerate() {
            if let Err(message) = self.read_line(loading, path, line, depth) {
                found += 1;
                let file = path.display().to_string();
                if found > MAX_PROBLEMS {
                    let message = "too many errors: the rest of this file is left out".into();
                    loading.problems.push(Problem {
                        file,
                        line: index + 1,
                        message,
                    });
                    return;
                }
                loading.problems.push(Problem {
                    file,
                    line: index + 1,
                    message,
                });
            }
        }
    }

    fn read_line(
        &mut self,
        loading: &mut Loading<'_>,
        path: &Path,
        line: &str,
        depth: usize,
    ) -> Result<(), String> {
        let module = &mut loading.module;
        let mut scope = Layered {
            own: &module.typedefs,
            embedded: &mut self.embedded,
        };
        match parse_line(line, &mut self.types, &mut scope)? {
            None => {}
            Some(Item::Prototype(prototype)) => {
                module.prototypes.insert(prototype.name.clone(), prototype);
            }
            Some(Item::Alias { new, old }) => {
                module.aliases.insert(new, old);
            }
            Some(Item::Typedef(name, ty)) => self.define(module, name, ty)?,
            Some(Item::Import(file)) => self.import(loading, path, &file, depth)?,
        }
        Ok(())
    }

    fn define(&mut self, module: &mut Module, name: Box<str>, ty: Option<TypeId>) -> Result<(), String> {
        let declared = module
            .typedefs
            .get(&name)
            .copied()
            .filter(|&declared| *self.types.get(declared) == Type::Opaque);
        match (declared, ty) {
            (Some(_), None) => {} // declared again
            (None, None) => {
                module.typedefs.insert(name, self.types.add(Type::Opaque));
            }
            (Some(declared), Some(ty)) => {
                let definition = self.types.get(ty).clone();
                if !matches!(definition, Type::Struct(_) | Type::Union(_)) {
                    return Err(format!("`{name}` was declared: expected `struct(` or `union(`"));
                }
                self.types.define(declared, definition);
            }
            (None, Some(ty)) => {
                module.typedefs.insert(name, ty);
            }
        }
        Ok(())
    }

    fn import(
        &mut self,
        loading: &mut Loading<'_>,
        from: &Path,
        file: &str,
        depth: usize,
    ) -> Result<(), String> {
        if depth == MAX_IMPORT_DEPTH || loading.imported.len() == MAX_IMPORTS {
            return Err("too many imports".into());
        }
        let path = from.parent().unwrap_or(Path::new("")).join(file);
        let path = [path.clone(), PathBuf::from(format!("{}.conf", path.display()))]
            .into_iter()
            .find(|path| path.is_file())
            .unwrap_or(path);
        if path == from || loading.imported.contains(&path) {
            return Ok(());
        }
        let text = read(&path).map_err(|error| format!("can't import {}: {error}", path.display()))?;
        loading.imported.push(path.clone());
        self.read_into(loading, &path, &text, depth + 1);
        Ok(())
    }

    /// From now on functions are known by the files that were read, and not by the embedded ones.
    pub fn only_loaded(&mut self) {
        self.only_loaded = true;
    }

    /// Whether functions are known by the files that were read, and by nothing else.
    #[must_use]
    pub fn is_only_loaded(&self) -> bool {
        self.only_loaded
    }

    /// How to show calls of `name` under `arch`. `sonames` are the libraries that may provide it, in
    /// search order; where none of them has it, all are searched. An unknown function gets a plan
    /// that shows four words and a word.
    pub fn plan(&mut self, arch: Arch, sonames: &[&str], name: &str) -> Plan {
        if let Some(prototype) = self.find(sonames, name) {
            Plan::new(&self.types, prototype, arch, true)
        } else {
            let unknown = self.unknown(name, 4);
            Plan::new(&self.types, unknown, arch, false)
        }
    }

    fn find(&mut self, sonames: &[&str], name: &str) -> Option<Prototype> {
        let wanted = Wanted { sonames, name };
        if self.only_loaded {
            let found = self.in_files(Owner::User, true, wanted);
            return found.or_else(|| self.in_files(Owner::User, false, wanted));
        }
        SOURCES.iter().find_map(|source| source(self, wanted))
    }

    /// What the files of an owner say, the last that was read first: those about the wanted libraries,
    /// or the others.
    fn in_files(&self, owner: Owner, about: bool, wanted: Wanted<'_>) -> Option<Prototype> {
        let mut modules = self.modules.iter().rev().filter(|module| {
            module.owner == owner && !module.is_of_syscalls() && module.is_about(wanted.sonames) == about
        });
        modules.find_map(|module| module.find(wanted.name))
    }

    /// Reads the built-in descriptions of system calls, which later files go before. Gives what is wrong with
    /// them, which is nothing.
    pub fn describe_syscalls(&mut self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let text = include_str!("../../prototypes/syscalls.conf");
        self.load(Path::new("syscalls.conf"), text, Some("syscalls"), &mut problems);
        problems
    }

    /// How to show system call `name` under `arch`: as `SYS_name` or, in a file `syscalls.conf`, as
    /// `name` of the user's files says, otherwise six words. Its record's
    /// [`words`](crate::value::RawCall::words) are the arguments of the system call. What is `name@i386` is for i386 alone.
    pub fn syscall_plan(&mut self, arch: Arch, name: &str) -> Plan {
        let old = format!("SYS_{name}");
        let own = (arch == Arch::I386).then(|| format!("{name}@i386"));
        let of = |owner| {
            let mut modules = self.modules.iter().rev().filter(|module| module.owner == owner);
            modules.find_map(|module| {
                if !module.is_of_syscalls() {
                    return module.find(&old);
                }
                let own = own.as_deref().and_then(|own| module.find(own));
                own.or_else(|| module.find(name))
            })
        };
        // The built-in ones count as the user's first file.
        let found = of(Owner::User).or_else(|| of(Owner::System));
        let (prototype, known) = match found {
            Some(found) => (found, true),
            None => (self.unknown(name, 6), false),
        };
        Plan::of_syscall(&self.types, prototype, arch, known)
    }

    fn unknown(&mut self, name: &str, words: usize) -> Prototype {
        let word = self.types.add(Type::Int(Int {
            width: Width::Word,
            signed: true,
            character: false,
        }));
        let word = self.types.add(Type::Lens(Lens::Guess, word));
        Prototype {
            name: name.into(),
            ret: word,
            params: vec![
                Param {
                    name: None,
                    ty: word,
                    direction: super::Direction::In,
                    pack: None,
                    when: None
                };
                words
            ],
            ellipsis: false,
            noreturn: false,
            failure: None,
            errno: false,
        }
    }

    /// The types of all plans made so far.
    #[must_use]
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// The types, for prototypes that come from elsewhere.
    pub fn types_mut(&mut self) -> &mut Types {
        &mut self.types
    }

    /// The embedded line about a function of a library, found by binary search; nothing is parsed. An
    /// `alias` names another function of the same library.
    ///
    /// ```
    /// # use reference_tracer::proto::Prototypes;
    /// let line = Prototypes::embedded_line("libz.so.1", "adler32");
    /// assert_eq!(line, Some("ulong adler32(ulong adler, string[len] buf, uint len);"));
    /// ```
    #[must_use]
    pub fn embedded_line(soname: &str, name: &str) -> Option<&'static str> {
        Embedded::line(soname, name)
    }

    /// Every embedded prototype as it is used for its library, sorted by soname and function: soname,
    /// function, and the line that describes it, which means the same in a prototype file.
    pub fn embedded() -> impl Iterator<Item = (&'static str, &'static str, Cow<'static, str>)> {
        Embedded::lines()
    }
}

/// The `*.conf` files of a folder, by name.
fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .filter(|file: &io::Result<PathBuf>| {
            file.as_ref().map_or(true, |file| {
                file.extension().is_some_and(|extension| extension == "conf")
            })
        })
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// The library that a file of a folder is about.
fn library_of(file: &Path) -> Option<String> {
    Some(file.file_stem()?.to_string_lossy().into_owned())
}

/// The text of a prototype file. Bytes that are no UTF-8 are replaced: they can't mean anything.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let len = File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if len as u64 > MAX_FILE {
        return Err(io::Error::other(format!("larger than {MAX_FILE} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
