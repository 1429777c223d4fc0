//! Which engine meets the calls of a call point.

use std::rc::Rc;

use arch_abi::{Addr, Arch};
use ptrace_core::{Stopped, Tid};

use super::areas::Fast;
use super::sites::Wanted;
use super::{Engine, FastError, Recorder};
use crate::derive::errno::Place;
use crate::fast::wants::{Ask, Stamps, Wants};
use crate::objects::{ObjectStore, Probe};
use crate::points::Kind;
use crate::tracer::linkage::chain;
use crate::tracer::reporter::Reporter;
use crate::tracer::space::{Loaded, Space};

/// What the choice is made with.
pub(in crate::tracer) struct Choice<'a> {
    pub(in crate::tracer) recorder: &'a mut Recorder,
    pub(in crate::tracer) reporter: &'a mut Reporter,
}

impl Space {
    /// Puts the engine in, if it is wanted, was not tried, and can be. No thread runs.
    pub(in crate::tracer) fn make_fast(&mut self, threads: &[&Stopped], choice: &mut Choice<'_>) {
        let wanted = choice.recorder.is_wanted() && choice.reporter.can_be_recorded();
        let Some(first) = threads.first().filter(|_| wanted) else {
            return;
        };
        if std::mem::replace(&mut self.fast_was_tried, true) {
            return;
        }
        let several = threads.len() > 1;
        let made = self.try_fast(first, several, choice).and_then(|mut fast| {
            for stopped in threads {
                if let Err(error) = fast.register(stopped, choice) {
                    for stopped in threads {
                        choice.recorder.lanes.take_back(stopped.tid());
                        let _ = fast.release(stopped);
                    }
                    fast.remove(first, self.arch);
                    return Err(error);
                }
            }
            Ok(fast)
        });
        self.keep_fast(first.tgid(), made, choice);
    }

    /// Puts the engine in, by a thread that is none of the program's, so that its threads have only to be registered.
    pub(in crate::tracer) fn prepare_fast(
        &mut self,
        envoy: &Stopped,
        several: bool,
        choice: &mut Choice<'_>,
    ) {
        let wanted = choice.recorder.is_wanted() && choice.reporter.can_be_recorded();
        if !wanted || std::mem::replace(&mut self.fast_was_tried, true) {
            return;
        }
        let made = self.try_fast(envoy, several, choice);
        self.keep_fast(envoy.tgid(), made, choice);
    }

    fn keep_fast(&mut self, tgid: Tid, made: Result<Fast, FastError>, choice: &mut Choice<'_>) {
        match made {
            Ok(fast) => self.fast = Some(Box::new(fast)),
            Err(error) => {
                let told = format!(
                    "pid {tgid}: calls are met by traps, not recorded inside the program: {}",
                    chain(&error)
                );
                tracing::debug!("{told}");
                if choice.recorder.options.engine == Engine::Fast {
                    choice.recorder.notes.push(told);
                }
            }
        }
    }

    fn try_fast(&self, first: &Stopped, several: bool, choice: &mut Choice<'_>) -> Result<Fast, FastError> {
        if !self.may_call {
            return Err(FastError::Seccomp);
        }
        if let Some(name) = sanitizer(first.tgid()) {
            return Err(FastError::Sanitizer(name));
        }
        let mut fast = Fast::set_up(first, &self.memory, choice)?;
        fast.stamped = several || choice.reporter.names_threads();
        Ok(fast)
    }

