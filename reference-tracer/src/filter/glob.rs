//! Globs over a whole name.

use super::bracket::{Bracket, Dialect, Expected};

/// A compiled glob.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    One(char),
    AnyOne,
    AnyMany,
    Of(Bracket),
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Token::One(own) => *own == c,
            Token::AnyOne => true,
            Token::AnyMany => false,
            Token::Of(set) => set.contains(c),
        }
    }
}

impl Glob {
    /// Compiles `text`; `^` before it and `$` after it say again that the whole name has to match.
    pub(super) fn parse(text: &str) -> Result<Self, Expected> {
        let mut tokens = Vec::new();
        let mut at = usize::from(text.starts_with('^'));
        while let Some(c) = text[at..].chars().next() {
            let next = at + c.len_utf8();
            at = match c {
                '*' => {
                    // Two in a row say nothing more than one.
                    if tokens.last() != Some(&Token::AnyMany) {
                        tokens.push(Token::AnyMany);
                    }
                    next
                }
                '?' => push(&mut tokens, Token::AnyOne, next),
                '[' => {
                    let (set, taken) = Bracket::parse(&text[at..], Dialect::Glob)
                        .map_err(|(offset, what)| (at + offset, what))?;
                    push(&mut tokens, Token::Of(set), at + taken)
                }
                '\\' => {
                    let quoted = text[next..]
                        .chars()
                        .next()
                        .ok_or((at, "expected a character after '\\'".to_owned()))?;
                    push(&mut tokens, Token::One(quoted), next + quoted.len_utf8())
                }
                // Elsewhere it is a character of old Rust names: `drop_in_place$LT$`.
                '$' if next == text.len() => next,
                other => push(&mut tokens, Token::One(other), next),
            };
        }
        Ok(Self { tokens })
    }

    /// The only name that matches, if there is only one.
    pub(super) fn literal(&self) -> Option<String> {
        self.tokens
            .iter()
            .map(|token| if let Token::One(c) = token { Some(*c) } else { None })
            .collect()
    }

    /// Whether every name matches.
    pub(super) fn is_any(&self) -> bool {
        self.tokens == [Token::AnyMany]
    }

    /// Whether the whole of `name` matches, in at most `name` × glob steps: only the last `*` is ever tried again.
    pub(super) fn matches(&self, name: &str) -> bool {
        let (mut rest, mut at) = (name.chars(), 0);
        let mut last_star = None;
        loop {
            match self.tokens.get(at) {
                Some(Token::AnyMany) => {
                    at += 1;
                    last_star = Some((at, rest.clone()));
                    continue;
                }
                Some(token) if rest.clone().next().is_some_and(|c| token.accepts(c)) => {
                    rest.next();
                    at += 1;
                    continue;
                }
                None if rest.as_str().is_empty() => return true,
                _ => {}
            }
            let Some((after_star, taken_to)) = &mut last_star else {
                return false;
            };
            if taken_to.next().is_none() {
                return false;
            }
            (at, rest) = (*after_star, taken_to.clone());
        }
    }
}

fn push(tokens: &mut Vec<Token>, token: Token, next: usize) -> usize {
    tokens.push(token);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match() {
        // glob, names it matches, names it does not
        let cases: [(&str, &[&str], &[&str]); 13] = [
            ("malloc", &["malloc"], &["mallocx", "xmalloc", ""]),
            ("mal*", &["mal", "malloc"], &["xmal"]),
            ("*mal*c", &["malloc", "xmalxcc"], &["malx"]),
            ("**", &["", "x"], &[]),
            ("m?c", &["mac", "mäc"], &["mc", "maac"]),
            ("[mf]*e", &["free", "me"], &["frees", "else"]),
            ("[a-m]*", &["malloc", "free"], &["puts"]),
            ("^malloc$", &["malloc"], &["^malloc$"]),
            ("a$b", &["a$b"], &["a"]),
            (r"a\*", &["a*"], &["ab"]),
            (r"a\$", &["a$"], &["a"]),
            ("*a*b*c", &["abc", "xaxbxc", "abcabc"], &["acb", "abca"]),
            ("a*a*a*b", &["aaab"], &["aaaaaaaaaaaa"]),
        ];
        for (text, yes, no) in cases {
            let glob = Glob::parse(text).unwrap();
            assert!(yes.iter().all(|name| glob.matches(name)), "{text}");
            assert!(no.iter().all(|name| !glob.matches(name)), "{text}");
        }
    }

    #[test]
    fn a_name_alone_is_known_as_one() {
        assert_eq!(
            Glob::parse(r"^op\+erator$").unwrap().literal().as_deref(),
            Some("op+erator")
        );
        assert_eq!(Glob::parse("m*").unwrap().literal(), None);
        assert!(Glob::parse("**").unwrap().is_any() && !Glob::parse("*?").unwrap().is_any());
    }

    #[test]
    fn a_hostile_glob_ends() {
        let glob = Glob::parse(&"*a".repeat(500)).unwrap();
        assert!(!glob.matches(&"a".repeat(499)));
        assert!(glob.matches(&"a".repeat(5000)));
    }
}
