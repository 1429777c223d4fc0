//! What keeps a process alive should the tracer be killed: a SIGTRAP handler in the process that sends
//! threads from traps to their copies (`arch_abi::guard`), and its table.
//!
//! It is put in before the first trap, by system calls in the process' name, and taken out on leaving.
//! The process sees it only by sigaction(2) of SIGTRAP. A program that has a handler of its own keeps
//! it: ours hands on what is not ours.

use arch_abi::guard::{DATA_CHAIN, DATA_LEN, DATA_RANGES, DATA_TABLE, RANGES, TABLE_ENTRIES, first_entry};
use arch_abi::{Abi, Addr, Arch};
use breakpoint::TrapId;
use ptrace_core::{Memory, Signal, Stopped, Tid, procfs};
use rustc_hash::FxHashSet;

use super::code::{CodeError, map, system_call, unmap};
use super::sigtrap::{Action, SIGSET, sigtrap};
use super::space::Space;

const PAGE: u64 = 4096;
/// In the data page, after the handler's data: the new `struct sigaction`, then the old one.
const NEW_ACTION: u64 = DATA_LEN.next_multiple_of(64);
const OLD_ACTION: u64 = NEW_ACTION + 64;
/// And the program's own, for a later tracer should this one die.
const PROGRAMS_ACTION: u64 = OLD_ACTION + 64;
/// Room for a `siginfo_t`.
const SIGINFO: u64 = PROGRAMS_ACTION + 64;
/// At the end of the code page: [`MAGIC`], and where the data lies.
const SIGNATURE: u64 = PAGE - 16;
/// Tells a later tracer that a handler is a guard's, of this layout.
const MAGIC: u64 = u64::from_le_bytes(*b"rltrace\x01");
/// The most entries of a table that is believed.
const MAX_TABLE: u64 = 1 << 24;
/// Entries of the first table; each further one has twice as many.
const FIRST_TABLE: u64 = 2048;

/// The handler as it lies in a process, and its table.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    abi: &'static dyn Abi,
    code: Addr,
    data: Addr,
    action: Action,
    /// The program's own disposition.
    old_action: Action,
    /// Whether the handler is in force no more, and can be unmapped.
    is_over: bool,
    table: Option<Table>,
    ranges: usize,
    /// Whether the program's own disposition is in force for the moment, or ours may have been lost.
    pub(super) away: bool,
    /// Everything that was mapped: address and length.
    mapped: Vec<(Addr, u64)>,
    /// The traps that a tracer which died has left, and that were taken out.
    pub(super) inherited: FxHashSet<Addr>,
}

#[derive(Debug, Clone, Copy)]
struct Table {
    at: Addr,
    mask: u64,
    used: u64,
}

impl Guard {
    /// Puts the handler into the process of `stopped`. No trap is in yet.
    pub(super) fn install(stopped: &Stopped, memory: &Memory, arch: Arch) -> Result<Self, CodeError> {
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        let data = map(stopped, arch, None, PAGE, rw)?;
        let code = map(stopped, arch, None, PAGE, libc::PROT_READ | libc::PROT_EXEC)?;
        let mut guard = Self {
            abi: arch.abi(),
            code,
            data,
            action: Action::default_of(arch.abi()),
            old_action: Action::default_of(arch.abi()),
            is_over: false,
            table: None,
            ranges: 0,
            away: false,
            mapped: vec![(data, PAGE), (code, PAGE)],
            inherited: FxHashSet::default(),
        };
        if let Err(error) = guard.set_up(stopped, memory) {
            guard.unmap(stopped);
            return Err(error);
        }
        Ok(guard)
    }

