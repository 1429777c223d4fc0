//! How lines look.

/// What stands before each line for its thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PidPrefix {
    /// Nothing: one process is traced.
    #[default]
    None,
    /// `[pid N] `, as on stderr.
    Bracketed,
    /// `N `, as in a file.
    Bare,
}

/// The time that stands before each line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimePrefix {
    /// None.
    #[default]
    None,
    /// `-t`: `HH:MM:SS `, local time.
    Clock,
    /// `-tt`: `HH:MM:SS.uuuuuu `, local time.
    ClockMicros,
    /// `-ttt`: seconds since the epoch, `sec.uuuuuu `.
    Epoch,
    /// `-r`: seconds since the line before, `  0.000206 `.
    Relative,
}

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    /// The column of ` = `.
    pub align: usize,
    /// Spaces per level of nesting: `-n`.
    pub indent: usize,
    /// The thread.
    pub pid: PidPrefix,
    /// The time.
    pub time: TimePrefix,
    /// `-i`: the return address, `[0x401136] `.
    pub address: bool,
    /// `-T`: the time inside the call, ` <0.001166>`.
    pub duration: bool,
    /// Whether names, results and notices are colored.
    pub color: bool,
    /// Seconds east of Greenwich at a moment given in seconds since the epoch.
    pub utc_offset: fn(i64) -> i64,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            align: DEFAULT_ALIGN,
            indent: 0,
            pid: PidPrefix::None,
            time: TimePrefix::None,
            address: false,
            duration: false,
            color: false,
            utc_offset: |_| 0,
        }
    }
}

impl TextOptions {
    /// Whether nothing stands before a call's name.
    pub(super) fn is_bare(&self) -> bool {
        let (pid, time) = (self.pid == PidPrefix::None, self.time == TimePrefix::None);
        pid && time && !self.address && self.indent == 0
    }
}

/// The column of ` = ` where the output's width is not known.
const DEFAULT_ALIGN: usize = 50;

/// The column of ` = ` on an output so many columns wide.
#[must_use]
pub const fn align_for(columns: Option<usize>) -> usize {
    match columns {
        Some(columns) => columns / 8 * 5 + columns % 8 * 5 / 8,
        None => DEFAULT_ALIGN,
    }
}
