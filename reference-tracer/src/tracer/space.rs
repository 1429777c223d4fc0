//! One address space under trace: its traps and what each is for.

use std::rc::Rc;

use arch_abi::{Addr, Arch, BaseAddress};
use breakpoint::{InsertError, Removed, ReturnSites, TrapId, Traps, Verdict};
use ptrace_core::{Memory, Stopped};

use super::backtrace::Backtracer;
use super::code::{Code, CodeError};
use super::deferred::{Deferred, NEAR};
use super::fast::Fast;
use super::guard::Guard;
use super::linkage::Linkage;
use super::sigtrap::{Action, Watched};
use crate::objects::{ObjectFile, Site};
use crate::points::PointId;

/// What a trap is for. Several can meet at one address: what a call returns to may be the next call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Role {
    /// Traced calls return here.
    pub(super) returns: bool,
    /// Calls of this call point are met here.
    pub(super) entry: Option<(PointId, Site)>,
    /// The function of this call point begins here: a call is its caller's if it returns there.
    pub(super) function: Option<Function>,
    /// The dynamic linker tells here that its list of objects changes.
    pub(super) link_map: bool,
    /// A function begins here that may concern SIGTRAP, or system calls in the process' name.
    pub(super) watched: Option<Watched>,
    /// The program's entry point, when there is nothing earlier to wait for.
    pub(super) program_entry: bool,
}

/// A function whose calls are met at its first instruction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    /// The call point.
    pub(super) point: PointId,
    /// The caller's addresses: a call that returns elsewhere is another object's.
    pub(super) caller: (Addr, Addr),
}

/// An object of the process.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    /// The file.
    pub(super) file: Rc<ObjectFile>,
    /// Where it lies.
    pub(super) base: BaseAddress,
    /// Where its `struct link_map` lies; `None` for what the kernel mapped.
    pub(super) link_map: Option<Addr>,
    /// Whether the traps on its call points are in.
    pub(super) planted: bool,
}

impl Loaded {
    /// The addresses it covers.
    pub(super) fn range(&self) -> (Addr, Addr) {
        (
            self.base.resolve(self.file.range.start),
            self.base.resolve(self.file.range.end),
        )
    }
}

/// Where the threads' `errno` lies.
#[derive(Debug, Clone, Copy)]
pub(super) enum ErrnoPlace {
    NotAsked,
    At(crate::derive::errno::Place),
    Unknown,
}

/// An address space. Processes that vfork made share their parent's; forked ones have a clone.
pub(super) struct Space {
    pub(super) arch: Arch,
    pub(super) memory: Memory,
    pub(super) traps: Traps,
    pub(super) roles: Vec<Role>,
    pub(super) sites: ReturnSites,
    pub(super) objects: Vec<Loaded>,
    pub(super) linkage: Linkage,
    /// Areas that were mapped for copies.
    pub(super) copies: Vec<(Addr, u64)>,
    /// Whether system calls may be made in the name of its threads.
    pub(super) may_call: bool,
    /// What keeps the process alive if the tracer is killed.
    pub(super) guard: Option<Guard>,
    /// The disposition of SIGTRAP that the program has set while it was traced.
    pub(super) own_sigtrap: Option<Action>,
    /// Traps that are to be written, while there is such a list.
    pub(super) deferred: Option<Deferred>,
    /// How the stacks of its threads are told, once one was.
    pub(super) backtracer: Option<Box<Backtracer>>,
    /// Of how many functions the calls were wanted when traps were put in last.
    pub(super) wanted: usize,
    /// Where a thread's `errno` lies, once that was asked.
    pub(super) errno_place: ErrnoPlace,
    /// What records calls inside the program, where that is wanted and can be.
    pub(super) fast: Option<Box<Fast>>,
    /// Whether that was tried.
    pub(super) fast_was_tried: bool,
}

impl Space {
    /// The address space of a new program, with nothing in it.
    pub(super) fn new(arch: Arch, memory: Memory, may_call: bool) -> Self {
        Self {
            arch,
            memory,
            traps: Traps::new(arch),
            roles: Vec::new(),
            sites: ReturnSites::new(),
            objects: Vec::new(),
            linkage: Linkage::default(),
            copies: Vec::new(),
            may_call,
            guard: None,
            own_sigtrap: None,
            deferred: None,
            backtracer: None,
            wanted: 0,
            errno_place: ErrnoPlace::NotAsked,
            fast: None,
            fast_was_tried: false,
        }
    }

