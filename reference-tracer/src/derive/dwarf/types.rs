//! Types as debug information describes them, made into those of the prototype language.

use arch_abi::{Abi, Float, Layout};
use gimli::DwTag;
use rustc_hash::FxHashMap;

use super::units::{Die, Entry, Units};
use crate::proto::{Expr, Field, Int, Length, Lens, NameGroup, Names, Type, TypeId, Types, Width};

/// How many typedefs, qualifiers and arrays may stand around a type.
const MAX_LAYERS: usize = 32;
/// How many pointers are followed from a parameter, and how many structures lie in one another.
const MAX_POINTERS: u8 = 3;
const MAX_NESTED: u8 = 8;
/// The most members of a structure that are shown, names of an enumeration, and types of one function.
const MAX_FIELDS: usize = 32;
const MAX_NAMES: usize = 512;
const MAX_TYPES: usize = 2000;
/// The largest structure that is described.
const MAX_SIZE: u64 = 1 << 20;

/// Builds the types of one function.
pub(super) struct Builder<'a> {
    pub(super) units: &'a mut Units,
    built: &'a mut FxHashMap<(Die, u8), TypeId>,
    pub(super) types: &'a mut Types,
    abi: &'static dyn Abi,
    language: Option<gimli::DwLang>,
    left: usize,
    nested: u8,
}

/// A type without its typedefs and qualifiers.
pub(super) struct Target {
    pub(super) entry: Entry,
    /// It is `const`.
    pub(super) constant: bool,
    /// It is `void`, or qualified `void`.
    pub(super) is_void: bool,
    /// The name of the innermost typedef, which says most.
    alias: Option<String>,
    name: Option<String>,
    size: u64,
    encoding: Option<gimli::DwAte>,
}

impl Target {
    fn tag(&self) -> DwTag {
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

    fn is_std_string(&self) -> bool {
        let name = self.name.as_deref().unwrap_or("");
        self.is_struct() && name.starts_with("basic_string<char,") && self.size >= 4
    }
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

    /// A pointer shown in hex.
    pub(super) fn address(&mut self) -> TypeId {
        let void = self.types.add(Type::Void);
        self.types.add(Type::Pointer(void))
    }

    pub(super) fn character(&mut self) -> TypeId {
        self.types.add(Type::Int(Int {
            width: Width::Bytes(1),
            signed: true,
            character: true,
        }))
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
            // libstdc++: the first word of either kind of string points at its text, which a zero ends.
            let text = self.text(Length::ZERO);
            return self.types.add(Type::Pointer(text));
        }
        let of = if pointers >= MAX_POINTERS || target.is_void {
            None
        } else {
            self.value(target, pointers + 1)
        };
        match of {
            Some(of) => self.types.add(Type::Pointer(of)),
            None => self.address(),
        }
    }

    fn value(&mut self, target: &Target, pointers: u8) -> Option<TypeId> {
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
                    None => self.address(),
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
        let word = self.types.add(Type::Int(Int {
            width: Width::Word,
            signed: true,
            character: false,
        }));
        let of = self.target_of(&target.entry, 0)?;
        if !of.is_function() {
            return Some(word);
        }
        let code = self.types.add(Type::Code);
        let field = |ty| Field { name: None, ty };
        Some(self.types.add(Type::Struct(vec![field(code), field(word)])))
    }

    fn structure(&mut self, target: &Target, pointers: u8) -> Option<TypeId> {
        if target.size == 0 || target.size > MAX_SIZE || target.entry.flag(gimli::DW_AT_declaration) {
            return None;
        }
        if target.is_std_string() && pointers > 0 {
            let text = self.text(Length::ZERO);
            let mut fields = vec![Field { name: None, ty: text }];
            let word = self.abi.word_size() as u64;
            self.pad(&mut fields, target.size.saturating_sub(word));
            return Some(self.types.add(Type::Struct(fields)));
        }
        // It may point at itself.
        let ty = self.types.add(Type::Opaque);
        let key = (target.entry.die, pointers);
        let before = self.built.insert(key, ty);
        let fields = if target.tag() == gimli::DW_TAG_union_type {
            Some(self.union_members(target, pointers))
        } else {
            self.members(target, pointers)
        };
        match before {
            Some(before) => self.built.insert(key, before),
            None => self.built.remove(&key),
        };
        let definition = if target.tag() == gimli::DW_TAG_union_type {
            Type::Union(fields?)
        } else {
            Type::Struct(fields?)
        };
        self.types.define(ty, definition);
        Some(ty)
    }

