//! Calls by which unwinders ask where code belongs.

use arch_abi::FileAddr;
use arch_abi::record::Hook;
use elf_plt::Object;

use super::probes::how_it_calls;

/// Where an object calls the functions by which unwinders find the code of an address. One that asks for single objects need not
/// be shown them all.
pub(super) fn calls(object: &Object<'_>, bytes: &[u8]) -> Result<Vec<(FileAddr, Hook)>, elf_plt::Error> {
    const FIND: &[u8] = b"_dl_find_object";
    const ITERATE: &[u8] = b"dl_iterate_phdr";
    if object.is_static() {
        return Ok(Vec::new());
    }
    let points = object.call_points_where(|name| name == FIND || name == ITERATE)?;
    let finds = points.iter().any(|point| point.name() == Some(FIND));
    let (references, _) = how_it_calls(object, &points, false)?;
    let mut places = Vec::new();
    for point in &points {
        let hook = match point.name() {
            Some(FIND) => Hook::FindObject,
            _ if finds || !has_unwinder(object, bytes)? => continue,
            _ => Hook::IteratePhdr,
        };
        places.extend(point.plt().iter().map(|entry| (entry.addr, hook)));
        for used in point.slots().iter().filter_map(|slot| references.of(slot.addr)) {
            let calls = used.calls.iter().chain(&used.jumps);
            places.extend(calls.map(|&at| (at, hook)));
        }
    }
    Ok(places)
}

/// Whether an object that asks for all objects may do so to unwind, and not for some other reason: it has landing pads, but imports no
/// unwinder, so that it must have one. One without section headers may.
fn has_unwinder(object: &Object<'_>, bytes: &[u8]) -> Result<bool, elf_plt::Error> {
    use object::{Object as _, ObjectSection as _};
    let imported = object.call_points_where(|name| name.starts_with(b"_Unwind_"))?;
    if !imported.is_empty() {
        return Ok(false);
    }
    let Ok(file) = object::File::parse(bytes) else {
        return Ok(true);
    };
    // GCC's and LLVM's name of the language-specific data of C++ and Rust.
    let lands = |name: &[u8]| name.starts_with(b".gcc_except_table");
    let mut sections = file.sections().peekable();
    Ok(sections.peek().is_none() || sections.any(|section| section.name_bytes().is_ok_and(lands)))
}
