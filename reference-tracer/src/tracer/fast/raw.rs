//! Records on their way to a raw trace: packed, and not looked at.
//!
//! But for two things that the process alone knows when they are recorded: names of code whose address is an argument or a result, and
//! formats that are longer than what was captured of them. Call points that show such are known beforehand, and their records are looked
//! at: what they need is written to the file, once.

use std::cell::RefCell;

use arch_abi::record::{Capture, Length, Pointer, Through};
use arch_abi::{Addr, Source};
use arrayvec::ArrayVec;
use fast_ring::{Call, End, Record, format, parse, split};
use ptrace_core::Tid;

use super::drain::Constants;
use super::kinds::Kinds;
use super::lanes::Futex;
use super::recorder::{Recorder, overwritten};
use crate::fast::fill::{Moments, Recorded};
use crate::fast::wants::{Reason, Wants};
use crate::memory::TargetMemory;
use crate::points::Points;
use crate::proto::{Lens, Plan, Type, TypeId, Types};
use crate::raw::{Put, kind, put_entry, put_recording};
use crate::tracer::Tracer;
use crate::tracer::reporter::Reporter;
use crate::tracer::tape::{BLOCK, Tape};
use crate::tracer::thread::Thread;
use crate::value::{RawCall, Shown};

/// What of the records of a call point needs the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::tracer) struct Look {
    /// Words of the call that are addresses of code.
    call: Vec<usize>,
    /// Whether the result is one.
    result: bool,
    /// The format, if there is one.
    format: Option<Format>,
}

/// Where a format is among the captures of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Format {
    /// Which capture it is.
    index: usize,
    /// How many arguments have the text behind them captured.
    args: usize,
}

impl Format {
    /// The format of the calls of `plan`, if there is one.
    fn of(plan: &Plan, wants: &Wants) -> Option<Self> {
        let planned = plan.params.iter().find(|planned| planned.param.pack.is_some())?;
        let piece = planned.place.as_ref().and_then(|place| place.pieces().first());
        let pointer = piece.and_then(|piece| match piece.source {
            Source::Int(index) => Some(Pointer::Int(index)),
            Source::Stack(offset) => u8::try_from(offset.checked_sub(8)? / 8).ok().map(Pointer::Stack),
            _ => None,
        });
        let captures = &wants.recording.call.captures;
        let is_format = |capture: &Capture| {
            Some(capture.pointer) == pointer
                && capture.through == Through::NOTHING
                && matches!(capture.length, Length::String { .. })
        };
        let guesses = captures
            .iter()
            .filter(|capture| matches!(capture.length, Length::Guess { .. }));
        Some(Self {
            // Where it is not found, all is looked at.
            index: captures.iter().position(is_format).unwrap_or(usize::MAX),
            args: guesses.count(),
        })
    }
}

impl Look {
    /// What the calls of `plan` need; `None`: nothing.
    ///
    /// # Errors
    /// Code that is named where records cannot tell of it beforehand: behind a pointer, or in a structure.
    pub(in crate::tracer) fn of(types: &Types, plan: &Plan, wants: &Wants) -> Result<Option<Self>, Reason> {
        let mut look = Self {
            format: Format::of(plan, wants),
            ..Self::default()
        };
        for planned in &plan.params {
            match code_in(types, planned.param.ty) {
                Code::None => {}
                Code::Within => return Err(Reason::CodeNames),
                Code::Is => {
                    let pieces = planned.place.as_ref().map_or(&[][..], |place| place.pieces());
                    let [piece] = pieces else {
                        return Err(Reason::CodeNames);
                    };
                    let ints = usize::from(wants.recording.call.ints);
                    look.call.push(match piece.source {
                        Source::Int(index) => index.into(),
                        Source::Stack(offset) if offset >= 8 => {
                            ints + usize::try_from(offset / 8 - 1).map_err(|_| Reason::CodeNames)?
                        }
                        _ => return Err(Reason::CodeNames),
                    });
                }
            }
        }
        match code_in(types, plan.prototype.ret) {
            Code::None => {}
            Code::Is => look.result = true,
            Code::Within => return Err(Reason::CodeNames),
        }
        if look.call.len() > MOST_CODE {
            return Err(Reason::CodeNames);
        }
        Ok((look != Self::default()).then_some(look))
    }
}