    fn set_up(&mut self, stopped: &Stopped, memory: &Memory) -> Result<(), CodeError> {
        let code = self.abi.guard(self.code, self.data).ok_or(CodeError::NoGuard)?;
        memory.write(self.code, &code.code)?;
        let signature = [MAGIC, self.data.get()].map(u64::to_le_bytes).concat();
        memory.write(self.code.wrapping_add(SIGNATURE), &signature)?;
        self.action.bytes_mut().copy_from_slice(&code.action);
        // What the program has now, first: the handler must hand on to it from its first moment.
        let current = self.current(stopped, memory)?;
        self.old_action = current;
        if let Some(data) = guard_behind(memory, current.handler()) {
            self.inherit(memory, data)?;
        }
        // A guard that was there before knows where a thread goes that has its trap behind it already,
        // and hands on to the program in its turn.
        self.hand_on_to(memory, current.handler())?;
        self.begin(stopped, memory, current)
    }

    /// Puts the handler in force. `found` was so when it was made ready.
    fn begin(&mut self, stopped: &Stopped, memory: &Memory, found: Action) -> Result<(), CodeError> {
        let [new, old] = [NEW_ACTION, OLD_ACTION].map(|offset| self.data.wrapping_add(offset));
        memory.write(new, self.action.bytes())?;
        self.sigaction(stopped, new.get(), old.get())?;
        let before = Action::read(memory, old, self.abi)?;
        if before.bytes() != found.bytes() {
            // The program has set it since it was looked at.
            self.old_action = before;
            self.hand_on_to(memory, before.handler())?;
        }
        Ok(())
    }

    /// Whether it is still there: the process may have executed another program since it was put in.
    pub(super) fn is_there(&self, memory: &Memory) -> bool {
        let signature = self.code.wrapping_add(SIGNATURE);
        let words = [signature, signature.wrapping_add(8)].map(|at| read_word(memory, at).ok());
        words == [Some(MAGIC), Some(self.data.get())]
    }

    /// Lets the handler hand on what is not the guard's; a later tracer learns of the program's own disposition.
    fn hand_on_to(&self, memory: &Memory, handler: u64) -> Result<(), CodeError> {
        memory.write(self.data.wrapping_add(DATA_CHAIN), &handler.to_le_bytes())?;
        memory.write(self.data.wrapping_add(PROGRAMS_ACTION), self.old_action.bytes())?;
        Ok(())
    }

    /// Takes out the traps that a tracer which died has left behind, by its guard's table. That guard
    /// stays mapped: a thread may be on its way through it.
    fn inherit(&mut self, memory: &Memory, data: Addr) -> Result<(), CodeError> {
        memory.read_exact(data.wrapping_add(PROGRAMS_ACTION), self.old_action.bytes_mut())?;
        let at = Addr::new(read_word(memory, data.wrapping_add(DATA_TABLE))?);
        if at.get() == 0 {
            return Ok(());
        }
        let entries = read_word(memory, at)?.saturating_add(1);
        if entries > MAX_TABLE {
            return Ok(());
        }
        let len = |bytes: u64| usize::try_from(bytes).unwrap_or(0);
        let mut table = vec![0; len(entries * 16)];
        memory.read_exact(at.wrapping_add(TABLE_ENTRIES), &mut table)?;
        let mut originals = vec![0; len(entries)];
        memory.read_exact(at.wrapping_add(TABLE_ENTRIES + entries * 16), &mut originals)?;
        for (entry, original) in table.chunks_exact(16).zip(originals) {
            let trap = Addr::new(word(&entry[..8]));
            let mut byte = [0];
            // What was unmapped meanwhile, or written anew, is the program's.
            let is_trap = trap.get() != 0 && memory.read_exact(trap, &mut byte).is_ok() && byte == [0xcc];
            if is_trap && memory.write(trap, &[original]).is_ok() {
                self.inherited.insert(trap);
            }
        }
        Ok(())
    }

    /// The process' disposition of SIGTRAP.
    fn current(&self, stopped: &Stopped, memory: &Memory) -> Result<Action, CodeError> {
        let old = self.data.wrapping_add(OLD_ACTION);
        self.sigaction(stopped, 0, old.get())?;
        Ok(Action::read(memory, old, self.abi)?)
    }

    fn set(&self, stopped: &Stopped, memory: &Memory, action: &Action) -> Result<(), CodeError> {
        let new = self.data.wrapping_add(NEW_ACTION);
        memory.write(new, action.bytes())?;
        self.sigaction(stopped, new.get(), 0)
    }

