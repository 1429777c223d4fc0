//! What is known of one tracee, shared by its session and by who holds it stopped.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::cpus::HandOff;
use crate::cpus::OwnMask;
use crate::id::Tid;
use crate::memory::Space;

/// Where a tracee stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Announced by its parent's event or found to be ours, and not yet stopped for the first time.
    New,
    /// Stopped for the first time before its parent's event; not yet handed out.
    Early,
    /// It runs, or stopped and nobody has been told.
    Running,
    /// In a group-stop that is listened to.
    Listening,
    /// Handed out as a [`Stopped`](crate::Stopped).
    Stopped,
    /// Dead or detached.
    Gone,
}

/// What became of a `PTRACE_INTERRUPT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interrupt {
    /// None is under way.
    None,
    /// Asked for, and not yet answered.
    Asked,
    /// Another stop came first. The kernel may have dropped the request then, or, if it came when the
    /// thread had stopped already, may still answer it: that answer is not passed on.
    Stale,
}

/// One tracee.
pub(crate) struct Tracee {
    pub(crate) tid: Tid,
    pub(crate) shared: Rc<Shared>,
    pub(crate) process: RefCell<Rc<Process>>,
    pub(crate) state: Cell<State>,
    /// Counts the stops that were handed out.
    pub(crate) stop: Cell<u32>,
    /// The wait status of the last stop that was handed out.
    pub(crate) status: Cell<i32>,
    /// Whether that stop's report was consumed.
    pub(crate) consumed: Cell<bool>,
    pub(crate) interrupt: Cell<Interrupt>,
    /// Who made it, while its first stop has not been handed out.
    pub(crate) parent: Cell<Option<Tid>>,
    /// The first stop told of a group-stop in force, which has to be told again once `Born` was.
    pub(crate) group_at_birth: Cell<bool>,
    /// What its affinity was when it was last narrowed.
    pub(crate) own_mask: RefCell<Option<OwnMask>>,
}

/// What the tracees of a session share.
pub(crate) struct Shared {
    pub(crate) hand_off: RefCell<Option<HandOff>>,
    /// Whether threads are resumed to the next system call.
    pub(crate) syscalls: bool,
}

/// What the threads of a process share until it executes another program.
pub(crate) struct Process {
    pub(crate) tgid: Tid,
    pub(crate) space: Rc<Space>,
}

impl Process {
    pub(crate) fn new(tgid: Tid) -> Rc<Self> {
        Rc::new(Self {
            tgid,
            space: Rc::new(Space::new(tgid)),
        })
    }
}

impl Tracee {
    pub(crate) fn new(tid: Tid, shared: Rc<Shared>, process: Rc<Process>, state: State) -> Rc<Self> {
        Rc::new(Self {
            tid,
            shared,
            process: RefCell::new(process),
            state: Cell::new(state),
            stop: Cell::new(0),
            status: Cell::new(0),
            consumed: Cell::new(false),
            interrupt: Cell::new(Interrupt::None),
            parent: Cell::new(None),
            group_at_birth: Cell::new(false),
            own_mask: RefCell::new(None),
        })
    }

    pub(crate) fn tgid(&self) -> Tid {
        self.process.borrow().tgid
    }

    pub(crate) fn process(&self) -> Rc<Process> {
        Rc::clone(&self.process.borrow())
    }
}