/// The most parameters that are addresses of code.
const MOST_CODE: usize = 16;

/// Where a value has an address of code.
enum Code {
    None,
    Is,
    Within,
}

fn code_in(types: &Types, ty: TypeId) -> Code {
    if *types.get(types.bare(ty)) == Type::Code {
        return match types.get(ty) {
            Type::Lens(Lens::Hide, _) => Code::None,
            _ => Code::Is,
        };
    }
    // A structure may lead back to itself.
    let (mut seen, mut left) = (rustc_hash::FxHashSet::default(), vec![ty]);
    while let Some(ty) = left.pop() {
        if !seen.insert(ty) {
            continue;
        }
        match types.get(ty) {
            Type::Code => return Code::Within,
            Type::Pointer(of) | Type::Lens(_, of) | Type::Array { of, .. } => left.push(*of),
            Type::Struct(fields) | Type::Union(fields) => left.extend(fields.iter().map(|field| field.ty)),
            _ => {}
        }
    }
    Code::None
}

impl Tracer {
    /// Writes what was recorded. Gives how many records were read.
    pub(in crate::tracer) fn drain_raw(&mut self) -> usize {
        let mut read = 0;
        for ring in 0..self.recorder.lanes.consumers.len() {
            if let Some(tid) = self.recorder.lanes.owner(ring) {
                read += self.drain_ring(ring, tid);
            }
        }
        read
    }

    fn drain_ring(&mut self, ring: usize, tid: Tid) -> usize {
        let Some(mut tape) = self.reporter.tape.take() else {
            return 0;
        };
        let Recorder {
            lanes,
            kinds,
            damaged,
            notes,
            ..
        } = &mut self.recorder;
        let Some(consumer) = lanes.consumers.get_mut(ring) else {
            return 0;
        };
        let reporter = &mut self.reporter;
        define_kinds(&mut tape, kinds, reporter, self.store.points());
        let mut lane = tape.take_lane(ring, tid);
        let mut looker = Looker {
            tape: &mut tape,
            kinds,
            reporter,
            thread: self.threads.get(&tid),
        };
        let looks = looker.tape.looks.iter().any(Option::is_some);
        let (mut read, mut is_damaged) = (0, false);
        let open = lane.packer.open();
        consumer.drain_whole(&Futex, |records| match records {
            Ok(records) => {
                // They are as long as they tell: that was looked at.
                read += lane.packer.pack_all(records, &mut lane.packed).unwrap_or(0);
                if looks {
                    looker.look_at_all(records);
                }
                if lane.packed.len() >= BLOCK {
                    looker.reporter.out.write(|_, out| lane.put(out));
                }
            }
            Err(damage) => {
                is_damaged = true;
                if damaged.insert(tid) {
                    notes.push(overwritten(tid, damage));
                }
            }
        });
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.returns.note(lane.packer.open() - open);
            if is_damaged {
                thread.returns.lose();
            }
        }
        tape.records += read as u64;
        tape.lanes[ring] = Some(lane);
        self.reporter.tape = Some(tape);
        read
    }

    /// A thread's ring is about to be another's: what was read of it is written.
    pub(in crate::tracer) fn close_lane(&mut self, tid: Tid) {
        let ring = self.recorder.lanes.of(tid);
        if let (Some(ring), Some(tape)) = (ring, &mut self.reporter.tape) {
            self.reporter.out.write(|_, out| tape.close_lane(ring, out));
        }
    }
}

/// Defines the kinds of records that are new.
fn define_kinds(tape: &mut Tape, kinds: &Kinds, reporter: &mut Reporter, points: &Points) {
    for id in tape.looks.len()..kinds.len() {
        let Some(kind) = u32::try_from(id).ok().and_then(|id| kinds.get(id)) else {
            return;
        };
        let types = reporter.prototypes.types();
        // What a stub cannot tell of was not accepted.
        let look = Look::of(types, &kind.plan, &kind.wants).unwrap_or_default();
        tape.looks.push(look.filter(|_| reporter.options().lines));
        let point = kind.point;
        reporter.out.write(|_, out| {
            tape.define(point, points.get(point), &kind.plan, types, out);
            put_entry(out, kind::RECORDS, |out| {
                out.number(id as u64);
                out.number(point.0.into());
                put_recording(out, &kind.wants.recording);
            });
        });
    }
}