    /// Lets the calls at those of `probes` be recorded inside the program where that can be. Gives the others.
    pub(in crate::tracer) fn hook(
        &mut self,
        stopped: &Stopped,
        store: &ObjectStore,
        object: &Loaded,
        probes: Vec<(Addr, Probe)>,
        choice: &mut Choice<'_>,
    ) -> Vec<(Addr, Probe)> {
        let Some(mut fast) = self.fast.take() else {
            return probes;
        };
        fast.sites.window.close();
        let hooks = self.hook_unwinders(&mut fast, object);
        let points: Vec<_> = probes
            .iter()
            .map(|(_, probe)| (probe.point, store.points().get(probe.point)))
            .filter(|(_, point)| point.kind == Kind::Import)
            .collect();
        let objects = || self.candidates(stopped.tid().raw());
        choice.reporter.make_plans(&points, self.arch, objects);
        let mut wanted = Vec::new();
        let mut others = Vec::new();
        for (at, probe) in probes {
            match self.hook_one(&mut fast, stopped, store, object, (at, probe), choice) {
                Ok(place) => wanted.push((place, at, probe)),
                Err(why) => {
                    let name = &store.points().get(probe.point).name;
                    tracing::debug!(%name, %at, why, "met by a trap");
                    others.push((at, probe));
                }
            }
        }
        // Where calls of a hooked function are recorded, too, the hook would not be met: it goes first.
        let places: Vec<Wanted> = hooks
            .iter()
            .chain(wanted.iter().map(|(place, ..)| place))
            .copied()
            .collect();
        let memory = self.memory.clone();
        let (hooks, places) = match fast.write_stubs(&memory) {
            Ok(()) => (hooks, places),
            // Nothing may lead to them.
            Err(_) => (Vec::new(), Vec::new()),
        };
        let mut patches = self.deferred.take().unwrap_or_default();
        let (_, mut code) = self.split(stopped);
        let mut map = |near, len| breakpoint::CopySpace::map_copies(&mut code, near, len).ok();
        let patched = fast.sites.patch(&memory, &places, &mut patches, &mut map);
        self.deferred = Some(patches);
        for (place, at, probe) in wanted {
            let is_hook = hooks.iter().any(|hook| hook.operand.at == place.operand.at);
            if patched.contains(&place.operand.at) && !is_hook {
                tracing::debug!(%at, stub = %place.stub, "recorded inside the program");
            } else {
                others.push((at, probe));
            }
        }
        self.fast = Some(fast);
        others
    }

    /// The places where an object asks for the code of an address, to unwind: what it is told is to know of stubs.
    fn hook_unwinders(&self, fast: &mut Fast, object: &Loaded) -> Vec<Wanted> {
        let mut places = Vec::new();
        for &(at, hook) in &object.file.unwinding {
            let at = object.base.resolve(at);
            let operand = fast.sites.operand(&self.memory, self.arch, at);
            // What a tracer that has died left there goes on to the function, and knows its own stubs.
            let Some((operand, original)) =
                operand.and_then(|operand| Some((operand, operand.naming(operand.word)?)))
            else {
                continue;
            };
            if let Ok(stub) = fast.hook(&self.memory, hook, operand.word) {
                places.push(Wanted {
                    operand,
                    original,
                    stub,
                });
            }
        }
        places
    }

    fn hook_one(
        &mut self,
        fast: &mut Fast,
        stopped: &Stopped,
        store: &ObjectStore,
        object: &Loaded,
        (at, probe): (Addr, Probe),
        choice: &mut Choice<'_>,
    ) -> Result<Wanted, String> {
        let point = store.points().get(probe.point);
        if point.kind != Kind::Import {
            return Err("it is met where it begins".into());
        }
        if point.looks_at_its_caller() {
            return Err("it looks at its return address, or keeps all registers".into());
        }
        let slot = probe.slot.map(|slot| object.base.resolve(slot));
        let operand = fast.sites.operand(&self.memory, self.arch, at);
        let (slot, operand) = slot.zip(operand).ok_or(
            "its code names no slot, or leaves a number for the resolver in a register that stubs use",
        )?;
        // It names another word where a tracer that has died has been.
        let original = operand.naming(slot).ok_or("its slot is far from its code")?;
        let plan = choice.reporter.plan(probe.point, point, self.arch, || {
            self.candidates(stopped.tid().raw())
        });
        let errno = self.errno_place().and_then(Place::from_thread);
        let stamps = match choice.reporter.stamps() {
            Stamps::None if fast.stamped => Stamps::Call,
            stamps => stamps,
        };
        let ask = Ask {
            types: choice.reporter.prototypes().types(),
            plan: &plan,
            limits: choice.reporter.limits(),
            returns: point.returns,
            lines: !choice.reporter.counts_only(),
            stamps,
            caller: choice.reporter.shows_callers(),
            errno,
            fd_paths: choice.reporter.shows_paths(),
            max_record: fast_ring::format::LONGEST_RECORD,
        };
        let wants = Wants::of(&ask).map_err(|reason| reason.to_string())?;
        if wants.recording.ret.is_none() {
            return Err("it does not return".into());
        }
        if choice.reporter.is_raw() && ask.lines {
            super::Look::of(ask.types, &plan, &wants).map_err(|reason| reason.to_string())?;
        }
        let at_once = choice.reporter.at_once(&ask, &wants, point).map(Rc::new);
        let recording = wants.recording.clone();
        let id = choice
            .recorder
            .kinds
            .id(probe.point, &plan, wants, at_once)
            .ok_or("there are too many call points")?;
        let stub = fast
            .stub(&self.memory, id, slot, &recording, self.arch)
            .map_err(|error| chain(&error))?;
        Ok(Wanted {
            operand,
            original,
            stub,
        })
    }

