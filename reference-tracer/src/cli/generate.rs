//! The man page and the completions of shells, from the table of options.

use std::io::{self, Write};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Generate};

/// Writes what is asked for.
///
/// # Errors
/// The output cannot be written.
pub fn generate(what: Generate, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Cli::command();
    let shell = match what {
        Generate::Man => return clap_mangen::Man::new(table).render(out),
        Generate::Bash => Shell::Bash,
        Generate::Zsh => Shell::Zsh,
        Generate::Fish => Shell::Fish,
    };
    // It panics where its writer fails, so it writes to memory.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut table, "rltrace", &mut text);
    out.write_all(&text)
}
