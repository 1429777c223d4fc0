//! A raw trace made into what the run itself would have shown.
//!
//! Records and events go the way that they go while a program is traced: calls are pending, return, or are left, and the same reporter
//! shows them. What was asked of the process then is in the file.

mod ahead;
mod definitions;
mod events;
mod player;
mod world;

use std::path::Path;

use crate::filter::FilterSet;
use crate::output::OutputError;
use crate::raw::{Chains, Header, RawError, RawFile, Section, Survey, Until, kind};
use crate::summary::Report;
use crate::tracer::streams::Destination;
use crate::tracer::{ReportOptions, reporter::Reporter};
use ahead::Ahead;
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
        let (mut chains, mut ahead) = (Chains::default(), Ahead::default());
        // How the file has ended, once it has: what stands before is whole.
        let mut end = None;
        loop {
            while end.is_none() && !ahead.is_full() {
                end = self.read(player, &mut chains, &mut ahead);
            }
            let until = ahead.first().map_or(Until::Limits, |event| player.until(event));
            player.records(&mut chains, &self.file, until, &ahead)?;
            if player.is_over() {
                return Ok(());
            }
            let Some(event) = ahead.pop() else {
                return end.unwrap_or(Ok(()));
            };
            let shown = player.event(&mut chains, &event);
            shown.ok_or_else(|| self.file.damaged(event.at))?;
            if player.is_over() {
                return Ok(());
            }
        }
    }

    /// Reads the next entry. Gives how the file ends, if it does.
    fn read(
        &mut self,
        player: &mut Player,
        chains: &mut Chains,
        ahead: &mut Ahead,
    ) -> Option<Result<(), RawError>> {
        let at = self.file.here();
        let sound = match self.file.next() {
            Err(error) => return Some(Err(error)),
            Ok(None | Some(Section::Entry(kind::END, _))) => return Some(Ok(())),
            Ok(Some(Section::Block { tid, fresh, packed })) => chains.add(tid, fresh, packed, ahead.read()),
            Ok(Some(Section::Entry(kind::CLOCK, _))) => Some(()),
            Ok(Some(Section::Entry(kind, bytes))) if kind < kind::EVENT => player.define(kind, bytes, at),
            Ok(Some(Section::Entry(kind, bytes))) => ahead.push(kind, bytes, at),
        };
        sound.is_none().then(|| Err(self.file.damaged(at)))
    }
}