    fn sigaction(&self, stopped: &Stopped, new: u64, old: u64) -> Result<(), CodeError> {
        let number = self.abi.system_calls().rt_sigaction;
        system_call(stopped, number, [sigtrap(), new, old, SIGSET, 0, 0]).map(drop)
    }

    /// Puts a `siginfo_t` where a system call can read it.
    pub(super) fn lend_siginfo(&self, memory: &Memory, info: &[u8; 128]) -> Result<Addr, CodeError> {
        let at = self.data.wrapping_add(SIGINFO);
        memory.write(at, info)?;
        Ok(at)
    }

    /// Makes the handler the process' disposition of SIGTRAP.
    fn enable(&self, stopped: &Stopped, memory: &Memory) -> Result<(), CodeError> {
        self.set(stopped, memory, &self.action)
    }

    fn is_in_force(&self, current: &Action) -> bool {
        current.handler() == self.action.handler()
    }

    /// Puts the program's own disposition in force, for a SIGTRAP of its own that is to be delivered.
    fn stand_aside(&mut self, stopped: &Stopped, memory: &Memory) -> Result<(), CodeError> {
        let current = self.current(stopped, memory)?;
        if self.is_in_force(&current) || current.is_reset_of(&self.action) {
            self.set(stopped, memory, &self.old_action)?;
            self.away = true;
        }
        Ok(())
    }

    /// Takes over again after [`Guard::stand_aside`], or when the kernel has reset the disposition.
    fn come_back(&mut self, stopped: &Stopped, memory: &Memory) -> Result<(), CodeError> {
        self.away = false;
        let current = self.current(stopped, memory)?;
        if self.is_in_force(&current) {
            return Ok(());
        }
        if !current.is_reset_of(&self.action) {
            // What the program has set meanwhile is its own from now on.
            self.old_action = current;
            self.hand_on_to(memory, current.handler())?;
        }
        self.enable(stopped, memory)
    }

    /// What the program would have without the guard.
    pub(super) fn programs_action(&self) -> Action {
        self.old_action
    }

    /// Lets the handler know an area of copies.
    pub(super) fn add_range(&mut self, memory: &Memory, start: Addr, len: u64) -> Result<(), CodeError> {
        if self.ranges == RANGES {
            // Threads that were moved there and not continued are not known; that is all.
            return Ok(());
        }
        let at = self.data.wrapping_add(DATA_RANGES + 16 * self.ranges as u64);
        // The end first: a range whose start is zero and whose end is not holds no copy, but must
        // never be taken for one that begins at zero.
        let words = [start.get(), start.get().wrapping_add(len)];
        memory.write(at, &words.map(u64::to_le_bytes).concat())?;
        self.ranges += 1;
        Ok(())
    }

    /// Lets the handler know where a thread goes on that hits the trap at `trap`.
    pub(super) fn add(
        &mut self,
        stopped: &Stopped,
        memory: &Memory,
        trap: Addr,
        to: Addr,
        original: u8,
    ) -> Result<(), CodeError> {
        let table = match self.table {
            Some(table) if table.used * 2 < table.mask => table,
            _ => self.grow(stopped, memory)?,
        };
        let used = put(memory, table, trap, to, original)?;
        self.table = Some(Table {
            used: table.used + u64::from(used),
            ..table
        });
        Ok(())
    }

    /// A new table of twice the size, complete before the handler sees it.
    fn grow(&mut self, stopped: &Stopped, memory: &Memory) -> Result<Table, CodeError> {
        let entries = self.table.map_or(FIRST_TABLE, |table| (table.mask + 1) * 2);
        let len = (TABLE_ENTRIES + entries * 17).next_multiple_of(PAGE);
        let at = map(stopped, self.abi.arch(), None, len, libc::PROT_READ)?;
        self.mapped.push((at, len));
        memory.write(at, &(entries - 1).to_le_bytes())?;
        let mut table = Table {
            at,
            mask: entries - 1,
            used: 0,
        };
        if let Some(old) = self.table {
            let entries = old.mask + 1;
            let mut bytes = vec![0; usize::try_from(entries * 17).unwrap_or(0)];
            memory.read_exact(old.at.wrapping_add(TABLE_ENTRIES), &mut bytes)?;
            let (pairs, originals) = bytes.split_at(usize::try_from(entries * 16).unwrap_or(0));
            for (entry, &original) in pairs.chunks_exact(16).zip(originals) {
                let (trap, to) = (word(&entry[..8]), word(&entry[8..]));
                if trap != 0 {
                    let used = put(memory, table, Addr::new(trap), Addr::new(to), original)?;
                    table.used += u64::from(used);
                }
            }
        }
        memory.write(self.data.wrapping_add(DATA_TABLE), &at.get().to_le_bytes())?;
        self.table = Some(table);
        Ok(table)
    }

