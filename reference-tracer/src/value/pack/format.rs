//! The language of formats: which arguments one asks for.

use arch_abi::Float;

use super::super::emit::Base;

/// The most arguments of a format that are shown.
pub(super) const MAX_ARGS: usize = 64;

/// The most bytes or characters of a string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    None,
    Number(usize),
    /// The value of argument so and so.
    Arg(usize),
}

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Int {
        size: u8,
        signed: bool,
        base: Base,
    },
    Char {
        wide: bool,
    },
    Float(Float),
    Str {
        wide: bool,
        bound: Bound,
    },
    Pointer,
    /// A pointer to an integer that the callee fills, printf's `%n` or scanf's numbers.
    IntAt {
        size: u8,
        signed: bool,
        base: Base,
    },
    FloatAt(Float),
    /// scanf's `%c`: so many characters without an end.
    CharsAt {
        wide: bool,
        count: usize,
    },
    /// scanf's `%ms`: a pointer to a pointer to a string.
    StrAt {
        wide: bool,
    },
    PointerAt,
}

/// The arguments that a format asks for.
#[derive(Clone, Debug)]
pub(in crate::value) struct Args {
    pub(super) kinds: [Option<Kind>; MAX_ARGS],
    /// scanf's that count as assigned: all but `%n`.
    pub(super) counted: [bool; MAX_ARGS],
    pub(super) len: usize,
    /// There are more, or the format was not understood to its end.
    cut: bool,
}

impl Args {
    const fn none() -> Self {
        Self {
            kinds: [None; MAX_ARGS],
            counted: [true; MAX_ARGS],
            len: 0,
            cut: false,
        }
    }

    /// Argument number `index`, or the next one, is of this kind.
    fn put(&mut self, index: Option<usize>, kind: Kind) -> Option<usize> {
        let index = index.unwrap_or(self.len);
        let Some(slot) = self.kinds.get_mut(index) else {
            self.cut = true;
            return None;
        };
        *slot = Some(kind);
        self.len = self.len.max(index + 1);
        Some(index)
    }
}

/// The arguments that `format` asks for: printf's, or `scanf`'s. A machine's word has `word` bytes.
pub(super) fn arguments(format: &[u8], scanf: bool, word: u8) -> Args {
    let mut parser = Parser {
        rest: format,
        word,
        args: Args::none(),
    };
    if scanf {
        parser.scanf();
    } else {
        parser.printf();
    }
    parser.args
}

