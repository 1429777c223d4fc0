//! All that is not recorded inside programs.

use arch_abi::Addr;
use breakpoint::{Frame, How, Pushed};
use ptrace_core::{ExitStatus, Signal, Tid};

use super::ahead::Queued;
use super::player::{Player, Thread, add, renew};
use super::world::Past;
use crate::points::Kind as PointKind;
use crate::raw::{Chains, Entry, Event, Input, kind};
use crate::tracer::lifecycle::Over;
use crate::tracer::reporter::TextReturn;
use crate::tracer::thread::Pending;
use crate::value::RawReturn;

/// What tells the calls of a call point that are met by traps from others: an address that no program has.
const fn trapped(point: u32) -> Addr {
    Addr::new(1 << 62 | point as u64)
}

/// With more calls than these under way, processes begin in none: each takes some 700 bytes.
const MOST_INHERITED: usize = 500_000;

impl Player {
    /// Takes a definition, which stands at `place` in the file. `None`: it is not sound.
    pub(super) fn define(&mut self, kind: u8, payload: &[u8], place: u64) -> Option<()> {
        if !matches!(kind, kind::NAME | kind::CONSTANT) {
            return self.definitions.take(kind, payload, &mut self.reporter);
        }
        let mut input = Input(payload);
        let (tgid, at, bytes) = (input.id()?, input.number()?, input.text()?);
        input.end(())?;
        let past = self.pasts.entry(tgid).or_default();
        past.put(place, at, kind == kind::NAME, bytes);
        Some(())
    }

    /// Shows an event. `None`: it is none.
    pub(super) fn event(&mut self, chains: &mut Chains, queued: &Queued) -> Option<()> {
        let event = Event::take(queued.kind, &queued.payload)?;
        self.focus(&event);
        if let Some(tid) = event.thread() {
            let tgid = self.threads.get(&tid).map_or(tid, |thread| thread.tgid);
            if let Some(past) = self.pasts.get_mut(&tgid) {
                past.come_to(queued.at);
            }
        }
        match event {
            Event::Thread { tid, tgid } => self.thread(tid, tgid),
            Event::Forking { parent, child } => self.fork(parent, child),
            Event::NameThreads => self.reporter.name_threads(),
            Event::Stack { tid, high, main } => {
                if let Some(thread) = self.threads.get_mut(&tid) {
                    (thread.high, thread.stacks.main) = (high, main);
                }
            }
            Event::Entry(entry) => self.entry(&entry),
            Event::Exit {
                tid,
                serial,
                time,
                took,
                failed,
                words,
                args,
                result,
            } => {
                let text = TextReturn {
                    time,
                    took,
                    failed,
                    args,
                    result,
                };
                self.exit(tid, serial, words, &text);
            }
            Event::Unwound { tid, serial, .. } => self.unwound(tid, serial),
            other => self.end(chains, &other),
        }
        Some(())
    }

    /// What ends.
    fn end(&mut self, chains: &mut Chains, event: &Event<'_>) {
        match *event {
            Event::Close {
                tid, cut_off, shown, ..
            } => self.close_all(tid, if cut_off { Over::CutOff } else { Over::NoReturn }, shown),
            Event::Signal { tid, pc, number, .. } => {
                self.reporter
                    .signal(Tid::new(tid), Addr::new(pc), Signal::new(number));
            }
            Event::Exited {
                tid, status, signal, ..
            } => {
                let status = match signal {
                    0 => ExitStatus::Exited(status),
                    signal => ExitStatus::Signaled {
                        signal: Signal::new(signal),
                        core_dumped: false,
                    },
                };
                self.reporter.exited(Tid::new(tid), status);
            }
            Event::ProcessEnd { tgid } => {
                self.reporter
                    .process_end(&self.definitions.points, Tid::new(tgid));
                self.end_program(tgid);
                self.threads.retain(|&tid, thread| {
                    let stays = thread.tgid != tgid;
                    if !stays {
                        chains.forget(tid);
                    }
                    stays
                });
            }
            Event::ThreadEnd { tid, .. } => {
                self.reporter.thread_end(Tid::new(tid));
                self.threads.remove(&tid);
                chains.forget(tid);
            }
            Event::Exec { tid, .. } => {
                self.reporter.exec(Tid::new(tid));
                self.end_program(tid);
            }
            Event::Lines { text, .. } => self.reporter.lines(text),
            _ => {}
        }
    }

    /// What was kept of a program is not for the next one of the process.
    fn end_program(&mut self, tgid: i32) {
        if self.pasts.get_mut(&tgid).is_some_and(Past::begin_again) {
            self.pasts.remove(&tgid);
        }
    }

    /// What is shown is of the event's process, and of its time.
    fn focus(&mut self, event: &Event<'_>) {
        let (tid, time) = match *event {
            Event::Entry(Entry { tid, time, .. })
            | Event::Exit { tid, time, .. }
            | Event::Unwound { tid, time, .. }
            | Event::Close { tid, time, .. }
            | Event::Signal { tid, time, .. }
            | Event::Exited { tid, time, .. }
            | Event::ThreadEnd { tid, time }
            | Event::Exec { tid, time } => (tid, Some(time)),
            Event::Lines { tgid, .. } | Event::ProcessEnd { tgid } => (tgid, None),
            Event::Thread { .. } | Event::Forking { .. } | Event::NameThreads | Event::Stack { .. } => return,
        };
        let tgid = self.threads.get(&tid).map_or(tid, |thread| thread.tgid);
        self.reporter.out.focus(Tid::new(tgid));
        if let Some(time) = time {
            self.reporter.clock.set(time);
        }
    }

