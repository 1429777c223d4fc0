//! Types of prototypes in a file: each is written once, when something first refers to it, under the number that it has in the recording tracer.

use arch_abi::Arch;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::proto::{Lens, Names, NamesId, Prototype, Type, TypeId, Types, Width};

/// Types and sets of names that are new.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct TypeBatch {
    /// Types by number.
    pub(crate) types: Vec<(TypeId, Type)>,
    /// Names by number.
    pub(crate) names: Vec<(NamesId, Names)>,
}

impl TypeBatch {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.types.is_empty() && self.names.is_empty()
    }
}

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    types: FxHashSet<TypeId>,
    names: FxHashSet<NamesId>,
}

impl Exported {
    /// What a prototype refers to that was not written yet.
    pub(crate) fn new_in(&mut self, types: &Types, prototype: &Prototype) -> TypeBatch {
        let mut batch = TypeBatch::default();
        let mut left: Vec<TypeId> = prototype.params.iter().map(|param| param.ty).collect();
        left.push(prototype.ret);
        while let Some(id) = left.pop() {
            if !self.types.insert(id) {
                continue;
            }
            let ty = types.get(id);
            if let Some(id) = names_of(ty)
                && self.names.insert(id)
            {
                batch.names.push((id, types.names(id).clone()));
            }
            for_each_part(ty, |part| left.push(part));
            batch.types.push((id, ty.clone()));
        }
        batch
    }
}

fn names_of(ty: &Type) -> Option<NamesId> {
    match ty {
        Type::Lens(Lens::Enum(names) | Lens::Flags(names), _) => Some(*names),
        _ => None,
    }
}

/// The types that a type is made of.
fn for_each_part(ty: &Type, mut part: impl FnMut(TypeId)) {
    match ty {
        Type::Pointer(of) | Type::Lens(_, of) | Type::Array { of, .. } => part(*of),
        Type::Struct(fields) | Type::Union(fields) => fields.iter().for_each(|field| part(field.ty)),
        Type::Void
        | Type::Int(_)
        | Type::Float(_)
        | Type::Complex(_)
        | Type::Code
        | Type::VaList
        | Type::Opaque => {}
    }
}

/// The types of a file in the reader's own library, by their numbers there.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    types: FxHashMap<TypeId, TypeId>,
    names: FxHashMap<NamesId, NamesId>,
    /// How deep each of the own types nests by value, without pointers.
    depths: FxHashMap<TypeId, usize>,
}

/// The deepest nesting of types by value.
const DEEPEST: usize = 64;
/// The most parameters, as the language has.
const MOST_PARAMS: usize = 127;

impl Imported {
    /// Takes over a batch. `None`: it is not sound, and nothing that refers to it may be taken.
    pub(crate) fn add(&mut self, types: &mut Types, batch: TypeBatch) -> Option<()> {
        for (id, names) in batch.names {
            self.names.insert(id, types.add_names(names));
        }
        for (id, _) in &batch.types {
            let own = types.add(Type::Opaque);
            if self.types.insert(*id, own).is_some() {
                return None;
            }
        }
        let mut added = Vec::new();
        for (id, ty) in batch.types {
            let own = *self.types.get(&id)?;
            types.define(own, self.own(ty)?);
            added.push(own);
        }
        added.into_iter().try_for_each(|id| self.measure(types, id))
    }

    /// A prototype of the file with own types. `None`: it is not sound.
    pub(crate) fn prototype(&self, prototype: Prototype) -> Option<Prototype> {
        let mut own = prototype;
        if own.params.len() > MOST_PARAMS {
            return None;
        }
        own.ret = self.id(own.ret)?;
        for param in &mut own.params {
            param.ty = self.id(param.ty)?;
        }
        Some(own)
    }

    fn id(&self, id: TypeId) -> Option<TypeId> {
        self.types.get(&id).copied()
    }

    fn own(&self, mut ty: Type) -> Option<Type> {
        match &mut ty {
            Type::Pointer(of) | Type::Array { of, .. } => *of = self.id(*of)?,
            Type::Lens(lens, of) => {
                *of = self.id(*of)?;
                if let Lens::Enum(names) | Lens::Flags(names) = lens {
                    *names = *self.names.get(names)?;
                }
            }
            Type::Struct(fields) | Type::Union(fields) => {
                for field in fields {
                    field.ty = self.id(field.ty)?;
                }
            }
            Type::Int(int) => {
                // As the language has them; of others an ABI knows no alignment.
                let sound = matches!(int.width, Width::Word | Width::Bytes(1 | 2 | 4 | 8 | 16));
                return sound.then_some(ty);
            }
            _ => {}
        }
        Some(ty)
    }

