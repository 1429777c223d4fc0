//! Whether to color.

use std::ffi::OsStr;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// On a terminal that can, unless `NO_COLOR` is set (no-color.org).
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Decides, for an output that is a terminal or not, with the values of `NO_COLOR` and `TERM`.
    #[must_use]
    pub fn decide(self, _is_terminal: bool, _no_color: Option<&OsStr>, _term: Option<&OsStr>) -> bool {
        todo!()
    }
}
