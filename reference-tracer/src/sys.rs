//! The calls that are unsafe to make.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a whole file for reading.
///
/// # Errors
/// It is empty, too large, or cannot be mapped.
pub(crate) fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only, and every reader of it takes bytes as hostile
    // data, so that a change of the file changes at most what is read. A file that is truncated
    // while it is read raises SIGBUS (mmap(2), ERRORS): object files that are mapped are replaced by
    // rename(2), not truncated, because truncation would kill every program that runs them; the
    // mapping is dropped as soon as the object is parsed.
    unsafe { Mmap::map(file) }
}
