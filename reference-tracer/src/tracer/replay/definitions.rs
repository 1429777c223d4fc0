//! What a file defines: call points with their prototypes, and kinds of records.

use std::rc::Rc;

use fast_ring::Shape;
use rustc_hash::FxHashMap;

use crate::fast::wants::{Ask, Wants};
use crate::filter::{FilterSet, LibraryNames};
use crate::points::{Kind as PointKind, ObjectNames, Point, PointId, Points};
use crate::proto::Plan;
use crate::raw::{Header, Imported, Input, PointDef, arch, kind, take_recording};
use crate::tracer::reporter::{AtOnce, Reporter};
use crate::value::Limits;

/// A call point of the file.
#[derive(Debug, Clone)]
pub(super) struct Defined {
    pub(super) id: PointId,
    pub(super) plan: Rc<Plan>,
    /// Whether its calls are shown.
    pub(super) shown: bool,
}

/// What the records under one number say.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) point: Defined,
    pub(super) wants: Wants,
    pub(super) at_once: Option<AtOnce>,
}

/// All that was defined so far.
#[derive(Debug)]
pub(super) struct Definitions {
    pub(super) points: Points,
    pub(super) kinds: Vec<Kind>,
    pub(super) shapes: Vec<Shape>,
    by_number: FxHashMap<u32, Defined>,
    plans: Vec<Rc<Plan>>,
    callers: FxHashMap<(String, Option<String>, bool), Rc<ObjectNames>>,
    types: Imported,
    header: Header,
    demangle: bool,
    filter: Option<FilterSet>,
}

impl Definitions {
    pub(super) fn new(header: &Header, demangle: bool, filter: Option<FilterSet>) -> Self {
        Self {
            points: Points::new(demangle),
            kinds: Vec::new(),
            shapes: Vec::new(),
            by_number: FxHashMap::default(),
            plans: Vec::new(),
            callers: FxHashMap::default(),
            types: Imported::default(),
            header: header.clone(),
            demangle,
            filter,
        }
    }

    /// The call point of a number.
    pub(super) fn point(&self, number: u32) -> Option<&Defined> {
        self.by_number.get(&number)
    }

    /// How calls of a call point are shown.
    pub(super) fn plan(&self, id: PointId) -> Option<&Rc<Plan>> {
        self.plans.get(usize::try_from(id.0).ok()?)
    }

    pub(super) fn kind(&self, id: u32) -> Option<&Kind> {
        self.kinds.get(usize::try_from(id).ok()?)
    }

    /// Takes a definition. `None`: it is not sound.
    pub(super) fn take(&mut self, kind: u8, payload: &[u8], reporter: &mut Reporter) -> Option<()> {
        match kind {
            kind::TYPES => {
                let batch = serde_json::from_slice(payload).ok()?;
                self.types.add(reporter.prototypes.types_mut(), batch)
            }
            kind::POINT => self.add_point(serde_json::from_slice(payload).ok()?, reporter),
            kind::RECORDS => {
                let mut input = Input(payload);
                let numbers = (input.small()?, input.small()?);
                let recording = take_recording(&mut input)?;
                self.add_kind(numbers, input.end(Wants { recording })?, reporter)
            }
            _ => None,
        }
    }

    fn add_point(&mut self, def: PointDef, reporter: &Reporter) -> Option<()> {
        let kind = match def.kind {
            0 => PointKind::Import,
            1 => PointKind::Entry,
            2 => PointKind::Place,
            3 => PointKind::Syscall,
            _ => return None,
        };
        let prototype = self.types.prototype(def.prototype)?;
        let (types, arch) = (reporter.prototypes.types(), arch(def.i386));
        let plan = Rc::new(if kind == PointKind::Syscall {
            Plan::of_syscall(types, prototype, arch, def.known)
        } else {
            Plan::new(types, prototype, arch, def.known)
        });
        let caller = self.caller(def.path, def.soname, def.is_main);
        let id = self.points.add(kind, &def.name, &caller);
        let defined = Defined {
            id,
            plan: Rc::clone(&plan),
            shown: self.is_shown(self.points.get(id)),
        };
        self.plans.push(plan);
        self.by_number.insert(def.id, defined).is_none().then_some(())
    }

    fn caller(&mut self, path: String, soname: Option<String>, is_main: bool) -> Rc<ObjectNames> {
        let names = |key: &(String, Option<String>, bool)| {
            Rc::new(ObjectNames {
                path: key.0.clone(),
                soname: key.1.clone(),
                needed: Vec::new(),
                is_main,
            })
        };
        let key = (path, soname, is_main);
        let made = names(&key);
        Rc::clone(self.callers.entry(key).or_insert(made))
    }

    fn is_shown(&self, point: &Point) -> bool {
        let Some(filter) = &self.filter else { return true };
        let caller = &point.caller;
        let soname = caller.soname.as_deref();
        let library = if caller.is_main {
            LibraryNames::main(soname, &caller.path)
        } else {
            LibraryNames::library(soname, &caller.path)
        };
        match (point.kind, &point.demangled) {
            (PointKind::Import, Some(clear)) if self.demangle => {
                let bare = clear.split_once('(').map_or(&**clear, |(bare, _)| bare);
                filter.selects(&point.name, &[clear, bare], library)
            }
            (PointKind::Import | PointKind::Syscall, _) => filter.selects(&point.name, &[], library),
            (PointKind::Entry | PointKind::Place, _) => true,
        }
    }

    fn add_kind(&mut self, (id, point): (usize, u32), wants: Wants, reporter: &Reporter) -> Option<()> {
        let point = self.by_number.get(&point)?.clone();
        if id != self.kinds.len() || wants.recording.ret.is_none() {
            return None;
        }
        let [string, array, depth] = self.header.limits;
        let called = self.points.get(point.id);
        let ask = Ask {
            types: reporter.prototypes().types(),
            plan: &point.plan,
            limits: Limits { string, array, depth },
            returns: called.returns,
            lines: self.header.lines,
            stamps: self.header.stamps(),
            caller: self.header.addresses,
            errno: None,
            fd_paths: false,
            max_record: fast_ring::format::LONGEST_RECORD,
        };
        let at_once = reporter.at_once(&ask, &wants, called);
        self.shapes.push(wants.shape());
        self.kinds.push(Kind {
            point,
            wants,
            at_once,
        });
        Some(())
    }
}