struct Parser<'f> {
    rest: &'f [u8],
    word: u8,
    args: Args,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.next();
        }
        found
    }

    fn number(&mut self) -> Option<usize> {
        let mut value: Option<usize> = None;
        while let Some(digit @ b'0'..=b'9') = self.rest.first() {
            value = Some(
                value
                    .unwrap_or(0)
                    .saturating_mul(10)
                    .saturating_add(usize::from(digit - b'0')),
            );
            self.next();
        }
        value
    }

    /// `N$`: the argument's number, counted from zero here.
    fn position(&mut self) -> Option<usize> {
        let before = self.rest;
        match self.number() {
            Some(number @ 1..) if self.eat(b'$') => Some(number - 1),
            _ => {
                self.rest = before;
                None
            }
        }
    }

    /// Moves past the next `%`; `false`: there is none.
    fn conversion(&mut self) -> bool {
        while let Some(byte) = self.next() {
            if byte == b'%' && !self.eat(b'%') {
                return true;
            }
        }
        false
    }

    fn printf(&mut self) {
        while !self.args.cut && self.conversion() {
            if self.printf_one().is_none() {
                self.args.cut = true; // what it means is not known, nor where the next argument is
            }
        }
    }

    /// One conversion of printf(3), "Format of the format string".
    fn printf_one(&mut self) -> Option<()> {
        let position = self.position();
        while let Some(b'-' | b'+' | b' ' | b'#' | b'0' | b'\'' | b'I') = self.rest.first() {
            self.next();
        }
        self.star_or_number();
        let bound = if self.eat(b'.') {
            self.star_or_number()
        } else {
            Bound::None
        };
        let size = self.length()?;
        let int = |signed, base| Kind::Int {
            size: size.int,
            signed,
            base,
        };
        let kind = match self.next()? {
            b'd' | b'i' => int(true, Base::Dec),
            b'u' => int(false, Base::Dec),
            b'x' | b'X' => int(false, Base::Hex),
            b'o' => int(false, Base::Oct),
            b'b' | b'B' => int(false, Base::Bin),
            b'c' => Kind::Char { wide: size.long },
            b'C' => Kind::Char { wide: true },
            b's' => Kind::Str {
                wide: size.long,
                bound,
            },
            b'S' => Kind::Str { wide: true, bound },
            b'p' | b'n' => Kind::Pointer,
            b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' => Kind::Float(size.float_of_printf()),
            b'm' | b'%' => return Some(()), // no argument
            _ => return None,
        };
        self.args.put(position, kind);
        Some(())
    }

    /// A width or a precision: a number, `*` or `*N$`.
    fn star_or_number(&mut self) -> Bound {
        if !self.eat(b'*') {
            return self.number().map_or(Bound::Number(0), Bound::Number);
        }
        let position = self.position();
        let int = Kind::Int {
            size: 4,
            signed: true,
            base: Base::Dec,
        };
        self.args.put(position, int).map_or(Bound::None, Bound::Arg)
    }

    /// A length modifier.
    fn length(&mut self) -> Option<Size> {
        let plain = Size {
            int: 4,
            long: false,
            longer: false,
            ldouble: false,
        };
        let long = Size {
            int: self.word,
            long: true,
            ..plain
        };
        Some(match self.rest.first()? {
            b'h' => {
                self.next();
                Size {
                    int: if self.eat(b'h') { 1 } else { 2 },
                    ..plain
                }
            }
            b'l' => {
                self.next();
                if self.eat(b'l') {
                    Size {
                        int: 8,
                        longer: true,
                        ..plain
                    }
                } else {
                    long
                }
            }
            b'q' | b'L' => {
                let ldouble = self.next() == Some(b'L');
                Size {
                    int: 8,
                    ldouble,
                    longer: true,
                    ..plain
                }
            }
            b'j' => {
                self.next();
                Size { int: 8, ..plain }
            }
            b'z' | b'Z' | b't' => {
                self.next();
                Size {
                    int: self.word,
                    ..plain
                }
            }
            b'w' => self.exact_width(plain)?,
            _ => plain,
        })
    }

    /// `wN` and `wfN` of C23, "The fprintf function".
    fn exact_width(&mut self, plain: Size) -> Option<Size> {
        self.next();
        let fast = self.eat(b'f');
        let int = match (self.number()?, fast) {
            (8, _) => 1,
            (16, false) => 2,
            (32, false) => 4,
            (16 | 32, true) => self.word, // <stdint.h> of glibc: a word
            (64, _) => 8,
            _ => return None,
        };
        Some(Size { int, ..plain })
    }

    fn scanf(&mut self) {
        while !self.args.cut && self.conversion() {
            if self.scanf_one().is_none() {
                self.args.cut = true;
            }
        }
    }

    /// One conversion of scanf(3), "Conversions".
    fn scanf_one(&mut self) -> Option<()> {
        let position = self.position();
        let mut suppressed = false;
        while let Some(flag @ (b'*' | b'\'' | b'I')) = self.rest.first() {
            suppressed |= *flag == b'*';
            self.next();
        }
        let width = self.number();
        let allocated = self.eat(b'm');
        let size = self.length()?;
        let int = |signed, base| Kind::IntAt {
            size: size.int,
            signed,
            base,
        };
        let conversion = self.next()?;
        let text = |wide| {
            if allocated {
                Kind::StrAt { wide }
            } else {
                Kind::Str {
                    wide,
                    bound: Bound::None,
                }
            }
        };
        let kind = match conversion {
            b'd' | b'i' | b'n' => int(true, Base::Dec),
            b'u' => int(false, Base::Dec),
            b'x' | b'X' => int(false, Base::Hex),
            b'o' => int(false, Base::Oct),
            b'b' | b'B' => int(false, Base::Bin),
            b'c' | b'C' if !allocated => Kind::CharsAt {
                wide: size.long || conversion == b'C',
                count: width.unwrap_or(1),
            },
            b's' | b'c' => text(size.long),
            b'S' | b'C' => text(true),
            b'[' => {
                self.set()?;
                text(size.long)
            }
            b'p' => Kind::PointerAt,
            b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' => Kind::FloatAt(size.float_of_scanf()),
            _ => return None,
        };
        if !suppressed && let Some(index) = self.args.put(position, kind) {
            self.args.counted[index] = conversion != b'n';
        }
        Some(())
    }

    /// The rest of `[…]`; a `]` that comes first, or first after `^`, is one of the set.
    fn set(&mut self) -> Option<()> {
        self.eat(b'^');
        self.eat(b']');
        while self.next()? != b']' {}
        Some(())
    }
}

/// What a length modifier says.
#[derive(Clone, Copy)]
struct Size {
    int: u8,
    long: bool,
    longer: bool,
    ldouble: bool,
}

impl Size {
    /// C promotes `float` to `double`; glibc takes `ll` for `L`.
    fn float_of_printf(self) -> Float {
        if self.ldouble || self.longer {
            Float::Long
        } else {
            Float::Double
        }
    }

    fn float_of_scanf(self) -> Float {
        match (self.ldouble || self.longer, self.long) {
            (true, _) => Float::Long,
            (false, true) => Float::Double,
            (false, false) => Float::Single,
        }
    }
}
