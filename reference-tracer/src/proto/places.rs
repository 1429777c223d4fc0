//! Where prototype files are kept: the places of ltrace(1), so that files kept for it go on working.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Whose a prototype file is, and so whether it goes before what is built in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The user's: it was written to be used, and goes first.
    User,
    /// The machine's: it came with a package, such as ltrace's own, which says less of a function than
    /// what is built in. It serves the functions that are not built in.
    System,
}

/// A prototype file, or a folder of them, that is read if it is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file or folder.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: Owner,
}

/// The places where ltrace looks, the first to be asked first: folders `ltrace` of the XDG Base
/// Directory Specification, `~/.ltrace`, `~/.ltrace.conf`; then the machine's.
///
/// `home` is the user's home folder, `var` gives the environment.
#[must_use]
pub fn places(home: Option<&Path>, var: impl Fn(&str) -> Option<OsString>) -> Vec<Place> {
    let set = |name| var(name).filter(|value| !value.is_empty());
    // "All paths set in these environment variables must be absolute": others are to be ignored.
    let config_home = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| home.map(|home| home.join(".config")));
    let user = config_home.map(|folder| folder.join("ltrace")).into_iter().chain(
        home.into_iter()
            .flat_map(|home| [".ltrace", ".ltrace.conf"].map(|name| home.join(name))),
    );
    let config_dirs = set("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".into());
    let system = std::env::split_paths(&config_dirs)
        .filter(|path| path.is_absolute())
        .map(|folder| folder.join("ltrace"))
        .collect::<Vec<_>>()
        .into_iter()
        .chain(["/usr/share/ltrace", "/etc/ltrace.conf"].map(PathBuf::from));
    let owned = |owner| move |path| Place { path, owner };
    user.map(owned(Owner::User))
        .chain(system.map(owned(Owner::System)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(owner: Owner, home: Option<&str>, vars: &[(&str, &str)]) -> Vec<String> {
        let var = |name: &str| {
            let found = vars.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| OsString::from(value))
        };
        places(home.map(Path::new), var)
            .into_iter()
            .filter(|place| place.owner == owner)
            .map(|place| place.path.display().to_string())
            .collect()
    }

    #[test]
    fn the_users_places_are_in_the_home_folder() {
        let own = |vars| paths(Owner::User, Some("/home/me"), vars);
        let usual = [
            "/home/me/.config/ltrace",
            "/home/me/.ltrace",
            "/home/me/.ltrace.conf",
        ];
        assert_eq!(own(&[]), usual);
        assert_eq!(own(&[("XDG_CONFIG_HOME", "")]), usual);
        assert_eq!(own(&[("XDG_CONFIG_HOME", "here")]), usual, "it is not absolute");
        assert_eq!(own(&[("XDG_CONFIG_HOME", "/conf")])[0], "/conf/ltrace");
        assert!(paths(Owner::User, None, &[]).is_empty());
    }

    #[test]
    fn the_machines_places_need_no_home() {
        let dirs = |dirs| paths(Owner::System, None, &[("XDG_CONFIG_DIRS", dirs)]);
        let last = ["/usr/share/ltrace", "/etc/ltrace.conf"];
        assert_eq!(dirs(""), ["/etc/xdg/ltrace", last[0], last[1]]);
        assert_eq!(dirs("/a:b::/c"), ["/a/ltrace", "/c/ltrace", last[0], last[1]]);
    }
}
