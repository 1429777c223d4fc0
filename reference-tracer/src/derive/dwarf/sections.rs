//! Where the debug information of an object lies, and its sections in memory.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::{Object as _, ObjectSection as _};

use super::Reader;
use crate::sys;

/// The most bytes of sections that are kept of all objects of a run together.
const MAX_BYTES: u64 = 512 << 20;
/// The longest path that a link to a debug file may lead to.
const MAX_NAME: usize = 4096;

/// What is left of the memory that debug information may take.
#[derive(Debug)]
pub(in crate::derive) struct Memory {
    left: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { left: MAX_BYTES }
    }
}

/// Where an object and its debug files are looked for.
#[derive(Debug, Clone)]
pub(in crate::derive) struct Places {
    /// The target's root folder, as the tracer reaches it.
    pub(in crate::derive) root: PathBuf,
    /// The object's path within it.
    pub(in crate::derive) path: PathBuf,
}

/// The sections of an object's debug information: its own, or those of its separate debug file, which its
/// build id or its `.gnu_debuglink` names (GDB manual, "Debugging Information in Separate Files").
pub(super) fn load(file: &File, places: &Places, memory: &mut Memory) -> Option<gimli::Dwarf<Reader>> {
    let bytes = sys::map_file(file).ok()?;
    let own = object::File::parse(&*bytes).ok()?;
    if own.section_by_name(".debug_info").is_some() {
        return sections(&own, places, memory);
    }
    candidates(&own, places).iter().find_map(|candidate| {
        let bytes = map(candidate)?;
        let separate = object::File::parse(&*bytes).ok()?;
        let is_its = belongs(&own, &separate, &bytes);
        is_its.then(|| sections(&separate, places, memory)).flatten()
    })
}

/// The files in which debug information may lie, in the order in which debuggers look.
fn candidates(own: &object::File<'_>, places: &Places) -> Vec<PathBuf> {
    let mut names = Vec::new();
    if let Ok(Some(id)) = own.build_id() {
        names.extend(by_build_id(id));
    }
    if let Some(link) = own
        .gnu_debuglink()
        .ok()
        .flatten()
        .and_then(|(name, _)| plain_name(name))
    {
        let folder = places.path.parent().unwrap_or(Path::new("/"));
        names.push(folder.join(link));
        names.push(folder.join(".debug").join(link));
        names.push(Path::new("/usr/lib/debug").join(relative(folder)).join(link));
    }
    in_both_worlds(&names, places)
}

fn by_build_id(id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = id
        .split_first()
        .filter(|(_, rest)| !rest.is_empty() && rest.len() < 64)?;
    let hex = rest.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Some(PathBuf::from(format!(
        "/usr/lib/debug/.build-id/{first:02x}/{hex}.debug"
    )))
}

/// The target's files, then those of the tracer's own world: a container seldom holds debug files.
fn in_both_worlds(names: &[PathBuf], places: &Places) -> Vec<PathBuf> {
    let inside = names.iter().map(|name| places.root.join(relative(name)));
    inside.chain(names.iter().cloned()).collect()
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// A name from a file that stays in its folder.
fn plain_name(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    (!name.is_empty() && name.len() < MAX_NAME && !name.contains('/') && name != "..").then_some(name)
}

fn map(path: &Path) -> Option<memmap2::Mmap> {
    // Opening a FIFO would wait for its writer.
    let is_file = std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.size() > 0);
    sys::map_file(&File::open(path).ok().filter(|_| is_file)?).ok()
}

/// Whether a debug file is an object's own: by the build ids, and where there are none, by the checksum
/// that the object holds.
fn belongs(own: &object::File<'_>, separate: &object::File<'_>, bytes: &[u8]) -> bool {
    match (own.build_id(), separate.build_id()) {
        (Ok(Some(own)), Ok(Some(separate))) => own == separate,
        _ => own
            .gnu_debuglink()
            .is_ok_and(|link| link.is_some_and(|(_, sum)| sum == crc32(bytes))),
    }
}

