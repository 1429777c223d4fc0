//! Types that the language knows by itself.

use arch_abi::Float;

use super::types::{Lens, Pack, Type, TypeId, Types, Width};

const fn bytes(bytes: u8, signed: bool) -> Type {
    Type::int(Width::Bytes(bytes), signed)
}

/// A type of one word.
enum Simple {
    Plain(Type),
    /// Shown through a lens.
    Seen(Lens, Type),
    /// A pointer to nothing that is known.
    Pointer,
}

fn simple(name: &str) -> Option<Simple> {
    Some(match name {
        "void" => Simple::Plain(Type::Void),
        "char" => Simple::Plain(Type::character(1)),
        "wchar_t" | "wint_t" => Simple::Plain(Type::character(4)),
        "schar" | "int8_t" => Simple::Plain(bytes(1, true)),
        "uchar" | "uint8_t" => Simple::Plain(bytes(1, false)),
        "short" | "int16_t" => Simple::Plain(bytes(2, true)),
        "ushort" | "uint16_t" => Simple::Plain(bytes(2, false)),
        "int" | "int32_t" | "pid_t" => Simple::Plain(bytes(4, true)),
        "uint" | "uint32_t" | "uid_t" | "gid_t" | "socklen_t" => Simple::Plain(bytes(4, false)),
        "llong" | "int64_t" | "off64_t" => Simple::Plain(bytes(8, true)),
        "ullong" | "uint64_t" | "dev_t" | "ino64_t" => Simple::Plain(bytes(8, false)),
        "__int128" => Simple::Plain(bytes(16, true)),
        "long" | "ssize_t" | "off_t" | "ptrdiff_t" | "intptr_t" | "time_t" => {
            Simple::Plain(Type::int(Width::Word, true))
        }
        "ulong" | "size_t" | "uintptr_t" | "ino_t" => Simple::Plain(Type::int(Width::Word, false)),
        "float" => Simple::Plain(Type::Float(Float::Single)),
        "double" => Simple::Plain(Type::Float(Float::Double)),
        "ldouble" => Simple::Plain(Type::Float(Float::Long)),
        "addr" | "file" => Simple::Pointer,
        "fn" => Simple::Plain(Type::Code),
        "va_list" => Simple::Plain(Type::VaList),
        "fd" => Simple::Seen(Lens::Fd, bytes(4, true)),
        "errnum" => Simple::Seen(Lens::Errno, bytes(4, true)),
        "mode_t" => Simple::Seen(Lens::Oct, bytes(4, false)),
        "octal" | "oct" => Simple::Seen(Lens::Oct, bytes(4, true)),
        "hex" => Simple::Seen(Lens::Hex, bytes(4, false)),
        "bin" => Simple::Seen(Lens::Bin, bytes(4, false)),
        "bool" => Simple::Seen(Lens::Bool, bytes(4, true)),
        "_Bool" => Simple::Seen(Lens::Bool, bytes(1, false)),
        "bitvec" => Simple::Seen(Lens::BitVec, Type::int(Width::Word, false)),
        _ => return None,
    })
}

/// A type of one word.
pub(super) fn named(name: &str, types: &mut Types) -> Option<TypeId> {
    let ty = match simple(name)? {
        Simple::Plain(ty) => ty,
        Simple::Seen(lens, ty) => Type::Lens(lens, types.add(ty)),
        Simple::Pointer => Type::Pointer(types.add(Type::Void)),
    };
    Some(types.add(ty))
}

/// Whether the language itself gives this word a meaning as a type.
pub(super) fn is_named(name: &str) -> bool {
    simple(name).is_some()
        || is_c_word(name)
        || pack(name).is_some()
        || matches!(
            name,
            "struct" | "union" | "array" | "enum" | "flags" | "complex" | "string" | "wstring"
        )
}

/// Whether C spells types with this word together with others.
pub(super) fn is_c_word(word: &str) -> bool {
    matches!(
        word,
        "unsigned"
            | "signed"
            | "long"
            | "short"
            | "int"
            | "char"
            | "float"
            | "double"
            | "_Complex"
            | "__int128"
    )
}

/// A type in C's words, in any order as C allows. `None`: they do not go together.
pub(super) fn in_c_words(words: &[&str]) -> Option<Type> {
    let count = |word: &str| words.iter().filter(|&&found| found == word).count();
    let has = |word: &str| count(word) > 0;
    if let Some(float) = float_in_c_words(&count) {
        return Some(if has("_Complex") {
            Type::Complex(float?)
        } else {
            Type::Float(float?)
        });
    }
    if has("_Complex") || (has("unsigned") && has("signed")) {
        return None;
    }
    let signed = !has("unsigned");
    match (has("char"), has("__int128"), count("short"), count("long")) {
        (true, false, 0, 0) if words.len() == 1 => Some(Type::character(1)),
        (true, false, 0, 0) => Some(bytes(1, signed)),
        (false, true, 0, 0) => Some(bytes(16, signed)),
        (false, false, 1, 0) => Some(bytes(2, signed)),
        (false, false, 0, 0) => Some(bytes(4, signed)),
        (false, false, 0, 1) => Some(Type::int(Width::Word, signed)),
        (false, false, 0, 2) => Some(bytes(8, signed)),
        _ => None,
    }
}

#[allow(clippy::option_option, reason = "three answers: no, a mistake, a type")]
/// `None`: no floating-point type is meant; `Some(None)`: the words do not go together.
fn float_in_c_words(count: &dyn Fn(&str) -> usize) -> Option<Option<Float>> {
    let integers = ["unsigned", "signed", "short", "int", "char", "__int128"];
    let mixed = integers.into_iter().any(|word| count(word) > 0);
    match (count("float"), count("double"), count("long")) {
        (0, 0, _) => None,
        _ if mixed => Some(None),
        (1, 0, 0) => Some(Some(Float::Single)),
        (0, 1, 0) => Some(Some(Float::Double)),
        (0, 1, 1) => Some(Some(Float::Long)),
        _ => Some(None),
    }
}

/// A format: a string that says what the arguments after it are.
pub(super) fn pack(name: &str) -> Option<Pack> {
    let (scanf, wide, va_list) = match name {
        "format" => (false, false, false),
        "scanf" => (true, false, false),
        "vformat" => (false, false, true),
        "vscanf" => (true, false, true),
        "wformat" => (false, true, false),
        "wscanf" => (true, true, false),
        "vwformat" => (false, true, true),
        "vwscanf" => (true, true, true),
        _ => return None,
    };
    Some(Pack { scanf, wide, va_list })
}
