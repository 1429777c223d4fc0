//! C++ classes that are passed by their address, because their bytes must not be copied.

use super::target::Target;
use super::types::Builder;
use super::units::{Entry, Units};

/// How deep members and bases are looked into.
const MAX_DEPTH: u8 = 4;

impl Builder<'_> {
    /// Whether a class is "non-trivial for the purposes of calls" (Itanium C++ ABI, "Definitions"): it, or a part of it, has a
    /// destructor or copy constructor that someone wrote, or virtual functions. Some compilers say so
    /// (`DW_AT_calling_convention`), GCC does not.
    pub(super) fn is_passed_by_reference(&mut self, target: &Target, depth: u8) -> bool {
        if !target.is_struct() || depth == MAX_DEPTH || !self.spend() {
            return false;
        }
        if let Some(gimli::AttributeValue::CallingConvention(convention)) =
            target.entry.value(gimli::DW_AT_calling_convention)
            && convention != gimli::DW_CC_normal
        {
            return convention == gimli::DW_CC_pass_by_reference;
        }
        let children = Units::children(&target.entry);
        children.iter().any(|child| match child.tag() {
            gimli::DW_TAG_subprogram => self.forbids_copies(target, child),
            gimli::DW_TAG_inheritance => {
                child.value(gimli::DW_AT_virtuality).is_some() || self.part(child, depth)
            }
            gimli::DW_TAG_member if !child.flag(gimli::DW_AT_external) => {
                let name = self.units.text(child, gimli::DW_AT_name);
                name.is_some_and(|name| name.starts_with("_vptr")) || self.part(child, depth)
            }
            _ => false,
        })
    }

    fn part(&mut self, member: &Entry, depth: u8) -> bool {
        self.target_of(member, 0)
            .is_some_and(|target| self.is_passed_by_reference(&target, depth + 1))
    }

    /// Whether a member function is a destructor or a copy or move constructor that someone wrote.
    fn forbids_copies(&mut self, class: &Target, function: &Entry) -> bool {
        let is_default =
            function.flag(gimli::DW_AT_artificial) || function.value(gimli::DW_AT_defaulted).is_some();
        if is_default || function.flag(gimli::DW_AT_deleted) {
            return false;
        }
        let Some(name) = self.units.text(function, gimli::DW_AT_name) else {
            return false;
        };
        if name.starts_with('~') {
            return true;
        }
        let bare = class.name().and_then(|class| class.split('<').next());
        if bare != Some(name.as_str()) {
            return false;
        }
        let params = Units::children(function);
        let mut own = params.iter().filter(|param| {
            param.tag() == gimli::DW_TAG_formal_parameter && !param.flag(gimli::DW_AT_artificial)
        });
        let (first, second) = (own.next(), own.next());
        let (Some(first), None) = (first, second) else {
            return false;
        };
        let Some(reference) = self.target_of(first, 0).filter(Target::is_pointer) else {
            return false;
        };
        self.target_of(&reference.entry, 0)
            .is_some_and(|of| of.entry.die == class.entry.die)
    }
}