    /// Finds out how deep a type nests by value: one that holds itself has no size, and lenses on one another must come to an end.
    fn measure(&mut self, types: &Types, id: TypeId) -> Option<()> {
        // Depth first, without recursion: a type is left again when its parts are known.
        let mut open = vec![(id, false)];
        let mut on_path = FxHashSet::default();
        while let Some((id, is_left)) = open.pop() {
            if is_left {
                on_path.remove(&id);
                let mut depth = 0;
                for_each_value(types.get(id), |part| {
                    depth = depth.max(self.depths.get(&part).copied().unwrap_or(DEEPEST) + 1);
                });
                if depth > DEEPEST {
                    return None;
                }
                self.depths.insert(id, depth);
                continue;
            }
            if self.depths.contains_key(&id) {
                continue;
            }
            if !on_path.insert(id) {
                return None;
            }
            open.push((id, true));
            for_each_value(types.get(id), |part| {
                if !self.depths.contains_key(&part) {
                    open.push((part, false));
                }
            });
        }
        Some(())
    }
}

/// The types that a type holds by value.
fn for_each_value(ty: &Type, part: impl FnMut(TypeId)) {
    if !matches!(ty, Type::Pointer(_)) {
        for_each_part(ty, part);
    }
}

/// The machine of a call point.
pub(crate) const fn arch(i386: bool) -> Arch {
    if i386 { Arch::I386 } else { Arch::X86_64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Field, Int, Prototypes};

    /// Through JSON, into another library.
    fn moved(batch: &TypeBatch) -> TypeBatch {
        serde_json::from_str(&serde_json::to_string(batch).unwrap()).unwrap()
    }

    #[test]
    fn all_embedded_prototypes_come_back() {
        let mut from = Prototypes::new();
        let (mut exported, mut imported) = (Exported::default(), Imported::default());
        let mut into = Types::default();
        let mut again = Imported::default();
        let mut third = Types::default();
        let mut back = Exported::default();
        for (soname, name, _) in Prototypes::embedded() {
            let plan = from.plan(Arch::X86_64, &[soname], name);
            let batch = exported.new_in(from.types(), &plan.prototype);
            imported
                .add(&mut into, moved(&batch))
                .unwrap_or_else(|| panic!("{name}"));
            let text = serde_json::to_string(&plan.prototype).unwrap();
            let own = imported.prototype(serde_json::from_str(&text).unwrap()).unwrap();
            // And on into a third: the same numbers mean that nothing was lost on the way.
            let batch = back.new_in(&into, &own);
            again
                .add(&mut third, moved(&batch))
                .unwrap_or_else(|| panic!("{name}"));
            let thirds = again.prototype(own.clone()).unwrap();
            let (one, other) = (
                crate::proto::Plan::new(from.types(), plan.prototype.clone(), Arch::X86_64, true),
                crate::proto::Plan::new(&third, thirds, Arch::X86_64, true),
            );
            let places = |plan: &crate::proto::Plan| {
                let params = plan.params.iter().map(|param| param.place);
                (params.collect::<Vec<_>>(), plan.ret)
            };
            assert_eq!(places(&one), places(&other), "{name}");
        }
    }

    #[test]
    fn unsound_types_are_refused() {
        let mut types = Types::default();
        let ids: Vec<TypeId> = (0..3).map(|_| types.add(Type::Void)).collect();
        let int = |width| {
            Type::Int(Int {
                width,
                signed: true,
                character: false,
            })
        };
        let holds = |ty| Type::Struct(vec![Field { name: None, ty }]);
        let bad = [
            vec![(ids[0], Type::Pointer(ids[1]))],
            vec![(ids[0], Type::Void), (ids[0], Type::Void)],
            vec![(ids[0], Type::Lens(Lens::Hex, ids[0]))],
            vec![(ids[0], holds(ids[1])), (ids[1], holds(ids[0]))],
            vec![(ids[0], int(Width::Bytes(3)))],
        ];
        for types in bad {
            let batch = TypeBatch {
                types,
                names: Vec::new(),
            };
            let text = format!("{batch:?}");
            assert_eq!(
                Imported::default().add(&mut Types::default(), batch),
                None,
                "{text}"
            );
        }
        // A structure may point at itself.
        let types = vec![(ids[0], holds(ids[1])), (ids[1], Type::Pointer(ids[0]))];
        let batch = TypeBatch {
            types,
            names: Vec::new(),
        };
        assert_eq!(Imported::default().add(&mut Types::default(), batch), Some(()));
    }
}