/// The checksum of `.gnu_debuglink`: that of zlib (GDB manual, "Debugging Information in Separate Files").
fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|index| {
        let start = u32::try_from(index).unwrap_or(0);
        (0..8).fold(start, |value, _| {
            (value >> 1) ^ (0xedb88320 & (value & 1).wrapping_neg())
        })
    });
    !bytes.iter().fold(!0, |sum, &byte| {
        (sum >> 8) ^ table[usize::from(byte ^ sum.to_le_bytes()[0])]
    })
}

fn sections(file: &object::File<'_>, places: &Places, memory: &mut Memory) -> Option<gimli::Dwarf<Reader>> {
    let mut dwarf = load_all(file, memory)?;
    if let Some(shared) = shared(file, places, memory) {
        dwarf.set_sup(shared);
    }
    Some(dwarf)
}

/// The file to which `dwz` moved what several debug files have in common (`.gnu_debugaltlink`).
fn shared(file: &object::File<'_>, places: &Places, memory: &mut Memory) -> Option<gimli::Dwarf<Reader>> {
    let (name, id) = file.gnu_debugaltlink().ok().flatten()?;
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| name.len() < MAX_NAME)?;
    let mut names: Vec<PathBuf> = by_build_id(id).into_iter().collect();
    if name.starts_with('/') {
        names.push(name.into());
    } else if let Some(file) = Path::new(name).file_name() {
        // As Debian has it: "../../.dwz/x86_64-linux-gnu/PACKAGE.debug", from the folder of the debug file.
        names.push(Path::new("/usr/lib/debug/.dwz").join(file));
        names.push(Path::new("/usr/lib/debug/.dwz/x86_64-linux-gnu").join(file));
        names.push(Path::new("/usr/lib/debug/.dwz/i386-linux-gnu").join(file));
    }
    in_both_worlds(&names, places).iter().find_map(|path| {
        let bytes = map(path)?;
        let shared = object::File::parse(&*bytes).ok()?;
        let is_it = shared.build_id().is_ok_and(|found| found == Some(id));
        is_it.then(|| load_all(&shared, memory)).flatten()
    })
}

fn load_all(file: &object::File<'_>, memory: &mut Memory) -> Option<gimli::Dwarf<Reader>> {
    let load = |id: gimli::SectionId| -> Result<Reader, ()> {
        let bytes = if is_used(id) {
            section(file, id, memory)?
        } else {
            Arc::from([])
        };
        Ok(Reader::new(bytes, gimli::LittleEndian))
    };
    gimli::Dwarf::load(load).ok()
}

/// The sections that functions and types are described in. Of line numbers a unit's root names the place, which must be
/// there for the unit to be read; locations are left out.
fn is_used(id: gimli::SectionId) -> bool {
    use gimli::SectionId;
    matches!(
        id,
        SectionId::DebugAbbrev
            | SectionId::DebugAddr
            | SectionId::DebugInfo
            | SectionId::DebugLine
            | SectionId::DebugLineStr
            | SectionId::DebugRanges
            | SectionId::DebugRngLists
            | SectionId::DebugStr
            | SectionId::DebugStrOffsets
            | SectionId::DebugTypes
    )
}

/// A section's bytes. An error: there is too much of it, or it is damaged.
fn section(file: &object::File<'_>, id: gimli::SectionId, memory: &mut Memory) -> Result<Arc<[u8]>, ()> {
    let Some(section) = file.section_by_name(id.name()) else {
        return Ok(Arc::from([]));
    };
    let data = section.compressed_data().map_err(drop)?;
    // Deflate makes at most a thousand bytes of one: what claims more lies.
    let is_credible = data.uncompressed_size <= (data.data.len() as u64).saturating_mul(1100);
    memory.left = memory
        .left
        .checked_sub(data.uncompressed_size)
        .filter(|_| is_credible)
        .ok_or(())?;
    // What is not compressed is lent, otherwise this is as long as it claims.
    let bytes = data.decompress().map_err(drop)?;
    Ok(Arc::from(&*bytes))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_zlibs() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::crc32(b""), 0);
    }

    #[test]
    fn a_name_stays_in_its_folder() {
        for bad in [&b""[..], b"..", b"a/b", b"/etc/passwd", b"\xff"] {
            assert_eq!(super::plain_name(bad), None);
        }
        assert_eq!(super::plain_name(b"libz.so.1.debug"), Some("libz.so.1.debug"));
    }
}
