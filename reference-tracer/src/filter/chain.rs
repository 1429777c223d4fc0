//! A chain of rules, and the parser that makes one.

use super::FilterError;
use super::bracket::{Bracket, Dialect, Expected};
use super::pattern::{LibraryPattern, Matcher};

/// One parsed filter expression: a chain of rules.
#[derive(Debug, Clone)]
pub struct Filter {
    text: String,
    rules: Vec<Rule>,
}

/// `[+-][SYMBOL][@LIBRARY]`.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) include: bool,
    pub(super) symbol: Matcher,
    pub(super) library: LibraryPattern,
    /// As it was written; empty for the rule that a leading `-` implies.
    pub(super) text: String,
}

impl Filter {
    /// Parses a filter expression, as `-e` and `-x` take it.
    ///
    /// An empty expression has no rule and selects nothing.
    ///
    /// # Errors
    /// A [`FilterError`] which names the position and what was expected there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let rules = Parser { text, at: 0 }
            .chain()
            .map_err(|(at, what)| FilterError::new(text, at, what))?;
        Ok(Self {
            text: text.to_owned(),
            rules,
        })
    }

    /// Parses what `-l` takes: one library pattern, or a chain that begins with one, as if `@` stood before it.
    ///
    /// Without a second `@` all of it is one pattern, so that `-` and `+` in a library's name need no care.
    ///
    /// # Errors
    /// As [`Filter::parse`]; the position is the one in `text`.
    pub fn parse_library(text: &str) -> Result<Self, FilterError> {
        let wrong = |(at, what)| FilterError::new(text, at, what);
        if text.is_empty() {
            return Err(wrong((0, "expected a library".to_owned())));
        }
        if !text.contains('@') {
            let library = library_pattern(text, 0).map_err(wrong)?;
            let rule = Rule {
                include: true,
                symbol: Matcher::Any,
                library,
                text: format!("@{text}"),
            };
            return Ok(Self {
                text: text.to_owned(),
                rules: vec![rule],
            });
        }
        let chain = format!("@{text}");
        let rules = Parser { text: &chain, at: 0 }
            .chain()
            .map_err(|(at, what)| wrong((at.saturating_sub(1), what)))?;
        Ok(Self {
            text: text.to_owned(),
            rules,
        })
    }

    /// The expression as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn chain(mut self) -> Result<Vec<Rule>, Expected> {
        let mut rules = Vec::new();
        while !self.rest().trim_start().is_empty() {
            let start = self.at;
            let include = self.sign(rules.is_empty());
            if rules.is_empty() && !include {
                // ltrace(1): "if the first rule has a - sign, it is as if there was another rule @ in front of it".
                rules.push(Rule {
                    include: true,
                    symbol: Matcher::Any,
                    library: LibraryPattern::Any,
                    text: String::new(),
                });
            }
            let (symbol, library) = self.rule()?;
            let text = self.text[start..self.at].trim_matches([' ', ',']).to_owned();
            rules.push(Rule {
                include,
                symbol,
                library,
                text,
            });
        }
        Ok(rules)
    }

    /// The sign before a rule: true for `+`, for none, and for a comma, which older ltraces took between names.
    fn sign(&mut self, first: bool) -> bool {
        self.skip_spaces();
        if !first && self.rest().starts_with(',') {
            self.at += 1;
            self.skip_spaces();
        }
        match self.rest().as_bytes().first() {
            Some(b'+') => self.at += 1,
            // ltrace takes `!` as well.
            Some(b'-' | b'!') => {
                self.at += 1;
                return false;
            }
            _ => {}
        }
        true
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rule(&mut self) -> Result<(Matcher, LibraryPattern), Expected> {
        let start = self.at;
        let (symbol, shorthand) = self.symbol()?;
        if let Some(library) = shorthand {
            self.end_of_rule()?;
            return Ok((symbol, library));
        }
        let library = if self.rest().starts_with('@') {
            self.at += 1;
            self.library()?
        } else if self.at == start {
            return Err((start, "expected a function, or @ and a library".to_owned()));
        } else {
            LibraryPattern::Any
        };
        self.end_of_rule()?;
        Ok((symbol, library))
    }

    fn end_of_rule(&self) -> Result<(), Expected> {
        match self.rest().chars().next() {
            None | Some('+' | '-' | ',') => Ok(()),
            Some('@') => Err((
                self.at,
                r"expected + or - before another rule (\@ for the character)".to_owned(),
            )),
            Some(_) => Err((self.at, "expected @, + or - after the closing /".to_owned())),
        }
    }

    /// A symbol pattern; for `/x@y/` the library pattern too.
    fn symbol(&mut self) -> Result<(Matcher, Option<LibraryPattern>), Expected> {
        if !self.rest().starts_with('/') {
            let (start, part) = self.take(|rest| glob_end(rest, &['@', '+', '-', ',']))?;
            let matcher = if part.is_empty() {
                Matcher::Any
            } else {
                place(start, Matcher::glob(part))?
            };
            return Ok((matcher, None));
        }
        let (start, body) = self.slashed()?;
        match find_unquoted(body, '@') {
            // ltrace(1): "instead of writing /x/@/y/, you can write /x@y/".
            Some(at) => {
                let symbol = place(start, Matcher::regexp(&body[..at]))?;
                let library = library_regexp(&body[at + 1..], start + at + 1)?;
                Ok((symbol, Some(library)))
            }
            None => Ok((place(start, Matcher::regexp(body))?, None)),
        }
    }

    fn library(&mut self) -> Result<LibraryPattern, Expected> {
        let rest = self.rest();
        let (start, part) = self.take(|_| library_end(rest))?;
        library_pattern(part, start)
    }

    /// What stands between the slash here and the next one that closes it.
    fn slashed(&mut self) -> Result<(usize, &'t str), Expected> {
        let start = self.at + 1;
        let Some(length) = find_unquoted(&self.text[start..], '/') else {
            return Err((self.at, "expected a / that closes this one".to_owned()));
        };
        self.at = start + length + 1;
        Ok((start, &self.text[start..start + length]))
    }

    /// Takes as much as `end` says, without the spaces around it.
    fn take(&mut self, end: impl Fn(&str) -> Result<usize, Expected>) -> Result<(usize, &'t str), Expected> {
        let start = self.at;
        let length = place(start, end(self.rest()))?;
        self.at += length;
        let part = &self.text[start..self.at];
        Ok((start + (part.len() - part.trim_start().len()), part.trim()))
    }
}

