//! A raw trace as it is read: entry by entry, and nothing of it believed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{Ending, HEAD, Header, Input, LONGEST, MAGIC, kind};
use crate::output::describe;

/// Why a file cannot be replayed, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RawError {
    /// It cannot be opened.
    #[error("cannot read '{}': {}", path.display(), describe(reason))]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read '{}': {}", path.display(), describe(reason))]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// It is another kind of file.
    #[error("'{}' is no raw trace: those are made by --record", path.display())]
    NotRaw {
        /// The file.
        path: PathBuf,
    },
    /// It is of another version.
    #[error("'{}' is a raw trace of version {version}, and this rltrace reads version {}", path.display(), MAGIC[7])]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u8,
    },
    /// It is not whole.
    #[error("'{}' ends in the middle: what was recorded after that is not there", path.display())]
    Cut {
        /// The file.
        path: PathBuf,
    },
    /// It has what no tracer writes.
    #[error("'{}' is damaged at byte {at}: what was recorded after that is not shown", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
}

/// A piece of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where it begins.
    pub(crate) at: u64,
    /// Its bytes.
    pub(crate) len: usize,
}

/// What comes next in a file.
#[derive(Debug)]
pub(crate) enum Section<'a> {
    /// An entry with its payload.
    Entry(u8, &'a [u8]),
    /// Records of a thread. `fresh`: they are packed without regard to what was before.
    Block { tid: i32, fresh: bool, packed: Span },
}

/// What both clocks showed at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockPair {
    /// Ticks of time stamps.
    pub(crate) ticks: u64,
    /// Nanoseconds since the epoch.
    pub(crate) nanoseconds: u64,
}

/// What is found in a file before it is replayed.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The first and the last that the clocks showed.
    pub(crate) clocks: Option<(ClockPair, ClockPair)>,
    /// How the recording ended. `None`: that is not there.
    pub(crate) ending: Option<Ending>,
}

/// A raw trace, open for reading.
#[derive(Debug)]
pub(crate) struct RawFile {
    path: PathBuf,
    file: File,
    len: u64,
    /// Where the next entry begins.
    at: u64,
    /// Where the first one after the header does.
    start: u64,
    /// A window of the file.
    window: Vec<u8>,
    window_at: u64,
    payload: Vec<u8>,
}

/// How much is read at once.
const WINDOW: usize = 64 << 10;
/// The longest that stands before the packed records of a block.
const BLOCK_HEAD: usize = 11;

impl RawFile {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<(Self, Header), RawError> {
        let open = |reason| RawError::Open {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(open)?;
        let meta = file.metadata().map_err(open)?;
        if !meta.is_file() {
            let reason = "it is no file of which any part can be read".to_owned();
            return Err(open(if meta.is_dir() {
                io::Error::from_raw_os_error(libc::EISDIR)
            } else {
                io::Error::other(reason)
            }));
        }
        let mut raw = Self {
            path: path.to_owned(),
            file,
            len: meta.len(),
            at: 0,
            start: 0,
            window: Vec::new(),
            window_at: 0,
            payload: Vec::new(),
        };
        raw.check_magic()?;
        let header = match raw.next() {
            Ok(Some(Section::Entry(kind::HEADER, payload))) => serde_json::from_slice(payload).ok(),
            Err(RawError::Damaged { .. }) => None,
            Err(error) => return Err(error),
            _ => None,
        };
        let header = header.ok_or_else(|| raw.damaged(MAGIC.len() as u64))?;
        raw.start = raw.at;
        Ok((raw, header))
    }

    fn check_magic(&mut self) -> Result<(), RawError> {
        let mut magic = [0; MAGIC.len()];
        let path = self.path.clone();
        if self.len < magic.len() as u64 {
            return Err(RawError::NotRaw { path });
        }
        self.read_at(0, &mut magic)?;
        match magic.split_last() {
            Some((&version, name)) if *name == MAGIC[..7] && version != MAGIC[7] => {
                Err(RawError::Version { path, version })
            }
            _ if magic != MAGIC => Err(RawError::NotRaw { path }),
            _ => {
                self.at = magic.len() as u64;
                Ok(())
            }
        }
    }

