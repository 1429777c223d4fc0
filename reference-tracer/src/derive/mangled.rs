//! Parameters by a C++ function's mangled name (Itanium C++ ABI, "External Names (a.k.a. Mangling)").
//!
//! The name is demangled and its parameter list is read as text. It names every parameter's type, but not
//! the result's, nor whether a member function is static or returns its object by a hidden pointer: a
//! prototype made from it is a guess.

mod types;

use cpp_demangle::{DemangleOptions, DemangleWrite, Symbol};

use crate::proto::{Lens, Param, Prototype, Type, Types};
use types::type_of;

/// The longest name that is demangled, and the longest text that is made of one: substitutions can make a
/// short name grow without bound.
const MAX_NAME: usize = 4096;
const MAX_TEXT: usize = 64 * 1024;
/// The most parameters.
const MAX_PARAMS: usize = 64;

/// The demangled form of a C++ name. `None`: it is none, or longer than any that someone wrote.
#[must_use]
pub fn demangled(name: &str) -> Option<String> {
    if !name.starts_with("_Z") || name.len() > MAX_NAME {
        return None;
    }
    let symbol = Symbol::new(name).ok()?;
    let mut text = Bounded(String::new());
    symbol
        .structured_demangle(&mut text, &DemangleOptions::default())
        .ok()?;
    Some(text.0)
}

struct Bounded(String);

