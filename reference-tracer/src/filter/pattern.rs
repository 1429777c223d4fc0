//! What a rule says of a symbol, and of a library.

use super::FilterError;
use super::bracket::Expected;
use super::glob::Glob;
use super::regexp;
use super::set::LibraryNames;
use regex::Regex;

/// Something that matches whole names.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    Any,
    Literal(String),
    Glob(Glob),
    Regexp(Regex),
}

impl Matcher {
    pub(super) fn glob(text: &str) -> Result<Self, Expected> {
        let glob = Glob::parse(text)?;
        Ok(match glob.literal() {
            Some(name) => Matcher::Literal(name),
            None if glob.is_any() => Matcher::Any,
            None => Matcher::Glob(glob),
        })
    }

    pub(super) fn regexp(text: &str) -> Result<Self, Expected> {
        // The usual ways to say "anything" need no engine.
        if matches!(text, ".*" | "^.*" | ".*$" | "^.*$") {
            return Ok(Matcher::Any);
        }
        regexp::compile(text).map(Matcher::Regexp)
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Matcher::Any => true,
            Matcher::Literal(own) => own == name,
            Matcher::Glob(glob) => glob.matches(name),
            Matcher::Regexp(regexp) => regexp.is_match(name),
        }
    }

    /// The only name that matches, if there is only one.
    pub(super) fn literal(&self) -> Option<&str> {
        match self {
            Matcher::Literal(name) => Some(name),
            _ => None,
        }
    }
}

/// A glob over whole names, for other things that name functions.
#[derive(Debug, Clone)]
pub struct NamePattern(Matcher);

impl NamePattern {
    /// Parses a glob: `*`, `?`, `[...]`; a backslash quotes.
    ///
    /// # Errors
    /// The position and what was expected there.
    pub fn glob(text: &str) -> Result<Self, FilterError> {
        Matcher::glob(text)
            .map(Self)
            .map_err(|(at, what)| FilterError::new(text, at, what))
    }

    /// Whether the whole of `name` matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}

/// Which objects a rule is about.
#[derive(Debug, Clone)]
pub(super) enum LibraryPattern {
    Any,
    /// The word `MAIN`: the main program, whatever its name, and no library of that name.
    Main,
    Soname(Matcher),
    /// A pattern that begins with a slash.
    Path(Matcher),
}

impl LibraryPattern {
    pub(super) fn matches(&self, library: &LibraryNames<'_>) -> bool {
        match self {
            LibraryPattern::Any => true,
            LibraryPattern::Main => library.is_main(),
            LibraryPattern::Soname(matcher) => library.sonames().any(|name| matcher.matches(name)),
            LibraryPattern::Path(matcher) => library.paths().any(|path| matcher.matches(path)),
        }
    }

    /// The name or path that was asked for, where it is written out.
    pub(super) fn literal(&self) -> Option<&str> {
        match self {
            LibraryPattern::Soname(matcher) | LibraryPattern::Path(matcher) => matcher.literal(),
            LibraryPattern::Any | LibraryPattern::Main => None,
        }
    }
}
