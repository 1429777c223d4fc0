//! Types without their typedefs and qualifiers.

use gimli::DwTag;

use super::types::Builder;
use super::units::Entry;

/// How many typedefs, qualifiers and arrays may stand around a type.
const MAX_LAYERS: usize = 32;

/// A type without its typedefs and qualifiers.
pub(super) struct Target {
    pub(super) entry: Entry,
    /// It is `const`.
    pub(super) constant: bool,
    /// It is `void`, or qualified `void`.
    pub(super) is_void: bool,
    /// The name of the innermost typedef, which says most.
    pub(super) alias: Option<String>,
    pub(super) name: Option<String>,
    pub(super) size: u64,
    pub(super) encoding: Option<gimli::DwAte>,
}

impl Target {
    pub(super) fn tag(&self) -> DwTag {
        self.entry.tag()
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn is_pointer(&self) -> bool {
        !self.is_void
            && matches!(
                self.tag(),
                gimli::DW_TAG_pointer_type
                    | gimli::DW_TAG_reference_type
                    | gimli::DW_TAG_rvalue_reference_type
            )
    }

    pub(super) fn is_function(&self) -> bool {
        !self.is_void && self.tag() == gimli::DW_TAG_subroutine_type
    }

    pub(super) fn is_struct(&self) -> bool {
        matches!(
            self.tag(),
            gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type | gimli::DW_TAG_union_type
        )
    }

    /// A number or an enumeration.
    pub(super) fn is_scalar(&self) -> bool {
        !self.is_void
            && matches!(
                self.tag(),
                gimli::DW_TAG_base_type | gimli::DW_TAG_enumeration_type
            )
    }

    /// An integer that can hold a length.
    pub(super) fn is_wide_int(&self) -> bool {
        let is_int = matches!(self.encoding, Some(gimli::DW_ATE_signed | gimli::DW_ATE_unsigned));
        self.is_scalar() && is_int && (self.size == 4 || self.size == 8)
    }

    /// C's plain `char`, or what stands for it in another language.
    pub(super) fn is_character(&self) -> bool {
        self.is_scalar()
            && self.size == 1
            && matches!(
                self.name.as_deref(),
                Some("char" | "i8" | "char8_t" | "character")
            )
    }

    pub(super) fn is_std_string(&self) -> bool {
        let name = self.name.as_deref().unwrap_or("");
        self.is_struct() && name.starts_with("basic_string<char,") && self.size >= 4
    }
}

impl Builder<'_> {
    /// The type that `of` has, without typedefs and qualifiers. `None`: it has none, which is `void`.
    pub(super) fn target_of(&mut self, of: &Entry, layers: usize) -> Option<Target> {
        let mut entry = self.units.refers(of, gimli::DW_AT_type)?;
        let (mut constant, mut alias) = (false, None);
        for _ in layers..MAX_LAYERS {
            match entry.tag() {
                gimli::DW_TAG_const_type => constant = true,
                gimli::DW_TAG_typedef => alias = self.units.text(&entry, gimli::DW_AT_name).or(alias),
                gimli::DW_TAG_volatile_type | gimli::DW_TAG_restrict_type | gimli::DW_TAG_atomic_type => {}
                _ => return Some(self.target(entry, constant, alias)),
            }
            let Some(inner) = self.units.refers(&entry, gimli::DW_AT_type) else {
                let mut target = self.target(entry, constant, alias);
                target.is_void = true;
                return Some(target);
            };
            entry = inner;
        }
        None
    }

    fn target(&mut self, entry: Entry, constant: bool, alias: Option<String>) -> Target {
        let encoding = match entry.value(gimli::DW_AT_encoding) {
            Some(gimli::AttributeValue::Encoding(encoding)) => Some(encoding),
            _ => None,
        };
        Target {
            constant,
            is_void: entry.tag() == gimli::DW_TAG_unspecified_type,
            alias,
            name: self.units.text(&entry, gimli::DW_AT_name),
            size: entry.number(gimli::DW_AT_byte_size).unwrap_or(0),
            encoding,
            entry,
        }
    }

    /// Whether a pointer to this is text, or bytes that may be.
    pub(super) fn is_text(&self, target: &Target) -> bool {
        let is_rust_byte = self.language == Some(gimli::DW_LANG_Rust) && target.name.as_deref() == Some("i8");
        let is_byte = target.is_scalar()
            && target.size == 1
            && matches!(
                target.encoding,
                Some(gimli::DW_ATE_unsigned_char | gimli::DW_ATE_unsigned)
            );
        (target.is_character() && target.name.as_deref() != Some("i8")) || is_rust_byte || is_byte
    }
}
