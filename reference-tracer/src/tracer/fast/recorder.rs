//! What the engine has that is not of one address space.

use std::sync::Weak;

use fast_ring::Damage;
use ptrace_core::Tid;
use rustc_hash::FxHashSet;

use super::kinds::Kinds;
use super::lanes::{Chunk, Lanes};
use super::pump::{PATIENCE, Pump};
use super::ticks::Ticks;
use super::{Engine, RecordOptions};
use crate::sys::{self, SharedWords};
use crate::tracer::clock::Clock;
use crate::tracer::thread::Thread;

/// The engine, as far as it is not of one address space.
pub(in crate::tracer) struct Recorder {
    pub(super) options: RecordOptions,
    /// Whether stubs may make system calls of their own beside the waiting for room: where those are shown, these would be, too.
    pub(super) may_ask: bool,
    pub(super) lanes: Lanes,
    pub(super) kinds: Kinds,
    pub(super) pump: Option<Pump>,
    pub(super) ticks: Option<Ticks>,
    /// For how many passes more it counts as reading much.
    busy: u32,
    /// The shared memory that is in use.
    chunks: Vec<(SharedWords, Weak<()>)>,
    /// Threads whose rings were found damaged.
    pub(super) damaged: FxHashSet<Tid>,
    /// While records are read: the threads of the rings that had some, so that they are looked up once, not for each record.
    pub(super) seats: Vec<Option<Thread>>,
    pub(in crate::tracer) notes: Vec<String>,
}

impl Recorder {
    pub(in crate::tracer) fn new(options: RecordOptions, may_ask: bool) -> Self {
        Self {
            options,
            may_ask,
            lanes: Lanes::default(),
            kinds: Kinds::default(),
            pump: None,
            ticks: None,
            busy: 0,
            chunks: Vec::new(),
            damaged: FxHashSet::default(),
            seats: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether the engine is wanted.
    pub(in crate::tracer) fn is_wanted(&self) -> bool {
        self.options.engine != Engine::Trap
    }

    /// Whether anybody records.
    pub(in crate::tracer) fn is_active(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// How long a thread waits for a tracer that does not beat, in ticks.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time of some seconds"
    )]
    pub(super) fn patience(&mut self, clock: &Clock) -> u64 {
        let ticks = self.ticks.get_or_insert_with(|| Ticks::start(clock));
        ticks.measure();
        (PATIENCE.as_nanos() as f64 / ticks.rate) as u64
    }

    /// A piece of shared memory more is in use.
    pub(super) fn attend(&mut self, chunk: &Chunk) {
        if let Some(pump) = &self.pump {
            let (region, alive) = chunk.region();
            pump.attend(region, alive);
        }
        self.chunks.retain(|(_, alive)| alive.strong_count() > 0);
        self.chunks.push(chunk.words());
        let words: Vec<_> = self.chunks.iter().map(|(words, _)| *words).collect();
        sys::tell_of_death(&words);
    }

    /// A pass has read so many records. Gives whether the tracer has begun to read much.
    pub(in crate::tracer) fn keep_busy(&mut self, read: usize) -> bool {
        /// Calls that take as long to read as a stop does to handle.
        const MUCH: usize = 64;
        /// After so many passes of less it is over.
        const QUIET: u32 = 256;
        if read >= MUCH {
            return std::mem::replace(&mut self.busy, QUIET) == 0;
        }
        self.busy = self.busy.saturating_sub(1);
        false
    }

    /// Whether the tracer has much to read.
    pub(in crate::tracer) fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// The tracer is about to sleep. `false`: there is something to read first.
    pub(in crate::tracer) fn may_sleep(&self) -> bool {
        let Some(pump) = &self.pump else { return true };
        pump.arm();
        let quarter = self.options.ring as u64 / 4;
        self.lanes.consumers.iter().all(|ring| ring.unread() < quarter)
    }
}

/// What is told of a thread whose memory something else has written.
pub(in crate::tracer) fn overwritten(tid: Tid, damage: Damage) -> String {
    format!("{}, and some calls are not shown: {damage}", whose(tid))
}

/// Whether that was told of this thread.
pub(in crate::tracer) fn is_overwritten(told: &str, tid: Tid) -> bool {
    told.starts_with(&whose(tid))
}

fn whose(tid: Tid) -> String {
    format!("tid {tid}: its records were overwritten")
}
