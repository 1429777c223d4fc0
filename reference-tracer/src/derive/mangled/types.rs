//! Types as C++ writes them.

use arch_abi::Float;

use crate::proto::{Int, Length, Lens, Type, TypeId, Types, Width};

/// The type that C++ writes so.
pub(super) fn type_of(written: &str, types: &mut Types) -> TypeId {
    if written.contains("(*)") || written.contains("(&)") {
        return types.add(Type::Code);
    }
    if let Some(of) = written.strip_suffix('&') {
        return reference(of.trim_end_matches('&').trim_end(), types);
    }
    if let Some(of) = written.strip_suffix('*') {
        return match of.trim_end() {
            "char const" | "char" => types.string(1, Length::ZERO),
            "wchar_t const" => types.string(4, Length::ZERO),
            _ => types.address(),
        };
    }
    if written.ends_with(']') {
        return types.address();
    }
    scalar(
        written.trim_end_matches(" const").trim_end_matches(" volatile"),
        types,
    )
    .unwrap_or_else(|| types.word(Lens::Guess))
}

/// A reference to text or to a number shows it; to anything else, where it lies.
fn reference(of: &str, types: &mut Types) -> TypeId {
    let constant = of.strip_suffix(" const");
    let bare = constant.unwrap_or(of);
    if is_string(bare) {
        return types.std_string();
    }
    match scalar(bare, types).filter(|_| constant.is_some()) {
        Some(scalar) => types.add(Type::Pointer(scalar)),
        None => types.address(),
    }
}

fn is_string(name: &str) -> bool {
    name == "std::string"
        || name == "std::__cxx11::string"
        || (name.starts_with("std::")
            && name.contains("basic_string<char,")
            && name.ends_with('>')
            && !name.contains("::iterator"))
}

fn scalar(name: &str, types: &mut Types) -> Option<TypeId> {
    let bytes = Width::Bytes;
    let (width, signed, character) = match name {
        "bool" => {
            let int = types.add(Type::int(bytes(1), false));
            return Some(types.add(Type::Lens(Lens::Bool, int)));
        }
        "float" => return Some(types.add(Type::Float(Float::Single))),
        "double" => return Some(types.add(Type::Float(Float::Double))),
        "long double" => return Some(types.add(Type::Float(Float::Long))),
        "char" => (bytes(1), true, true),
        "signed char" => (bytes(1), true, false),
        "unsigned char" => (bytes(1), false, false),
        "wchar_t" | "char32_t" => (bytes(4), false, true),
        "short" => (bytes(2), true, false),
        "unsigned short" | "char16_t" => (bytes(2), false, false),
        "int" => (bytes(4), true, false),
        "unsigned int" | "unsigned" => (bytes(4), false, false),
        "long" => (Width::Word, true, false),
        "unsigned long" => (Width::Word, false, false),
        "long long" => (bytes(8), true, false),
        "unsigned long long" => (bytes(8), false, false),
        "__int128" => (bytes(16), true, false),
        "unsigned __int128" => (bytes(16), false, false),
        _ => return None,
    };
    Some(types.add(Type::Int(Int {
        width,
        signed,
        character,
    })))
}
