//! Formats of the printf and scanf families, and the arguments that they ask for.

use arch_abi::{Addr, CType, Float, Place, VaCursor};

use super::decode::{Contents, Span, Walk};
use super::emit::{Base, Value};
use super::number::integer;
use crate::proto::Pack;

/// The most arguments of a format that are shown.
const MAX_ARGS: usize = 64;
/// The longest format that is looked at, in bytes (of a wide one, characters).
const MAX_FORMAT: usize = 4096;

/// The most bytes or characters of a string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bound {
    None,
    Number(usize),
    /// The value of argument so and so.
    Arg(usize),
}

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
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
pub(super) struct Args {
    kinds: [Option<Kind>; MAX_ARGS],
    /// scanf's that count as assigned: all but `%n`.
    counted: [bool; MAX_ARGS],
    len: usize,
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

/// Reads and parses the format that parameter `index` points at. `None`: it can't be read.
pub(super) fn parse(walk: &mut Walk<'_, '_>, index: usize, pack: Pack, format: &mut Vec<u8>) -> Option<Args> {
    let frame = walk.frame;
    let place = frame.plan.params[index].place.as_ref()?;
    let at = if let Some(word) = place.fetch_word(&frame.call.captured()) {
        word
    } else {
        let piece = place.pieces().first()?;
        let arch_abi::Source::Stack(offset) = piece.source else {
            return None;
        };
        let span = walk.read(frame.call.sp.wrapping_add(offset.into()), piece.len.into())?;
        walk.word(span)
    };
    format.clear();
    read_format(walk, Addr::new(at), pack.wide, format)?;
    let word = u8::try_from(walk.abi().word_size()).unwrap_or(8);
    let mut parser = Parser {
        rest: format,
        word,
        args: Args::none(),
    };
    if pack.scanf {
        parser.scanf();
    } else {
        parser.printf();
    }
    Some(parser.args)
}

/// Appends the characters of the format; those of a wide one that are no ASCII as `?`.
fn read_format(walk: &mut Walk<'_, '_>, at: Addr, wide: bool, format: &mut Vec<u8>) -> Option<()> {
    let width = if wide { 4 } else { 1 };
    let mut next = at;
    while format.len() < MAX_FORMAT {
        let step = super::capture::to_page_end(next).min(256);
        let span = walk.read_some(next, step);
        let start = format.len();
        for unit in walk.bytes(span).chunks_exact(width) {
            if unit.iter().all(|&byte| byte == 0) {
                walk.scratch.bytes.truncate(span.start);
                return Some(());
            }
            format.push(if unit[1..].iter().all(|&byte| byte == 0) {
                unit[0]
            } else {
                b'?'
            });
        }
        walk.scratch.bytes.truncate(span.start);
        if format.len() == start || span.len < step {
            return None; // it has no end
        }
        next = next.wrapping_add(step as u64);
    }
    Some(())
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

/// Where the arguments after a format come from.
enum Source {
    Registers(arch_abi::ArgCursor),
    List(VaCursor),
}

/// Shows the arguments, each after a comma.
pub(super) fn show(walk: &mut Walk<'_, '_>, index: usize, pack: Pack, args: &Args, any: &mut bool) {
    let Some(mut source) = source(walk, index, pack) else {
        return;
    };
    let mut ints = [0_i64; MAX_ARGS];
    let mut left = if pack.scanf { assigned(walk) } else { usize::MAX };
    for number in 0..args.len {
        // A number that no conversion names is taken for an int, as glibc does.
        let kind = args.kinds[number].unwrap_or(Kind::Int {
            size: 4,
            signed: true,
            base: Base::Dec,
        });
        super::show::comma_before(any, walk);
        let Some(span) = next(walk, &mut source, kind) else {
            walk.emit.value(Value::Unknown);
            continue;
        };
        let (value, _) = integer(walk.bytes(span), true);
        ints[number] = i64::try_from(value).unwrap_or(0);
        let filled = !pack.scanf || left > 0 || (!args.counted[number] && walk.frame.ret.is_some());
        if filled {
            one(walk, kind, span, &ints);
        } else {
            let at = Addr::new(walk.word(span));
            walk.emit.value(Value::Pointer(at));
        }
        if args.counted[number] {
            left = left.saturating_sub(1);
        }
        walk.scratch.bytes.truncate(span.start);
    }
}

/// How many conversions scanf says it has assigned.
fn assigned(walk: &Walk<'_, '_>) -> usize {
    use crate::proto::expr::Env as _;
    let result = walk.frame.with(None, walk.memory).retval();
    result.and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

fn source(walk: &mut Walk<'_, '_>, index: usize, pack: Pack) -> Option<Source> {
    if !pack.va_list {
        return Some(Source::Registers(walk.frame.plan.rest));
    }
    let place = walk.frame.plan.params.get(index + 1)?.place.as_ref()?;
    let word = if let Some(word) = place.fetch_word(&walk.frame.call.captured()) {
        word
    } else {
        let piece = place.pieces().first()?;
        let arch_abi::Source::Stack(offset) = piece.source else {
            return None;
        };
        let span = walk.read(walk.frame.call.sp.wrapping_add(offset.into()), piece.len.into())?;
        walk.word(span)
    };
    let abi = walk.abi();
    let object = walk.read_some(Addr::new(word), abi.va_list_size());
    abi.va_start(word, walk.bytes(object)).map(Source::List)
}

/// The bytes of the next argument, as C's default argument promotions pass it.
fn next(walk: &mut Walk<'_, '_>, source: &mut Source, kind: Kind) -> Option<Span> {
    let ty = match kind {
        Kind::Int { size, .. } => CType::Int(size.max(4)),
        Kind::Char { .. } => CType::Int(4),
        Kind::Float(Float::Long) => CType::Float(Float::Long),
        Kind::Float(_) => CType::Float(Float::Double),
        _ => CType::Pointer,
    };
    let abi = walk.abi();
    match source {
        Source::Registers(cursor) => {
            let place = abi.place_arg(&ty, cursor);
            fetch(walk, &place)
        }
        Source::List(cursor) => {
            let at = abi.va_arg(&ty, cursor)?;
            walk.read(Addr::new(at), abi.layout_of(&ty).size)
        }
    }
}

fn fetch(walk: &mut Walk<'_, '_>, place: &Place) -> Option<Span> {
    let start = walk.scratch.bytes.len();
    let captured = walk.frame.call.captured();
    if place.fetch(&captured, &mut walk.scratch.bytes).is_some() {
        return Some(Span {
            start,
            len: walk.scratch.bytes.len() - start,
        });
    }
    let [piece] = place.pieces() else { return None };
    let arch_abi::Source::Stack(offset) = piece.source else {
        return None;
    };
    walk.read(walk.frame.call.sp.wrapping_add(offset.into()), piece.len.into())
}

/// Shows one argument whose bytes are `span`.
fn one(walk: &mut Walk<'_, '_>, kind: Kind, span: Span, ints: &[i64; MAX_ARGS]) {
    match kind {
        Kind::Int { size, signed, base } => {
            let (value, bits) = integer(
                walk.bytes(Span {
                    len: span.len.min(size.into()),
                    ..span
                }),
                signed,
            );
            walk.emit.value(Value::Int { value, bits, base });
        }
        Kind::Char { wide } => {
            let (_, bits) = integer(walk.bytes(span), false);
            walk.emit.value(if wide {
                Value::Char(u32::try_from(bits & 0xffff_ffff).unwrap_or(0))
            } else {
                Value::Byte(u8::try_from(bits & 0xff).unwrap_or(0))
            });
        }
        Kind::Float(float) => number(walk, float, span),
        Kind::Pointer => {
            let at = Addr::new(walk.word(span));
            walk.emit.value(Value::Pointer(at));
        }
        Kind::Str { wide, bound } => {
            let count = match bound {
                Bound::None => usize::MAX,
                Bound::Number(number) => number,
                // "A negative precision is taken as if the precision were omitted."
                Bound::Arg(index) => ints
                    .get(index)
                    .map_or(0, |&value| usize::try_from(value).unwrap_or(usize::MAX)),
            };
            text(walk, Addr::new(walk.word(span)), wide, count, true);
        }
        Kind::IntAt { .. }
        | Kind::FloatAt(_)
        | Kind::CharsAt { .. }
        | Kind::StrAt { .. }
        | Kind::PointerAt => {
            behind(walk, kind, Addr::new(walk.word(span)));
        }
    }
}

/// Shows what scanf has filled at `at`.
fn behind(walk: &mut Walk<'_, '_>, kind: Kind, at: Addr) {
    let float_size = |walk: &Walk<'_, '_>, float| walk.abi().layout_of(&CType::Float(float)).size;
    let size = match kind {
        Kind::IntAt { size, .. } => size.into(),
        Kind::FloatAt(float) => float_size(walk, float),
        Kind::CharsAt { wide, count } => return text(walk, at, wide, count, false),
        _ => walk.abi().word_size() as u64,
    };
    let Some(span) = walk.read(at, size) else {
        return walk.emit.value(Value::Pointer(at));
    };
    match kind {
        Kind::IntAt { size, signed, base } => {
            one(walk, Kind::Int { size, signed, base }, span, &[0; MAX_ARGS]);
        }
        Kind::FloatAt(float) => number(walk, float, span),
        Kind::StrAt { wide } => text(walk, Addr::new(walk.word(span)), wide, usize::MAX, true),
        _ => one(walk, Kind::Pointer, span, &[0; MAX_ARGS]),
    }
}

fn number(walk: &mut Walk<'_, '_>, float: Float, span: Span) {
    let bytes = walk.bytes(span);
    let value = match float {
        Float::Single => bytes
            .try_into()
            .ok()
            .map(|bytes| Value::Float(f32::from_le_bytes(bytes).into())),
        Float::Double => bytes
            .try_into()
            .ok()
            .map(|bytes| Value::Float(f64::from_le_bytes(bytes))),
        Float::Long => bytes
            .get(..10)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Value::LongDouble),
    };
    walk.emit.value(value.unwrap_or(Value::Unknown));
}

fn text(walk: &mut Walk<'_, '_>, at: Addr, wide: bool, count: usize, terminated: bool) {
    if at.get() == 0 {
        return walk.emit.value(Value::Pointer(at));
    }
    walk.text(Contents::At(at), if wide { 4 } else { 1 }, count, terminated);
}
