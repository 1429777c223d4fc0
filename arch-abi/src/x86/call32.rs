//! i386: where arguments and results lie. System V psABI, Intel386 Architecture Processor
//! Supplement, "Parameter Passing" and "Functions Returning …", as Linux compilers have them.

use super::{aggregate_layout, align_up};
use crate::call::{ArgCursor, CType, Float, Layout, Piece, Place, Source, VaCursor};

const WORD: u64 = 4;

pub(super) fn layout_of(ty: &CType) -> Layout {
    match ty {
        CType::Void => Layout { size: 0, align: 1 },
        // "Fundamental Types": nothing is aligned to more than a word.
        CType::Int(size) => {
            let size = u64::from(*size).max(1);
            Layout {
                size,
                align: size.min(WORD),
            }
        }
        CType::Pointer => Layout {
            size: WORD,
            align: WORD,
        },
        CType::Float(float) => Layout {
            size: float_size(*float),
            align: WORD,
        },
        CType::Complex(float) => Layout {
            size: 2 * float_size(*float),
            align: WORD,
        },
        _ => aggregate_layout(ty, &layout_of),
    }
}

fn float_size(float: Float) -> u64 {
    match float {
        Float::Single => 4,
        Float::Double => 8,
        Float::Long => 12,
    }
}

fn narrow(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Everything goes on the stack, each in whole words ("Argument words").
pub(super) fn place_arg(ty: &CType, cursor: &mut ArgCursor) -> Place {
    let size = layout_of(ty).size;
    if size == 0 {
        return Place::nowhere(); // an empty structure takes no place (GNU C)
    }
    let start = cursor.stack;
    cursor.stack = start.saturating_add(narrow(align_up(size, WORD)));
    Place::of(
        size,
        &[Piece {
            source: Source::Stack(start),
            at: 0,
            len: narrow(size),
        }],
    )
}

pub(super) fn place_return(ty: &CType, cursor: &mut ArgCursor) -> (Place, Option<Place>) {
    let size = layout_of(ty).size;
    let word = |index, at, len| Piece {
        source: Source::Int(index),
        at,
        len,
    };
    let pair = |size: u64| Place::of(size, &[word(0, 0, 4), word(1, 4, 4)]);
    match ty {
        CType::Void => (Place::nowhere(), None),
        CType::Int(1..=4) | CType::Pointer => (Place::of(size, &[word(0, 0, narrow(size))]), None),
        CType::Int(8) | CType::Complex(Float::Single) => (pair(8), None), // %edx:%eax, as GCC has it
        CType::Float(_) => (
            Place::of(
                size,
                &[Piece {
                    source: Source::X87(0),
                    at: 0,
                    len: 10,
                }],
            ),
            None,
        ),
        _ if size == 0 => (Place::nowhere(), None),
        _ => {
            // "Functions Returning Structures or Unions": its address is the first argument word,
            // and %eax has it on return.
            let hidden = place_arg(&CType::Pointer, cursor);
            (Place::behind(size, Source::Int(0), 4), Some(hidden))
        }
    }
}

/// A `va_list` is a `char *` to the next argument word.
pub(super) fn va_start(word: u64) -> VaCursor {
    VaCursor {
        ints: (0, 0),
        vectors: (0, 0),
        stack: word,
    }
}

pub(super) fn va_arg(ty: &CType, cursor: &mut VaCursor) -> Option<u64> {
    let at = cursor.stack;
    cursor.stack = at.checked_add(align_up(layout_of(ty).size, WORD))?;
    Some(at)
}
