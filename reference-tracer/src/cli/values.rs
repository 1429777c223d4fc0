//! What the values of options may be, and what is said of those that are not.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::str::FromStr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::summary::Column;

/// A variable of `-E`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable<'a> {
    /// `VAR=VAL`.
    Set(&'a OsStr, &'a OsStr),
    /// `VAR`: the command has none.
    Unset(&'a OsStr),
}

impl<'a> Variable<'a> {
    /// Reads what `-E` takes.
    #[must_use]
    pub fn parse(text: &'a OsString) -> Self {
        let bytes = text.as_bytes();
        match bytes.iter().position(|&byte| byte == b'=') {
            Some(at) => Self::Set(
                OsStr::from_bytes(&bytes[..at]),
                OsStr::from_bytes(&bytes[at + 1..]),
            ),
            None => Self::Unset(text),
        }
    }
}

/// The columns of `--columns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(pub Vec<Column>);

impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Column::parse_list(text)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

/// What `--on-full` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnFull {
    /// Wait for the tracer.
    Wait,
    /// Go on, and count what is lost.
    Drop,
}

/// The smallest and the largest ring: a quarter of it is what wakes the tracer.
const RINGS: std::ops::RangeInclusive<usize> = 64 << 10..=256 << 20;

/// Reads what `--ring` takes.
///
/// # Errors
/// It is no size that a ring can have.
pub(super) fn ring(text: &str) -> Result<usize, String> {
    let wanted = || "it must be a power of two from 64K to 256M".to_owned();
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let number: usize = digits.parse().map_err(|_| wanted())?;
    let bytes = number.checked_mul(unit).filter(|bytes| bytes.is_power_of_two());
    bytes.filter(|bytes| RINGS.contains(bytes)).ok_or_else(wanted)
}

/// What `--generate` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Generate {
    /// The manual page.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
}

/// What `-E` takes: a variable without a name could be set, but nothing could ask for it.
pub(super) fn variable(text: OsString) -> Result<OsString, String> {
    match Variable::parse(&text) {
        Variable::Set(name, _) | Variable::Unset(name) if name.is_empty() => {
            Err("expected NAME=VALUE, or NAME to take it away".to_owned())
        }
        _ => Ok(text),
    }
}

/// A number of things, none included.
pub(super) fn size(text: &str) -> Result<usize, String> {
    use std::num::IntErrorKind::PosOverflow;
    text.parse()
        .map_err(|error: std::num::ParseIntError| match error.kind() {
            PosOverflow => format!("expected a number from 0 to {}", usize::MAX),
            _ => "expected a number from 0 on".to_owned(),
        })
}

/// A column.
pub(super) fn small(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number <= 4096);
    number.ok_or_else(|| "expected a number from 0 to 4096".to_owned())
}

/// Spaces per level.
pub(super) fn indent(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number <= 20);
    number.ok_or_else(|| "expected a number from 0 to 20".to_owned())
}

/// A process.
pub(super) fn pid(text: &str) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected the number of a process".to_owned())
}

/// A number of calls.
pub(super) fn limit(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a number of calls from 1 on".to_owned())
}

/// A time that is not nothing.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a number of seconds, such as 5 or 0.5".to_owned())
}

/// A level's name, or ltrace's octal mask, of which all bits are worth the same here.
pub(super) fn level(text: &str) -> Result<LevelFilter, String> {
    let mask = || u32::from_str_radix(text, 8).ok();
    match text {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => match mask() {
            Some(0) => Ok(LevelFilter::OFF),
            Some(_) => Ok(LevelFilter::TRACE),
            None => {
                Err("expected error, warn, info, debug, trace, or an octal number as ltrace takes".to_owned())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(
            (size("0"), indent("20"), small("4096")),
            (Ok(0), Ok(20), Ok(4096))
        );
        for text in ["", "x", "-1", "1.5", "18446744073709551616"] {
            assert!(
                size(text).is_err() && limit(text).is_err() && pid(text).is_err(),
                "{text}"
            );
        }
        assert!(indent("21").is_err() && small("4097").is_err() && pid("0").is_err() && limit("0").is_err());
    }

    #[test]
    fn times_are_more_than_nothing() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["", "0", "-1", "nan", "inf", "1s", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn levels_have_names_and_masks() {
        assert_eq!(level("debug"), Ok(LevelFilter::DEBUG));
        assert_eq!(
            (level("77"), level("0")),
            (Ok(LevelFilter::TRACE), Ok(LevelFilter::OFF))
        );
        assert!(level("loud").is_err() && level("8").is_err() && level("").is_err());
    }

    #[test]
    fn a_variable_may_hold_an_equals_sign() {
        let text = OsString::from("A=b=c");
        assert_eq!(
            Variable::parse(&text),
            Variable::Set(OsStr::new("A"), OsStr::new("b=c"))
        );
        let text = OsString::from("A");
        assert_eq!(Variable::parse(&text), Variable::Unset(OsStr::new("A")));
    }
}
