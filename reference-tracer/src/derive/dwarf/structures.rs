//! Structures, classes and unions: their members where debug information says that they are.

use arch_abi::Layout;

use super::target::Target;
use super::types::{Builder, MAX_SIZE};
use super::units::{Entry, Units};
use crate::proto::{Expr, Field, Length, Lens, Type, TypeId, Width};

/// The most members of a structure that are shown.
const MAX_FIELDS: usize = 32;

impl Builder<'_> {
    pub(super) fn structure(&mut self, target: &Target, pointers: u8) -> Option<TypeId> {
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
        let byte = self.types.add(Type::int(Width::Bytes(1), false));
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
