//! Functions without a prototype: what is known of them all the same.
//!
//! Three sources are asked in turn: the debug information of the object that defines the function
//! ([`Source::Dwarf`]), its C++ name ([`Source::Mangled`]), and the registers that its code reads before it writes
//! them ([`Source::Registers`]). What the last two say is a guess. Nothing is read before such a function is
//! first called, and each is asked once for a call point.

pub mod code;
mod dwarf;
pub mod errno;
pub mod mangled;
mod object;
mod registers;

use std::fs::File;
use std::path::PathBuf;
use std::rc::Rc;

use arch_abi::{Arch, FileAddr};
use elf_plt::Object as Elf;
use rustc_hash::FxHashMap;

use crate::objects::FileKey;
use crate::proto::{Plan, Prototype, Prototypes, Types};
use code::Args;
use dwarf::{Dwarf, Memory, Places};
use mangled::Member;
pub use object::exported_arguments;
use object::{ObjectCode, function};

/// Where a prototype that is in no file comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The debug information of the function's object.
    Dwarf,
    /// The function's C++ name: a guess.
    Mangled,
    /// The function's code: a guess.
    Registers,
}

impl Source {
    /// Whether it is a guess rather than a fact.
    #[must_use]
    pub const fn is_guess(self) -> bool {
        matches!(self, Self::Mangled | Self::Registers)
    }
}

/// An object of a process that may define the function that is called.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which version of which file it is.
    pub key: FileKey,
    /// The root folder of the process, as the tracer reaches it.
    pub root: PathBuf,
    /// The object's path within it.
    pub path: PathBuf,
}

/// What was found out about the objects of a run so far.
#[derive(Debug, Default)]
pub struct Derived {
    objects: FxHashMap<FileKey, Option<Rc<ObjectCode>>>,
    dwarf: FxHashMap<FileKey, Option<Dwarf>>,
    memory: Memory,
    code_names: FxHashMap<(FileKey, FileAddr), Option<Box<[u8]>>>,
}

/// The most addresses whose names are kept.
const MAX_CODE_NAMES: usize = 1 << 16;
/// The most objects that are kept open; of others nothing is derived.
const MAX_OBJECTS: usize = 256;

impl Derived {
    /// The prototype of each of `names` as the first of `candidates` that defines it tells, and where from. `None`: none
    /// of them defines it, or nothing can be told. The prototypes' types are added to those of `prototypes`, which must be the
    /// same each time. Each object is opened once for all names.
    pub fn of(
        &mut self,
        candidates: impl IntoIterator<Item = Candidate>,
        names: &[&str],
        arch: Arch,
        prototypes: &mut Prototypes,
    ) -> Vec<Option<(Prototype, Source)>> {
        let mut found = vec![None; names.len()];
        let mut left: Vec<usize> = (0..names.len()).collect();
        for candidate in candidates {
            if left.is_empty() {
                break;
            }
            let Some(object) = self.object(&candidate) else {
                continue;
            };
            object.with(|elf, file| {
                let defines = |name: &str| elf.lookup(name.as_bytes(), None).ok().flatten().is_some();
                let (defined, others): (Vec<usize>, _) = std::mem::take(&mut left)
                    .into_iter()
                    .partition(|&index| elf.arch() == arch && defines(names[index]));
                left = others;
                for index in defined {
                    found[index] = self.in_object(&candidate, &object, elf, file, names[index], prototypes);
                }
                Some(())
            });
        }
        found
    }

    /// Appends the name of the code at `at` of the object `key`: `compare`, or `compare+0x12` within it. `false`, and
    /// nothing appended: no symbol covers it.
    pub fn code_name(
        &mut self,
        key: FileKey,
        candidate: impl FnOnce() -> Candidate,
        at: FileAddr,
        out: &mut Vec<u8>,
    ) -> bool {
        if !self.code_names.contains_key(&(key, at)) {
            if self.code_names.len() == MAX_CODE_NAMES {
                return false;
            }
            let object = self.object(&candidate());
            let name = object.and_then(|object| object.with(|elf, _| named(&object, elf, at)));
            self.code_names.insert((key, at), name);
        }
        match self.code_names.get(&(key, at)) {
            Some(Some(name)) => out.extend_from_slice(name),
            _ => return false,
        }
        true
    }

