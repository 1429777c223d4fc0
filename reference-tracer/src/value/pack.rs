//! The arguments that formats of the printf and scanf families ask for: where they are, and their values.

mod format;

use arch_abi::{Addr, CType, Float, Place, VaCursor};

use super::decode::{Contents, Span, Walk};
use super::emit::{Base, Value};
use super::number::integer;
use crate::proto::Pack;
use format::{Args, Bound, Kind, MAX_ARGS};

/// The longest format that is looked at, in bytes (of a wide one, characters).
const MAX_FORMAT: usize = 4096;

/// Reads and parses the format that parameter `index` points at. `None`: it can't be read.
pub(super) fn parse(walk: &mut Walk<'_, '_>, index: usize, pack: Pack, format: &mut Vec<u8>) -> Option<Args> {
    let frame = walk.frame;
    let place = frame.plan.params[index].place.as_ref()?;
    let at = frame.word_of(place, walk.memory)?;
    format.clear();
    read_format(walk, Addr::new(at), pack.wide, format)?;
    let word = u8::try_from(walk.abi().word_size()).unwrap_or(8);
    Some(format::arguments(format, pack.scanf, word))
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
    let word = walk.frame.word_of(place, walk.memory)?;
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
    walk.read_stacked(place)
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
