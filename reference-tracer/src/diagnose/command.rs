//! Which file a command names.

use super::{Diagnosis, shown};
use crate::output::describe;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, faccessat};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where `execvp(3)` searches when `PATH` is not set: what `confstr(_CS_PATH)` gives with glibc.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Why a command cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No directory of the search path holds it.
    #[error("{}: command not found", shown(.0))]
    NotFound(OsString),
    /// Its name is empty.
    #[error("the command's name is empty: command not found")]
    Empty,
    /// It was named by a path, and that leads nowhere.
    #[error("{}: {}", shown(path.as_os_str()), describe(reason))]
    Missing {
        /// The path.
        path: PathBuf,
        /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`.
        reason: io::Error,
    },
    /// It is a directory.
    #[error("{}: is a directory, not a program", shown(.0.as_os_str()))]
    Directory(PathBuf),
    /// It is a device, a socket or a FIFO.
    #[error("{}: is not a regular file, so not a program", shown(.0.as_os_str()))]
    NotAFile(PathBuf),
    /// A directory on the way may not be searched.
    #[error("{}: Permission denied: the directory '{}' may not be searched", shown(path.as_os_str()), shown(directory.as_os_str()))]
    Unreachable {
        /// The path.
        path: PathBuf,
        /// The directory.
        directory: PathBuf,
    },
    /// It has no execute permission.
    #[error("{}: Permission denied: it has no execute permission for this user (chmod +x gives it)", shown(.0.as_os_str()))]
    NotExecutable(PathBuf),
    /// Its file system forbids execution.
    #[error("{}: Permission denied: its file system is mounted noexec", shown(.0.as_os_str()))]
    NoExec(PathBuf),
}

impl Diagnosis for CommandError {
    fn exit_status(&self) -> u8 {
        match self {
            CommandError::NotFound(_) | CommandError::Empty | CommandError::Missing { .. } => 127,
            _ => 126,
        }
    }
}

/// The file that `execvp(3)` would execute for `command` with the search path `path` (the value of `PATH`, if it is set).
///
/// # Errors
/// What stands in the way, with the exit status a shell would give.
pub fn resolve(command: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, CommandError> {
    if command.as_bytes().contains(&b'/') {
        return check(PathBuf::from(command));
    }
    if command.is_empty() {
        return Err(CommandError::Empty);
    }
    let mut denied = None;
    for directory in path
        .unwrap_or(OsStr::new(DEFAULT_PATH))
        .as_bytes()
        .split(|byte| *byte == b':')
    {
        // An empty element is the current directory; "./" also keeps the name from being searched again.
        let directory = if directory.is_empty() {
            Path::new(".")
        } else {
            Path::new(OsStr::from_bytes(directory))
        };
        match check(directory.join(command)) {
            Ok(file) => return Ok(file),
            // execvp(3): "if permission is denied for a file, these functions will continue searching".
            Err(error) if error.exit_status() == 126 => denied = denied.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(denied.unwrap_or_else(|| CommandError::NotFound(command.to_owned())))
}

/// Whether `path` can be executed, as far as the file system decides it.
fn check(path: PathBuf) -> Result<PathBuf, CommandError> {
    let found = match fs::metadata(&path) {
        Ok(found) => found,
        Err(reason) if reason.kind() == io::ErrorKind::PermissionDenied => {
            let directory = unsearchable(&path);
            return Err(CommandError::Unreachable { path, directory });
        }
        Err(reason) => return Err(CommandError::Missing { path, reason }),
    };
    if found.is_dir() {
        return Err(CommandError::Directory(path));
    }
    if !found.is_file() {
        return Err(CommandError::NotAFile(path));
    }
    match faccessat(
        nix::fcntl::AT_FDCWD,
        &path,
        AccessFlags::X_OK,
        AtFlags::AT_EACCESS,
    ) {
        Ok(()) => Ok(path),
        Err(Errno::EACCES | Errno::EPERM) if is_noexec(&path, &found) => Err(CommandError::NoExec(path)),
        Err(Errno::EACCES | Errno::EPERM) => Err(CommandError::NotExecutable(path)),
        Err(errno) => Err(CommandError::Missing {
            path,
            reason: errno.into(),
        }),
    }
}

/// Whether the mount is what forbids it: then the file itself may well have the permission.
fn is_noexec(path: &Path, found: &Metadata) -> bool {
    let allowed_to_someone = found.permissions().mode() & 0o111 != 0;
    allowed_to_someone && statvfs(path).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_NOEXEC))
}

/// The first directory on the way to `path` whose entries may not be looked up.
fn unsearchable(path: &Path) -> PathBuf {
    let mut ancestors: Vec<_> = path
        .ancestors()
        .skip(1)
        .filter(|at| !at.as_os_str().is_empty())
        .collect();
    ancestors.reverse();
    let closed =
        |at: &&Path| faccessat(nix::fcntl::AT_FDCWD, *at, AccessFlags::X_OK, AtFlags::AT_EACCESS).is_err();
    ancestors
        .into_iter()
        .find(closed)
        .unwrap_or(Path::new("."))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt as _;

    fn file(path: &Path, mode: u32) {
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .unwrap();
    }

    /// `a/tool` cannot be executed, `b/tool` can, `a/dir` is a directory.
    fn directories() -> (tempfile::TempDir, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("a/dir")).unwrap();
        fs::create_dir(at("b")).unwrap();
        file(&at("a/tool"), 0o644);
        file(&at("b/tool"), 0o755);
        file(&at("a/only"), 0o644);
        let (a, b) = (at("a").display().to_string(), at("b").display().to_string());
        (dir, a, b)
    }

    #[test]
    fn the_search_is_execvp_s() {
        let (_dir, a, b) = directories();
        // command, PATH, the file or the exit status
        let cases: &[(&str, String, Result<String, u8>)] = &[
            ("tool", b.clone(), Ok(format!("{b}/tool"))),
            ("tool", format!("{a}:{b}"), Ok(format!("{b}/tool"))),
            ("tool", format!("/none:{b}/tool:{b}"), Ok(format!("{b}/tool"))),
            ("tool", a.clone(), Err(126)),
            ("only", format!("{a}:{b}"), Err(126)),
            ("dir", format!("{a}:{b}"), Err(126)),
            ("none", format!("{a}:{b}"), Err(127)),
            ("", b.clone(), Err(127)),
            (".", b.clone(), Err(126)),
            (&format!("{b}/tool"), String::new(), Ok(format!("{b}/tool"))),
            (&format!("{b}/none"), b.clone(), Err(127)),
            (&format!("{b}/tool/x"), b.clone(), Err(127)),
            ("/dev/null", b.clone(), Err(126)),
            ("Cargo.toml", String::new(), Err(126)),
        ];
        for (command, path, expected) in cases {
            let found = resolve(OsStr::new(command), Some(OsStr::new(path)));
            let found = found
                .map(|file| file.display().to_string())
                .map_err(|error| error.exit_status());
            assert_eq!(found, *expected, "{command} in {path}");
        }
        assert_eq!(resolve(OsStr::new("sh"), None).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn the_reason_is_one_line() {
        let (_dir, a, _) = directories();
        let message = |command: &str| {
            resolve(OsStr::new(command), Some(OsStr::new(&a)))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(message("none"), "none: command not found");
        assert_eq!(message("/none/x"), "/none/x: No such file or directory");
        assert_eq!(message(&a), format!("{a}: is a directory, not a program"));
        assert_eq!(
            message(&format!("{a}/tool/x")),
            format!("{a}/tool/x: Not a directory")
        );
        assert!(message("tool").starts_with(&format!("{a}/tool: Permission denied")));
        assert_eq!(message("x\n\u{1b}[m"), "x\\n\\u{1b}[m: command not found");
    }

    #[test]
    fn a_directory_that_is_closed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        // No directory: nothing can be looked up in it, whoever asks (root may search any directory).
        let path = dir.path().join("file/below/tool");
        file(&dir.path().join("file"), 0o644);
        assert_eq!(unsearchable(&path), dir.path().join("file"));
    }
}
