//! Why a trace saw less than was asked for, or nothing: told at its end, in as few lines as there are reasons.

use std::path::Path;

use super::Left;
use crate::filter::{Missing, Unmatched};
use crate::objects::{ObjectStore, Program};

/// How a trace ended, as far as it matters here.
pub(super) struct Seen {
    /// How many calls there were.
    pub(super) calls: u64,
    /// Why the tracer left its processes, if it did.
    pub(super) left: Option<Left>,
    /// Whether a reason was found already, such as a static program.
    pub(super) is_explained: bool,
}

/// The filter where none was given.
const ALL_OF_MAIN: &str = "@MAIN";

/// What filters have missed, each with the nearest names; or, where nothing at all was seen, why.
pub(super) fn why(store: &ObjectStore, seen: &Seen) -> Vec<String> {
    let program = store.programs().last();
    let mut notes = unmet_places(store);
    if program.is_some_and(|program| !program.is_static || store.selection().asks_for_entries()) {
        notes.extend(unmatched(store, seen, program));
    }
    if notes.is_empty() && !seen.is_explained && !store.selection().is_empty() {
        notes.extend(program.and_then(|program| why_nothing(store, seen, program)));
    }
    notes
}

fn unmet_places(store: &ObjectStore) -> Vec<String> {
    let places = store.selection().places.iter();
    let text = |text: &str| format!("the place '{}' is in the code of no object", text.escape_debug());
    places
        .filter(|place| place.is_unmet())
        .map(|place| text(place.text()))
        .collect()
}

/// The rules that have matched nothing.
fn unmatched(store: &ObjectStore, seen: &Seen, program: Option<&Program>) -> Vec<String> {
    let offered = store.offered();
    let explain = |rule: &Unmatched| {
        let libraries = offered.libraries.iter().map(|name| &**name);
        rule.explain(offered.symbols(), libraries)
    };
    let selection = store.selection();
    let mut notes = Vec::new();
    for rule in selection.calls.unmatched() {
        let is_function = rule.missing == Missing::Symbol && rule.include && rule.rule != ALL_OF_MAIN;
        match (program, seen.calls) {
            (Some(program), 0) if rule.rule == ALL_OF_MAIN => notes.push(imports_nothing(program)),
            (_, 0) if is_function => notes.push(not_imported(explain(&rule))),
            _ if rule.rule == ALL_OF_MAIN => {}
            _ => notes.push(explain(&rule)),
        }
    }
    notes.extend(selection.exporters.unmatched().iter().map(explain));
    let stripped = program.filter(|program| program.is_stripped);
    notes.extend(selection.entries.unmatched().iter().map(|rule| {
        let text = explain(rule);
        match stripped {
            Some(program) => format!(
                "{text}; {0} is stripped: of its own functions only what it exports has a name, the others have addresses \
                 (-x '{0}+0x1234')",
                program.short()
            ),
            None => text,
        }
    }));
    notes
}

/// Why there was no call, where each filter has selected something.
fn why_nothing(store: &ObjectStore, seen: &Seen, program: &Program) -> Option<String> {
    let selected = store.points().len();
    if selected > 0 && store.start_up_points() == selected {
        return Some(imports_nothing(program));
    }
    if seen.calls > 0 || selected == 0 {
        return None;
    }
    if !store.has_libraries() {
        return Some(format!(
            "{} ended before its libraries were loaded, and so before its first call",
            program.short()
        ));
    }
    let when = match seen.left {
        Some(_) => "while it was traced",
        None => "before the program ended",
    };
    // Of what could lead to a library of -l, most does not.
    let by_library = !store.selection().exporters.is_empty();
    Some(match selected {
        _ if by_library => format!("no call that was asked for was made {when}"),
        1 => format!("the selected call was not made {when}"),
        count => format!("none of the {count} selected calls was made {when}"),
    })
}

/// Where there is no name that was meant instead.
fn not_imported(text: String) -> String {
    if text.contains("nearest") {
        return text;
    }
    text + " that an object imports: what is inlined is not called, and -x is for an object's own functions"
}

fn imports_nothing(program: &Program) -> String {
    format!(
        "{} calls no function of another object by itself: its functions are its own, or inlined; -x shows its own, and \
         -e '@*' the calls that its libraries make",
        program.short()
    )
}

impl Program {
    /// Its name, as filters take it.
    fn short(&self) -> String {
        let path = Path::new(&self.path);
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().escape_debug().to_string()
    }
}
