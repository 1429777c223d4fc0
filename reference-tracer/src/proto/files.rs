//! Prototype files: what is read of them, and what is wrong with them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use super::embedded::Embedded;
use super::library::Prototypes;
use super::parser::{Item, Scope, parse_line};
use super::places::{Owner, Place};
use super::types::{Prototype, Type, TypeId, Types};

/// The largest prototype file that is read: a hundred times the largest known.
const MAX_FILE: u64 = 8 << 20;
/// How deep and how often one file may import others.
const MAX_IMPORT_DEPTH: usize = 16;
const MAX_IMPORTS: usize = 256;
/// The most problems that are reported of one file.
const MAX_PROBLEMS: usize = 100;

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
pub(super) struct Module {
    pub(super) owner: Owner,
    /// The soname, whole or its beginning up to a period. `None`: any library.
    soname: Option<String>,
    typedefs: FxHashMap<Box<str>, TypeId>,
    prototypes: FxHashMap<Box<str>, Prototype>,
    aliases: FxHashMap<Box<str>, Box<str>>,
}

impl Module {
    pub(super) fn is_about(&self, sonames: &[&str]) -> bool {
        let Some(own) = &self.soname else { return true };
        let matches = |soname: &&str| {
            soname
                .strip_prefix(own.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        sonames.is_empty() || sonames.iter().any(matches)
    }

    pub(super) fn is_of_syscalls(&self) -> bool {
        self.soname.as_deref() == Some("syscalls")
    }

    pub(super) fn find(&self, name: &str) -> Option<Prototype> {
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

/// One file being read, with all that it imports.
struct Loading<'a> {
    module: Module,
    problems: &'a mut Vec<Problem>,
    imported: Vec<PathBuf>,
}

impl Prototypes {
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

#[cfg(test)]
mod tests {
    use arch_abi::Arch;

    use super::*;

    #[test]
    fn debian_ltraces_own_file_loads() {
        let mut prototypes = Prototypes::new();
        let mut problems = Vec::new();
        let path = Path::new("/etc/ltrace.conf");
        prototypes
            .load_file(path, None, &mut problems)
            .expect("the package ltrace is installed (the README's second command)");
        assert_eq!(problems, []);
        assert!(prototypes.plan(Arch::X86_64, &[], "bfd_check_format").known);
        assert!(prototypes.syscall_plan(Arch::X86_64, "read").known);
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        for (text, expected) in [
            ("int f(int", "expected `,` or `)`, found the end of the line"),
            ("int f(noun);", "unknown type `noun`"),
            ("int (int);", "expected the name of a function, found `(`"),
            ("int f(array(int));", "expected `,`, found `)`"),
            ("int f(array(int, n));", "`n` is no parameter and no field here"),
            ("int f(enum());", "expected a name in `enum(…)`, found `)`"),
            ("int f(int) errno;", "expected `(`, found the end of the line"),
            (
                "int f(int) never;",
                "expected `;`, `errno`, `fails` or `noreturn`, found `never`",
            ),
            ("int f(0x);", "expected a number, found `0x`"),
            (
                "import \"none\";",
                "can't import none: No such file or directory (os error 2)",
            ),
            ("int f(unsigned double x);", "`unsigned double` is no type"),
            (
                "typedef a = struct;\ntypedef a = hex(a);",
                "`a` was declared: expected `struct(` or `union(`",
            ),
        ] {
            let mut problems = Vec::new();
            let mut prototypes = Prototypes::new();
            prototypes.load(
                Path::new("x.conf"),
                &format!("# one\n{text}\nint g();"),
                None,
                &mut problems,
            );
            let [problem] = &problems[..] else {
                panic!("{text}: {problems:?}")
            };
            assert_eq!(
                problem.to_string(),
                format!("x.conf:{}: error: {expected}", text.lines().count() + 1),
                "{text}"
            );
            assert!(
                prototypes.plan(Arch::X86_64, &[], "g").known,
                "the line after it is used: {text}"
            );
        }
    }
}