impl DemangleWrite for Bounded {
    fn write_string(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > MAX_TEXT {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// What a mangled name says of how its function is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// The types of the parameters, as C++ writes them, without `this`.
    pub params: Vec<String>,
    /// More arguments follow.
    pub ellipsis: bool,
    /// Whether it takes `this`.
    pub member: Member,
    /// It is a constructor or destructor, which returns nothing.
    pub is_structor: bool,
}

/// Whether a function takes `this`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Member {
    /// It does.
    Yes,
    /// It does not: no class is around it.
    No,
    /// It does if what is around it, whose mangled name this is, is a class rather than a namespace: see
    /// [`is_of_class`].
    IfClass(String),
}

/// The signature that a mangled name tells. `None`: it is no function's.
#[must_use]
pub fn signature(name: &str) -> Option<Signature> {
    let text = demangled(name)?;
    // Special names (vtables, thunks, guards) have no list of parameters, or not their own.
    if name.starts_with("_ZT") || name.starts_with("_ZG") {
        return None;
    }
    let (head, list) = split(&text)?;
    let mut params: Vec<String> = pieces(list).map(str::to_owned).collect();
    if params.len() > MAX_PARAMS {
        return None;
    }
    let ellipsis = params.pop_if(|last| last == "...").is_some();
    if params == ["void"] {
        params.clear();
    }
    let nested = name.strip_prefix("_ZN");
    let scope = last_scope(head);
    let is_structor = nested.is_some() && scope.is_some_and(|(class, own)| is_structor(class, own));
    let member = match nested {
        None => Member::No,
        Some(rest) if is_structor || is_qualified(rest) || is_member_operator(head) => Member::Yes,
        Some(rest) => of_scope(rest, scope),
    };
    Some(Signature {
        params,
        ellipsis,
        member,
        is_structor,
    })
}

/// What stands before the last list in parentheses, and what stands in it.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.rfind(')')?;
    // After it stand qualifiers only: ` const`, ` &`, `[abi:cxx11]`, ` [clone .cold]`.
    let mut depth = 0_usize;
    let start = text[..=end].char_indices().rev().find_map(|(at, character)| {
        match character {
            ')' => depth += 1,
            '(' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(at)
    })?;
    Some((&text[..start], &text[start + 1..end]))
}

/// The parts between commas outside of brackets.
fn pieces(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    list.split(move |character| {
        match character {
            '(' | '<' | '[' | '{' => depth += 1,
            ')' | '>' | ']' | '}' => depth -= 1,
            _ => {}
        }
        character == ',' && depth <= 0
    })
    .map(str::trim)
    .filter(|piece| !piece.is_empty())
}

/// The class or namespace and the function's own name: `a::b<c::d>` and `e` of `x a::b<c::d>::e`.
fn last_scope(head: &str) -> Option<(&str, &str)> {
    let bytes = head.as_bytes();
    let mut depth = 0_i32;
    let at = (1..bytes.len()).rev().find(|&at| {
        match bytes[at] {
            b'>' | b')' => depth += 1,
            b'<' | b'(' => depth -= 1,
            _ => {}
        }
        depth == 0 && bytes[at] == b':' && bytes[at - 1] == b':'
    })?;
    Some((&head[..at - 1], &head[at + 1..]))
}

/// The name of a class without its template arguments and what is around it.
fn bare(class: &str) -> &str {
    let own = last_scope(class).map_or(class, |(_, own)| own);
    own.split('<').next().unwrap_or(own)
}

fn is_structor(class: &str, own: &str) -> bool {
    let own = own.split(['<', '[']).next().unwrap_or(own);
    own.strip_prefix('~').unwrap_or(own) == bare(class)
}

/// Whether a nested name begins with qualifiers of `this` (`N [<CV-qualifiers>] [<ref-qualifier>]`).
fn is_qualified(nested: &str) -> bool {
    nested.starts_with(['r', 'V', 'K', 'R', 'O'])
}

/// Operators that are members or have no other form in a class: those in a namespace take two operands.
fn is_member_operator(head: &str) -> bool {
    let own = last_scope(head).map_or(head, |(_, own)| own);
    ["operator=", "operator()", "operator[]", "operator->"].contains(&own)
}

/// Whether the scope of a nested name is a class.
fn of_scope(nested: &str, scope: Option<(&str, &str)>) -> Member {
    // The abbreviations of the standard's strings and streams, and any template, are classes.
    if ["Ss", "Si", "So", "Sd", "Sa", "Sb"]
        .iter()
        .any(|class| nested.starts_with(class))
    {
        return Member::Yes;
    }
    if scope.is_some_and(|(class, _)| class.ends_with('>')) {
        return Member::Yes;
    }
    let Some(prefix) = scope_prefix(nested) else {
        return Member::No;
    };
    Member::IfClass(prefix.to_owned())
}

/// Whether a symbol of this name shows that `scope` is a class: its table of virtual functions, a constructor or
/// destructor, a constant member function.
#[must_use]
pub fn is_of_class(symbol: &str, scope: &str) -> bool {
    if let Some(rest) = ["_ZTV", "_ZTI", "_ZTS"]
        .iter()
        .find_map(|kind| symbol.strip_prefix(kind))
    {
        let nested = rest.strip_prefix('N').and_then(|rest| rest.strip_suffix('E'));
        return nested.unwrap_or(rest) == scope;
    }
    if let Some(own) = symbol
        .strip_prefix("_ZN")
        .and_then(|rest| rest.strip_prefix(scope))
    {
        return ["C1", "C2", "D0", "D1", "D2"]
            .iter()
            .any(|kind| own.starts_with(kind));
    }
    let own = symbol
        .strip_prefix("_ZNK")
        .and_then(|rest| rest.strip_prefix(scope));
    own.is_some_and(|own| {
        // One name more: a second one would be that of a class within the scope.
        let digits = own.bytes().take_while(u8::is_ascii_digit).count();
        let len = own[..digits].parse::<usize>().ok();
        let end = len.and_then(|len| digits.checked_add(len));
        let after = end.and_then(|end| own.get(end..));
        digits > 0 && after.is_some_and(|after| !after.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// The mangled form of all of a nested name's source names but the last: `St6thread` of
/// `St6thread4joinEv`. `None`: there is only one, or something else is among them.
fn scope_prefix(nested: &str) -> Option<&str> {
    let mut at = if nested.starts_with("St") { 2 } else { 0 };
    let first = at;
    let mut last = at;
    loop {
        let digits = nested[at..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            break;
        }
        let len: usize = nested[at..at + digits].parse().ok()?;
        let next = (at + digits).checked_add(len)?;
        nested.get(at..next)?;
        last = at;
        at = next;
    }
    (last > first).then(|| &nested[..last])
}

/// The prototype that a signature makes. `is_member`: it takes `this`.
pub(super) fn prototype(name: &str, signature: &Signature, is_member: bool, types: &mut Types) -> Prototype {
    let mut params = Vec::new();
    if is_member {
        params.push(Param {
            name: Some("this".into()),
            ..Param::new(types.address())
        });
    }
    for text in &signature.params {
        params.push(Param::new(type_of(text, types)));
    }
    let ret = if signature.is_structor {
        types.add(Type::Void)
    } else {
        types.word(Lens::Guess)
    };
    Prototype {
        ellipsis: signature.ellipsis,
        ..Prototype::new(name, ret, params)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn read(name: &str) -> (Vec<String>, Member, bool) {
        let signature = signature(name).unwrap_or_else(|| panic!("{name}: no function"));
        (signature.params, signature.member, signature.is_structor)
    }

    #[test]
    fn free_functions_take_what_their_names_say() {
        assert_eq!(
            read("_Z3fooPKcmb"),
            (
                vec!["char const*".into(), "unsigned long".into(), "bool".into()],
                Member::No,
                false
            )
        );
        assert_eq!(read("_Z3foov").0, Vec::<String>::new());
        assert_eq!(read("_Z3fooPFiiE").0, ["int (*)(int)"]);
        assert!(signature("_Z3fooPKcz").expect("a function").ellipsis);
    }

    #[test]
    fn members_are_told_by_qualifiers_templates_and_their_class() {
        assert_eq!(read("_ZNK3Foo3barEi").1, Member::Yes);
        assert_eq!(read("_ZNSt6vectorIiSaIiEE9push_backERKi").1, Member::Yes);
        assert_eq!(read("_ZNSs6appendEPKc").1, Member::Yes);
        let (params, member, structor) =
            read("_ZN3FooC1ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
        assert_eq!((params.len(), member, structor), (1, Member::Yes, true));
        assert!(read("_ZN3FooD2Ev").2);
        assert_eq!(read("_ZNSt6thread4joinEv").1, Member::IfClass("St6thread".into()));
        assert_eq!(read("_ZN3foo3Bar3bazEv").1, Member::IfClass("3foo3Bar".into()));
    }

    #[test]
    fn a_class_is_told_by_what_only_classes_have() {
        for symbol in ["_ZTVSt6thread", "_ZNSt6threadD1Ev", "_ZNKSt6thread2idEv"] {
            assert!(is_of_class(symbol, "St6thread"), "{symbol}");
        }
        for symbol in [
            "_ZTVN3foo3BarE",
            "_ZTIN3foo3BarE",
            "_ZNK3foo3Bar3bazEv",
            "_ZNK3foo3Bar5labelB5cxx11Ev",
        ] {
            assert!(is_of_class(symbol, "3foo3Bar"), "{symbol}");
            assert!(!is_of_class(symbol, "3foo"), "{symbol}");
        }
        for symbol in [
            "",
            "_ZNK3foo",
            "_ZNK3foo9",
            "_ZNK3foo99999999999999999999999x",
            "_ZN3fooC",
        ] {
            assert!(!is_of_class(symbol, "3foo"), "{symbol}");
        }
    }

    #[test]
    fn what_is_no_function_has_no_signature() {
        for name in [
            "",
            "puts",
            "_Z",
            "_ZTV3Foo",
            "_ZN3Foo3barE",
            "_ZGVZ3foovE1x",
            "_Z3foo99999999999999999999x",
        ] {
            assert_eq!(signature(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_grows_is_given_up() {
        // Each substitution doubles the one before.
        let mut name = String::from("_Z1f1xI1aIS_S_E");
        for index in 0..24 {
            write!(name, "1aIS{index}_S{index}_E").expect("a String");
        }
        name.push('E');
        assert!(demangled(&name).is_none_or(|text| text.len() <= MAX_TEXT));
        assert_eq!(demangled(&format!("_Z{}", "N".repeat(100_000))), None);
    }

    #[test]
    fn any_text_is_read_to_its_end() {
        for text in [
            "",
            "(",
            ")",
            "f(",
            "f)",
            "f(a, b",
            "f(a<b, c>, d)",
            "))((",
            "f(,,)",
            "a::b(::)",
            "é(é)",
        ] {
            if let Some((head, list)) = split(text) {
                let _ = (pieces(list).count(), last_scope(head));
            }
        }
        assert_eq!(
            pieces("a<b, c>, d (*)(e, f)").collect::<Vec<_>>(),
            ["a<b, c>", "d (*)(e, f)"]
        );
    }
}