/// Moves the place of an error from a part to the whole.
fn place<T>(start: usize, result: Result<T, Expected>) -> Result<T, Expected> {
    result.map_err(|(at, what)| (start + at, what))
}

/// What a library part, complete and alone, means.
fn library_pattern(part: &str, start: usize) -> Result<LibraryPattern, Expected> {
    if let Some(body) = slashed_body(part) {
        return library_regexp(body, start + 1);
    }
    match part {
        "" | "*" => Ok(LibraryPattern::Any),
        "MAIN" => Ok(LibraryPattern::Main),
        path if path.starts_with('/') => place(start, Matcher::glob(path)).map(LibraryPattern::Path),
        name => place(start, Matcher::glob(name)).map(LibraryPattern::Soname),
    }
}

fn library_regexp(body: &str, start: usize) -> Result<LibraryPattern, Expected> {
    let matcher = place(start, Matcher::regexp(body))?;
    Ok(match (body.starts_with('/'), matcher) {
        (_, Matcher::Any) => LibraryPattern::Any,
        (true, matcher) => LibraryPattern::Path(matcher),
        (false, matcher) => LibraryPattern::Soname(matcher),
    })
}

/// The regular expression in `/BODY/`, or in `//PATH/`, whose body begins with a slash and is about paths.
///
/// `/usr/lib/libc.so.6` is none: its second slash does not end it.
fn slashed_body(part: &str) -> Option<&str> {
    let body = part.strip_prefix('/')?.strip_suffix('/')?;
    (body.starts_with('/') || find_unquoted(body, '/').is_none()).then_some(body)
}

