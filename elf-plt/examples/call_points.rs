//! Lists the call points of object files: `cargo run -p elf-plt --example call_points -- /bin/ls`.

use std::error::Error;
use std::io::{self, Write};

use elf_plt::{CallPoint, CalleeKind, Object};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    for path in std::env::args_os().skip(1) {
        let data = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let object = Object::parse(&data).map_err(|error| format!("{}: {error}", path.display()))?;
        writeln!(
            out,
            "{}: {:?}, {:?}",
            path.display(),
            object.arch(),
            object.kind()
        )?;
        let points = object.call_points()?;
        let references = object.references(&points, &points)?;
        for point in &points {
            let used = references.of_point(point);
            let direct = used.calls.len() + used.jumps.len();
            write!(out, "  {}", name(point))?;
            for slot in point.slots() {
                write!(out, " slot {} {:?}", slot.addr, slot.relocation)?;
            }
            for entry in point.plt() {
                write!(out, " plt {}", entry.addr)?;
            }
            let loaded = if used.loaded { ", loaded" } else { "" };
            writeln!(out, " direct {direct}{loaded}")?;
        }
    }
    Ok(())
}

/// Such as `puts@GLIBC_2.2.5`.
fn name(point: &CallPoint<'_>) -> String {
    let mut text = match (point.name(), point.kind()) {
        (Some(name), _) => String::from_utf8_lossy(name).into_owned(),
        (None, CalleeKind::Ifunc { resolver }) => format!("ifunc with resolver {resolver}"),
        (None, _) => String::from("?"),
    };
    if let Some(version) = point.version() {
        text.push('@');
        text.push_str(&String::from_utf8_lossy(version.name));
    }
    if point.kind() == CalleeKind::Untyped {
        text.push_str(" (untyped)");
    }
    text
}