    /// A thread makes a process, which begins in the same calls, if those of all are not too many then.
    fn fork(&mut self, parent: i32, child: i32) {
        let all = self
            .threads
            .values()
            .map(|thread| &thread.calls)
            .chain(self.forks.values());
        let known: usize = all.map(|calls| calls.len() + 1).sum();
        if let Some(parent) = self.threads.get(&parent)
            && known + parent.calls.len() <= MOST_INHERITED
        {
            self.forks.insert(child, parent.calls.clone());
        }
    }

    fn thread(&mut self, tid: i32, tgid: i32) {
        let mut thread = Thread::new(tgid, self.threads.len());
        if let Some(calls) = self.forks.remove(&tid) {
            // The child returns from the calls that its parent was in.
            thread.calls = calls;
            let own = |call: &mut Pending| call.call.tid = tid;
            thread.calls.iter_mut().for_each(|(_, call)| own(call));
        }
        self.threads.insert(tid, thread);
    }

    fn entry(&mut self, entry: &Entry<'_>) {
        let (Some(defined), Some(thread)) = (
            self.definitions.point(entry.point),
            self.threads.get_mut(&entry.tid),
        ) else {
            return;
        };
        if !defined.shown {
            return;
        }
        let mut pending = Box::<Pending>::default();
        renew(&mut pending);
        (pending.point, pending.serial) = (defined.id, entry.serial);
        let call = &mut pending.call;
        (call.tid, call.call_point, call.time) = (entry.tid, defined.id.0, entry.time);
        (call.sp, call.return_address) = (Addr::new(entry.sp), Addr::new(entry.address));
        if let Some(jump) = &entry.jump {
            call.words[..6].copy_from_slice(&jump.words);
            call.word_count = 6;
            call.stack.extend_from_slice(jump.stack);
            let past = self.pasts.get(&thread.tgid).unwrap_or(&self.nothing);
            self.reporter
                .decode_unseen(&defined.plan, &pending.call, &mut pending.shown, past);
        }
        if self.definitions.points.get(defined.id).kind == PointKind::Syscall {
            self.reporter
                .entry_text(&self.definitions.points, &mut pending, entry.args);
            thread.syscall = Some(pending);
            return;
        }
        let by_jump = entry.jump.is_some();
        let sp = pending.call.sp;
        let frame = Frame {
            return_to: if by_jump {
                thread.returns_to(0, sp, true)
            } else {
                pending.call.return_address
            },
            sp_after: sp.wrapping_add(defined.plan.arch.abi().return_address_size()),
            entry: trapped(entry.point),
        };
        let mut closed = Vec::new();
        let pushed = thread.calls.push(frame, pending, &mut thread.stacks, &mut closed);
        self.close(entry.tid, closed, None);
        let pending = self.threads.get_mut(&entry.tid).and_then(Thread::around);
        if let (Pushed::Pending, Some(pending)) = (pushed, pending) {
            self.reporter
                .entry_text(&self.definitions.points, pending, entry.args);
        }
    }

    fn exit(&mut self, tid: i32, serial: u64, words: [u64; 2], text: &TextReturn<'_>) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        if let Some(pending) = thread.syscall.take_if(|pending| pending.serial == serial) {
            return self.exit_text(tid, &pending, text);
        }
        let known = thread
            .returned
            .iter()
            .position(|pending| pending.serial == serial);
        if let Some(index) = known {
            let pending = thread.returned.swap_remove(index);
            return self.exit_text(tid, &pending, text);
        }
        let found = thread
            .calls
            .iter()
            .rev()
            .find(|(_, pending)| pending.serial == serial);
        let Some((&frame, _)) = found else { return };
        let mut closed = Vec::new();
        thread
            .calls
            .returned(frame.return_to, frame.sp_after, &mut thread.stacks, &mut closed);
        let raw = RawReturn {
            words,
            time: text.time,
            ..RawReturn::default()
        };
        for ended in closed {
            let is_own = ended.token.serial == serial;
            match ended.how {
                How::Unwound => self.close(tid, vec![ended], None),
                How::Returned if is_own => self.exit_text(tid, &ended.token, text),
                // What it has jumped to has its result.
                How::Returned if ended.token.is_recorded => self.finish_call(tid, &ended.token, &raw, None),
                How::Returned => {
                    if let Some(thread) = self.threads.get_mut(&tid) {
                        thread.returned.push(*ended.token);
                    }
                }
            }
        }
    }

    fn exit_text(&mut self, tid: i32, pending: &Pending, text: &TextReturn<'_>) {
        let sample = self
            .reporter
            .returned_text(&self.definitions.points, pending, text);
        if let Some(thread) = self.threads.get_mut(&tid) {
            add(thread, sample.as_ref(), false);
        }
    }

    /// A call was found to be left. Its place among the calls stays until that shows itself there, too.
    fn unwound(&mut self, tid: i32, serial: u64) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let mut calls = thread.calls.iter_mut().map(|(_, pending)| pending);
        if let Some(pending) = calls.find(|pending| pending.serial == serial && !pending.hidden) {
            self.reporter.unwound(&self.definitions.points, pending);
            pending.hidden = true;
        }
    }

    /// All calls of a thread are over.
    fn close_all(&mut self, tid: i32, how: Over, shown: bool) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let syscall = thread.syscall.take();
        let mut closed = Vec::new();
        thread.calls.drain(&mut closed);
        let points = &self.definitions.points;
        if let Some(call) = syscall.filter(|_| shown) {
            self.reporter.no_return(points, &call);
        }
        for call in closed.iter().filter(|_| shown) {
            how.show(&mut self.reporter, points, &call.token);
        }
    }
}
