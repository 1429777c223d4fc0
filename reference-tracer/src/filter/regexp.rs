//! POSIX basic regular expressions, as `regcomp(3)` takes them without `REG_EXTENDED`, in the words of the `regex` crate.

use super::bracket::{Bracket, Dialect, Expected};
use regex::{Regex, RegexBuilder};
use std::fmt::Write as _;

/// Longer expressions are refused; no function's name calls for one.
const LENGTH_LIMIT: usize = 4096;
/// Memory that a compiled expression may take: `\{255\}` of `\{255\}` asks for more.
const SIZE_LIMIT: usize = 1 << 20;
/// `RE_DUP_MAX`, the most that POSIX promises an interval may count.
const REPEAT_LIMIT: u32 = 255;

/// Compiles a basic regular expression that has to match the whole name.
pub(super) fn compile(text: &str) -> Result<Regex, Expected> {
    if text.len() > LENGTH_LIMIT {
        return Err((
            LENGTH_LIMIT,
            format!("expected a regular expression of at most {LENGTH_LIMIT} bytes"),
        ));
    }
    let translated = Translator::new(text).run()?;
    RegexBuilder::new(&format!(r"\A(?:{translated})\z"))
        .size_limit(SIZE_LIMIT)
        .dot_matches_new_line(true)
        .build()
        .map_err(|_| (0, "expected a smaller regular expression".to_owned()))
}

/// What stands before the place where the translator is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The start of an expression, a group or an alternative: `*` is itself here, `^` an anchor.
    Start,
    /// Something that can be repeated, and where it begins in the output.
    Atom(usize),
    /// The same, repeated already.
    Repeated(usize),
}

struct Translator<'t> {
    text: &'t str,
    at: usize,
    out: String,
    before: Before,
    /// Where in the text and in the output each open group begins.
    groups: Vec<(usize, usize)>,
}

impl<'t> Translator<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            out: String::new(),
            before: Before::Start,
            groups: Vec::new(),
        }
    }

    fn run(mut self) -> Result<String, Expected> {
        while let Some(c) = self.text[self.at..].chars().next() {
            let start = self.at;
            self.at += c.len_utf8();
            match c {
                '\\' => self.backslash(start)?,
                '[' => self.bracket(start)?,
                '.' => self.atom("."),
                '*' if self.before != Before::Start => self.repeat("*"),
                '^' if self.before == Before::Start => self.out.push('^'),
                '$' if self.at_end_of_branch() => self.out.push('$'),
                other => self.literal(other),
            }
        }
        match self.groups.pop() {
            Some((start, _)) => Err((start, r"expected a '\)' that closes this '\('".to_owned())),
            None => Ok(self.out),
        }
    }

    fn at_end_of_branch(&self) -> bool {
        let rest = &self.text[self.at..];
        rest.is_empty() || rest.starts_with(r"\)") || rest.starts_with(r"\|")
    }

    fn atom(&mut self, translated: &str) {
        self.before = Before::Atom(self.out.len());
        self.out.push_str(translated);
    }

    fn literal(&mut self, c: char) {
        self.before = Before::Atom(self.out.len());
        push_char(&mut self.out, c);
    }

    /// Repeats what stands before. What is repeated already gets a group, since `a+?` would mean something else.
    fn repeat(&mut self, how: &str) {
        let start = match self.before {
            Before::Start => return,
            Before::Atom(start) => start,
            Before::Repeated(start) => {
                self.out.insert_str(start, "(?:");
                self.out.push(')');
                start
            }
        };
        self.out.push_str(how);
        self.before = Before::Repeated(start);
    }

    fn bracket(&mut self, start: usize) -> Result<(), Expected> {
        let (set, taken) = Bracket::parse(&self.text[start..], Dialect::Regexp)
            .map_err(|(offset, what)| (start + offset, what))?;
        self.at = start + taken;
        self.atom(if set.negated { "[^" } else { "[" });
        for (low, high) in set.ranges {
            push_char(&mut self.out, low);
            self.out.push('-');
            push_char(&mut self.out, high);
        }
        self.out.push(']');
        Ok(())
    }

    fn backslash(&mut self, start: usize) -> Result<(), Expected> {
        let Some(c) = self.text[self.at..].chars().next() else {
            return Err((start, r"expected a character after '\'".to_owned()));
        };
        self.at += c.len_utf8();
        match c {
            '(' => self.open(start),
            ')' => self.close(start)?,
            '|' => {
                self.out.push('|');
                self.before = Before::Start;
            }
            '{' => self.interval(start)?,
            // GNU's additions (grep(1), "Basic vs Extended Regular Expressions" and "The Backslash Character").
            '+' if self.before != Before::Start => self.repeat("+"),
            '?' if self.before != Before::Start => self.repeat("?"),
            'w' => self.atom("[0-9A-Z_a-z]"),
            'W' => self.atom("[^0-9A-Z_a-z]"),
            's' => self.atom("[ \\t-\\r]"),
            'S' => self.atom("[^ \\t-\\r]"),
            '<' => self.out.push_str(r"(?-u:\b{start})"),
            '>' => self.out.push_str(r"(?-u:\b{end})"),
            'b' => self.out.push_str(r"(?-u:\b)"),
            '`' => self.out.push_str(r"\A"),
            '\'' => self.out.push_str(r"\z"),
            'B' | '1'..='9' => return Err((start, format!(r"'\{c}' is not supported in a filter"))),
            other => self.literal(other),
        }
        Ok(())
    }

    fn open(&mut self, start: usize) {
        self.groups.push((start, self.out.len()));
        self.out.push_str("(?:");
        self.before = Before::Start;
    }

    fn close(&mut self, start: usize) -> Result<(), Expected> {
        let (_, group) = self
            .groups
            .pop()
            .ok_or((start, r"there is no '\(' that this '\)' closes".to_owned()))?;
        self.out.push(')');
        self.before = Before::Atom(group);
        Ok(())
    }

    /// `\{N\}`, `\{N,\}`, `\{N,M\}`, and GNU's `\{,M\}`.
    fn interval(&mut self, start: usize) -> Result<(), Expected> {
        let wrong = || {
            (
                start,
                format!(r"expected \{{N\}}, \{{N,\}} or \{{N,M\}} with numbers up to {REPEAT_LIMIT}"),
            )
        };
        if self.before == Before::Start {
            return Err((start, r"there is nothing before this '\{' to repeat".to_owned()));
        }
        let body = &self.text[self.at..];
        let (body, _) = body.split_once(r"\}").ok_or_else(wrong)?;
        self.at += body.len() + 2;
        let number = |digits: &str| -> Result<u32, Expected> {
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            digits
                .parse()
                .ok()
                .filter(|n| plain && *n <= REPEAT_LIMIT)
                .ok_or_else(wrong)
        };
        let how = match body.split_once(',') {
            None => format!("{{{}}}", number(body)?),
            Some((low, "")) => format!("{{{},}}", number(low)?),
            Some((low, high)) => {
                let (low, high) = (if low.is_empty() { 0 } else { number(low)? }, number(high)?);
                if low > high {
                    return Err(wrong());
                }
                format!("{{{low},{high}}}")
            }
        };
        self.repeat(&how);
        Ok(())
    }
}

