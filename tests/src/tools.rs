//! The tools that tests use, and the Debian packages that hold them.
//!
//! A test never passes because its tool is absent: [`tool`] fails and names the package.

use std::path::{Path, PathBuf};

/// Which Debian package brings which command. `tests/run` installs from the same list (`tests/packages`).
const PACKAGES: &str = include_str!("../packages");

/// The full path of `name`, as the shell would find it.
///
/// Fails with the package to install when there is no such command.
pub fn tool(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{}", missing(name)))
}

/// Python without the shell script that version managers put before it in `$PATH`.
pub fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() {
        "/usr/bin/python3"
    } else {
        "python3"
    }
}

/// A file in a directory that lasts as long as the test.
pub fn scratch(name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(name);
    (directory, file)
}

/// The full path of `name` in `$PATH`, or as it is when it holds a slash.
pub fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Path::new(name).is_file().then(|| PathBuf::from(name));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// What to do about a command that is not there.
fn missing(name: &str) -> String {
    match package_of(name) {
        Some(package) => format!("`{name}` is missing: apt-get install {package}"),
        None => format!("`{name}` is missing, and tests/packages does not say which package has it"),
    }
}

/// The Debian package of a command or file, by the list in `tests/packages`.
pub fn package_of(name: &str) -> Option<&'static str> {
    PACKAGES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(char::is_whitespace))
        .find(|(command, _)| *command == name)
        .map(|(_, package)| package.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_names_its_package() {
        assert_eq!(package_of("mold"), Some("mold"));
        assert_eq!(package_of("ld.lld"), Some("lld"));
        assert!(missing("ld.lld").ends_with("apt-get install lld"));
        assert_eq!(find("no-such-command-here"), None);
    }
}
