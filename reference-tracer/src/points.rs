//! The call points that were selected in this run, each under a small number.
//!
//! Records and traps carry the number; what is called, and by whom, is looked up only where it is
//! printed.

use std::borrow::Cow;
use std::rc::Rc;

/// A selected call point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct PointId(pub u32);

/// How an object is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectNames {
    /// The path by which it was found, in the target's own view of the file system.
    pub path: String,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// The sonames in its `DT_NEEDED`: where its imports come from.
    pub needed: Vec<String>,
    /// Whether it is the main program.
    pub is_main: bool,
}

impl ObjectNames {
    /// The name that prefixes show: the soname of a library, otherwise the last part of the path.
    #[must_use]
    pub fn short(&self) -> &str {
        let file = || self.path.rsplit('/').next().unwrap_or(&self.path);
        match &self.soname {
            Some(soname) if !self.is_main => soname,
            _ => file(),
        }
    }
}

/// How a callee treats its return address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    /// It returns at most once to where it was called from.
    Once,
    /// It may return several times (setjmp(3), vfork(2), getcontext(3)): a second return has no call
    /// of its own.
    Twice,
    /// It never returns: what follows the call may be another function.
    Never,
}

impl Returns {
    /// What is known of a function by its name: those that GCC calls "returns twice", and those that C
    /// libraries and the C++ ABI define as not returning.
    fn of(name: &str) -> Self {
        let bare = name.trim_start_matches('_');
        match bare {
            "setjmp" | "sigsetjmp" | "vfork" | "getcontext" | "savectx" => Self::Twice,
            "exit" | "_exit" | "Exit" | "abort" | "longjmp" | "siglongjmp" | "longjmp_chk"
            | "pthread_exit" | "libc_start_main" | "stack_chk_fail" | "assert_fail" | "cxa_throw"
            | "cxa_rethrow" | "Unwind_Resume" | "quick_exit" | "setcontext" | "fortify_fail" | "chk_fail" => {
                Self::Never
            }
            _ => Self::Once,
        }
    }
}

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call of another object's function, which [`Point::caller`] makes.
    Import,
    /// A call of a function of [`Point::caller`] itself, met where it begins, whoever makes it.
    Entry,
    /// Code at an address that the user named, whoever comes by.
    Place,
    /// A system call.
    Syscall,
}

/// What is called, and by whom.
#[derive(Debug, Clone)]
pub struct Point {
    /// What kind of call it is.
    pub kind: Kind,
    /// The symbol's name.
    pub name: Box<str>,
    /// The name as it stands in the source, where names are demangled and it is another.
    pub demangled: Option<Box<str>>,
    /// The object that calls; for [`Kind::Entry`] the one that has the function.
    pub caller: Rc<ObjectNames>,
    /// How the callee returns.
    pub returns: Returns,
    /// The function of which this is the resolver (`STT_GNU_IFUNC`): what it returns is where that begins.
    pub resolves: Option<PointId>,
}

impl Point {
    /// Whether the function must find its true return address on the stack: the dynamic linker's functions that ask which object calls
    /// (dlsym(3): `RTLD_NEXT`; dlopen(3): its `DT_RUNPATH`; the namespace of `dl_iterate_phdr(3)`), and profilers, which note who was called
    /// and keep all registers for a caller whose arguments are still in them (GCC's option `-pg`).
    #[must_use]
    pub fn looks_at_its_caller(&self) -> bool {
        matches!(
            self.name.trim_start_matches('_'),
            "dlopen" | "dlmopen" | "dlsym" | "dlvsym" | "dl_iterate_phdr" | "mcount" | "fentry__"
        )
    }

    /// The name to print.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.demangled.as_deref().unwrap_or(&self.name)
    }

    /// What is printed after the name and an `@`.
    #[must_use]
    pub fn shown_library(&self) -> Option<&str> {
        match self.kind {
            Kind::Import | Kind::Place => None,
            Kind::Entry => (!self.caller.is_main).then(|| self.caller.short()),
            Kind::Syscall => Some("SYS"),
        }
    }

    /// The name under which its calls are counted.
    #[must_use]
    pub fn counted_as(&self) -> Cow<'_, str> {
        match self.shown_library() {
            Some(library) => format!("{}@{library}", self.shown()).into(),
            None => self.shown().into(),
        }
    }
}

/// All selected call points of a run.
#[derive(Debug, Default)]
pub struct Points {
    points: Vec<Point>,
    demangle: bool,
}

impl Points {
    /// An empty list; `demangle`: names are shown as they stand in the source.
    #[must_use]
    pub fn new(demangle: bool) -> Self {
        Self {
            points: Vec::new(),
            demangle,
        }
    }

    /// Adds a call point.
    ///
    /// # Panics
    /// There are 2³² of them.
    pub fn add(&mut self, kind: Kind, name: &str, caller: &Rc<ObjectNames>) -> PointId {
        let id = u32::try_from(self.points.len()).expect("fewer than 2^32 call points fit into memory");
        self.points.push(Point {
            kind,
            name: name.into(),
            demangled: self.demangle.then(|| demangle(name)).flatten(),
            caller: Rc::clone(caller),
            returns: match kind {
                Kind::Syscall => Returns::Once,
                Kind::Import | Kind::Entry | Kind::Place => Returns::of(name),
            },
            resolves: None,
        });
        PointId(id)
    }

    /// Adds the resolver of an IFUNC of `caller`, and the function that it selects: gives both.
    pub fn add_ifunc(&mut self, name: &str, caller: &Rc<ObjectNames>) -> (PointId, PointId) {
        let resolver = self.add(Kind::Entry, &format!("{name}.IFUNC"), caller);
        let function = self.add(Kind::Entry, name, caller);
        self.points[resolver.0 as usize].resolves = Some(function);
        (resolver, function)
    }

    /// The call point of this number.
    #[must_use]
    pub fn get(&self, id: PointId) -> &Point {
        &self.points[id.0 as usize]
    }

    /// Whether none was selected so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points.len()
    }
}

/// The longest name that is demangled: what comes out can be exponentially longer.
const MAX_MANGLED: usize = 4096;

/// A C++ or Rust name as it stands in the source; `None` for all others.
#[must_use]
pub fn demangle(name: &str) -> Option<Box<str>> {
    if name.len() > MAX_MANGLED {
        return None;
    }
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        // The alternate form is without the hash that older compilers add.
        return Some(format!("{rust:#}").into());
    }
    if !name.starts_with("_Z") {
        return None;
    }
    let symbol = cpp_demangle::BorrowedSymbol::new(name.as_bytes()).ok()?;
    let options = cpp_demangle::DemangleOptions::new().recursion_limit(256);
    symbol.demangle_with_options(&options).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_demangled() {
        let shown = |name| demangle(name).map(String::from);
        let cases = [
            ("_ZNSt8ios_base4InitC1Ev", Some("std::ios_base::Init::Init()")),
            ("_Znwm", Some("operator new(unsigned long)")),
            (
                "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE",
                Some("core::fmt::Write::write_fmt"),
            ),
            ("_RNvC6_123foo3bar", Some("123foo::bar")),
            ("malloc", None),
            ("_Z", None),
            ("_ZN", None),
        ];
        for (name, expected) in cases {
            assert_eq!(shown(name).as_deref(), expected, "{name}");
        }
        assert_eq!(shown(&format!("_ZN{}E", "1a".repeat(5000))), None);
    }
}
