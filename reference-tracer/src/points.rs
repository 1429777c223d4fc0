//! The call points that were selected in this run, each under a small number.
//!
//! Records and traps carry the number; what is called, and by whom, is looked up only where it is
//! printed.

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

/// What is called, and by whom.
#[derive(Debug, Clone)]
pub struct Point {
    /// The symbol's name.
    pub name: Box<str>,
    /// The object that calls.
    pub caller: Rc<ObjectNames>,
    /// How the callee returns.
    pub returns: Returns,
}

/// All selected call points of a run.
#[derive(Debug, Default)]
pub struct Points {
    points: Vec<Point>,
}

impl Points {
    /// Adds a call point.
    ///
    /// # Panics
    /// There are 2³² of them.
    pub fn add(&mut self, name: &str, caller: &Rc<ObjectNames>) -> PointId {
        let id = u32::try_from(self.points.len()).expect("fewer than 2^32 call points fit into memory");
        self.points.push(Point {
            name: name.into(),
            caller: Rc::clone(caller),
            returns: Returns::of(name),
        });
        PointId(id)
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
