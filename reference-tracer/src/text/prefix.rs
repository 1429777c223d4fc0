//! What stands before a line: its thread, its time, its place in the program.

#![allow(
    clippy::inline_always,
    reason = "a line stays in registers only where no call comes between its pieces: benches/quick.rs"
)]

use super::line::Line;
use super::{Moment, PidPrefix, TextOptions, TimePrefix, digits};

/// What the lines before have left for the next one's prefix.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    /// The time of the last line, for `-r`.
    pub(super) last: Option<u64>,
    second: Second,
}

/// The last second that stood in a line, and how. It is made once for all lines of that second: the offset of local time is a question to the
/// C library.
#[derive(Debug, Default)]
struct Second {
    number: Option<u64>,
    text: [u8; digits::MAX_DECIMAL],
    len: usize,
}

impl Prefix {
    /// Appends it.
    #[inline(always)]
    pub(super) fn put<'p>(&mut self, options: &TextOptions, line: Line<'p>, at: Moment) -> Line<'p> {
        let line = match options.pid {
            PidPrefix::None => line,
            PidPrefix::Bracketed => line.put(b"[pid ").signed(at.tid.into()).put(b"] "),
            PidPrefix::Bare => line.signed(at.tid.into()).put(b" "),
        };
        let line = match options.time {
            TimePrefix::None => line,
            _ => self.time(options, line, at.time),
        };
        if options.address {
            return line.put(b"[").hex(at.address.get()).put(b"] ");
        }
        line
    }

    #[inline(always)]
    fn time<'p>(&mut self, options: &TextOptions, line: Line<'p>, now: u64) -> Line<'p> {
        let second = now / 1_000_000_000;
        match options.time {
            TimePrefix::None => line,
            TimePrefix::Clock => self.second.put(options, line, second).put(b" "),
            TimePrefix::ClockMicros | TimePrefix::Epoch => {
                let line = self.second.put(options, line, second);
                line.millionths(now / 1000, b' ')
            }
            TimePrefix::Relative => {
                let since = now.saturating_sub(self.last.replace(now).unwrap_or(now)) / 1000;
                let seconds = since / 1_000_000;
                let line = line.spaces(3_usize.saturating_sub(digits::decimal_len(seconds)));
                line.unsigned(seconds).millionths(since, b' ')
            }
        }
    }
}

impl Second {
    /// Appends a second, as the time of the day or since the epoch.
    #[inline(always)]
    fn put<'p>(&mut self, options: &TextOptions, line: Line<'p>, second: u64) -> Line<'p> {
        if self.number != Some(second) {
            self.renew(options, second);
        }
        line.some(&self.text, self.len)
    }

    #[cold]
    fn renew(&mut self, options: &TextOptions, second: u64) {
        self.number = Some(second);
        if options.time == TimePrefix::Epoch {
            self.len = digits::decimal_len(second);
            digits::decimal(second, &mut self.text[..self.len]);
        } else {
            let clock = clock(options, second);
            self.len = clock.len();
            self.text[..clock.len()].copy_from_slice(&clock);
        }
    }
}

/// The time of the day.
fn clock(options: &TextOptions, second: u64) -> [u8; 8] {
    let utc = i64::try_from(second).unwrap_or(i64::MAX);
    let local = utc
        .saturating_add((options.utc_offset)(utc))
        .rem_euclid(24 * 60 * 60)
        .unsigned_abs();
    let mut text = *b"hh:mm:ss";
    for (at, number) in [(0, local / 3600), (3, local / 60 % 60), (6, local % 60)] {
        digits::decimal(number, &mut text[at..at + 2]);
    }
    text
}
