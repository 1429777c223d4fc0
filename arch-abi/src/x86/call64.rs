//! x86-64: where arguments and results lie. The words are the psABI's: AMD64 Architecture Processor
//! Supplement, "Parameter Passing" and "Returning of Values".

use super::{aggregate_layout, align_up};
use crate::call::{ArgCursor, CType, Float, Layout, Piece, Place, Source, VaCursor};

const INT_ARGS: u8 = 6;
const VECTOR_ARGS: u8 = 8;
/// "If the size of an object is larger than eight eightbytes …": without vectors, larger than two
/// goes to memory in the post-merger clean-up.
const MAX_IN_REGISTERS: u64 = 16;
/// The register save area's end for integers and for vectors ("The Register Save Area").
const SAVED_INTS_END: u64 = 48;
const SAVED_VECTORS_END: u64 = 176;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Nothing,
    Integer,
    Sse,
    X87,
    X87Up,
    ComplexX87,
    Memory,
}

impl Class {
    /// "Classification", rules 4 (a) to (f): two fields in one eightbyte.
    fn merge(self, other: Self) -> Self {
        use Class::{ComplexX87, Integer, Memory, Nothing, Sse, X87, X87Up};
        match (self, other) {
            (a, b) if a == b => a,
            (Nothing, class) | (class, Nothing) => class,
            (Memory, _) | (_, Memory) => Memory,
            (Integer, _) | (_, Integer) => Integer,
            (X87 | X87Up | ComplexX87, _) | (_, X87 | X87Up | ComplexX87) => Memory,
            _ => Sse,
        }
    }
}

pub(super) fn layout_of(ty: &CType) -> Layout {
    let same = |size: u64| Layout { size, align: size };
    match ty {
        CType::Void => Layout { size: 0, align: 1 },
        CType::Int(size) => same(u64::from(*size).max(1)),
        CType::Pointer => same(8),
        CType::Float(float) => same(float_size(*float)),
        CType::Complex(float) => Layout {
            size: 2 * float_size(*float),
            align: float_size(*float),
        },
        _ => aggregate_layout(ty, &layout_of),
    }
}

fn float_size(float: Float) -> u64 {
    match float {
        Float::Single => 4,
        Float::Double => 8,
        Float::Long => 16,
    }
}

/// The classes of a value's two eightbytes; `Memory` in the first: it goes to memory.
fn classify(ty: &CType, size: u64) -> [Class; 2] {
    if matches!(ty, CType::Complex(Float::Long)) {
        return [Class::ComplexX87; 2];
    }
    let mut classes = [Class::Nothing; 2];
    if size > MAX_IN_REGISTERS {
        return [Class::Memory; 2];
    }
    put(ty, 0, &mut classes);
    clean_up(classes)
}

/// "Post merger cleanup".
fn clean_up(classes: [Class; 2]) -> [Class; 2] {
    let up_alone = classes[1] == Class::X87Up && classes[0] != Class::X87;
    if classes.contains(&Class::Memory) || up_alone {
        return [Class::Memory; 2];
    }
    classes
}

/// Merges the classes of `ty`, which lies at `offset` < 16, into its eightbytes.
fn put(ty: &CType, offset: u64, classes: &mut [Class; 2]) {
    if let CType::Struct(_) | CType::Union(_) | CType::Array(..) = ty {
        // "Each field of an object is classified recursively": its own clean-up comes first. A union of a
        // `long double` and an integer goes to memory, whatever it is merged with.
        let mut own = [Class::Nothing; 2];
        put_members(ty, offset, &mut own);
        for (class, own) in classes.iter_mut().zip(clean_up(own)) {
            *class = class.merge(own);
        }
    } else {
        put_scalar(ty, offset, classes);
    }
}

fn put_scalar(ty: &CType, offset: u64, classes: &mut [Class; 2]) {
    let mut mark = |at: u64, class| {
        if let Some(slot) = usize::try_from(at / 8)
            .ok()
            .and_then(|index| classes.get_mut(index))
        {
            *slot = slot.merge(class);
        }
    };
    match ty {
        CType::Void | CType::Struct(_) | CType::Union(_) | CType::Array(..) => {}
        CType::Int(16) => {
            mark(offset, Class::Integer);
            mark(offset + 8, Class::Integer);
        }
        CType::Int(_) | CType::Pointer => mark(offset, Class::Integer),
        CType::Float(Float::Long) => {
            mark(offset, Class::X87);
            mark(offset + 8, Class::X87Up);
        }
        CType::Float(_) => mark(offset, Class::Sse),
        CType::Complex(Float::Long) => mark(offset, Class::Memory), // 32 bytes: not reached
        CType::Complex(float) => {
            mark(offset, Class::Sse);
            mark(offset + float_size(*float), Class::Sse);
        }
    }
}

fn put_members(ty: &CType, offset: u64, classes: &mut [Class; 2]) {
    match ty {
        CType::Struct(members) => {
            let mut at = offset;
            for member in members {
                let layout = layout_of(member);
                at = align_up(at, layout.align);
                put(member, at, classes);
                at += layout.size;
            }
        }
        CType::Union(members) => members.iter().for_each(|member| put(member, offset, classes)),
        CType::Array(element, count) => {
            let size = layout_of(element).size;
            // Elements of no size are without end; those of a size end with the sixteen bytes.
            let count = if size == 0 {
                0
            } else {
                u64::from(*count).min(MAX_IN_REGISTERS)
            };
            (0..count).for_each(|index| put(element, offset + index * size, classes));
        }
        _ => {}
    }
}

