//! A raw trace made into what the run itself would have shown.
//!
//! Records and events go the way that they go while a program is traced: calls are pending, return, or are left, and the same reporter
//! shows them. What was asked of the process then is in the file.

mod definitions;
mod events;
mod player;
mod world;

use std::path::Path;

use crate::filter::FilterSet;
use crate::output::OutputError;
use crate::raw::{Chains, Header, RawError, RawFile, Section, Survey, kind};
use crate::summary::Report;
use crate::tracer::streams::Destination;
use crate::tracer::{ReportOptions, reporter::Reporter};
use definitions::Definitions;
use player::Player;

/// A raw trace that can be replayed.
#[derive(Debug)]
pub(crate) struct Replay {
    file: RawFile,
    header: Header,
    survey: Survey,
}

/// How a replay went.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// Why it is not whole, if it is not.
    pub(crate) problem: Option<RawError>,
    /// What was told the user when it was recorded, and what is to be told now.
    pub(crate) notes: Vec<String>,
    /// The summary, if one was asked for.
    pub(crate) summary: Option<Report>,
    /// Whether a part of the text could not be written, which was told.
    pub(crate) lost: bool,
}

/// What follows one another in a file.
enum Step {
    /// Something was defined, or records wait to be read.
    Next,
    /// Something happened, after all records so far.
    Event(u8),
    /// The file is over.
    End,
}

impl Replay {
    /// Opens a raw trace.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(crate) fn open(path: &Path) -> Result<Self, RawError> {
        let (mut file, header) = RawFile::open(path)?;
        let survey = file.survey();
        Ok(Self { file, header, survey })
    }

    /// With which options it was recorded.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Shows it. `filter`: only calls that it selects.
    pub(crate) fn run(
        mut self,
        destination: Destination,
        report: ReportOptions,
        demangle: bool,
        filter: Option<FilterSet>,
    ) -> Replayed {
        let reporter = Reporter::new(destination, crate::proto::Prototypes::new(), report);
        let definitions = Definitions::new(&self.header, demangle, filter);
        let mut player = Player::new(reporter, definitions, self.survey.clocks);
        let played = self.play(&mut player);
        let ending = self.survey.ending.take();
        let whole = ending.is_some() || player.is_over();
        let problem = match played {
            Err(error) => Some(error),
            Ok(()) if !whole => Some(self.file.cut()),
            Ok(()) => None,
        };
        let mut notes = ending.unwrap_or_default().notes;
        let (reporter, points) = player.finish(&mut notes);
        let summary = reporter.summary(&points);
        let lost = match reporter.out.finish() {
            Ok(()) => false,
            Err(error) => matches!(error, OutputError::Write { .. } | OutputError::Open { .. }),
        };
        Replayed {
            problem,
            notes,
            summary,
            lost,
        }
    }

    fn play(&mut self, player: &mut Player) -> Result<(), RawError> {
        let (mut chains, mut payload) = (Chains::default(), Vec::new());
        loop {
            let step = match self.step(player, &mut chains, &mut payload) {
                Ok(step) => step,
                Err(error) => {
                    // What stands before is whole.
                    player.records(&mut chains, &self.file)?;
                    return Err(error);
                }
            };
            if matches!(step, Step::Next) {
                continue;
            }
            player.records(&mut chains, &self.file)?;
            match step {
                Step::Event(kind) if !player.is_over() => {
                    let event = player.event(&mut chains, kind, &payload);
                    event.ok_or_else(|| self.file.damaged_here())?;
                }
                _ => return Ok(()),
            }
            if player.is_over() {
                return Ok(());
            }
        }
    }

    /// Takes the next entry. An event's payload is left in `payload`.
    fn step(
        &mut self,
        player: &mut Player,
        chains: &mut Chains,
        payload: &mut Vec<u8>,
    ) -> Result<Step, RawError> {
        let sound = match self.file.next()? {
            None | Some(Section::Entry(kind::END, _)) => return Ok(Step::End),
            Some(Section::Block { tid, fresh, packed }) => chains.add(tid, fresh, packed),
            Some(Section::Entry(kind::CLOCK, _)) => Some(()),
            Some(Section::Entry(kind, bytes)) if kind < kind::EVENT => player.define(kind, bytes),
            Some(Section::Entry(kind, bytes)) => {
                payload.clear();
                payload.extend_from_slice(bytes);
                return Ok(Step::Event(kind));
            }
        };
        sound.map(|()| Step::Next).ok_or_else(|| self.file.damaged_here())
    }
}