    /// The members at their offsets. What the language cannot say (bit fields, packed members) is left
    /// out, and its bytes are skipped.
    fn members(&mut self, target: &Target, pointers: u8) -> Option<Vec<Field>> {
        let children = Units::children(&target.entry);
        let mut fields = Vec::new();
        let mut end = 0;
        let is_member = |child: &&Entry| {
            matches!(child.tag(), gimli::DW_TAG_member | gimli::DW_TAG_inheritance)
                && !child.flag(gimli::DW_AT_external)
                && !child.flag(gimli::DW_AT_declaration)
        };
        for child in children.iter().filter(is_member).take(MAX_FIELDS) {
            let is_bits = child.value(gimli::DW_AT_bit_size).is_some();
            let offset = child.number(gimli::DW_AT_data_member_location);
            let Some((offset, ty)) = offset.filter(|_| !is_bits).zip(self.member_type(child, pointers))
            else {
                continue;
            };
            let Some(layout) = self.layout(ty) else { continue };
            let fits = offset >= end
                && offset % layout.align == 0
                && offset
                    .checked_add(layout.size)
                    .is_some_and(|end| end <= target.size);
            if !fits {
                continue;
            }
            if end.next_multiple_of(layout.align) != offset {
                self.pad(&mut fields, offset - end);
            }
            let name = self.units.text(child, gimli::DW_AT_name).map(Into::into);
            fields.push(Field { name, ty });
            end = offset + layout.size;
        }
        let align = fields
            .iter()
            .filter_map(|field| self.layout(field.ty))
            .map(|layout| layout.align)
            .max();
        if end.next_multiple_of(align.unwrap_or(1)) != target.size {
            self.pad(&mut fields, target.size.checked_sub(end)?);
        }
        Some(fields)
    }

    fn union_members(&mut self, target: &Target, pointers: u8) -> Vec<Field> {
        let children = Units::children(&target.entry);
        let mut fields = Vec::new();
        for child in children
            .iter()
            .filter(|child| child.tag() == gimli::DW_TAG_member)
            .take(MAX_FIELDS)
        {
            let Some(ty) = self.member_type(child, pointers) else {
                continue;
            };
            if self.layout(ty).is_some_and(|layout| layout.size <= target.size) {
                let name = self.units.text(child, gimli::DW_AT_name).map(Into::into);
                fields.push(Field { name, ty });
            }
        }
        self.pad(&mut fields, target.size);
        fields
    }

    fn member_type(&mut self, member: &Entry, pointers: u8) -> Option<TypeId> {
        let target = self.target_of(member, 0)?;
        self.value(&target, pointers)
    }

    fn layout(&self, ty: TypeId) -> Option<Layout> {
        let ty = self.types.c_type(ty, self.abi)?;
        Some(self.abi.layout_of(&ty))
    }

    /// Bytes that are not shown.
    fn pad(&mut self, fields: &mut Vec<Field>, count: u64) {
        let Ok(count) = i64::try_from(count) else { return };
        if count == 0 {
            return;
        }
        let byte = self.types.add(Type::Int(Int {
            width: Width::Bytes(1),
            signed: false,
            character: false,
        }));
        let len = Length {
            terminated: false,
            count: Some(Expr::Num(count)),
        };
        let bytes = self.types.add(Type::Array { of: byte, len });
        let hidden = self.types.add(Type::Lens(Lens::Hide, bytes));
        fields.push(Field {
            name: None,
            ty: hidden,
        });
    }
}
