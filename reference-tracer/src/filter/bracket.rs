//! Bracket expressions, which globs and basic regular expressions share (POSIX, "RE Bracket Expression").

use std::str::Chars;

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bracket {
    pub(super) negated: bool,
    pub(super) ranges: Vec<(char, char)>,
}

/// Which dialect a bracket expression is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `[!x]` negates too, and a backslash quotes (POSIX, "Pattern Matching Notation").
    Glob,
    /// A backslash is itself.
    Regexp,
}

/// What was expected, at which byte of the text that was parsed.
pub(super) type Expected = (usize, String);

impl Bracket {
    pub(super) fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != self.negated
    }

    /// Parses the expression that `text` begins with, `[` included, and tells how many bytes it took.
    pub(super) fn parse(text: &str, dialect: Dialect) -> Result<(Self, usize), Expected> {
        let mut parser = Parser {
            text,
            rest: text.chars(),
            dialect,
        };
        parser.rest.next();
        let negated = parser.eat('^') || (dialect == Dialect::Glob && parser.eat('!'));
        let mut ranges = Vec::new();
        let mut first = true;
        loop {
            if !first && parser.eat(']') {
                return Ok((Self { negated, ranges }, parser.at()));
            }
            first = false;
            parser.item(&mut ranges)?;
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    rest: Chars<'t>,
    dialect: Dialect,
}

impl Parser<'_> {
    fn at(&self) -> usize {
        self.text.len() - self.rest.as_str().len()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.rest.as_str().starts_with(wanted);
        if found {
            self.rest.next();
        }
        found
    }

    /// One character, range or class.
    fn item(&mut self, ranges: &mut Vec<(char, char)>) -> Result<(), Expected> {
        if self.rest.as_str().starts_with("[:") {
            ranges.extend_from_slice(self.class()?);
            return Ok(());
        }
        let start = self.at();
        let low = self.element()?;
        // A '-' before the closing bracket is itself.
        let is_range = self
            .rest
            .as_str()
            .strip_prefix('-')
            .is_some_and(|rest| !rest.starts_with(']'));
        if !is_range {
            ranges.push((low, low));
            return Ok(());
        }
        self.rest.next();
        let high = self.element()?;
        if low > high {
            return Err((start, format!("expected a range that ascends, not {low}-{high}")));
        }
        ranges.push((low, high));
        Ok(())
    }

    /// A character, `[.x.]` or `[=x=]`.
    fn element(&mut self) -> Result<char, Expected> {
        let rest = self.rest.as_str();
        if rest.starts_with("[.") || rest.starts_with("[=") {
            return self.collating();
        }
        match self.rest.next() {
            Some('\\') if self.dialect == Dialect::Glob => self.rest.next().ok_or_else(Self::unclosed),
            Some(c) => Ok(c),
            None => Err(Self::unclosed()),
        }
    }

    fn collating(&mut self) -> Result<char, Expected> {
        let start = self.at();
        self.rest.next();
        let mark = self.rest.next();
        let element = self.rest.next();
        match (element, mark == self.rest.next(), self.eat(']')) {
            (Some(c), true, true) => Ok(c),
            _ => Err((start, "expected one character in [. .] or [= =]".to_owned())),
        }
    }

    fn class(&mut self) -> Result<&'static [(char, char)], Expected> {
        let start = self.at();
        let body = &self.text[start + 2..];
        let Some(end) = body.find(":]") else {
            return Err((
                start,
                "expected ':]' after the name of a character class".to_owned(),
            ));
        };
        let Some(ranges) = class_ranges(&body[..end]) else {
            return Err((
                start,
                format!(
                    "no character class '{}'; there are {CLASSES}",
                    body[..end].escape_debug()
                ),
            ));
        };
        self.rest = body[end + 2..].chars();
        Ok(ranges)
    }

    fn unclosed() -> Expected {
        (0, "expected a ']' that closes this '['".to_owned())
    }
}

const CLASSES: &str = "alnum, alpha, blank, cntrl, digit, graph, lower, print, punct, space, upper, xdigit";

/// The classes in the POSIX locale: names of functions are not in a language.
fn class_ranges(name: &str) -> Option<&'static [(char, char)]> {
    Some(match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "blank" => &[(' ', ' '), ('\t', '\t')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[(' ', ' '), ('\t', '\r')],
        "upper" => &[('A', 'Z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_contain_what_posix_says() {
        // expression, bytes it takes, inside, outside
        let cases = [
            ("[abc]d", 5, "abc", "d]["),
            ("[a-c]", 5, "abc", "d-"),
            ("[^a-c]", 6, "d^", "abc"),
            ("[]a]", 4, "]a", "b"),
            ("[^]a]", 5, "b", "]a"),
            ("[a-]", 4, "a-", "b"),
            ("[-a]", 4, "a-", "b"),
            ("[[:digit:]_]", 12, "059_", "a[:"),
            ("[[.-.]]", 7, "-", "."),
            ("[[=a=]-c]", 9, "abc", "="),
            ("[ä-ü]", 7, "äö", "a"),
        ];
        for (text, length, inside, outside) in cases {
            for dialect in [Dialect::Glob, Dialect::Regexp] {
                let (set, taken) = Bracket::parse(text, dialect).unwrap();
                assert_eq!(taken, length, "{text}");
                assert!(inside.chars().all(|c| set.contains(c)), "{text}: {set:?}");
                assert!(outside.chars().all(|c| !set.contains(c)), "{text}: {set:?}");
            }
        }
    }

    #[test]
    fn dialects_differ_in_backslash_and_bang() {
        let glob = |text| Bracket::parse(text, Dialect::Glob).unwrap().0;
        let regexp = |text| Bracket::parse(text, Dialect::Regexp).unwrap().0;
        assert!(glob(r"[\]]").contains(']') && !glob(r"[\]]").contains('\\'));
        assert!(regexp(r"[\w]").contains('\\'));
        assert!(!glob("[!a]").contains('a') && regexp("[!a]").contains('a'));
    }

    #[test]
    fn errors_name_the_place() {
        for (text, at) in [
            ("[", 0),
            ("[a", 0),
            ("[]", 0),
            ("[^]", 0),
            ("[z-a]", 1),
            ("[x[:nope:]]", 2),
            ("[[:alpha", 1),
            ("[[.ab.]]", 1),
        ] {
            assert_eq!(Bracket::parse(text, Dialect::Regexp).unwrap_err().0, at, "{text}");
        }
    }
}
