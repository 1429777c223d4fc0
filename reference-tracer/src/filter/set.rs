//! Several filters together, and what each of their rules has met.

use super::Filter;

/// The names by which a library pattern may know an object.
#[derive(Debug, Clone, Copy)]
pub struct LibraryNames<'a> {
    soname: &'a str,
    path: &'a str,
    other_path: Option<&'a str>,
    is_main: bool,
}

impl<'a> LibraryNames<'a> {
    /// The main program: `soname` is `DT_SONAME` where it has one, else the last part of `path` stands for it.
    #[must_use]
    pub fn main(_soname: Option<&'a str>, _path: &'a str) -> Self {
        todo!()
    }

    /// A library: `soname` is `DT_SONAME` where it has one, else the last part of `path` stands for it.
    #[must_use]
    pub fn library(_soname: Option<&'a str>, _path: &'a str) -> Self {
        todo!()
    }

    /// A second path of the same file: what the link map calls it, or where its symbolic links end.
    #[must_use]
    pub fn also_at(self, _path: &'a str) -> Self {
        todo!()
    }
}

/// Filters of which one is enough.
#[derive(Debug, Default)]
pub struct FilterSet {}

impl FilterSet {
    /// A set of `filters`; an empty set selects nothing.
    #[must_use]
    pub fn new(_filters: Vec<Filter>) -> Self {
        todo!()
    }

    /// Whether `symbol` of `library` is selected; for many functions of one library ask [`FilterSet::in_library`] once.
    #[must_use]
    pub fn selects(&self, _symbol: &str, _aliases: &[&str], _library: LibraryNames<'_>) -> bool {
        todo!()
    }

    /// What of the set concerns `library`, or `None` when no function of it can be selected.
    #[must_use]
    pub fn in_library(&self, _library: LibraryNames<'_>) -> Option<InLibrary<'_>> {
        todo!()
    }

    /// Whether any function of `library` can be selected.
    #[must_use]
    pub fn could_match_library(&self, _library: LibraryNames<'_>) -> bool {
        todo!()
    }

    /// The rules that have matched no function so far: the first question when a trace shows nothing.
    #[must_use]
    pub fn unmatched(&self) -> Vec<Unmatched> {
        todo!()
    }
}

/// A [`FilterSet`] as it concerns one library.
#[derive(Debug)]
pub struct InLibrary<'f> {
    _set: &'f FilterSet,
}

impl InLibrary<'_> {
    /// Whether the function known as `symbol`, and by `aliases`, is selected.
    ///
    /// An alias can bring a function in, but only its public name `symbol`, or an alias written out in full, takes it out:
    /// `*-_*` keeps `malloc`, though it is `__libc_malloc` too.
    #[must_use]
    pub fn selects(&self, _symbol: &str, _aliases: &[&str]) -> bool {
        todo!()
    }

    /// The only names that can be selected, where no pattern is among them: look these up instead of asking for each symbol.
    #[must_use]
    pub fn literal_names(&self) -> Option<Vec<&str>> {
        todo!()
    }
}

/// What a rule that matched nothing has missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No object was seen that its library pattern matches.
    Library,
    /// A library was there, but no function in it by that name.
    Symbol,
    /// The filter has no rule at all.
    Rules,
}

/// A rule that matched no function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The rule as it was written.
    pub rule: String,
    /// What it has missed.
    pub missing: Missing,
}

impl Unmatched {
    /// One line for the user. `symbols` and `libraries` are the names that were there; the nearest ones are suggested.
    #[must_use]
    pub fn explain<'a>(
        &self,
        _symbols: impl IntoIterator<Item = &'a str>,
        _libraries: impl IntoIterator<Item = &'a str>,
    ) -> String {
        todo!()
    }
}
