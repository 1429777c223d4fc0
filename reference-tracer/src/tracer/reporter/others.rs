//! What is shown beside calls.

use arch_abi::Addr;
use ptrace_core::{ExitStatus, Signal, Tid};

use super::Reporter;
use crate::points::Points;
use crate::raw::Event;
use crate::text::Moment;

impl Reporter {
    /// A stack: lines that stand by themselves.
    pub(in crate::tracer) fn lines(&mut self, text: &[u8]) {
        if self.tape.is_some() {
            let tgid = self.out.process();
            return self.tell(Event::Lines { tgid, text });
        }
        self.out.write(|sink, out| {
            sink.finish(out);
            out.extend_from_slice(text);
        });
    }

    /// A signal is delivered.
    pub(in crate::tracer) fn signal(&mut self, tid: Tid, pc: Addr, signal: Signal) {
        if self.options.signals && self.options.lines {
            let at = self.moment(tid, pc);
            if self.tape.is_some() {
                return self.tell(Event::Signal {
                    tid: tid.raw(),
                    time: at.time,
                    pc: pc.get(),
                    number: signal.raw(),
                });
            }
            self.out.write(|sink, out| sink.signal(out, at, signal.raw()));
        }
    }

    /// A process ended.
    pub(in crate::tracer) fn exited(&mut self, tid: Tid, status: ExitStatus) {
        if self.tape.is_some() {
            return self.tape_exited(tid, status);
        }
        if !self.options.lines {
            return;
        }
        let at = self.moment(tid, Addr::new(0));
        self.out.write(|sink, out| match status {
            ExitStatus::Exited(status) => sink.exited(out, at, status.into()),
            ExitStatus::Signaled { signal, .. } => sink.killed(out, at, signal.raw()),
        });
    }

    /// A process is gone: nothing more comes of it.
    pub(in crate::tracer) fn process_end(&mut self, points: &Points, tgid: Tid) {
        self.tell(Event::ProcessEnd { tgid: tgid.raw() });
        if self.out.key() != 0 && self.tape.is_none() {
            self.write_table(points);
            self.tables.insert(tgid.raw());
            self.out.close(tgid);
        }
    }

    /// A thread ended, but not its process.
    pub(in crate::tracer) fn thread_end(&mut self, tid: Tid) {
        if self.tape.is_some() {
            let (tid, time) = (tid.raw(), self.clock.now());
            return self.tell(Event::ThreadEnd { tid, time });
        }
        if self.options.lines {
            let at = self.moment(tid, Addr::new(0));
            self.out.write(|sink, out| sink.thread_end(out, at));
        }
    }

    /// A process has a new program.
    pub(in crate::tracer) fn exec(&mut self, tid: Tid) {
        if self.tape.is_some() {
            let (tid, time) = (tid.raw(), self.clock.now());
            return self.tell(Event::Exec { tid, time });
        }
        if self.options.lines {
            let at = self.moment(tid, Addr::new(0));
            self.out.write(|sink, out| sink.exec(out, at));
        }
    }

    fn moment(&self, tid: Tid, address: Addr) -> Moment {
        Moment {
            tid: tid.raw(),
            time: self.clock.now(),
            address,
        }
    }
}
