//! A chain of rules, and the parser that makes one.

use super::FilterError;

/// One parsed filter expression: a chain of rules.
#[derive(Debug, Clone)]
pub struct Filter {}

impl Filter {
    /// Parses a filter expression, as `-e` and `-x` take it.
    ///
    /// # Errors
    /// A [`FilterError`] which names the position and what was expected there.
    pub fn parse(_text: &str) -> Result<Self, FilterError> {
        todo!()
    }

    /// Parses what `-l` takes: library patterns, that is, `text` with `@` before it.
    ///
    /// # Errors
    /// As [`Filter::parse`]; the position is the one in `text`.
    pub fn parse_library(_text: &str) -> Result<Self, FilterError> {
        todo!()
    }
}
