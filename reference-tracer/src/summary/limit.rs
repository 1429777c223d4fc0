//! Limits that a CI job sets.

use super::{Column, Row};
use crate::filter::NamePattern;
use std::fmt;

/// How much a number may grow: `FUNCTION:COLUMN:GROWTH%`, as in `malloc:calls:20%`.
///
/// FUNCTION is a glob over the whole name; it may hold colons. COLUMN is a name that `--columns` takes, but for `time-percent` and
/// `name`.
#[derive(Debug, Clone)]
pub struct Limit {
    text: String,
    pub(super) functions: NamePattern,
    pub(super) column: Column,
    percent: f64,
}

/// A limit that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LimitError(String);

impl Limit {
    /// Parses `FUNCTION:COLUMN:GROWTH%`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, LimitError> {
        let wrong = LimitError;
        let mut parts = text.rsplitn(3, ':');
        let (Some(growth), Some(column), Some(functions)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong(
                "expected FUNCTION:COLUMN:GROWTH%, as in malloc:calls:20%".to_owned(),
            ));
        };
        let percent = growth.strip_suffix('%').and_then(|number| number.parse().ok());
        let percent = percent
            .filter(|percent: &f64| percent.is_finite() && *percent >= 0.0)
            .ok_or_else(|| {
                wrong(format!(
                    "expected a growth in percent, as in 20%, not '{}'",
                    growth.escape_debug()
                ))
            })?;
        let column: Column = column
            .parse()
            .map_err(|error: super::ColumnError| wrong(error.to_string()))?;
        if matches!(column, Column::TimePercent | Column::Name) {
            return Err(wrong(format!("the column {} cannot be limited", column.name())));
        }
        if functions.is_empty() {
            return Err(wrong("expected a function before the first colon".to_owned()));
        }
        let functions = NamePattern::glob(functions).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            text: text.to_owned(),
            functions,
            column,
            percent,
        })
    }

    /// Whether the growth from `base` to `new` is more than allowed. A function that is new has grown beyond any limit.
    pub(super) fn is_passed(&self, base: Option<&Row>, new: Option<&Row>) -> bool {
        growth(self.value(base), self.value(new)) > self.percent
    }

    pub(super) fn value(&self, row: Option<&Row>) -> u64 {
        row.and_then(|row| self.column.value(row)).unwrap_or(0)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.text.escape_debug())
    }
}

/// By how many percent `new` is more than `base`; infinite from nothing to something.
#[expect(
    clippy::cast_precision_loss,
    reason = "beyond 2^53 ns (104 days) the last nanosecond decides nothing"
)]
pub(super) fn growth(base: u64, new: u64) -> f64 {
    match (base, new) {
        (0, 0) => 0.0,
        (0, _) => f64::INFINITY,
        // The product first: 7 of 100 are 7 %, where 7/100*100 is a little more.
        (base, new) => (new as f64 - base as f64) * 100.0 / base as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::row;
    use super::*;

    #[test]
    fn growth_is_exact_at_the_limit() {
        for percent in 0..=300 {
            let limit = Limit::parse(&format!("f:calls:{percent}%")).unwrap();
            let base = row("f", 100, 0);
            assert!(
                !limit.is_passed(Some(&base), Some(&row("f", 100 + percent, 0))),
                "{percent}"
            );
            assert!(
                limit.is_passed(Some(&base), Some(&row("f", 101 + percent, 0))),
                "{percent}"
            );
        }
    }

    #[test]
    fn new_and_vanished_functions_count_from_and_to_nothing() {
        let limit = Limit::parse("f:calls:1000%").unwrap();
        let some = row("f", 1, 0);
        assert!(limit.is_passed(None, Some(&some)));
        assert!(!limit.is_passed(Some(&some), None));
        assert!(!limit.is_passed(None, None));
    }

    #[test]
    fn limits_are_told_what_is_wrong() {
        for text in [
            "malloc:calls:20%",
            "std::f(int):total:0.5%",
            "*:p99:0%",
            "op[+-]:self:1e3%",
        ] {
            assert_eq!(Limit::parse(text).unwrap().to_string(), format!("'{text}'"));
        }
        for (text, reason) in [
            ("", "FUNCTION:COLUMN"),
            ("malloc", "FUNCTION:COLUMN"),
            ("malloc:calls", "FUNCTION:COLUMN"),
            ("malloc:calls:20", "growth in percent"),
            ("malloc:calls:-1%", "growth in percent"),
            ("malloc:calls:nan%", "growth in percent"),
            ("malloc:calls:inf%", "growth in percent"),
            ("malloc:name:20%", "cannot be limited"),
            ("malloc:cals:20%", "no column 'cals'"),
            (":calls:20%", "a function"),
            ("mal[:calls:20%", "]"),
        ] {
            let error = Limit::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