    /// Lets the calls of a process that has one thread, and is to have more, be stamped with the time: the order of
    /// several threads' calls is told by it.
    pub(in crate::tracer) fn stamp(&mut self, recorder: &mut Recorder) {
        let (memory, arch) = (self.memory.clone(), self.arch);
        if let Some(fast) = self.fast.as_mut()
            && !std::mem::replace(&mut fast.stamped, true)
        {
            fast.stamp_all(&memory, arch, recorder);
        }
    }

    /// Tells recording code where the process has memory now.
    pub(in crate::tracer) fn look_at_memory(&mut self, process: Tid) {
        if let Some(fast) = &mut self.fast {
            fast.look_at_memory(&self.memory, process);
        }
    }

    /// How many bytes from `at` on belong to an object and cannot be written by the process.
    pub(in crate::tracer) fn constant_from(&self, at: Addr) -> u64 {
        let of = |object: &Loaded| object.file.constant_from(object.base.unresolve(at));
        self.objects.iter().find_map(of).unwrap_or(0)
    }
}

impl Fast {
    fn stamp_all(&mut self, memory: &ptrace_core::Memory, arch: Arch, recorder: &mut Recorder) {
        let known: Vec<_> = self
            .stubs
            .by_slot
            .iter()
            .map(|(&key, &stub)| (key, stub))
            .collect();
        let mut new = rustc_hash::FxHashMap::default();
        for ((id, slot), stub) in known {
            let Some((id, recording)) = recorder.kinds.stamped(id) else {
                continue;
            };
            if let Ok(stamped) = self.stub(memory, id, slot, &recording, arch) {
                new.insert(stub, stamped);
            }
        }
        // Where they cannot be written the old ones stay.
        if self.write_stubs(memory).is_ok() {
            self.sites.redirect(memory, |stub| new.get(&stub).copied());
        }
    }
}

/// The sanitizer that a process has, or is about to have: one of those whose runtime library maps what it wants where it wants, over what is
/// there (`AddressSanitizer`: its heap at 0x600000000000), or ends the program where it finds what it has not mapped (`ThreadSanitizer`).
fn sanitizer(process: Tid) -> Option<String> {
    const LIBRARIES: [&[u8]; 4] = [b"libasan.so", b"libhwasan.so", b"libtsan.so", b"libclang_rt."];
    const LINKED_IN: [&str; 4] = ["__asan_init", "__hwasan_init", "__tsan_init", "__msan_init"];
    let file = std::fs::File::open(format!("/proc/{process}/exe")).ok()?;
    let bytes = crate::sys::map_file(&file).ok()?;
    let program = elf_plt::Object::parse(&bytes).ok()?;
    let library = program.needed().iter().find(|name| {
        let is_one = |start: &&[u8]| name.starts_with(start);
        LIBRARIES.iter().any(is_one)
    });
    let linked_in = || {
        LINKED_IN
            .into_iter()
            .find(|name| matches!(program.lookup(name.as_bytes(), None), Ok(Some(_))))
    };
    library
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .or_else(|| linked_in().map(str::to_owned))
}