/// Where a library part ends.
fn library_end(rest: &str) -> Result<usize, Expected> {
    if rest.starts_with('/') {
        // A regular expression may hold any sign: it ends at the first slash that a rule can end at.
        let starts = if rest.starts_with("//") { 2 } else { 1 };
        let mut from = starts;
        while let Some(length) = find_unquoted(&rest[from..], '/') {
            let end = from + length + 1;
            if matches!(rest[end..].chars().next(), None | Some('+' | '-' | ',')) {
                return Ok(end);
            }
            if starts == 1 {
                break;
            }
            from = end;
        }
    }
    let mut from = 0;
    loop {
        let end =
            from + glob_end(&rest[from..], &['@', '+', '-', ',']).map_err(|(at, what)| (from + at, what))?;
        let sign = rest[end..].chars().next();
        if !matches!(sign, Some('+' | '-')) || !is_part_of_name(&rest[..end], &rest[end + 1..]) {
            return Ok(end);
        }
        from = end + 1;
    }
}

/// Whether a `+` or `-` between `before` and `after` belongs to the library's name: `ld-linux-x86-64.so.2`, `libstdc++.so.6`,
/// `/usr/lib/x86_64-linux-gnu/libc.so.6`. (ltrace always starts a new rule there.)
///
/// It does when the name is still without its `.so` and one follows before the next `@`, since no function has `.so` in its
/// name; and in a path when another directory follows.
fn is_part_of_name(before: &str, after: &str) -> bool {
    if before == "MAIN" || before.contains(".so") {
        return false;
    }
    let part = after.split(['@', ',']).next().unwrap_or_default();
    if part.contains(".so") && !part.starts_with('/') {
        return true;
    }
    let next = part.split(['+', '-']).next().unwrap_or_default();
    before.starts_with('/') && !next.starts_with('/') && part.contains('/')
}

/// Where a glob ends: at one of `stops` that is neither quoted nor in brackets, nor between the arguments of a C++ name.
fn glob_end(text: &str, stops: &[char]) -> Result<usize, Expected> {
    let mut at = 0;
    let mut depth = 0_usize;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '\\' => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            '[' => at += place(at, Bracket::parse(&text[at..], Dialect::Glob))?.1,
            ',' if depth > 0 && text[at..].starts_with(", ") => at += 1,
            stop if stops.contains(&stop) => return Ok(at),
            other => {
                match other {
                    '(' | '<' => depth += 1,
                    ')' | '>' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                at += other.len_utf8();
            }
        }
    }
    Ok(at)
}

