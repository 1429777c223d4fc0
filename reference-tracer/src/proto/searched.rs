//! Texts that are searched in place: `LANGUAGE.md`, "Searched files".

use std::cmp::Ordering;

/// A searched file without the comments before its first item.
pub(super) fn body(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with('#') || rest.starts_with('\n') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest
}

/// What a line of a searched file is about: the second word of a typedef or alias, and of a
/// prototype the word before the first parenthesis.
pub(super) fn key(line: &str) -> Option<&str> {
    for keyword in ["alias ", "typedef "] {
        if let Some(rest) = line.strip_prefix(keyword) {
            return rest.split([' ', '=']).next();
        }
    }
    let before = line.split_once('(')?.0;
    let start = before.rfind([' ', '*']).map_or(0, |space| space + 1);
    Some(&before[start..])
}

/// The line about `name` in a sorted text, by binary search. `None` also where the text is not sorted,
/// or not ASCII: tests hold the embedded ones to that.
pub(super) fn find<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let text = body(text);
    let (mut low, mut high) = (0, text.len()); // both at the start of a line, or at the end
    while low < high {
        let middle = low + (high - low) / 2;
        // Lines of some enumerations are long: these searches take a word at a time.
        let start = text.get(low..middle)?.rfind('\n').map_or(low, |at| low + at + 1);
        let end = text.get(middle..high)?.find('\n').map_or(high, |at| middle + at);
        let line = text.get(start..end)?;
        match key(line)?.as_bytes().cmp(name.as_bytes()) {
            Ordering::Equal => return Some(line),
            Ordering::Less => low = (end + 1).min(high),
            Ordering::Greater => high = start,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_ends_whatever_the_text() {
        for text in [
            "",
            "\n",
            "# only\n",
            "a",
            "int f(",
            "int b();\nint d();\n",
            "int b();\nint d();",
        ] {
            for name in ["", "a", "b", "c", "d", "e"] {
                let found = find(text, name);
                assert_eq!(
                    found.is_some(),
                    !name.is_empty() && text.contains(&format!(" {name}(")),
                    "{text:?} {name}"
                );
            }
        }
    }
}
