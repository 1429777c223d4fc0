//! Where the lines of a trace go: all to one output, or those of each process to its own.

use std::io::Write as _;

use ptrace_core::{Interruptible, Tid};
use rustc_hash::FxHashMap;

use crate::output::{Output, OutputError, PerProcess};
use crate::text::{Page, PidPrefix, TextOptions, TextSink};

/// Where a trace is written to.
#[derive(Debug)]
pub enum Destination {
    /// One output for all.
    One(Output),
    /// A file for each process.
    Each(PerProcess),
}

/// The outputs, each with the state of its lines.
pub(super) struct Streams {
    destination: Destination,
    options: TextOptions,
    /// The state of the one output.
    sink: TextSink,
    /// The states of the outputs of processes.
    sinks: FxHashMap<i32, TextSink>,
    /// The process that lines are of.
    current: i32,
    /// The first output of a process that could not be opened.
    failed: Option<OutputError>,
}

impl Streams {
    pub(super) fn new(destination: Destination, options: TextOptions) -> Self {
        Self {
            destination,
            options,
            sink: TextSink::new(options),
            sinks: FxHashMap::default(),
            current: 0,
            failed: None,
        }
    }

    /// What follows is of this process.
    #[inline]
    pub(super) fn focus(&mut self, tgid: Tid) {
        self.current = tgid.raw();
    }

    /// Whose lines are kept apart: the process, or 0 where there is one output for all.
    #[inline]
    pub(super) fn key(&self) -> i32 {
        match self.destination {
            Destination::One(_) => 0,
            Destination::Each(_) => self.current,
        }
    }

    /// The process that lines are of.
    pub(super) fn process(&self) -> i32 {
        self.current
    }

    /// From now on lines name their thread in this way.
    pub(super) fn name_threads(&mut self, how: PidPrefix) {
        self.options.pid = how;
        self.sink.name_threads(how);
        for sink in self.sinks.values_mut() {
            sink.name_threads(how);
        }
    }

    /// Writes a line, or a part of one.
    #[inline]
    pub(super) fn write(&mut self, line: impl FnOnce(&mut TextSink, &mut Vec<u8>)) {
        if let Some((sink, output)) = self.output() {
            line(sink, output.buffer());
            output.end_line();
        }
    }

    /// Makes a short line. `false`: it could not be made so.
    #[inline]
    pub(super) fn line(&mut self, line: impl FnOnce(&mut TextSink, &mut Page) -> bool) -> bool {
        let Some((sink, output)) = self.output() else {
            return true;
        };
        let made = line(sink, output.page());
        output.end_line();
        made
    }

    /// The output of the process that lines are of, and the state of its lines; none if it can't be opened.
    #[inline]
    fn output(&mut self) -> Option<(&mut TextSink, &mut Output)> {
        match &mut self.destination {
            Destination::One(output) => Some((&mut self.sink, output)),
            Destination::Each(files) if self.failed.is_none() => match files.of(self.current) {
                Ok(output) => {
                    let sink = || TextSink::new(self.options);
                    Some((self.sinks.entry(self.current).or_insert_with(sink), output))
                }
                Err(error) => {
                    // When standard error is what broke, nobody is left to be told.
                    let _ = writeln!(std::io::stderr(), "rltrace: {error}");
                    self.failed = Some(error);
                    None
                }
            },
            Destination::Each(_) => None,
        }
    }

    /// Writes text that stands by itself.
    pub(super) fn text(&mut self, text: &str) {
        self.write(|sink, out| {
            sink.finish(out);
            out.extend_from_slice(text.as_bytes());
        });
    }

    /// A process has ended: nothing more is of it.
    pub(super) fn close(&mut self, tgid: Tid) {
        if let Destination::Each(files) = &mut self.destination {
            files.close(tgid.raw());
            self.sinks.remove(&tgid.raw());
        }
    }

    /// Whether there is something that should be written soon.
    pub(super) fn is_waiting(&mut self) -> bool {
        match &mut self.destination {
            Destination::One(output) => !output.is_empty(),
            Destination::Each(_) => true,
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(&self.destination, Destination::One(output) if output.is_terminal())
    }

    pub(super) fn flush(&mut self) {
        match &mut self.destination {
            Destination::One(output) => output.flush_idle(),
            Destination::Each(files) => files.flush_idle(),
        }
    }

    /// Whether an output is broken.
    pub(super) fn is_broken(&self) -> bool {
        match &self.destination {
            Destination::One(output) => output.broken().is_some(),
            Destination::Each(files) => self.failed.is_some() || files.broken().is_some(),
        }
    }

    /// Lets writes end when `calls` are over.
    pub(super) fn interrupt_by(&mut self, calls: &Interruptible) {
        match &mut self.destination {
            Destination::One(output) => output.interrupt_by(calls.clone()),
            Destination::Each(files) => files.interrupt_by(calls),
        }
    }

    /// Writes all there is and closes.
    ///
    /// # Errors
    /// What broke an output, which was told.
    pub(super) fn finish(mut self) -> Result<(), OutputError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.destination {
            Destination::One(output) => output.finish(),
            Destination::Each(files) => files.finish(),
        }
    }

    /// Ends lines that are open.
    pub(super) fn end_lines(&mut self) {
        match &mut self.destination {
            Destination::One(output) => {
                self.sink.finish(output.buffer());
                output.end_line();
            }
            Destination::Each(files) => {
                for (&pid, sink) in &mut self.sinks {
                    if let Ok(output) = files.of(pid) {
                        sink.finish(output.buffer());
                        output.end_line();
                    }
                }
            }
        }
    }
}