    /// Goes through the whole file once, and back to its start.
    pub(crate) fn survey(&mut self) -> Survey {
        let mut survey = Survey::default();
        // What is wrong is told when it is met again.
        while let Ok(Some(section)) = self.next() {
            match section {
                Section::Entry(kind::CLOCK, payload) => {
                    let Some(pair) = ClockPair::take(payload) else {
                        break;
                    };
                    let first = survey.clocks.map_or(pair, |(first, _)| first);
                    survey.clocks = Some((first, pair));
                }
                Section::Entry(kind::END, payload) => {
                    survey.ending = serde_json::from_slice(payload).ok();
                }
                _ => {}
            }
        }
        self.at = self.start;
        survey
    }

    /// The next entry. `None`: the file has ended, in order or not.
    ///
    /// # Errors
    /// The file cannot be read, is cut, or has what no tracer writes: there is no way on.
    pub(crate) fn next(&mut self) -> Result<Option<Section<'_>>, RawError> {
        let at = self.at;
        let left = self.len.saturating_sub(at);
        if left == 0 {
            return Ok(None);
        }
        if left < HEAD as u64 {
            return Err(self.cut());
        }
        let mut head = [0; HEAD];
        self.look(at, &mut head)?;
        let [kind, a, b, c, d] = head;
        let len = u32::from_le_bytes([a, b, c, d]);
        let known = matches!(kind, kind::HEADER..=kind::END | kind::EVENT..);
        let len = usize::try_from(len).ok().filter(|&len| known && len <= LONGEST);
        let len = len.ok_or_else(|| self.damaged(at))?;
        if left - (HEAD as u64) < len as u64 {
            return Err(self.cut());
        }
        let start = at + HEAD as u64;
        self.at = start + len as u64;
        if kind == kind::BLOCK {
            return self.block(start, len).map(Some);
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(len, 0);
        let read = self.look(start, &mut payload);
        self.payload = payload;
        read?;
        Ok(Some(Section::Entry(kind, &self.payload)))
    }

    fn block(&mut self, start: u64, len: usize) -> Result<Section<'_>, RawError> {
        let mut head = [0; BLOCK_HEAD];
        let head = &mut head[..len.min(BLOCK_HEAD)];
        self.look(start, head)?;
        let mut input = Input(head);
        let found = input.id().zip(input.flag());
        let used = head.len() - input.0.len();
        let (tid, fresh) = found.ok_or_else(|| self.damaged(start))?;
        Ok(Section::Block {
            tid,
            fresh,
            packed: Span {
                at: start + used as u64,
                len: len - used,
            },
        })
    }

    /// Reads packed records.
    pub(crate) fn read_span(&self, span: Span, into: &mut Vec<u8>) -> Result<(), RawError> {
        into.resize(span.len, 0);
        self.read_at(span.at, into)
    }

    /// How far it was read.
    pub(crate) fn here(&self) -> u64 {
        self.at
    }

    /// The error that the end is not there.
    pub(crate) fn cut(&self) -> RawError {
        RawError::Cut {
            path: self.path.clone(),
        }
    }

    /// The error that it is damaged there.
    pub(crate) fn damaged(&self, at: u64) -> RawError {
        RawError::Damaged {
            path: self.path.clone(),
            at,
        }
    }

    /// Reads through the window: for what is short.
    fn look(&mut self, at: u64, into: &mut [u8]) -> Result<(), RawError> {
        if into.len() > WINDOW {
            return self.read_at(at, into);
        }
        let skip = at
            .checked_sub(self.window_at)
            .and_then(|skip| usize::try_from(skip).ok());
        let known = skip.and_then(|skip| self.window.get(skip..skip.checked_add(into.len())?));
        if let Some(known) = known {
            into.copy_from_slice(known);
            return Ok(());
        }
        let len = usize::try_from(self.len.saturating_sub(at)).map_or(WINDOW, |left| left.min(WINDOW));
        let mut window = std::mem::take(&mut self.window);
        window.resize(len, 0);
        let read = self.read_at(at, &mut window);
        self.window = window;
        if let Err(error) = read {
            self.window.clear();
            return Err(error);
        }
        self.window_at = at;
        match self.window.get(..into.len()) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => return Err(self.cut()),
        }
        Ok(())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> Result<(), RawError> {
        self.file.read_exact_at(into, at).map_err(|reason| {
            // It was cut since its length was asked.
            if reason.kind() == io::ErrorKind::UnexpectedEof {
                return self.cut();
            }
            RawError::Read {
                path: self.path.clone(),
                reason,
            }
        })
    }
}

impl ClockPair {
    /// Takes what an entry has.
    fn take(payload: &[u8]) -> Option<Self> {
        let mut input = Input(payload);
        let pair = Self {
            ticks: input.number()?,
            nanoseconds: input.number()?,
        };
        input.end(pair)
    }
}