/// Writes a character so that it is itself inside and outside of brackets.
fn push_char(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || c == '_' {
        out.push(c);
    } else {
        // A `String` takes everything.
        let _ = write!(out, r"\x{{{:x}}}", u32::from(c));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// expression, a name it matches, one it does not
    const CASES: &[(&str, &str, &str)] = &[
        ("mal.*", "malloc", "xmalloc"),
        ("^m.*", "malloc", "free"),
        ("^m.*$", "malloc", "free"),
        (r"\(^m\|f\).*", "free", "puts"),
        ("a*", "aaa", "ab"),
        ("*a", "*a", "a"),
        (r"\(*a\)", "*a", "a"),
        ("a+", "a+", "aa"),
        (r"a\+", "aa", ""),
        (r"a\?b", "b", "aab"),
        (r"a*\?", "aa", "b"),
        (r"a\+\?b", "b", "c"),
        ("(a|b)", "(a|b)", "a"),
        (r"\(a\|b\)c", "bc", "c"),
        (r"a\{2\}", "aa", "aaa"),
        (r"a\{2,\}", "aaa", "a"),
        (r"a\{1,2\}", "aa", "aaa"),
        (r"\(ab\)*", "abab", "aba"),
        ("a^b$c", "a^b$c", "abc"),
        (r"\.", ".", "x"),
        ("[a-m]*", "calf", "puts"),
        (r"[\]", r"\", "x"),
        ("[[:upper:]_]*", "A_B", "a"),
        ("[^a]", "b", "a"),
        (r"\w*", "f_1", "f.1"),
        ("a.c", "a\nc", "ac"),
        ("ä.", "äö", "a"),
        ("{1}", "{1}", "1"),
        ("", "", "a"),
    ];

    #[test]
    fn basic_syntax_means_what_posix_says() {
        for &(text, yes, no) in CASES {
            let regexp = compile(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert!(regexp.is_match(yes), "{text} must match {yes}");
            assert!(!regexp.is_match(no), "{text} must not match {no}");
        }
    }

    /// grep is the witness: `-x` anchors as a filter does.
    #[test]
    fn grep_agrees() {
        for &(text, yes, no) in CASES
            .iter()
            .filter(|(_, yes, no)| !yes.contains('\n') && !no.contains('\n'))
        {
            for name in [yes, no] {
                let grep = grep(text, name);
                assert_eq!(compile(text).unwrap().is_match(name), grep, "{text} on {name}");
            }
        }
    }

    fn grep(text: &str, name: &str) -> bool {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut child = Command::new("grep")
            .args(["-G", "-x", "-q", "-e", text])
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{name}").unwrap();
        child.wait().unwrap().success()
    }

    #[test]
    fn errors_name_the_place() {
        for (text, at) in [
            (r"a\", 1),
            (r"\(a", 0),
            (r"a\)", 1),
            (r"a\{x\}", 1),
            (r"a\{2,1\}", 1),
            (r"a\{256\}", 1),
            (r"a\{+2\}", 1),
            (r"\{1\}", 0),
            (r"\(a\)\1", 5),
            ("ab[c", 2),
            ("x[z-a]", 2),
            (r"\(\(\(a\{255\}\)\{255\}\)\{255\}\)\{255\}", 0),
        ] {
            assert_eq!(compile(text).unwrap_err().0, at, "{text}");
        }
        assert!(compile(&"a*".repeat(4000)).is_err());
        assert!(
            compile(&format!("a{}", "*".repeat(4000))).is_err(),
            "nested too deep: an error, not a crash"
        );
    }
}
