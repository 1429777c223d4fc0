//! Whether to color.

use std::ffi::OsStr;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// On a terminal that can, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Decides, for an output that is a terminal or not, with the values of `NO_COLOR` and `TERM`.
    ///
    /// An empty `NO_COLOR` is as good as none (<https://no-color.org>); what the user asks for on the command line comes first.
    #[must_use]
    pub fn decide(self, is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
        match self {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                is_terminal
                    && no_color.is_none_or(OsStr::is_empty)
                    && term.is_some_and(|term| !term.is_empty() && term != "dumb")
            }
        }
    }
}

impl std::str::FromStr for ColorChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(ColorChoice::Auto),
            "always" => Ok(ColorChoice::Always),
            "never" => Ok(ColorChoice::Never),
            _ => Err("expected auto, always or never".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_comes_first_then_the_environment() {
        let xterm = Some("xterm");
        // choice, terminal, NO_COLOR, TERM, colored
        let cases = [
            ("auto", true, None, xterm, true),
            ("auto", true, Some(""), xterm, true),
            ("auto", true, Some("1"), xterm, false),
            ("auto", true, None, Some("dumb"), false),
            ("auto", true, None, None, false),
            ("auto", false, None, xterm, false),
            ("always", false, Some("1"), None, true),
            ("never", true, None, xterm, false),
        ];
        for (choice, terminal, no_color, term, colored) in cases {
            let decided = choice.parse::<ColorChoice>().unwrap().decide(
                terminal,
                no_color.map(OsStr::new),
                term.map(OsStr::new),
            );
            assert_eq!(decided, colored, "{choice} {terminal} {no_color:?} {term:?}");
        }
        assert!("blue".parse::<ColorChoice>().is_err());
    }
}
