//! What is wrong with a filter, and where.

/// A filter that cannot be understood.
///
/// Its text is one line: what was expected, the byte position, and the filter as it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad filter '{filter}': at position {position}: {expected}")]
pub struct FilterError {
    filter: String,
    position: usize,
    expected: String,
}

impl FilterError {
    pub(super) fn new(filter: &str, offset: usize, expected: impl Into<String>) -> Self {
        Self {
            filter: filter.escape_debug().to_string(),
            position: offset + 1,
            expected: expected.into(),
        }
    }

    /// What was expected there.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// Where in the filter, counted in bytes from 1.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}
