//! Several filters together, and what each of their rules has met.

use super::Filter;
use super::chain::Rule;
use super::pattern::Matcher;
use super::suggest::nearest;
use rustc_hash::FxHashSet;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// The names by which a library pattern may know an object.
#[derive(Debug, Clone, Copy)]
pub struct LibraryNames<'a> {
    soname: Option<&'a str>,
    path: &'a str,
    other_path: Option<&'a str>,
    is_main: bool,
}

impl<'a> LibraryNames<'a> {
    /// The main program, with its `DT_SONAME` where it has one. The last part of `path` is a name of it as well.
    #[must_use]
    pub fn main(soname: Option<&'a str>, path: &'a str) -> Self {
        Self {
            soname,
            path,
            other_path: None,
            is_main: true,
        }
    }

    /// A library, with its `DT_SONAME` where it has one. The last part of `path` is a name of it as well.
    #[must_use]
    pub fn library(soname: Option<&'a str>, path: &'a str) -> Self {
        Self {
            soname,
            path,
            other_path: None,
            is_main: false,
        }
    }

    /// A second path of the same file: what the link map calls it, or where its symbolic links end.
    #[must_use]
    pub fn also_at(self, path: &'a str) -> Self {
        Self {
            other_path: Some(path),
            ..self
        }
    }

    pub(super) fn is_main(&self) -> bool {
        self.is_main
    }

    /// Whether one of the names by which it is known, the program's paths excepted, is such.
    pub fn any(&self, is: impl FnMut(&str) -> bool) -> bool {
        self.sonames().any(is)
    }

    pub(super) fn sonames(&self) -> impl Iterator<Item = &'a str> {
        let last_part = self.path.rsplit('/').next();
        self.soname.into_iter().chain(last_part)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &'a str> {
        [self.path].into_iter().chain(self.other_path)
    }
}

/// Filters of which one is enough.
#[derive(Debug, Default)]
pub struct FilterSet {
    filters: Vec<Filter>,
    /// What each rule has met, all rules of all filters one after the other. Atomic, so that a set can be shared: nothing else
    /// depends on these, so no order is asked for.
    met: Vec<AtomicU8>,
}

const MET_LIBRARY: u8 = 1;
const MET_SYMBOL: u8 = 2;

fn note(met: &AtomicU8, bit: u8) {
    // Reading first keeps the line of the cache shared.
    if met.load(Relaxed) & bit == 0 {
        met.fetch_or(bit, Relaxed);
    }
}

impl FilterSet {
    /// A set of `filters`; an empty set selects nothing.
    #[must_use]
    pub fn new(filters: Vec<Filter>) -> Self {
        let rules = filters.iter().map(|filter| filter.rules().len()).sum();
        Self {
            filters,
            met: std::iter::repeat_with(AtomicU8::default).take(rules).collect(),
        }
    }

    /// Whether there is no filter at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether `symbol` of `library` is selected; for many functions of one library ask [`FilterSet::in_library`] once.
    #[must_use]
    pub fn selects(&self, symbol: &str, aliases: &[&str], library: LibraryNames<'_>) -> bool {
        self.in_library(library)
            .is_some_and(|here| here.selects(symbol, aliases))
    }

    /// What of the set concerns `library`, or `None` when no function of it can be selected.
    #[must_use]
    pub fn in_library(&self, library: LibraryNames<'_>) -> Option<InLibrary<'_>> {
        let mut chains = Vec::new();
        let mut met = self.met.iter();
        for filter in &self.filters {
            let mut chain = Vec::new();
            for (rule, met) in filter.rules().iter().zip(&mut met) {
                if rule.library.matches(&library) {
                    note(met, MET_LIBRARY);
                    if !rule.include && matches!(rule.symbol, Matcher::Any) {
                        // It takes out the whole library: what stands before it has no say here.
                        note(met, MET_SYMBOL);
                        chain.clear();
                    } else {
                        chain.push((rule, met));
                    }
                }
            }
            if chain.iter().any(|(rule, _)| rule.include) {
                chains.push(chain);
            }
        }
        (!chains.is_empty()).then(|| InLibrary {
            names: only_names(&chains),
            chains,
        })
    }

    /// Whether any function of `library` can be selected.
    #[must_use]
    pub fn could_match_library(&self, library: LibraryNames<'_>) -> bool {
        self.in_library(library).is_some()
    }

    /// The rules that have matched no function so far: the first question when a trace shows nothing.
    #[must_use]
    pub fn unmatched(&self) -> Vec<Unmatched> {
        let mut found = Vec::new();
        let mut met = self.met.iter();
        for filter in &self.filters {
            if filter.rules().is_empty() {
                found.push(Unmatched::without_rules(filter));
            }
            for (rule, met) in filter.rules().iter().zip(&mut met) {
                let met = met.load(Relaxed);
                if met & MET_SYMBOL == 0 && !rule.text.is_empty() {
                    found.push(Unmatched::of(rule, met & MET_LIBRARY != 0));
                }
            }
        }
        found
    }
}

type Chain<'f> = Vec<(&'f Rule, &'f AtomicU8)>;

/// The names that can be selected, if they are only written out.
fn only_names<'f>(chains: &[Chain<'f>]) -> Option<FxHashSet<&'f str>> {
    chains
        .iter()
        .flatten()
        .filter(|(rule, _)| rule.include)
        .map(|(rule, _)| rule.symbol.literal())
        .collect()
}

