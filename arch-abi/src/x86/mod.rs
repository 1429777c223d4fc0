//! x86: the facts that x86-64 and i386 share, and each of the two in a file of its own.

mod call32;
mod call64;
mod common;
mod guard;
mod guard32;
mod guard64;
pub mod i386;
mod landing;
mod operand;
mod record;
mod slot_ref;
pub(crate) mod step;
mod stub;
pub mod x86_64;

use crate::call::{CType, Layout};
use common::common;

/// `at`, moved up to the next multiple of `align`, a power of two; saturates.
fn align_up(at: u64, align: u64) -> u64 {
    at.saturating_add(align - 1) & !(align - 1)
}

/// Both psABIs, "Aggregates and Unions", given the layouts of the members. No type is larger than
/// [`LARGEST`]: hostile sizes stay there.
fn aggregate_layout(ty: &CType, of: &dyn Fn(&CType) -> Layout) -> Layout {
    let (size, align) = match ty {
        CType::Struct(members) => members.iter().map(of).fold((0, 1), |(end, align), member| {
            (
                align_up(end, member.align).saturating_add(member.size),
                align.max(member.align),
            )
        }),
        CType::Union(members) => {
            let larger =
                |(size, align): (u64, u64), member: Layout| (size.max(member.size), align.max(member.align));
            members.iter().map(of).fold((0, 1), larger)
        }
        CType::Array(element, count) => {
            let element = of(element);
            (element.size.saturating_mul(u64::from(*count)), element.align)
        }
        scalar => unreachable!("{scalar:?} is no aggregate"),
    };
    Layout {
        size: align_up(size, align).min(LARGEST),
        align,
    }
}

/// The largest size of a type that is told apart: more than any call passes.
const LARGEST: u64 = 1 << 31;
