//! Properties that hold for any filter.

use super::*;
use proptest::prelude::*;

/// Text made of what means something, so that more than errors are met.
fn filter_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("+"),
        Just("-"),
        Just("@"),
        Just("/"),
        Just("\\"),
        Just("["),
        Just("]"),
        Just("[^"),
        Just("[!"),
        Just("[:alpha:]"),
        Just("*"),
        Just("?"),
        Just("^"),
        Just("$"),
        Just("."),
        Just(","),
        Just(", "),
        Just("("),
        Just(")"),
        Just("<"),
        Just(">"),
        Just("\\("),
        Just("\\)"),
        Just("\\|"),
        Just("\\{"),
        Just("\\}"),
        Just("\\1"),
        Just("2,3"),
        Just("malloc"),
        Just("MAIN"),
        Just("libc.so.6"),
        Just("/usr/lib/x-y/libz.so"),
        Just(" "),
        Just("ä"),
        Just("\u{1F980}"),
        Just("\0"),
        Just("!"),
        Just("a-z"),
    ];
    prop_oneof![4 => prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat()), 1 => any::<String>()]
}

/// A name as a filter that matches it and nothing else.
fn quoted(name: &str) -> String {
    name.chars().flat_map(|c| ['\\', c]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsing_and_matching_never_panic(text in filter_text(), symbol: String, soname: String) {
        for parsed in [Filter::parse(&text), Filter::parse_library(&text)] {
            match parsed {
                Ok(filter) => {
                    let set = FilterSet::new(vec![filter]);
                    let library = LibraryNames::library(Some(&soname), &symbol).also_at(&soname);
                    let selected = set.selects(&symbol, &[&soname], library);
                    prop_assert!(!selected || set.could_match_library(library));
                    let _ = set.unmatched().iter().map(|rule| rule.explain([&*symbol], [&*soname])).collect::<Vec<_>>();
                }
                Err(error) => {
                    prop_assert!((1..=text.len() + 1).contains(&error.position()), "{}", error);
                    prop_assert!(!error.to_string().contains('\n'), "{}", error);
                }
            }
        }
    }

    #[test]
    fn a_quoted_name_matches_itself_alone(name in "[^\0 \t\n\r\u{b}\u{c}\u{85}\u{a0}]{1,12}", other: String) {
        // Spaces around a rule are taken off, also quoted ones: they are left out above, with all other white space.
        prop_assume!(!name.chars().any(char::is_whitespace));
        let set = FilterSet::new(vec![Filter::parse(&quoted(&name)).unwrap()]);
        let main = LibraryNames::main(None, "/prog");
        prop_assert!(set.selects(&name, &[], main));
        prop_assert_eq!(set.selects(&other, &[], main), other == name);
    }

    /// The shortcut by literal names answers as the chains do.
    #[test]
    fn the_shortcut_changes_nothing(text in "[ab]{1,2}([+-][ab]{1,2}(@(MAIN|x))?){0,4}", symbol in "[ab]{1,2}", alias in "[ab]{1,2}") {
        let main = LibraryNames::main(None, "/prog");
        let quick = FilterSet::new(vec![Filter::parse(&text).unwrap()]);
        // A rule that is no literal, and selects what is not asked for, turns the shortcut off.
        let slow = FilterSet::new(vec![Filter::parse(&text).unwrap(), Filter::parse("zz*").unwrap()]);
        prop_assert_eq!(quick.selects(&symbol, &[&alias], main), slow.selects(&symbol, &[&alias], main));
    }
}