/// A [`FilterSet`] as it concerns one library.
#[derive(Debug)]
pub struct InLibrary<'f> {
    chains: Vec<Chain<'f>>,
    names: Option<FxHashSet<&'f str>>,
}

impl<'f> InLibrary<'f> {
    /// Whether the function known as `symbol`, and by `aliases`, is selected.
    ///
    /// An alias can bring a function in, but only its public name `symbol`, or an alias written out in full, takes it out:
    /// `*-_*` keeps `malloc`, though it is `__libc_malloc` too.
    #[must_use]
    pub fn selects(&self, symbol: &str, aliases: &[&str]) -> bool {
        if let Some(names) = &self.names
            && !names.contains(symbol)
            && !aliases.iter().any(|alias| names.contains(alias))
        {
            return false;
        }
        // Every chain is asked, so that each rule gets its chance to be met.
        self.chains.iter().fold(false, |selected, chain| {
            selects(chain, symbol, aliases) | selected
        })
    }

    /// The only names that can be selected, where no pattern is among them: look these up instead of asking for each symbol.
    #[must_use]
    pub fn literal_names(&self) -> Option<Vec<&'f str>> {
        self.names.as_ref().map(|names| names.iter().copied().collect())
    }
}

fn selects(chain: &Chain<'_>, symbol: &str, aliases: &[&str]) -> bool {
    let mut selected = false;
    for (rule, met) in chain {
        if matches(rule, symbol, aliases) {
            note(met, MET_SYMBOL);
            selected = rule.include;
        }
    }
    selected
}

fn matches(rule: &Rule, symbol: &str, aliases: &[&str]) -> bool {
    let by_alias = || rule.include || rule.symbol.literal().is_some();
    rule.symbol.matches(symbol)
        || (!aliases.is_empty() && by_alias() && aliases.iter().any(|alias| rule.symbol.matches(alias)))
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
    /// Whether it selects; otherwise it was there to take something out.
    pub include: bool,
    wanted: Option<String>,
}

impl Unmatched {
    fn without_rules(filter: &Filter) -> Self {
        Self {
            rule: filter.text().to_owned(),
            missing: Missing::Rules,
            include: true,
            wanted: None,
        }
    }

    fn of(rule: &Rule, library_seen: bool) -> Self {
        let (missing, wanted) = if library_seen {
            (Missing::Symbol, Matcher::literal(&rule.symbol))
        } else {
            (Missing::Library, rule.library.literal())
        };
        Self {
            rule: rule.text.clone(),
            missing,
            include: rule.include,
            wanted: wanted.map(str::to_owned),
        }
    }

    /// One line for the user. `symbols` and `libraries` are the names that were there; the nearest ones are suggested.
    #[must_use]
    pub fn explain<'a>(
        &self,
        symbols: impl IntoIterator<Item = &'a str>,
        libraries: impl IntoIterator<Item = &'a str>,
    ) -> String {
        let rule = self.rule.escape_debug();
        let wanted = self.wanted.as_deref();
        match self.missing {
            Missing::Rules => format!("the filter '{rule}' has no rule and selects nothing"),
            Missing::Library => {
                let near = wanted.map_or_else(Vec::new, |name| nearest(name, libraries, 3));
                format!(
                    "the filter '{rule}' matches no library of the program{}",
                    did_you_mean(&near)
                )
            }
            Missing::Symbol if self.include => {
                let near = wanted.map_or_else(Vec::new, |name| nearest(name, symbols, 3));
                format!("the filter '{rule}' matches no function{}", did_you_mean(&near))
            }
            Missing::Symbol => format!("the filter '{rule}' takes out nothing"),
        }
    }
}