/// Looks at records.
struct Looker<'a> {
    tape: &'a mut Tape,
    kinds: &'a Kinds,
    reporter: &'a mut Reporter,
    thread: Option<&'a Thread>,
}

impl Looker<'_> {
    fn look_at_all(&mut self, mut records: &[u8]) {
        while let Ok((record, rest)) = split(records) {
            records = rest;
            self.look(record);
        }
    }

    #[inline]
    fn look(&mut self, record: &[u8]) {
        let id = record.first_chunk().map_or(0, |word| u32::from_le_bytes(*word)) & (format::MAX_IDS - 1);
        let look = usize::try_from(id).ok().and_then(|id| self.tape.looks.get(id));
        let (Some(Some(look)), Some(thread)) = (look, self.thread) else {
            return;
        };
        let (mut code, mut format) = (ArrayVec::<u64, MOST_CODE>::new(), None);
        match parse(record, &self.kinds.shapes) {
            Ok(Record::Call(call) | Record::TailCall(call)) => {
                let words = look.call.iter().filter_map(|&index| call.words().get(index));
                code.extend(words.take(MOST_CODE));
                format = look.format.map(|format| (format, call));
            }
            Ok(Record::Return(ret)) if look.result => code.extend(ret.words().get(0)),
            _ => {}
        }
        for at in code {
            self.name(thread, Addr::new(at));
        }
        if let Some((format, call)) = format {
            self.format(thread, format, &call);
        }
    }

    /// Writes the name of the code at `at`, unless that was done.
    fn name(&mut self, thread: &Thread, at: Addr) {
        if at.get() == 0 || !self.tape.known.insert((thread.tgid, at.get())) {
            return;
        }
        let mut name = Vec::new();
        if !self
            .reporter
            .code_name(&*thread.space.borrow(), thread.tid.raw(), at, &mut name)
        {
            return;
        }
        self.put(kind::NAME, thread.tgid, at.get(), &name);
    }

    /// Writes what showing a format reads of the program's constants.
    fn format(&mut self, thread: &Thread, format: Format, call: &Call<'_>) {
        let captured = call.captures().iter().nth(format.index);
        let whole = captured.filter(|format| format.end == End::Whole);
        let wanted = whole.map_or(usize::MAX, |format| {
            // An asterisk takes an argument, too.
            format
                .bytes
                .iter()
                .filter(|byte| matches!(byte, b'%' | b'*'))
                .count()
        });
        if wanted <= format.args {
            return;
        }
        let Some(kind) = self.kinds.get(call.id()) else {
            return;
        };
        let (mut raw, mut recorded) = (RawCall::default(), Recorded::default());
        kind.wants.fill_call(call, &mut raw, &mut recorded);
        let space = thread.space.borrow();
        let noting = Noting {
            memory: Constants(&space),
            read: RefCell::default(),
        };
        let memory = Moments {
            ret: None,
            call: &recorded,
            constant: &noting,
        };
        self.reporter
            .decode_unseen(&kind.plan, &raw, &mut Shown::default(), &memory);
        for (at, bytes) in noting.read.take() {
            if self.tape.known.insert((thread.tgid, at)) {
                self.put(kind::CONSTANT, thread.tgid, at, &bytes);
            }
        }
    }

    fn put(&mut self, kind: u8, tgid: Tid, at: u64, bytes: &[u8]) {
        self.reporter.out.write(|_, out| {
            put_entry(out, kind, |out| {
                out.id(tgid.raw());
                out.number(at);
                out.text(bytes);
            });
        });
    }
}

/// Memory that notes what is read of it.
struct Noting<'a> {
    memory: Constants<'a>,
    read: RefCell<Vec<(u64, Vec<u8>)>>,
}

impl TargetMemory for Noting<'_> {
    fn read(&self, at: Addr, buf: &mut [u8]) -> usize {
        let got = self.memory.read(at, buf);
        if let Some(bytes) = buf.get(..got).filter(|bytes| !bytes.is_empty()) {
            self.read.borrow_mut().push((at.get(), bytes.to_vec()));
        }
        got
    }
}
