//! Types that the language knows by itself.

use arch_abi::Float;

use super::types::{Int, Lens, Pack, Type, TypeId, Types, Width};

const fn int(width: Width, signed: bool) -> Type {
    Type::Int(Int {
        width,
        signed,
        character: false,
    })
}

const fn bytes(bytes: u8, signed: bool) -> Type {
    int(Width::Bytes(bytes), signed)
}

const fn character(bytes: u8) -> Type {
    Type::Int(Int {
        width: Width::Bytes(bytes),
        signed: true,
        character: true,
    })
}

/// A type of one word.
pub(super) fn named(name: &str, types: &mut Types) -> Option<TypeId> {
    let ty = match name {
        "void" => Type::Void,
        "char" => character(1),
        "wchar_t" | "wint_t" => character(4),
        "schar" | "int8_t" => bytes(1, true),
        "uchar" | "uint8_t" => bytes(1, false),
        "short" | "int16_t" => bytes(2, true),
        "ushort" | "uint16_t" => bytes(2, false),
        "int" | "int32_t" | "pid_t" => bytes(4, true),
        "uint" | "uint32_t" | "uid_t" | "gid_t" | "socklen_t" => bytes(4, false),
        "llong" | "int64_t" | "off64_t" => bytes(8, true),
        "ullong" | "uint64_t" | "dev_t" | "ino64_t" => bytes(8, false),
        "__int128" => bytes(16, true),
        "long" | "ssize_t" | "off_t" | "ptrdiff_t" | "intptr_t" | "time_t" => int(Width::Word, true),
        "ulong" | "size_t" | "uintptr_t" | "ino_t" => int(Width::Word, false),
        "float" => Type::Float(Float::Single),
        "double" => Type::Float(Float::Double),
        "ldouble" => Type::Float(Float::Long),
        "addr" | "file" => Type::Pointer(types.add(Type::Void)),
        "fn" => Type::Code,
        "va_list" => Type::VaList,
        "fd" => return Some(through(Lens::Fd, bytes(4, true), types)),
        "errnum" => return Some(through(Lens::Errno, bytes(4, true), types)),
        "mode_t" => return Some(through(Lens::Oct, bytes(4, false), types)),
        "octal" | "oct" => return Some(through(Lens::Oct, bytes(4, true), types)),
        "hex" => return Some(through(Lens::Hex, bytes(4, false), types)),
        "bin" => return Some(through(Lens::Bin, bytes(4, false), types)),
        "bool" => return Some(through(Lens::Bool, bytes(4, true), types)),
        "_Bool" => return Some(through(Lens::Bool, bytes(1, false), types)),
        "bitvec" => return Some(through(Lens::BitVec, int(Width::Word, false), types)),
        _ => return None,
    };
    Some(types.add(ty))
}

fn through(lens: Lens, ty: Type, types: &mut Types) -> TypeId {
    let of = types.add(ty);
    types.add(Type::Lens(lens, of))
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
        (true, false, 0, 0) if words.len() == 1 => Some(character(1)),
        (true, false, 0, 0) => Some(bytes(1, signed)),
        (false, true, 0, 0) => Some(bytes(16, signed)),
        (false, false, 1, 0) => Some(bytes(2, signed)),
        (false, false, 0, 0) => Some(bytes(4, signed)),
        (false, false, 0, 1) => Some(int(Width::Word, signed)),
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