fn did_you_mean(near: &[&str]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<_> = near.iter().map(|name| name.escape_debug().to_string()).collect();
    format!("; the nearest: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: LibraryNames<'_> = LibraryNames {
        soname: None,
        path: "/usr/bin/prog",
        other_path: None,
        is_main: true,
    };
    const LIBC: LibraryNames<'_> = LibraryNames {
        soname: Some("libc.so.6"),
        path: "/lib/x86_64-linux-gnu/libc.so.6",
        other_path: Some("/usr/lib/x86_64-linux-gnu/libc-2.36.so"),
        is_main: false,
    };

    fn set(filters: &[&str]) -> FilterSet {
        FilterSet::new(filters.iter().map(|text| Filter::parse(text).unwrap()).collect())
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        // filters, function, in main, in libc
        let cases: &[(&[&str], &str, bool, bool)] = &[
            (&[], "malloc", false, false),
            (&[""], "malloc", false, false),
            (&["@"], "malloc", true, true),
            (&["*"], "malloc", true, true),
            (&["malloc"], "malloc", true, true),
            (&["malloc"], "free", false, false),
            (&["malloc+free-@libc.so*"], "free", true, false),
            (&["@MAIN"], "puts", true, false),
            (&["@MAIN-puts"], "puts", false, false),
            (&["@MAIN-puts"], "malloc", true, false),
            (&["-puts"], "puts", false, false),
            (&["-puts"], "malloc", true, true),
            (&["-@MAIN"], "malloc", false, true),
            (&["[mf]*e@"], "free", true, true),
            (&["-*+malloc"], "malloc", true, true),
            (&["malloc-*"], "malloc", false, false),
            (&["malloc", "free-*"], "malloc", true, true),
            (&["/^m.*/"], "malloc", true, true),
            (&["/m.*@prog/"], "malloc", true, false),
            (&["m*@prog"], "malloc", true, false),
            (&["m*@/usr/bin/prog"], "malloc", true, false),
            (&["@//.*\\/libc-2.*/"], "malloc", false, true),
            (&["@/usr/lib/*"], "malloc", false, true),
            (&["@/lib/x86_64-linux-gnu/libc.so.6"], "malloc", false, true),
            (&["@^MAIN"], "malloc", false, false),
            (&["@libc.so.6"], "malloc", false, true),
            (&["@libc"], "malloc", false, false),
            (&["@libc.*"], "malloc", false, true),
            (&["malloc,free"], "free", true, true),
            (&["@/libc.*/"], "malloc", false, true),
        ];
        for (filters, symbol, in_main, in_libc) in cases {
            let set = set(filters);
            assert_eq!(
                set.selects(symbol, &[], MAIN),
                *in_main,
                "{filters:?} {symbol} in main"
            );
            assert_eq!(
                set.selects(symbol, &[], LIBC),
                *in_libc,
                "{filters:?} {symbol} in libc"
            );
        }
    }

    #[test]
    fn a_library_named_main_is_not_the_word() {
        let library = LibraryNames::library(Some("MAIN"), "/x/MAIN");
        assert!(!set(&["@MAIN"]).could_match_library(library));
        assert!(set(&["@[M]AIN"]).could_match_library(library));
        assert!(set(&["@^MAIN"]).could_match_library(library));
    }

    #[test]
    fn aliases_bring_in_and_take_out() {
        let names: &[&str] = &["__libc_malloc"];
        for (filter, selected) in [
            ("__libc_malloc", true),
            ("malloc", true),
            ("*-_*", true),
            ("*-malloc", false),
            ("*-__libc_malloc", false),
            ("__libc*", true),
            ("free", false),
        ] {
            assert_eq!(
                set(&[filter]).selects("malloc", names, LIBC),
                selected,
                "{filter}"
            );
        }
    }

    #[test]
    fn names_alone_are_told_as_such() {
        let both = set(&["malloc", "+free@libc.so.6-puts"]);
        let mut names = both.in_library(LIBC).unwrap().literal_names().unwrap();
        names.sort_unstable();
        assert_eq!(names, ["free", "malloc"]);
        assert_eq!(
            both.in_library(MAIN).unwrap().literal_names().unwrap(),
            ["malloc"]
        );
        assert!(
            set(&["malloc", "f*"])
                .in_library(MAIN)
                .unwrap()
                .literal_names()
                .is_none()
        );
        assert!(set(&["-@MAIN"]).in_library(MAIN).is_none() && set(&["-@MAIN"]).in_library(LIBC).is_some());
        assert!(set(&["malloc@libc.so.6"]).in_library(MAIN).is_none());
        assert!(set(&["malloc+f*-@MAIN"]).in_library(MAIN).is_none());
        assert!(
            set(&["*-@MAIN+puts"])
                .in_library(MAIN)
                .unwrap()
                .selects("puts", &[])
        );
    }

    #[test]
    fn what_was_never_met_is_told() {
        let set = set(&["malloc+mallok@MAIN+x@libfoo.so-frob", "-nothing", "/z.*/", ""]);
        for symbol in ["malloc", "free", "puts"] {
            let _ = set.selects(symbol, &[], MAIN);
        }
        let explained: Vec<_> = set
            .unmatched()
            .iter()
            .map(|rule| rule.explain(["malloc", "free", "puts"], ["libfo.so", "libc.so.6"]))
            .collect();
        assert_eq!(
            explained,
            [
                "the filter '+mallok@MAIN' matches no function; the nearest: malloc",
                "the filter '+x@libfoo.so' matches no library of the program; the nearest: libfo.so",
                "the filter '-frob' takes out nothing",
                "the filter '-nothing' takes out nothing",
                "the filter '/z.*/' matches no function",
                "the filter '' has no rule and selects nothing",
            ]
        );
    }

    #[test]
    fn a_filter_met_is_not_told() {
        let set = set(&["malloc", "puts"]);
        assert!(set.selects("malloc", &[], MAIN) && set.selects("puts", &[], MAIN));
        assert_eq!(set.unmatched(), []);
    }
}