    fn object(&mut self, candidate: &Candidate) -> Option<Rc<ObjectCode>> {
        if let Some(known) = self.objects.get(&candidate.key) {
            return known.clone();
        }
        if self.objects.len() == MAX_OBJECTS {
            return None;
        }
        let relative = candidate.path.strip_prefix("/").unwrap_or(&candidate.path);
        let file = File::open(candidate.root.join(relative)).ok();
        // A file of that name may have taken the place of the one that the process has mapped.
        let same = file.filter(|file| candidate.key.is_of(file));
        let object = same.map(|file| Rc::new(ObjectCode::new(file)));
        self.objects.insert(candidate.key, object.clone());
        object
    }

    fn in_object(
        &mut self,
        candidate: &Candidate,
        object: &ObjectCode,
        elf: &Elf<'_>,
        file: &File,
        name: &str,
        prototypes: &mut Prototypes,
    ) -> Option<(Prototype, Source)> {
        if let Some(symbol) = function(elf, name.as_bytes()) {
            let (dwarf, memory) = (&mut self.dwarf, &mut self.memory);
            let places = Places {
                root: candidate.root.clone(),
                path: candidate.path.clone(),
            };
            let dwarf = dwarf
                .entry(candidate.key)
                .or_insert_with(|| Dwarf::load(file, &places, memory));
            let told = dwarf
                .as_mut()
                .and_then(|dwarf| dwarf.prototype(symbol.addr, name, elf.arch(), prototypes.types_mut()));
            if let Some(prototype) = told {
                return Some((prototype, Source::Dwarf));
            }
        }
        if let Some(prototype) = by_name(elf, name, prototypes.types_mut()) {
            return Some((prototype, Source::Mangled));
        }
        by_code(object, elf, name, prototypes).map(|prototype| (prototype, Source::Registers))
    }
}

/// The function that covers an address, and how far into it that is.
fn named(object: &ObjectCode, elf: &Elf<'_>, at: FileAddr) -> Option<Box<[u8]>> {
    let function = object.containing(elf, at)?;
    let mut name = function.name.to_vec();
    let within = at.offset_from(function.addr).filter(|&within| within != 0);
    if let Some(within) = within {
        name.extend_from_slice(format!("+{within:#x}").as_bytes());
    }
    (!name.is_empty()).then(|| name.into())
}

/// What a C++ name says, and of its scope the other names that the object defines.
fn by_name(elf: &Elf<'_>, name: &str, types: &mut Types) -> Option<Prototype> {
    let signature = mangled::signature(name)?;
    let is_member = match &signature.member {
        Member::Yes => true,
        Member::No => false,
        Member::IfClass(scope) => elf
            .symbols()
            .ok()?
            .filter_map(|symbol| std::str::from_utf8(symbol.name).ok())
            .any(|symbol| mangled::is_of_class(symbol, scope)),
    };
    Some(mangled::prototype(name, &signature, is_member, types))
}

fn by_code(object: &ObjectCode, elf: &Elf<'_>, name: &str, prototypes: &mut Prototypes) -> Option<Prototype> {
    let arch = elf.arch();
    let symbol = function(elf, name.as_bytes())?;
    let known = std::cell::RefCell::new(&mut *prototypes);
    let of_others = |name: &str| {
        let plan: Plan = known.borrow_mut().plan(arch, &[], name);
        plan.known.then(|| Args::of_plan(&plan))
    };
    let found = object.arguments(elf, symbol.addr, &of_others)?;
    Some(registers::prototype(name, found, arch, prototypes.types_mut()))
}
