//! The library of prototypes: embedded files searched in place, and files that were read. Who is asked for a
//! prototype, and in which order.

use std::borrow::Cow;
use std::path::Path;

use arch_abi::Arch;

use super::embedded::Embedded;
use super::files::{Module, Problem};
use super::places::Owner;
use super::plan::Plan;
use super::tables;
use super::types::{Lens, Param, Prototype, Types};

/// All prototypes: those of files and the embedded ones, in the order that `prototypes/LANGUAGE.md`
/// gives ("Which prototype is used").
#[derive(Debug, Default)]
pub struct Prototypes {
    pub(super) types: Types,
    pub(super) embedded: Embedded,
    /// What files say, as they were read.
    pub(super) modules: Vec<Module>,
    /// Whether embedded prototypes are left out.
    only_loaded: bool,
}

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

impl Prototypes {
    /// The embedded prototypes. Nothing is parsed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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
        let word = self.types.word(Lens::Guess);
        Prototype::new(name, word, vec![Param::new(word); words])
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
        tables::line(soname, name)
    }

    /// Every embedded prototype as it is used for its library, sorted by soname and function: soname,
    /// function, and the line that describes it, which means the same in a prototype file.
    pub fn embedded() -> impl Iterator<Item = (&'static str, &'static str, Cow<'static, str>)> {
        tables::lines()
    }
}