    /// Gives the program its own disposition back. No thread stands at a trap, or will.
    pub(super) fn end(&mut self, stopped: &Stopped, memory: &Memory) {
        // A handler that could not be taken out must stay mapped.
        self.is_over = self.is_over || self.try_end(stopped, memory).is_ok();
    }

    fn try_end(&self, stopped: &Stopped, memory: &Memory) -> Result<(), CodeError> {
        let [new, old] = [NEW_ACTION, OLD_ACTION].map(|offset| self.data.wrapping_add(offset));
        memory.write(new, self.old_action.bytes())?;
        self.sigaction(stopped, new.get(), old.get())?;
        let current = Action::read(memory, old, self.abi)?;
        if self.is_in_force(&current) || current.is_reset_of(&self.action) {
            return Ok(());
        }
        // The program has set another one, past the C library.
        self.set(stopped, memory, &current)
    }

    /// Unmaps everything, unless the handler is in force.
    pub(super) fn remove(&mut self, stopped: &Stopped) {
        if self.is_over {
            self.unmap(stopped);
        }
    }

    fn unmap(&mut self, stopped: &Stopped) {
        for (at, len) in self.mapped.drain(..) {
            unmap(stopped, self.abi.arch(), at, len);
        }
    }
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

fn read_word(memory: &Memory, at: Addr) -> Result<u64, CodeError> {
    let mut word = [0; 8];
    memory.read_exact(at, &mut word)?;
    Ok(u64::from_le_bytes(word))
}

/// The data of the guard whose handler this is, if it is one.
fn guard_behind(memory: &Memory, handler: u64) -> Option<Addr> {
    let page = Addr::new(handler & !(PAGE - 1));
    let magic = read_word(memory, page.wrapping_add(SIGNATURE)).ok()?;
    let data = read_word(memory, page.wrapping_add(SIGNATURE + 8)).ok()?;
    (magic == MAGIC).then(|| Addr::new(data))
}

/// Stores an entry: what it leads to first, then the trap, which makes it valid. Gives whether it is new.
fn put(memory: &Memory, table: Table, trap: Addr, to: Addr, original: u8) -> Result<bool, CodeError> {
    let mut index = first_entry(trap, table.mask);
    loop {
        let at = table.at.wrapping_add(TABLE_ENTRIES + index * 16);
        let mut bytes = [0; 8];
        memory.read_exact(at, &mut bytes)?;
        let there = u64::from_le_bytes(bytes);
        if there == 0 || there == trap.get() {
            let byte = TABLE_ENTRIES + (table.mask + 1) * 16 + index;
            memory.write(table.at.wrapping_add(byte), &[original])?;
            memory.write(at.wrapping_add(8), &to.get().to_le_bytes())?;
            memory.write(at, &trap.get().to_le_bytes())?;
            return Ok(there == 0);
        }
        index = (index + 1) & table.mask;
    }
}

impl Space {
    /// Puts the guard into a process. Without it the process is traced all the same.
    pub(super) fn guard(&mut self, stopped: &Stopped) -> Option<String> {
        if !self.may_call {
            return Some("it runs under a seccomp filter: it would not survive a kill -9 of rltrace".into());
        }
        match Guard::install(stopped, &self.memory, self.arch) {
            Ok(guard) => {
                self.guard = Some(guard);
                None
            }
            Err(error) => {
                let why = super::linkage::chain(&error);
                Some(format!("it would not survive a kill -9 of rltrace: {why}"))
            }
        }
    }

