//! The tracer of this workspace as a program.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How cargo builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// To be measured.
    Release,
    /// As the calling program was built: optimised unless that one is not, so that benchmarks which are only tried need
    /// not wait for a second build.
    Ours,
}

/// The path of `rltrace`, built now if its sources are newer.
///
/// Where it does not build, cargo has said why on standard error, and the path is returned all the same: what cannot be
/// started is missing.
///
/// # Errors
///
/// Cargo did not run, or the calling program is in no folder of cargo's.
pub fn built(profile: Profile) -> io::Result<PathBuf> {
    let optimised = profile == Profile::Release || !cfg!(debug_assertions);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "reference-tracer", "--bin", "rltrace"]);
    if optimised {
        command.arg("--release");
    }
    let status = command.current_dir(&workspace).status()?;
    if !status.success() {
        eprintln!("rltrace did not build ({status})");
    }
    let folder = if optimised { "release" } else { "debug" };
    Ok(target_folder()?.join(folder).join("rltrace"))
}

/// Cargo's target folder: where this program is, in `PROFILE` or in `PROFILE/deps`.
fn target_folder() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let in_folder = program
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"));
    let target = in_folder.and_then(Path::parent).map(Path::to_path_buf);
    target.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the program is in no target folder"))
}
