//! The help: on one screen, each option in one line of its own or, if it is rarely needed, in one with others.

use std::fmt::Write as _;

/// The groups of options, in the order of the help.
pub(super) const TRACED: &str = "What is traced";
pub(super) const OUTPUT: &str = "Output";
pub(super) const SUMMARY: &str = "Summary";
pub(super) const PROCESSES: &str = "Processes and the tracer";

/// Command lines that work when they are pasted.
pub(super) const EXAMPLES: &str = "Examples:
  rltrace ls /tmp                      every library call that ls makes
  rltrace -e 'malloc+free' ls          two functions only
  rltrace -e '@libssl.so.3' curl -V    the calls that one library makes
  rltrace -c -f make                   a summary over make and its children
  rltrace -o trace.txt -p 1234         a running process, until Ctrl-C";

/// The column where the text of an option begins.
const TEXT_AT: usize = 28;
/// How wide a line may be.
const WIDTH: usize = 80;

/// The help of a table of options.
#[must_use]
pub fn render(table: &clap::Command) -> String {
    let mut text = usage_lines(table);
    let about = table.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "{about}");
    for group in [TRACED, OUTPUT, SUMMARY, PROCESSES] {
        let _ = writeln!(text, "{group}:");
        let options = table.get_arguments().filter(|arg| {
            arg.get_help_heading() == Some(group) && is_shown(arg) && !arg.is_hide_short_help_set()
        });
        for arg in options {
            option_line(&mut text, arg);
        }
    }
    text.push_str("  -h, --help; -V, --version\n");
    rare_options(&mut text, table);
    text.push_str(EXAMPLES);
    text.push('\n');
    text
}

/// ltrace's options, with those that upstream has added: the letter, the long form, and what stands for the value.
const LTRACE: [(char, &str, &str, &str); 27] = [
    ('a', "align", "COLUMN", "put results at this column"),
    ('A', "", "NUMBER", "show at most so many elements of an array"),
    ('b', "no-signals", "", "show no signals"),
    ('c', "", "", "count calls and their time, and print a table"),
    ('C', "demangle", "", "show names as they are in the source"),
    ('D', "debug", "MASK", "tell of the tracer's own work; -Dh: how"),
    ('e', "", "FILTER", "trace the library calls that FILTER selects"),
    ('f', "", "", "trace children, too"),
    (
        'F',
        "config",
        "LIST",
        "read prototypes from these files and folders",
    ),
    ('h', "help", "", "print this"),
    ('i', "", "", "show where calls return to"),
    (
        'l',
        "library",
        "PATTERN",
        "trace calls of what this library offers",
    ),
    ('L', "", "", "trace no library calls"),
    ('n', "indent", "NUMBER", "indent nested calls by so many spaces"),
    ('o', "output", "FILE", "write to FILE"),
    ('p', "", "PID", "trace a running process"),
    ('r', "", "", "show times since the line before"),
    ('s', "", "NUMBER", "show at most so many bytes of a string"),
    ('S', "", "", "trace system calls, too"),
    ('t', "", "", "show the time of day; -tt, -ttt: more exactly"),
    ('T', "", "", "show how long calls take"),
    ('u', "", "USER", "run the command as this user"),
    ('V', "version", "", "print the version"),
    ('w', "where", "NUMBER", "show so many frames of the stack"),
    ('x', "", "FILTER", "trace functions where they begin"),
    ('y', "", "", "of rltrace: show what descriptors refer to"),
    ('E', "", "VAR=VAL", "of rltrace: set a variable for the command"),
];

/// The help under the name `ltrace`; `name` is that with its path.
#[must_use]
pub fn render_like_ltrace(name: &str) -> String {
    let mut text = format!("Usage: {name} [option ...] [command [arg ...]]\n\n");
    for (letter, long, value, help) in LTRACE {
        let line = match (long, value) {
            ("", "") => format!("  -{letter}"),
            ("", value) => format!("  -{letter} {value}"),
            (long, "") => format!("  -{letter}, --{long}"),
            (long, value) => format!("  -{letter}, --{long}={value}"),
        };
        let _ = writeln!(text, "{line:23} {help}");
    }
    text.push_str("\nThis is rltrace under the name ltrace; `rltrace --help' tells of its other options.\n");
    text
}

/// The beginnings of a long option that ltrace takes for it: those of no other one of its options.
pub(super) fn beginnings_in_ltrace(long: &str) -> Vec<&'static str> {
    let longs = || LTRACE.iter().map(|(_, long, ..)| *long);
    let Some(own) = longs().find(|known| *known == long) else {
        return Vec::new();
    };
    let is_only = |start: &&str| longs().filter(|known| known.starts_with(start)).count() == 1;
    (1..own.len()).map(|end| &own[..end]).filter(is_only).collect()
}

/// What to say when there is no command.
#[must_use]
pub fn usage_lines(table: &clap::Command) -> String {
    let usage = table.clone().render_usage().to_string();
    format!("{}\n", usage.trim_end())
}

/// Whether the help tells of it.
fn is_shown(arg: &clap::Arg) -> bool {
    !arg.is_hide_set() && !arg.is_positional()
}

/// An option's letter and word, and the names of its values.
fn spelled(arg: &clap::Arg) -> String {
    let mut text = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => String::new(),
    };
    for name in arg.get_value_names().unwrap_or_default() {
        if arg.get_action().takes_values() {
            let _ = write!(text, " {name}");
        }
    }
    text
}

/// The options that are rarely needed, as many to a line as there is room for.
fn rare_options(text: &mut String, table: &clap::Command) {
    let mut line = "More (rltrace --generate man | man -l -):".to_owned();
    let rare = table
        .get_arguments()
        .filter(|arg| is_shown(arg) && arg.is_hide_short_help_set());
    for arg in rare {
        let option = spelled(arg);
        if line.chars().count() + option.chars().count() + 2 > WIDTH {
            let _ = writeln!(text, "{line}");
            " ".clone_into(&mut line);
        }
        let _ = write!(line, " {option};");
    }
    let _ = writeln!(text, "{}", line.trim_end_matches(';'));
}

fn option_line(text: &mut String, arg: &clap::Arg) {
    let indent = if arg.get_short().is_some() { "  " } else { "      " };
    let line = format!("{indent}{}", spelled(arg));
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let fill = TEXT_AT.saturating_sub(line.chars().count() + 1);
    let _ = writeln!(text, "{line}{:fill$} {help}", "");
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;

    #[test]
    fn the_help_fits_a_screen_and_tells_every_option() {
        let table = Cli::table();
        let text = super::render(&table);
        assert!(text.lines().count() <= 50, "{}", text.lines().count());
        for line in text.lines() {
            assert!(line.chars().count() <= super::WIDTH, "{line}");
        }
        for arg in table.get_arguments().filter(|arg| !arg.is_hide_set()) {
            if let Some(long) = arg.get_long() {
                assert!(text.contains(&format!("--{long}")), "{long}");
            }
        }
    }

    /// All of ltrace's letters, and a long form for each.
    #[test]
    fn ltraces_options_are_there() {
        let table = Cli::table();
        for letter in "aAbcCDeEfFhilLnoprsStTuVwx".chars() {
            let found = match letter {
                'h' | 'V' => continue, // clap's own
                _ => table.get_arguments().find(|arg| arg.get_short() == Some(letter)),
            };
            assert!(
                found.is_some_and(|arg| arg.get_long().is_some()),
                "-{letter} and its long form"
            );
        }
    }
}