    /// Sees to it that the guard is in force, which was put in while the program ran.
    pub(super) fn confirm_guard(&mut self, stopped: &Stopped) {
        if let Some(guard) = &mut self.guard {
            let _: Result<(), CodeError> = guard.come_back(stopped, &self.memory);
        }
    }

    /// A SIGTRAP of the program's own is about to be delivered: to its own disposition.
    pub(super) fn stand_aside(&mut self, stopped: &Stopped) {
        if let Some(guard) = &mut self.guard {
            // If it cannot be, the guard hands on what is not its own.
            let _: Result<(), CodeError> = guard.stand_aside(stopped, &self.memory);
        }
    }

    /// The program has set its disposition: it is noted, and the guard's is put in force again.
    pub(super) fn take_over(&mut self, stopped: &Stopped) {
        if let Some(guard) = &mut self.guard {
            let _: Result<(), CodeError> = guard.come_back(stopped, &self.memory);
        }
    }

    /// The guard takes over again where it stood aside or was reset.
    pub(super) fn come_back(&mut self, stopped: &Stopped) {
        if let Some(guard) = self.guard.as_mut().filter(|guard| guard.away) {
            let _: Result<(), CodeError> = guard.come_back(stopped, &self.memory);
        }
    }

    /// Looks whether the process still has a handler of SIGTRAP.
    // QUIRK sigtrap-blocked: a trap that is hit while SIGTRAP is blocked or ignored resets its disposition
    // to SIG_DFL and unblocks it. Seen: Linux 6.18. Source: kernel/signal.c, force_sig_info_to_task.
    // Drop when: never, it is the ABI. Test: tests/tests/signals.rs, blocked_mask.
    pub(super) fn look_after_guard(&mut self, tgid: Tid) {
        let bit = 1 << (Signal::SIGTRAP.raw() - 1);
        if let Some(guard) = &mut self.guard {
            guard.away |= procfs::Status::of(tgid).is_ok_and(|status| status.caught & bit == 0);
        }
    }

    /// Makes the guard know every trap that is in.
    pub(super) fn guard_all(&mut self, stopped: &Stopped) {
        let Some(mut guard) = self.guard.take() else {
            return;
        };
        self.guard_ranges(&mut guard);
        for (trap, to) in self.traps.copies() {
            // A full address space: this trap is not guarded.
            let original = self.original(trap);
            let _: Result<(), CodeError> = guard.add(stopped, &self.memory, trap, to, original);
        }
        self.guard = Some(guard);
    }

    /// Makes the guard know one trap.
    pub(super) fn guard_one(&mut self, stopped: &Stopped, id: TrapId) {
        let Some(mut guard) = self.guard.take() else {
            return;
        };
        self.guard_ranges(&mut guard);
        if let (Some(trap), Some(to)) = (self.traps.addr(id), self.traps.resume_at(id)) {
            let original = self.original(trap);
            let _: Result<(), CodeError> = guard.add(stopped, &self.memory, trap, to, original);
        }
        self.guard = Some(guard);
    }

    /// The byte that the trap at `at` covers.
    fn original(&self, at: Addr) -> u8 {
        let plan = self.traps.lookup(at).and_then(|id| self.traps.plan(id));
        plan.and_then(|plan| plan.bytes().first().copied())
            .unwrap_or(0xcc)
    }

    /// Where the thread has to go back to that hit a trap which a dead tracer had left, and which is out.
    pub(super) fn inherited_trap(&self, pc: Addr) -> Option<Addr> {
        let trap = pc.wrapping_sub(self.arch.abi().pc_past_trap());
        let guard = self.guard.as_ref()?;
        guard.inherited.contains(&trap).then_some(trap)
    }

    fn guard_ranges(&self, guard: &mut Guard) {
        for &(start, len) in self.copies.iter().skip(guard.ranges) {
            let _: Result<(), CodeError> = guard.add_range(&self.memory, start, len);
        }
    }
}
