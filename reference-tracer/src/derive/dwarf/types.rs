//! Types as debug information describes them, made into those of the prototype language.

use arch_abi::{Abi, Float};
use rustc_hash::FxHashMap;

use super::target::Target;
use super::units::{Die, Units};
use crate::proto::{Expr, Field, Int, Length, Lens, NameGroup, Names, Type, TypeId, Types, Width};

/// How many pointers are followed from a parameter, and how many structures lie in one another.
const MAX_POINTERS: u8 = 3;
const MAX_NESTED: u8 = 8;
/// The most names of an enumeration, and types of one function.
const MAX_NAMES: usize = 512;
const MAX_TYPES: usize = 2000;
/// The largest structure that is described.
pub(super) const MAX_SIZE: u64 = 1 << 20;

/// Builds the types of one function.
pub(super) struct Builder<'a> {
    pub(super) units: &'a mut Units,
    pub(super) built: &'a mut FxHashMap<(Die, u8), TypeId>,
    pub(super) types: &'a mut Types,
    pub(super) abi: &'static dyn Abi,
    pub(super) language: Option<gimli::DwLang>,
    left: usize,
    nested: u8,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        units: &'a mut Units,
        built: &'a mut FxHashMap<(Die, u8), TypeId>,
        types: &'a mut Types,
        abi: &'static dyn Abi,
        language: Option<gimli::DwLang>,
    ) -> Self {
        Self {
            units,
            built,
            types,
            abi,
            language,
            left: MAX_TYPES,
            nested: 0,
        }
    }

    /// Takes one from the types that may still be looked at; `false`: there are none left.
    pub(super) fn spend(&mut self) -> bool {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// A value of this type. `None`: calling conventions treat it in a way that is not known here, so
    /// that the parameters after it can't be found.
    pub(super) fn by_value(&mut self, target: &Target) -> Option<TypeId> {
        if self.is_passed_by_reference(target, 0) {
            return Some(self.pointer_to(target, 0));
        }
        self.value(target, 0)
    }

    /// A pointer to a value of this type.
    pub(super) fn pointer_to(&mut self, target: &Target, pointers: u8) -> TypeId {
        if target.is_function() {
            return self.types.add(Type::Code);
        }
        if target.is_character() && self.is_text(target) {
            return self.text(Length::ZERO);
        }
        if target.is_std_string() {
            return self.types.std_string();
        }
        let of = if pointers >= MAX_POINTERS || target.is_void {
            None
        } else {
            self.value(target, pointers + 1)
        };
        match of {
            Some(of) => self.types.add(Type::Pointer(of)),
            None => self.types.address(),
        }
    }

    pub(super) fn value(&mut self, target: &Target, pointers: u8) -> Option<TypeId> {
        if !self.spend() || target.is_void || self.nested == MAX_NESTED {
            return None;
        }
        let is_named = matches!(
            target.alias.as_deref(),
            Some("wchar_t" | "mode_t" | "va_list" | "__gnuc_va_list" | "__builtin_va_list")
        );
        let key = (target.entry.die, pointers);
        if !is_named && let Some(&built) = self.built.get(&key) {
            return Some(built);
        }
        self.nested += 1;
        let ty = self.new_value(target, pointers);
        self.nested -= 1;
        if !is_named && let Some(ty) = ty {
            self.built.insert(key, ty);
        }
        ty
    }

    fn new_value(&mut self, target: &Target, pointers: u8) -> Option<TypeId> {
        if matches!(
            target.alias.as_deref(),
            Some("va_list" | "__gnuc_va_list" | "__builtin_va_list")
        ) {
            return Some(self.types.add(Type::VaList));
        }
        match target.tag() {
            gimli::DW_TAG_base_type => self.base(target),
            gimli::DW_TAG_enumeration_type => self.enumeration(target),
            _ if target.is_pointer() => {
                if target.size != 0 && target.size != self.abi.word_size() as u64 {
                    return None;
                }
                Some(match self.target_of(&target.entry, 0) {
                    Some(to) if to.name.as_deref() == Some("__va_list_tag") => self.types.add(Type::VaList),
                    Some(to) => self.pointer_to(&to, pointers),
                    None => self.types.address(),
                })
            }
            gimli::DW_TAG_array_type => self.array_type(target, pointers),
            _ if target.is_struct() => self.structure(target, pointers),
            gimli::DW_TAG_ptr_to_member_type => self.member_pointer(target),
            _ => None,
        }
    }

    fn base(&mut self, target: &Target) -> Option<TypeId> {
        let int = |signed, character| {
            let width = u8::try_from(target.size)
                .ok()
                .filter(|size| matches!(size, 1 | 2 | 4 | 8 | 16))?;
            Some(Type::Int(Int {
                width: Width::Bytes(width),
                signed,
                character,
            }))
        };
        let float = |size: u64| {
            let long = self.abi.layout_of(&arch_abi::CType::Float(Float::Long)).size;
            let is_quad = target.name.as_deref().is_some_and(|name| name.contains("128"));
            match size {
                4 => Some(Float::Single),
                8 => Some(Float::Double),
                size if size == long && !is_quad => Some(Float::Long),
                _ => None,
            }
        };
        let is_wide = target.alias.as_deref() == Some("wchar_t") && target.size == 4;
        let ty = match target.encoding? {
            gimli::DW_ATE_boolean => {
                let ty = int(false, false)?;
                let ty = self.types.add(ty);
                Type::Lens(Lens::Bool, ty)
            }
            gimli::DW_ATE_signed_char | gimli::DW_ATE_unsigned_char => int(
                target.encoding == Some(gimli::DW_ATE_signed_char),
                target.name.as_deref() == Some("char"),
            )?,
            gimli::DW_ATE_UTF => int(false, true)?,
            gimli::DW_ATE_unsigned if target.alias.as_deref() == Some("mode_t") => {
                let ty = int(false, false)?;
                let ty = self.types.add(ty);
                Type::Lens(Lens::Oct, ty)
            }
            gimli::DW_ATE_unsigned => int(false, is_wide)?,
            gimli::DW_ATE_signed => int(true, is_wide)?,
            gimli::DW_ATE_float => Type::Float(float(target.size)?),
            gimli::DW_ATE_complex_float => Type::Complex(float(target.size / 2)?),
            _ => return None,
        };
        Some(self.types.add(ty))
    }

    fn enumeration(&mut self, target: &Target) -> Option<TypeId> {
        let width = u8::try_from(target.size)
            .ok()
            .filter(|size| matches!(size, 1 | 2 | 4 | 8))?;
        let children = Units::children(&target.entry);
        let mut names = Vec::new();
        for child in children
            .iter()
            .filter(|child| child.tag() == gimli::DW_TAG_enumerator)
            .take(MAX_NAMES)
        {
            let value = child
                .signed(gimli::DW_AT_const_value)
                .map(i64::cast_unsigned)
                .or_else(|| child.number(gimli::DW_AT_const_value));
            if let Some((value, name)) = value.zip(self.units.text(child, gimli::DW_AT_name)) {
                names.push((value, name.into()));
            }
        }
        let int = self.types.add(Type::Int(Int {
            width: Width::Bytes(width),
            signed: names
                .iter()
                .any(|(value, _): &(u64, Box<str>)| value.cast_signed() < 0),
            character: false,
        }));
        let names = self.types.add_names(Names {
            groups: vec![NameGroup {
                mask: u64::MAX,
                names,
            }],
            flags: Vec::new(),
        });
        Some(self.types.add(Type::Lens(Lens::Enum(names), int)))
    }

    /// An array within a structure; of several dimensions, arrays within arrays.
    fn array_type(&mut self, target: &Target, pointers: u8) -> Option<TypeId> {
        let element = self.target_of(&target.entry, 0)?;
        let mut ty = self.value(&element, pointers)?;
        let is_text = element.is_character();
        let children = Units::children(&target.entry);
        let sizes: Vec<_> = children
            .iter()
            .filter(|child| child.tag() == gimli::DW_TAG_subrange_type)
            .map(|child| {
                let bound = child
                    .number(gimli::DW_AT_upper_bound)
                    .and_then(|last| last.checked_add(1));
                child
                    .number(gimli::DW_AT_count)
                    .or(bound)
                    .filter(|&count| count <= MAX_SIZE)
            })
            .collect();
        for (index, size) in sizes.iter().rev().enumerate() {
            // A flexible member has no size.
            let count = i64::try_from(size.unwrap_or(0)).ok()?;
            let len = Length {
                terminated: false,
                count: Some(Expr::Num(count)),
            };
            ty = self.types.add(Type::Array { of: ty, len });
            if index == 0 && is_text {
                ty = self.types.add(Type::Lens(Lens::Str, ty));
            }
        }
        Some(ty)
    }

    /// A pointer to a member function is two words, one to data a word (Itanium C++ ABI, "Member Pointers").
    fn member_pointer(&mut self, target: &Target) -> Option<TypeId> {
        let word = self.types.add(Type::int(Width::Word, true));
        let of = self.target_of(&target.entry, 0)?;
        if !of.is_function() {
            return Some(word);
        }
        let code = self.types.add(Type::Code);
        let field = |ty| Field { name: None, ty };
        Some(self.types.add(Type::Struct(vec![field(code), field(word)])))
    }
}
