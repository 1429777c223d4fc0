//! Words of one line of a prototype file.

/// A word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token<'a> {
    Name(&'a str),
    Number(i64),
    Text(&'a str),
    Punct(&'static str),
    End,
}

/// The longest comes first, so that `<=` is not `<`.
const PUNCTUATION: [&str; 26] = [
    "...", "<=", ">=", "==", "!=", "&&", "||", "(", ")", "[", "]", ",", "*", "+", "-", "/", "=", "<", ">",
    "&", "|", "!", "{", "}", ":", "%",
];

/// The words of a line, one at a time, the next one looked at ahead.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a str,
    next: Token<'a>,
}

/// Why a line can't be split into words.
pub(super) type Bad = String;

impl<'a> Lexer<'a> {
    pub(super) fn new(line: &'a str) -> Result<Self, Bad> {
        let mut lexer = Self {
            rest: line,
            next: Token::End,
        };
        lexer.next = lexer.scan()?;
        Ok(lexer)
    }

    pub(super) fn peek(&self) -> Token<'a> {
        self.next
    }

    pub(super) fn take(&mut self) -> Result<Token<'a>, Bad> {
        let next = self.scan()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn scan(&mut self) -> Result<Token<'a>, Bad> {
        self.rest = self.rest.trim_start();
        let Some(first) = self.rest.chars().next() else {
            return Ok(Token::End);
        };
        match first {
            ';' | '#' => {
                self.rest = ""; // the item's end, or a comment: either way nothing follows
                Ok(Token::End)
            }
            '"' => self.quoted(),
            '0'..='9' => self.number(),
            first if is_name(first) && !self.rest.starts_with("...") => {
                let end = self.rest.find(|c: char| !is_name(c)).unwrap_or(self.rest.len());
                Ok(Token::Name(self.cut(end)))
            }
            _ => self.punctuation(first),
        }
    }

    fn cut(&mut self, len: usize) -> &'a str {
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        head
    }

    fn punctuation(&mut self, first: char) -> Result<Token<'a>, Bad> {
        let found = PUNCTUATION.into_iter().find(|punct| self.rest.starts_with(punct));
        let punct = found.ok_or_else(|| format!("unexpected character `{}`", first.escape_default()))?;
        self.cut(punct.len());
        Ok(Token::Punct(punct))
    }

    fn quoted(&mut self) -> Result<Token<'a>, Bad> {
        let inside = &self.rest[1..];
        let end = inside
            .find('"')
            .ok_or("expected `\"` at the end of a file name")?;
        self.cut(end + 2);
        Ok(Token::Text(&inside[..end]))
    }

    /// A number as strtol(3) with base 0 reads it.
    fn number(&mut self) -> Result<Token<'a>, Bad> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        let text = self.cut(end);
        let (digits, radix) = match text.as_bytes() {
            [b'0', b'x' | b'X', ..] => (&text[2..], 16),
            [b'0', _, ..] => (&text[1..], 8),
            _ => (text, 10),
        };
        let value =
            u64::from_str_radix(digits, radix).map_err(|_| format!("expected a number, found `{text}`"))?;
        Ok(Token::Number(value.cast_signed()))
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$' | '@')
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{}`", name.escape_default()),
            Self::Number(number) => write!(f, "`{number}`"),
            Self::Text(text) => write!(f, "\"{}\"", text.escape_default()),
            Self::Punct(punct) => write!(f, "`{punct}`"),
            Self::End => f.write_str("the end of the line"),
        }
    }
}