/// The first `wanted` in a basic regular expression that is neither quoted nor in brackets.
fn find_unquoted(text: &str, wanted: char) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        at += match c {
            _ if c == wanted => return Some(at),
            '\\' => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            // An open bracket is an error that the translator will name.
            '[' => Bracket::parse(&text[at..], Dialect::Regexp).map_or(1, |(_, taken)| taken),
            other => other.len_utf8(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<(bool, String)> {
        let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{error}"));
        filter
            .rules()
            .iter()
            .map(|rule| (rule.include, rule.text.clone()))
            .collect()
    }

    #[test]
    fn chains_are_cut_into_rules() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("malloc", &["malloc"]),
            ("+malloc", &["+malloc"]),
            ("malloc+free-@MAIN", &["malloc", "+free", "-@MAIN"]),
            ("@MAIN-puts", &["@MAIN", "-puts"]),
            ("-puts", &["", "-puts"]),
            ("!puts", &["", "!puts"]),
            ("malloc,free", &["malloc", "free"]),
            ("malloc, -free", &["malloc", "-free"]),
            (" malloc + free ", &["malloc", "+ free"]),
            ("[a-m]*-[+-]x", &["[a-m]*", "-[+-]x"]),
            ("/[a-m]*/-/x+/", &["/[a-m]*/", "-/x+/"]),
            ("/mal.*/@/.*/+free", &["/mal.*/@/.*/", "+free"]),
            ("/m.*@t.*/-x", &["/m.*@t.*/", "-x"]),
            (
                "-@ld-linux-x86-64.so.2-@libstdc++.so.6",
                &["", "-@ld-linux-x86-64.so.2", "-@libstdc++.so.6"],
            ),
            ("@libc.so.6-malloc", &["@libc.so.6", "-malloc"]),
            ("x@lib-foo.so*+y@MAIN", &["x@lib-foo.so*", "+y@MAIN"]),
            ("@lib*-puts@libc.so.6", &["@lib*", "-puts@libc.so.6"]),
            (
                "@/usr/lib/x86_64-linux-gnu/libc.so.6-puts",
                &["@/usr/lib/x86_64-linux-gnu/libc.so.6", "-puts"],
            ),
            ("@/opt/my-app/bin/prog-puts", &["@/opt/my-app/bin/prog", "-puts"]),
            ("@//usr/lib/.*/-puts", &["@//usr/lib/.*/", "-puts"]),
            (r"@my\-prog", &[r"@my\-prog"]),
            (r"operator\+", &[r"operator\+"]),
            ("ns::f(int, char)+g", &["ns::f(int, char)", "+g"]),
        ];
        for (text, expected) in cases {
            let got = rules(text);
            assert_eq!(
                got.iter().map(|(_, rule)| rule.as_str()).collect::<Vec<_>>(),
                *expected,
                "{text}"
            );
            assert!(
                got.iter()
                    .all(|(include, rule)| *include != rule.starts_with(['-', '!'])),
                "{text}"
            );
        }
    }

    #[test]
    fn errors_are_one_line_with_a_position() {
        // filter, position from 1, a word of the message
        let cases = [
            ("+", 2, "function"),
            ("malloc-", 8, "function"),
            ("malloc+-free", 8, "function"),
            ("mal[loc", 4, "]"),
            ("/mal", 1, "closes"),
            ("free+/mal", 6, "closes"),
            ("/mal/x", 6, "after the closing /"),
            ("a@b@c", 4, "another rule"),
            (r"/a\(/", 3, "closes"),
            (r"x@/a\(/", 5, "closes"),
            (r"/x@a\(/", 5, "closes"),
            (r"mal\", 4, "character"),
            ("x@[z-a]", 4, "ascends"),
            (",malloc", 1, "function"),
            ("a,,b", 3, "function"),
        ];
        for (text, position, word) in cases {
            let error = Filter::parse(text).unwrap_err();
            assert_eq!(error.position(), position, "{error}");
            assert!(error.to_string().contains(word), "{error}");
            assert!(!error.to_string().contains('\n'));
        }
        let control = Filter::parse("a\n\x1b[\n").unwrap_err().to_string();
        assert!(!control.contains(['\n', '\x1b']), "{control:?}");
    }

    #[test]
    fn a_library_option_is_one_pattern() {
        let one = |text: &str| Filter::parse_library(text).unwrap().rules().len();
        assert_eq!(one("my-plug+in"), 1);
        assert_eq!(one("/usr/lib/my-app"), 1);
        assert_eq!(one("/lib[a-z]*/"), 1);
        assert_eq!(one("libc.so.6-@MAIN"), 2);
        assert_eq!(Filter::parse_library("lib[x").unwrap_err().position(), 4);
        assert_eq!(Filter::parse_library("libc@x@y").unwrap_err().position(), 5);
        assert_eq!(Filter::parse_library("").unwrap_err().position(), 1);
    }
}
