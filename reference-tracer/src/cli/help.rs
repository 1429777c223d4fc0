//! The help: every option in one line, on one screen.

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
  rltrace -o trace.txt -p 1234         a running process, into a file; Ctrl-C leaves it unharmed";

/// The column where the text of an option begins.
const TEXT_AT: usize = 28;

/// The help of a table of options.
#[must_use]
pub fn render(table: &clap::Command) -> String {
    let mut text = usage_lines(table);
    let about = table.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "{about}");
    for group in [TRACED, OUTPUT, SUMMARY, PROCESSES] {
        let _ = writeln!(text, "{group}:");
        let options = table.get_arguments().filter(|arg| {
            arg.get_help_heading() == Some(group) && !arg.is_hide_set() && !arg.is_positional()
        });
        for arg in options {
            option_line(&mut text, arg);
        }
    }
    text.push_str("  -h, --help                this help;  -V, --version: the version\n");
    text.push_str(EXAMPLES);
    text.push('\n');
    text
}

/// What to say when there is no command.
#[must_use]
pub fn usage_lines(table: &clap::Command) -> String {
    let usage = table.clone().render_usage().to_string();
    format!("{}\n", usage.trim_end())
}

fn option_line(text: &mut String, arg: &clap::Arg) {
    let mut line = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("  -{short}, --{long}"),
        (Some(short), None) => format!("  -{short}"),
        (None, Some(long)) => format!("      --{long}"),
        (None, None) => String::new(),
    };
    for name in arg.get_value_names().unwrap_or_default() {
        if arg.get_action().takes_values() {
            let _ = write!(line, " {name}");
        }
    }
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
        assert!(text.lines().count() <= 56, "{}", text.lines().count());
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
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