fn narrow(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// The eightbytes as pieces, registers counted from `ints` and `vectors`.
fn pieces(classes: [Class; 2], size: u64, ints: u8, vectors: u8) -> Place {
    let (mut ints, mut vectors) = (ints, vectors);
    let mut found = [Piece {
        source: Source::Stack(0),
        at: 0,
        len: 0,
    }; 2];
    let mut count = 0;
    for (class, at) in classes.into_iter().zip([0_u32, 8]) {
        let (source, width) = match class {
            Class::Integer => (Source::Int(post_increment(&mut ints)), 8),
            Class::Sse => (Source::Vector(post_increment(&mut vectors)), 8),
            Class::X87 => (Source::X87(0), 10),
            _ => continue,
        };
        let len = narrow(size).saturating_sub(at).min(width);
        found[count] = Piece { source, at, len };
        count += 1;
    }
    Place::of(size, &found[..count])
}

fn post_increment(counter: &mut u8) -> u8 {
    let old = *counter;
    *counter += 1;
    old
}

fn on_stack(layout: Layout, cursor: &mut ArgCursor) -> Place {
    // "Passing": "The size of each argument gets rounded up to eightbytes"; 16-byte alignment holds
    // for the argument area, which begins past the return address.
    let base = u64::from(cursor.stack) - 8;
    let start = align_up(base, layout.align.max(8)) + 8;
    cursor.stack = narrow(align_up(start.saturating_add(layout.size), 8));
    let piece = Piece {
        source: Source::Stack(narrow(start)),
        at: 0,
        len: narrow(layout.size),
    };
    Place::of(layout.size, &[piece])
}

pub(super) fn place_arg(ty: &CType, cursor: &mut ArgCursor) -> Place {
    let layout = layout_of(ty);
    let classes = classify(ty, layout.size);
    if classes == [Class::Nothing; 2] {
        return Place::nowhere(); // an empty structure takes no place (GNU C)
    }
    let count = |wanted| u8::from(classes[0] == wanted) + u8::from(classes[1] == wanted);
    let (ints, vectors) = (count(Class::Integer), count(Class::Sse));
    let registers = classes
        .iter()
        .all(|class| matches!(class, Class::Integer | Class::Sse | Class::Nothing));
    // "If there are no registers available for any eightbyte of an argument, the whole argument is
    // passed on the stack."
    if !registers || cursor.ints + ints > INT_ARGS || cursor.vectors + vectors > VECTOR_ARGS {
        return on_stack(layout, cursor);
    }
    let place = pieces(classes, layout.size, cursor.ints, cursor.vectors);
    cursor.ints += ints;
    cursor.vectors += vectors;
    place
}

pub(super) fn place_return(ty: &CType, cursor: &mut ArgCursor) -> (Place, Option<Place>) {
    let size = layout_of(ty).size;
    let classes = classify(ty, size);
    match classes[0] {
        Class::Memory => {
            let hidden = Place::of(
                8,
                &[Piece {
                    source: Source::Int(cursor.ints),
                    at: 0,
                    len: 8,
                }],
            );
            cursor.ints += 1;
            (Place::behind(size, Source::Int(0), 8), Some(hidden)) // and %rax has it on return
        }
        Class::ComplexX87 => {
            let part = |index, at| Piece {
                source: Source::X87(index),
                at,
                len: 10,
            };
            (Place::of(size, &[part(0, 0), part(1, 16)]), None)
        }
        _ => (pieces(classes, size, 0, 0), None),
    }
}

/// `struct { unsigned gp_offset, fp_offset; void *overflow_arg_area, *reg_save_area; }`
/// ("Variable Argument Lists", "The `va_list` Type").
pub(super) const VA_LIST_SIZE: usize = 24;

pub(super) fn va_start(object: &[u8]) -> Option<VaCursor> {
    let half = |at: usize| {
        Some(u64::from(u32::from_le_bytes(
            object.get(at..at + 4)?.try_into().ok()?,
        )))
    };
    let word = |at: usize| Some(u64::from_le_bytes(object.get(at..at + 8)?.try_into().ok()?));
    let (ints, vectors, stack, saved) = (half(0)?, half(4)?, word(8)?, word(16)?);
    if ints > SAVED_INTS_END || vectors > SAVED_VECTORS_END {
        return None;
    }
    let in_area = |offset: u64| saved.wrapping_add(offset);
    Some(VaCursor {
        ints: (in_area(ints), in_area(SAVED_INTS_END)),
        vectors: (in_area(vectors), in_area(SAVED_VECTORS_END)),
        stack,
    })
}

pub(super) fn va_arg(ty: &CType, cursor: &mut VaCursor) -> Option<u64> {
    let take = |(next, end): &mut (u64, u64), step: u64| {
        let at = *next;
        (end.wrapping_sub(at) >= step && end.wrapping_sub(at) <= SAVED_VECTORS_END).then(|| {
            *next = at.wrapping_add(step);
            at
        })
    };
    let saved = match ty {
        CType::Int(1..=8) | CType::Pointer => take(&mut cursor.ints, 8),
        CType::Float(Float::Single | Float::Double) => take(&mut cursor.vectors, 16),
        CType::Float(Float::Long) => None,
        _ => return None,
    };
    if saved.is_some() {
        return saved;
    }
    let layout = layout_of(ty);
    let at = align_up(cursor.stack, layout.align.max(8));
    cursor.stack = at.checked_add(align_up(layout.size, 8))?;
    Some(at)
}