    /// The address space of a forked child: the same bytes at the same addresses.
    pub(super) fn forked(&self, memory: Memory) -> Self {
        Self {
            arch: self.arch,
            memory,
            traps: self.traps.clone(),
            roles: self.roles.clone(),
            sites: self.sites.clone(),
            objects: self.objects.clone(),
            linkage: self.linkage.clone(),
            copies: self.copies.clone(),
            may_call: self.may_call,
            guard: self.guard.clone(),
            own_sigtrap: self.own_sigtrap,
            deferred: None,
            backtracer: None,
            wanted: self.wanted,
            errno_place: self.errno_place,
            fast: self.fast.clone(),
            fast_was_tried: self.fast_was_tried,
        }
    }

    /// The traps, and the code of the process in the name of `stopped`.
    pub(super) fn split<'a>(&'a mut self, stopped: &'a Stopped) -> (&'a mut Traps, Code<'a>) {
        let code = Code {
            stopped,
            memory: &self.memory,
            arch: self.arch,
            may_map: self.may_call,
            mapped: &mut self.copies,
            deferred: &mut self.deferred,
        };
        (&mut self.traps, code)
    }

    /// The role of a trap.
    pub(super) fn role(&mut self, id: TrapId) -> &mut Role {
        if self.roles.len() <= id.index() {
            self.roles
                .resize(self.traps.index_bound().max(id.index() + 1), Role::default());
        }
        &mut self.roles[id.index()]
    }

    /// Puts in traps so that the guard knows each before a thread can meet it: what `plan` writes to the
    /// program's code is written last. The tracer may be killed at any instant.
    pub(super) fn arm<T>(&mut self, plan: impl FnOnce(&mut Self) -> T) -> T {
        if self.deferred.is_some() {
            return plan(self);
        }
        self.deferred = Some(Deferred::default());
        let result = plan(self);
        // What cannot be written is no trap: it is never hit.
        self.deferred.take().unwrap_or_default().write(&self.memory, NEAR);
        result
    }

    /// Puts in a trap for one purpose.
    pub(super) fn plant(
        &mut self,
        stopped: &Stopped,
        at: Addr,
        purpose: impl FnOnce(&mut Role),
    ) -> Result<TrapId, InsertError<CodeError>> {
        self.arm(|space| space.plant_one(stopped, at, purpose))
    }

    fn plant_one(
        &mut self,
        stopped: &Stopped,
        at: Addr,
        purpose: impl FnOnce(&mut Role),
    ) -> Result<TrapId, InsertError<CodeError>> {
        let (traps, mut code) = self.split(stopped);
        let id = traps.insert(at, &mut code)?;
        if traps.resume_at(id).is_none() {
            // A copy takes a thread past the trap more cheaply than emulation does, and without a
            // tracer. Where there is no room for it the instruction is emulated.
            let _: Result<(), _> = traps.prepare_copies(&mut code);
        }
        if self.traps.users(id) == 1 {
            *self.role(id) = Role::default();
        }
        purpose(self.role(id));
        self.guard_one(stopped, id);
        Ok(id)
    }

    /// Makes sure that returns to `at` are met, and counts one more call that returns there.
    pub(super) fn expect_return(
        &mut self,
        stopped: &Stopped,
        at: Addr,
    ) -> Result<TrapId, InsertError<CodeError>> {
        let id = match self.traps.lookup(at) {
            Some(id) if self.role(id).returns => id,
            _ => self.plant(stopped, at, |role| role.returns = true)?,
        };
        self.sites.pending(id);
        Ok(id)
    }

    /// A thread came by a return trap without a pending call. Takes the trap out where that happens
    /// too often.
    pub(super) fn stray_return(&mut self, stopped: &Stopped, id: TrapId) {
        if self.sites.stray(id) == Verdict::Keep {
            return;
        }
        self.role(id).returns = false;
        self.sites.lifted(id);
        let (traps, mut code) = self.split(stopped);
        // What cannot be taken out stays in as a trap without a role: it is stepped over.
        let _: Result<Removed, _> = traps.remove(id, &mut code);
    }
}
